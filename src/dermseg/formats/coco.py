"""COCO's instance annotations: one JSON file, polygons or run lengths in pixels as stored."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.errors import DataError, DermsegError
from dermseg.formats.annotation import (
    IMAGES,
    Annotation,
    Entry,
    Frame,
    Photographs,
    choose_label,
    exchanged,
    frame_size,
    safe_name,
    stable_id,
    understood,
)
from dermseg.formats.elements import Element, json_elements
from dermseg.formats.recognition import INSTANCES, files_of, is_of_split
from dermseg.imaging.images import Mask
from dermseg.masks.polygons import Ring, fill, one_ring
from dermseg.masks.runs import from_run_lengths, run_lengths
from dermseg.settings import OutlineSettings
from dermseg.storage.files import text_written_whole

FRAME: Frame = "stored"
FILE = ".json"
KIND = "a COCO file"
CATEGORY = 1
ANNOTATIONS = "annotations"
"""A folder of files whose photographs lie elsewhere."""


def write(annotations: Iterable[Annotation], target: Path, settings: OutlineSettings) -> None:
    """Write outlines as one COCO file, with the label as its category.

    A photograph has one annotation, or none without a lesion. Its polygons are its pieces; a bridge
    without width leads to each hole, which COCO's own rasteriser fills exactly. With `rle`,
    compressed run lengths stand in place of polygons. Ids come from names and so do not change when
    other photographs are added.

    The format: https://cocodataset.org/#format-data
    """
    images: dict[int, dict[str, object]] = {}
    categories = [{"id": CATEGORY, "name": settings.name, "supercategory": ""}]
    with text_written_whole(target) as file:
        file.write(f'{{"categories": {json.dumps(categories)},\n"annotations": [')
        separator = "\n"
        for annotation in annotations:
            number = stable_id(annotation.photograph)
            while number in images:
                number += 1
            height, width = annotation.size
            images[number] = {
                "id": number,
                "file_name": annotation.photograph,
                "height": height,
                "width": width,
            }
            if annotation.mask.any():
                entry = {"id": number, "image_id": number, **_described(annotation, settings.rle)}
                file.write(separator + json.dumps(entry, separators=(",", ":")))
                separator = ",\n"
        lines = ",\n".join(json.dumps(image) for image in images.values())
        file.write(f'\n],\n"images": [\n{lines}\n]}}\n')


def _described(annotation: Annotation, rle: bool) -> dict[str, object]:
    grey = annotation.mask.view(np.uint8)
    segmentation: object
    if rle:
        columns = cv2.transpose(grey).view(np.bool_).ravel()
        segmentation = {"size": list(grey.shape), "counts": compress(run_lengths(columns))}
    else:
        rings = [one_ring(polygon) for polygon in annotation.polygons]
        segmentation = [ring.astype(np.int64).ravel().tolist() for ring in rings]
    return {
        "category_id": CATEGORY,
        "area": cv2.countNonZero(grey),
        "bbox": list(annotation.box),
        "iscrowd": 0,
        "segmentation": segmentation,
    }


@dataclass(frozen=True)
class _File:
    """A COCO file: what its images say by id, and annotations by label and image's id.

    `folder` is what the photographs' names begin with in the source, and `within` what follows,
    unless the file has it already.
    """

    path: Path
    folder: Path
    within: str
    images: dict[object, dict[str, Any]]
    outlines: dict[str, dict[object, list[Element]]]

    def name_of(self, image: dict[str, Any]) -> str:
        """Return the name of an image's photograph."""
        name = Path(safe_name(image["file_name"]))
        within = "" if name.parts[:1] == (self.within,) else self.within
        return (self.folder / within / name).as_posix()


def read(source: Path, _: Photographs, label: str | None) -> Iterator[Entry]:
    """Read the outlines of a COCO file, or of those in a folder.

    Several annotations of an image are pieces of its lesion. Polygons are filled by the even-odd
    rule; a crowd's run lengths, compressed or not, count as others do. Raises DataError too if two
    images of a file have one id or one name.
    """
    files = _files(source)
    choose_label({name for file in files for name in file.outlines}, label, source)
    for file in files:
        for number, image in file.images.items():
            found = [
                element
                for name, elements in file.outlines.items()
                if label in (None, name)
                for element in elements.get(number, [])
            ]
            name = file.name_of(image)
            yield Entry(name, partial(_load, file.path, name, image, found), size=_size(image))


def splits(source: Path) -> dict[str, str]:
    """Return the splits of a COCO file's photographs, or of a folder's files, by their names."""
    return {
        file.name_of(image): _split(file.path)
        for file in _files(source)
        for image in file.images.values()
    }


def _files(source: Path) -> list[_File]:
    """Read a file, or those of a folder: beside their photographs, or in folders `annotations`."""
    if not source.is_dir():
        return [_file(source, Path(), "")]
    folders = {path: path.parent.relative_to(source) for path in files_of(source, "coco")}
    return [
        _file(path, exchanged(folder, ANNOTATIONS) or folder, _folder_of_split(path))
        for path, folder in folders.items()
    ]


