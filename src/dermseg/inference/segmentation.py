"""A lesion in a photograph: its mask, its outline, and what is measured on them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.cores import cached_property
from dermseg.imaging.images import Mask, Pixels
from dermseg.imaging.inputs import Opened
from dermseg.imaging.photographs import read_orientation
from dermseg.inference import saving
from dermseg.inference.confidence import Band, Confidence, Contours
from dermseg.masks.outlines import Outlines, outline_of, outlines_of
from dermseg.masks.postprocess import Probability
from dermseg.settings import OVERLAY_SIDE

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
OF_THE_PHOTOGRAPH: tuple[Flag, ...] = ("damaged", "narrow-range", "unlike-training")


@dataclass(frozen=True)
class Candidate:
    """A region that could be the lesion too.

    `outline` is int32 (n, 2), `place` the x and y of its surest pixel, both in the photograph's
    stored pixels. The place, given as `at`, makes this region the lesion.
    """

    outline: NDArray[np.int32] = field(repr=False, compare=False)
    place: tuple[float, float]


@dataclass(frozen=True, eq=False, repr=False)
class Segmentation:
    """A lesion in a photograph.

    Coordinates are pixels of the photograph as it is stored, before EXIF turns it: x to the right,
    y down, from 0. Lengths are in pixels, areas in square pixels.

    Two are equal if mask, probability, flags and confidence are. A notebook shows the photograph
    with the outline.

    Examples
    --------
    >>> lesion = dermseg.segment("examples/photographs/ISIC_0003582.jpg")
    >>> lesion
    <Segmentation: 64934 of 512 x 768 pixels, predicted Jaccard index 0.91>
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
    choose: Callable[[tuple[float, float]], "Segmentation"] | None = None
    """Makes the mask of the candidate at a place."""
    photograph: Opened | None = None
    """What was segmented, for `overlay`: its path, its file in memory, or its pixels."""
    orientation: int = 1
    """How EXIF turns the photograph, 1 to 8; 1 without a photograph."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Segmentation):
            return NotImplemented
        return (
            self._facts == other._facts
            and np.array_equal(self.mask, other.mask)
            and np.array_equal(self.probability, other.probability)
        )

    def __hash__(self) -> int:
        return hash(self._facts)

    @property
    def _facts(self) -> tuple[object, ...]:
        return self.bounding_box, self.flags, self.confidence

    def __repr__(self) -> str:
        return f"<Segmentation: {self._described}>"

    @property
    def _described(self) -> str:
        height, width = self.mask.shape
        facts = [f"{self.area} of {height} x {width} pixels", *self.flags]
        if self.confidence is not None:
            facts.insert(1, f"predicted Jaccard index {self.confidence.jaccard:.2f}")
        return ", ".join(facts)

    def _repr_html_(self) -> str:
        return saving.html(self, self._described)

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
    def lesions(self) -> tuple["Segmentation", ...]:
        """Each region that could be a lesion: this one, then the `candidates`, the likeliest first.

        The others have no confidence, which is of the model's own choice alone.

        Examples
        --------
        >>> found = dermseg.segment("examples/photographs/ISIC_0012660.jpg")
        >>> len(found.lesions), found.lesions[0] is found
        (1, True)
        """
        if self.choose is None:
            return (self,)
        others = (self.choose(each.place) for each in self.candidates)
        seen = tuple(flag for flag in self.flags if flag in OF_THE_PHOTOGRAPH)
        return (
            self,
            *(
                replace(
                    other,
                    flags=(*seen, *other.flags),
                    photograph=self.photograph,
                    orientation=self.orientation,
                )
                for other in others
            ),
        )

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

    def overlay(self, side: int | None = OVERLAY_SIDE, *, band: bool = True) -> Pixels:
        """Draw the outline on the photograph, which is read again.

        Parameters
        ----------
        side
            Longest side of the picture in pixels, where the photograph is larger; None for its
            full size.
        band
            Draw the contours between which the border may lie, too.

        Returns
        -------
        numpy.ndarray
            uint8 RGB, (h, w, 3), upright as EXIF says.

        Raises
        ------
        ImageError
            If the photograph can no longer be read.
        UsageError
            If it is not known: of a mask that no photograph was segmented for.

        Examples
        --------
        >>> lesion = dermseg.segment("examples/photographs/ISIC_0003582.jpg")
        >>> lesion.overlay(side=300).shape
        (200, 300, 3)
        """
        return saving.overlay(self, side, band)

    def to_geojson(self) -> dict[str, object]:
        """Return the outline as GeoJSON, as QuPath reads it.

        Returns
        -------
        dict
            A feature collection, ready for `json.dump`: as `dermseg convert --to geojson` writes
            it, polygons with holes along the edges of pixels, in pixels as stored, y down.

        Examples
        --------
        >>> lesion = dermseg.segment("examples/photographs/ISIC_0003582.jpg")
        >>> [each["geometry"]["type"] for each in lesion.to_geojson()["features"]]
        ['Polygon']
        """
        return saving.to_geojson(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the mask, or with another suffix than .png the outline in another form.

        Parameters
        ----------
        path
            The file to write: `.png`, the mask as `dermseg segment` writes it; `.jpg`, the
            `overlay`; `.geojson` and `.svg`; `.json` for COCO, `.xml` for CVAT. It appears whole
            or not at all, and another of this name is written over.

        Raises
        ------
        UsageError
            If the suffix is another.
        OutputError
            If the file cannot be written.

        Examples
        --------
        >>> lesion = dermseg.segment("examples/photographs/ISIC_0003582.jpg")
        >>> lesion.save(folder / "ISIC_0003582_segmentation.png")
        >>> lesion.save(folder / "ISIC_0003582.geojson")
        """
        saving.save(self, Path(path))


def drawn_by_hand(mask: Mask, photograph: BytesIO | None = None) -> Segmentation:
    """Return the segmentation of a mask, boolean (H, W), that a person drew on a photograph.

    The mask stays as it was drawn, and the probability is 0 or 1, at the mask's size. The outline
    is that of its largest region; what is measured counts all. The flag `several-candidates` says
    that there are several regions.
    """
    outline, regions = outline_of(mask)
    probability = mask.astype(np.float32)
    return Segmentation(
        mask,
        outline,
        box_around(mask.view(np.uint8)),
        probability,
        flags_of(mask, regions),
        photograph=photograph,
        orientation=1 if photograph is None else read_orientation(photograph),
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
