"""What the tests of the experiments share: toy data with a validation set, and a toy experiment."""

import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from toy import Tiny, draw_picture, tiny_settings, write_data

from dermseg.experiments import scoring
from dermseg.experiments.registry import EXPERIMENTS, Arm, Claim, Experiment
from dermseg.experiments.run import run_experiment
from dermseg.settings import DataSettings, ExperimentSettings, ScoringSettings, TrainingSettings
from dermseg.training import networks

ALL = Arm("tiny", "all channels", {"network": "tiny", "channels": "rgb-hsv-l"})
RGB = Arm("tiny-rgb", "RGB", {"network": "tiny", "channels": "rgb"})
PAPER = {"RGB": (0.9, 0.8, 0.7, 0.6, 0.95), "all": (0.91, 0.81, 0.71, 0.61, 0.96)}
CLAIM = Claim("more channels help", "a toy", ALL.label, RGB.label)
TOY = Experiment("a toy", (RGB, ALL), "validation", (CLAIM,), PAPER)
DATA = DataSettings()
BASE: dict[str, Any] = {"fold": None, "folds": 2, "epochs": 2, "learning_rate": 0.02}


def write_validation_set(data: Path) -> Path:
    """Write 4 validation images beside the toy data, with masks of another size."""
    photographs = data / "ISIC-2017_Validation_Data"
    truth = data / "ISIC-2017_Validation_Part1_GroundTruth"
    for folder in (photographs, truth):
        folder.mkdir()
    for number in range(100, 104):
        photograph, mask = draw_picture(number, 40, 48)
        Image.fromarray(photograph).resize((32, 32)).save(photographs / f"ISIC_{number:07}.png")
        Image.fromarray(mask).save(truth / f"ISIC_{number:07}_segmentation.png")
    return data


@pytest.fixture
def scored_set(toy_data: Path) -> Path:
    """Return the toy data with validation images."""
    return write_validation_set(toy_data)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    """Register the experiment "toy": two arms, scored on the validation images."""
    monkeypatch.setitem(EXPERIMENTS, "toy", TOY)
    return "toy"


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the toy experiment once for all tests; return the folder of "data" and "out"."""
    folder = tmp_path_factory.mktemp("finished")
    data = write_validation_set(write_data(folder / "data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.NETWORKS, "tiny", Tiny)
        patch.setitem(EXPERIMENTS, "toy", TOY)
        base = tiny_settings(**BASE)
        run_experiment("toy", data, folder / "out", base, ExperimentSettings(), DATA)
    return folder


@pytest.fixture
def done(finished: Path, tmp_path: Path, toy: str) -> Path:
    """Return the report of the finished toy experiment, in a copy of its own."""
    for part in ("data", "out"):
        shutil.copytree(finished / part, tmp_path / part)
    return tmp_path / "out" / "toy.md"


@pytest.fixture
def quick_export(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a model that is there already for whatever is exported, to save the time."""
    (model,) = (finished / "out" / "models").glob("tiny-seed-0-*.onnx")

    def export(_: object, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(model, file)

    monkeypatch.setattr(scoring, "export_model", export)


@pytest.fixture
def experiment(tiny: Callable[..., TrainingSettings], tmp_path: Path) -> Callable[..., Path]:
    """Return a runner of experiments on the data in "data", into the folder "out": of 2 folds."""

    def run(name: str, **options: Any) -> Path:
        known = {field.name for field in fields(TrainingSettings)}
        scoring = options.pop("scoring", ScoringSettings())
        settings = {k: options.pop(k) for k in known & options.keys()}
        base = tiny(**{**BASE, **settings})
        return run_experiment(
            name,
            tmp_path / "data",
            tmp_path / "out",
            base,
            ExperimentSettings(**options),
            DATA,
            scoring=scoring,
        )

    return run
