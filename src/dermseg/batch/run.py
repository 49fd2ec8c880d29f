"""Segment a folder of photographs, continue an earlier run, and write the report."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from hashlib import blake2b
from itertools import chain
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING

from dermseg.batch.books import Books, Shard, shards_in
from dermseg.batch.jobs import Job
from dermseg.batch.report import COLUMNS, REPORT, TIMED, TIMINGS, complete_row, failed_row
from dermseg.batch.worker import Result, Worker
from dermseg.cores import parallel_map
from dermseg.errors import UsageError
from dermseg.inference.segmenter import Segmenter
from dermseg.progress import track
from dermseg.settings import BatchSettings, ClusterSettings
from dermseg.storage.files import remove_leftovers, writing
from dermseg.storage.journal import (
    JOURNAL,
    Entry,
    Journal,
    Row,
    check_own,
    own_sums,
    read_journal,
)
from dermseg.storage.parts import open_journal
from dermseg.storage.stores import File, LocalStore, RemoteStore, Store, open_store
from dermseg.storage.tables import encoded_rows

if TYPE_CHECKING:
    from dermseg.batch.on_cluster import Workers

WAITING = 3
"""Photographs that a core has in hand where they come from a store or go to one: two wait for the
network while it works on the third."""


def segment_all(
    jobs: Sequence[Job],
    segmenter: Segmenter,
    output: str | Path,
    settings: BatchSettings = BatchSettings(),
) -> list[Result]:
    """Do what `segment_each` does on this machine, and return all results."""
    return list(segment_each(jobs, segmenter, output, settings))


def segment_each(
    jobs: Sequence[Job],
    segmenter: Segmenter,
    output: str | Path,
    settings: BatchSettings = BatchSettings(),
    *,
    shard: Shard | None = None,
    cluster: ClusterSettings | None = None,
) -> Iterator[Result]:
    """Segment every job; write its mask under `output`, and report.csv at the end.

    Yields each job's result, in order, as soon as it is there; a million of them would fill the
    memory. The report begins with these jobs, and goes on with the masks that earlier runs left
    there. Of a `shard` it does its part of the jobs, and keeps books of its own in `output`, which
    `merge` puts together. With a `cluster` the machines of one do the work.

    Each core works on a photograph of its own, from reading it to writing its mask, so that
    reading, the network and writing overlap; what waits in memory is a few rows.

    A photograph that fails costs its own row and nothing else; one that cannot even be opened keeps
    the mask of an earlier run, and a mask that someone has changed or drawn is not written over.
    What an earlier run left in `output` is kept if photograph, model and settings are the same; how
    long the others took is in timings.csv. Raises UsageError if a folder is none, if another
    process works in `output`, if shards there are not merged, or if masks, pictures or tables are
    there that no run has made; OutputError if journal or report cannot be written, or a folder
    cannot be made; StoreError if a store does not answer; ClusterError if a cluster cannot be had.
    """
    store = open_store(output)
    worker = Worker(segmenter, store, settings)
    books = Books(store.folder, shard) if isinstance(store, LocalStore) else None
    chosen = shard.of(jobs) if shard else jobs
    _prepare(chosen, worker, books, settings)
    with _reached(cluster) as ray, books.open(chosen) if books else open_journal(store) as journal:
        if books is None:
            store.list_sums()
        report, timings = (shard.name(name) if shard else name for name in (REPORT, TIMINGS))
        for name in (report, timings):
            check_own(File(store, name), journal.last(name))
        if books is None and not journal.masks():
            _check_free(chosen, worker)
        journal.begin(report, own_sums(journal.last(report)))
        journal.flush()  # whatever happens, masks that are there from now on may be ours
        done = _Done(chosen, worker, journal)
        if ray is None:
            results = track(_segment_here(chosen, worker, journal), "Segmenting", len(chosen))
        else:
            seen = books.journal if books else None
            results = ray.segment(chosen, worker, journal, seen)
        with closing(results):  # what is in work is noted before the journal is closed
            for result in results:
                done.add(result)
                yield result
        journal.write_pieces(timings, encoded_rows(TIMED, done.timings()))
        rows: Iterable[Row] = done.rows()
        if shard is None:
            masks = (job.mask.as_posix() for job in chosen)
            rows = chain(rows, rows_as_left(journal, store, without=masks))
        journal.write_pieces(report, encoded_rows(COLUMNS, rows), _facts_of(jobs, segmenter))


def _reached(cluster: ClusterSettings | None) -> "AbstractContextManager[Workers | None]":
    """Connect to a cluster, if one is to do the work; what that needs is imported only then."""
    if cluster is None:
        return nullcontext()
    from dermseg.batch.on_cluster import reached

    return reached(cluster)


class _Done:
    """What the tables need of results: a few bytes of each, since the journal has the rows."""

    def __init__(self, jobs: Sequence[Job], worker: Worker, journal: Journal) -> None:
        self._jobs = jobs
        self._worker = worker
        self._journal = journal
        self._errors: dict[int, str] = {}
        self._milliseconds = array("d")

    def add(self, result: Result) -> None:
        """Add the result of the next job."""
        if result.error:
            self._errors[len(self._milliseconds)] = result.error
        self._milliseconds.append(nan if result.reused else result.milliseconds)

    def rows(self) -> Iterator[Row]:
        """Yield each job's row of the report."""
        for number, job in enumerate(self._jobs):
            entry = self._journal.last(job.mask.as_posix())
            if entry is not None and number not in self._errors:
                yield complete_row(entry.row)
            else:
                error = self._errors.get(number, f"{job}: its line in the journal is damaged")
                yield {**failed_row(job, error), **self._worker.made_by}

    def timings(self) -> Iterator[Row]:
        """Yield how long each photograph took that an earlier run had not done."""
        for job, milliseconds in zip(self._jobs, self._milliseconds, strict=True):
            if not isnan(milliseconds):
                yield {"photograph": job.name.as_posix(), "milliseconds": milliseconds}


