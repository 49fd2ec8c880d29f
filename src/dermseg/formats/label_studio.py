"""Label Studio's tasks: one JSON file, polygons in percent or brush strokes, as shown."""

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dermseg.errors import DataError, ImageError, UnsaidError
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
from dermseg.imaging.photographs import (
    PHOTOGRAPH_SUFFIXES,
    UNREAD_SUFFIXES,
    image_size,
    read_with,
)
from dermseg.imaging.png import SIGNATURE
from dermseg.imaging.structure import check_parts
from dermseg.masks.polygons import fill, one_ring
from dermseg.masks.runs import run_lengths
from dermseg.progress import counted, say
from dermseg.settings import OutlineSettings
from dermseg.storage.files import text_written_whole

FRAME: Frame = "shown"
FILE = ".json"
KIND = "Label Studio's tasks"
LOCAL = "/data/local-files/?d="
"""How Label Studio names a photograph of its own machine."""
UPLOADED = re.compile(r"(?:.*/)?upload/\d+/[0-9a-f]{8}-")
"""What it puts before the name of an uploaded one."""
DECIMALS = 6
"""Of percents: a thousandth of a pixel at 100,000 pixels."""
SIZES = (3, 4, 8, 16)
"""Bits of a run's length, as Label Studio's own encoder chooses them."""
READ = {"polygonlabels", "brushlabels", "bitmasklabels"}
SHAPES = ("rectangle", "ellipse", "polygon", "brush", "bitmask", "vector", "keypoint")
UNREAD = {*SHAPES, *(f"{shape}labels" for shape in SHAPES)} - READ
"""Regions that are no outlines, or whose label stands apart; a lesion with one is refused."""
MARKS = {f"{shape}{labels}" for shape in ("rectangle", "keypoint") for labels in ("", "labels")}
"""Those of them that are no part of a lesion where it has outlines too."""
BITMASK = "data:image/png;base64,"
"""How a bitmask begins."""
CHANNELS = 4
WORD = 8


def write(annotations: Iterable[Annotation], target: Path, settings: OutlineSettings) -> None:
    """Write outlines as predictions of Label Studio's tasks, which its annotators then correct.

    A region is a piece; a bridge without width leads to each hole. With `rle` a lesion is one brush
    stroke. The labelling interface needs an image called "image" and polygon (or brush) labels
    called "label".

    The format: https://labelstud.io/guide/predictions
    """
    with text_written_whole(target) as file:
        separator = "[\n"
        for annotation in annotations:
            height, width = annotation.size
            image = LOCAL + quote(annotation.photograph, errors="surrogateescape")
            outlined = regions(annotation, settings)
            task = {
                "data": {"image": image, "height": height, "width": width},
                "predictions": [{"model_version": "dermseg", "result": outlined}],
            }
            file.write(separator + json.dumps(task, separators=(",", ":")))
            separator = ",\n"
        file.write("\n]\n" if separator != "[\n" else "[]\n")


@dataclass(frozen=True)
class Control:
    """What a labelling interface calls its polygons or brush, and the image that they are of."""

    name: str = "label"
    image: str = "image"


CONTROL = Control()


def regions(
    annotation: Annotation, settings: OutlineSettings, control: Control = CONTROL
) -> list[dict[str, Any]]:
    """Return the regions of a lesion, in the frame of the shown pixels; none without a lesion."""
    height, width = annotation.size
    kind = "brushlabels" if settings.rle else "polygonlabels"
    values: list[dict[str, object]] = []
    if settings.rle and annotation.mask.any():
        values = [{"format": "rle", "rle": list(pack(annotation.mask))}]
    elif not settings.rle:
        rings = (one_ring(polygon) * 100 / (width, height) for polygon in annotation.polygons)
        values = [{"points": ring.round(DECIMALS).tolist(), "closed": True} for ring in rings]
    return [
        {
            "id": f"{stable_id(annotation.photograph):x}-{number}",
            "type": kind,
            "from_name": control.name,
            "to_name": control.image,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {**value, kind: [settings.name]},
        }
        for number, value in enumerate(values)
    ]


def read(source: Path, photographs: Photographs, label: str | None) -> Iterator[Entry]:
    """Read Label Studio's export (JSON), or tasks with predictions.

    Of a task the last annotation counts that was not cancelled, and without one the last
    prediction. Regions are polygons, brush strokes and bitmasks. `photographs` tell the sizes of
    those without a region.
    """
    with understood(source, KIND):
        tasks = json_elements(source, {"": partial(_task, source)})
        choose_label({label for task in tasks for label in task.kept[1]}, label, source)
    if marked := sum(task.kept[2] for task in tasks):
        tasks_with = counted(marked, "task")
        say(f"{source}: boxes and key points beside outlines are not read (in {tasks_with})")
    for task in tasks:
        name = task.kept[0]
        yield Entry(name, partial(_load, source, name, task, label, photographs))


