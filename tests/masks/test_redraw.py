"""A line in the place of a part of the border."""

import numpy as np
import pytest

from dermseg.imaging.images import Mask
from dermseg.masks.polygons import Ring
from dermseg.masks.redraw import redraw


@pytest.fixture
def mask() -> Mask:
    """Return a large square with a hole, and a small one."""
    mask = np.zeros((60, 90), np.bool_)
    mask[10:50, 10:50] = mask[20:26, 70:76] = True
    mask[28:32, 28:32] = False
    return mask


def line(*points: tuple[float, float]) -> Ring:
    return np.array(points, np.float64)


def test_outside_a_line_adds(mask: Mask) -> None:
    expected = mask.copy()
    expected[20:40, 50:60] = True
    bulge = line((50, 20), (60, 20), (60, 40), (50, 40))
    np.testing.assert_array_equal(redraw(mask, bulge), expected)
    np.testing.assert_array_equal(redraw(mask, bulge[::-1]), expected)


def test_inside_it_takes_away(mask: Mask) -> None:
    expected = mask.copy()
    expected[20:40, 45:50] = False
    dent = line((50, 20), (45, 20), (45, 40), (50, 40))
    np.testing.assert_array_equal(redraw(mask, dent), expected)
    np.testing.assert_array_equal(redraw(mask, dent[::-1]), expected)


def test_a_line_may_do_both(mask: Mask) -> None:
    expected = mask.copy()
    expected[15:20, 50:55] = True
    expected[20:25, 45:50] = False
    both = line((50, 15), (55, 15), (55, 20), (45, 20), (45, 25), (50, 25))
    np.testing.assert_array_equal(redraw(mask, both), expected)


def test_the_ends_are_joined_to_the_border(mask: Mask) -> None:
    expected = mask.copy()
    expected[20:40, 45:50] = False
    np.testing.assert_array_equal(
        redraw(mask, line((48, 20), (45, 20), (45, 40), (48, 40))), expected
    )
    np.testing.assert_array_equal(
        redraw(mask, line((54, 20), (45, 20), (45, 40), (54, 40))), expected
    )


def test_ends_that_lead_away_are_cut_off(mask: Mask) -> None:
    dent = line((58, 15), (50, 20), (45, 20), (45, 40), (50, 40), (58, 45))
    expected = mask.copy()
    expected[20:40, 45:50] = False
    np.testing.assert_array_equal(redraw(mask, dent), expected)
    bulge = line((40, 20), (50, 20), (60, 20), (60, 40), (50, 40), (40, 40))
    expected[20:40, 45:60] = True
    np.testing.assert_array_equal(redraw(mask, bulge), expected)
    np.testing.assert_array_equal(redraw(mask, line((60, 30), (40, 30))), mask)  # not through


def test_an_end_beside_the_border_stays(mask: Mask) -> None:
    expected = mask.copy()
    expected[15:20, 50:52] = True
    expected[20:40, 47:50] = False
    along = line((48, 40), (47, 40), (47, 20), (52, 20), (52, 15), (51, 15))
    np.testing.assert_array_equal(redraw(mask, along), expected)


def test_the_larger_part_stays(mask: Mask) -> None:
    across = redraw(mask, line((5, 40), (55, 40)))
    np.testing.assert_array_equal(across[:40], mask[:40])
    assert not across[40:].any()


def test_around_corners(mask: Mask) -> None:
    most = redraw(mask, line((50, 12), (60, 12), (60, 60), (5, 60), (5, 12), (10, 12)))
    assert most[12:60, 5:60].sum() == 48 * 55 - 16
    np.testing.assert_array_equal(most[:12], mask[:12])


@pytest.mark.parametrize("end", [(50, 30), (50, 26)])
def test_nearly_all_around(mask: Mask, end: tuple[float, float]) -> None:
    wide = line((50, 28), (60, 28), (60, 5), (5, 5), (5, 55), (60, 55), (60, 30), end)
    assert 48 * 50 < redraw(mask, wide)[:, :65].sum() <= 50 * 55


def test_a_closed_line_is_the_whole_mask(mask: Mask) -> None:
    expected = np.zeros_like(mask)
    expected[30:40, 60:80] = True
    around = line((60, 30), (80, 30), (80, 40), (60, 40), (60, 30))
    np.testing.assert_array_equal(redraw(mask, around), expected)
    np.testing.assert_array_equal(redraw(np.zeros_like(mask), around[:-1]), expected)


def test_only_the_nearest_piece_changes(mask: Mask) -> None:
    expected = mask.copy()
    expected[20:26, 73:76] = False
    np.testing.assert_array_equal(redraw(mask, line((73, 19), (73, 27))), expected)


def test_beyond_the_frame_there_is_nothing(mask: Mask) -> None:
    bulge = redraw(mask, line((20, 10), (20, -30), (40, -30), (40, 10)))
    assert bulge[:10, 20:40].all()
    assert not bulge[:10, :20].any()


def test_any_line_will_do() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        mask = generator.random((12, 15)) < generator.random()
        points = generator.normal(6, 8, (generator.integers(2, 6), 2)).round(1)
        assert redraw(mask, points).shape == mask.shape
