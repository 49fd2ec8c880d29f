"""Put the books of shards together: one journal and one report, as if one process had run."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import chain, cycle
from pathlib import Path

from dermseg.batch.books import Books, Shard, shards_in
from dermseg.batch.jobs import Job
from dermseg.batch.report import COLUMNS, TIMED, complete_row
from dermseg.batch.run import rows_as_left
from dermseg.cores import parallel_map
from dermseg.errors import DataError, UsageError
from dermseg.progress import counted, track
from dermseg.storage.files import checksum, reading
from dermseg.storage.journal import Journal, Row, has_entries, own_sums
from dermseg.storage.stores import LocalStore
from dermseg.storage.tables import encoded_rows, table_rows, undefused

ALIKE = {
    "list": "saw other photographs than most: some came or went meanwhile",
    "made_by": "had another model or other settings than most",
}
"""What all shards have in common, and what it means where one differs."""


def merge(output: Path) -> tuple[int, int]:
    """Write one journal and one report of the shards in `output`.

    The report is, to the byte, that of one process: it has failures too, and ends with what runs
    before the shards left. The shards' own books stay, so that one can be run again, and merged
    again. Returns how many photographs there are, and how many failed.

    Raises UsageError if there are no shards, or those of two runs or of another version; DataError,
    naming the shards and writing no table, if some are missing, running, unfinished or of another
    run, or if their masks have changed since; OutputError if a file cannot be written.
    """
    parts = [Books(output, shard) for shard in _whole_set(output)]
    _check_finished(output, parts)
    whole = Books(output)
    whole.check_own()
    seen: Counter[str] = Counter()
    with whole.open() as journal, ExitStack() as stack:
        masks = _merge_journals(parts, journal)
        timings = chain.from_iterable(_rows(part.timings) for part in parts)
        journal.write_pieces(whole.timings.name, encoded_rows(TIMED, timings))
        readers = [stack.enter_context(closing(_rows(part.report))) for part in parts]
        rows = chain(_dealt_back(readers), rows_as_left(journal, LocalStore(output), without=masks))
        counting = (complete_row(row) for row in rows if not seen.update(_kinds(row)))
        journal.write_pieces(whole.report.name, encoded_rows(COLUMNS, counting))
    return seen["photographs"], seen["failed"]


def _kinds(row: Row) -> list[str]:
    return ["photographs", "failed"] if row["error"] else ["photographs"]


def _whole_set(output: Path) -> list[Shard]:
    """Return all shards of the run in a folder, those that are missing too."""
    counts = {shard.count for shard in shards_in(output)}
    if not counts:
        raise UsageError(f"{output}: holds no shards, as `dermseg segment --shard` writes them")
    if len(counts) > 1:
        listed = " and ".join(f"*-of-{count}.*" for count in sorted(counts))
        raise UsageError(f"{output}: holds shards of two runs, {listed}; move away those of one")
    (count,) = counts
    return [Shard(number, count) for number in range(1, count + 1)]


def _check_finished(output: Path, parts: Sequence[Books]) -> None:
    """Raise DataError for shards that are missing, running, stopped, or of another run."""
    states: dict[str, list[Books]] = {}
    facts: list[tuple[Books, Row]] = []
    for part in parts:
        state, row = _state(part)
        facts.append((part, row))
        if state:
            states.setdefault(state, []).append(part)
    for name, meaning in ALIKE.items() if not states else ():
        usual, _ = Counter(row[name] for _, row in facts).most_common(1)[0]
        if others := [part for part, row in facts if row[name] != usual]:
            states[f"{meaning}; run them again"] = others
    if states:
        lines = [f"{_named(found)} {state}" for state, found in states.items()]
        raise DataError.listing(f"{output}: shards cannot be merged yet", lines)


def _state(part: Books) -> tuple[str, Row]:
    """Return what keeps a shard from being merged, or nothing, and the facts that it noted."""
    if not part.journal.is_file():
        return "missing: run them", {}
    try:
        with Journal(part.journal) as journal:
            noted = journal.last(part.report.name)
    except UsageError:
        has_entries(part.journal)  # raises it again for one of another version
        return "running: wait for them", {}
    if noted is None or not noted.row or checksum(part.report) != noted.own[0]:
        return "stopped before their end: run them again", {}
    return "", noted.row


def _merge_journals(parts: Sequence[Books], journal: Journal) -> set[str]:
    """Note what the shards noted, and return the masks of all photographs, also of failed ones.

    Raises DataError for masks that are gone, or not as their shard left them.
    """
    masks: set[str] = set()
    lines = []
    for part in track(parts, "Merging", len(parts)):
        rows = list(_rows(part.report))
        with part.open(_job(row) for row in rows) as own:
            masks.update(map(_mask, rows))
            made = [_mask(row) for row in rows if row["mask"]]
            _note_all(made, own, journal)
        if changed := _changed(made, journal, part.folder):
            lines.append(f"shard {part.shard}: {counted(len(changed), 'mask')}, as {changed[0]}")
    if lines:
        lines.append("run these shards again")
        raise DataError.listing(f"{parts[0].folder}: masks were changed since, or are gone", lines)
    return masks


def _note_all(masks: Iterable[str], own: Journal, journal: Journal) -> None:
    """Note in `journal` what a shard noted; what dermseg wrote before stays known as its own."""
    for mask in masks:
        entry, before = own.last(mask), journal.last(mask)
        if entry is not None:
            entry = replace(entry, own=own_sums(before, *entry.own))
            if entry != before:
                journal.note(mask, entry)


def _changed(masks: Sequence[str], journal: Journal, output: Path) -> list[str]:
    """Return the masks that are not as they were noted."""

    def is_whole(mask: str) -> bool:
        entry = journal.last(mask)
        return entry is not None and entry.files.get(mask) == checksum(output / mask)

    whole = parallel_map(is_whole, masks)
    return [mask for mask, good in zip(masks, whole, strict=True) if not good]


def _rows(table: Path) -> Generator[Row]:
    """Yield the rows of a table; DataError if it is damaged."""
    with reading(table):
        yield from table_rows(table)


def _dealt_back(readers: Sequence[Iterator[Row]]) -> Iterator[Row]:
    """Yield the rows in the order of the photographs, which were dealt out to shards in turn."""
    for reader in cycle(readers):
        row = next(reader, None)
        if row is None:
            return
        yield row


def _job(row: Row) -> Job:
    name = Path(undefused(row["photograph"]))
    return Job(name, name)


def _mask(row: Row) -> str:
    """Return where a row's mask would be, also if its photograph failed."""
    return _job(row).mask.as_posix()


def _named(parts: Sequence[Books]) -> str:
    shards = [part.shard for part in parts if part.shard]
    numbers = ", ".join(str(shard.number) for shard in shards)
    return f"{counted(len(shards), 'shard')} of {shards[0].count} ({numbers})"
