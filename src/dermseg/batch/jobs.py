"""Find the photographs that a user means, and name the files made from them."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path, PurePath, PurePosixPath

from dermseg.errors import ImageError, UsageError
from dermseg.imaging.containers import HEAD, form_of
from dermseg.imaging.mask_files import MASK_ENDINGS, MASK_SUFFIX, OTHER_ENDINGS, composed
from dermseg.imaging.photographs import (
    DICOM_SUFFIXES,
    PHOTOGRAPH_SUFFIXES,
    READS_DICOM,
    Source,
    head_of,
    may_be_photograph,
    may_begin_photograph,
    scale_of,
    stem_of,
    suffix_of,
    unwrapped,
    with_ending,
)
from dermseg.storage.files import is_link, is_special, leads_out, walk
from dermseg.storage.stores import File, RemoteStore, is_address, local_path

FOREIGN_FOLDERS = frozenset(
    {"@eadir", "@__thumb", "#recycle", "#snapshot", "$recycle.bin", "__macosx", "lost+found"}
    | {"system volume information"}
)
"""Folders that storage devices and systems make, of thumbnails and deleted files."""
LONGEST_NAME = 255
"""Bytes of a file's name on all usual systems."""
Aside = Callable[[str, Path], object]
"""Told of a kind and a path of it that is not used."""


@dataclass(frozen=True, slots=True)
class Job:
    """One photograph to segment.

    `name` is its path within what the user named, `frame` the frame of a DICOM file with several.
    `refusal` says, where it is so, why it can have no mask of its own. `pixels_per_mm` is what the
    user says of the scale. `stored` is the file of a photograph in a store, which has no path.
    """

    photograph: Path
    name: Path
    frame: int | None = None
    refusal: str = ""
    pixels_per_mm: float | None = None
    stored: File | None = None

    def __str__(self) -> str:
        return str(self.stored or self.photograph)

    def scale(self, photograph: Source) -> float | None:
        """Return the pixels a millimetre: the file's own, or what the user says; None if unknown.

        `photograph` is what `unwrapped` returned.
        """
        return scale_of(photograph) or self.pixels_per_mm

    def open(self) -> BytesIO:
        """Return the photograph's file in memory, under its name; ImageError if it is none."""
        try:
            content = BytesIO((self.stored or self.photograph).read_bytes())
        except OSError as error:
            raise ImageError(f"{self}: cannot be read ({error.strerror})") from error
        content.name = str(self)
        return unwrapped(content, self.frame)

    @property
    def mask(self) -> Path:
        """Where the mask goes, within the output folder."""
        return with_ending(self.name, MASK_SUFFIX)


def find_jobs(
    paths: Sequence[str | Path],
    *,
    without: Sequence[str | Path | None] = (),
    unused: list[str] | None = None,
) -> list[Job]:
    """Return a job for each photograph in `paths`: files, or folders with their subfolders.

    Text may be the address of a store, which is listed once: `unused` receives a line for each kind
    of file there that is not used, as `passed_over` says them of paths.

    In folders it passes over hidden files, masks, overlays, contact sheets, the official archives'
    superpixels, DICOM files without a photograph, and all files in the folders `without` (those
    that will be written to).

    A photograph that is found twice under one name counts once. Raises UsageError if a path does
    not exist, or if a folder cannot be read or holds no photographs; StoreError if a store does not
    answer.
    """
    jobs: list[Job] = []
    for where in paths:
        if is_address(where):
            stored, kinds = _find_stored(where, without)
            jobs += stored
            if unused is not None:
                unused += kinds
            continue
        path = local_path(where)
        if path.is_dir():
            written = _written(path, without)
            found = [
                Job(file, file.relative_to(path))
                for file in sorted(_files_below(path))
                if _is_photograph(file) and written.isdisjoint(_real(file).parents)
            ]
            if not found:
                raise _without_photographs(path, passed_over([path], without=without))
            jobs += found
        elif path.is_file():
            jobs.append(Job(path, Path(path.name)))
        else:
            raise UsageError(f"{path}: no such file or folder")
    return _marked(jobs)


