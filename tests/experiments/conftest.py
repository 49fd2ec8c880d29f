"""What the tests of the experiments share: toy data with sets held back, and a toy experiment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from toy import Picture, _one_thread, picture, tiny, toy_data

from dermseg.experiments.registry import EXPERIMENTS, Arm, Claim, Experiment
from dermseg.experiments.run import run_experiment
from dermseg.experiments.study import Options
from dermseg.settings import TrainingSettings

__all__ = ["_one_thread", "picture", "tiny", "toy_data"]

ALL = Arm("tiny", "all channels", {"network": "tiny", "channels": "rgb-hsv-l"})
RGB = Arm("tiny-rgb", "RGB", {"network": "tiny", "channels": "rgb"})
CLAIM = Claim("more channels help", "a toy", ALL.label, RGB.label)
VALIDATION = 4


@pytest.fixture
def held_back(toy_data: Path, picture: Callable[..., Picture]) -> Path:
    """Give the toy data 4 validation images, larger than the network's; return the data."""
    photographs = toy_data / "ISIC-2017_Validation_Data"
    truth = toy_data / "ISIC-2017_Validation_Part1_GroundTruth"
    for folder in (photographs, truth):
        folder.mkdir()
    for number in range(100, 100 + VALIDATION):
        photograph, mask = picture(number, 40, 48)
        Image.fromarray(photograph).resize((32, 32)).save(photographs / f"ISIC_{number:07}.png")
        Image.fromarray(mask).save(truth / f"ISIC_{number:07}_segmentation.png")
    return toy_data


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    """Register the experiment "toy": two arms, scored on the validation images."""
    paper = {"RGB": (0.9, 0.8, 0.7, 0.6, 0.95), "all": (0.91, 0.81, 0.71, 0.61, 0.96)}
    experiment = Experiment("a toy", (RGB, ALL), "validation", (CLAIM,), paper)
    monkeypatch.setitem(EXPERIMENTS, "toy", experiment)
    return "toy"


@pytest.fixture
def experiment(
    tiny: Callable[..., TrainingSettings], toy_data: Path, tmp_path: Path
) -> Callable[..., Path]:
    """Return a runner of experiments on the toy data, in the folder "out": of 2 folds."""

    def run(name: str, *, output: str = "out", **options: Any) -> Path:
        settings = {k: options.pop(k) for k in ("passes", "fold", "seed") if k in options}
        base = tiny(**{"fold": None, "folds": 2, "passes": 2, "learning_rate": 0.02, **settings})
        return run_experiment(name, toy_data, tmp_path / output, base, Options(**options))

    return run
