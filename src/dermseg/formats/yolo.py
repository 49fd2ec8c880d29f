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
    IMAGES,
    LABELS,
    Annotation,
    Entry,
    Frame,
    Photographs,
    choose_label,
    exchanged,
    files_with,
    understood,
)
from dermseg.imaging.mask_files import composed
from dermseg.imaging.photographs import may_be_photograph, stem_of, with_ending
from dermseg.masks.polygons import fill, one_ring
from dermseg.settings import OutlineSettings
from dermseg.storage.files import write_text

FRAME: Frame = "shown"
FILE = ""
NAMES = "data.yaml"
LISTED = "classes.txt"
"""Names of classes, one a line, as Label Studio and labelImg write them."""
ABOVE = 2
"""Folders above a given one that may have the names of classes: it may be `train/labels`."""
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
        path = target / LABELS / with_ending(Path(annotation.photograph), ".txt")
        write_text(path, "".join(f"{line}\n" for line in lines))


def read(source: Path, photographs: Photographs, label: str | None) -> Iterator[Entry]:
    """Read YOLO's labels, from a folder with folders `labels`, from one of these, or from any.

    A photograph's name does not say `labels`: `train/labels/a.txt` and `labels/train/a.txt` belong
    to `train/a`. Where a folder `images` stands for `labels`, its photographs without a file of
    labels have no lesion, as in YOLO's own training. `photographs` tell the sizes, which the labels
    do not say. A label is a class's name or number, by the nearest data.yaml or classes.txt.
    """
    files = _files(source)
    if not files:
        raise DataError(f"{source}: holds no labels (*.txt)")
    classes = {folder: _classes(folder, source) for folder in {path.parent for path in files}}
    if label is None or not all(classes.values()):
        labels = set()
        for path in files:
            with understood(path, KIND):
                lines = path.read_text(encoding="utf-8").splitlines()
            labels |= {_name(line, classes[path.parent]) for line in lines if line.strip()}
        choose_label(labels, label, source)
    elif not any(label in {*named, *named.values()} for named in classes.values()):
        choose_label({name for named in classes.values() for name in named.values()}, label, source)
    for path, name in files.items():
        load = partial(_load, path, name, photographs, label, classes[path.parent])
        yield Entry(name, load)
    for name in _unlabelled(files):
        yield Entry(name, partial(_load, None, name, photographs, label, {}), unlabelled=True)


def photographs_beside(source: Path) -> Path | None:
    """Return the folder in which labels' photographs lie, where it is beside `labels`."""
    folders = {path.parent for path in _files(source)}
    return _images_of(source) or (source if any(map(_images_of, folders)) else None)


def _files(source: Path) -> dict[Path, str]:
    """Return the files of labels with their photographs' names.

    Where folders `labels` are, others hold none: README.dataset.txt, or lists of photographs.
    """
    found = {
        path: path.relative_to(source).parent
        for path in files_with(source, ".txt")
        if path.name.lower() != LISTED
    }
    within = {
        path: without
        for path, folder in found.items()
        if (without := exchanged(folder, LABELS)) is not None
    }
    return {
        path: (folder / path.with_suffix(".jpg").name).as_posix()
        for path, folder in (within or found).items()
    }


def _images_of(folder: Path) -> Path | None:
    """Return the folder of photographs that belongs to one of labels, if it is there."""
    images = exchanged(folder.absolute(), LABELS, IMAGES)
    return images if images is not None and images.is_dir() else None


def _unlabelled(files: dict[Path, str]) -> list[str]:
    """Return the names of photographs that have no file in their folder's folder of labels."""
    labelled = {composed(str(Path(name).with_suffix(""))) for name in files.values()}
    folders = {path.parent: Path(name).parent for path, name in files.items()}
    return [
        (folder / path.name).as_posix()
        for labels, folder in sorted(folders.items())
        if (images := _images_of(labels)) is not None
        for path in sorted(images.iterdir())
        if not path.name.startswith(".")
        and may_be_photograph(path)
        and composed(str(folder / stem_of(path))) not in labelled
    ]


def _classes(folder: Path, source: Path) -> dict[str, str]:
    """Return the names of classes by number, for the labels in a folder; none where none says."""
    beyond = source.absolute().parents[ABOVE:]
    for place in (folder.absolute(), *folder.absolute().parents):
        if place in beyond:
            break
        if (place / NAMES).is_file():
            return _in_yaml((place / NAMES).read_text(encoding="utf-8-sig", errors="replace"))
        if (place / LISTED).is_file():
            names = (place / LISTED).read_text(encoding="utf-8-sig", errors="replace").splitlines()
            return {str(number): name.strip() for number, name in enumerate(names)}
    return {}


def _in_yaml(text: str) -> dict[str, str]:
    """Return the names of classes by number, in any of YAML's forms."""
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
    path: Path | None,
    name: str,
    photographs: Photographs,
    label: str | None,
    classes: dict[str, str],
) -> Annotation:
    size = photographs.shown_size(name, "YOLO's labels do not say its size")
    mask = np.zeros(size, np.bool_)
    if path is None:
        return Annotation(name, mask)
    with understood(path, KIND):
        for line in path.read_text(encoding="utf-8").splitlines():
            number, *places = line.split() or [""]
            if not number or label not in (None, number, classes.get(number)):
                continue
            if len(places) == 4:
                raise ValueError("a line is a box; outline the lesion there, or delete the line")
            if len(places) < 6 or len(places) % 2:
                raise ValueError(f"a line of {len(places)} numbers is no outline")
            ring = np.array(places, np.float64).reshape(-1, 2) * size[::-1]
            mask |= fill([ring], size)
        return Annotation(name, mask)
