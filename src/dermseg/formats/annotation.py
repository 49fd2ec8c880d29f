"""An outlined photograph, whatever tool outlined it: what all forms read and write."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import takewhile
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, Literal, TypeAlias, TypeVar

import cv2
import numpy as np
from PIL import Image

from dermseg.cores import cached_property
from dermseg.errors import DataError, TooManyPixelsError, UnsaidError
from dermseg.imaging.images import Mask
from dermseg.imaging.mask_files import composed
from dermseg.imaging.orientation import exchanges_sides, upright
from dermseg.imaging.photographs import may_be_photograph, read_header, stem_of, with_ending
from dermseg.masks.polygons import Polygon, fill, join, one_ring, rings_of, simplify, trace
from dermseg.settings import OutlineSettings
from dermseg.storage.files import files_below

Frame: TypeAlias = Literal["stored", "shown"]
"""Whether a form's coordinates count the pixels as the file stores them, or as EXIF shows them."""
ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
"""How a path on a drive of Windows begins, or the address of a store."""
IMAGES, LABELS = "images", "labels"
"""Folders of photographs and of outlines that other tools' names leave out."""
SAFE_INTEGER = 53
"""Bits of the whole numbers that every reader of JSON keeps."""
Folder = TypeVar("Folder", bound=PurePath)


@dataclass(frozen=True)
class Annotation:
    """The lesion of one photograph.

    `photograph` is its file's name, perhaps with subfolders, with forward slashes. `mask` is
    boolean (H, W). `orientation` is the photograph's EXIF orientation, 1 to 8. `frame` says which
    of a DICOM file's several frames it is, from 1, where that is known. `drawn` are polygons that
    stand for the mask where they are not simply its pixels' edges.
    """

    photograph: str
    mask: Mask
    orientation: int = 1
    frame: int | None = None
    drawn: tuple[Polygon, ...] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) of the frame, in pixels."""
        height, width = self.mask.shape
        return height, width

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) of the lesion's smallest upright box; zeros without a lesion."""
        x, y, width, height = cv2.boundingRect(self.mask.view(np.uint8))
        return x, y, width, height

    @property
    def in_box(self) -> Mask:
        """The part of the mask in its box."""
        x, y, width, height = self.box
        return self.mask[y : y + height, x : x + width]

    @cached_property
    def polygons(self) -> tuple[Polygon, ...]:
        """The lesion's pieces, largest first; none where there is no lesion."""
        return trace(self.mask) if self.drawn is None else self.drawn

    def shown(self) -> "Annotation":
        """Return the annotation, whose pixels lie as stored, turned as EXIF says."""
        turned = upright(self.mask.view(np.uint8), self.orientation).view(np.bool_)
        return replace(self, mask=turned, drawn=None)

    def reduced(self, settings: OutlineSettings) -> tuple["Annotation", int]:
        """Return the annotation with less in it, and the number of pixels that are other ones."""
        if not (settings.tolerance or settings.one):
            return self, 0
        polygons = self.polygons
        if settings.tolerance:
            polygons = simplify(polygons, settings.tolerance)
        if settings.one == "largest":
            polygons = polygons[:1]
        elif settings.one == "union" and len(polygons) > 1:
            polygons = (Polygon(join([one_ring(polygon) for polygon in polygons])),)
        if polygons is self.polygons:
            return self, 0
        mask = fill(rings_of(polygons), self.size)
        lost = int(np.count_nonzero(mask != self.mask))
        return replace(self, mask=mask, drawn=polygons), lost

    def traced(self) -> "Annotation":
        """Return the annotation with its polygons, so that no one waits for them who writes it."""
        return replace(self, drawn=self.polygons)


