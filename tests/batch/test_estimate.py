"""A dry run: what would be done, and nothing written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dermseg.cli.main import main

pytestmark = pytest.mark.usefixtures("darkness")


def test_a_dry_run_counts_and_times_and_writes_nothing(
    tmp_path: Path, photograph: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = [photograph(f"{number}.png").stat().st_size for number in range(9)]
    command = ["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    pictures = ["--overlay", str(tmp_path / "pictures"), "--dry-run"]

    def said(*options: str) -> list[str]:
        assert main([*command, *options]) == 0
        return capsys.readouterr().out.splitlines()

    first = said(*pictures)
    assert first[0] == f"9 photographs, {sum(sizes) / 1000:.4g} kB"
    assert first[1] == "0 done, 9 to do"
    assert first[2].startswith("0:00:0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    assert main([*command[:1], str(tmp_path / "in" / "3.png"), *command[2:]]) == 0
    assert said("--dry-run")[1] == "1 done, 8 to do"
    assert said("--dry-run", "--low", "0.4")[1] == "0 done, 9 to do"
    assert said("--dry-run", "--shard", "4/9")[1:] == [
        "1 done, 0 to do",
        "0:00:00 on this machine (hours:minutes:seconds), by 0 that were timed",
    ]
    (tmp_path / "out" / "3_segmentation.png").unlink()
    assert said("--dry-run")[1] == "0 done, 9 to do"
