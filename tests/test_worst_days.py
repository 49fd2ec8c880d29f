"""What else happens to a folder: a clock that jumps, files that change, journals tampered with."""

import os
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, features

from dermseg.batch.jobs import find_jobs
from dermseg.batch.run import segment_all
from dermseg.errors import DataError, ImageError
from dermseg.imaging.mask_files import read_mask
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import DataSettings, TrainingSettings, TuningSettings
from dermseg.storage import files
from dermseg.storage.files import aside_prefix, remove_leftovers

JUNK = [
    *("junk", "[]", "null", "3", "{}", '"a"', "\0", "[" * 9999, '{"op_code": 0}'),
    *('{"op_code": 99}', '{"op_code": "x"}', '{"op_code": 4, "study_id": 0}'),
    '{"op_code": 0, "worker_id": "a", "study_name": "x", "directions": ["q"]}',
    '{"op_code": 6, "trial_id": 0, "state": 9, "worker_id": "z", "values": ["q"]}',
    '{"op_code": 8, "trial_id": 0, "worker_id": "z", "user_attr": 3}',
]


@pytest.mark.parametrize("junk", JUNK)
def test_a_searchs_journal_that_was_tampered_with_is_named(tmp_path: Path, junk: str) -> None:
    queue = pytest.importorskip("dermseg.tuning.queue")
    search = pytest.importorskip("dermseg.tuning.search").Search(
        data=tmp_path,
        output=tmp_path,
        training=TrainingSettings(),
        tuning=TuningSettings(),
        data_settings=DataSettings(),
        digest="",
    )
    queue.open_study(search)
    with (tmp_path / queue.JOURNAL).open("a") as handle:
        handle.write(junk + "\n")
    with pytest.raises(DataError, match="damaged; remove it, the trainings stay"):
        queue.open_study(search)
    (tmp_path / queue.JOURNAL).unlink()
    queue.open_study(search)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_a_damaged_avif_is_an_image_error_that_does_not_call_it_unknown() -> None:
    buffer = BytesIO()
    picture = Image.linear_gradient("L").convert("RGB").resize((96, 64))
    picture.save(buffer, "AVIF")
    whole, chance, said = buffer.getvalue(), random.Random(0), []
    assert read_photograph(BytesIO(whole)).pixels.shape == (64, 96, 3)
    for _ in range(200):
        content = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.choice([1, 5, 20])):
            content[chance.randrange(len(content))] = chance.randrange(256)
        try:
            read_photograph(BytesIO(bytes(content)))
        except ImageError as error:
            said.append(str(error))
    assert len(said) > 50
    assert not [each for each in said if "AVIF, which is not read" in each]


@pytest.mark.usefixtures("darkness")
def test_a_photograph_that_changes_while_it_is_read_is_one_or_the_other(
    tmp_path: Path, photograph: Callable[..., Path], segmenter: Segmenter
) -> None:
    """Never a mask of neither: a file is read once, and what is cut short is an error."""
    path = photograph("a.png", 48, 64)
    contents = [path.read_bytes(), photograph("b.png", 80, 60).read_bytes()]
    photograph("b.png").unlink()
    stop = threading.Event()

    def rewrite() -> None:
        while not stop.is_set():
            for content in contents:
                path.write_bytes(content)  # in place, as cameras' programs do

    writer = threading.Thread(target=rewrite)
    writer.start()
    made = set()
    try:
        for number in range(60):
            (result,) = segment_all(find_jobs([path]), segmenter, tmp_path / f"out{number}")
            assert not result.bug
            if not result.error:
                made.add(read_mask(tmp_path / f"out{number}" / "a_segmentation.png").tobytes())
    finally:
        stop.set()
        writer.join()
    expected = set()
    for content in contents:
        path.write_bytes(content)
        segment_all(find_jobs([path]), segmenter, tmp_path / f"x{len(expected)}")
        expected.add(read_mask(tmp_path / f"x{len(expected)}" / "a_segmentation.png").tobytes())
    assert made <= expected


@pytest.mark.parametrize("jump", [-(10**9), -(10**5), 10**5, 10**9])
def test_a_clock_that_jumps_removes_nothing_of_a_process_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: int
) -> None:
    (tmp_path / f"{aside_prefix()}mine.png").touch()
    now = files.time()
    monkeypatch.setattr(files, "time", lambda: now + jump)
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == (1 if os.name != "nt" or jump < 0 else 0)


@pytest.mark.usefixtures("darkness")
@pytest.mark.parametrize("jump", [-(10**9), 10**9])
def test_a_run_is_gone_on_with_whatever_the_files_times(
    tmp_path: Path, photograph: Callable[..., Path], segmenter: Segmenter, jump: int
) -> None:
    jobs = find_jobs([photograph("a.png"), photograph("b.png")])
    segment_all(jobs, segmenter, tmp_path / "out")
    for path in (*(tmp_path / "out").iterdir(), *(job.photograph for job in jobs)):
        os.utime(path, (path.stat().st_atime + jump, path.stat().st_mtime + jump))
    again = segment_all([replace(job) for job in jobs], segmenter, tmp_path / "out")
    assert [result.reused for result in again] == [True, True]