def _marked(jobs: Sequence[Job]) -> list[Job]:
    """Return `jobs`, each photograph once, with the reason why some can have no mask."""
    alike: dict[str, Job | dict[str, Job]] = {}
    for job in jobs:
        # Some file systems take A and a, or two forms of one accent, for the same name.
        name = composed(str(job.mask)).casefold()
        if (known := alike.setdefault(name, job)) is not job:
            group = alike[name] = known if isinstance(known, dict) else {_origin(known): known}
            group.setdefault(_origin(job), job)
    return [marked for found in alike.values() for marked in _refused(found)]


def _refused(found: Job | dict[str, Job]) -> Iterator[Job]:
    """Yield the jobs of one mask, each with the reason why it can have none, if there is one."""
    jobs = list(found.values()) if isinstance(found, dict) else [found]
    for job in jobs:
        refusal = _refusal(job, [other for other in jobs if other is not job])
        yield replace(job, refusal=refusal) if refusal else job


def _refusal(job: Job, others: Sequence[Job]) -> str:
    """Return why a job can have no mask of its own; `others` would write the same one."""
    if others:
        where = f"{others[0]} would write {job.mask} too"
        return f"{job}: {where}; segment them into different folders"
    length = len(os.fsencode(job.mask.name))
    if length > LONGEST_NAME:
        return (
            f"{job}: its name is too long, since its mask's would have {length} bytes, "
            f"of {LONGEST_NAME} at most; shorten it"
        )
    return ""


def passed_over(
    paths: Sequence[str | Path], *, without: Sequence[str | Path | None] = ()
) -> list[str]:
    """Return a line for each kind of file and folder below `paths` that `find_jobs` does not use.

    Hidden files, files in the folders `without`, and those of stores are not mentioned.
    """
    kinds: dict[str, list[Path]] = {}
    closed: list[OSError] = []

    def aside(kind: str, path: Path) -> None:
        kinds.setdefault(kind, []).append(path)

    for path in (local_path(where) for where in paths if not is_address(where)):
        if path.is_dir():
            written = _written(path, without)
            for file in _files_below(path, aside, closed.append):
                if not _is_photograph(file) and written.isdisjoint(_real(file).parents):
                    aside(_kind(file), file)
    lines = [_line(kind, sorted(kinds[kind])) for kind in sorted(kinds)]
    return lines + [f"{error.filename}, a folder ({error.strerror})" for error in closed]


def _written(path: Path, without: Sequence[str | Path | None]) -> set[Path]:
    """Return the folders below `path` that will be written to.

    Photographs may lie in the very folder that is written to, or below it.
    """
    outputs = {
        local_path(folder).resolve()
        for folder in without
        if folder is not None and not is_address(folder)
    }
    return {folder for folder in outputs if path.resolve() in folder.parents}


def _kind(path: PurePath) -> str:
    """Return what kind of file is not used: by the end of its name, or by its suffix."""
    stem, suffix = stem_of(path).lower(), suffix_of(path).lower()
    if suffix in PHOTOGRAPH_SUFFIXES:
        endings = [ending for ending in MASK_ENDINGS + OTHER_ENDINGS if stem.endswith(ending)]
        if suffix in DICOM_SUFFIXES and not endings:
            return f"{suffix} without a photograph"
        return f"named {endings[0]}{suffix}" if endings else "special files"
    return suffix or "without a suffix"


def _line(kind: str, found: Sequence[Path]) -> str:
    """Return how many there are of a kind, which, and what the first bytes of the first are."""
    form = _form(found[0])
    return f"{_named(kind, found)}, {form} by the first bytes" if form else _named(kind, found)


def _named(kind: str, found: Sequence[PurePath]) -> str:
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{len(found)} {kind} ({found[0].name}{more})"