def _facts_of(jobs: Sequence[Job], segmenter: Segmenter) -> Row:
    """Return what shards of one run have in common: all photographs, the model, the settings."""
    names = blake2b(digest_size=16)
    for job in jobs:
        names.update(job.name.as_posix().encode(errors="surrogateescape") + b"\0")
    return {
        "photographs": len(jobs),
        "list": names.hexdigest(),
        "made_by": segmenter.fingerprint,
    }


def _segment_here(jobs: Sequence[Job], worker: Worker, journal: Journal) -> Iterator[Result]:
    """Yield each job's result in order: one worker, a photograph a core, each noted at once."""

    def work(job: Job) -> Result:
        mask = job.mask.as_posix()
        outcome = worker.do(job, journal.last(mask), journal.note)
        if outcome.entry is not None:
            journal.note(mask, outcome.entry)
        return outcome.result

    is_far = any(isinstance(store, RemoteStore) for store in worker.stores)
    waits = is_far or any(job.stored for job in jobs)
    return parallel_map(work, jobs, threads=WAITING if waits else 1)


def _prepare(
    jobs: Sequence[Job], worker: Worker, books: Books | None, settings: BatchSettings
) -> None:
    """Check all folders of this machine, and make those for pictures; as `segment_each` raises."""
    if settings.size_from is not None and not settings.size_from.is_dir():
        raise UsageError(f"{settings.size_from}: no such folder, to take the masks' sizes from")
    for store in worker.stores[1:]:
        store.list_sums()
    folders = [store.folder for store in worker.stores if isinstance(store, LocalStore)]
    for folder in folders:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: a file, where a folder is to be written")
        remove_leftovers(folder)
    if books is not None and books.are_new():  # before there is a journal
        books.check_own()
        _check_merged(books)
        _check_free(jobs, worker)
    for folder in folders:
        if books is None or folder != books.folder:
            with writing(folder):  # now, and not once for each photograph
                folder.mkdir(parents=True, exist_ok=True)


def _check_merged(books: Books) -> None:
    """Raise UsageError if the shards of another division wait to be merged."""
    if any(each.count != (books.shard and books.shard.count) for each in shards_in(books.folder)):
        raise UsageError(
            f"{books.folder}: holds shards that are not merged; run `dermseg merge {books.folder}` "
            "first, or choose another folder"
        )


def check_tables(output: str | Path, names: Sequence[str]) -> None:
    """Raise UsageError if files of these names are in `output` that dermseg has not made."""
    store = open_store(output)
    if isinstance(store, LocalStore):
        known = read_journal(store.folder / JOURNAL, set(names))
    else:
        with open_journal(store) as journal:
            known = {name: entry for name in names if (entry := journal.last(name))}
    for name in names:
        check_own(File(store, name), known.get(name))


def _check_free(jobs: Iterable[Job], worker: Worker) -> None:
    """Raise UsageError if files that would be written, none of which a run has made, are there."""
    files = (file for job in jobs for file in worker.files(job).values())
    if foreign := [file for file in files if not file.is_as([None])]:
        more = f" (and {len(foreign) - 1} more)" if len(foreign) > 1 else ""
        raise UsageError(
            f"{foreign[0]}{more}: was not made by dermseg there, and would be written over; choose "
            "another folder, or move it away"
        )


def rows_as_left(journal: Journal, store: Store, *, without: Iterable[str]) -> Iterator[Row]:
    """Yield the rows of the masks in `store` that are as runs left them, in order."""
    masks = journal.masks()
    masks.difference_update(without)
    for mask in sorted(masks):
        if row := row_as_left(journal.last(mask), store, mask):
            yield row


def row_as_left(entry: Entry | None, store: Store, mask: str) -> Row | None:
    """Return the report's row of a mask in `store`, None if it is not as the run left it."""
    if entry is None or entry.fingerprint is None:
        return None
    return complete_row(entry.row) if store.is_as(mask, [entry.files.get(mask)]) else None
