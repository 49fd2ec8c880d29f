"""Which photographs a user means, and what the files made from them are called."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from dermseg.errors import UsageError
from dermseg.imaging.mask_files import MASK_SUFFIX
from dermseg.imaging.photographs import PHOTOGRAPH_SUFFIXES, UNREAD_SUFFIXES


@dataclass(frozen=True)
class Job:
    """One photograph to segment. `name` is its path within what the user named."""

    photograph: Path
    name: Path

    @property
    def mask(self) -> Path:
        """Where the mask goes, within the output folder."""
        return self.name.with_name(self.name.stem + MASK_SUFFIX)

    @property
    def overlay(self) -> Path:
        """Where the overlay goes, within its folder."""
        return self.name.with_name(self.name.stem + "_overlay.jpg")


def find_jobs(paths: Sequence[Path], *, without: Sequence[Path | None] = ()) -> list[Job]:
    """Return a job for each photograph in `paths`: files, or folders with their subfolders.

    In folders, what is hidden, masks, overlays, contact sheets and the official archives'
    superpixels are passed over, and so is what lies in the folders `without` (those that will be
    written to).

    A photograph that is found twice under one name counts once. Raises UsageError if a path does
    not exist, if a folder cannot be read or holds no photographs, or if two photographs would share
    one mask.
    """
    jobs: list[Job] = []
    for path in paths:
        if path.is_dir():
            # Photographs may lie in the very folder that is written to, or below it.
            outputs = {folder.resolve() for folder in without if folder is not None}
            written = {folder for folder in outputs if path.resolve() in folder.parents}
            found = [
                Job(file, file.relative_to(path))
                for file in sorted(_files_below(path))
                if _is_photograph(file) and written.isdisjoint(_real(file).parents)
            ]
            if not found:
                raise UsageError(f"{path}: holds no photographs ({_suffixes()})")
            jobs += found
        elif path.is_file():
            jobs.append(Job(path, Path(path.name)))
        else:
            raise UsageError(f"{path}: no such file or folder")
    first: dict[str, Job] = {}
    for job in jobs:
        # Some file systems take A and a for the same name.
        other = first.setdefault(str(job.mask).casefold(), job)
        if _real(other.photograph) != _real(job.photograph):
            raise UsageError(
                f"{other.photograph} and {job.photograph} would both write {job.mask}; "
                "segment them into different folders"
            )
    return list(first.values())


def passed_over(paths: Sequence[Path]) -> list[str]:
    """Return a line for each form of images that is not read, and folder that cannot be, below."""
    closed: list[OSError] = []
    below = (file for path in paths if path.is_dir() for file in _files_below(path, closed.append))
    suffixes = Counter(file.suffix.lower() for file in below)
    forms = sorted(UNREAD_SUFFIXES & suffixes.keys())
    lines = [
        f"{suffixes[form]} {form}, which is not read; JPEG, PNG and TIFF are" for form in forms
    ]
    return lines + [f"{error.filename}, a folder ({error.strerror})" for error in closed]


def _files_below(
    folder: Path, closed: Callable[[OSError], object] = lambda _: None
) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders, but for what is hidden.

    `closed` is told of subfolders that cannot be read; UsageError if the folder itself cannot.
    """

    def tell(error: OSError) -> None:
        if error.filename == str(folder):
            raise UsageError(f"{folder}: cannot be read ({error.strerror})") from error
        closed(error)

    for place, folders, names in os.walk(folder, onerror=tell):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _is_photograph(path: Path) -> bool:
    return (
        path.suffix.lower() in PHOTOGRAPH_SUFFIXES
        and not path.stem.lower().endswith(("_segmentation", "_superpixels", "_overlay", "_sheet"))
        and _may_be_opened(path)
    )


def _real(path: Path) -> Path:
    """Return where a path leads, however far that is known: links may lead in circles."""
    return Path(os.path.realpath(path))


def _may_be_opened(path: Path) -> bool:
    """Say whether to open a path tells what is wrong with it, rather than waiting for a pipe."""
    try:
        return S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _suffixes() -> str:
    return ", ".join(sorted(PHOTOGRAPH_SUFFIXES))
