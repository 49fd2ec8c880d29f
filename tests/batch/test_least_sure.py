"""`dermseg segment --review`: the masks most worth a look."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dermseg.batch import least_sure as least_sure_module
from dermseg.batch.jobs import Job, find_jobs
from dermseg.batch.least_sure import SHEET, TABLE, least_sure
from dermseg.batch.report import COLUMNS
from dermseg.batch.worker import Result
from dermseg.cli.main import main
from dermseg.imaging.contact_sheet import CELL_HEIGHT, CELL_WIDTH

Make = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("darkness")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Return a folder of three photographs, of which "b" has the most washed-out lesion."""
    folder = tmp_path / "in"
    folder.mkdir()
    y, x = np.mgrid[:48, :64]
    for name, depth in (("a", 200), ("b", 110), ("c", 160)):
        away = np.hypot(y - 24, x - 32)
        grey = 255 - depth * np.clip(1.5 - away / 12, 0, 1)
        Image.fromarray(np.repeat(grey[..., None], 3, 2).astype(np.uint8)).save(
            folder / f"{name}.png"
        )
    return folder


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE).open(newline="") as handle:
        return list(csv.DictReader(handle))


def run(photographs: Path, count: int, model: Path, *more: str) -> int:
    out = photographs.parent / "out"
    arguments = ["segment", photographs, "-o", out, "--review", count, "--model", model]
    return main([*map(str, arguments), *more])


@pytest.mark.parametrize("gone", ["a", "b", "c", "abc"])
@pytest.mark.parametrize("how", ["removed", "damaged"])
def test_a_photograph_that_is_gone_by_then_costs_its_cell(
    photographs: Path,
    calibrated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gone: str,
    how: str,
) -> None:
    write = least_sure_module.write_least_sure

    def afterwards(*arguments: Any) -> int:
        for name in gone:
            path = photographs / f"{name}.png"
            path.unlink() if how == "removed" else path.write_bytes(path.read_bytes()[:99])
        return write(*arguments)

    monkeypatch.setattr(least_sure_module, "write_least_sure", afterwards)
    assert run(photographs, 3, calibrated) == 0
    assert [row["photograph"] for row in table(tmp_path / "out")] == ["b.png", "c.png", "a.png"]
    with Image.open(tmp_path / "out" / SHEET) as sheet:
        pixels = np.asarray(sheet)
    for column, name in enumerate("bca"):
        cell = pixels[:CELL_HEIGHT, column * (CELL_WIDTH + 4) :][:, :CELL_WIDTH]
        assert bool(cell.std() < 2) is (name in gone)


def test_the_least_sure_come_first(photographs: Path, calibrated: Path, tmp_path: Path) -> None:
    assert run(photographs, 2, calibrated) == 0
    rows = table(tmp_path / "out")
    assert [(row["rank"], row["photograph"]) for row in rows] == [("1", "b.png"), ("2", "c.png")]
    assert "low-confidence" in rows[0]["flags"]
    assert float(rows[0]["jaccard_low"]) < float(rows[0]["predicted_jaccard"])
    with Image.open(tmp_path / "out" / SHEET) as sheet:
        pixels = np.asarray(sheet).astype(int)
    assert pixels.shape[1] == 2 * (CELL_WIDTH + 4)
    yellow = (pixels[..., 0] - pixels[..., 2]) > 60
    assert yellow[:CELL_HEIGHT, :CELL_WIDTH].any()
    blue = (pixels[..., 2] - pixels[..., 0]) > 60
    assert blue[:CELL_HEIGHT, :CELL_WIDTH].any()


def test_more_than_there_are_and_again(
    photographs: Path, calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photographs / "broken.png").write_text("no photograph")
    assert run(photographs, 50, calibrated) == 1
    assert [row["photograph"] for row in table(tmp_path / "out")] == ["b.png", "c.png", "a.png"]
    first = {name: (tmp_path / "out" / name).read_bytes() for name in (TABLE, SHEET)}
    assert run(photographs, 50, calibrated) == 1
    assert "3 from an earlier run" in capsys.readouterr().err
    assert first == {name: (tmp_path / "out" / name).read_bytes() for name in (TABLE, SHEET)}
    assert len(find_jobs([tmp_path])) == 4, "a sheet is no photograph"


def test_where_everything_failed_no_old_sheet_stays(
    photographs: Path, calibrated: Path, tmp_path: Path
) -> None:
    assert run(photographs, 1, calibrated) == 0
    for path in photographs.iterdir():
        path.write_text("no photograph")
    assert run(photographs, 1, calibrated) == 1
    assert table(tmp_path / "out") == []
    assert not (tmp_path / "out" / SHEET).exists()


def test_a_model_that_cannot_order_is_refused_before_any_work(
    photographs: Path,
    calibrated: Path,
    uncalibrated: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(photographs, 5, uncalibrated) == 2
    assert "--calibrate-on" in capsys.readouterr().err
    assert run(photographs, 5, calibrated, "--low", "0.4") == 2
    assert "default thresholds" in capsys.readouterr().err
    assert run(photographs, 0, calibrated) == 2
    assert "at least 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_ties_go_by_name_and_failures_are_left_out() -> None:
    def result(name: str, score: float, error: str = "") -> Result:
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
        row |= {"photograph": name, "confidence_score": score, "error": error}
        return Result(Job(Path(name), Path(name)), row)

    results = [result("b", 0.5), result("z", 0.1, "broken"), result("a", 0.5), result("c", -0.2)]
    assert [each.row["photograph"] for each in least_sure(results, 3)] == ["c", "a", "b"]


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_sheet_is_upright(
    photograph: Make, calibrated: Path, tmp_path: Path, orientation: int
) -> None:
    photograph("a.jpg", 480, 640, orientation)
    assert run(tmp_path / "in", 1, calibrated) == 0
    with Image.open(tmp_path / "out" / SHEET) as sheet:
        pixels = np.asarray(sheet)[:CELL_HEIGHT].astype(int)
    shown = np.nonzero((pixels < 240).any((0, 2)))[0]
    expected = CELL_WIDTH if orientation == 1 else CELL_HEIGHT * 3 / 4
    assert np.ptp(shown) == pytest.approx(expected, abs=6)
