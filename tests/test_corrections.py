"""The polygons and the plans against which corrections on the page are measured."""

import numpy as np
import pytest
from fewest_corners import fewest_corners, perimeter

from dermseg.imaging.images import Mask
from dermseg.masks.polygons import fill


@pytest.fixture
def square() -> Mask:
    mask = np.zeros((200, 300), np.bool_)
    mask[50:150, 100:200] = True
    return mask


def test_a_square_has_four_corners(square: Mask) -> None:
    corners, jaccard = fewest_corners(square, 0.95)
    assert len(corners) == 4
    assert jaccard >= 0.95
    drawn = fill([corners], (200, 300))
    assert (drawn & square).sum() / (drawn | square).sum() > 0.93
    assert perimeter(corners) == pytest.approx(400, rel=0.05)


def test_a_disc_takes_more_the_closer(square: Mask) -> None:
    rows, columns = np.ogrid[:200, :300]
    disc = (rows - 100) ** 2 + (columns - 150) ** 2 < 60**2
    counts = [len(fewest_corners(disc, goal)[0]) for goal in (0.6, 0.8, 0.9, 0.95)]
    assert counts == sorted(counts)
    assert counts[0] == 3
    assert 5 <= counts[2] <= 6  # the best pentagon reaches 0.90, the best hexagon 0.93


def test_a_plan_is_the_shortest_line_that_does(square: Mask) -> None:
    hand = pytest.importorskip("hand", reason="needs Playwright")
    planner = hand.Planner(square, 1.0)
    found = square.copy()
    found[50:150, 200:240] = True  # too much on one side
    plan = planner.best(found, ("redraw",))
    assert plan.jaccard >= hand.SURE
    assert 30 < plan.length < 150
    around = planner.best(found, ("lasso-erase",))
    assert around.length > 1.5 * plan.length
