"""Region growing from the darkest place near the centre."""

import cv2
import numpy as np

from dermseg.experiments.baselines.baseline import Baseline, Grey, centrality, darkness, frame, step
from dermseg.imaging.images import Mask, Pixels
from dermseg.masks.postprocess import Probability

REACH = 0.2
"""How far from the centre the seed is looked for, as a share of height and width."""


def grow(pixels: Pixels, *, channel: str, sigma: float, fall: float) -> Probability:
    """Return the region around the darkest place near the centre, as far as darkness lasts.

    R. Adams and L. Bischof, Seeded region growing, IEEE Trans. Pattern Analysis and Machine
    Intelligence 16, 1994, with one seed and a fixed bound: a neighbour joins while its darkness
    has not fallen by more than the share `fall` of the way from the seed to the skin, which is the
    median of the picture's frame.
    """
    dark = darkness(pixels, channel, sigma)
    height, width = dark.shape
    row, column = divmod(int((dark * centrality(height, width, REACH)).argmax()), width)
    seed, skin = float(dark[row, column]), float(np.median(dark[frame(height, width)]))
    if seed <= skin:
        return np.zeros_like(dark)
    bound = seed - fall * (seed - skin)
    region = _connected(dark >= bound, row, column)
    return step(np.where(region, dark, np.minimum(dark, bound)), bound, seed - skin) * _near(region)


def _connected(mask: Mask, row: int, column: int) -> Mask:
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    return np.asarray(labels == labels[row, column])


def _near(region: Mask) -> Grey:
    """Return 1 within a pixel of the region, 0 elsewhere: other dark places do not count."""
    return cv2.dilate(region.astype(np.float32), np.ones((3, 3), np.uint8)).astype(np.float32)


BASELINE = Baseline(
    "region growing",
    "Adams & Bischof 1994",
    grow,
    {
        "channel": ("red", "blue", "grey"),
        "sigma": (0.0, 1.0, 2.0),
        "fall": (0.5, 0.6, 0.7, 0.8),
    },
)
