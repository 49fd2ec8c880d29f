"""Reading from a mask's border how the lesion was outlined."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermseg.imaging.mask_files import MASK_FOREGROUND, read_mask
from dermseg.masks.style import StyleReading, read_style

Mask = NDArray[np.bool_]
EXAMPLES = Path(__file__).parents[2] / "examples" / "masks"


def polygon(points: int, height: int = 600, width: int = 800, seed: int = 0) -> Mask:
    """Return a lesion outlined by clicked points."""
    chance = np.random.default_rng(seed)
    angles = np.sort(chance.uniform(0, 2 * math.pi, points))
    radii = chance.uniform(0.2, 0.35, points) * height
    corners = np.stack((np.cos(angles), np.sin(angles)), 1) * radii[:, None]
    corners += (width / 2, height / 2)
    drawn = np.zeros((height, width), np.uint8)
    cv2.fillPoly(drawn, [corners.round().astype(np.int32)], 1)
    return drawn > 0


def filled(height: int = 600, width: int = 800, seed: int = 0) -> Mask:
    """Return a lesion as a flood fill finds it: all that is darker than a value, in noise."""
    noise = np.random.default_rng(seed).normal(0, 1, (height, width))
    y, x = np.mgrid[:height, :width]
    shade = np.hypot(x - width / 2, y - height / 2) / height - 0.25
    found = shade + 0.05 * cv2.GaussianBlur(noise, (0, 0), 1.5) < 0
    return cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3))) > 0


def stepped(block: int, seed: int = 0) -> Mask:
    """Return a lesion that was found on a small image and enlarged in blocks."""
    return filled(96, 128, seed).repeat(block, 0).repeat(block, 1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("points", [8, 20, 60])
@pytest.mark.parametrize("size", [(540, 720), (2000, 3000)])
def test_a_polygon_is_traced(points: int, size: tuple[int, int], seed: int) -> None:
    reading = read_style(polygon(points, *size, seed))
    assert reading.style == "traced"
    assert reading.confidence > 0.95


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(540, 720), (2000, 3000)])
def test_a_flood_fill_is_semi_automatic(size: tuple[int, int], seed: int) -> None:
    reading = read_style(filled(*size, seed))
    assert reading.style == "semi-automatic"
    assert reading.confidence > 0.95


@pytest.mark.parametrize("block", [4, 10, 28])
def test_steps_of_an_enlarged_mask_are_semi_automatic(block: int) -> None:
    reading = read_style(stepped(block))
    assert reading.style == "semi-automatic"
    assert reading.confidence > 0.99


def test_a_lesion_that_leaves_the_photograph_is_read_by_the_rest_of_its_border() -> None:
    assert read_style(polygon(20)[150:450, 250:]).style == "traced"
    assert read_style(filled()[150:450, 250:]).style == "semi-automatic"


def test_the_largest_region_is_read() -> None:
    mask = polygon(20)
    mask[:100, :100] = filled(100, 100)
    assert read_style(mask).style == "traced"


def test_turning_and_mirroring_change_little() -> None:
    for mask in (polygon(20), filled(), stepped(6)):
        reading = read_style(mask)
        for other in (mask.T, mask[::-1], mask[:, ::-1]):
            again = read_style(np.ascontiguousarray(other))
            assert again.style == reading.style
            assert again.confidence == pytest.approx(reading.confidence, abs=0.02)


def test_nothing_and_almost_nothing_have_no_style() -> None:
    mask = np.zeros((50, 60), bool)
    assert read_style(mask) == StyleReading(None, 0.0)
    mask[20:25, 20:25] = True
    assert read_style(mask) == StyleReading(None, 0.0)


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("ISIC_0003582", "traced"),
        ("ISIC_0012660", "semi-automatic"),
        ("ISIC_0014610", "semi-automatic"),
        ("ISIC_0014633", "semi-automatic"),
    ],
)
def test_real_masks_are_of_one_style_or_the_other(name: str, style: str) -> None:
    reading = read_style(read_mask(EXAMPLES / f"{name}_segmentation.png") > MASK_FOREGROUND)
    assert reading.style == style
    assert reading.confidence > 0.99
