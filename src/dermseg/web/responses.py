"""A segmentation in the forms that a client can ask for."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel

from dermseg.batch.jobs import Job
from dermseg.batch.report import report_row
from dermseg.formats import geojson, svg
from dermseg.imaging.images import encode_image, resize
from dermseg.imaging.mask_files import encode_mask
from dermseg.imaging.overlay import draw_overlay
from dermseg.imaging.photographs import Source, read_orientation, read_photograph
from dermseg.inference.confidence import Band, Confidence
from dermseg.inference.segmenter import Flag, Segmentation
from dermseg.settings import OVERLAY_SIDE, Rule, ThresholdSettings

Include = Literal["mask", "probability", "overlay", "picture"]
PICTURE_SIDE = 2048
"""Longest side of the picture for browsers that cannot show the photograph itself."""


class Box(BaseModel):
    """The smallest upright box around the mask."""

    x: int
    y: int
    width: int
    height: int


class Point(BaseModel):
    """A place in the photograph's stored pixels: x to the right, y down, from 0."""

    x: float
    y: float


class Thresholds(BaseModel):
    """How the mask was cut from the probability."""

    rule: Rule
    high: float
    low: float


class Predicted(BaseModel):
    """A mask's predicted Jaccard index, 0 to 1, with the ends of its 90 % interval."""

    jaccard: float
    low: float
    high: float

    @classmethod
    def of(cls, confidence: Confidence | None) -> "Predicted | None":
        """Return what a model says of its mask."""
        if confidence is None:
            return None
        return cls(jaccard=confidence.jaccard, low=confidence.low, high=confidence.high)


class Bounds(BaseModel):
    """Contours between which the border may lie, in pixels of the photograph as it is stored."""

    inner: list[list[tuple[float, float]]]
    outer: list[list[tuple[float, float]]]

    @classmethod
    def of(cls, band: Band | None) -> "Bounds | None":
        """Return what a model says of the border, to a tenth of a pixel."""
        if band is None:
            return None
        return cls(
            inner=[contour.round(1).tolist() for contour in band.inner],
            outer=[contour.round(1).tolist() for contour in band.outer],
        )


class Answer(BaseModel):
    """Where the lesion is, in pixels of the photograph as it is stored.

    Area, box and centroid are those of the mask; perimeter and diameter those of the outline, which
    of a mask drawn by hand in several pieces (`several-candidates`) is that of the largest.
    `confidence` is null where the model does not say how sure it is of this mask, `band` where it
    says nothing of the border. `orientation` is the EXIF orientation, 1 to 8, to show the picture
    upright by. `report` is the row of report.csv. The images are in base64, and null unless they
    were asked for.
    """

    model: str
    thresholds: Thresholds
    by_hand: bool
    height: int
    width: int
    orientation: int
    area: int
    bounding_box: Box | None
    centroid: Point | None
    perimeter: float
    diameter: float
    flags: list[Flag]
    confidence: Predicted | None
    outline: list[tuple[int, int]]
    band: Bounds | None
    report: dict[str, str | int | float]
    mask: str | None = None
    probability: str | None = None
    overlay: str | None = None
    picture: str | None = None


def picture(source: Source) -> bytes:
    """Return a photograph as stored, as a JPEG that every browser can show."""
    photograph = read_photograph(source, at_least=(PICTURE_SIDE, PICTURE_SIDE))
    size = photograph.height, photograph.width
    height, width = (max(1, round(side * min(1.0, PICTURE_SIDE / max(size)))) for side in size)
    return encode_image(resize(photograph.pixels, height, width), "JPEG")


