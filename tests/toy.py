"""Small data sets and a small network, for the tests of training and experiments."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dermseg.settings import TrainingSettings
from dermseg.training import loop, losses, networks
from dermseg.training.networks.layers import Dropout, convolution

Picture = tuple[NDArray[np.uint8], NDArray[np.uint8]]


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> Iterator[None]:
    """Small tensors are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _one_commit() -> Iterator[None]:
    """Ask git once which commit trains: three processes for each of hundreds of trainings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "commit", cache(loop.commit))
        yield


def draw_picture(seed: int, height: int = 32, width: int = 32) -> Picture:
    """Return a photograph, a dark disc on bright noise, and its mask."""
    chance = np.random.default_rng(seed)
    row, column = chance.uniform(0.3, 0.7, 2) * (height, width)
    radius = chance.uniform(0.15, 0.3) * min(height, width)
    y, x = np.mgrid[:height, :width] + 0.5
    mask = np.where(np.hypot(y - row, x - column) < radius, 255, 0).astype(np.uint8)
    skin = chance.integers(130, 250, (height, width, 3))
    return np.where(mask[..., None] > 0, skin // 3, skin).astype(np.uint8), mask


def write_data(data: Path, first: int = 0) -> Path:
    """Write 15 pairs of 32 x 32 pixels into the folder `data`, numbered from `first`."""
    for folder in ("images", "masks"):
        (data / folder).mkdir(parents=True)
    for number in range(first, first + 15):
        photograph, mask = draw_picture(number)
        Image.fromarray(photograph).save(data / "images" / f"ISIC_{number:07}.png")
        Image.fromarray(mask).save(data / "masks" / f"ISIC_{number:07}_segmentation.png")
    return data


@pytest.fixture
def picture() -> Callable[..., Picture]:
    """Return a maker of a photograph, a dark disc on bright noise, and its mask."""
    return draw_picture


@pytest.fixture
def toy_data(tmp_path: Path) -> Path:
    """Return a data set of 15 pairs of 32 x 32 pixels."""
    return write_data(tmp_path / "data")


class Tiny(nn.Module):
    """A network with every kind of layer that the real ones have, but hardly any weights."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels),
            convolution(channels, 5, 3),
            nn.MaxPool2d(2),
            Dropout(dropout),
            convolution(5, 7, 4),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(7, 1, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits[:, 0]


def tiny_settings(**changes: Any) -> TrainingSettings:
    """Return settings for the network "tiny" on the toy data."""
    usual: dict[str, Any] = {
        "network": "tiny",
        "height": 32,
        "width": 32,
        "epochs": 3,
        "batch_size": 4,
        "fold": 0,
        "ema_epochs": 1.0,
        "precision": "float32",
    }
    return TrainingSettings(**{**usual, **changes})


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget at the end what a test registers."""
    for home, name in ((losses, "LOSSES"), (networks, "NETWORKS"), (networks, "STRIDES")):
        monkeypatch.setattr(home, name, dict(getattr(home, name)))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., TrainingSettings]:
    """Register the network "tiny"; return a maker of settings for it on the toy data."""
    monkeypatch.setitem(networks.NETWORKS, "tiny", Tiny)
    return tiny_settings
