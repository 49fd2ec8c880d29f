import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from dermseg.masks.polygons import fill, join, one_ring, rings_of, simplify, trace
from dermseg.masks.runs import from_run_lengths, run_lengths

Mask = NDArray[np.bool_]
MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12))
"""Holes, several pieces, diagonals, lines of one pixel, borders, empty and full ones."""


@given(MASKS)
def test_polygons_enclose_exactly_the_mask(mask: Mask) -> None:
    polygons = trace(mask)
    assert np.array_equal(fill(rings_of(polygons), mask.shape), mask)
    joined = [one_ring(polygon) for polygon in polygons]
    assert np.array_equal(fill(joined, mask.shape), mask)
    assert np.array_equal(fill([join(joined)] if joined else [], mask.shape), mask)


@given(MASKS)
def test_lines_turn_at_each_corner_and_run_along_edges(mask: Mask) -> None:
    for ring in rings_of(trace(mask)):
        steps = np.roll(ring, -1, axis=0) - ring
        along_x, along_y = (steps != 0).T
        assert np.array_equal(along_x, ~along_y)
        assert np.array_equal(along_x, ~np.roll(along_x, 1))


@given(MASKS)
def test_run_lengths_come_back(mask: Mask) -> None:
    flat = mask.ravel()
    lengths = run_lengths(flat)
    assert np.array_equal(from_run_lengths(lengths, flat.size), flat)
    assert (lengths[1:] > 0).all()


def test_a_ring_with_a_hole_and_an_island() -> None:
    mask = np.zeros((9, 9), np.bool_)
    mask[1:8, 1:8] = True
    mask[2:7, 2:7] = False
    mask[4, 4] = True
    ring, island = trace(mask)
    assert len(ring.holes) == 1
    assert island.outer.tolist() == [[4, 4], [4, 5], [5, 5], [5, 4]]


def test_a_pixel_belongs_to_the_ring_that_holds_its_centre() -> None:
    triangle = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    expected = np.add.outer(np.arange(4), np.arange(4)) < 3
    assert np.array_equal(fill([triangle], (4, 4)), expected)


def test_what_lies_outside_the_frame_is_cut_off() -> None:
    square = np.array([[-5.0, -5.0], [9.0, -5.0], [9.0, 2.0], [-5.0, 2.0]])
    assert fill([square], (3, 4)).sum() == 8


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_coordinate_is_a_number(number: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        fill([np.array([[0.0, 0.0], [number, 0.0], [1.0, 1.0]])], (3, 3))


@pytest.mark.parametrize("lengths", [[3], [-1, 5], [[4]]])
def test_run_lengths_add_up(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="add up"):
        from_run_lengths(lengths, 4)


def test_simplified_lines_stay_within_the_tolerance() -> None:
    rows, columns = np.mgrid[:200, :200]
    disc = (rows - 100) ** 2 + (columns - 90) ** 2 < 70**2
    exact = trace(disc)
    rough = simplify(exact, 1.0)
    assert len(rough[0].outer) < len(exact[0].outer) / 3
    lost = np.count_nonzero(fill(rings_of(rough), disc.shape) != disc)
    assert 0 < lost < 0.02 * disc.sum()


def test_a_ring_too_small_for_the_tolerance_stays() -> None:
    pixel = np.ones((1, 1), np.bool_)
    assert np.array_equal(simplify(trace(pixel), 9.0)[0].outer, trace(pixel)[0].outer)


def test_a_polygon_that_would_fill_the_memory_is_refused_at_once() -> None:
    ring = np.array([[0.0, 0.0], [1.0, 100_000.0]] * 200)
    with pytest.raises(ValueError, match="cross 40000000 rows"):
        fill([ring], (100_000, 1))
