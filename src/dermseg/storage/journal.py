"""What was done in an output folder: a line of JSON for each mask, written as soon as it exists.

A run that was stopped, or killed, is gone on with by reading the journal: a mask is made again only
if its photograph, the model or a setting has changed since, or if the mask is gone or damaged. The
journal also knows the tables and sheets that dermseg wrote, so that no other is written over.
"""

import json
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, Any, Self

from dermseg.errors import OutputError, UsageError
from dermseg.storage.files import is_special, lock
from dermseg.storage.stores import File, LocalStore, Store

JOURNAL = "journal.jsonl"
VERSION = 2
"""Of a line's fields. A column more in a row leaves it as it is; a field that means something else
is a new version, and journals of others are refused."""
KEPT = 16
"""Checksums that are kept of a mask with its pictures, or of a table."""
CELLS, SUMS = frozenset({str, float, int, bool}), frozenset({int, type(None)})
"""Types of the values of a row, and of checksums."""
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


def own_sums(entry: Entry | None, *new: int | None) -> tuple[int | None, ...]:
    """Return the checksums by which files are dermseg's own: new ones, then those of `entry`."""
    sums = (*(each for each in new if each is not None), *(entry.own if entry else ()))
    return tuple(dict.fromkeys(sums))[:KEPT]


def is_foreign(file: File, entry: Entry | None) -> bool:
    """Say whether a file is there that is not as `entry`, what was noted of it, says."""
    return not file.is_as((*own_sums(entry), None))


def check_own(file: File, entry: Entry | None) -> None:
    """Raise UsageError if a file is there that dermseg has not written so."""
    if is_foreign(file, entry):
        raise UsageError(
            f"{file}: was changed since dermseg made it, or is another's; move it away, and it is "
            "made again"
        )


def read_journal(path: Path, only: Container[str] | None = None) -> dict[str, Entry]:
    """Return what was noted last of each mask, by mask; nothing where there is no journal.

    `only` these masks are returned, or all unless given. Raises UsageError for a journal of another
    version, and for what is no file.
    """
    return {mask: entry for mask, entry in entries_of(path) if only is None or mask in only}


def has_entries(path: Path) -> bool:
    """Say whether anything was noted in a journal; raise as `read_journal` does."""
    return any(True for _ in entries_of(path))


def entries_of(path: Path) -> Iterator[tuple[str, Entry]]:
    """Yield what was noted of masks, later entries in place of earlier ones; raise as above."""
    _check_regular(path)
    with suppress(OSError), path.open("rb") as file:
        yield from ((mask, entry) for _, mask, entry in _entries(file, path))


def _entries(lines: Iterable[bytes], path: object) -> Iterator[tuple[int, str, Entry]]:
    """Yield each entry with its mask, and with the byte where its line begins."""
    begins = 0
    for line in lines:
        if (noted := _parsed(line, path)) is not None:
            yield begins, *noted
        begins += len(line)


