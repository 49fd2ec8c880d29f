"""Outlines of any form as a folder of masks, for what reads masks."""

import atexit
import os
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

from dermseg.errors import DataError, UsageError
from dermseg.formats.annotation import Photographs
from dermseg.formats.conversion import Reading, convert, recognise
from dermseg.imaging.mask_files import find_masks
from dermseg.settings import Form, OutlineSettings

ONE_FILE: tuple[Form, ...] = ("coco", "cvat", "label-studio")
A_FILE_EACH: tuple[Form, ...] = ("geojson", "labelme", "yolo")
PLACES = ("*.json", "*.xml", "annotations/*.json", "annotations/*.xml")
"""Where the one file lies in a data set."""
_kept: dict[tuple[Path, Path | None, int], Path] = {}
"""Folders that were made, for as long as the process lasts, by what they were made of."""


def masks_of(source: Path, photographs: Path | None = None) -> Path:
    """Return a folder of masks made of outlines; `source` itself where it has none.

    Parameters
    ----------
    source
        A folder of masks, or a file or a folder of outlines.
    photographs
        Folder of the photographs, for forms that do not say sizes or turn photographs by EXIF.

    Returns
    -------
    Path
        The folder. One that was made is removed when the process ends; its files are as old as the
        outlines, so that what is made of them counts as made of these.

    Raises
    ------
    DataError
        The outlines are damaged; the message lists every photograph whose outline is.
    """
    if not source.exists() or (source.is_dir() and find_masks(source, below=True)):
        return source
    try:
        form = recognise(source)
    except UsageError:  # whoever reads masks says what is wrong with it
        return source
    return rasterised(source, form, photographs)


def rasterised(source: Path, form: Form, photographs: Path | None) -> Path:
    """Return a folder of masks made of the outlines in `source`; see `masks_of`."""
    changed = max(path.stat().st_mtime_ns for path in (source, *_files(source)))
    key = (source.absolute(), photographs and photographs.absolute(), changed)
    if key not in _kept:
        made = Path(mkdtemp(prefix="dermseg-masks-"))
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        reading = Reading(source, form, photographs=Photographs(photographs))
        done = convert(reading, made, "masks", OutlineSettings(), over=True)
        if done.failures:
            raise DataError.listing(f"{source}: some outlines cannot be read", done.failures)
        for path in _files(made):
            os.utime(path, ns=(changed, changed))
        _kept[key] = made
    return _kept[key]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def find_outlines(data: Path) -> tuple[Path, Form] | None:
    """Return where a data set without masks has its outlines, and their form; None without any.

    Raises DataError for several files of outlines.
    """
    found: list[tuple[Path, Form]] = []
    for path in sorted(path for place in PLACES for path in data.glob(place)):
        with suppress(UsageError):
            if (form := recognise(path)) in ONE_FILE:
                found.append((path, form))
    if len(found) > 1:
        names = ", ".join(path.name for path, _ in found)
        raise DataError(f"{data}: has several files of outlines, {names}; leave only one there")
    if not found:
        with suppress(UsageError):
            if (form := recognise(data)) in A_FILE_EACH:
                found.append((data, form))
    return found[0] if found else None
