"""A mask changed as a whole: its largest piece, its holes, its smoothness, its size."""

from collections.abc import Callable
from typing import Literal, get_args

import cv2
import numpy as np

from dermseg.imaging.images import Mask
from dermseg.masks.outlines import outlines_of

Edit = Literal["largest", "fill", "smooth", "grow", "shrink"]
FARTHEST = 64
"""Pixels by which a mask is grown, shrunk or smoothed at most."""


def edit_mask(mask: Mask, edit: Edit, by: int = 1) -> Mask:
    """Change a mask as a whole.

    Parameters
    ----------
    mask
        Lesion or not, boolean (H, W).
    edit
        "largest" keeps the largest piece; "fill" fills holes; "smooth" rounds what is finer than
        `by` pixels off; "grow" and "shrink" move the border by `by` pixels.
    by
        Pixels, 1 to 64.

    Returns
    -------
    Mask
        A new mask of the same shape.

    Raises
    ------
    ValueError
        There is no such edit, or `by` is out of range.

    Examples
    --------
    >>> mask = np.zeros((5, 5), np.bool_)
    >>> mask[2, 2] = True
    >>> int(edit_mask(mask, "grow").sum())
    5
    """
    if edit not in get_args(Edit) or not 1 <= by <= FARTHEST:
        raise ValueError(f"{edit!r} by {by}: no such edit")
    return EDITS[edit](mask, by)


def _largest(mask: Mask, _: int) -> Mask:
    painted = mask.astype(np.uint8)
    if pieces := outlines_of(mask).pieces:
        # Filling the outline would take in the islands in its holes.
        cv2.floodFill(painted, None, pieces[0][0].tolist(), 2, flags=8)
    largest: Mask = painted == 2
    return largest


def _filled(mask: Mask, _: int) -> Mask:
    filled = np.zeros(mask.shape, np.bool_)
    for piece in outlines_of(mask).pieces:  # of two at once one would be a hole in the other
        cv2.drawContours(filled.view(np.uint8), [piece], -1, 1, cv2.FILLED)
    return filled


def _smooth(mask: Mask, by: int) -> Mask:
    soft = cv2.GaussianBlur(mask.view(np.uint8) * np.uint8(255), (0, 0), by)
    smooth: Mask = soft > 127
    return smooth


def _grown(mask: Mask, by: int) -> Mask:
    return cv2.dilate(mask.view(np.uint8), _disc(by)).astype(np.bool_)


def _shrunk(mask: Mask, by: int) -> Mask:
    # Pixels beyond the photograph's edge are unknown, and take nothing away.
    return cv2.erode(mask.view(np.uint8), _disc(by)).astype(np.bool_)


def _disc(radius: int) -> cv2.typing.MatLike:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


EDITS: dict[str, Callable[[Mask, int], Mask]] = {
    "largest": _largest,
    "fill": _filled,
    "smooth": _smooth,
    "grow": _grown,
    "shrink": _shrunk,
}
