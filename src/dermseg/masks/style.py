"""How a lesion was outlined, read from its mask: traced by an expert, or filled semi-automatically.

The masks of the ISIC challenges were made in two ways. An expert clicked points around the lesion
(traced: a polygon, generous), or tuned a flood fill from a seed point (semi-automatic: a tight,
jagged border, or steps where the fill was made on a smaller image). Which way was taken depends on
the source of a photograph, not on its lesion.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.settings import Style

UNTOLD = 0
"""What a network that takes a style's id is given where no style is asked for."""
STYLE_IDS: dict[Style, int] = {"traced": 1, "semi-automatic": 2}
"""Style to what such a network is given for it."""
STYLE_NAMES = {UNTOLD: "unclear", **{number: style for style, number in STYLE_IDS.items()}}
"""The same the other way round, and what a mask without a style is called."""

FINE = 0.5
"""Tolerance, in pixels, that the steps of a rasterised straight line exceed."""
COARSE = 1.0
"""Tolerance, in pixels, that the steps of a rasterised straight line stay within."""
BOUNDARY = 0.285
"""Share of the outline's vertices that remain at the coarse tolerance, between the two styles.

Of the ISIC 2017 masks whose tool is on record, the 366 drawn by points have 0.220 at most, and the
1060 others 0.369 at least; this is the geometric mean of the two."""
STEEPNESS = 12.0
"""Of the confidence around the boundary: the most doubtful of those masks have 0.96."""
SHORTEST = 64
"""Outlines of fewer pixels have too few vertices to be read."""


@dataclass(frozen=True)
class StyleReading:
    """The style of an outline, and how sure the reading is."""

    style: Style | None
    """None where there is no outline, or one too short to read."""
    confidence: float
    """From 0.5, a coin's toss, to 1; 0 without a style. Below 0.95 the mask fits neither style."""


def read_style(mask: NDArray[np.bool_]) -> StyleReading:
    """Read from a mask's border how the lesion was outlined.

    A rasterised straight line leaves its ideal by at most a pixel, so nearly all the vertices that
    approximate a polygon within half a pixel are superfluous within one. Those of a flood fill
    are real corners, and stay. The share of vertices that stay depends neither on the lesion's
    size nor on the photograph's.

    Parameters
    ----------
    mask
        Boolean, (height, width), at the size at which it was drawn: a mask that was reduced or
        enlarged has another border. The largest region is read.

    Returns
    -------
    StyleReading
        The style, and the confidence of the reading.

    Notes
    -----
    The vertices are those of Douglas and Peucker (1973). Steps of several pixels, as enlargement
    without interpolation leaves them, read as semi-automatic; a smooth curve reads as traced.

    Examples
    --------
    >>> y, x = np.mgrid[:400, :600]
    >>> read_style((x - 300) ** 2 / 4 + (y - 200) ** 2 < 100**2).style
    'traced'
    """
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea, default=None)
    if outline is None or len(outline) < SHORTEST:
        return StyleReading(None, 0.0)
    share = _vertices(outline, COARSE) / _vertices(outline, FINE)
    confidence = 1 / (1 + math.exp(-STEEPNESS * abs(math.log(share / BOUNDARY))))
    return StyleReading("traced" if share < BOUNDARY else "semi-automatic", confidence)


def _vertices(outline: NDArray[Any], tolerance: float) -> int:
    return len(cv2.approxPolyDP(outline, tolerance, True))
