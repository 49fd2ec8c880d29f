"""What was done in an output folder: a line of JSON for each mask, written as soon as it exists.

A run that was stopped, or killed, is gone on with by reading the journal: a mask is made again only
if its photograph, the model or a setting has changed since, or if the mask is gone.
"""

import json
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from dermseg.errors import OutputError

Row = dict[str, Any]


class Journal:
    """The journal of one output folder; a context manager, so that its file is closed.

    A last line that was cut short, by a kill or a full disk, counts as not written. Threads may
    share it: lines stay whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._entries: dict[str, tuple[str | None, Row]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+", encoding="utf-8", errors="replace", newline="\n")
        except OSError as error:
            raise OutputError.about(path, error) from error
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
            self._entries[entry["mask"]] = (entry["fingerprint"], entry["row"])
        except (ValueError, KeyError, TypeError):
            return

    def find(self, mask: str, fingerprint: str) -> Row | None:
        """Return the row that was noted for a mask under this very fingerprint."""
        known, row = self._entries.get(mask, (None, {}))
        return row if known == fingerprint else None

    def knows(self, mask: str) -> bool:
        """Say whether an earlier run wrote this mask, or began to."""
        return mask in self._entries

    def begin(self, mask: str) -> None:
        """Note that a mask is about to be written: what was noted of it holds no longer."""
        self._write(mask, None, {})

    def note(self, mask: str, fingerprint: str, row: Row) -> None:
        """Note that a mask is written."""
        self._write(mask, fingerprint, row)

    def _write(self, mask: str, fingerprint: str | None, row: Row) -> None:
        entry = {"mask": mask, "fingerprint": fingerprint, "row": row}
        line = json.dumps(entry) + "\n"
        with self._lock:
            try:
                self._file.write(line)
                self._file.flush()
            except OSError as error:
                raise OutputError.about(self._path, error) from error
            self._entries[mask] = (fingerprint, row)

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
