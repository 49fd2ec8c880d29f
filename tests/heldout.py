"""Held-out images of which the truth is known, for the tests of calibration and rating."""

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.export.calibration import HeldOut, border_of

SIDE = 32


def traced_disc(side: int, row: float, column: float, radius: float) -> NDArray[np.bool_]:
    """Return a disc as an expert clicks it, (side, side): a polygon of twelve corners."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False) + 0.1
    corners = np.stack([column + radius * np.cos(angles), row + radius * np.sin(angles)], 1)
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1)
    return mask.astype(np.bool_)


def made_up(count: int, noise: float, seed: int = 0, folds: int = 2) -> HeldOut:
    """Return images whose evidence explains their Jaccard indices but for `noise`.

    Their maps are blank, and they have no borders.
    """
    chance = np.random.default_rng(seed)
    evidence = chance.normal(0, 1, (count, 5))
    jaccard = 0.8 + evidence @ [0.05, -0.04, 0.03, 0.0, 0.06] + chance.normal(0, noise, count)
    return HeldOut(
        names=np.array([f"image-{number}" for number in range(count)]),
        fold_of=np.array([f"fold-{number % folds}" for number in range(count)]),
        maps=list(np.zeros((count, 2, 2), np.float16)),
        evidence=evidence,
        jaccard=jaccard.clip(0, 1),
        border=np.full((count, 100, 2), np.nan, np.float32),
    )


def discs(count: int, seed: int = 0) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Return maps of discs, each as blurred as it is misplaced, and the true borders."""
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    maps, borders = [], []
    for _ in range(count):
        row, column = chance.uniform(11, 21, 2)
        blur = chance.uniform(0.3, 1.5)
        off = chance.normal(0, blur, 2)
        seen = np.hypot(y - row - off[0], x - column - off[1])
        maps.append(1 / (1 + np.exp((seen - 6) / blur)))
        borders.append(border_of(np.hypot(y - row, x - column) < 6, (SIDE, SIDE)))
    return np.array(maps, np.float16), np.array(borders)
