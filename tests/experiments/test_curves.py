"""Figure 2: its file, its picture, and the gap."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy import Tiny, tiny_settings

from dermseg.errors import DataError
from dermseg.experiments.figures import curves
from dermseg.experiments.figures.curves import draw, gaps, narrowing
from dermseg.storage.tables import read_table
from dermseg.training import networks
from dermseg.training.loop import train

Point = dict[str, str]


def curve(name: str, fold: int, *values: tuple[float, float]) -> list[Point]:
    return [
        {
            "input": name,
            "seed": "0",
            "fold": f"fold-{fold}",
            "epoch": str(number),
            "training_loss": str(loss),
            "held_out_error": str(error),
        }
        for number, (loss, error) in enumerate(values, 1)
    ]


@pytest.fixture
def points() -> list[Point]:
    """Return curves whose gap is 0.1 for RGB and 0.04 to 0.06 for all channels."""
    found = []
    for fold, narrow in enumerate((0.04, 0.05, 0.06)):
        falling = [0.8 / number + 0.1 for number in range(1, 21)]
        found += curve("RGB", fold, *((loss, loss + 0.1) for loss in falling))
        found += curve("RGB+HSV+L", fold, *((loss, loss + narrow) for loss in falling))
    return found


def test_the_gap_is_that_of_the_last_epochs(points: list[Point]) -> None:
    points += curve("RGB", 9, *[(0.5, 9.0)] * 18, (0.5, 0.6), (0.5, 0.8))
    assert gaps(points)["RGB"]["0", "fold-9"] == pytest.approx(0.2)
    assert gaps(points)["RGB+HSV+L"]["0", "fold-1"] == pytest.approx(0.05)


def test_how_much_it_narrows_is_paired_by_fold(points: list[Point]) -> None:
    mean, low, high = narrowing(points + curve("RGB", 9, (0.0, 0.9)))
    assert mean == pytest.approx(0.05)
    assert high - mean == pytest.approx(4.3026527 * 0.01 / 3**0.5)
    assert low > 0


def test_of_several_seeds_each_counts_once(points: list[Point]) -> None:
    other = [{**point, "seed": "1"} for point in points]
    for point in other:
        if point["input"] == "RGB":
            point["held_out_error"] = str(float(point["held_out_error"]) + 0.02)
    mean, low, high = narrowing(points + other)  # by 0.05 and by 0.07
    assert mean == pytest.approx(0.06)
    assert high - mean == mean - low == pytest.approx(12.706 * 0.01, rel=1e-3)


@pytest.mark.parametrize("epochs", [1, 20])
def test_the_picture_is_not_blank(points: list[Point], tmp_path: Path, epochs: int) -> None:
    chosen = [point for point in points if int(point["epoch"]) <= epochs]
    for kind in ("png", "svg"):
        draw(chosen, tmp_path / f"a.{kind}")
        draw(chosen, tmp_path / f"b.{kind}")
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    red = (pixels[..., 0] > 200) & (pixels[..., 1:].max(-1) < 60)
    assert red.sum() > 100
    assert (pixels.max(-1) < 60).sum() > 1000
    assert "<svg" in (tmp_path / "a.svg").read_text()


@pytest.mark.slow
def test_the_experiment_draws_what_the_logs_say(
    experiment: Callable[..., Path],
    toy_data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(networks.NETWORKS, "cdnn29", Tiny)
    monkeypatch.setattr(curves, "narrowing", lambda _: (0.1, 0.05, 0.15))  # a clear difference
    page = experiment("figure-2", epochs=3)
    rows = read_table(page.with_name("figure-2-curves.csv"))
    assert len(rows) == 2 * 2 * 3
    with (page.parent / "arms/cdnn29-rgb/seed-0/fold-1/log.csv").open(newline="") as handle:
        log = list(csv.DictReader(handle))
    ours = [row for row in rows if (row["input"], row["fold"]) == ("RGB", "fold-1")]
    assert [row["training_loss"] for row in ours] == [row["loss"] for row in log]
    errors = [1 - float(row["held_out_jaccard"]) for row in log]
    assert [float(row["held_out_error"]) for row in ours] == pytest.approx(errors, abs=1e-5)
    content = json.loads(page.with_suffix(".json").read_text())
    assert [verdict["quantity"] for verdict in content["verdicts"]] == [
        "Jaccard index",
        "gap closed",
    ]
    assert all("train longer" in verdict["why"] for verdict in content["verdicts"])
    assert {verdict["networks"] for verdict in content["verdicts"]} == {"undecided"}
    assert content["figures"] == ["figure-2.png", "figure-2.svg"]
    assert "![" in page.read_text()
    # The same from protocols, whose sixth model held nothing out and has no curve.
    given = [page.parent / "arms" / arm / "seed-0" for arm in ("cdnn29-rgb", "cdnn29")]
    for folder, channels in zip(given, ("rgb", "rgb-hsv-l"), strict=True):
        settings = tiny_settings(network="cdnn29", channels=channels, fold=None, epochs=1)
        train(toy_data, folder / "all", settings)
    again = experiment("figure-2", epochs=3, runs=given)
    assert read_table(again.with_name("figure-2-curves.csv")) == rows
    # And from a single run of each arm, whatever their folders are called.
    single = [
        folder.rename(folder.parent / name)
        for folder, name in zip(
            (given[0] / "fold-1", given[1] / "fold-1"), ("rgb", "full"), strict=True
        )
    ]
    alone = experiment("figure-2", epochs=3, runs=single)
    drawn = read_table(alone.with_name("figure-2-curves.csv"))
    assert drawn == [row for row in rows if row["fold"] == "fold-1"]
    for folder, run in zip(given, single, strict=True):
        run.rename(folder / "fold-1")
    (given[0] / "fold-1" / "log.csv").unlink()
    with pytest.raises(DataError, match=r"log\.csv: missing"):
        experiment("figure-2", epochs=3, runs=given)
