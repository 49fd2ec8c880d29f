"""A folder on all cores: its stages overlap, and what is found does not depend on it."""

from collections.abc import Callable
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from dermseg import cores
from dermseg.batch import worker
from dermseg.batch.jobs import Job, find_jobs
from dermseg.batch.run import segment_all
from dermseg.imaging.png import encode_mask
from dermseg.inference import saving
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import BatchSettings, PictureSettings
from dermseg.storage.journal import Journal

STAGES = [
    (Job, "open"),
    (Segmenter, "read"),
    (Segmenter, "probability"),
    (Segmenter, "find"),
    (worker, "report_row"),
    (worker, "encode_mask"),
    (saving, "draw_overlay"),
    (Journal, "note"),
]


@pytest.mark.parametrize(("owner", "stage"), STAGES)
def test_two_photographs_can_be_in_a_stage_at_once(
    tmp_path: Path,
    photograph: Callable[..., Path],
    darkness: None,
    segmenter: Segmenter,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    stage: str,
) -> None:
    # Each waits in the stage for the other: where one locks the other out, neither gets on.
    both, work = Barrier(2, timeout=10), getattr(owner, stage)

    def meet(*arguments: Any, **options: Any) -> Any:
        both.wait()
        return work(*arguments, **options)

    monkeypatch.setattr(owner, stage, meet)
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    jobs = find_jobs([photograph("a.jpg"), photograph("b.jpg")])
    results = segment_all(
        jobs,
        segmenter,
        tmp_path / "out",
        BatchSettings(pictures=PictureSettings(overlay=tmp_path / "pictures")),
    )
    assert [result.bug for result in results] == ["", ""]


def test_masks_are_the_same_alone_in_a_folder_and_in_any_order(
    tmp_path: Path, examples: list[tuple[Path, Path]], segmenter: Segmenter
) -> None:
    paths = [photograph for photograph, _ in examples]
    alone = {path: encode_mask(segmenter.segment(path).mask) for path in paths}
    for name, order in (("forwards", paths), ("backwards", paths[::-1])):
        results = segment_all(find_jobs(order), segmenter, tmp_path / name)
        assert [result.job.photograph for result in results] == order
        for path, result in zip(order, results, strict=True):
            assert (tmp_path / name / result.job.mask).read_bytes() == alone[path]