def _parsed(line: bytes, path: object) -> tuple[str, Entry] | None:
    """Return the mask and the entry of a line; None for what `Journal` does not write."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        noted = json.loads(line.decode("utf-8", "replace"))
        told = isinstance(noted["mask"], str) and noted["mask"]
        if told and noted.get("version") != VERSION:
            raise UsageError(
                f"{path}: of another version of dermseg; choose another folder, or move it away"
            )
        known = noted["fingerprint"], noted["row"], noted["files"], tuple(noted["own"])
        if _fits(noted["mask"], *known):
            return noted["mask"], Entry(*known)
    return None


def _fits(mask: object, fingerprint: object, row: object, files: object, own: object) -> bool:
    """Say whether the values of a line are of the kinds that `Journal` writes."""
    return (
        isinstance(mask, str)
        and isinstance(fingerprint, str | None)
        and isinstance(row, dict)
        and CELLS.issuperset(map(type, row.values()))
        and isinstance(files, dict)
        and isinstance(own, tuple)
        and SUMS.issuperset(map(type, (*files.values(), *own)))
    )


def _check_regular(path: Path) -> None:
    """Raise UsageError for a journal that cannot be read like a file: a folder, a pipe."""
    if is_special(path):
        raise UsageError(f"{path}: is no file; move it away, or choose another folder")


class Lines:
    """The lines of an open file. In memory is only where the last one of each mask begins.

    A million masks take 160 MB so, and 3.6 GB with their rows. Threads may share it.
    """

    def __init__(self, file: IO[bytes], name: object) -> None:
        """Read the file; raise UsageError, naming it, if it is of another version."""
        self._file = file
        self._name = name
        self._lock = Lock()
        file.seek(0)
        self._begins = {mask: begins for begins, mask, _ in _entries(file, name)}
        if end := file.seek(0, 2):
            file.seek(end - 1)
            if file.read(1) != b"\n":  # the last line was cut short
                self._write(b"\n")

    def get(self, mask: str) -> Entry | None:
        """Return what was noted of a mask last."""
        line = self.line(mask)
        noted = _parsed(line, self._name) if line else None
        return noted[1] if noted and noted[0] == mask else None

    def line(self, mask: str) -> bytes:
        """Return the last line of a mask; nothing where there is none."""
        begins = self._begins.get(mask)
        if begins is None:
            return b""
        with self._lock:
            self._file.seek(begins)
            return self._file.readline()

    def add(self, mask: str, line: bytes) -> None:
        """Write a line of a mask, now."""
        with self._lock:
            self._begins[mask] = self._write(line)

    def _write(self, line: bytes) -> int:
        """Write a line behind all that is there, also after one that failed; return where."""
        begins = self._file.seek(0, 2)
        self._file.write(line)
        self._file.flush()
        return begins

    def masks(self) -> set[str]:
        """Return all masks."""
        return set(self._begins)


class Journal:
    """The journal of one output folder; a context manager, so that its file is closed.

    A last line that was cut short, by a kill or a full disk, counts as not written. Threads may
    share it: lines stay whole. Raises UsageError for a journal of another version, for what is no
    file, and if another process has it open: masks of two models would come out as one's.
    """

    def __init__(self, path: Path) -> None:
        _check_regular(path)
        self._path = path
        self._store: Store = LocalStore(path.parent)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise OutputError.about(path, error) from error
        try:
            lock(self._file, path.parent)
            self._lines = Lines(self._file, path)
        except OSError as error:
            self._file.close()
            raise OutputError.about(path, error) from error
        except UsageError:
            self._file.close()
            raise

    def last(self, mask: str) -> Entry | None:
        """Return what was noted of a mask last, None if no run has made it or begun to."""
        return self._lines.get(mask)

    def masks(self) -> set[str]:
        """Return all masks of which something was noted."""
        return self._lines.masks()

    def begin(self, mask: str, own: tuple[int | None, ...] = ()) -> None:
        """Note that a mask is about to be written, or is gone: what was noted holds no longer."""
        self._add(mask, Entry(None, {}, {}, own))

    def note(self, mask: str, entry: Entry) -> None:
        """Note what there is to know of a mask now."""
        self._add(mask, entry)

    def flush(self) -> None:
        """Write what was noted now, where that is not always done."""

    def _add(self, name: str, entry: Entry) -> None:
        try:
            self._lines.add(name, encoded_entry(name, entry))
        except OSError as error:
            raise OutputError.about(self._path, error) from error

    def write(self, name: str, content: bytes) -> None:
        """Write a table or a sheet into the journal's folder, whole.

        Raises UsageError if another's lies there, OutputError if it cannot be written.
        """
        self.write_pieces(name, [content])

    def write_pieces(self, name: str, content: Iterable[bytes], facts: Row | None = None) -> None:
        """Write a table or a sheet that need not be in memory at once; raise as `write` does.

        `facts` are noted of it.
        """
        known = self.last(name)
        check_own(File(self._store, name), known)
        with self._store.written_whole(name) as temporary:
            with temporary.open("wb") as handle:
                handle.writelines(content)
            # A kill from here on leaves the old file or the new one: both are known.
            own = own_sums(known, self._store.sum_of(temporary))
            self._add(name, Entry(None, facts or {}, {}, own))

    def remove(self, name: str) -> None:
        """Remove such a file of an earlier run; raise as `write` does."""
        check_own(File(self._store, name), self.last(name))
        self._store.remove(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        with suppress(OSError):  # a line that could not be written has raised already
            self._file.close()


def encoded_entry(name: str, entry: Entry) -> bytes:
    """Return the line of a mask's entry."""
    line = json.dumps({"version": VERSION, "mask": name, **vars(entry)})
    return line.encode() + b"\n"
