"""The benchmark of training: what it times, and that the numbers hang together."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dermseg.benchmark import training
from dermseg.benchmark.training import PlainSet, Timing
from dermseg.cli.main import main
from dermseg.data.datasets import Cache
from dermseg.errors import DataError, MissingExtraError, UsageError
from dermseg.settings import AugmentationSettings, TrainingSettings

Maker = Callable[..., TrainingSettings]
OURS = Timing(10.0, 20.0, 0.05, 300.0)


@pytest.fixture
def cache() -> Cache:
    """Return ten images whose masks are their red, above a half."""
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (10, 3, 32, 48), dtype=np.uint8)
    masks = np.where(images[:, 0] > 127, 255, 0).astype(np.uint8)
    names = [str(number) for number in range(10)]
    flags = np.ones(10, np.uint8), np.zeros(10, np.bool_)
    return Cache(names, images, masks, "digest", *flags)


class TestBenchmark:
    def test_its_numbers_hang_together(self, toy_data: Path, tmp_path: Path, tiny: Maker) -> None:
        result = training.time_training(toy_data, tiny(), steps=2)
        assert (result.images, result.batch_size, result.steps) == (15, 4, 2)
        for timing in (result.dermseg, result.plain):
            assert 0 < timing.data_share < 1
            # An epoch is three batches of four: the fourth is not full.
            assert timing.seconds_per_epoch == pytest.approx(12 / timing.images_per_second)
            assert timing.peak_megabytes is None or 50 < timing.peak_megabytes < 10**5
        result.write_json(tmp_path / "numbers.json")
        written = json.loads((tmp_path / "numbers.json").read_text())
        assert written["dermseg"]["data_share"] == result.dermseg.data_share
        assert written["ratios"]["speed"] == result.speed_ratio
        assert "images a second" in str(result)
        assert not (tmp_path / "cache").exists()

    def test_ratios_are_ours_over_theirs(self) -> None:
        facts: dict[str, Any] = {
            "device": "a processor",
            "precision": "float32",
            "network": "cdnn29",
            "height": 192,
            "width": 256,
            "batch_size": 18,
            "images": 2000,
            "steps": 20,
        }
        plain = Timing(5.0, 40.0, 0.5, 100.0)
        both = training.TrainingTimes(**facts, dermseg=OURS, plain=plain)
        assert (both.speed_ratio, both.memory_ratio) == (0.5, 3)
        assert str(both).splitlines()[2:] == [
            "seconds an epoch               10.00        5.00    2.00",
            "images a second                 20.0        40.0    0.50",
            "data path, % of a step           5.0        50.0    0.10",
            "peak memory, MB                  300         100    3.00",
        ]
        unknown = training.TrainingTimes(**facts, dermseg=OURS, plain=Timing(5.0, 40.0, 0.5, None))
        assert unknown.memory_ratio is None
        assert str(unknown).splitlines()[-1].split()[-2:] == ["-", "-"]

    def test_what_cannot_be_timed_is_refused(
        self, toy_data: Path, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(UsageError, match="--steps 0"):
            training.time_training(toy_data, tiny(), steps=0)
        with pytest.raises(DataError, match="15 training images do not fill a batch of 16"):
            training.time_training(toy_data, tiny(batch_size=16))
        monkeypatch.setitem(sys.modules, "monai", None)
        with pytest.raises(MissingExtraError, match="pip install monai"):
            training.time_training(toy_data, tiny())


class TestPlainSet:
    def test_image_and_mask_are_changed_alike(self, cache: Cache) -> None:
        ranges = AugmentationSettings(contrast=0, rotation=0, scale=0, shift=0)
        plain = PlainSet(cache, np.array([3, 3, 7]), ranges)
        assert len(plain) == 3
        torch.manual_seed(0)
        seen = set()
        for _ in range(20):
            image, mask = plain[1]
            assert (image.shape, mask.shape) == ((3, 32, 48), (1, 32, 48))
            assert torch.equal(image[:1] > 0.5, mask > 0.5)
            seen.add(image.numpy().tobytes())
        assert len(seen) == 4  # as it is, and mirrored either way or both

    def test_without_changes_it_gives_the_images_back(self, cache: Cache) -> None:
        none = AugmentationSettings(flip=False, rotation=0, scale=0, shift=0, contrast=0)
        image, mask = PlainSet(cache, np.array([7]), none)[0]
        assert np.allclose(image.numpy() * 255, cache.images[7], atol=1e-3)
        assert np.allclose(mask[0].numpy() * 255, cache.masks[7], atol=1e-3)

    def test_colour_and_sharpness_change_as_in_ours(self, cache: Cache) -> None:
        still = {"flip": False, "rotation": 0, "scale": 0, "shift": 0, "contrast": 0}
        for kind in ("color", "sharpness"):
            image, mask = PlainSet(
                cache, np.array([7]), AugmentationSettings(**still, **{kind: 1})
            )[0]
            assert np.abs(image.numpy() * 255 - cache.images[7]).mean() > 1
            assert np.allclose(mask[0].numpy() * 255, cache.masks[7], atol=1e-3)


class TestCommand:
    def test_it_prints_and_writes(
        self, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = tmp_path / "numbers.json"
        options = ["--height", "16", "--width", "32", "--batch-size", "2", "--steps", "1"]
        options += ["--device", "cpu", "--network", "cdnn19", "--json", str(file)]
        assert main(["benchmark", "train", str(toy_data), *options]) == 0
        assert "cdnn19" in capsys.readouterr().out
        assert json.loads(file.read_text())["width"] == 32

    def test_it_explains_itself(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["benchmark", "train", "--help"]) == 0
        said = capsys.readouterr().out
        assert "Example: dermseg benchmark train" in said
        assert "--steps" in said
        assert main(["benchmark", "tran"]) == 2
