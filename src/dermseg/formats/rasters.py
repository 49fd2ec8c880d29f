"""Outlines of any form as a folder of masks, for what reads masks."""

import atexit
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkdtemp

from dermseg.errors import DataError, UnsaidError, UsageError
from dermseg.formats import coco
from dermseg.formats.annotation import IMAGES, Photographs, files_with
from dermseg.formats.conversion import FORMS, Reading, convert
from dermseg.formats.recognition import check_alone, chosen, is_of_split, recognise
from dermseg.imaging.mask_files import LOSSY, find_mask, find_masks
from dermseg.settings import Form, MaskFrame, OutlineSettings

BESIDE = (".geojson", ".json")
"""Suffixes of outlines that may lie beside JPEGs of the same names, which then are no masks."""
PLACES = ("*.json", "*.xml", "annotations/*.json", "annotations/*.xml")
"""Where the one file lies in a data set."""


@dataclass(frozen=True)
class Masks:
    """A folder of masks; `frame` is how they lie on photographs that EXIF turns, if it is known.

    `unlabelled` are those without a lesion because the source says nothing of their photographs.
    """

    folder: Path
    frame: MaskFrame | None = None
    unlabelled: frozenset[Path] = frozenset()


_kept: dict[tuple[Path, Path | None, MaskFrame | None, int], Masks] = {}
"""What was made, for as long as the process lasts, by what it was made of."""


def masks_of(source: Path, frame: MaskFrame | None = None) -> Masks:
    """Return masks made of outlines; those in `source` itself where it has none.

    Parameters
    ----------
    source
        A folder of masks, or a file or a folder of outlines, which may lie beside their
        photographs.
    frame
        How a person says that the masks or the outlines lie.

    Returns
    -------
    Masks
        A folder that was made is removed when the process ends; its files are as old as the
        outlines, so that what is made of them counts as made of these.

    Raises
    ------
    DataError
        The outlines are damaged; the message lists every photograph whose outline is. Or they do
        not lie as the person says.
    """
    if not source.exists():
        return Masks(source, frame)
    try:
        form = recognise(source)
    except UsageError:  # whoever reads masks says what is wrong with it
        return Masks(source, frame)
    images = find_masks(source, below=True) if source.is_dir() else []
    if images and not _are_photographs(images, source, form):
        return Masks(source, frame)
    return rasterised(source, form, source if images else None, frame)


def _are_photographs(images: Sequence[Path], folder: Path, form: Form) -> bool:
    """Say whether images are the photographs of outlines in a folder, and so no masks.

    YOLO's are in folders `images`, and a form of one file names them; others are JPEGs beside
    outlines of their names. A mask may have its photograph's name, but not its suffix.
    """
    if form == "yolo":
        return any(IMAGES in image.relative_to(folder).parts for image in images)
    if FORMS[form].FILE:
        found = Photographs(folder).found(_names(folder, form))
        return any(
            image.suffix.lower() in {*LOSSY, *(Path(name).suffix.lower() for name in found[image])}
            for image in found.keys() & set(images)
        )
    outlined = {path.with_suffix("") for suffix in BESIDE for path in files_with(folder, suffix)}
    return all(
        image.suffix.lower() in LOSSY and image.with_suffix("") in outlined for image in images
    )


def _names(folder: Path, form: Form) -> list[str]:
    """Return the names of the photographs that the files of a form of one file are about."""
    if form == "coco":
        return [*coco.splits(folder)]
    with _remedied(folder):
        return [entry.photograph for entry in Reading(folder, form).entries()]


def rasterised(
    source: Path, form: Form, photographs: Path | None, frame: MaskFrame | None
) -> Masks:
    """Return masks made of the outlines in `source`; see `masks_of`.

    With photographs they are turned along the stored pixels. Without, they lie as the outlines do.
    """
    changed = max(path.stat().st_mtime_ns for path in (source, *_files(source)))
    key = (source.absolute(), photographs and photographs.absolute(), frame, changed)
    if key not in _kept:
        made = Path(mkdtemp(prefix="dermseg-masks-"))
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        reading = Reading(source, form, photographs=Photographs(photographs)).resolved()
        turns = reading.photographs.folder is not None
        reading = replace(reading, frame=frame if turns else None)
        with _remedied(source):
            done = convert(reading, made, "masks", OutlineSettings(), over=True)
        if done.failures:
            remedies = [_remedy(source, done.unsaid)] if done.unsaid else []
            title = f"{source}: some outlines cannot be read"
            raise DataError.listing(title, [*done.failures, *remedies])
        for path in _files(made):
            os.utime(path, ns=(changed, changed))
        unlabelled = frozenset(find_mask(made, Path(name)) for name in done.unlabelled)
        _kept[key] = Masks(made, "stored" if turns else frame, unlabelled)
    return _kept[key]


@contextmanager
def _remedied(source: Path) -> Iterator[None]:
    """Let what is raised for an option that lacks say which command has it."""
    try:
        yield
    except UnsaidError as error:
        raise DataError(f"{error}\n  {_remedy(source, {error.option})}") from error


def _remedy(source: Path, options: set[str]) -> str:
    """Say which command has options that whoever reads masks has not."""
    command = f"dermseg convert {source} -o masks --to masks"
    return f"`{command}` has {' and '.join(sorted(options))}; give its masks here"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def find_outlines(data: Path) -> tuple[Path, Form] | None:
    """Return where a data set without masks has its outlines, and their form; None without any.

    Raises DataError for several files of outlines.
    """
    found: list[tuple[Path, Form]] = []
    for path in sorted(path for place in PLACES for path in data.glob(place)):
        with suppress(UsageError):
            if FORMS[form := recognise(path)].FILE:
                found.append((path, form))
    files = chosen(data, [path for path, _ in found])
    if files and is_of_split(files[0]):
        folders = sorted({path.parent for path in files})
        check_alone(data, folders)
        return folders[0], "coco"
    if not found:
        with suppress(UsageError):
            if (form := recognise(data)) != "masks":
                found.append((data, form))
    return found[0] if found else None
