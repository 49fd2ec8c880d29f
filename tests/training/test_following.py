"""Who hears of each epoch: the table, the page, TensorBoard, and one's own functions."""

import csv
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dermseg.settings import DataSettings, TrainingSettings
from dermseg.training import following, progress_page
from dermseg.training.loop import train

pytestmark = pytest.mark.slow

Maker = Callable[..., TrainingSettings]
ON_CPU = DataSettings(device="cpu")


def rows(count: int, **columns: float) -> list[dict[str, Any]]:
    return [
        {"epoch": n, "learning_rate": 0.003, "loss": 1 / n, **columns, "seconds": 2.5}
        for n in range(1, count + 1)
    ]


class Page(HTMLParser):
    """What a page refers to, and its tags that are open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.points: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.points += [value or "" for name, value in attrs if name == "points"]


def test_the_page_needs_nothing_and_reloads_until_the_training_ends() -> None:
    text = progress_page.draw("run, <tiny>", 5, rows(3, held_out_loss=0.4, held_out_jaccard=0.5))
    page = Page(text)
    assert not page.links
    assert "script" not in page.tags
    assert 'http-equiv="refresh"' in text
    assert "<title>run, &lt;tiny&gt;: epoch 3 of 5</title>" in text
    assert page.tags.count("svg") == 4
    training = next(points for points in page.points if len(points.split()) == 3)
    heights = [float(point.split(",")[1]) for point in training.split()]
    assert heights == sorted(heights), "a loss that falls goes down, which is a larger y"
    done = progress_page.draw("run", 3, rows(3))
    assert "refresh" not in done
    assert ": finished" in done
    assert Page(done).tags.count("svg") == 3, "without what is held out"


@pytest.mark.parametrize("count", [0, 1, 40])
def test_the_page_can_be_drawn_of_any_log(count: int) -> None:
    page = Page(progress_page.draw("run", 40, rows(count, held_out_jaccard=0.0)))
    assert page.tags.count("tr") == (1 + min(count, 12) if count else 0)
    assert not any("nan" in points for points in page.points)


def test_functions_hear_of_each_epoch_as_the_table_has_it(
    toy_data: Path, tmp_path: Path, tiny: Maker
) -> None:
    heard: list[dict[str, Any]] = []
    there: list[bool] = []

    def listen(row: Any) -> None:
        heard.append(dict(row))
        there.append((tmp_path / "run" / "checkpoint.safetensors").is_file())
        row["loss"] = "changed"

    train(toy_data, tmp_path / "run", tiny(epochs=2), ON_CPU, callbacks=[listen, listen])
    with (tmp_path / "run" / "log.csv").open(newline="") as handle:
        written = list(csv.DictReader(handle))
    assert [{k: str(v) for k, v in row.items()} for row in heard[::2]] == written
    assert heard[1]["loss"] != "changed"
    assert there == [True] * 4
    assert ": finished" in (tmp_path / "run" / "progress.html").read_text()


def test_what_a_function_raises_ends_a_training_that_goes_on(
    toy_data: Path, tmp_path: Path, tiny: Maker
) -> None:
    def stop(row: Any) -> None:
        if row["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy_data, tmp_path / "run", tiny(epochs=2), ON_CPU, callbacks=[stop])
    heard: list[int] = []
    train(
        toy_data,
        tmp_path / "run",
        tiny(epochs=2),
        ON_CPU,
        callbacks=[lambda row: heard.append(row["epoch"])],
    )
    assert heard == [2]


def test_tensorboard_is_told_where_it_is_installed(
    tmp_path: Path, tiny: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Any, ...]] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            told.append((Path(folder).name, purge_step))

        def add_scalar(self, name: str, value: float, epoch: int) -> None:
            told.append((name, value, epoch))

        def flush(self) -> None:
            pass

        def close(self) -> None:
            told.append(("closed",))

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(following, "find_spec", lambda name: name == "tensorboard")
    with following.followed(tmp_path, tiny(), 2, []) as tell:
        tell(rows(3))
    assert told == [
        ("tensorboard", 3),
        ("learning_rate", 0.003, 3),
        ("loss", 1 / 3, 3),
        ("seconds", 2.5, 3),
        ("closed",),
    ]