def _task(source: Path, content: dict[str, Any]) -> tuple[str, set[str], bool]:
    results = _results(content)
    labels = {label for result in results for label in _labels(result)}
    likely = [*(result.get("to_name") for result in results), "image"]
    marked = any(each["type"] in MARKS for each in _regions(content))
    return _name(content["data"], likely, source), labels, marked and bool(results)


def _name(data: dict[str, Any], likely: Sequence[object], source: Path) -> str:
    """Return the name of a task's photograph.

    It has one of the `likely` keys in the data, or is the only text, or the only one that ends as
    photographs do: others may be of a patient. Raises DataError if it is none of these.
    """
    texts = {key: text for key, text in data.items() if text and isinstance(text, str)}
    texts = {key: text for key, text in texts.items() if not text.startswith("data:")}
    if not texts:
        raise ValueError("a task names no photograph")
    if key := next((key for key in likely if key in texts), None):
        return _in_address(texts[key])
    if len(texts) == 1:
        return _in_address(*texts.values())
    named = {_in_address(text) for text in texts.values() if _is_photograph(text)}
    if len(named) != 1:
        raise DataError(
            f"{source}: which of {', '.join(map(ascii, texts))} names a task's photograph is not "
            "clear; call that key 'image'"
        )
    return named.pop()


def _in_address(address: str) -> str:
    """Return a photograph's name in its address; ValueError if that is none."""
    parts = urlsplit(address)
    path = parts.query.removeprefix("d=") if parts.query.startswith("d=") else parts.path
    return safe_name(UPLOADED.sub("", unquote(path, errors="surrogateescape")))


def _is_photograph(text: str) -> bool:
    """Say whether a text ends as the name of a photograph does."""
    try:
        suffix = PurePosixPath(_in_address(text)).suffix.lower()
    except ValueError:
        return False
    return suffix in PHOTOGRAPH_SUFFIXES | UNREAD_SUFFIXES


