"""The borders of a mask as they are drawn: through the centres of the border's own pixels.

A drawn line lies on the lesion, and is a pixel wide. Polygons that are filled again run along the
edges of pixels instead (see `dermseg.masks.polygons`).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Mask


@dataclass(frozen=True)
class Outlines:
    """All borders of a mask: `pieces` run around its regions, the largest first, `holes` within.

    Each is int32 (n, 2), x and y of the border's pixels, which belong to the mask, in order.
    """

    pieces: tuple[NDArray[np.int32], ...]
    holes: tuple[NDArray[np.int32], ...]


def outlines_of(mask: Mask, box: tuple[int, int, int, int] | None = None) -> Outlines:
    """Return the borders of a mask, boolean (H, W).

    `box`, (x, y, width, height), holds all of the mask where it is given: to look at a quarter of a
    large picture takes a quarter of the time.
    """
    x, y, width, height = box or (0, 0, mask.shape[1], mask.shape[0])
    contours, tree = cv2.findContours(
        mask.view(np.uint8)[y : y + height, x : x + width],
        cv2.RETR_CCOMP,
        cv2.CHAIN_APPROX_SIMPLE,
        offset=(x, y),
    )
    if not contours:
        return Outlines((), ())
    rings = sorted(contours, key=cv2.contourArea, reverse=True)
    within = {id(ring) for ring, (*_, parent) in zip(contours, tree[0], strict=True) if parent >= 0}
    pieces, holes = (
        tuple(
            ring[:, 0].astype(np.int32, copy=False)
            for ring in rings
            if (id(ring) in within) == hole
        )
        for hole in (False, True)
    )
    return Outlines(pieces, holes)


def outline_of(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Return the outline, (n, 2), of a mask's largest region, and the number of its regions."""
    pieces = outlines_of(mask).pieces
    return (pieces[0] if pieces else np.zeros((0, 2), np.int32)), len(pieces)
