"""Networks, losses and longer trainings of one's own, from Python and from the command line."""

import csv
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss, FocalLoss, TverskyLoss
from PIL import Image
from toy import Tiny

import dermseg
from dermseg.cli.main import main
from dermseg.errors import ModelError, UsageError
from dermseg.formats.conversion import Reading, convert
from dermseg.settings import DataSettings, OutlineSettings, TrainingSettings
from dermseg.training import checkpoints, loop, losses, networks, plugins
from dermseg.training.loop import train
from dermseg.training.run_folder import find_members

Maker = Callable[..., TrainingSettings]
ON_CPU = DataSettings(device="cpu")
PLUGIN = """
from torch import nn
import dermseg

class Plain(nn.Module):
    def __init__(self, channels, dropout):
        super().__init__()
        self.last = nn.Conv2d(channels, 1, 5, padding=2)

    def forward(self, x):
        return self.last(x)[:, 0]

dermseg.register_network("plain", Plain)
dermseg.register_loss("brier", lambda logits, target: ((logits.sigmoid() - target) ** 2).mean())
"""


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(3, 8, 12, generator=generator)
    return logits, (torch.rand(3, 8, 12, generator=generator) > 0.5).float()


def log(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


class TestLosses:
    @pytest.mark.parametrize(
        ("name", "monai"),
        [
            ("dice", DiceLoss(sigmoid=True, smooth_nr=1, smooth_dr=1)),
            ("tversky", TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7, smooth_nr=1, smooth_dr=1)),
            ("focal", FocalLoss(gamma=2.0)),
        ],
    )
    def test_they_are_monais(self, name: str, monai: torch.nn.Module) -> None:
        logits, target = pair()
        theirs = monai(logits[:, None], target[:, None])
        torch.testing.assert_close(losses.find_loss(name)(logits, target), theirs)

    def test_sums_have_weights(self) -> None:
        logits, target = pair()
        ours = losses.find_loss("0.5*dice + 2*cross-entropy+jaccard")(logits, target)
        one, two, three = (
            losses.LOSSES[name](logits, target) for name in ("dice", "cross-entropy", "jaccard")
        )
        torch.testing.assert_close(ours, 0.5 * one + 2 * two + three)

    @pytest.mark.parametrize("text", ["", "dise", "0*dice", "x*dice", "dice+", "inf*dice"])
    def test_what_is_no_loss_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match=r"choose from cross-entropy, dice"):
            losses.find_loss(text)

    def test_an_installed_packages_loss_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def load() -> None:
            monkeypatch.setitem(losses.LOSSES, "brier", losses.focal)

        entries = {plugins.GROUP: [SimpleNamespace(name="theirs", load=load)]}
        monkeypatch.setattr(plugins, "entry_points", lambda group: entries[group])
        assert losses.find_loss("brier") is losses.focal

    def test_built_in_names_are_refused(self) -> None:
        for name in ("dice", "a+b", "2*a"):
            with pytest.raises(UsageError, match="built-in"):
                losses.register_loss(name, losses.focal)
        with pytest.raises(UsageError, match="built-in"):
            networks.register_network("lite0", networks.Lite0)

    def test_a_notebooks_cell_that_registers_can_run_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for registry in (networks.NETWORKS, networks.STRIDES, losses.LOSSES):
            monkeypatch.setitem(registry, "plain", None)  # type: ignore[arg-type]
        networks.register_network("plain", networks.UNet)
        losses.register_loss("plain", losses.focal)
        assert networks.NETWORKS["plain"] is networks.UNet
        assert losses.find_loss("plain") is losses.focal


