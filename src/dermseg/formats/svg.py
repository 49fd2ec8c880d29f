"""Outlines as an SVG drawing, to lay over the photograph in a browser or a drawing program."""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.overlay import RESULT_COLOR

COLOR = f"#{bytes(RESULT_COLOR).hex()}"
LINES_ACROSS = 400
"""The photograph's longest side, in widths of the line."""


def write(outlines: Sequence[NDArray[np.int32]], size: tuple[int, int], title: str) -> str:
    """Write outlines as an SVG drawing of the photograph's size.

    Parameters
    ----------
    outlines
        Around each piece and each hole x and y of the border's pixels, int32 (n, 2).
    size
        The photograph's (height, width) in pixels.
    title
        The drawing's title, plain text.

    Returns
    -------
    str
        An SVG document with a polygon for each outline, through the centres of its pixels.

    Examples
    --------
    >>> drawing = write([np.array([[1, 1], [3, 1], [3, 2]], np.int32)], (4, 6), "Outline")
    >>> 'points="1.5,1.5 3.5,1.5 3.5,2.5"' in drawing
    True
    """
    height, width = size
    # A pixel's centre lies half a pixel from its corner, where SVG counts from.
    corners = (
        " ".join(f"{x + 0.5:g},{y + 0.5:g}" for x, y in outline.tolist()) for outline in outlines
    )
    polygons = "".join(f'<polygon points="{points}"/>' for points in corners)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><title>{escape(title)}</title>'
        f'<g fill="none" stroke="{COLOR}" stroke-width="{max(1, max(size) / LINES_ACROSS):g}">'
        f"{polygons}</g></svg>\n"
    )