def _done(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the annotations that were not cancelled; the predictions if there is no annotation."""
    given = task.get("annotations") or task.get("predictions") or []
    return [each for each in given if not each.get("was_cancelled")]


def _regions(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the annotation that counts holds, or the prediction."""
    done = _done(task)
    regions: list[dict[str, Any]] = done[-1]["result"] if done else []
    return regions


def _results(task: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in _regions(task) if each["type"] in READ]


def _unread(task: dict[str, Any], label: str | None) -> list[dict[str, Any]]:
    """Return the regions that are not read and may be of the lesion: of its label, or of none."""
    lesion = {label} if label is not None else {each for r in _results(task) for each in _labels(r)}
    return [
        each
        for each in _regions(task)
        if each["type"] in UNREAD
        and (not lesion or not (labels := _labels(each)) or not lesion.isdisjoint(labels))
    ]


def _labels(result: dict[str, Any]) -> list[str]:
    labels: list[str] = result["value"].get(result["type"], [])
    return labels


def _load(
    source: Path, name: str, task: Element, label: str | None, photographs: Photographs
) -> Annotation:
    with understood(f"{source}, {name}", "a task of Label Studio"):
        content = task.json()
        if content.get("annotations") and not _done(content):  # all were cancelled
            raise ValueError("skipped in Label Studio; annotate it, or leave it out of the export")
        data, results = content["data"], _results(content)
        if len({each.get("to_name") for each in results}) > 1:
            raise ValueError("its regions are of several photographs; give each a task of its own")
        unread = _unread(content, label)
        if label is not None:
            results = [each for each in results if label in _labels(each)]
        if results:
            unread = [each for each in unread if each["type"] not in MARKS]
        if unread:
            remedy = "draw the lesion with PolygonLabels, BrushLabels or BitmaskLabels"
            problem = f"a region of type {unread[0]['type']} is not read; {remedy}"
            if label is None and not results:
                message = f"{source}, {name}: {problem}, or name the lesion's label with --label"
                raise UnsaidError.about("--label", message)
            raise ValueError(problem)
        sizes = {(each["original_height"], each["original_width"]) for each in results}
        if "height" in data and "width" in data:
            sizes.add((data["height"], data["width"]))
        if len(sizes) > 1:
            raise ValueError("its regions are of several sizes")
        if not sizes:
            sizes = {photographs.shown_size(name, "its size is not in the file")}
        size = frame_size(*sizes.pop())
        mask = np.zeros(size, np.bool_)
        for result in results:
            if result.get("image_rotation"):
                raise ValueError("it was turned in Label Studio; turn it back and export again")
            mask |= _mask(result["value"], size)
        return Annotation(name, mask)


def _mask(value: dict[str, Any], size: tuple[int, int]) -> Mask:
    if "rle" in value:
        return unpack(bytes(list(value["rle"])), size)
    if "imageDataURL" in value:
        return _bitmask(value["imageDataURL"], size)
    ring = np.array(value["points"], np.float64)
    if len(ring) < 3 or ring.shape[1:] != (2,):
        raise ValueError(f"a polygon of {len(ring)} points")
    return fill([ring * size[::-1] / 100], size)


def _bitmask(address: object, size: tuple[int, int]) -> Mask:
    """Return the mask of a bitmask, a PNG: where its opacity is not 0, as Label Studio shows it."""
    if not (isinstance(address, str) and address.startswith(BITMASK)):
        raise ValueError("a bitmask that is no PNG")
    content = b64decode(address.removeprefix(BITMASK), validate=True)
    if not content.startswith(SIGNATURE):
        raise ValueError("a bitmask that is no PNG")
    file = BytesIO(content)
    file.name = "a bitmask"
    try:
        check_parts(content, file.name)
        if (found := image_size(file)) != size:
            raise ValueError(
                f"a bitmask of {found[0]} x {found[1]} pixels, not {size[0]} x {size[1]}"
            )
        opacity = read_with(file, lambda file: _opacity(file.image))
    except ImageError as error:
        raise ValueError(str(error)) from error
    if opacity is None:
        raise ValueError("a bitmask without transparency, which does not say where the lesion is")
    return opacity > 0


def _opacity(image: Image.Image) -> NDArray[np.uint8] | None:
    """Return the opacity of an image's pixels, (H, W); None if it has none."""
    if not image.has_transparency_data:
        return None
    return np.asarray(image.convert("RGBA").getchannel("A"))


def pack(mask: Mask) -> bytes:
    """Return a mask as Label Studio's brush stroke: runs of equal bytes of RGBA, packed in bits.

    The head is the number of bytes (32 bits), the bits of a value less one (5), and the bits of
    each of four sizes of lengths less one (4 each). A run is the bit 1, its size's number (2), its
    length less one, and the value.
    """
    parts = [f"{mask.size * CHANNELS:032b}{WORD - 1:05b}", *(f"{size - 1:04b}" for size in SIZES)]
    for number, length in enumerate(run_lengths(mask.ravel()).tolist()):
        left = length * CHANNELS
        while left:
            run = min(left, 1 << SIZES[-1])
            size = next(place for place, bits in enumerate(SIZES) if run <= 1 << bits)
            parts.append(f"1{size:02b}{run - 1:0{SIZES[size]}b}{255 * (number % 2):08b}")
            left -= run
    bits = "".join(parts)
    padded = bits + "0" * (-len(bits) % 8)
    return int(padded, 2).to_bytes(len(padded) // 8, "big")


def unpack(stroke: bytes, size: tuple[int, int]) -> Mask:
    """Return the mask of a brush stroke: where its opacity is not 0.

    Raises ValueError if it is damaged, or not of a photograph of `size`, (height, width).
    """
    bits = _Bits(stroke)
    count, word = bits.read(32), bits.read(5) + 1
    if count != size[0] * size[1] * CHANNELS:
        raise ValueError(f"a brush stroke of {count} values")
    sizes = [bits.read(4) + 1 for _ in range(4)]
    values = np.zeros(count, np.bool_)
    at = 0
    while at < count:
        is_run = bits.read(1)
        end = at + 1 + bits.read(sizes[bits.read(2)])
        if end > count:
            raise ValueError("a damaged brush stroke")
        if is_run:
            values[at:end] = bits.read(word) > 0
        else:
            values[at:end] = [bits.read(word) > 0 for _ in range(at, end)]
        at = end
    return values.reshape(*size, CHANNELS)[:, :, -1]


class _Bits:
    """A stream of bits, the highest of each byte first."""

    def __init__(self, content: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in content)
        self._at = 0

    def read(self, count: int) -> int:
        """Return the number that the next bits stand for; ValueError at the end."""
        begin, self._at = self._at, self._at + count
        if self._at > len(self._bits):
            raise ValueError("a brush stroke that was cut short")
        return int(self._bits[begin : self._at], 2)
