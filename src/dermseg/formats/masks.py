"""Masks as the challenge wants them: a PNG for each photograph, 0 or 255, as stored."""

import csv
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from dermseg.errors import DataError
from dermseg.formats.annotation import Annotation, Entry, Frame, Photographs, files_with
from dermseg.imaging.mask_files import (
    MASK_FOREGROUND,
    MASK_SUFFIX,
    OTHER_ENDINGS,
    by_name,
    composed,
    mask_stem,
    read_mask,
    write_mask,
)
from dermseg.imaging.photographs import with_ending
from dermseg.settings import OutlineSettings
from dermseg.storage.decisions import Kept, Reader
from dermseg.storage.tables import read_table, undefused

FRAME: Frame = "stored"
FILE = ""
ORIENTATIONS = tuple("12345678")
NUMBER = re.compile("[1-9][0-9]{0,8}")
REPORT = "report.csv"
"""The table of `dermseg segment`, which knows the photographs of the masks beside it."""


def write(annotations: Iterable[Annotation], target: Path, _: OutlineSettings) -> None:
    """Write outlines as masks, `<name>_segmentation.png`; they have no label."""
    target.mkdir(parents=True, exist_ok=True)
    for annotation in annotations:
        path = target / with_ending(Path(annotation.photograph), MASK_SUFFIX)
        write_mask(path, annotation.mask)


def read(source: Path, _: Photographs, __: str | None) -> Iterator[Entry]:
    """Read the masks of a folder and its subfolders, `*.png`; pictures of a run are none.

    Where a report.csv of `dermseg segment` lies in the folder, it tells the photographs' names,
    orientations and frames; without one a photograph is called after its mask, with .jpg. Raises
    DataError too for two masks of one photograph; an entry raises ImageError.
    """
    found = files_with(source, ".png")
    paths = [path for path in found if not path.stem.lower().endswith(OTHER_ENDINGS)]
    if not paths:
        raise DataError(f"{source}: holds no masks (*.png)")
    stems = (path.relative_to(source).with_name(mask_stem(path)).as_posix() for path in paths)
    masks, doubled = by_name(zip(stems, paths, strict=True))
    if doubled:
        raise DataError.listing(f"{source}: two masks of one photograph", doubled)
    known = _reported(source / REPORT)
    for stem, path in masks.items():
        row = known.get(composed(path.relative_to(source).as_posix()), {})
        name = undefused(row.get("photograph", "")) or f"{stem}.jpg"
        yield Entry(name, partial(_load, path, name, row))


def read_kept(reader: Reader) -> Iterator[Entry]:
    """Read the masks that a reader accepted or corrected in a review, by photograph.

    Raises DataError if there is none; an entry raises DataError too where the mask was made again
    since it was accepted, or is gone.
    """
    kept = reader.kept()
    if not kept:
        raise DataError(f"{reader.table}: no mask was accepted or corrected; finish the review")
    known = _reported(reader.masks / REPORT)
    for one in kept:
        row = known.get(composed(one.mask), {})
        yield Entry(one.photograph, partial(_load_kept, one, row))


def read_orientations(source: Path) -> dict[str, int]:
    """Return how EXIF turns the photographs of masks, by the mask's `composed` path in `source`.

    A report.csv of `dermseg segment` that lies there tells it; nothing where there is none.
    """
    rows = _reported(source / REPORT)
    said = {mask: row.get("orientation", "") for mask, row in rows.items()}
    return {mask: int(turn) for mask, turn in said.items() if turn in ORIENTATIONS}


def _load_kept(kept: Kept, row: dict[str, str]) -> Annotation:
    if not kept.path.is_file():
        raise DataError(f"{kept.photograph}: {kept.path} is missing; review it again")
    if kept.changed:
        raise DataError(
            f"{kept.photograph}: the mask was made again since it was accepted; review it again"
        )
    return _load(kept.path, kept.photograph, row)


def _load(path: Path, name: str, row: dict[str, str]) -> Annotation:
    """Read a mask, of whose photograph a row of the report tells orientation and frame."""
    turn, frame = row.get("orientation"), row.get("frame", "")
    return Annotation(
        name,
        read_mask(path) > MASK_FOREGROUND,
        int(turn) if turn in ORIENTATIONS else 1,
        int(frame) if NUMBER.fullmatch(frame) else None,
    )


def _reported(path: Path) -> dict[str, dict[str, str]]:
    """Return the rows of a report by mask; nothing where there is none."""
    try:
        rows = read_table(path)
    except (OSError, ValueError, csv.Error):
        return {}
    told = (row for row in rows if row.get("mask") and row.get("photograph"))
    return {composed(undefused(row["mask"])): row for row in told}
