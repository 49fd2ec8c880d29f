"""Which arithmetic trains faster: measured once, remembered, and the same for what is compared."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dermseg.errors import UsageError
from dermseg.experiments.registry import Arm, Experiment
from dermseg.experiments.study import train_arms
from dermseg.settings import DataSettings, ExperimentSettings, Precision, TrainingSettings
from dermseg.training import checkpoints, precision
from dermseg.training.devices import find_device
from dermseg.training.loop import train
from dermseg.training.protocol import train_protocol
from dermseg.training.trainer import Trainer

Maker = Callable[..., TrainingSettings]
ON_CPU = DataSettings(device="cpu")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the user's folder for caches, which is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def clock(home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[Precision, float]:
    """Let a processor have bfloat16, and a step last as long as the dictionary says."""
    seconds: dict[Precision, float] = {"float32": 3.0, "bfloat16": 4.0}
    now = 0.0
    original = Trainer.train_epoch

    def train_epoch(self: Trainer, each_step: Callable[[float], None]) -> float:
        nonlocal now
        now += seconds[self.device.precision]
        return original(self, each_step)

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(Trainer, "train_epoch", train_epoch)
    monkeypatch.setattr(precision.time, "perf_counter", lambda: now)
    return seconds


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[TrainingSettings]:
    """Return a list of what was measured."""
    found: list[TrainingSettings] = []
    original = precision.measure

    def measure(settings: TrainingSettings, device: object) -> object:
        found.append(settings)
        return original(settings, device)  # type: ignore[arg-type]

    monkeypatch.setattr(precision, "measure", measure)
    return found


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [((3.0, 4.0), "float32"), ((3.0, 2.0), "bfloat16"), ((3.0, 2.9), "float32")],
)
def test_the_faster_one_is_taken_and_said(
    clock: dict[Precision, float],
    home: Path,
    tiny: Maker,
    capsys: pytest.CaptureFixture[str],
    seconds: tuple[float, float],
    expected: str,
) -> None:
    clock["float32"], clock["bfloat16"] = seconds
    found = precision.decide(tiny(precision="auto"), "cpu")
    assert found == tiny(precision=expected)
    said = capsys.readouterr().err
    assert f"training in {expected}" in said
    assert f"{seconds[0]:.3g} s in float32, {seconds[1]:.3g} s in bfloat16" in said
    assert str(home / "dermseg" / "precision.json") in said
    (kept,) = json.loads((home / "dermseg" / "precision.json").read_text()).values()
    assert kept == {"float32": seconds[0], "bfloat16": seconds[1]}


def test_the_first_round_warms_up(home: Path, tiny: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = iter([90.0, 80.0, 3.0, 5.0, 4.0, 2.0, 5.0, 6.0, 7.0])  # in turns, float32 first
    monkeypatch.setattr(precision, "_seconds", lambda _: next(rounds))
    found = precision.measure(tiny(), find_device("cpu", "float32"))
    assert found == {"float32": 3.0, "bfloat16": 2.0}
    assert next(rounds) == 5, "after 10 seconds it is enough"


def test_short_steps_are_timed_more_often(tiny: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = iter([9.0, 9.0, *[1.1, 1.2] * 4, 0.5, 0.6])
    monkeypatch.setattr(precision, "_seconds", lambda _: next(rounds))
    found = precision.measure(tiny(), find_device("cpu", "float32"))
    assert found == {"float32": 0.5, "bfloat16": 0.6}


def test_it_is_measured_once_for_each_network_size_and_batch(
    clock: dict[Precision, float], counted: list[TrainingSettings], tiny: Maker
) -> None:
    first = tiny(precision="auto")
    changes = [{}, {"seed": 3, "fold": 1}, {"height": 48}, {"batch_size": 2}, {"channels": "rgb"}]
    for change in [*changes, *changes]:
        precision.decide(replace(first, **change), "cpu")  # type: ignore[arg-type]
    assert counted == [replace(first, **change) for change in [{}, *changes[2:]]]  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["", "[]", '{"x": 1}', "{"])
def test_a_damaged_memory_is_written_again(
    clock: dict[Precision, float], home: Path, tiny: Maker, content: str
) -> None:
    file = precision.answers()
    file.parent.mkdir(parents=True)
    file.write_text(content)
    precision.decide(tiny(precision="auto"), "cpu")
    assert {"float32": 3.0, "bfloat16": 4.0} in json.loads(file.read_text()).values()


def test_a_memory_that_cannot_be_written_costs_nothing(
    clock: dict[Precision, float],
    home: Path,
    tiny: Maker,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home.write_text("no folder", encoding="utf-8")
    assert precision.decide(tiny(precision="auto"), "cpu").precision == "float32"
    assert "kept" not in capsys.readouterr().err


def test_what_is_given_or_known_or_without_choice_is_not_measured(
    home: Path, counted: list[TrainingSettings], tiny: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    for given in ("float32", "bfloat16"):
        assert precision.decide(tiny(precision=given), "cpu", "float32").precision == given
    assert precision.decide(tiny(precision="auto"), "cpu", "bfloat16").precision == "bfloat16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert precision.decide(tiny(precision="auto"), "cpu").precision == "float32"
    assert not counted
    assert not home.exists()


class TestOneForAll:
    def test_a_run_keeps_what_it_began_with(
        self,
        toy_data: Path,
        tmp_path: Path,
        tiny: Maker,
        clock: dict[Precision, float],
    ) -> None:
        run, settings = tmp_path / "run", tiny(precision="auto", epochs=1, keep="last")
        clock["bfloat16"] = 1.0
        train(toy_data, run, settings, ON_CPU)
        assert (
            json.loads((run / "settings.json").read_text())["settings"]["precision"] == "bfloat16"
        )
        clock["bfloat16"] = 9.0
        precision.answers().unlink()
        train(toy_data, run, replace(settings, epochs=2), ON_CPU)
        assert checkpoints.load(run / "weights.safetensors")[1]["precision"] == "bfloat16"
        with pytest.raises(UsageError, match=r"other settings \(precision;"):
            train(toy_data, run, replace(settings, epochs=2, precision="float32"), ON_CPU)

    def test_a_protocols_members_take_the_first_ones(
        self,
        toy_data: Path,
        tmp_path: Path,
        tiny: Maker,
        clock: dict[Precision, float],
        counted: list[TrainingSettings],
    ) -> None:
        settings = tiny(precision="auto", epochs=1, fold=1, folds=2)
        train_protocol(toy_data, tmp_path / "out", settings, ON_CPU)
        precision.answers().unlink()
        clock["bfloat16"] = 1.0
        train_protocol(toy_data, tmp_path / "out", replace(settings, fold=None), ON_CPU)
        assert len(counted) == 1
        assert set(precisions(tmp_path / "out")) == {"float32"}

    def test_so_do_an_experiments_arms(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, clock: dict[Precision, float]
    ) -> None:
        arms = [Arm("seven", "seven", {}), Arm("three", "three", {"channels": "rgb"})]
        base = tiny(precision="auto", epochs=1, fold=None, folds=2)
        for count in (1, 2):
            train_arms(
                Experiment("a toy", tuple(arms[:count])),
                toy_data,
                tmp_path / "out",
                base,
                ExperimentSettings(),
                ON_CPU,
            )
            clock["bfloat16"] = 1.0
        assert len(list(precisions(tmp_path / "out"))) == 4
        assert set(precisions(tmp_path / "out")) == {"float32"}


def precisions(output: Path) -> Iterator[str]:
    for file in output.rglob("settings.json"):
        yield json.loads(file.read_text())["settings"]["precision"]
