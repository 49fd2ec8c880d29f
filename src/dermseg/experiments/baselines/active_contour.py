"""An active contour on a saliency map."""

import cv2
import numpy as np

from dermseg.experiments.baselines.baseline import Baseline, Grey, centrality, frame, smoothed
from dermseg.imaging.images import Pixels
from dermseg.masks.postprocess import Probability

SIGMA = 1.0
"""Of the Gaussian that smooths the photograph, in percent of its width."""
FULL = 0.98
"""The quantile of saliency from which on it is 1."""
ITERATIONS = 20
SMOOTHINGS = 2
"""Of the contour after each iteration: hairs are not followed."""


def active_contour(pixels: Pixels, *, colors: str, reach: float, inside: float) -> Probability:
    """Return what a contour encloses that was started on a saliency map and moved upon it.

    After the paper's baseline NedMos (its reference [25], Table VI), whose method it does not tell.
    The contour starts where `saliency` is above Otsu's threshold and moves by scikit-image's
    morphological Chan-Vese (P. Marquez-Neila, L. Baumela and L. Alvarez, IEEE Trans. Pattern
    Analysis and Machine Intelligence 36, 2014); `inside` is how much the spread within it counts
    when that without counts 1.
    """
    from skimage.segmentation import morphological_chan_vese

    salient = saliency(pixels, colors, reach)
    bytes_ = (salient * 255).round().astype(np.uint8)
    _, start = cv2.threshold(bytes_, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    found = morphological_chan_vese(  # type: ignore[no-untyped-call]
        salient, ITERATIONS, init_level_set=start, smoothing=SMOOTHINGS, lambda1=inside
    )
    return smoothed(found.astype(np.float32), 1.0)


def saliency(pixels: Pixels, colors: str, reach: float) -> Grey:
    """Return how much each pixel stands out, float32 (h, w) in 0..1.

    With `colors` "all", how far its colour is from those of the picture's frame (Mahalanobis
    distance); with "blue", how much darker it is in blue than the frame's median. Either counts
    less the farther a pixel lies from the centre: a Gaussian of `reach` times height and width.
    """
    height, width = pixels.shape[:2]
    parts = np.moveaxis(pixels.astype(np.float32) / 255, 2, 0)
    smooth = np.stack([smoothed(part, SIGMA) for part in parts], -1)
    skin = smooth[frame(height, width)]
    away = smooth - np.median(skin, 0)
    if colors == "blue":
        distance = np.maximum(-away[..., 2], 0)
    else:
        precision = np.linalg.inv(np.cov(skin.T) + 1e-3 * np.eye(3))
        distance = np.sqrt(np.einsum("...j,jk,...k->...", away, precision, away))
    salient = distance * centrality(height, width, reach)
    full = max(float(np.quantile(salient, FULL)), 1e-6)
    found: Grey = (salient / full).clip(0, 1).astype(np.float32)
    return found


BASELINE = Baseline(
    "active contour on saliency",
    "the paper's reference [25]; Marquez-Neila et al. 2014",
    active_contour,
    {"colors": ("all", "blue"), "reach": (0.3, 0.5), "inside": (0.1, 0.25, 0.5)},
)
