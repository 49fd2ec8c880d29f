"""The benchmark of training: what it times, and that the numbers hang together."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from toy import Tiny

from dermseg.benchmark import training
from dermseg.benchmark.training import Floor, PlainSet, Timing
from dermseg.cli.main import main
from dermseg.data.datasets import Cache
from dermseg.errors import DataError, UsageError
from dermseg.settings import AugmentationSettings, TrainingSettings
from dermseg.training import networks, trainer
from dermseg.training.devices import Device

pytestmark = pytest.mark.slow

Maker = Callable[..., TrainingSettings]
OURS = Timing(10.0, 20.0, 0.05, 300.0)
REGISTER = 'dermseg.register_network("tiny", Tiny)\n'
FLOOR = Floor(5e9, 1.5e11, 8.0)


@pytest.fixture(autouse=True)
def _small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LARGE", {False: 64, True: 64})


@pytest.fixture
def cache() -> Cache:
    """Return ten images whose masks are their red, above a half."""
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (10, 3, 32, 48), dtype=np.uint8)
    masks = np.where(images[:, 0] > 127, 255, 0).astype(np.uint8)
    names = [str(number) for number in range(10)]
    flags = np.ones(10, np.uint8), np.zeros(10, np.bool_)
    return Cache(names, images, masks, "digest", *flags)


@pytest.fixture
def slow(tiny: Maker, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """Let work alone move the clock: preparing an image takes 1 s, and the network 3 s."""
    now = 0.0

    class Slow(Tiny):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal now
            now += 3 * len(x)
            return super().forward(x)

    def prepare(color: nn.Module, images: torch.Tensor, *others: Any) -> Any:
        nonlocal now
        now += len(images)
        return true_prepare(color, images, *others)

    true_prepare = trainer.prepare
    monkeypatch.setitem(networks.NETWORKS, "tiny", Slow)
    for module in (trainer, training):
        monkeypatch.setattr(module, "prepare", prepare)
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(training, "_matrix_speed", lambda _: 1e9)
    return tiny


class TestBenchmark:
    def test_both_loops_are_timed_alike(self, toy_data: Path, tmp_path: Path, slow: Maker) -> None:
        result = training.time_training(toy_data, slow(), steps=2)
        assert (result.images, result.batch_size, result.steps) == (15, 4, 2)
        for timing in (result.dermseg, result.plain):
            assert timing.data_share == 1 / 4
            assert timing.images_per_second == 1 / 4
            # An epoch is three batches of four: the fourth is not full.
            assert timing.seconds_per_epoch == 48
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
        both = training.TrainingTimes(**facts, dermseg=OURS, plain=plain, floor=FLOOR)
        assert (both.speed_ratio, both.memory_ratio) == (0.5, 3)
        assert both.floor_ratio == 1.25
        assert "dermseg in float32, the plain loop in float32" in str(both)
        assert str(both).splitlines()[2:] == [
            "seconds an epoch               10.00        5.00    2.00",
            "images a second                 20.0        40.0    0.50",
            "data path, % of a step           5.0        50.0    0.10",
            "peak memory, MB                  300         100    3.00",
            "floor: 8.00 s an epoch, for 5.0 billion operations an image, of which this machine "
            "does 150 billion a second on matrices; dermseg takes 1.25 times as long",
        ]
        nobody = Timing(5.0, 40.0, 0.5, None)
        unknown = training.TrainingTimes(**facts, dermseg=OURS, plain=nobody, floor=FLOOR)
        assert unknown.memory_ratio is None
        assert str(unknown).splitlines()[-2].split()[-2:] == ["-", "-"]

    def test_what_cannot_be_timed_is_refused(self, toy_data: Path, tiny: Maker) -> None:
        with pytest.raises(UsageError, match="--steps 0"):
            training.time_training(toy_data, tiny(), steps=0)
        with pytest.raises(DataError, match="15 training images do not fill a batch of 16"):
            training.time_training(toy_data, tiny(batch_size=16))
        with pytest.raises(UsageError, match="unknown network"):
            training.time_training(toy_data, tiny(network="none"))

    def test_the_plain_loop_trains_the_same_network(
        self, toy_data: Path, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In float32, whatever ours computes in, with as many channels, of batches as large."""
        seen: list[tuple[tuple[int, ...], torch.dtype]] = []

        class Watched(Tiny):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                logits = super().forward(x)
                seen.append((tuple(x.shape), logits.dtype))
                return logits

        monkeypatch.setitem(networks.NETWORKS, "tiny", Watched)
        settings = tiny(precision="bfloat16", channels="rgb-hsv-l")
        result = training.time_training(toy_data, settings, steps=1)
        shape = (4, 7, 32, 32)
        assert set(seen) == {
            (shape, torch.bfloat16),
            (shape, torch.float32),
            ((1, *shape[1:]), torch.float32),  # which counts operations
        }
        assert result.precision == "bfloat16"

    def test_the_floor_counts_a_step_of_the_network(
        self, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Two(nn.Module):
            def __init__(self, channels: int, _: float) -> None:
                super().__init__()
                self.one = nn.Conv2d(channels, 5, 3, padding=1)
                self.two = nn.Conv2d(5, 5, 1, groups=5)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                logits: torch.Tensor = self.two(self.one(x))
                return logits[:, 0]

        monkeypatch.setitem(networks.NETWORKS, "two", Two)
        floor = training.find_floor(tiny(network="two"), Device(torch.device("cpu"), "float32"), 15)
        pixels = 32 * 32
        one, two = 2 * 9 * 7 * 5 * pixels, 2 * 5 * pixels
        assert floor.operations == 3 * (one + two)
        seconds = 12 * floor.operations / floor.operations_per_second
        assert floor.seconds_per_epoch == pytest.approx(seconds)


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

    def test_it_times_a_network_of_ones_own_on_a_split_of_ones_own(
        self, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for registry in ("NETWORKS", "STRIDES"):
            monkeypatch.setattr(networks, registry, dict(getattr(networks, registry)))
        plugin, splits = tmp_path / "timed_plugin.py", tmp_path / "splits.csv"
        plugin.write_text("import dermseg\nfrom toy import Tiny\n" + REGISTER)
        names = sorted(path.stem for path in (toy_data / "images").iterdir())
        rows = [f"{name},{'val' if n < 4 else 'train'}" for n, name in enumerate(names)]
        splits.write_text("\n".join(["image_id,split", *rows]))
        file = tmp_path / "numbers.json"
        options = ["--height", "16", "--width", "32", "--batch-size", "2", "--steps", "1"]
        options += ["--device", "cpu", "--network", "tiny", "--plugin", str(plugin)]
        options += ["--splits", str(splits), "--json", str(file)]
        try:
            assert main(["benchmark", "train", str(toy_data), *options]) == 0
        finally:
            sys.modules.pop("timed_plugin", None)
        assert json.loads(file.read_text())["images"] == 11

    def test_it_explains_itself(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["benchmark", "train", "--help"]) == 0
        said = capsys.readouterr().out
        assert "Example: dermseg benchmark train" in said
        assert "--steps" in said
        assert main(["benchmark", "tran"]) == 2
