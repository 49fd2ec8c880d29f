"""A lesion as a picture for people, or as a file: a mask, or an outline in another tool's form."""

from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dermseg.errors import ImageError, UsageError
from dermseg.formats import geojson, svg
from dermseg.formats.annotation import Annotation
from dermseg.imaging.images import Pixels, encode_image, resize, size_within, write_image
from dermseg.imaging.mask_files import mask_stem, write_mask
from dermseg.imaging.overlay import draw_overlay
from dermseg.imaging.photographs import Photograph, read_photograph
from dermseg.settings import Form, OutlineSettings
from dermseg.storage.files import write_json, write_text

if TYPE_CHECKING:
    from dermseg.inference.segmentation import Segmentation

NOTEBOOK_SIDE = 320
"""Longest side of the picture in a notebook, in pixels."""


def overlay(lesion: "Segmentation", side: int | None, band: bool) -> Pixels:
    """Draw a lesion on its photograph, as `Segmentation.overlay` says."""
    photograph = lesion.photograph
    if photograph is None:
        raise UsageError("of this lesion no photograph is known; draw it with dermseg.draw_overlay")
    if not isinstance(photograph, Photograph):
        enough = None if side is None else (side, side)
        photograph = read_photograph(photograph, at_least=enough)
    height, width = lesion.mask.shape  # perhaps not the photograph's, where that is a thumbnail
    framed = Photograph(photograph.pixels, height, width, photograph.orientation)
    rings = (*lesion.outlines.pieces, *lesion.outlines.holes)
    return draw_overlay(framed, rings, lesion.band_contours if band else (), side=side)


def html(lesion: "Segmentation", caption: str) -> str:
    """Return what a notebook shows: the overlay, or without its photograph the mask."""
    try:
        picture = overlay(lesion, NOTEBOOK_SIDE, band=True)
    except (ImageError, UsageError):
        size = size_within(lesion.mask.shape, NOTEBOOK_SIDE)
        picture = resize(lesion.mask.view(np.uint8) * np.uint8(255), *size)
    content = b64encode(encode_image(picture, "JPEG")).decode()
    return (
        f'<figure style="margin: 0"><img alt="The lesion, outlined" '
        f'src="data:image/jpeg;base64,{content}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def to_geojson(lesion: "Segmentation", name: str = "photograph.jpg") -> dict[str, object]:
    """Return a lesion as a GeoJSON feature collection; `name` is for a photograph without one."""
    return geojson.collection(_annotation(lesion, name), OutlineSettings().name)


def save(lesion: "Segmentation", path: Path) -> None:
    """Write a lesion in the form that the path's suffix says."""
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise UsageError(f"{path}: a lesion is written as {', '.join(WRITERS)}")
    write(lesion, path)


def _annotation(lesion: "Segmentation", name: str) -> Annotation:
    """Return a lesion with its photograph's name, or with `name` where it has none."""
    photograph = lesion.photograph
    known = photograph if isinstance(photograph, Path) else getattr(photograph, "name", "")
    return Annotation(Path(known).name or name, lesion.mask)


def _name(path: Path) -> str:
    """Return the name of a photograph that only its outline's file tells."""
    return mask_stem(path) + ".jpg"


def _write_geojson(lesion: "Segmentation", path: Path) -> None:
    write_json(path, to_geojson(lesion, _name(path)), compact=True)


def _write_form(form: Form, lesion: "Segmentation", path: Path) -> None:
    from dermseg.formats.conversion import write_alone  # all forms: a tenth of a second

    annotation = _annotation(lesion, _name(path))
    if form == "cvat":  # which shows photographs as EXIF says
        annotation = replace(annotation, orientation=lesion.orientation)
    write_alone(annotation, path, form)


def _write_svg(lesion: "Segmentation", path: Path) -> None:
    height, width = lesion.mask.shape
    rings = (*lesion.outlines.pieces, *lesion.outlines.holes)
    write_text(path, svg.write(rings, (height, width), "Lesion"))


WRITERS: dict[str, Callable[["Segmentation", Path], None]] = {
    ".png": lambda lesion, path: write_mask(path, lesion.mask),
    ".jpg": lambda lesion, path: write_image(path, lesion.overlay()),
    ".geojson": _write_geojson,
    ".svg": _write_svg,
    ".json": partial(_write_form, "coco"),
    ".xml": partial(_write_form, "cvat"),
}
"""A file's suffix to what writes it."""
