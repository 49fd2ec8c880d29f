"""A worker that keeps no books: what it needs it is given, what is to be noted it returns."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dermseg.batch.jobs import Job, find_jobs
from dermseg.batch.worker import Worker, WorkerPlan
from dermseg.imaging.mask_files import read_mask, write_mask
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import BatchSettings, PictureSettings, ThresholdSettings
from dermseg.storage.stores import LocalStore

pytestmark = pytest.mark.usefixtures("darkness")


@pytest.fixture
def job(photograph: Callable[..., Path]) -> Job:
    (found,) = find_jobs([photograph("a.jpg")])
    return found


@pytest.fixture
def worker(tmp_path: Path, segmenter: Segmenter) -> Worker:
    pictures = PictureSettings(overlay=tmp_path / "pictures")
    return Worker(segmenter, LocalStore(tmp_path / "out"), BatchSettings(pictures=pictures))


def test_a_plan_that_was_sent_builds_the_same_worker(tmp_path: Path, job: Job) -> None:
    segmenter = Segmenter(style="semi-automatic", thresholds=ThresholdSettings(low=0.3))
    first = Worker(segmenter, LocalStore(tmp_path / "first"), BatchSettings())
    sent: WorkerPlan = pickle.loads(pickle.dumps(first.plan))
    second = sent.build()
    assert second.segmenter.fingerprint == sent.fingerprint == segmenter.fingerprint
    outcomes = [each.do(job, None) for each in (first, second)]
    assert outcomes[0].result.row == outcomes[1].result.row
    assert pickle.loads(pickle.dumps(outcomes)) == outcomes


def test_what_a_worker_returns_spares_the_next_the_work(worker: Worker, job: Job) -> None:
    begun = []
    first = worker.do(job, None, lambda mask, entry: begun.append((mask, entry)))
    assert first.entry is not None
    assert begun[0][0] == "a_segmentation.png"
    assert begun[0][1].fingerprint is None
    assert begun[0][1].own == first.entry.own
    again = worker.do(job, first.entry)
    assert (again.result.reused, again.entry) == (True, None)
    assert again.result.row == first.result.row


def test_a_file_that_nobody_noted_is_ours_if_it_is_what_we_would_write(
    tmp_path: Path, worker: Worker, job: Job, segmenter: Segmenter
) -> None:
    """As a worker on another machine leaves it, whose driver was stopped before it heard."""
    noted = worker.do(job, None).entry
    again = worker.do(job, None)
    assert again.entry == noted
    mask = tmp_path / "out" / "a_segmentation.png"
    write_mask(mask, read_mask(mask) == 0)
    drawn = mask.read_bytes()
    for known in (None, noted):
        refused = worker.do(job, known)
        assert "or is another's" in refused.result.error
        assert refused.entry is None
    assert mask.read_bytes() == drawn


def test_a_photograph_that_fails_leaves_a_mask_of_which_nothing_was_noted(
    tmp_path: Path, worker: Worker, job: Job
) -> None:
    write_mask(tmp_path / "out" / "a_segmentation.png", np.ones((48, 64), np.bool_))
    drawn = (tmp_path / "out" / "a_segmentation.png").read_bytes()
    job.photograph.write_bytes(job.photograph.read_bytes()[:400])
    assert worker.do(job, None).result.error
    assert (tmp_path / "out" / "a_segmentation.png").read_bytes() == drawn
