"""Files and folders of other tools' forms beside the masks of a folder.

The journal has their checksums, so that what someone has drawn in them is not written over.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dermseg.errors import UsageError
from dermseg.storage.files import checksum, files_below
from dermseg.storage.journal import JOURNAL, Entry, Journal, Sums, check_own, read_journal
from dermseg.storage.stores import File, LocalStore


def check_beside(masks: Path, name: str) -> None:
    """Raise UsageError if the file or folder of this name holds what no run has written so."""
    target = masks / name
    if not target.exists():
        return
    entry = read_journal(masks / JOURNAL, {name}).get(name)
    if entry is None:
        raise UsageError(f"{target}: was not made by dermseg there; move it away")
    store = LocalStore(masks)
    for file, noted in entry.files.items():
        check_own(File(store, file), Entry(None, {}, {}, (noted,)))


@contextmanager
def written_beside(masks: Path, name: str) -> Iterator[Path]:
    """Yield the path to write a form to; then note the checksums of its files in the journal.

    Until then all files there count as a run's own, so that a killed run can be repeated.
    Raises UsageError as `check_beside` does, and if another process works in the folder.
    """
    check_beside(masks, name)
    with Journal(masks / JOURNAL) as journal:
        journal.begin(name)
    yield masks / name
    with Journal(masks / JOURNAL) as journal:
        journal.note(name, Entry(None, {}, _sums(masks, name)))


def _sums(masks: Path, name: str) -> Sums:
    """Return the checksums of a file, or of all files of a folder, by their paths below `masks`."""
    target = masks / name
    found = files_below(target) if target.is_dir() else [target]
    return {path.relative_to(masks).as_posix(): checksum(path) for path in found}