@dataclass(frozen=True)
class Found:
    """A segmentation with what it was made from and by."""

    segmentation: Segmentation
    photograph: bytes
    model: str
    thresholds: ThresholdSettings
    by_hand: bool

    @property
    def size(self) -> tuple[int, int]:
        """The photograph's (height, width)."""
        height, width = self.segmentation.mask.shape
        return height, width

    def mask(self) -> bytes:
        """Return the mask as `dermseg segment` writes it."""
        return encode_mask(self.segmentation.mask)

    def probability(self) -> bytes:
        """Return the probability at the network's size: a grey PNG, 255 being certain."""
        return encode_image((self.segmentation.probability * 255).round().astype(np.uint8), "PNG")

    def overlay(self) -> bytes:
        """Return the upright picture with outline and band: a JPEG as `--overlay` writes it."""
        side = (OVERLAY_SIDE, OVERLAY_SIDE)
        photograph = read_photograph(BytesIO(self.photograph), at_least=side)
        lesion = self.segmentation
        return encode_image(draw_overlay(photograph, lesion.outline, lesion.band_contours), "JPEG")

    def json(self, include: frozenset[Include] = frozenset()) -> bytes:
        """Return an `Answer`, with the images of `include` in it."""
        lesion = self.segmentation
        box, centroid = lesion.bounding_box, lesion.centroid
        report = report_row(Job(Path(), Path("photograph")), lesion)
        images: dict[Include, Callable[[], bytes]] = {
            "mask": self.mask,
            "probability": self.probability,
            "overlay": self.overlay,
            "picture": lambda: picture(BytesIO(self.photograph)),
        }
        answer = Answer(
            model=self.model,
            thresholds=Thresholds(**vars(self.thresholds)),
            by_hand=self.by_hand,
            height=self.size[0],
            width=self.size[1],
            orientation=read_orientation(BytesIO(self.photograph)),
            area=lesion.area,
            bounding_box=box and Box(x=box[0], y=box[1], width=box[2], height=box[3]),
            centroid=centroid and Point(x=centroid[0], y=centroid[1]),
            perimeter=lesion.perimeter,
            diameter=lesion.diameter,
            flags=list(lesion.flags),
            confidence=Predicted.of(lesion.confidence),
            outline=lesion.outline.tolist(),
            band=Bounds.of(lesion.band),
            report=report,
            **{name: b64encode(images[name]()).decode() for name in include},
        )
        return answer.model_dump_json().encode()

    def geojson(self) -> bytes:
        """Return the outline as a GeoJSON feature in the photograph's pixels, y down."""
        lesion = self.segmentation
        properties = {
            "area": lesion.area,
            "flags": lesion.flags,
            "by_hand": self.by_hand,
            "model": self.model,
        }
        return geojson.write(lesion.outline, self.size, properties).encode()

    def svg(self) -> bytes:
        """Return the outline as an SVG drawing of the photograph's size."""
        title = f"Outline by {self.model}"
        return svg.write(self.segmentation.outline, self.size, title).encode()


FORMS: dict[str, Callable[[Found], bytes]] = {
    "application/json": Found.json,
    "image/png": Found.mask,
    "image/jpeg": Found.overlay,
    "application/geo+json": Found.geojson,
    "image/svg+xml": Found.svg,
}
"""Media type to what is made; the first is given to those who do not mind."""


def choose_form(accept: str) -> str | None:
    """Return the key of FORMS that an Accept header likes best, None if it likes none."""
    liked: dict[str, tuple[float, int]] = {}
    for entry in accept.split(",") if accept.strip() else ["*/*"]:
        pattern, _, parameters = entry.strip().lower().partition(";")
        pattern, quality = pattern.strip(), _quality(parameters)
        for form in FORMS:
            group = f"{form.partition('/')[0]}/*"
            exactness = (
                (form, group, "*/*").index(pattern) if pattern in (form, group, "*/*") else 3
            )
            if exactness < 3 and (form not in liked or exactness < -liked[form][1]):
                liked[form] = (quality, -exactness)
    best = max(FORMS, key=lambda form: liked.get(form, (0.0, 0))[0])
    return best if liked.get(best, (0.0, 0))[0] > 0 else None


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
