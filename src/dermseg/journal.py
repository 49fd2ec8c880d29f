"""What was done in an output folder: a line of JSON for each mask, written as soon as it exists.

A run that was stopped, or killed, is gone on with by reading the journal: a mask is made again only
if its photograph, the model or a setting has changed since, or if the mask is gone or damaged.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from dermseg.errors import OutputError, UsageError
from dermseg.files import lock

Row = dict[str, Any]
Sums = dict[str, int | None]
"""What files held when they were written: path to checksum."""


@dataclass(frozen=True)
class Entry:
    """What was noted of a mask: what decided it, its row of the report, and the files written.

    Without a fingerprint it was begun and not ended.
    """

    fingerprint: str | None
    row: Row
    files: Sums


class Journal:
    """The journal of one output folder; a context manager, so that its file is closed.

    A last line that was cut short, by a kill or a full disk, counts as not written. Threads may
    share it: lines stay whole. Raises UsageError if another process has it open: masks of two
    models would come out as one's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._entries: dict[str, Entry] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+", encoding="utf-8", errors="replace", newline="\n")
        except OSError as error:
            raise OutputError.about(path, error) from error
        try:
            lock(self._file, path.parent)
        except UsageError:
            self._file.close()
            raise
        self._file.seek(0)
        whole = True
        for line in self._file:
            whole = line.endswith("\n")
            self._read(line)
        if not whole:
            self._file.write("\n")

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            known = Entry(entry["fingerprint"], entry["row"], entry["files"])
            self._entries[entry["mask"]] = known
        except (ValueError, KeyError, TypeError):
            return

    def find(self, mask: str, fingerprint: str) -> Entry | None:
        """Return what was noted of a mask under this very fingerprint."""
        known = self.last(mask)
        return known if known is not None and known.fingerprint == fingerprint else None

    def last(self, mask: str) -> Entry | None:
        """Return what was noted of a mask last, None if no run has made it or begun to."""
        return self._entries.get(mask)

    def rows(self) -> dict[str, Row]:
        """Return the row of each mask that was ended, by mask."""
        entries = self._entries.items()
        return {mask: entry.row for mask, entry in entries if entry.fingerprint is not None}

    def begin(self, mask: str) -> None:
        """Note that a mask is about to be written: what was noted of it holds no longer."""
        self._write(mask, Entry(None, {}, {}))

    def note(self, mask: str, entry: Entry) -> None:
        """Note that a mask is written."""
        self._write(mask, entry)

    def _write(self, mask: str, entry: Entry) -> None:
        line = json.dumps({"mask": mask, **asdict(entry)}) + "\n"
        with self._lock:
            try:
                self._file.write(line)
                self._file.flush()
            except OSError as error:
                raise OutputError.about(self._path, error) from error
            self._entries[mask] = entry

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
