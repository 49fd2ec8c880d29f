"""What every method without training has in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Pixels
from dermseg.masks.postprocess import Probability

Grey = NDArray[np.float32]
Parameters = Mapping[str, Any]
SOFTNESS = 0.1
"""Width of the step from skin to lesion, as a share of the contrast between the two."""
MARGIN = 0.08
"""Width of the frame that is taken for skin, as a share of the height and of the width."""


@dataclass(frozen=True)
class Baseline:
    """A method that finds the lesion without being trained.

    `segment` takes uint8 RGB (h, w, 3) and keywords, and returns the probability of lesion, float32
    (h, w) in 0..1, which is binarised at one half like any network's. `grid` holds what is tried
    for each keyword; the choice is made out of fold.
    """

    label: str
    source: str
    segment: Callable[..., Probability]
    grid: Mapping[str, Sequence[Any]]

    @property
    def candidates(self) -> list[Parameters]:
        """Every combination of the grid's values."""
        return [
            dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())
        ]


def darkness(pixels: Pixels, channel: str, sigma: float) -> Grey:
    """Return how dark each pixel is, float32 (h, w) in 0..1, smoothed by a Gaussian.

    `channel` is "blue", in which pigment absorbs most, "grey", or "red"; `sigma` is in percent of
    the width, so that it means the same at any size.
    """
    if channel == "grey":
        grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    else:
        grey = pixels[..., ("red", "green", "blue").index(channel)]
    return 1 - smoothed(grey.astype(np.float32) / np.float32(255), sigma)


def smoothed(grey: Grey, sigma: float) -> Grey:
    """Return `grey`, (h, w), smoothed by a Gaussian of `sigma` percent of the width."""
    if sigma == 0:
        return grey
    wide = sigma / 100 * grey.shape[1]
    blurred = cv2.GaussianBlur(grey, (0, 0), wide, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


def step(values: Grey, threshold: float, contrast: float) -> Probability:
    """Return a logistic step: one half where `values` are at the `threshold`, 1 far above it."""
    slope = max(SOFTNESS * contrast, 1e-6)
    found: Probability = 1 / (1 + np.exp(((threshold - values) / slope).clip(-50, 50)))
    return found


def frame(height: int, width: int) -> NDArray[np.bool_]:
    """Return where the picture's frame is, boolean (height, width): skin, most likely."""
    rows, columns = (max(1, round(MARGIN * side)) for side in (height, width))
    found = np.ones((height, width), np.bool_)
    found[rows:-rows, columns:-columns] = False
    return found


def centrality(height: int, width: int, reach: float) -> Grey:
    """Return a Gaussian around the picture's centre, float32 (height, width), at most 1.

    `reach` is its standard deviation as a share of the height and of the width.
    """
    y = ((np.arange(height) + 0.5) / height - 0.5)[:, np.newaxis]
    x = (np.arange(width) + 0.5) / width - 0.5
    return np.exp(-(y**2 + x**2) / (2 * reach**2)).astype(np.float32)
