"""In which form outlines are, and which files of a folder hold them."""

from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from dermseg.errors import DataError, UsageError
from dermseg.formats.annotation import files_with
from dermseg.settings import Form
from dermseg.storage.files import files_below

BEGINNING = 1 << 16
"""Bytes of a file by which its form is recognised."""
FOLDERS: dict[str, Form | None] = {
    "*_segmentation.png": "masks",
    "*.geojson": "geojson",
    "labels/*.txt": "yolo",
    "*.json": "labelme",
    "*.xml": None,
    "*.png": "masks",
}
"""A pattern of a folder's files to the form that they are in, if none of them says another."""
SAYING = (".json", ".xml")
"""Suffixes of files that say their form near their beginning, as FILES has it."""
FILES: dict[bytes, Form] = {
    b"<annotations": "cvat",
    b'"shapes"': "labelme",
    b'"predictions"': "label-studio",
    b'"completed_by"': "label-studio",
    b'"original_width"': "label-studio",
    b'"FeatureCollection"': "geojson",
    b'"Feature"': "geojson",
    b'"images"': "coco",
    b'"annotations"': "coco",
}
"""What stands near the beginning of a file to its form."""
INSTANCES = "instances_"
"""How COCO's files of outlines are named, before the split that each is about."""
OTHER_TASKS = ("captions_", "person_keypoints_", "stuff_", "panoptic_", "image_info_")
"""How COCO's files beside them are named, which have no outlines or the same again."""


def recognise(source: Path) -> Form:
    """Return the form of a file or a folder, by its suffix and its first bytes.

    Raises UsageError if it is none that is read, or cannot be read.
    """
    form = _of_folder(source) if source.is_dir() else _of_file(source)
    if form is None:
        raise UsageError(f"{source}: its format is not recognised; name it with --from")
    return form


def _of_folder(source: Path) -> Form | None:
    found = [path for path in files_below(source) if not path.name.startswith(".")]
    paths = {path: path.relative_to(source) for path in found}
    names = {
        path: f"/{name.with_suffix(name.suffix.lower()).as_posix()}" for path, name in paths.items()
    }
    for above in ("", "/" + "/".join(source.absolute().parts[-2:])):  # as labels/train has it
        for pattern, form in FOLDERS.items():
            files = [path for path in found if fnmatch(above + names[path], f"*/{pattern}")]
            for path in files:
                if path.suffix.lower() in SAYING and (said := _said(path)):
                    return said
            if files and form:
                return form
    return None


def _said(path: Path) -> Form | None:
    """Return the form that a file says near its beginning; None for one that cannot be read."""
    with suppress(UsageError):
        return _of_file(path)
    return None


def _of_file(path: Path) -> Form | None:
    try:
        with path.open("rb") as file:
            start = file.read(BEGINNING)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    return next((form for sign, form in FILES.items() if sign in start), None)


def files_of(folder: Path, form: Form) -> list[Path]:
    """Return the files below a folder that hold a form of one file, by name.

    Raises DataError if there is none, or if two lie side by side that are not of two splits.
    """
    files = [path for end in SAYING for path in files_with(folder, end) if _said(path) == form]
    if not files:
        raise DataError(f"{folder}: holds no file of the format {form}")
    kept = {
        path
        for beside in {path.parent for path in files}
        for path in chosen(beside, [path for path in files if path.parent == beside])
    }
    return [path for path in files if path in kept]


def chosen(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Return the files of outlines to read of those in a folder: the only one, or COCO's by split.

    Raises DataError for several others, any of which may be the right one.
    """
    if any(is_of_split(path) for path in files):
        files = [path for path in files if not path.name.lower().startswith(OTHER_TASKS)]
    if not all(is_of_split(path) for path in files):
        check_alone(folder, files)
    return [*files]


def is_of_split(path: Path) -> bool:
    """Say whether a file is named as COCO's outlines of one split."""
    return path.name.lower().startswith(INSTANCES)


def check_alone(folder: Path, files: Sequence[Path]) -> None:
    """Raise DataError if there are several files of outlines, any of which may be the right one."""
    names = [path.relative_to(folder).as_posix() for path in files]
    if len(names) > 1:
        raise DataError(
            f"{folder}: has several files of outlines, {', '.join(names)}; give one of them, or "
            "leave only one there"
        )
