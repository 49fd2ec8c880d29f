"""Say what a run would have to do, and how long it would take, and write nothing."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from dermseg.batch.books import Books, Shard
from dermseg.batch.jobs import Job
from dermseg.batch.report import made_by
from dermseg.batch.worker import Worker
from dermseg.cores import parallel_map, usable_cores
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import BatchSettings
from dermseg.storage.journal import entries_of
from dermseg.storage.parts import stored_entries
from dermseg.storage.stores import LocalStore, Store, open_store

TIMED = 6
"""Photographs a core that are timed."""


@dataclass(frozen=True)
class Estimate:
    """What a run would have to do: its photographs, how many are done, and the time for the rest.

    `timed` photographs took what `seconds` says of all that are left; 0 of them if none is.
    """

    photographs: int
    bytes: int
    done: int
    timed: int
    seconds: float


def estimate(
    jobs: Sequence[Job],
    segmenter: Segmenter,
    output: str | Path,
    settings: BatchSettings = BatchSettings(),
    *,
    shard: Shard | None = None,
) -> Estimate:
    """Return what `segment_all` would have to do, on this machine's cores.

    A mask counts as done that was noted for this model and these settings and is there; whether
    its photograph changed since is not asked. Some of the others, from all parts of the list, are
    segmented into a temporary folder and timed.
    """
    chosen = shard.of(jobs) if shard else jobs
    made = _made(open_store(output), shard, segmenter)
    left = [job for job in chosen if job.mask.as_posix() not in made]
    size = sum(map(_size, chosen))
    timed = left[:: max(1, len(left) // (TIMED * usable_cores()))]
    each = _seconds_each(timed, segmenter, settings) if left else 0.0
    return Estimate(len(chosen), size, len(chosen) - len(left), len(timed), each * len(left))


def _size(job: Job) -> int:
    if job.stored:
        return job.stored.size
    try:
        return job.photograph.stat().st_size
    except OSError:  # a run will say so, in its row
        return 0


def _made(store: Store, shard: Shard | None, segmenter: Segmenter) -> set[str]:
    """Return the masks that are there and were noted for this model and these settings."""
    by = made_by(segmenter).items()
    noted: dict[str, bool] = {}
    entries = stored_entries(store)
    if shard and isinstance(store, LocalStore):
        entries = chain(entries, entries_of(Books(store.folder, shard).journal))
    for mask, entry in entries:
        noted[mask] = entry.fingerprint is not None and by <= entry.row.items()
    if isinstance(store, LocalStore):
        return {mask for mask, same in noted.items() if same and (store.folder / mask).is_file()}
    return {file.name for file in store.files() if noted.get(file.name)}


def _seconds_each(jobs: Iterable[Job], segmenter: Segmenter, settings: BatchSettings) -> float:
    """Return the seconds that a photograph takes, all cores working; the first only warms up."""
    with TemporaryDirectory(prefix="dermseg-") as folder:
        drawn = settings.pictures
        pictures = replace(
            drawn,
            overlay=drawn.overlay and Path(folder, "overlay"),
            crops=drawn.crops and Path(folder, "crops"),
            probability=drawn.probability and Path(folder, "probability"),
        )
        worker = Worker(segmenter, LocalStore(Path(folder)), replace(settings, pictures=pictures))
        first, *others = jobs
        worker.do(first, None)
        began = time.perf_counter()
        count = sum(1 for _ in parallel_map(lambda job: worker.do(job, None), others or [first]))
        return (time.perf_counter() - began) / count
