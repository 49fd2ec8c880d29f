"""Let the machines of a cluster segment photographs; this one alone keeps the journal."""

import platform
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import overload

import cv2

from dermseg.batch.jobs import Job
from dermseg.batch.report import failed_row
from dermseg.batch.worker import Outcome, Result, Worker, WorkerPlan
from dermseg.cluster import Cluster, Pool, Task, connected
from dermseg.errors import ClusterError
from dermseg.progress import bar, counted, say_in_log
from dermseg.settings import ClusterSettings
from dermseg.storage.journal import Entry, Journal, Row

GPU = 0.125
"""A GPU's part that a worker takes: a core that decodes keeps less than that busy."""
REST = 60.0
"""Seconds between lines in a log."""
Sent = tuple[Job, Entry | None]
"""What a worker gets: a job, and what was noted of its mask."""


@contextmanager
def reached(settings: ClusterSettings) -> Iterator["Workers"]:
    """Connect to a cluster for the length of the block; raise as `dermseg.cluster.connected`."""
    with connected(settings) as cluster:
        yield Workers(cluster)


@dataclass(frozen=True)
class Workers:
    """The workers of a cluster."""

    cluster: Cluster

    def segment(
        self, jobs: Sequence[Job], worker: Worker, journal: Journal, seen: Path | None
    ) -> Generator[Result]:
        """Yield each job's result in order, as `worker` would make it; note what is to be noted.

        `seen` is the journal's file, by which a worker finds that it sees the same folder; None for
        one in a store. A photograph whose worker dies each time costs its row. Raises ClusterError
        if no worker can be had, or if one does not see the folder.
        """
        by, plan = worker.made_by, worker.plan
        task = Task[Sent, Outcome](
            _Build(plan, seen),
            lambda sent, why: _lost(sent[0], why, by),
            gpus=GPU if plan.model.device == "cuda" else 0.0,
        )
        pool, tally = Pool[Sent, Outcome](self.cluster, task), _Tally(len(jobs))
        early: dict[int, Result] = {}
        turn = 0
        with bar("Segmenting", len(jobs)) as advance:
            for index, outcome in pool.map(_Sent(jobs, journal)):
                if outcome.entry is not None:
                    journal.note(jobs[index].mask.as_posix(), outcome.entry)
                advance(tally.count(outcome.result, pool.nodes))
                early[index] = outcome.result
                while turn in early:
                    yield early.pop(turn)
                    turn += 1


def _lost(job: Job, reason: str, by: Row) -> Outcome:
    text = f"{job}: the worker died each time that it was tried ({reason})"
    return Outcome(Result(job, {**failed_row(job, text), **by}))


@dataclass(frozen=True)
class _Build:
    """Builds a worker in another process, perhaps on another machine."""

    plan: WorkerPlan
    journal: Path | None

    def __call__(self) -> Callable[[Sent], Outcome]:
        if self.journal is not None and not self.journal.is_file():
            raise ClusterError(
                f"{platform.node()}: does not see {self.journal}; photographs and masks must lie "
                "on a disk that all machines of the cluster share, under the same path"
            )
        cv2.setNumThreads(1)  # the process has one core
        worker = self.plan.build()
        return lambda sent: worker.do(*sent)


class _Sent(Sequence[Sent]):
    """Jobs with what is noted of their masks when they are sent."""

    def __init__(self, jobs: Sequence[Job], journal: Journal) -> None:
        self._jobs = jobs
        self._journal = journal

    def __len__(self) -> int:
        return len(self._jobs)

    @overload
    def __getitem__(self, index: int) -> Sent: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sent]: ...
    def __getitem__(self, index: int | slice) -> Sent | Sequence[Sent]:
        if isinstance(index, slice):
            return _Sent(self._jobs[index], self._journal)
        job = self._jobs[index]
        return job, self._journal.last(job.mask.as_posix())


class _Tally:
    """Counts, and says how it goes: beside the bar, or in a log once a minute."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._failed = 0
        self._began = self._said = 0.0

    def count(self, result: Result, nodes: int) -> str:
        """Count a result and return how it goes."""
        now = time.monotonic()
        if not self._done:
            self._began = self._said = now
        self._done += 1
        self._failed += bool(result.error)
        rate = (self._done - 1) / max(1e-9, now - self._began)
        state = f"{rate:.1f} a second, {self._failed} failed, {counted(nodes, 'node')}"
        if now - self._said > REST:
            self._said = now
            left = timedelta(seconds=round((self._total - self._done) / rate))
            say_in_log(f"{self._done} of {self._total}, {state}, {left} left")
        return state