@dataclass(frozen=True)
class Entry:
    """A photograph of a source, and the function that reads its outline.

    `photograph` is what is known of its name beforehand: the suffix may be another. What `load`
    raises, a DermsegError, costs this photograph alone. Of an `unlabelled` one the source says
    nothing, which means that it has no lesion. `size` is the frame's (height, width), where it is
    known beforehand.
    """

    photograph: str
    load: Callable[[], Annotation]
    unlabelled: bool = False
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Photographs:
    """The photographs of a folder, for what a form does not say: names, sizes, orientation."""

    folder: Path | None = None
    _by_stem: dict[str, list[Path]] = field(default_factory=dict, init=False, repr=False)
    _by_place: dict[PurePosixPath, list[Path]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.folder is None:
            return
        if not self.folder.is_dir():
            raise DataError(f"{self.folder}: no such folder")
        for path in sorted(files_below(self.folder)):
            if not path.name.startswith(".") and may_be_photograph(path):
                within = path.relative_to(self.folder)
                for stem in {with_ending(within, "").as_posix(), stem_of(path)}:
                    self._by_stem.setdefault(composed(stem), []).append(path)
                self._by_place.setdefault(_place(within.as_posix()), []).append(path)

    def find(self, photograph: str) -> Path | None:
        """Return the file of a photograph, None if no folder was given.

        Raises DataError if the folder has no such photograph, or several.
        """
        if self.folder is None:
            return None
        name = PurePosixPath(composed(photograph))
        found = (
            self._by_stem.get(str(with_ending(name, "")))
            or self._by_place.get(_place(photograph))
            or self._by_stem.get(stem_of(name))
            or []
        )
        named = [path for path in found if composed(path.name) == name.name] or found
        if len(named) != 1:
            if named:
                lack = f"several photographs of this name in {self.folder}; rename all but one"
            else:
                lack = f"no photograph of this name in {self.folder}"
            raise DataError(f"{photograph}: {lack}")
        return named[0]

    def found(self, photographs: Iterable[str]) -> dict[Path, list[str]]:
        """Return the files that photographs have, each with the names that it is found by."""
        files: dict[Path, list[str]] = {}
        for photograph in photographs:
            with suppress(DataError):
                if path := self.find(photograph):
                    files.setdefault(path, []).append(photograph)
        return files

    def parts_in_common(self, path: Path, photograph: str) -> int:
        """Return how many parts of their paths a file and a name share, counted from the end."""
        assert self.folder is not None
        own, other = _place(path.relative_to(self.folder).as_posix()), _place(photograph)
        pairs = zip(reversed(own.parts), reversed(other.parts), strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    def shown_size(self, photograph: str, lacking: str) -> tuple[int, int]:
        """Return the (height, width) of a photograph as EXIF shows it; UnsaidError without it."""
        path = self.require(photograph, lacking)
        header = read_header(path)
        height, width = header.size
        return (width, height) if exchanges_sides(header.orientation) else (height, width)

    def require(self, photograph: str, lacking: str) -> Path:
        """Return the file of a photograph; UnsaidError, saying what a form lacks, without one."""
        path = self.find(photograph)
        if path is None:
            message = f"{photograph}: {lacking}; name the photographs' folder with --photographs"
            raise UnsaidError.about("--photographs", message)
        return path


def exchanged(folder: Folder, old: str, new: str = "") -> Folder | None:
    """Return a folder with `new`, or nothing, for the last `old` in its path; None without any."""
    parts = [*folder.parts]
    if old not in parts:
        return None
    at = len(parts) - 1 - parts[::-1].index(old)
    return type(folder)(*parts[:at], new, *parts[at + 1 :])


def _place(photograph: str) -> PurePosixPath:
    """Return a photograph's name without its suffix, in its `place_of`."""
    path = PurePosixPath(composed(photograph))
    return place_of(path.parent) / stem_of(path)


def place_of(folder: Folder) -> Folder:
    """Return a folder without the parts of it that say photographs or outlines."""
    for part in (IMAGES, LABELS):
        folder = exchanged(folder, part) or folder
    return folder


def files_with(folder: Path, suffix: str) -> list[Path]:
    """Return a folder's files, and its subfolders', of a suffix in any case; no hidden ones.

    macOS puts a hidden file beside each on a disk of another system.
    """
    found = (path for path in files_below(folder) if path.suffix.lower() == suffix)
    return sorted(path for path in found if not path.name.startswith("."))


def find_files(source: Path, suffix: str, kind: str) -> list[tuple[Path, Path]]:
    """Return the files of a form that has one a photograph, by name.

    `source` is such a file, or a folder of them with its subfolders. Each comes with the name that
    its photograph has if nothing else is known. Raises DataError for a folder that holds none.
    """
    folder = source if source.is_dir() else source.parent
    files = files_with(source, suffix) if source.is_dir() else [source]
    if not files:
        raise DataError(f"{source}: holds no {kind} (*{suffix})")
    return [(path, path.relative_to(folder).with_suffix(".jpg")) for path in files]


def is_name(text: str) -> bool:
    """Say whether a text can be the path of a photograph in a folder, and of none outside it."""
    path = Path(text)
    try:
        can_be = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        can_be = False
    colon = sys.platform == "win32" and ":" in text
    return can_be and bool(path.name) and not (path.anchor or colon or ".." in path.parts)


def safe_name(text: str) -> str:
    """Return the name of a photograph that a foreign file tells, which cannot lead elsewhere.

    Of what is no name, or the path on another machine, the end is left. That may be none either.
    """
    name = str(PurePosixPath(text.replace("\\", "/")))
    return name if is_name(name) and not ELSEWHERE.match(name) else PurePosixPath(name).name


def stable_id(photograph: str) -> int:
    """Return a number for a photograph that depends on its name alone."""
    digest = blake2b(photograph.encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - SAFE_INTEGER)


def frame_size(height: object, width: object) -> tuple[int, int]:
    """Return a frame's (height, width), as a foreign file tells it.

    Raises ValueError if they are no sides of a picture, TooManyPixelsError for one that no
    photograph may have either.
    """
    sides = int(str(height)), int(str(width))
    if min(sides) < 1:
        raise ValueError(f"a picture of {height} x {width} pixels")
    if sides[0] * sides[1] > 2 * (Image.MAX_IMAGE_PIXELS or 0):
        raise TooManyPixelsError(f"{height} x {width}: more pixels than are decoded")
    return sides


def choose_label(labels: Iterable[str], wanted: str | None, source: Path) -> None:
    """Raise DataError unless the wanted label is there; UnsaidError for several, none wanted."""
    known = sorted(set(labels))
    if wanted is None and len(known) > 1:
        listed = ", ".join(known)
        message = f"{source}: has several labels; name the lesion's with --label: {listed}"
        raise UnsaidError.about("--label", message)
    if wanted is not None and known and wanted not in known:
        raise DataError(f"{source}: has no label {wanted!r}; it has {', '.join(known)}")


@contextmanager
def understood(source: object, kind: str) -> Iterator[None]:
    """Raise DataError, naming `source`, for what in it is not as its kind of file should be."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror or error})") from error
    except KeyError as error:
        raise DataError(f"{source}: not {kind} (it lacks {error})") from error
    except (
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        OverflowError,
        RecursionError,
    ) as error:
        raise DataError(f"{source}: not {kind} ({error})") from error


def read_json(path: Path, kind: str) -> Any:
    """Return what a JSON file holds; DataError, naming it, if it is none."""
    with understood(path, kind):
        return json.loads(path.read_text(encoding="utf-8-sig"))
