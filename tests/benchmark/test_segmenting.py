"""The benchmark of segmenting: what it times, and that the numbers hang together."""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermseg.batch.jobs import find_jobs
from dermseg.benchmark import segmenting as module
from dermseg.benchmark.segmenting import (
    Folder,
    SegmentingTimes,
    Stages,
    disc,
    make_photographs,
    peak_megabytes,
    time_segmenting,
    time_start,
)
from dermseg.cli.main import main
from dermseg.errors import DermsegError, UsageError
from dermseg.inference.segmenter import Segmenter

FOLDER = Folder(
    name="given",
    photographs=8,
    megabytes=3.2,
    one=21.0,
    one_95=30.0,
    stages=Stages(9, 6, 2, 4),
    rate=80.0,
    limit_rate=100.0,
    plain_rate=20.0,
    cores_busy=1.9,
    peak_megabytes=190.0,
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROUNDS", "WARM_UP", "STARTS"):
        monkeypatch.setattr(module, name, 1)
    monkeypatch.setattr(module, "SINGLES", 3)
    monkeypatch.setattr(module, "PIXELS", 60_000)
    monkeypatch.setattr(module, "SIZES", ((150, 200),))


@pytest.fixture
def _no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time_start", lambda *_: 0.3)
    monkeypatch.setattr(module, "measure_peak", lambda *_: None)


@pytest.mark.slow
class TestBenchmark:
    def test_its_numbers_hang_together(self, segmenter: Segmenter, tmp_path: Path) -> None:
        seen: list[str] = []

        def plain(photographs: Iterable[Path], output: Path) -> None:
            seen.extend(path.name for path in photographs)
            assert output.is_dir()

        result = time_segmenting(segmenter, plain=plain)
        assert [folder.name for folder in result.folders] == ["200 x 150"]
        assert len(seen) == result.folders[0].photographs
        assert result.start > 0
        assert result.torch_start is not None
        (folder,) = result.folders
        assert min(asdict(folder.stages).values()) > 0
        assert min(folder.one, folder.rate, folder.limit_rate, folder.cores_busy) > 0
        assert folder.one_95 >= folder.one
        assert folder.peak_megabytes is None or 50 < folder.peak_megabytes < 10**4
        result.write_json(tmp_path / "numbers.json")
        written = json.loads((tmp_path / "numbers.json").read_text())
        assert written["folders"][0]["stages"] == asdict(folder.stages)
        assert written["ratios"]["200 x 150"]["limit"] == folder.limit_share

    @pytest.mark.usefixtures("_no_children")
    @pytest.mark.parametrize("exact", [False, True])
    def test_a_processor_that_takes_longer_for_8_bits_says_so(
        self,
        segmenter: Segmenter,
        photograph: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
        exact: bool,
    ) -> None:
        monkeypatch.setattr(module, "asks_for_exact_sums", lambda: exact)
        result = time_segmenting(segmenter, [photograph("a.png")])
        assert result.machine.endswith(" cores, no VNNI" if exact else " cores")

    @pytest.mark.usefixtures("_no_children")
    def test_photographs_can_be_given(
        self, segmenter: Segmenter, photograph: Callable[..., Path]
    ) -> None:
        photograph("a.jpg")
        result = time_segmenting(segmenter, [photograph("b.png", 81, 33).parent])
        (folder,) = result.folders
        assert (folder.name, folder.photographs, folder.plain_rate) == ("given", 2, None)
        assert folder.plain_ratio is result.torch_start is None
        with pytest.raises(UsageError, match="no such file"):
            time_segmenting(segmenter, [Path("gone")])

    def test_two_photographs_of_one_name_in_two_folders(
        self, segmenter: Segmenter, photograph: Callable[..., Path]
    ) -> None:
        photograph("a/1.png")
        folder = photograph("b/1.png").parent.parent
        assert time_segmenting(segmenter, [folder]).folders[0].photographs == 2

    def test_ratios_are_ours_over_theirs(self) -> None:
        assert (FOLDER.limit_share, FOLDER.plain_ratio) == (0.8, 4)
        shown = SegmentingTimes(
            machine="a machine",
            packages={},
            model="cdnn29",
            height=96,
            width=128,
            start=0.3,
            torch_start=None,
            folders=[FOLDER],
        )
        lines = [line.split() for line in str(shown).splitlines()]
        assert ["share", "of", "that", "0.80"] in lines
        assert ["times", "that", "4.0"] in lines
        assert ["import", "torch,", "s", "-"] in lines

    def test_a_child_that_fails_is_no_quick_one(self, segmenter: Segmenter) -> None:
        with pytest.raises(DermsegError, match=r"gone\.jpg"):
            time_start(segmenter, Path("gone.jpg"))


def test_made_photographs_have_the_size_and_the_grain_of_real_ones(tmp_path: Path) -> None:
    jobs = find_jobs([make_photographs(tmp_path / "made", 384, 576)])
    assert len(jobs) >= 2
    for job in jobs:
        with Image.open(job.photograph) as image:
            assert (image.format, image.size) == ("JPEG", (576, 384))
        assert 1.5 < 8 * job.photograph.stat().st_size / (384 * 576) < 4


def test_the_disc_is_a_lesion_of_usual_size() -> None:
    mask = disc(96, 128)
    assert mask.shape == (96, 128)
    assert 0.1 < mask.mean() < 0.2
    assert mask[48, 64]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says it")
def test_the_peak_of_memory_stays_when_memory_is_given_back() -> None:
    before = peak_megabytes()
    assert before is not None
    large = np.ones(200_000_000, np.uint8)
    del large
    after = peak_megabytes()
    assert after is not None
    assert after >= 200


class TestCommand:
    @pytest.mark.usefixtures("_no_children")
    def test_without_pytorch_there_is_no_plain_loop(
        self,
        photograph: Callable[..., Path],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        file = tmp_path / "numbers.json"
        assert main(["benchmark", "segment", str(photograph("a.jpg")), "--json", str(file)]) == 0
        said = capsys.readouterr()
        assert "no plain loop" in said.err
        assert "photographs a second" in said.out
        assert json.loads(file.read_text())["folders"][0]["plain_rate"] is None

    def test_it_explains_itself(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["benchmark", "segment", "--help"]) == 0
        said = capsys.readouterr().out
        assert "Example: dermseg benchmark segment" in said
        assert "--json" in said
