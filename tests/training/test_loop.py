"""The training loop: what it writes, that it learns, and that stopping it changes nothing."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from toy import Tiny, tiny_settings, write_data

from dermseg.data import datasets
from dermseg.data.layouts import find_pairs
from dermseg.errors import DataError, ModelError, UsageError
from dermseg.settings import AugmentationSettings, DataSettings, TrainingSettings
from dermseg.storage.files import occupied
from dermseg.training import checkpoints, following, loop, networks
from dermseg.training.color import ColorChannels
from dermseg.training.loop import train
from dermseg.training.losses import LOSSES
from dermseg.training.trainer import Trainer

pytestmark = pytest.mark.slow

Maker = Callable[..., TrainingSettings]
ON_CPU = DataSettings(device="cpu")
NO_CHANGE = AugmentationSettings(flip=False, rotation=0, scale=0, shift=0, contrast=0)


def weights(run: Path) -> dict[str, Tensor]:
    return checkpoints.load(run / "weights.safetensors")[0]


def log(run: Path) -> list[dict[str, str]]:
    """Return the rows of log.csv, but for what the clock says."""
    with (run / "log.csv").open(newline="") as handle:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(handle)]


def held_out(run: Path) -> tuple[list[str], NDArray[np.float16]]:
    with np.load(run / "held-out.npz") as file:
        return list(file["image_ids"]), file["probability"]


def assert_same_bits(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


class TestTrainSmoke:
    def test_cdnn29_learns_the_toy_data(
        self, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain_save = checkpoints.save

        def save(path: Path, *content: Any) -> None:
            if path.name == "weights.safetensors":  # 60 MB of checkpoint an epoch prove nothing
                plain_save(path, *content)

        monkeypatch.setattr(checkpoints, "save", save)
        settings = TrainingSettings(
            height=32,
            width=32,
            epochs=6,
            batch_size=5,
            augmentation=NO_CHANGE,
            precision="float32",
            learning_rate=0.001,
        )
        train(toy_data, tmp_path / "run", settings, ON_CPU)
        losses = [float(row["loss"]) for row in log(tmp_path / "run")]
        assert losses[-1] < 0.75 * losses[0]
        network = networks.build("cdnn29", 7, 0.5)
        network.load_state_dict(weights(tmp_path / "run"))

    @pytest.mark.parametrize("channels", ["rgb", "rgb-hsv-l"])
    @pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
    def test_channels_and_precisions_run(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, channels: str, precision: str
    ) -> None:
        settings = tiny(channels=channels, precision=precision, epochs=1)
        train(toy_data, tmp_path / "run", settings, ON_CPU)
        for name, tensor in weights(tmp_path / "run").items():
            assert tensor.dtype in (torch.float32, torch.int64), name
            assert tensor.isfinite().all(), name


def trained_once(
    folder: Path, run: str, settings: TrainingSettings, computing: DataSettings = ON_CPU
) -> Path:
    """Train the small network in a folder, for several tests; return the folder of the run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.NETWORKS, "tiny", Tiny)
        train(write_data(folder / "data"), folder / run, settings, computing)
    return folder / run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run with the usual settings; no test changes it."""
    return trained_once(tmp_path_factory.mktemp("finished"), "run", tiny_settings())


@pytest.mark.usefixtures("tiny")
class TestTrainFeatures:
    def test_folds_by_source_hold_out_all_photographs_of_a_size(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, capsys: pytest.CaptureFixture[str]
    ) -> None:
        photographs = sorted((toy_data / "images").iterdir())
        for path in photographs[::3]:
            for file in (path, toy_data / "masks" / f"{path.stem}_segmentation.png"):
                with Image.open(file) as image:
                    image.resize((48, 32)).save(file)
        settings = tiny(epochs=1, folds=2, folds_by="source")
        train(toy_data, tmp_path / "run", settings, ON_CPU)
        fold_of = json.loads((tmp_path / "run" / "folds.json").read_text())
        wide = {fold_of[path.stem] for path in photographs[::3]}
        square = set(fold_of.values()) - wide
        assert len(wide) == len(square) == 1
        assert list(fold_of.values()).count(*wide) == 5
        assert "sources" in capsys.readouterr().err

    def test_it_learns(self, toy_data: Path, tmp_path: Path, tiny: Maker) -> None:
        settings = tiny(epochs=30, learning_rate=0.02, dropout=0.0)
        train(toy_data, tmp_path / "run", settings, ON_CPU)
        rows = log(tmp_path / "run")
        assert float(rows[-1]["loss"]) < 0.5 * float(rows[0]["loss"])
        assert float(rows[-1]["held_out_jaccard"]) > 0.8

    def test_it_leaves_what_it_promises_and_nothing_else(self, run: Path) -> None:
        assert sorted(path.name for path in run.iterdir()) == [
            ".lock",
            "cache",
            "checkpoint.safetensors",
            "folds.json",
            "held-out.npz",
            "log.csv",
            "progress.html",
            "samples.npy",
            "settings.json",
            "weights.safetensors",
        ]

    def test_settings_and_folds_are_readable(self, run: Path, tiny: Maker) -> None:
        written = json.loads((run / "settings.json").read_text())["settings"]
        assert written.pop("augmentation") == vars(AugmentationSettings())
        expected = vars(tiny()).copy()
        del expected["augmentation"]
        assert written == expected
        fold_of = json.loads((run / "folds.json").read_text())
        assert list(fold_of) == [f"ISIC_{number:07}" for number in range(15)]
        assert sorted(fold_of.values()) == sorted(list(range(5)) * 3)

    def test_samples_are_the_images_that_were_trained_on(self, run: Path, toy_data: Path) -> None:
        samples = np.load(run / "samples.npy")
        assert (samples.shape, samples.dtype) == ((12, 32, 32, 3), np.uint8)
        files = sorted((toy_data / "images").iterdir())
        trained_on = [path for path in files if path.stem not in held_out(run)[0]]
        known = {np.asarray(Image.open(path)).tobytes() for path in trained_on}
        assert {sample.tobytes() for sample in samples} == known

    def test_the_log_has_a_row_an_epoch(self, run: Path) -> None:
        rows = log(run)
        assert [row["epoch"] for row in rows] == ["1", "2", "3"]
        assert list(rows[0]) == [
            "epoch",
            "learning_rate",
            "loss",
            "held_out_loss",
            "held_out_jaccard",
            "held_out_dice",
        ]
        assert all(0 < float(row["loss"]) < 1 for row in rows)
        assert all(0 <= float(row["held_out_jaccard"]) <= 1 for row in rows)

    def test_weights_come_with_what_a_model_card_says(self, run: Path) -> None:
        facts = checkpoints.load(run / "weights.safetensors")[1]
        assert facts["settings"]["network"] == "tiny"
        assert facts["images"] == 12
        assert facts["epochs"] == 3
        assert facts["final_loss"] == float(log(run)[-1]["loss"])
        assert facts["held_out_jaccard"] == float(log(run)[-1]["held_out_jaccard"])
        assert facts["precision"] == "float32"

    def test_held_out_probabilities_are_those_of_the_weights(
        self, run: Path, toy_data: Path
    ) -> None:
        fold_of = json.loads((run / "folds.json").read_text())
        names, probability = held_out(run)
        assert names == [name for name, fold in fold_of.items() if fold == 0]
        assert probability.dtype == np.float16
        network = networks.build("tiny", 7, 0.5).eval()
        network.load_state_dict(weights(run))
        overlaps = []
        for name, found in zip(names, probability, strict=True):
            pixels = np.asarray(Image.open(toy_data / "images" / f"{name}.png"))
            rgb = torch.from_numpy(pixels.transpose(2, 0, 1)[None] / np.float32(255))
            with torch.inference_mode():
                expected = network(ColorChannels("rgb-hsv-l")(rgb)).sigmoid()[0]
            torch.testing.assert_close(torch.from_numpy(found).float(), expected, atol=1e-3, rtol=0)
            path = toy_data / "masks" / f"{name}_segmentation.png"
            truth = np.asarray(Image.open(path)) > 128
            cut = expected.numpy() >= 0.5
            overlaps.append((cut & truth).sum() / (cut | truth).sum())
        assert float(log(run)[-1]["held_out_jaccard"]) == pytest.approx(np.mean(overlaps), abs=2e-3)

    def test_the_weights_are_the_averaged_ones(self, run: Path) -> None:
        tensors = checkpoints.load(run / "checkpoint.safetensors")[0]
        final = weights(run)
        assert_same_bits(
            final,
            {
                name.removeprefix("module."): tensor
                for name, tensor in checkpoints.under("average", tensors).items()
                if name.startswith("module.")
            },
        )
        last = checkpoints.under("network", tensors)
        assert any(not torch.equal(final[name], last[name]) for name in last)

    def test_held_out_images_are_never_trained_on_and_the_others_once_an_epoch(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[list[bytes]] = []
        plain_epoch, plain_load = Trainer.train_epoch, Trainer.load

        def train_epoch(self: Trainer, *rest: Any) -> float:
            seen.append([])
            return plain_epoch(self, *rest)

        def load(self: Trainer, *which: Any) -> tuple[Any, ...]:
            loaded = plain_load(self, *which)
            seen[-1] += [image.numpy().tobytes() for image in loaded[1]]
            return loaded

        monkeypatch.setattr(Trainer, "train_epoch", train_epoch)
        monkeypatch.setattr(Trainer, "load", load)
        run = tmp_path / "run"
        train(toy_data, run, tiny(fold=2), ON_CPU)

        cache = datasets.open_cache(
            find_pairs(toy_data), 32, 32, run / "cache", allow_resized=False
        )
        fold_of = json.loads((run / "folds.json").read_text())
        allowed = {
            cache.images[i].tobytes()
            for i, name in enumerate(cache.image_ids)
            if fold_of[name] != 2
        }
        assert len(seen) == 3
        for images in seen:
            assert len(images) == 12
            assert set(images) == allowed
        assert seen[0] != seen[1] != seen[2]

    def test_without_a_fold_everything_is_trained_on(
        self, toy_data: Path, tmp_path: Path, tiny: Maker
    ) -> None:
        run = tmp_path / "run"
        train(toy_data, run, tiny(fold=None, epochs=1), ON_CPU)
        assert not (run / "held-out.npz").exists()
        assert "held_out_jaccard" not in log(run)[0]
        facts = checkpoints.load(run / "weights.safetensors")[1]
        assert facts["images"] == 15
        assert facts["held_out_jaccard"] is None

    def test_the_first_epochs_run_at_the_early_size(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes = []
        plain_loss = LOSSES["jaccard"]

        def loss(logits: Tensor, target: Tensor) -> Tensor:
            assert logits.shape == target.shape
            sizes.append(tuple(target.shape[1:]))
            return plain_loss(logits, target)

        monkeypatch.setitem(LOSSES, "jaccard", loss)
        settings = tiny(early_epochs=2, early_height=16, early_width=32)
        train(toy_data, tmp_path / "run", settings, ON_CPU)
        assert sizes == [*[(16, 32)] * 3, (32, 32)] * 2 + [(32, 32)] * 4
        assert held_out(tmp_path / "run")[1].shape[1:] == (32, 32)

    def test_the_seed_decides_everything(
        self, run: Path, toy_data: Path, tmp_path: Path, tiny: Maker
    ) -> None:
        torch.manual_seed(99)
        train(toy_data, tmp_path / "again", tiny(), ON_CPU)
        train(toy_data, tmp_path / "other", tiny(seed=1), ON_CPU)
        assert_same_bits(weights(run), weights(tmp_path / "again"))
        assert not torch.equal(
            weights(run)["layers.1.0.weight"], weights(tmp_path / "other")["layers.1.0.weight"]
        )

    @pytest.mark.parametrize(
        "changes",
        [{"dropout": 0.0}, {"augmentation": NO_CHANGE}, {"ema_epochs": 0.0}],
        ids=["dropout", "augmentation", "averaging"],
    )
    def test_dropout_augmentation_and_averaging_are_at_work(
        self, run: Path, toy_data: Path, tmp_path: Path, tiny: Maker, changes: dict[str, Any]
    ) -> None:
        """Or the tests of resuming would prove little."""
        train(toy_data, tmp_path / "without", tiny(**changes), ON_CPU)
        one, other = weights(run), weights(tmp_path / "without")
        assert not torch.equal(one["layers.1.0.weight"], other["layers.1.0.weight"])


class Killed(BaseException):
    """Stands for a training that was killed."""


def killing(function: Callable[..., Any], call: int, *, before: bool) -> Callable[..., Any]:
    """Return `function`, which dies before or after its call number `call`."""
    calls = 0

    def killer(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and before:
            raise Killed
        result = function(*arguments, **options)
        if calls == call:
            raise Killed
        return result

    return killer


CHANGING: dict[str, Any] = {
    "schedule": "one-cycle",
    "early_epochs": 1,
    "early_height": 16,
    "early_width": 16,
}
"""Settings with which no epoch is like another."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data, their cache, and a run that no one killed; no test changes it."""
    folder = tmp_path_factory.mktemp("undisturbed")
    computing = DataSettings(device="cpu", cache=folder / "cache")
    return trained_once(folder, "whole", tiny_settings(**CHANGING), computing).parent


