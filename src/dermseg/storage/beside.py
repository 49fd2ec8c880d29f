"""Files and folders of other tools' forms beside the masks of a folder.

The journal has their checksums, so that what someone has drawn in them is not written over.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dermseg.errors import UsageError
from dermseg.storage.files import checksum, files_below
from dermseg.storage.journal import JOURNAL, Entry, Journal, check_own, read_journal
from dermseg.storage.stores import File, LocalStore


def check_beside(masks: Path, name: str) -> None:
    """Raise UsageError if the file or folder of this name holds what no run has written so.

    Files of other kinds than those that a run wrote there, such as photographs, may lie in it.
    """
    _others(masks, name, read_journal(masks / JOURNAL, {name}).get(name))


@contextmanager
def written_beside(masks: Path, name: str) -> Iterator[Path]:
    """Yield the path to write a form to; then note the checksums of its files in the journal.

    Until then all files there count as a run's own, so that a killed run can be repeated.
    Raises UsageError as `check_beside` does, and if another process works in the folder.
    """
    with Journal(masks / JOURNAL) as journal:
        others = _others(masks, name, journal.last(name))
        journal.begin(name)
        try:
            yield masks / name
        finally:
            written = [file for file in _files(masks, name) if file not in others]
            sums = {file: checksum(masks / file) for file in written}
            journal.note(name, Entry(None, {"files": len(sums)}, sums))


def _others(masks: Path, name: str, entry: Entry | None) -> set[str]:
    """Return the files there, of other kinds, that are not dermseg's; raise as `check_beside`."""
    target = masks / name
    if not target.exists():
        return set()
    if entry is None:
        raise UsageError(f"{target}: was not made by dermseg there; move it away")
    store = LocalStore(masks)
    for file, noted in entry.files.items():
        check_own(File(store, file), Entry(None, {}, {}, (noted,)))
    if not entry.row:  # a run was killed there
        return set()
    others = set(_files(masks, name)) - entry.files.keys()
    kinds = {Path(file).suffix.lower() for file in entry.files}
    foreign = {file for file in others if not kinds or Path(file).suffix.lower() in kinds}
    if foreign:
        raise UsageError(f"{masks / min(foreign)}: was not made by dermseg there; move it away")
    return others


def _files(masks: Path, name: str) -> list[str]:
    """Return the path below `masks` of a file, or of all files of a folder; none without it."""
    target = masks / name
    found = files_below(target) if target.is_dir() else [target] * target.exists()
    return [path.relative_to(masks).as_posix() for path in found]
