"""How far a mask's border lies from the true one: metrics beside the challenge's five.

Areas say little of a border: a rim of one pixel around a large lesion costs a hundredth of the
Jaccard index. Distances are in pixels of the photograph. They hold these conventions: two empty
masks agree (1, 0 and 0), and where one alone is empty the boundary IoU is 0 and both distances are
the photograph's diagonal, so that a lesion that was missed stays in the means.
"""

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Mask
from dermseg.masks.metrics import check_masks

RIM = 0.02
"""Width of the rim that the boundary IoU compares, as a share of the diagonal (Cheng 2021)."""
PERCENTILE = 95
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
SQUARE = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class BorderScores:
    """How well borders agree, of one image, or the means over images."""

    boundary_iou: float
    """Intersection over union of the masks' inner rims, each 2 % of the diagonal wide; 0 to 1."""
    hd95: float
    """95 % of each border's pixels lie within this distance of the other border, in pixels."""
    assd: float
    """Mean distance from either border's pixels to the other border, in pixels."""


BORDER_METRICS = tuple(field.name for field in fields(BorderScores))


def score_border(truth: Mask, prediction: Mask) -> BorderScores:
    """Score a mask's border against the true one.

    Parameters
    ----------
    truth
        The true mask, boolean (H, W).
    prediction
        The mask to score, boolean (H, W).

    Returns
    -------
    BorderScores
        Boundary IoU (Cheng et al., CVPR 2021), 95 % Hausdorff distance and average symmetric
        surface distance, in pixels. A border's pixels are those of the mask that touch what is no
        mask, or the photograph's edge, at a side.

    Raises
    ------
    TypeError
        If a mask is no array.
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> truth = dermseg.read_mask("examples/masks/ISIC_0003582_segmentation.png") > 128
    >>> dermseg.score_border(truth, truth)
    BorderScores(boundary_iou=1.0, hd95=0.0, assd=0.0)
    """
    check_masks(truth, prediction)
    height, width = truth.shape
    diagonal = float(np.hypot(height, width))
    if not truth.any() or not prediction.any():
        alike = bool(truth.any() == prediction.any())
        return BorderScores(float(alike), *((0.0 if alike else diagonal,) * 2))
    steps = max(1, round(RIM * diagonal))
    one, other = (_rim(mask, SQUARE, steps) for mask in (truth, prediction))
    common = np.count_nonzero(one & other) / np.count_nonzero(one | other)
    one, other = (_rim(mask, CROSS, 1) for mask in (truth, prediction))
    there, back = _distances(one, other), _distances(other, one)
    return BorderScores(
        float(common),
        float(max(np.percentile(each, PERCENTILE) for each in (there, back))),
        float(np.concatenate([there, back]).mean()),
    )


def _rim(mask: Mask, kernel: NDArray[np.uint8], steps: int) -> Mask:
    """Return the mask without what is left of it after `steps` erosions; outside is no mask."""
    inside = mask.astype(np.uint8)
    left = cv2.erode(
        inside, kernel, iterations=steps, borderType=cv2.BORDER_CONSTANT, borderValue=(0,)
    )
    rim: Mask = mask & (np.asarray(left) == 0)
    return rim


def _distances(border: Mask, other: Mask) -> NDArray[np.float64]:
    """Return how far each pixel of `border` is from the nearest one of `other`, (n,)."""
    away = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away, np.float64)[border]
