"""Folders from Python do what the command does."""

from collections.abc import Callable
from pathlib import Path

import pytest

import dermseg
from dermseg.cli.main import main

Make = Callable[..., Path]


@pytest.mark.usefixtures("darkness")
class TestSegmentFolder:
    def test_it_writes_what_the_command_writes(self, tmp_path: Path, photograph: Make) -> None:
        for name in ("a.jpg", "sub/b.png"):
            photograph(name)
        (tmp_path / "in/c.jpg").write_text("no photograph")
        rows = dermseg.segment_folder(
            str(tmp_path / "in"), tmp_path / "one", overlay=tmp_path / "pictures"
        )
        assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "two")]) == 1
        assert [row["photograph"] for row in rows] == ["a.jpg", "c.jpg", "sub/b.png"]
        assert [bool(row["error"]) for row in rows] == [False, True, False]
        for name in ("a_segmentation.png", "sub/b_segmentation.png", "report.csv"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        assert (tmp_path / "pictures/sub/b_overlay.jpg").is_file()

    def test_it_continues_and_takes_a_segmenter(self, tmp_path: Path, photograph: Make) -> None:
        paths = [photograph(name) for name in ("a.jpg", "b.jpg")]
        segmenter = dermseg.Segmenter(thresholds=dermseg.ThresholdSettings(low=0.4))
        (first,) = dermseg.segment_folder(paths[0], tmp_path / "out", segmenter=segmenter)
        mask = tmp_path / "out" / "a_segmentation.png"
        made = mask.stat().st_mtime_ns
        rows = dermseg.segment_folder(paths, tmp_path / "out", segmenter=segmenter)
        assert rows[0] == first
        assert [row["low"] for row in rows] == [0.4, 0.4]
        assert mask.stat().st_mtime_ns == made

    def test_without_photographs(self, tmp_path: Path) -> None:
        with pytest.raises(dermseg.UsageError, match="holds no photographs"):
            dermseg.segment_folder(tmp_path, tmp_path / "out")
        assert not (tmp_path / "out").exists()
