"""A call that is refused leaves nothing behind that changes the call that corrects it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dermseg.cli.main import main
from dermseg.experiments.registry import EXPERIMENTS, Arm, Experiment
from dermseg.settings import TrainingSettings
from dermseg.training.loop import train

pytestmark = pytest.mark.slow

Maker = Callable[..., TrainingSettings]
TINY = ["--network", "tiny", "--height", "32", "--width", "32", "--batch-size", "4"]
TINY += ["--epochs", "1", "--precision", "float32", "--device", "cpu"]
TWICE = Experiment(
    "a toy", tuple(Arm(f"seen-{name}", name, {"channels": name}) for name in ("rgb", "rgb-hsv-l"))
)
COMMANDS = {
    "train": ["train", "data", *TINY],
    "fold": ["train", "data", *TINY, "--fold", "0"],
    "protocol": ["train", "data", "--protocol", "short", *TINY, "--folds", "2"],
    "tune": ["tune", "data", *TINY, "--folds", "2", "--learning-rates", "0.01", "--dropouts", "0"],
    "experiment": ["experiment", "twice", "data", *TINY, "--folds", "2"],
    "segment": ["segment", "data/images"],
    "convert": ["convert", "data/masks", "--to", "coco"],
    "export": ["export", "one", "--check-on", "data/images/ISIC_0000000.png"],
}
WRONG = [
    ("train", "--loss", "dise", "choose from"),
    ("train", "--fine-tune-from", "gone.onnx", "gone.onnx"),
    ("train", "--batch-size", "99", "do not fill a batch"),
    ("fold", "--folds", "1", "nothing is left to train on"),
    ("fold", "--fine-tune-from", "one", "use the same folds"),
    ("protocol", "--loss", "dise", "choose from"),
    ("protocol", "--folds", "16", "too few distinct images"),
    ("protocol", "--fine-tune-from", "one", "use the same folds"),
    ("protocol", "--keep", "best", "--keep best needs"),
    ("tune", "--loss", "dise", "choose from"),
    ("tune", "--folds", "16", "too few distinct images"),
    ("tune", "--batch-size", "9", "do not fill a batch"),
    ("tune", "--style", "traced", "in the style traced"),
    ("tune", "--fine-tune-from", "one", "use the same folds"),
    ("experiment", "--batch-size", "9", "do not fill a batch"),
    ("experiment", "--folds", "16", "too few distinct images"),
    ("experiment", "--fine-tune-from", "one", "use the same folds"),
    ("segment", "--model", "gone", "unknown model"),
    ("segment", "--size-from", "gone", "gone"),
    ("convert", "--photographs", "gone", "no such folder"),
    ("export", "--check-on", "gone.png", "no such file"),
]
"""A command, an option with a value that is refused, and a word of what is said."""


@pytest.mark.parametrize(("name", "option", "value", "said"), WRONG)
def test_a_refused_call_does_not_change_the_corrected_one(
    name: str,
    option: str,
    value: str,
    said: str,
    toy_data: Path,
    tiny: Maker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(EXPERIMENTS, "twice", TWICE)
    train(toy_data, tmp_path / "one", tiny(fold=0, folds=2, epochs=1, fold_seed=3))
    given = COMMANDS[name]
    ending = {"convert": ".json", "export": ".onnx"}.get(name, "")
    output = ["-o", f"out{ending}"]
    capsys.readouterr()
    assert main([*changed(given, option, value), *output]) in (1, 2)
    assert said in capsys.readouterr().err
    assert not list(Path("out").rglob("settings.json")), "nothing has begun"
    assert main([*given, *output]) == 0
    assert main([*given, "-o", f"again{ending}"]) == 0
    assert left(Path(f"out{ending}")) == left(Path(f"again{ending}"))


def changed(command: list[str], option: str, value: str) -> list[str]:
    """Return `command` with another value of an option."""
    if option not in command:
        return [*command, option, value]
    place = command.index(option)
    return [*command[:place], option, value, *command[place + 2 :]]


def left(output: Path) -> list[str]:
    """Return the names of what a command left, but for the decoded images."""
    names = (path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())
    return sorted(name for name in names if not name.startswith("cache/"))
