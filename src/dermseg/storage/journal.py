"""What was done in an output folder: a line of JSON for each mask, written as soon as it exists.

A run that was stopped, or killed, is gone on with by reading the journal: a mask is made again only
if its photograph, the model or a setting has changed since, or if the mask is gone or damaged. The
journal also knows the tables and sheets that dermseg wrote, so that no other is written over.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self
from zlib import crc32

from dermseg.errors import OutputError, UsageError
from dermseg.storage.files import is_special, lock, writing, written_whole

JOURNAL = "journal.jsonl"
VERSION = 2
"""Of a line's fields. A column more in a row leaves it as it is; a field that means something else
is a new version, and journals of others are refused."""
OTHER = -1
"""Where a sum would stand, for what is no file."""
Row = dict[str, Any]
Sums = dict[str, int | None]
"""What files held when they were written: path to checksum."""


@dataclass(frozen=True)
class Entry:
    """What was noted of a mask: what decided it, its row of the report, and the files written.

    Without a fingerprint it was begun and not ended. `own` are the checksums by which the mask, its
    overlay, or a table of that name is known to be dermseg's, also while it is being written.
    """

    fingerprint: str | None
    row: Row
    files: Sums
    own: tuple[int | None, ...] = ()


def checksum(path: Path) -> int | None:
    """Return a sum that finds a file that was changed; None where none is or can be read.

    Of what is no file, a folder or a pipe, it is OTHER.
    """
    try:
        if is_special(path):
            return OTHER
        return crc32(path.read_bytes())
    except (OSError, ValueError):  # it is no name of a file
        return None


def is_foreign(path: Path, entry: Entry | None) -> bool:
    """Say whether a file is there that is not as `entry`, what was noted of it, says."""
    return checksum(path) not in (*(entry.own if entry else ()), None)


def check_own(path: Path, entry: Entry | None) -> None:
    """Raise UsageError if a file is there that dermseg has not written so."""
    if is_foreign(path, entry):
        raise UsageError(
            f"{path}: was changed since dermseg made it, or is another's; move it away, and it is "
            "made again"
        )


def read_journal(path: Path) -> dict[str, Entry]:
    """Return what was noted last of each mask, by mask; nothing where there is no journal.

    Raises UsageError for a journal of another version, and for what is no file.
    """
    _check_regular(path)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return _parsed(lines, path)


def _parsed(lines: Iterable[str], path: Path) -> dict[str, Entry]:
    entries = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            noted = json.loads(line)
            told = isinstance(noted["mask"], str) and noted["mask"]
            if told and noted.get("version") != VERSION:
                raise UsageError(
                    f"{path}: of another version of dermseg; choose another folder, or move it away"
                )
            known = noted["fingerprint"], noted["row"], noted["files"], tuple(noted["own"])
            if _fits(noted["mask"], *known):
                entries[noted["mask"]] = Entry(*known)
    return entries


def _fits(mask: object, fingerprint: object, row: object, files: object, own: object) -> bool:
    """Say whether the values of a line are of the kinds that `Journal` writes."""
    return (
        isinstance(mask, str)
        and isinstance(fingerprint, str | None)
        and isinstance(row, dict)
        and all(isinstance(value, str | float | int) for value in row.values())
        and isinstance(files, dict)
        and isinstance(own, tuple)
        and all(isinstance(value, int | None) for value in (*files.values(), *own))
    )


def _check_regular(path: Path) -> None:
    """Raise UsageError for a journal that cannot be read like a file: a folder, a pipe."""
    if is_special(path):
        raise UsageError(f"{path}: is no file; move it away, or choose another folder")


class Journal:
    """The journal of one output folder; a context manager, so that its file is closed.

    A last line that was cut short, by a kill or a full disk, counts as not written. Threads may
    share it: lines stay whole. Raises UsageError for a journal of another version, for what is no
    file, and if another process has it open: masks of two models would come out as one's.
    """

    def __init__(self, path: Path) -> None:
        _check_regular(path)
        self._path = path
        self._lock = Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+", encoding="utf-8", errors="replace", newline="\n")
        except OSError as error:
            raise OutputError.about(path, error) from error
        try:
            lock(self._file, path.parent)
            self._file.seek(0)
            lines = self._file.readlines()
            self._entries = _parsed(lines, path)
        except UsageError:
            self._file.close()
            raise
        if lines and not lines[-1].endswith("\n"):
            self._file.write("\n")

    def find(self, mask: str, fingerprint: str) -> Entry | None:
        """Return what was noted of a mask under this very fingerprint."""
        known = self.last(mask)
        return known if known is not None and known.fingerprint == fingerprint else None

    def last(self, mask: str) -> Entry | None:
        """Return what was noted of a mask last, None if no run has made it or begun to."""
        return self._entries.get(mask)

    def masks(self) -> set[str]:
        """Return all masks of which something was noted."""
        return set(self._entries)

    def begin(self, mask: str, own: tuple[int | None, ...] = ()) -> None:
        """Note that a mask is about to be written, or is gone: what was noted holds no longer."""
        self.note(mask, Entry(None, {}, {}, own))

    def note(self, mask: str, entry: Entry) -> None:
        """Note what there is to know of a mask now."""
        self._note(mask, entry)

    def _note(self, name: str, entry: Entry) -> None:
        line = json.dumps({"version": VERSION, "mask": name, **asdict(entry)}) + "\n"
        with self._lock:
            try:
                self._file.write(line)
                self._file.flush()
            except OSError as error:
                raise OutputError.about(self._path, error) from error
            self._entries[name] = entry

    def write(self, path: Path, content: bytes) -> None:
        """Write a table or a sheet into the journal's folder, whole.

        Raises UsageError if another's lies there, OutputError if it cannot be written.
        """
        check_own(path, self.last(path.name))
        # A kill between the two leaves the old file or the new one: both are known.
        self._note(path.name, Entry(None, {}, {}, (checksum(path), crc32(content))))
        with written_whole(path) as temporary:
            temporary.write_bytes(content)

    def remove(self, path: Path) -> None:
        """Remove such a file of an earlier run; raise as `write` does."""
        check_own(path, self.last(path.name))
        with writing(path):
            path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # a line that could not be written has raised already
            self._file.close()
