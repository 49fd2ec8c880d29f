"""A lesion in a photograph: its mask, its outline, and what is measured on them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Mask, Pixels
from dermseg.inference.confidence import Band, Confidence, Contours
from dermseg.masks.outlines import Outlines, outline_of, outlines_of
from dermseg.masks.postprocess import Probability

Flag = Literal[
    "damaged",
    "narrow-range",
    "unlike-training",
    "empty",
    "touches-border",
    "several-candidates",
    "low-confidence",
]
"""What deserves a look: the first three of the photograph, the others of the mask."""


@dataclass(frozen=True)
class Candidate:
    """A region that could be the lesion too.

    `outline` is int32 (n, 2), `place` the x and y of its surest pixel, both in the photograph's
    stored pixels. The place, given as `at`, makes this region the lesion.
    """

    outline: NDArray[np.int32]
    place: tuple[float, float]


@dataclass(frozen=True)
class Segmentation:
    """A lesion in a photograph.

    Coordinates are pixels of the photograph as it is stored, before EXIF turns it: x to the right,
    y down, from 0. Lengths are in pixels, areas in square pixels.

    Examples
    --------
    >>> lesion = dermseg.segment("examples/photographs/ISIC_0003582.jpg")
    >>> lesion.mask.shape, lesion.bounding_box
    ((512, 768), (132, 128, 349, 253))
    """

    mask: Mask
    """Where the lesion is: boolean (H, W), of the photograph's size."""
    outline: NDArray[np.int32]
    """x and y of the border's pixels in order: int32 (n, 2); (0, 2) for an empty mask."""
    bounding_box: tuple[int, int, int, int] | None
    """(x, y, width, height) of the smallest upright box around the mask; None if it is empty."""
    probability: Probability
    """The probability of lesion at the network's size: float32 (h, w), 0 to 1."""
    flags: tuple[Flag, ...]
    """What to look at, of the photograph and of the mask; see `Flag`."""
    confidence: Confidence | None = None
    """The mask's predicted Jaccard index. None for a model without a calibration, with other
    thresholds than those of its calibration, and where a person said where the lesion is."""
    bound: Callable[[], Band] | None = None
    """Draws the `band`; None for a model without a calibration."""
    list_candidates: Callable[[], tuple[Candidate, ...]] | None = None
    """Lists the `candidates`."""

    @property
    def area(self) -> int:
        """The number of the mask's pixels."""
        return cv2.countNonZero(self._within) if self.bounding_box else 0

    @property
    def _within(self) -> Pixels:
        """The mask in its box, 0 or 1: a quarter of most photographs, and so of the time."""
        x, y, width, height = self.bounding_box or (0, 0, 0, 0)
        return self.mask.view(np.uint8)[y : y + height, x : x + width]

    @property
    def centroid(self) -> tuple[float, float] | None:
        """(x, y) of the mask's centre of mass; None if the mask is empty."""
        if self.bounding_box is None:
            return None
        across, down = (
            cv2.reduce(self._within, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
            for axis in (0, 1)
        )
        area = int(across.sum())
        left, top, _, _ = self.bounding_box
        return (
            left + float(across @ np.arange(across.size) / area),
            top + float(down @ np.arange(down.size) / area),
        )

    @cached_property
    def band(self) -> Band | None:
        """Contours between which the border may lie; None for a model without a calibration.

        They are drawn at the first access, since most masks are only written.
        """
        return self.bound() if self.bound else None

    @property
    def band_contours(self) -> Contours:
        """The outer contours of the band, then the inner ones; empty without a band."""
        return self.band.outer + self.band.inner if self.band else ()

    @cached_property
    def outlines(self) -> Outlines:
        """All borders of the mask: around its pieces, the largest first, and around its holes."""
        return outlines_of(self.mask, self.bounding_box)

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """What else could be the lesion, the likeliest first; at most 20 regions."""
        return self.list_candidates() if self.list_candidates else ()

    @property
    def perimeter(self) -> float:
        """The length of all borders, around pieces and holes, through their pixels' centres."""
        rings = (*self.outlines.pieces, *self.outlines.holes)
        return sum((cv2.arcLength(ring, closed=True) for ring in rings), 0.0)

    @property
    def diameter(self) -> float:
        """The longest distance between the centres of two pixels of the mask."""
        if not self.outlines.pieces:
            return 0.0
        hull = cv2.convexHull(np.concatenate(self.outlines.pieces))[:, 0].astype(np.float64)
        return float(np.hypot(*(hull[:, np.newaxis] - hull).transpose(2, 0, 1)).max())


def drawn_by_hand(mask: Mask) -> Segmentation:
    """Return the segmentation of a mask that a person drew, boolean (H, W).

    The mask stays as it was drawn, and the probability is 0 or 1, at the mask's size. The outline
    is that of its largest region; what is measured counts all. The flag `several-candidates` says
    that there are several regions.
    """
    outline, regions = outline_of(mask)
    probability = mask.astype(np.float32)
    return Segmentation(
        mask, outline, box_around(mask.view(np.uint8)), probability, flags_of(mask, regions)
    )


def box_around(lesion: NDArray[np.int32] | Pixels) -> tuple[int, int, int, int] | None:
    """Return the smallest upright box around an outline (n, 2), or around a mask's pixels."""
    x, y, width, height = cv2.boundingRect(lesion) if lesion.size else (0, 0, 0, 0)
    return (int(x), int(y), int(width), int(height)) if width else None


def flags_of(mask: Mask, candidates: int) -> tuple[Flag, ...]:
    """Return what deserves a look in a mask that was one of so many candidates."""
    flags: list[Flag] = []
    if not mask.any():
        flags.append("empty")
    elif _touches_border(mask):
        flags.append("touches-border")
    if candidates > 1:
        flags.append("several-candidates")
    return tuple(flags)


def _touches_border(mask: Mask) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