class TestResuming:
    @pytest.mark.parametrize(
        ("owner", "name", "call", "before"),
        [
            (Trainer, "train_step", 1, True),
            (Trainer, "train_step", 5, False),
            (checkpoints, "save", 1, True),
            (checkpoints, "save", 1, False),
            (checkpoints, "save", 2, False),
            (checkpoints, "save", 3, False),
            (following, "write_log", 1, False),
            (loop, "write_held_out", 1, True),
            (checkpoints, "save", 4, True),
        ],
        ids=[
            "before the first step",
            "amid the second epoch",
            "before the first checkpoint",
            "after the first checkpoint",
            "after the second checkpoint",
            "after the last checkpoint",
            "after the first line of the log",
            "before the predictions",
            "before the weights",
        ],
    )
    def test_a_killed_training_ends_as_if_nothing_had_happened(
        self,
        undisturbed: Path,
        tmp_path: Path,
        tiny: Maker,
        owner: Any,
        name: str,
        call: int,
        before: bool,
    ) -> None:
        data, whole, killed = undisturbed / "data", undisturbed / "whole", tmp_path / "killed"
        settings = tiny(**CHANGING)
        computing = DataSettings(device="cpu", cache=undisturbed / "cache")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, killing(getattr(owner, name), call, before=before))
            with pytest.raises(Killed):
                train(data, killed, settings, computing)
        assert not (killed / "weights.safetensors").exists()
        torch.manual_seed(12345)
        torch.rand(7)
        train(data, killed, settings, computing)

        assert_same_bits(weights(whole), weights(killed))
        assert log(whole) == log(killed)
        names, probability = held_out(killed)
        assert names == held_out(whole)[0]
        assert np.array_equal(probability, held_out(whole)[1])
        one, other = (
            checkpoints.load(each / "checkpoint.safetensors")[0] for each in (whole, killed)
        )
        assert_same_bits(one, other)

    def test_cdnn29_too(self, toy_data: Path, tmp_path: Path) -> None:
        settings = TrainingSettings(
            height=16,
            width=32,
            epochs=2,
            batch_size=6,
            fold=0,
            ema_epochs=1,
            precision="float32",
        )
        train(toy_data, tmp_path / "whole", settings, ON_CPU)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoints, "save", killing(checkpoints.save, 1, before=False))
            with pytest.raises(Killed):
                train(toy_data, tmp_path / "killed", settings, ON_CPU)
        train(toy_data, tmp_path / "killed", settings, ON_CPU)
        assert_same_bits(weights(tmp_path / "whole"), weights(tmp_path / "killed"))

    def test_finished_epochs_are_not_run_again(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoints, "save", killing(checkpoints.save, 2, before=False))
            with pytest.raises(Killed):
                train(toy_data, tmp_path / "run", tiny(), ON_CPU)
        epochs = []
        plain_epoch = Trainer.train_epoch

        def train_epoch(self: Trainer, *rest: Any) -> float:
            epochs.append(self.epochs_done)
            return plain_epoch(self, *rest)

        monkeypatch.setattr(Trainer, "train_epoch", train_epoch)
        train(toy_data, tmp_path / "run", tiny(), ON_CPU)
        assert epochs == [2]

    def test_a_training_from_before_a_setting_existed_goes_on(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = tmp_path / "run"
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "save", killing(checkpoints.save, 1, before=False))
            with pytest.raises(Killed):
                train(toy_data, run, tiny(), ON_CPU)
        tensors, facts = checkpoints.load(run / "checkpoint.safetensors")
        del facts["settings"]["augmentation"]["color"]
        checkpoints.save(run / "checkpoint.safetensors", tensors, facts)
        train(toy_data, run, tiny(), ON_CPU)
        assert len(log(run)) == tiny().epochs

    def test_a_finished_training_stays_as_it_is(
        self, toy_data: Path, tmp_path: Path, tiny: Maker
    ) -> None:
        train(toy_data, tmp_path / "run", tiny(), ON_CPU)
        before, rows = weights(tmp_path / "run"), log(tmp_path / "run")
        train(toy_data, tmp_path / "run", tiny(), ON_CPU)
        assert_same_bits(before, weights(tmp_path / "run"))
        assert rows == log(tmp_path / "run")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data, their cache, and a run of an epoch, which no test changes."""
    folder = tmp_path_factory.mktemp("begun")
    computing = DataSettings(device="cpu", cache=folder / "cache")
    return trained_once(folder, "run", tiny_settings(epochs=1), computing).parent


class TestTrainExceptions:
    @pytest.mark.parametrize(
        "changes",
        [
            {"seed": 1},
            {"fold": 1},
            {"learning_rate": 0.01},
            {"height": 16},
            {"ema_epochs": 0.0},
            {"augmentation": NO_CHANGE},
            {"network": "cdnn29"},
        ],
        ids=str,
    )
    def test_a_folder_with_other_settings_is_refused_and_left_alone(
        self, begun: Path, tiny: Maker, changes: dict[str, Any]
    ) -> None:
        run, computing = begun / "run", DataSettings(device="cpu", cache=begun / "cache")
        before = {path: path.read_bytes() for path in run.iterdir()}
        with pytest.raises(UsageError, match="other settings"):
            train(begun / "data", run, tiny(**{"epochs": 1, **changes}), computing)
        assert {path: path.read_bytes() for path in run.iterdir()} == before

    def test_images_that_have_changed_their_folds_are_not_gone_on_with(
        self, toy_data: Path, tmp_path: Path, tiny: Maker
    ) -> None:
        """Else those already trained on would be scored as if they had not been seen."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoints, "save", killing(checkpoints.save, 1, before=False))
            with pytest.raises(Killed):
                train(toy_data, tmp_path / "run", tiny(), ON_CPU)
        before = (tmp_path / "run" / "folds.json").read_text()
        images = sorted(path.stem for path in (toy_data / "images").iterdir())
        rows = [f"{image},{number % 2}.0,0.0" for number, image in enumerate(images)]
        table = toy_data / "ISIC-2017_Training_Part3_GroundTruth.csv"
        table.write_text("\n".join(["image_id,melanoma,seborrheic_keratosis", *rows]))
        with pytest.raises(UsageError, match="in other folds now"):
            train(toy_data, tmp_path / "run", tiny(), ON_CPU)
        assert (tmp_path / "run" / "folds.json").read_text() == before
        table.unlink()
        train(toy_data, tmp_path / "run", tiny(), ON_CPU)

    def test_a_folder_with_a_training_of_other_data_is_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker
    ) -> None:
        train(toy_data, tmp_path / "run", tiny(epochs=1), ON_CPU)
        path = toy_data / "images" / "ISIC_0000003.png"
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        with pytest.raises(UsageError, match="of other data"):
            train(toy_data, tmp_path / "run", tiny(epochs=1), ON_CPU)

    @pytest.mark.parametrize(
        "changes",
        [
            {"height": 40},
            {"width": 100},
            {"height": 0},
            {"width": -16},
            {"early_epochs": 1, "early_height": 24, "early_width": 32},
        ],
        ids=str,
    )
    def test_sizes_that_the_poolings_do_not_divide_are_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(UsageError, match="multiples of 16"):
            train(toy_data, tmp_path / "run", tiny(**changes), ON_CPU)
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("changes", [{}, {"early_height": 16}, {"early_width": 16}])
    def test_early_epochs_without_a_size_are_refused(
        self, tiny: Maker, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(UsageError, match="needs --early-height and --early-width"):
            tiny(early_epochs=1, **changes)

    @pytest.mark.parametrize("fold", [-1, 5, 99])
    def test_a_fold_that_is_not_there_is_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, fold: int
    ) -> None:
        with pytest.raises(UsageError, match=f"--fold {fold}: choose from 0 to 4"):
            train(toy_data, tmp_path / "run", tiny(fold=fold), ON_CPU)

    @pytest.mark.parametrize(
        "changes",
        [
            {"epochs": 0},
            {"epochs": -1},
            {"batch_size": 0},
            {"batch_size": -4},
            {"folds": 0, "fold": None},
            {"dropout": 1.0},
            {"dropout": -0.1},
            {"learning_rate": -1.0},
            {"network": "cdnn30"},
            {"channels": "lab"},
            {"schedule": "cosine"},
            {"precision": "float16"},
            {"epochs": 2, "early_epochs": 2, "early_height": 16, "early_width": 16},
        ],
        ids=str,
    )
    def test_settings_that_make_no_sense_are_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, changes: dict[str, Any]
    ) -> None:
        with pytest.raises(UsageError):
            train(toy_data, tmp_path / "run", tiny(**changes), ON_CPU)

    def test_a_folder_in_which_another_process_trains_is_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker
    ) -> None:
        with occupied(tmp_path / "run"):
            with pytest.raises(UsageError, match="another process is working here"):
                train(toy_data, tmp_path / "run", tiny(epochs=1), ON_CPU)
            assert not (tmp_path / "run" / "settings.json").exists()
        train(toy_data, tmp_path / "run", tiny(epochs=1), ON_CPU)

    def test_fewer_images_than_a_batch_are_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker
    ) -> None:
        with pytest.raises(DataError, match="12 training images do not fill a batch of 13"):
            train(toy_data, tmp_path / "run", tiny(batch_size=13), ON_CPU)

    def test_no_gpu_is_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(UsageError, match="no usable NVIDIA GPU"):
            train(toy_data, tmp_path / "run", tiny(), DataSettings(device="cuda"))
        assert not (tmp_path / "run").exists()

    def test_unusable_data_are_refused(self, tmp_path: Path, tiny: Maker) -> None:
        with pytest.raises(DataError, match="nowhere"):
            train(tmp_path / "nowhere", tmp_path / "run", tiny(), ON_CPU)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that learnt something, as fold 0 of a protocol; tests have copies."""
    settings = tiny_settings(epochs=12, learning_rate=0.02)
    return trained_once(tmp_path_factory.mktemp("made"), "first/fold-0", settings, DataSettings())


class TestStartingFromAnotherTraining:
    @pytest.fixture
    def first(self, made: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(made, tmp_path / "first" / "fold-0"))

    def test_it_begins_where_the_other_ended(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, first: Path
    ) -> None:
        for name, start in (("again", first), ("new", "")):
            settings = tiny(epochs=1, fine_tune_from=str(start), learning_rate=1e-9)
            train(toy_data, tmp_path / name, settings)
        again, new = (float(log(tmp_path / name)[0]["loss"]) for name in ("again", "new"))
        assert again < 0.8 * new
        old, new = weights(first), weights(tmp_path / "again")
        for name, tensor in old.items():
            if "running" not in name and "tracked" not in name:
                torch.testing.assert_close(new[name], tensor, atol=1e-6, rtol=0)

    def test_what_it_began_with_stays_known_when_it_is_stopped_and_gone_on_with(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, first: Path
    ) -> None:
        settings = tiny(fine_tune_from=str(first))
        train(toy_data, tmp_path / "whole", settings)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoints, "save", killing(checkpoints.save, 2, before=False))
            with pytest.raises(Killed):
                train(toy_data, tmp_path / "halves", settings)
        (first / "weights.safetensors").rename(tmp_path / "away")
        train(toy_data, tmp_path / "halves", settings)
        assert_same_bits(weights(tmp_path / "halves"), weights(tmp_path / "whole"))
        for run in ("whole", "halves"):
            facts = checkpoints.load(tmp_path / run / "weights.safetensors")[1]
            assert facts["epochs"] == 3
            assert facts["fine_tuned_from"]["epochs"] == 12
            assert facts["fine_tuned_from"]["settings"]["learning_rate"] == 0.02

    def test_a_protocols_fold_starts_from_the_others_same_fold(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, first: Path
    ) -> None:
        train(toy_data, tmp_path / "run", tiny(epochs=1, fine_tune_from=str(first.parent)))
        facts = checkpoints.load(tmp_path / "run" / "weights.safetensors")[1]
        assert facts["fine_tuned_from"]["epochs"] == 12
        with pytest.raises(ModelError, match=r"fold-1: holds no finished training"):
            train(toy_data, tmp_path / "other", tiny(fold=1, fine_tune_from=str(first.parent)))

    @pytest.mark.parametrize("fold", [1, 4])
    def test_weights_that_saw_what_is_held_out_are_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, first: Path, fold: int
    ) -> None:
        with pytest.raises(DataError, match="trained on 3 of the 3 images"):
            train(toy_data, tmp_path / "run", tiny(fold=fold, fine_tune_from=str(first)))
        assert not (tmp_path / "run" / "weights.safetensors").exists()
        train(toy_data, tmp_path / "all", tiny(fold=None, epochs=1, fine_tune_from=str(first)))
        with pytest.raises(DataError, match="trained on 3 of the 3 images"):
            train(toy_data, tmp_path / "run2", tiny(fine_tune_from=str(tmp_path / "all")))

    def test_weights_that_saw_the_validation_set_are_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker
    ) -> None:
        names = sorted(path.stem for path in (toy_data / "images").iterdir())
        rows = [f"{name},{'val' if number < 4 else 'train'}" for number, name in enumerate(names)]
        (tmp_path / "splits.csv").write_text("\n".join(["image_id,split", *rows]))
        train(toy_data, tmp_path / "all", tiny(fold=None, epochs=1), ON_CPU)
        settings = tiny(
            fold=None,
            epochs=1,
            splits=str(tmp_path / "splits.csv"),
            fine_tune_from=str(tmp_path / "all"),
        )
        with pytest.raises(DataError, match=r"4 of the 4 images.*out of the validation set"):
            train(toy_data, tmp_path / "run", settings, ON_CPU)

    def test_another_networks_weights_are_refused(
        self, toy_data: Path, tmp_path: Path, tiny: Maker, first: Path
    ) -> None:
        settings = tiny(network="cdnn19", epochs=1, fine_tune_from=str(first))
        with pytest.raises(UsageError, match="another network's"):
            train(toy_data, tmp_path / "run", settings)


def test_fewer_channels_take_over_the_first_ones() -> None:
    seven, three = (networks.build("lite0", channels, 0.5) for channels in (7, 3))
    given = seven.state_dict()
    del given["output.bias"]
    assert networks.take_over(three, given) == ["output.bias"]
    for name, tensor in three.state_dict().items():
        if name == "encoder.stem.0.weight":
            assert torch.equal(tensor, given[name][:, :3])
        elif name in given:
            assert torch.equal(tensor, given[name]), name
    # And the other way there is nothing that further channels could start from.
    assert networks.take_over(seven, three.state_dict()) == ["encoder.stem.0.weight"]


@pytest.mark.parametrize("why", ["near-duplicates", "one patient"])
def test_images_that_all_share_a_fold_are_told_so(tmp_path: Path, tiny: Maker, why: str) -> None:
    chance = np.random.default_rng(0)
    lesion = chance.integers(0, 255, (48, 64, 3)).astype(np.uint8)
    for number in range(8):
        if why == "one patient":
            lesion = chance.integers(0, 255, (48, 64, 3)).astype(np.uint8)
        for folder, pixels in (
            ("images", lesion),
            ("masks", (lesion[..., 0] > 99) * np.uint8(255)),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    rows = "".join(f"{number},P1\n" for number in range(8)) if why == "one patient" else ""
    (tmp_path / "who.csv").write_text(f"image_id,patient_id\n{rows}")
    with pytest.raises(DataError, match=r"all 8 images share fold 0.*nothing is left to train on"):
        train(tmp_path, tmp_path / "run", tiny(fold=0))
