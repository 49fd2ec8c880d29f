"""labelme's files: a JSON file for each photograph, polygons or masks in pixels as shown."""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from dermseg.errors import DataError
from dermseg.formats.annotation import (
    Annotation,
    Entry,
    Frame,
    Photographs,
    choose_label,
    find_files,
    frame_size,
    read_json,
    safe_name,
    understood,
)
from dermseg.imaging.images import Mask
from dermseg.imaging.photographs import read_with, suffix_of, with_ending
from dermseg.imaging.png import encode_mask
from dermseg.masks.polygons import fill, one_ring
from dermseg.settings import OutlineSettings
from dermseg.storage.files import write_json

FRAME: Frame = "shown"
FILE = ""
KIND = "a labelme file"
VERSION = "5.5.0"
"""The version of labelme whose form this is; newer ones read it."""


def write(annotations: Iterable[Annotation], target: Path, settings: OutlineSettings) -> None:
    """Write outlines as labelme's files, `<name>.json`.

    A shape is a piece, and the pieces of a lesion share a group; a bridge without width leads to
    each hole. With `rle` a lesion is one shape of labelme's kind "mask", a PNG. Photographs are
    looked for beside the files; they are not copied into them.

    The format: https://github.com/wkentaro/labelme. labelme's own tools fill the pixels that a line
    touches, and so make a polygon's mask up to a pixel wider. The kind "mask" is exact there too.
    """
    target.mkdir(parents=True, exist_ok=True)
    for annotation in annotations:
        height, width = annotation.size
        content: dict[str, object] = {
            "version": VERSION,
            "flags": {},
            "shapes": [
                {"label": settings.name, **shape, "description": "", "flags": {}}
                for shape in (_masks(annotation) if settings.rle else _polygons(annotation))
            ],
            "imagePath": Path(annotation.photograph).name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        path = target / with_ending(Path(annotation.photograph), ".json")
        write_json(path, content, compact=True)


def _polygons(annotation: Annotation) -> list[dict[str, object]]:
    group = 1 if len(annotation.polygons) > 1 else None
    return [
        {
            "points": one_ring(polygon).astype(np.int64).tolist(),
            "group_id": group,
            "shape_type": "polygon",
            "mask": None,
        }
        for polygon in annotation.polygons
    ]


def _masks(annotation: Annotation) -> list[dict[str, object]]:
    left, top, width, height = annotation.box
    if not width:
        return []
    return [
        {
            "points": [[left, top], [left + width - 1, top + height - 1]],
            "group_id": None,
            "shape_type": "mask",
            "mask": b64encode(encode_mask(annotation.in_box)).decode(),
        }
    ]


def read(source: Path, _: Photographs, label: str | None) -> Iterator[Entry]:
    """Read labelme's files: shapes of the kinds "polygon" and "mask"."""
    files = find_files(source, ".json", "labelme files")
    if label is None:
        labels: set[str] = set()
        for path, _name in files:
            with suppress(DataError), understood(path, KIND):
                labels |= {str(shape["label"]) for shape in read_json(path, KIND)["shapes"]}
        choose_label(labels, label, source)
    for path, name in files:
        yield Entry(name.as_posix(), partial(_load, path, name, label))


def _load(path: Path, name: Path, label: str | None) -> Annotation:
    content = read_json(path, KIND)
    with understood(path, KIND):
        size = frame_size(content["imageHeight"], content["imageWidth"])
        photograph = Path(safe_name(str(content["imagePath"])))
        mask = np.zeros(size, np.bool_)
        for shape in content["shapes"]:
            if label in (None, shape["label"]):
                mask |= _mask(shape, size, path)
        return Annotation(with_ending(name, suffix_of(photograph)).as_posix(), mask)


def _mask(shape: dict[str, Any], size: tuple[int, int], path: Path) -> Mask:
    points = np.array(shape["points"], np.float64).reshape(-1, 2)
    if shape["shape_type"] == "polygon":
        if len(points) < 3:
            raise ValueError(f"a polygon of {len(points)} points")
        return fill([points], size)
    if shape["shape_type"] != "mask":
        raise ValueError(f"a {shape['shape_type']} is no outline")
    source = BytesIO(b64decode(shape["mask"], validate=True))
    source.name = f"{path}, a mask"
    crop = read_with(source, lambda file: np.asarray(file.image.convert("L"))) > 0
    mask = np.zeros(size, np.bool_)
    left, top = (int(place) for place in points[0])
    place = mask[max(0, top) : top + crop.shape[0], max(0, left) : left + crop.shape[1]]
    if place.shape != crop.shape:
        raise ValueError("a mask lies outside the photograph")
    place[:] = crop
    return mask
