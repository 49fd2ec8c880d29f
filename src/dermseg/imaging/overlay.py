"""Draw the lesion's outline on its photograph."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Pixels, resize, size_within
from dermseg.imaging.orientation import upright
from dermseg.imaging.photographs import Photograph
from dermseg.settings import OVERLAY_SIDE

RESULT_COLOR = (255, 230, 0)
"""Yellow, as the paper draws its results (Figure 3); strokes.js and style.css have it too."""
BAND_COLOR = (0, 160, 255)
"""Blue, for the contours between which the border may lie."""
LINES_IN_LESION = 50
"""The shorter side of a lesion, at least, in widths of the line."""


def draw_overlay(
    photograph: Photograph,
    outline: NDArray[np.int32] | Sequence[NDArray[np.int32]],
    band: Sequence[NDArray[np.float32]] = (),
    *,
    side: int | None = OVERLAY_SIDE,
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
    side
        Longest side of the picture in pixels, where the photograph is larger; None for its full
        size.

    Returns
    -------
    numpy.ndarray
        uint8 RGB, (h, w, 3), upright as EXIF says.

    Examples
    --------
    >>> photograph = dermseg.read_photograph("examples/photographs/ISIC_0003582.jpg")
    >>> lesion = dermseg.segment(photograph)
    >>> dermseg.draw_overlay(photograph, lesion.outline, lesion.band_contours).shape
    (512, 768, 3)
    """
    size = photograph.height, photograph.width
    height, width = size if side is None else size_within(size, side)
    picture = resize(photograph.pixels, height, width).copy()
    factor = np.array([width / photograph.width, height / photograph.height])
    given = [outline] if isinstance(outline, np.ndarray) else outline
    rings = [ring for ring in given if len(ring)]
    thickness = _thickness(rings, factor, max(height, width))
    for contour in band:
        _draw(picture, contour, factor, BAND_COLOR, math.ceil(thickness * 0.6))
    rim = thickness + 2 * math.ceil(thickness / 3)
    for color, width_of_line in (((0, 0, 0), rim), (RESULT_COLOR, thickness)):
        for ring in rings:
            _draw(picture, ring, factor, color, width_of_line)
    return upright(picture, photograph.orientation)


def _thickness(
    rings: Sequence[NDArray[np.int32]], factor: NDArray[np.float64], longest: int
) -> int:
    """Return the line's width: 3 pixels of 1024, 8 of 9000; less for a lesion that it would hide.

    Above 1024 it grows more slowly than the picture: one looks closely at a large one's border.
    """
    sides = [np.ptp(ring, axis=0) * factor for ring in rings]
    thickest = max((float(each.min()) for each in sides), default=0.0) / LINES_IN_LESION
    return max(1, round(min(longest / 400, math.sqrt(longest) / 12.5, thickest)))


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
