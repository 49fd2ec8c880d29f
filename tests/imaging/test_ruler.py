import numpy as np
import pytest
from rulers import hairs, skin, with_ruler

from dermseg.imaging.ruler import find_ruler


@pytest.mark.parametrize("angle", [0.0, -13.0, -31.0])
@pytest.mark.parametrize("millimetre", [32.0, 47.5])
def test_a_ruler_at_any_angle(millimetre: float, angle: float) -> None:
    found = find_ruler(with_ruler(millimetre, angle))
    assert found is not None
    assert found.millimetres >= 9
    assert found.pixels_per_mm == pytest.approx(millimetre, rel=0.01)
    if found.millimetres == 10:
        assert min(found.start, found.end) == pytest.approx((120, 500), abs=6)


@pytest.mark.parametrize(("turns", "factor"), [(0, 1), (1, 3), (2, 1), (3, 2)])
def test_a_ruler_under_hairs_turned_and_enlarged(turns: int, factor: int) -> None:
    pixels = np.rot90(hairs(with_ruler(50.0, -4.0)), turns)
    found = find_ruler(np.ascontiguousarray(pixels.repeat(factor, 0).repeat(factor, 1)))
    assert found is not None
    assert found.pixels_per_mm == pytest.approx(50 * factor, rel=0.015)


def test_half_millimetres_are_told_by_the_longer_ticks() -> None:
    # Long ticks alone are too few for a row of ten: 7 of them, and 6 between.
    found = find_ruler(with_ruler(70.0, count=6, parts=2))
    assert found is not None
    assert found.pixels_per_mm == pytest.approx(70, rel=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_hair_and_skin_are_no_ruler(seed: int) -> None:
    assert find_ruler(skin(seed)) is None
    assert find_ruler(hairs(skin(seed), 25, seed)) is None


def test_ticks_at_other_distances_and_too_few_are_no_ruler() -> None:
    assert find_ruler(with_ruler(60.0, count=5, parts=1)) is None
    uneven = skin()
    uneven[500:502, 100:700] = 40
    for place in 100 + np.cumsum(np.random.default_rng(0).integers(20, 60, 14)):
        uneven[480:500, place : place + 2] = 40
    assert find_ruler(uneven) is None


def test_pictures_without_anything() -> None:
    for shape in ((1, 1, 3), (60, 80, 3), (40, 2000, 3), (1, 10_000, 3), (10_000, 1, 3)):
        assert find_ruler(np.full(shape, 200, np.uint8)) is None
