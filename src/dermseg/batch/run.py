"""Segment a folder of photographs, continue an earlier run, and write the report."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dermseg.batch.jobs import Job
from dermseg.batch.pictures import Pictures
from dermseg.batch.report import COLUMNS, REPORT, TIMINGS, complete_row
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
) -> list[Result]:
    """Segment every job; write its mask under `output`, and report.csv at the end.

    The report begins with these jobs, and goes on with the masks that earlier runs left there.

    Each core works on a photograph of its own, from reading it to writing its mask, so that
    reading, the network and writing overlap; what waits in memory is a few rows.

    A photograph that fails costs its own row and nothing else; one that cannot even be opened keeps
    the mask of an earlier run, and a mask that someone has changed or drawn is not written over.
    What an earlier run left in `output` is kept if photograph, model and settings are the same; how
    long the others took is in timings.csv. Raises UsageError if a folder is none, if another
    process works in `output`, or if masks, pictures or tables are there that no run has made;
    OutputError if journal or report cannot be written, or a folder cannot be made.
    """
    worker = Worker(segmenter, output, settings)
    _prepare(jobs, output, settings)
    with Journal(output / JOURNAL) as journal:
        results = list(track(_segment_here(jobs, worker, journal), "Segmenting", len(jobs)))
        _write_tables(results, output, journal)
    return results


def _segment_here(jobs: Iterable[Job], worker: Worker, journal: Journal) -> Iterator[Result]:
    """Yield each job's result in order: one worker, a photograph a core, each noted at once."""

    def work(job: Job) -> Result:
        mask = job.mask.as_posix()
        outcome = worker.do(job, journal.last(mask), journal.note)
        if outcome.entry is not None:
            journal.note(mask, outcome.entry)
        return outcome.result

    return parallel_map(work, jobs)


def _prepare(jobs: Sequence[Job], output: Path, settings: BatchSettings) -> None:
    """Check all folders, and make those for pictures; raise as `segment_all` does."""
    if settings.size_from is not None and not settings.size_from.is_dir():
        raise UsageError(f"{settings.size_from}: no such folder, to take the masks' sizes from")
    drawn = Pictures(settings.pictures)
    for folder in (output, *settings.pictures.folders):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: a file, where a folder is to be written")
        remove_leftovers(folder)
    check_tables(output, (REPORT, TIMINGS))
    if not read_journal(output / JOURNAL):
        _check_free([output / job.mask for job in jobs])
        _check_free([path for job in jobs for path in drawn.files(job).values()])
    for folder in settings.pictures.folders:
        with writing(folder):  # now, and not once for each photograph
            folder.mkdir(parents=True, exist_ok=True)


def _write_tables(results: Sequence[Result], output: Path, journal: Journal) -> None:
    """Write the report, of these results and of what earlier runs left, and the timings."""
    others = sorted(journal.masks().difference(result.job.mask.as_posix() for result in results))
    earlier = [row_as_left(journal.last(mask), output, mask) for mask in others]
    rows = [*(result.row for result in results), *(row for row in earlier if row)]
    journal.write_pieces(output / REPORT, encoded_rows(COLUMNS, rows))
    timings = [
        {"photograph": result.job.name.as_posix(), "milliseconds": result.milliseconds}
        for result in results
        if not result.reused
    ]
    journal.write_pieces(output / TIMINGS, encoded_rows(("photograph", "milliseconds"), timings))


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


def row_as_left(entry: Entry | None, output: Path, mask: str) -> Row | None:
    """Return the report's row of a mask in `output`, None if it is not as the run left it."""
    if entry is None or entry.fingerprint is None:
        return None
    return complete_row(entry.row) if entry.files.get(mask) == checksum(output / mask) else None
