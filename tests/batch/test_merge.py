"""Shards in one folder, merged: the books of one process, to the byte."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dermseg.batch.books import Books, Shard, shards_in
from dermseg.batch.jobs import Job
from dermseg.cli.main import main
from dermseg.errors import UsageError
from dermseg.storage.journal import Journal, read_journal

Make = Callable[..., Path]
EXAMPLES = Path(__file__).parent.parent.parent / "examples"
pytestmark = pytest.mark.usefixtures("darkness")


@pytest.fixture
def folder(tmp_path: Path, photograph: Make) -> Path:
    """Return a folder with seven photographs, of which one cannot be read."""
    for number, name in enumerate(
        ("a.jpg", "b.png", "sub/c.jpg", "sub/d.jpg", "-e.png", "f,g.png")
    ):
        photograph(name, 40 + number, 60)
    (tmp_path / "in" / "broken.jpg").write_text("no photograph")
    return tmp_path


def segment(folder: Path, output: str, *options: str) -> int:
    return main(["segment", str(folder / "in"), "-o", str(folder / output), *options])


def shards(folder: Path, count: int, *options: str) -> None:
    for number in range(count, 0, -1):
        assert segment(folder, "out", "--shard", f"{number}/{count}", *options) in (0, 1)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the masks and the report."""
    paths = [*folder.rglob("*.png"), folder / "report.csv"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 9])
def test_merged_shards_are_as_one_process(folder: Path, count: int) -> None:
    assert segment(folder, "one") == 1
    shards(folder, count)
    for _ in range(2):
        assert main(["merge", str(folder / "out")]) == 1  # a photograph cannot be read
        assert contents(folder / "out") == contents(folder / "one")
    before = contents(folder / "out")
    assert segment(folder, "out") == 1
    assert contents(folder / "out") == before
    assert (folder / "out" / "timings.csv").read_text().splitlines()[1:] == [
        line
        for line in (folder / "out" / "timings.csv").read_text().splitlines()[1:]
        if line.startswith("broken.jpg")
    ]


def test_what_runs_before_the_shards_left_is_kept_and_not_done_again(
    folder: Path, photograph: Make
) -> None:
    for output in ("one", "out"):
        assert main(["segment", str(photograph("z.jpg")), "-o", str(folder / output)]) == 0
        assert main(["segment", str(photograph("a.jpg")), "-o", str(folder / output)]) == 0
        (folder / "in" / "z.jpg").unlink()
        if output == "one":
            segment(folder, "one")
        else:
            shards(folder, 2)
    assert main(["merge", str(folder / "out")]) == 1
    assert contents(folder / "out") == contents(folder / "one")
    assert "z.jpg" in (folder / "out" / "report.csv").read_text().splitlines()[-1]
    assert "a.jpg" not in (folder / "out" / "timings.csv").read_text()


def test_a_shard_that_is_run_again_is_merged_again(folder: Path, photograph: Make) -> None:
    shards(folder, 3)
    assert main(["merge", str(folder / "out")]) == 1
    photograph("broken.jpg")
    for number in range(1, 4):
        assert segment(folder, "out", "--shard", f"{number}/3") == 0
    assert main(["merge", str(folder / "out")]) == 0
    assert segment(folder, "one") == 0
    assert contents(folder / "out") == contents(folder / "one")


class TestNotYet:
    """What is missing is said, with exit status 1, and nothing is written."""

    def refused(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
        capsys.readouterr()
        assert main(["merge", str(folder / "out")]) == 1
        assert not (folder / "out" / "report.csv").exists()
        return capsys.readouterr().err

    def test_missing_running_and_stopped(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in (1, 3, 4):
            segment(folder, "out", "--shard", f"{number}/5")
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "write_pieces", interrupted)
            assert segment(folder, "out", "--shard", "4/5", "--low", "0.4") == 130
        with Books(folder / "out", Shard(3, 5)).open():
            said = self.refused(folder, capsys)
        assert "2 shards of 5 (2, 5) missing: run them" in said
        assert "1 shard of 5 (3) running" in said
        assert "1 shard of 5 (4) stopped before their end" in said

    def test_other_settings_and_other_photographs(
        self, folder: Path, photograph: Make, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shards(folder, 4)
        segment(folder, "out", "--shard", "2/4", "--low", "0.4")
        assert "1 shard of 4 (2) had another model" in self.refused(folder, capsys)
        photograph("new.jpg")
        segment(folder, "out", "--shard", "2/4")
        assert "1 shard of 4 (2) saw other photographs" in self.refused(folder, capsys)

    def test_a_mask_that_is_gone(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        shards(folder, 2)
        (folder / "out" / "sub" / "c_segmentation.png").unlink()
        assert "1 mask, as sub/c_segmentation.png" in self.refused(folder, capsys)

    def test_unmerged_shards_are_not_segmented_over(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shards(folder, 2)
        assert segment(folder, "out") == 2
        assert "dermseg merge" in capsys.readouterr().err

    def test_a_shard_of_another_version_is_not_called_running(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shards(folder, 2)
        journal = Books(folder / "out", Shard(1, 2)).journal
        journal.write_text('{"version": 1, "mask": "a_segmentation.png"}\n')
        assert main(["merge", str(folder / "out")]) == 2
        assert "journal-1-of-2.jsonl: of another version" in capsys.readouterr().err


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_what_is_no_shard(tmp_path: Path, photograph: Make) -> None:
    for text in ("0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/2/3"):
        with pytest.raises(UsageError, match="write NUMBER/COUNT"):
            Shard.parse(text)
    photograph("a.jpg")
    assert segment(tmp_path, "out", "--shard", "1/2", "--review", "3") == 2
    assert main(["merge", str(tmp_path / "out")]) == 2
    shards(tmp_path, 2)
    assert segment(tmp_path, "out", "--shard", "1/3") == 2
    assert main(["merge", str(tmp_path / "out")]) == 0
    assert segment(tmp_path, "out", "--shard", "1/3") == 0
    assert main(["merge", str(tmp_path / "out")]) == 2


def test_every_job_is_in_one_shard() -> None:
    jobs = [Job(Path(f"{number}.jpg"), Path(f"{number}.jpg")) for number in range(100)]
    parts = [Shard(number, 7).of(jobs) for number in range(1, 8)]
    assert sorted((job for part in parts for job in part), key=jobs.index) == jobs
    assert max(map(len, parts)) - min(map(len, parts)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Slurm runs on POSIX")
@pytest.mark.slow
def test_the_slurm_example(folder: Path) -> None:
    command = folder / "bin" / "dermseg"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dermseg "$@"\n')
    command.chmod(0o755)
    (folder / "in" / "broken.jpg").unlink()
    known = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}"}
    for number in ("1", "2"):
        array = {"SLURM_ARRAY_TASK_ID": number, "SLURM_ARRAY_TASK_COUNT": "2"}
        script = [str(EXAMPLES / "slurm" / "segment.sh"), str(folder / "in"), str(folder / "out")]
        subprocess.run(script, env={**known, **array}, check=True)
    subprocess.run(
        [str(EXAMPLES / "slurm" / "merge.sh"), str(folder / "out")], env=known, check=True
    )
    assert shards_in(folder / "out") == [Shard(1, 2), Shard(2, 2)]
    assert len(read_journal(folder / "out" / "journal.jsonl")) == 8
