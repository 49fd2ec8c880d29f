"""Draw the lesion's outline on its photograph."""

from collections.abc import Sequence
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Pixels, resize
from dermseg.imaging.orientation import upright
from dermseg.imaging.photographs import Photograph
from dermseg.settings import OVERLAY_SIDE

RESULT_COLOR = (255, 230, 0)
"""Yellow, as the paper draws its results (Figure 3)."""
BAND_COLOR = (0, 160, 255)
"""Blue, for the contours between which the border may lie."""


def draw_overlay(
    photograph: Photograph,
    outline: NDArray[np.int32] | Sequence[NDArray[np.int32]],
    band: Sequence[NDArray[np.float32]] = (),
) -> Pixels:
    """Draw a lesion's outline on its photograph.

    Parameters
    ----------
    photograph
        The photograph, perhaps at a reduced scale.
    outline
        x and y of the border, int32 (n, 2), in pixels of `photograph.height` x
        `photograph.width`; there may be several.
    band
        Contours between which the border may lie, float32 (n, 2) each, in the same pixels. They
        are drawn thinner, below the outline.

    Returns
    -------
    numpy.ndarray
        uint8 RGB, (h, w, 3), upright as EXIF says. The longest side has at most 1024 pixels.

    Examples
    --------
    >>> photograph = dermseg.read_photograph("examples/photographs/ISIC_0003582.jpg")
    >>> lesion = dermseg.segment(photograph)
    >>> dermseg.draw_overlay(photograph, lesion.outline, lesion.band_contours).shape
    (512, 768, 3)
    """
    scale = min(1.0, OVERLAY_SIDE / max(photograph.height, photograph.width))
    height, width = (max(1, round(s * scale)) for s in (photograph.height, photograph.width))
    picture = resize(photograph.pixels, height, width).copy()
    factor = np.array([width / photograph.width, height / photograph.height])
    thickness = max(1, round(max(height, width) / 400))
    for contour in band:
        _draw(picture, contour, factor, BAND_COLOR, ceil(thickness * 0.6))
    rings = [outline] if isinstance(outline, np.ndarray) else outline
    for color, width_of_line in (((0, 0, 0), thickness + 2), (RESULT_COLOR, thickness)):
        for ring in rings:
            if len(ring):
                _draw(picture, ring, factor, color, width_of_line)
    return upright(picture, photograph.orientation)


def _draw(
    picture: Pixels,
    contour: NDArray[np.int32] | NDArray[np.float32],
    factor: NDArray[np.float64],
    color: tuple[int, int, int],
    thickness: int,
) -> None:
    """Draw a closed contour, (n, 2), after scaling by `factor`, to a sixteenth of a pixel."""
    # Pixel centres lie at half-integers, in the photograph as in the picture.
    fine = ((contour + 0.5) * factor - 0.5) * 16
    points = fine.round().astype(np.int32)[:, np.newaxis]
    cv2.polylines(picture, [points], True, color, thickness, cv2.LINE_AA, shift=4)
