"""Otsu's threshold."""

import cv2
import numpy as np

from dermseg.experiments.baselines.baseline import Baseline, darkness, step
from dermseg.imaging.images import Pixels
from dermseg.masks.postprocess import Probability


def otsu(pixels: Pixels, *, channel: str, sigma: float) -> Probability:
    """Return the pixels darker than Otsu's threshold, with a soft step at it.

    N. Otsu, A threshold selection method from gray-level histograms, IEEE Trans. Systems, Man, and
    Cybernetics 9, 1979: the threshold that separates two classes best. In dermoscopy mostly on the
    blue channel (M. E. Celebi et al., Lesion border detection in dermoscopy images, 2009).
    """
    dark = darkness(pixels, channel, sigma)
    bytes_ = (dark * 255).round().astype(np.uint8)
    level, _ = cv2.threshold(bytes_, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    threshold = (level + 0.5) / 255
    above = dark > threshold
    contrast = float(dark[above].mean() - dark[~above].mean()) if 0 < above.mean() < 1 else 0.0
    return step(dark, threshold, contrast)


BASELINE = Baseline(
    "Otsu's threshold",
    "Otsu 1979",
    otsu,
    {"channel": ("red", "blue", "grey"), "sigma": (0.0, 1.0, 2.0)},
)
