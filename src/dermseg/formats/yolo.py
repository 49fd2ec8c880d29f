"""YOLO's segmentation labels: a text file for each photograph, fractions of its sides as shown."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from dermseg.errors import DataError
from dermseg.formats.annotation import (
    Annotation,
    Entry,
    Frame,
    Photographs,
    choose_label,
    files_with,
    understood,
)
from dermseg.masks.polygons import fill, one_ring
from dermseg.settings import OutlineSettings
from dermseg.storage.files import write_text

FRAME: Frame = "shown"
FILE = ""
LABELS, NAMES = "labels", "data.yaml"
KIND = "YOLO's labels"
PLAIN = re.compile(r"(?!(?:yes|no|on|off|true|false|null)$)[a-z][a-z ]*[a-z]", re.IGNORECASE)
"""What YAML takes for a text without quotes: it reads numbers, no and "a #b" as other values."""
UNPRINTABLE = re.compile(
    "[^ -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
"""What YAML refuses, or takes for the end of a line."""
DECIMALS = 6
"""Of coordinates from 0 to 1: a two-hundredth of a pixel at 10,000 pixels."""


def write(annotations: Iterable[Annotation], target: Path, settings: OutlineSettings) -> None:
    """Write outlines as YOLO's labels, `labels/<name>.txt`, and data.yaml, which names class 0.

    A line is a piece; a bridge without width leads to each hole. A photograph without a lesion has
    an empty file. The photographs belong into the folder `images` beside `labels`.

    The format: https://docs.ultralytics.com/datasets/segment
    """
    names = f"train: images\nval: images\nnames:\n  0: {_scalar(settings.name)}\n"
    write_text(target / NAMES, names)
    for annotation in annotations:
        height, width = annotation.size
        lines = []
        for polygon in annotation.polygons:
            places = (one_ring(polygon) / (width, height)).ravel().tolist()
            lines.append(" ".join(["0", *(f"{place:.{DECIMALS}f}" for place in places)]))
        path = target / LABELS / Path(annotation.photograph).with_suffix(".txt")
        write_text(path, "".join(f"{line}\n" for line in lines))


def read(source: Path, photographs: Photographs, label: str | None) -> Iterator[Entry]:
    """Read YOLO's labels, from the folder with `labels` and perhaps data.yaml, or from `labels`.

    `photographs` tell the sizes, which the labels do not say. A label is a class's name or number.
    """
    folder = source / LABELS if (source / LABELS).is_dir() else source
    files = files_with(folder, ".txt")
    if not files:
        raise DataError(f"{source}: holds no labels (*.txt)")
    classes = _classes(source / NAMES)
    if label is None or not classes:
        labels = set()
        for path in files:
            with understood(path, KIND):
                lines = path.read_text(encoding="utf-8").splitlines()
            labels |= {_name(line, classes) for line in lines if line.strip()}
        choose_label(labels, label, source)
    elif label not in {*classes, *classes.values()}:
        choose_label(classes.values(), label, source)
    for path in files:
        name = path.relative_to(folder).with_suffix(".jpg").as_posix()
        yield Entry(name, partial(_load, path, name, photographs, label, classes))


def _classes(path: Path) -> dict[str, str]:
    """Return the names of classes by number, in any of YAML's forms; none without data.yaml."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    key = re.search(r"^names:", text, re.MULTILINE)
    names = text[key.end() :] if key else ""
    if listed := re.match(r"\s*\[(.*?)\]", names, re.DOTALL):
        return {str(number): _plain(name) for number, name in enumerate(listed[1].split(","))}
    classes: dict[str, str] = {}
    for line in names.splitlines()[1:]:
        if item := re.match(r"\s*(?:-|(\d+):)\s(.*)", line):
            classes[item[1] or str(len(classes))] = _plain(item[2])
        elif _plain(line):
            break
    return classes


def _scalar(text: str) -> str:
    """Return a text as a value of YAML, which knows the strings of JSON."""
    if PLAIN.fullmatch(text):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return UNPRINTABLE.sub(lambda found: json.dumps(found[0])[1:-1], quoted)


def _plain(value: str) -> str:
    """Return a value of YAML without its quotes, and without the comment behind it."""
    value = value.strip()
    if value.startswith('"'):
        with suppress(ValueError):
            return str(json.JSONDecoder().raw_decode(value)[0])
    if value.startswith(("'", '"')):
        return value[1:].partition(value[0])[0]
    return re.split(r"(?:^|\s)#", value, maxsplit=1)[0].rstrip()


def _name(line: str, classes: dict[str, str]) -> str:
    number = line.split()[0]
    return classes.get(number, number)


def _load(
    path: Path, name: str, photographs: Photographs, label: str | None, classes: dict[str, str]
) -> Annotation:
    size = photographs.shown_size(name, "YOLO's labels do not say its size")
    with understood(path, KIND):
        mask = np.zeros(size, np.bool_)
        for line in path.read_text(encoding="utf-8").splitlines():
            number, *places = line.split() or [""]
            if not number or label not in (None, number, classes.get(number)):
                continue
            if len(places) < 6 or len(places) % 2:
                raise ValueError(f"a line of {len(places)} numbers is no outline")
            ring = np.array(places, np.float64).reshape(-1, 2) * size[::-1]
            mask |= fill([ring], size)
        return Annotation(name, mask)
