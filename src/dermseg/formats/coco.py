"""COCO's instance annotations: one JSON file, polygons or run lengths in pixels as stored."""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.errors import DataError
from dermseg.formats.annotation import (
    Annotation,
    Entry,
    Frame,
    Photographs,
    choose_label,
    frame_size,
    safe_name,
    stable_id,
    understood,
)
from dermseg.formats.elements import Element, json_elements
from dermseg.imaging.images import Mask
from dermseg.masks.polygons import Ring, fill, one_ring
from dermseg.masks.runs import from_run_lengths, run_lengths
from dermseg.settings import OutlineSettings
from dermseg.storage.files import text_written_whole

FRAME: Frame = "stored"
FILE = ".json"
KIND = "a COCO file"
CATEGORY = 1


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


def read(source: Path, _: Photographs, label: str | None) -> Iterator[Entry]:
    """Read the outlines of a COCO file.

    Several annotations of an image are pieces of its lesion. Polygons are filled by the even-odd
    rule; a crowd's run lengths, compressed or not, count as others do. Raises DataError too if two
    images have one id or one name.
    """
    with understood(source, KIND):
        content = json_elements(source, {"images": _image, "annotations": _annotation})
        images = {image.kept["id"]: image for image in content["images"]}
        names = {image.kept["file_name"] for image in content["images"]}
        if len(images) < len(content["images"]) or len(names) < len(images):
            raise DataError(f"{source}: two images have the same id or file_name; correct one")
        categories = {each["id"]: str(each["name"]) for each in content.get("categories", ())}
        found: dict[object, list[Element]] = {}
        labels = set()
        for annotation in content.get("annotations", ()):
            number, category = annotation.kept
            name = categories.get(category, str(category))
            labels.add(name)
            if label in (None, name):
                found.setdefault(number, []).append(annotation)
        choose_label(labels, label, source)
        if strange := found.keys() - images.keys():
            raise DataError(
                f"{source}: has annotations of image {strange.pop()}, which is not in the file"
            )
    for number, image in images.items():
        name = safe_name(image.kept["file_name"])
        yield Entry(name, partial(_load, source, name, image.kept, found.get(number, [])))


def _image(content: dict[str, Any]) -> dict[str, Any]:
    sides = {key: side for key, side in content.items() if key in ("height", "width")}
    return {"id": content["id"], "file_name": str(content["file_name"]), **sides}


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