@pytest.mark.slow
def test_a_network_of_ones_own_is_trained_exported_and_used_by_another_process(
    toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "dermseg", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    (tmp_path / "mine.py").write_text(PLUGIN)
    size = [
        "--height",
        "32",
        "--width",
        "32",
        "--batch-size",
        "4",
        "--epochs",
        "2",
        "--precision",
        "float32",
    ]
    own = ["--network", "plain", "--loss", "0.5*brier+0.5*dice", "--weight-decay", "0.01"]
    said = run("train", str(toy_data), "-o", "run", *own, *size, "--plugin", "mine.py")
    assert "to make a model file: dermseg export run -o model.onnx --plugin mine.py\n" in said
    monkeypatch.chdir(tmp_path)
    for module, name in ((networks, "NETWORKS"), (networks, "STRIDES"), (losses, "LOSSES")):
        monkeypatch.setattr(module, name, dict(getattr(module, name)))
    try:
        assert main(["export", "run", "-o", "mine.onnx", "--plugin", "mine.py"]) == 0
    finally:
        sys.modules.pop("mine", None)
    run("segment", str(toy_data / "images"), "-o", "masks", "--model", "mine.onnx")
    assert len(list((tmp_path / "masks").glob("*_segmentation.png"))) == 15


@pytest.mark.slow
def test_paths_may_be_text_or_paths(toy_data: Path, tmp_path: Path, tiny: Maker) -> None:
    names = sorted(path.stem for path in (toy_data / "images").iterdir())
    splits, cache = tmp_path / "splits.csv", tmp_path / "decoded"
    splits.write_text("\n".join(["image_id,split", *(f"{name},train" for name in names)]))
    computing = DataSettings(device="cpu", cache=str(cache))  # type: ignore[arg-type]
    for first, run in ((tmp_path / "none", tmp_path / "one"), (tmp_path / "one", tmp_path / "two")):
        given: Any = {"splits": splits, "fine_tune_from": first if first.exists() else ""}
        dermseg.train(str(toy_data), str(run), tiny(fold=None, epochs=1, **given), computing)
    assert list(cache.iterdir())
    runs, photograph = str(tmp_path / "two"), str(toy_data / "images" / f"{names[0]}.png")
    file = tmp_path / "two.onnx"
    dermseg.export_model(runs, str(file), photographs=[photograph])
    before = file.read_bytes()
    dermseg.export_model([tmp_path / "two"], file, photographs=[Path(photograph)])
    assert len(file.read_bytes()) == len(before)
    found = dermseg.evaluate(str(toy_data / "masks"), str(toy_data / "masks"))
    found.write_csv(str(tmp_path / "scores.csv"))
    found.write_json(str(tmp_path / "scores.json"))
    assert (tmp_path / "scores.csv").read_text().count("\n") == 16


def test_a_network_that_nobody_registered_is_refused_with_the_way_out(
    toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", str(toy_data), "-o", str(tmp_path / "run"), "--network", "mine"]
    assert main(command) == 2
    assert "--plugin" in capsys.readouterr().err
    assert main([*command, "--plugin", "not_there"]) == 2
    assert main([*command, "--plugin", str(tmp_path / "not_there.py")]) == 2


def test_a_network_whose_logits_have_another_shape_is_refused(
    toy_data: Path, tmp_path: Path, tiny: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """(N, 1, H, W) times (N, H, W) is (N, N, H, W): every image would learn from every mask."""

    class OneMap(Tiny):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)[:, None]

    monkeypatch.setitem(networks.NETWORKS, "tiny", OneMap)
    with pytest.raises(UsageError, match=r"\(4, 1, 32, 32\), not logits \(4, 32, 32\)"):
        train(toy_data, tmp_path / "run", tiny(fold=None, epochs=1), ON_CPU)


def test_a_finished_training_goes_on_with_more_epochs(
    toy_data: Path, tmp_path: Path, tiny: Maker
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    train(toy_data, run, tiny(epochs=1), ON_CPU)
    train(toy_data, run, tiny(epochs=3), ON_CPU)
    train(toy_data, whole, tiny(epochs=3), ON_CPU)
    assert [row["epoch"] for row in log(run)] == ["1", "2", "3"]
    one, two = (checkpoints.load(each / "weights.safetensors")[0] for each in (run, whole))
    assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(UsageError, match="3 --epochs, more than asked for"):
        train(toy_data, run, tiny(epochs=2), ON_CPU)


def test_a_longer_training_that_is_stopped_leaves_no_earlier_weights(
    toy_data: Path, tmp_path: Path, tiny: Maker
) -> None:
    run = tmp_path / "run"
    train(toy_data, run, tiny(epochs=1), ON_CPU)

    def stop(row: Any) -> None:
        if row["epoch"] == 2:  # its checkpoint is written, and the weights are not
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(toy_data, run, tiny(epochs=2), ON_CPU, callbacks=[stop])
    with pytest.raises(ModelError, match="holds no finished training"):
        find_members(run)
    train(toy_data, run, tiny(epochs=2), ON_CPU)
    assert checkpoints.load(run / "weights.safetensors")[1]["epochs"] == 2


def test_a_one_cycle_training_says_why_it_does_not_go_on(
    toy_data: Path, tmp_path: Path, tiny: Maker
) -> None:
    train(toy_data, tmp_path / "run", tiny(epochs=1, schedule="one-cycle"), ON_CPU)
    with pytest.raises(UsageError, match="falls to zero in epoch 1"):
        train(toy_data, tmp_path / "run", tiny(epochs=2, schedule="one-cycle"), ON_CPU)


def test_the_best_epoch_is_kept(toy_data: Path, tmp_path: Path, tiny: Maker) -> None:
    run = tmp_path / "run"
    train(toy_data, run, tiny(epochs=4, keep="best", learning_rate=0.3, ema_epochs=0.0), ON_CPU)
    rows = log(run)
    facts = checkpoints.load(run / "weights.safetensors")[1]
    best = max(rows, key=lambda row: float(row["held_out_jaccard"]))
    assert facts["kept_epoch"] == int(best["epoch"])
    with np.load(run / "held-out.npz") as stored:
        ids, probability = stored["image_ids"].tolist(), stored["probability"]
    scores = []
    for image_id, found in zip(ids, probability, strict=True):
        mask = np.asarray(Image.open(toy_data / "masks" / f"{image_id}_segmentation.png"))
        scores.append(dermseg.score(mask > 128, found >= 0.5).jaccard)
    assert np.mean(scores) == pytest.approx(float(best["held_out_jaccard"]), abs=0.01)


def test_the_facts_of_a_kept_epoch_are_its_own(
    toy_data: Path, tmp_path: Path, tiny: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = ({"loss": 0.5, "jaccard": jaccard, "dice": 0.5} for jaccard in (0.3, 0.9, 0.6))
    monkeypatch.setattr(loop, "_score", lambda *_: next(scores))
    train(toy_data, tmp_path / "run", tiny(epochs=3, keep="best"), ON_CPU)
    facts = checkpoints.load(tmp_path / "run" / "weights.safetensors")[1]
    assert (facts["epochs"], facts["kept_epoch"], facts["held_out_jaccard"]) == (3, 2, 0.9)
    assert facts["final_loss"] == float(log(tmp_path / "run")[1]["loss"])


def test_the_best_epoch_needs_something_to_be_scored_on(
    toy_data: Path, tmp_path: Path, tiny: Maker
) -> None:
    with pytest.raises(UsageError, match="--keep best needs --fold"):
        train(toy_data, tmp_path / "run", tiny(keep="best", fold=None), ON_CPU)


def test_a_validation_set_is_scored_after_each_epoch(
    toy_data: Path, tmp_path: Path, tiny: Maker
) -> None:
    names = sorted(path.stem for path in (toy_data / "images").iterdir())
    rows = [f"{name},{'val' if number < 4 else 'train'}" for number, name in enumerate(names)]
    (tmp_path / "splits.csv").write_text("\n".join(["image_id,split", *rows]))
    settings = tiny(fold=None, epochs=2, splits=str(tmp_path / "splits.csv"))
    train(toy_data, tmp_path / "run", settings, ON_CPU)
    assert all(0 <= float(row["held_out_dice"]) <= 1 for row in log(tmp_path / "run"))
    with np.load(tmp_path / "run" / "held-out.npz") as stored:
        assert stored["image_ids"].tolist() == names[:4]
    assert checkpoints.load(tmp_path / "run" / "weights.safetensors")[1]["images"] == 11


def test_photographs_without_labels_are_counted_once(
    toy_data: Path, tmp_path: Path, tiny: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(Reading(toy_data / "masks"), tmp_path / "yolo", "yolo", OutlineSettings())
    shutil.rmtree(toy_data / "masks")
    (tmp_path / "yolo" / "labels").rename(toy_data / "labels")
    for path in sorted((toy_data / "labels").iterdir())[:2]:
        path.unlink()
    train(toy_data, tmp_path / "run", tiny(fold=0, epochs=1), ON_CPU)
    line = "photographs without a file of labels, which have no lesion: 2\n"
    assert capsys.readouterr().err.count(line) == 1


def test_folds_of_ones_own_that_are_counted_from_1_are_told_once(
    toy_data: Path, tmp_path: Path, tiny: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(path.stem for path in (toy_data / "images").iterdir())
    rows = [f"{name},{1 + number % 3}" for number, name in enumerate(names)]
    (toy_data / "folds.csv").write_text("\n".join(["image_id,fold", *rows]))
    train(toy_data, tmp_path / "run", tiny(fold=2, folds=3, epochs=1), ON_CPU)
    line = f"folds 1, 2, 3 of the tables in {toy_data} are folds 0, 1, 2 here\n"
    assert capsys.readouterr().err.count(line) == 1
    with np.load(tmp_path / "run" / "held-out.npz") as stored:
        assert stored["image_ids"].tolist() == names[2::3]


@pytest.mark.parametrize("column", ["fold", "split"])
def test_a_split_that_leaks_is_warned_about_once(
    toy_data: Path, tmp_path: Path, tiny: Maker, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    names = sorted(path.stem for path in (toy_data / "images").iterdir())
    sides = ["0", "1", "2"] if column == "fold" else ["train", "train", "val"]
    rows = [f"{name},{sides[number // 5]},v{number // 4}" for number, name in enumerate(names)]
    (toy_data / "own.csv").write_text("\n".join([f"image_id,{column},visit", *rows]))
    twin = toy_data / "images" / f"{names[-1]}.png"
    twin.write_bytes((toy_data / "images" / f"{names[0]}.png").read_bytes())

    def told(**changes: Any) -> str:
        settings = tiny(epochs=1, folds=3, fold=0 if column == "fold" else None, **changes)
        train(toy_data, tmp_path / "-".join(["run", *changes]), settings, ON_CPU)
        return capsys.readouterr().err

    leak = "from an image of the same patient or lesion, such as "
    side = ("fold 2", "fold 1") if column == "fold" else ("the validation set",) * 2
    said = told()
    assert said.count(leak) == 1
    assert "separates 2 images" in said
    assert f"{names[0]} (near-duplicate: {names[-1]} is in {side[0]}); scores may be" in said
    said = told(group="visit")
    assert said.count(leak) == 1
    assert f"separates {10 if column == 'fold' else 6} images" in said
    with pytest.raises(UsageError, match="--group clinic: no table"):
        told(group="clinic")


def test_a_training_says_whose_images_its_folds_keep_together(
    toy_data: Path, tmp_path: Path, tiny: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(path.stem for path in (toy_data / "images").iterdir())
    rows = [f"{name},P{number // 3}" for number, name in enumerate(names)]
    (toy_data / "images" / "metadata.csv").write_text("\n".join(["isic_id,Patient ID", *rows]))
    train(toy_data, tmp_path / "run", tiny(epochs=1), ON_CPU)
    line = "folds keep together the images of 5 patients (patient_id of images/metadata.csv)\n"
    assert capsys.readouterr().err.count(line) == 1
    with np.load(tmp_path / "run" / "held-out.npz") as stored:
        assert len({names.index(image) // 3 for image in stored["image_ids"].tolist()}) == 1


def test_of_dealt_folds_nothing_is_said_where_a_validation_set_is_scored(
    toy_data: Path, tmp_path: Path, tiny: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(path.stem for path in (toy_data / "images").iterdir())
    parts = ["validation" if number > 11 else "training" for number in range(len(names))]
    rows = [
        f"{name},P{n // 3},{part}" for n, (name, part) in enumerate(zip(names, parts, strict=True))
    ]
    (toy_data / "metadata.csv").write_text("\n".join(["image_id,patient_id,split", *rows]))
    for fold, count in ((None, 0), (0, 1)):
        train(toy_data, tmp_path / f"run-{fold}", tiny(epochs=1, fold=fold), ON_CPU)
        assert capsys.readouterr().err.count("folds keep together") == count


def test_epochs_are_not_scored_on_two_validation_sets(
    toy_data: Path, tmp_path: Path, tiny: Maker
) -> None:
    names, run = sorted(path.stem for path in (toy_data / "images").iterdir()), tmp_path / "run"
    splits = tmp_path / "splits.csv"
    for count, epochs in ((4, 1), (3, 2), (0, 2), (4, 2)):
        parts = ["val"] * count + ["test"] * (4 - count) + ["train"] * (len(names) - 4)
        rows = [f"{name},{part}" for name, part in zip(names, parts, strict=True)]
        splits.write_text("\n".join(["image_id,split", *rows]))
        settings = tiny(fold=None, epochs=epochs, splits=str(splits))
        if count == 4:
            train(toy_data, run, settings, ON_CPU)
            continue
        with pytest.raises(UsageError, match="another validation set"):
            train(toy_data, run, settings, ON_CPU)
    assert [row["epoch"] for row in log(run)] == ["1", "2"]
