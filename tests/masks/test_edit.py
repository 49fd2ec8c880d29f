"""Masks changed as a whole."""

import numpy as np
import pytest

from dermseg.imaging.images import Mask
from dermseg.masks.edit import edit_mask


@pytest.fixture
def mask() -> Mask:
    """Return a large square with a hole, a small one, and a hair on the large one."""
    mask = np.zeros((60, 90), np.bool_)
    mask[10:50, 10:50] = mask[20:26, 70:76] = True
    mask[28:32, 28:32] = False
    mask[30, 50:60] = True
    return mask


def test_the_largest_piece_keeps_its_hole(mask: Mask) -> None:
    expected = mask.copy()
    expected[:, 65:] = False
    np.testing.assert_array_equal(edit_mask(mask, "largest"), expected)


def test_holes_are_filled(mask: Mask) -> None:
    expected = mask.copy()
    expected[28:32, 28:32] = True
    np.testing.assert_array_equal(edit_mask(mask, "fill"), expected)


def test_an_island_in_a_hole_is_a_piece_of_its_own(mask: Mask) -> None:
    mask[15:45, 15:45] = False
    ring = edit_mask(mask, "largest")
    mask[22:38, 22:38] = True
    np.testing.assert_array_equal(edit_mask(mask, "largest"), ring)
    assert edit_mask(mask, "fill")[10:50, 10:50].all()


def test_what_is_finer_is_rounded_off(mask: Mask) -> None:
    smooth = edit_mask(mask, "smooth", 3)
    assert not smooth[30, 53:].any()
    assert smooth[12:48, 14:26].all()


def test_the_border_moves_by_pixels(mask: Mask) -> None:
    grown, shrunk = edit_mask(mask, "grow", 2), edit_mask(mask, "shrink", 2)
    assert np.argwhere(grown).min(0).tolist() == [8, 8]
    assert np.argwhere(shrunk).min(0).tolist() == [12, 12]
    assert (shrunk <= mask).all()
    assert (mask <= grown).all()


def test_the_photographs_edge_eats_nothing_away() -> None:
    assert edit_mask(np.ones((9, 9), np.bool_), "shrink", 3).all()


@pytest.mark.parametrize("edit", ["largest", "fill", "smooth", "grow", "shrink"])
def test_nothing_stays_nothing(edit: str) -> None:
    assert not edit_mask(np.zeros((9, 12), np.bool_), edit, 2).any()  # type: ignore[arg-type]


@pytest.mark.parametrize(("edit", "by"), [("twist", 1), ("grow", 0), ("grow", 65)])
def test_what_is_refused(mask: Mask, edit: str, by: int) -> None:
    with pytest.raises(ValueError, match="no such edit"):
        edit_mask(mask, edit, by)  # type: ignore[arg-type]
