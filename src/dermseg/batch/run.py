"""Segment a folder of photographs, continue an earlier run, and write the report."""

from collections.abc import Iterable, Iterator, Sequence, Set
from hashlib import blake2b
from itertools import chain
from pathlib import Path

from dermseg.batch.books import Books, Shard, shards_in
from dermseg.batch.jobs import Job
from dermseg.batch.pictures import Pictures
from dermseg.batch.report import COLUMNS, TIMED, complete_row
from dermseg.batch.worker import Result, Worker
from dermseg.cores import parallel_map
from dermseg.errors import UsageError
from dermseg.inference.segmenter import Segmenter
from dermseg.progress import track
from dermseg.settings import BatchSettings
from dermseg.storage.files import checksum, remove_leftovers, writing
from dermseg.storage.journal import (
    JOURNAL,
    Entry,
    Journal,
    Row,
    check_own,
    read_journal,
)
from dermseg.storage.tables import encoded_rows


def segment_all(
    jobs: Sequence[Job],
    segmenter: Segmenter,
    output: Path,
    settings: BatchSettings = BatchSettings(),
    *,
    shard: Shard | None = None,
) -> list[Result]:
    """Segment every job; write its mask under `output`, and report.csv at the end.

    The report begins with these jobs, and goes on with the masks that earlier runs left there. Of a
    `shard` it does its part of the jobs, and keeps books of its own in `output`, which `merge`
    puts together.

    Each core works on a photograph of its own, from reading it to writing its mask, so that
    reading, the network and writing overlap; what waits in memory is a few rows.

    A photograph that fails costs its own row and nothing else; one that cannot even be opened keeps
    the mask of an earlier run, and a mask that someone has changed or drawn is not written over.
    What an earlier run left in `output` is kept if photograph, model and settings are the same; how
    long the others took is in timings.csv. Raises UsageError if a folder is none, if another
    process works in `output`, if shards there are not merged, or if masks, pictures or tables are
    there that no run has made; OutputError if journal or report cannot be written, or a folder
    cannot be made.
    """
    worker = Worker(segmenter, output, settings)
    books = Books(output, shard)
    chosen = shard.of(jobs) if shard else jobs
    _prepare(chosen, books, settings)
    with books.open(chosen) as journal:
        journal.begin(books.report.name, _own(journal.last(books.report.name)))
        results = list(track(_segment_here(chosen, worker, journal), "Segmenting", len(chosen)))
        _write_timings(results, books, journal)
        rows: Iterable[Row] = (result.row for result in results)
        if shard is None:
            masks = {result.job.mask.as_posix() for result in results}
            rows = chain(rows, rows_as_left(journal, output, without=masks))
        journal.write_pieces(books.report, encoded_rows(COLUMNS, rows), _facts_of(jobs, segmenter))
    return results


def _facts_of(jobs: Sequence[Job], segmenter: Segmenter) -> Row:
    """Return what shards of one run have in common: all photographs, the model, the settings."""
    names = "\0".join(job.name.as_posix() for job in jobs).encode(errors="surrogateescape")
    listed = blake2b(names, digest_size=16).hexdigest()
    return {"photographs": len(jobs), "list": listed, "made_by": segmenter.fingerprint}


def _own(entry: Entry | None) -> tuple[int | None, ...]:
    """Return the checksums by which a file is dermseg's own."""
    return entry.own if entry else ()


def _segment_here(jobs: Iterable[Job], worker: Worker, journal: Journal) -> Iterator[Result]:
    """Yield each job's result in order: one worker, a photograph a core, each noted at once."""

    def work(job: Job) -> Result:
        mask = job.mask.as_posix()
        outcome = worker.do(job, journal.last(mask), journal.note)
        if outcome.entry is not None:
            journal.note(mask, outcome.entry)
        return outcome.result

    return parallel_map(work, jobs)


def _prepare(jobs: Sequence[Job], books: Books, settings: BatchSettings) -> None:
    """Check all folders, and make those for pictures; raise as `segment_all` does."""
    if settings.size_from is not None and not settings.size_from.is_dir():
        raise UsageError(f"{settings.size_from}: no such folder, to take the masks' sizes from")
    output, drawn = books.folder, Pictures(settings.pictures)
    for folder in (output, *settings.pictures.folders):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: a file, where a folder is to be written")
        remove_leftovers(folder)
    books.check_own()
    if books.are_new():
        if any(each.count != (books.shard and books.shard.count) for each in shards_in(output)):
            raise UsageError(
                f"{output}: holds shards that are not merged; run `dermseg merge {output}` first, "
                "or choose another folder"
            )
        _check_free([output / job.mask for job in jobs])
        _check_free([path for job in jobs for path in drawn.files(job).values()])
    for folder in settings.pictures.folders:
        with writing(folder):  # now, and not once for each photograph
            folder.mkdir(parents=True, exist_ok=True)


def _write_timings(results: Sequence[Result], books: Books, journal: Journal) -> None:
    """Write how long each photograph took that an earlier run had not done."""
    timings = [
        {"photograph": result.job.name.as_posix(), "milliseconds": result.milliseconds}
        for result in results
        if not result.reused
    ]
    journal.write_pieces(books.timings, encoded_rows(TIMED, timings))


def check_tables(output: Path, names: Sequence[str]) -> None:
    """Raise UsageError if files of these names are in `output` that dermseg has not made."""
    known = read_journal(output / JOURNAL)
    for name in names:
        check_own(output / name, known.get(name))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, which costs its photograph and not the run
        return False


def _check_free(paths: Sequence[Path]) -> None:
    """Raise UsageError if one of `paths`, none of which a run has made, is there."""
    if foreign := [path for path in paths if _is_there(path)]:
        more = f" (and {len(foreign) - 1} more)" if len(foreign) > 1 else ""
        raise UsageError(
            f"{foreign[0]}{more}: was not made by dermseg there, and would be written over; choose "
            "another folder, or move it away"
        )


def rows_as_left(journal: Journal, output: Path, *, without: Set[str]) -> Iterator[Row]:
    """Yield the rows of the masks in `output` that are as runs left them, in order."""
    for mask in sorted(journal.masks().difference(without)):
        if row := row_as_left(journal.last(mask), output, mask):
            yield row


def row_as_left(entry: Entry | None, output: Path, mask: str) -> Row | None:
    """Return the report's row of a mask in `output`, None if it is not as the run left it."""
    if entry is None or entry.fingerprint is None:
        return None
    return complete_row(entry.row) if entry.files.get(mask) == checksum(output / mask) else None
