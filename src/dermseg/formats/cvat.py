"""CVAT's XML for images: one file, polygons or masks in pixels as shown."""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element as Shape
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from dermseg.errors import DataError
from dermseg.formats.annotation import (
    Annotation,
    Entry,
    Frame,
    Photographs,
    choose_label,
    frame_size,
    safe_name,
    understood,
)
from dermseg.formats.elements import Element, xml_elements
from dermseg.imaging.images import Mask
from dermseg.masks.polygons import fill, one_ring
from dermseg.masks.runs import from_run_lengths, run_lengths
from dermseg.settings import OutlineSettings
from dermseg.storage.files import text_written_whole

FRAME: Frame = "shown"
FILE = ".xml"
KIND = "CVAT's XML for images"
UNKNOWN = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML has no place for: control characters, and the bytes of names that are no UTF-8."""


def write(annotations: Iterable[Annotation], target: Path, settings: OutlineSettings) -> None:
    """Write outlines as CVAT's XML for images, version 1.1.

    A polygon is a piece, and the pieces of a lesion share a group; a bridge without width leads to
    each hole. With `rle` a lesion is one mask, its run lengths row by row in its box. A name has a
    question mark for what XML does not know.

    The format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat
    """
    label = quoteattr(_known(settings.name))
    with text_written_whole(target) as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        file.write("<version>1.1</version>\n<meta><task><labels><label>")
        file.write(f"<name>{escape(_known(settings.name))}</name></label></labels></task></meta>\n")
        for number, annotation in enumerate(annotations):
            height, width = annotation.size
            name = quoteattr(_known(annotation.photograph))
            file.write(f'<image id="{number}" name={name} width="{width}" height="{height}">\n')
            shapes = _mask_of(annotation) if settings.rle else _polygons_of(annotation)
            common = f'label={label} source="file" occluded="0" z_order="0"'
            file.writelines(f"<{kind} {common} {facts}></{kind}>\n" for kind, facts in shapes)
            file.write("</image>\n")
        file.write("</annotations>\n")


def _known(text: str) -> str:
    return UNKNOWN.sub("?", text)


def _polygons_of(annotation: Annotation) -> Iterator[tuple[str, str]]:
    group = ' group_id="1"' if len(annotation.polygons) > 1 else ""
    for polygon in annotation.polygons:
        corners = one_ring(polygon).astype(np.int64).tolist()
        points = ";".join(f"{x},{y}" for x, y in corners)
        yield "polygon", f'points="{points}"{group}'


def _mask_of(annotation: Annotation) -> Iterator[tuple[str, str]]:
    left, top, width, height = annotation.box
    if width:
        lengths = run_lengths(annotation.in_box.ravel()).tolist()
        rle = ", ".join(str(length) for length in lengths)
        box = f'left="{left}" top="{top}" width="{width}" height="{height}"'
        yield "mask", f'rle="{rle}" {box}'


def read(source: Path, _: Photographs, label: str | None) -> Iterator[Entry]:
    """Read the polygons and masks of CVAT's XML for images."""
    with understood(source, KIND):
        images = xml_elements(source, "image", _image)
        choose_label({label for image in images for label in image.kept[1]}, label, source)
    if not images:
        raise DataError(f"{source}: not {KIND} (it has no images)")
    for image in images:
        name = image.kept[0]
        yield Entry(name, partial(_load, source, name, image, label))


def _image(facts: dict[str, str], shapes: list[dict[str, str]]) -> tuple[str, set[str]]:
    return safe_name(facts["name"]), {shape["label"] for shape in shapes if "label" in shape}


def _load(source: Path, name: str, element: Element, label: str | None) -> Annotation:
    with understood(f"{source}, {name}", KIND):
        image = element.xml()
        size = frame_size(image.attrib["height"], image.attrib["width"])
        mask = np.zeros(size, np.bool_)
        for shape in image:
            if "label" in shape.attrib and label in (None, shape.attrib["label"]):
                mask |= _mask(shape, size)
        return Annotation(name, mask)


def _mask(shape: Shape, size: tuple[int, int]) -> Mask:
    if shape.tag == "polygon":
        numbers = re.split("[,;]", shape.attrib["points"])
        if len(numbers) < 6:
            raise ValueError(f"a polygon of {len(numbers)} numbers")
        return fill([np.array(numbers, np.float64).reshape(-1, 2)], size)
    if shape.tag != "mask":
        raise ValueError(f"a {shape.tag} is no outline")
    left, top, width, height = (
        int(shape.attrib[side]) for side in ("left", "top", "width", "height")
    )
    if min(left, top, width, height) < 0 or left + width > size[1] or top + height > size[0]:
        raise ValueError("a mask lies outside the photograph")
    lengths = [int(length) for length in shape.attrib["rle"].split(",")]
    mask = np.zeros(size, np.bool_)
    crop = from_run_lengths(lengths, width * height).reshape(height, width)
    mask[top : top + height, left : left + width] = crop
    return mask
