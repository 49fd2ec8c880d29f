"""The journal of an output folder in a store, where no file can be appended to or locked.

New lines are put there as numbered parts, every few seconds. A copy of all lines on this machine is
what is read. When a run begins it makes one part of several.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock, Thread

from dermseg.errors import DermsegError
from dermseg.storage.journal import JOURNAL, Entry, Journal, Lines, encoded_entry, entries_of
from dermseg.storage.lease import USUAL, Lease, Rhythm
from dermseg.storage.stores import LocalStore, Store

FOLDER = "journal"
PART = ".jsonl"


def open_journal(store: Store) -> Journal:
    """Return the journal of an output folder; raise as `Journal` and `Lease` do."""
    if isinstance(store, LocalStore):
        return Journal(store.folder / JOURNAL)
    return PartedJournal(store)


def stored_entries(store: Store) -> Iterator[tuple[str, Entry]]:
    """Yield what was noted in an output folder, without keeping others out."""
    if isinstance(store, LocalStore):
        yield from entries_of(store.folder / JOURNAL)
        return
    for part in _fetched(store.below(FOLDER)):
        yield from entries_of(part)


def _fetched(store: Store) -> Iterator[Path]:
    """Yield a copy of each part, in order; it is gone when the next one is asked for."""
    names = sorted(file.name for file in store.files() if file.name.endswith(PART))
    with tempfile.TemporaryDirectory(prefix="dermseg-") as folder:
        for name in names:
            path = Path(folder) / name
            store.fetch(name, path)
            yield path
            path.unlink()


class PartedJournal(Journal):
    """A journal in parts; what it has in common with one in a file stands there.

    What was noted less than `rhythm.flush` seconds ago is lost if the process is killed: masks are
    then there that no line knows, and count as dermseg's if they are what would be written.
    """

    def __init__(self, store: Store, rhythm: Rhythm = USUAL) -> None:
        self._store = store
        self._parts = store.below(FOLDER)
        self._rhythm = rhythm
        self._pending: list[bytes] = []
        self._waiting = Lock()
        self._flushing = Lock()
        self._ended = Event()
        self._lease = Lease(self._parts, rhythm)
        self._file = tempfile.TemporaryFile(prefix="dermseg-")  # noqa: SIM115 - __exit__ closes it
        try:
            self._lines, self._number = self._gathered()
        except BaseException:
            self._lease.release()
            self._file.close()
            raise
        self._keeper = Thread(target=self._keep, name="dermseg-journal", daemon=True)
        self._keeper.start()

    def _gathered(self) -> tuple[Lines, int]:
        """Return the lines of all parts, and the number of the last one."""
        names = []
        for part in _fetched(self._parts):
            names.append(part.name)
            with part.open("rb") as handle:
                shutil.copyfileobj(handle, self._file)
        lines = Lines(self._file, self._parts)
        last = max(
            (int(each) for n in names if (each := n.removesuffix(PART)).isdecimal()), default=0
        )
        if len(names) > 1:
            last += 1
            with self._parts.written_whole(f"{last:08}{PART}") as path, path.open("wb") as handle:
                handle.writelines(lines.line(mask) for mask in sorted(lines.masks()))
            for name in names:
                self._parts.remove(name)
        return lines, last

    def _add(self, name: str, entry: Entry) -> None:
        self._lease.check()
        line = encoded_entry(name, entry)
        self._lines.add(name, line)
        with self._waiting:
            self._pending.append(line)

    def _keep(self) -> None:
        """Write lines and the lease until the journal is closed."""
        while not self._ended.wait(min(self._rhythm.flush, self._rhythm.beat)):
            self._lease.beat()
            with suppress(DermsegError):  # it is tried again; the lease knows when to give up
                self.flush()

    def flush(self) -> None:
        """Write what waits as the next part, where the lease is still ours."""
        with self._flushing:
            self._lease.check()
            with self._waiting:
                lines = list(self._pending)
            if lines:
                self._write_part(b"".join(lines))
                with self._waiting:
                    del self._pending[: len(lines)]

    def _write_part(self, content: bytes) -> None:
        """Write the next part; one that is there says that the lease was lost meanwhile."""
        name = f"{self._number + 1:08}{PART}"
        if not self._parts.create(name, content) and self._parts.read(name) != content:
            self._lease.lose("another process has written there")
            self._lease.check()
        self._number += 1

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._ended.set()
        self._keeper.join()
        try:
            self.flush()
        except DermsegError:
            if error is None:
                raise
        finally:
            self._lease.release()
            self._file.close()
