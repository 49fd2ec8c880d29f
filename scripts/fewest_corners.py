"""The polygon of the fewest corners that outlines a lesion well enough, drawn from scratch."""

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Mask, resize

SIDE = 256
"""Pixels of the longer side at which polygons are compared."""
FRACTION = 4
"""Bits of a pixel's fraction in OpenCV's polygons."""
STARTS = 12
"""Polygons from which each search begins, turned along the true outline."""
DIRECTIONS = [(np.cos(turn), np.sin(turn)) for turn in np.arange(8) * np.pi / 4]
MOST = 40

Corners = NDArray[np.float64]


def fewest_corners(truth: Mask, goal: float) -> tuple[Corners, float]:
    """Return the polygon of the fewest corners whose Jaccard index with a mask reaches `goal`.

    From three corners up, polygons on the true outline are improved: each corner goes wherever the
    index grows, off the outline too, in ever smaller steps. It is as good as a person could do who
    tries every corner many times.

    Parameters
    ----------
    truth
        The true mask, boolean (H, W).
    goal
        The Jaccard index to reach, 0 to 1.

    Returns
    -------
    corners, jaccard
        x and y of the corners, float64 (n, 2), in the mask's pixels; the index that they reach.

    Raises
    ------
    ValueError
        If 40 corners do not reach it.
    """
    scale = SIDE / max(truth.shape)
    size = tuple(round(side * scale) for side in truth.shape)
    small = resize(truth.view(np.uint8) * np.uint8(255), *size) // np.uint8(128)
    contours, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(contours, key=cv2.contourArea)[:, 0].astype(np.float64)
    for count in range(3, MOST):
        for start in range(STARTS):
            places = np.arange(count) / count + start / STARTS / count
            corners = outline[(places * len(outline)).astype(int) % len(outline)]
            corners, jaccard = _improved(small, corners, goal)
            if jaccard >= goal:
                return corners / scale, jaccard
    raise ValueError(f"{MOST} corners do not reach {goal}")


def perimeter(corners: Corners) -> float:
    """Return the length of the closed line through corners."""
    return float(np.hypot(*(np.roll(corners, -1, axis=0) - corners).T).sum())


def _improved(mask: NDArray[np.uint8], corners: Corners, goal: float) -> tuple[Corners, float]:
    """Move corners one by one until the index reaches `goal` or grows no more."""
    best, step = _jaccard(mask, corners), SIDE / 16
    while step >= 0.5:
        before = best
        for corner in range(len(corners)):
            for direction in DIRECTIONS:
                moved = corners.copy()
                moved[corner] += np.multiply(direction, step)
                jaccard = _jaccard(mask, moved)
                if jaccard > best:
                    corners, best = moved, jaccard
        if best >= goal:
            break
        if best == before:
            step /= 2
    return corners, best


def _jaccard(mask: NDArray[np.uint8], corners: Corners) -> float:
    drawn = np.zeros_like(mask)
    cv2.fillPoly(drawn, [np.round(corners * 2**FRACTION).astype(np.int32)], 1, shift=FRACTION)
    both = cv2.countNonZero(drawn & mask)
    return both / (cv2.countNonZero(drawn) + cv2.countNonZero(mask) - both)