def _form(path: Path) -> str:
    """Return the form of a file that is not a photograph by its name; "" if none is known."""
    if path.suffix.lower() in PHOTOGRAPH_SUFFIXES - DICOM_SUFFIXES or not path.is_file():
        return ""
    form = form_of(head_of(path))
    needs = " (read with the extra dicom: pip install '.[dicom]')"
    return form + needs * (form == "DICOM" and not READS_DICOM)


def _files_below(
    folder: Path,
    aside: Aside = lambda _, __: None,
    closed: Callable[[OSError], object] = lambda _: None,
) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders, but for what is hidden.

    `aside` is told of links and folders of storage devices, which are not entered, `closed` of
    subfolders that cannot be read. Raises UsageError if the folder itself cannot be.
    """

    def tell(error: OSError) -> None:
        if error.filename == str(folder):
            raise UsageError(f"{folder}: cannot be read ({error.strerror})") from error
        closed(error)

    for place, folders, names in walk(folder, tell):
        entered = []
        for name in folders:
            if name.lower() in FOREIGN_FOLDERS:
                aside("folders of a storage device", Path(place, name))
            elif not name.startswith("."):
                entered.append(name)
                if is_link(Path(place, name)):  # which walk does not follow
                    aside("linked folders", Path(place, name))
        folders[:] = entered
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _is_photograph(path: Path) -> bool:
    is_other = stem_of(path).lower().endswith(MASK_ENDINGS + OTHER_ENDINGS)
    return not (is_other or is_special(path)) and may_be_photograph(path)


def _find_stored(address: str, without: Sequence[str | Path | None]) -> tuple[list[Job], list[str]]:
    """Return a job for each photograph in a store, and a line for each kind of other files.

    By the listing alone, where first bytes are a request: then a name says what is a photograph.
    """
    store = RemoteStore(address)
    outputs = [f"{each}/" for each in without if is_address(each)]
    jobs: list[Job] = []
    kinds: dict[str, list[PurePath]] = {}
    for listed in store.files():
        name = PurePosixPath(listed.name or address.partition("::")[0])
        file = File(store, listed.name, listed.size, listed.tag)
        if not listed.name:  # the address is a photograph's own
            jobs.append(Job(Path(name), Path(name.name), stored=file))
        elif str(file).startswith(tuple(outputs)) or _is_hidden(name):
            continue
        elif kind := _stored_kind(name, partial(store.head, listed.name, HEAD)):
            kinds.setdefault(kind, []).append(name)
        else:
            jobs.append(Job(path := Path(name), path, stored=file))
    lines = [_named(kind, sorted(kinds[kind])) for kind in sorted(kinds)]
    if not jobs and not lines:
        raise UsageError(f"{address}: no such file or folder, or nothing to segment is in it")
    if not jobs:
        raise _without_photographs(address, lines)
    return sorted(jobs, key=lambda job: job.name), lines


def _is_hidden(name: PurePosixPath) -> bool:
    return any(part.startswith(".") and part != ".." for part in name.parts)


def _stored_kind(name: PurePosixPath, head: Callable[[], bytes | None]) -> str:
    """Return why a file of a store is none to segment, or nothing; `head` reads its first bytes."""
    if leads_out(str(name)):
        return "whose names lead out of a folder"
    if not FOREIGN_FOLDERS.isdisjoint(part.lower() for part in name.parts[:-1]):
        return "in folders of a storage device"
    is_other = stem_of(name).lower().endswith(MASK_ENDINGS + OTHER_ENDINGS)
    return _kind(name) if is_other or not may_begin_photograph(name, head) else ""


def _without_photographs(where: object, kinds: Sequence[str]) -> UsageError:
    suffixes = ", ".join(sorted(PHOTOGRAPH_SUFFIXES))
    held = f", but {'; '.join(kinds)}" if kinds else "; it is empty"
    return UsageError(f"{where}: holds no photographs ({suffixes}){held}")


def _origin(job: Job) -> str:
    """Return what a photograph is unique by."""
    return str(job.stored or _real(job.photograph))


def _real(path: Path) -> Path:
    """Return a path with its links resolved, as far as they do not lead in circles."""
    return Path(os.path.realpath(path))