def _split(path: Path) -> str:
    """Return the split that the name of `instances_train2017.json` says; "" of another name."""
    return path.stem[len(INSTANCES) :] if is_of_split(path) else ""


def _folder_of_split(path: Path) -> str:
    """Return the name of the folder that has a split's photographs, if it is there."""
    own = path.absolute().parent
    above = own.parent if own.name == ANNOTATIONS else own
    is_there = any((place / _split(path)).is_dir() for place in (above, above / IMAGES))
    return _split(path) if is_there else ""


def _file(path: Path, folder: Path, within: str) -> _File:
    with understood(path, KIND):
        content = json_elements(path, {"images": _image, "annotations": _annotation})
        images = {image.kept["id"]: image.kept for image in content["images"]}
        told = {image["file_name"] for image in images.values()}
        if len(images) < len(content["images"]) or len(told) < len(images):
            raise DataError(f"{path}: two images have the same id or file_name; correct one")
        categories = {each["id"]: str(each["name"]) for each in content.get("categories", ())}
        outlines: dict[str, dict[object, list[Element]]] = {}
        for annotation in content.get("annotations", ()):
            number, category = annotation.kept
            if number not in images:
                raise DataError(
                    f"{path}: has annotations of image {number}, which is not in the file"
                )
            of_label = outlines.setdefault(categories.get(category, str(category)), {})
            of_label.setdefault(number, []).append(annotation)
    return _File(path, folder, within, images, outlines)


def _image(content: dict[str, Any]) -> dict[str, Any]:
    sides = {key: side for key, side in content.items() if key in ("height", "width")}
    return {"id": content["id"], "file_name": str(content["file_name"]), **sides}


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    with suppress(KeyError, ValueError, DermsegError):  # which loading it raises
        return frame_size(image["height"], image["width"])
    return None


def _annotation(content: dict[str, Any]) -> tuple[Any, Any]:
    return content["image_id"], content["category_id"]


def _load(source: Path, name: str, image: dict[str, Any], annotations: list[Element]) -> Annotation:
    with understood(f"{source}, {name}", "a COCO annotation"):
        size = frame_size(image["height"], image["width"])
        mask = np.zeros(size, np.bool_)
        for annotation in annotations:
            mask |= _mask(annotation.json()["segmentation"], size)
        return Annotation(name, mask)


def _mask(segmentation: Any, size: tuple[int, int]) -> Mask:
    if not segmentation:
        raise ValueError("an annotation has a box but no outline")
    if isinstance(segmentation, dict):
        if tuple(segmentation["size"]) != size:
            raise ValueError(f"its run lengths are of another size, {segmentation['size']}")
        counts = segmentation["counts"]
        lengths = decompress(counts) if isinstance(counts, str) else counts
        columns = from_run_lengths(lengths, size[0] * size[1]).reshape(size[::-1])
        return cv2.transpose(columns.view(np.uint8)).view(np.bool_)
    # A polygon is a piece, and pieces may overlap: each is filled alone.
    mask = np.zeros(size, np.bool_)
    for polygon in segmentation:
        mask |= fill([_ring(polygon)], size)
    return mask


def _ring(numbers: Sequence[float]) -> Ring:
    ring = np.array(numbers, np.float64)
    if ring.ndim != 1 or len(ring) < 6 or len(ring) % 2:
        raise ValueError(f"a polygon of {ring.size} numbers")
    return ring.reshape(-1, 2)


def compress(lengths: NDArray[np.int64]) -> str:
    """Return run lengths as COCO's text, as `pycocotools` writes it.

    From the fourth on each length is the difference to the one before the last. A number is split
    into groups of five bits, lowest first; a group is a character from "0" on, and bit 32 says that
    another follows. The highest bit of the last group is the sign.
    """
    values = lengths.copy()
    values[3:] -= lengths[1:-2]
    groups: list[NDArray[np.int64]] = []
    going = np.ones(len(values), np.bool_)
    shown = []
    while going.any():
        group = values & 31
        values >>= 5
        more = np.where(group & 16, values != -1, values != 0)
        groups.append(group + 32 * more + 48)
        shown.append(going)
        going = going & more
    table, used = np.stack(groups, axis=1), np.stack(shown, axis=1)
    return bytes(table[used].astype(np.uint8)).decode("ascii")


def decompress(text: str) -> NDArray[np.int64]:
    """Undo `compress`. Raises ValueError for text that is none of its kind."""
    codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    if not len(codes) or (codes < 0).any() or (codes > 63).any() or codes[-1] & 32:
        raise ValueError("damaged run lengths")
    ends = np.flatnonzero(codes & 32 == 0)
    begins = np.concatenate([[0], ends[:-1] + 1])
    if (ends - begins > 9).any():
        raise ValueError("damaged run lengths")
    places = np.arange(len(codes)) - np.repeat(begins, ends - begins + 1)
    values = np.add.reduceat((codes & 31) << (5 * places), begins)
    negative = codes[ends] & 16 != 0
    values = np.where(negative, values - (1 << (5 * (ends - begins + 1))), values)
    for parity in (1, 2):  # a length counts from the one before the last, the first three from 0
        values[parity::2] = np.cumsum(values[parity::2])
    return values
