"""The forms in which the service returns a lesion: JSON, mask, picture, outlines."""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dermseg.batch import pictures
from dermseg.batch.jobs import Job
from dermseg.batch.report import report_row
from dermseg.formats import geojson, svg
from dermseg.imaging.images import encode_image, resize, size_within
from dermseg.imaging.photographs import Source, read_photograph
from dermseg.imaging.png import encode_mask
from dermseg.inference.segmentation import Segmentation
from dermseg.masks.polygons import trace
from dermseg.storage.journal import Row
from dermseg.web.query import Manner
from dermseg.web.schema import Answer, Bounds, Box, Include, Other, Point, Predicted, Thresholds

PICTURE_SIDE = 2048
"""Longest side of the picture for browsers that cannot show the photograph itself."""


def picture(source: Source) -> bytes:
    """Return a photograph as stored, as a JPEG that every browser can show."""
    photograph = read_photograph(source, at_least=(PICTURE_SIDE, PICTURE_SIDE))
    size = size_within((photograph.height, photograph.width), PICTURE_SIDE)
    return encode_image(resize(photograph.pixels, *size), "JPEG")


@dataclass(frozen=True)
class Found:
    """A segmentation with what it was made from and by."""

    segmentation: Segmentation
    photograph: BytesIO
    manner: Manner
    by_hand: bool
    sent: bytes
    """The file that was sent: the DICOM file, of which `photograph` is the picture."""
    made_by: Row

    @property
    def size(self) -> tuple[int, int]:
        """The photograph's (height, width)."""
        height, width = self.segmentation.mask.shape
        return height, width

    @property
    def rings(self) -> tuple[NDArray[np.int32], ...]:
        """The borders of all pieces and holes."""
        return (*self.segmentation.outlines.pieces, *self.segmentation.outlines.holes)

    def mask(self) -> bytes:
        """Return the mask as `dermseg segment` writes it."""
        return encode_mask(self.segmentation.mask)

    def probability(self) -> bytes:
        """Return the probability at the network's size: a grey PNG, 255 being certain."""
        return pictures.probability(self.segmentation)

    def overlay(self) -> bytes:
        """Return the upright picture with outline and band: a JPEG as `--overlay` writes it."""
        return encode_image(self.segmentation.overlay(), "JPEG")

    def json(self, include: frozenset[Include] = frozenset()) -> bytes:
        """Return an `Answer` as JSON."""
        return self.answer(include).model_dump_json().encode()

    def answer(self, include: frozenset[Include]) -> Answer:
        """Return what is said of the lesion, with the images of `include` in it."""
        lesion = self.segmentation
        box, centroid = lesion.bounding_box, lesion.centroid
        report = report_row(Job(Path(), Path("photograph")), lesion, self.photograph)
        images: dict[Include, Callable[[], bytes]] = {
            "mask": self.mask,
            "probability": self.probability,
            "overlay": self.overlay,
            "picture": lambda: picture(self.photograph),
        }
        return Answer(
            model=self.manner.model,
            style=None if self.by_hand else self.manner.style,
            style_by=None if self.by_hand else self.manner.style_by,
            thresholds=Thresholds(**vars(self.manner.thresholds)),
            by_hand=self.by_hand,
            height=self.size[0],
            width=self.size[1],
            orientation=lesion.orientation,
            area=lesion.area,
            bounding_box=box and Box(x=box[0], y=box[1], width=box[2], height=box[3]),
            centroid=centroid and Point(x=centroid[0], y=centroid[1]),
            perimeter=lesion.perimeter,
            diameter=lesion.diameter,
            flags=list(lesion.flags),
            confidence=Predicted.of(lesion.confidence),
            outline=lesion.outline.tolist(),
            outlines=[ring.tolist() for ring in lesion.outlines.pieces],
            holes=[ring.tolist() for ring in lesion.outlines.holes],
            candidates=[Other.of(candidate) for candidate in lesion.candidates],
            band=Bounds.of(lesion.band),
            report=report if self.by_hand else {**report, **self.made_by},
            **{name: b64encode(images[name]()).decode() for name in include},
        )

    def geojson(self) -> bytes:
        """Return the outline as a GeoJSON feature in the photograph's pixels, y down."""
        lesion = self.segmentation
        height, width = self.size
        properties = {
            "height": height,
            "width": width,
            "area": lesion.area,
            "flags": lesion.flags,
            "by_hand": self.by_hand,
            "model": self.manner.model,
            "style": None if self.by_hand else self.manner.style,
            "units": geojson.UNITS,
        }
        return json.dumps(geojson.feature(trace(lesion.mask), properties)).encode()

    def svg(self) -> bytes:
        """Return the outline as an SVG drawing of the photograph's size."""
        title = f"Outline by {self.manner.model}"
        return svg.write(self.rings, self.size, title).encode()

    def dicom_seg(self) -> bytes:
        """Return the segmentation of a DICOM photograph; ImageError for another photograph."""
        from dermseg.formats.dicom_seg import Maker, write

        return write(self.sent, self.segmentation.mask, Maker.of(self.made_by, self.by_hand))


FORMS: dict[str, Callable[[Found], bytes]] = {
    "application/json": Found.json,
    "image/png": Found.mask,
    "image/jpeg": Found.overlay,
    "application/geo+json": Found.geojson,
    "image/svg+xml": Found.svg,
    **({"application/dicom": Found.dicom_seg} if find_spec("highdicom") else {}),
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
