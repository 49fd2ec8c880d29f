"""Five folds and one model on everything, as one command."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from toy import Tiny, tiny_settings, write_data

from dermseg.cli.main import main
from dermseg.data.layouts import find_pairs
from dermseg.errors import UsageError
from dermseg.evaluation.maps import evaluate_maps
from dermseg.evaluation.scoring import evaluate
from dermseg.imaging.mask_files import write_mask
from dermseg.masks.postprocess import binarise, choose_lesion
from dermseg.settings import PROTOCOLS, ScoringSettings, ThresholdSettings, TrainingSettings
from dermseg.training import loop, networks, protocol
from dermseg.training.protocol import train_protocol
from dermseg.training.run_folder import read_held_out

pytestmark = pytest.mark.slow

Maker = Callable[..., TrainingSettings]
NAMES = ["fold-0", "fold-1", "fold-2", "fold-3", "fold-4", "all"]


def table(output: Path) -> list[dict[str, str]]:
    with (output / "members.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train once, on what `toy_data` is a copy of."""
    folder = tmp_path_factory.mktemp("made")
    settings = tiny_settings(fold=None, epochs=12, learning_rate=0.02, dropout=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(networks.NETWORKS, "tiny", Tiny)
        train_protocol(write_data(folder / "data"), folder / "out", settings)
    return folder / "out"


@pytest.fixture
def done(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "out"))


def test_every_image_is_predicted_by_the_member_that_had_not_seen_it(done: Path) -> None:
    assert sorted(p.name for p in done.iterdir()) == sorted(
        [*NAMES, "cache", "members.csv", "out-of-fold.csv", "out-of-fold.json"]
    )
    fold_of = json.loads((done / "all" / "folds.json").read_text())
    assert sorted(read_held_out(done)) == sorted(fold_of)
    for fold in range(5):
        assert json.loads((done / f"fold-{fold}" / "folds.json").read_text()) == fold_of
        held_out = read_held_out(done / f"fold-{fold}")
        assert sorted(held_out) == sorted(name for name, f in fold_of.items() if f == fold)


def test_the_table_says_what_evaluate_says(done: Path, toy_data: Path, tmp_path: Path) -> None:
    rows = table(done)
    styles = ["out of fold, traced", "out of fold, semi-automatic"]
    assert [row["member"] for row in rows] == [*NAMES, "out of fold", *styles]
    assert sum(int(row["images"] or 0) for row in rows[-2:]) <= int(rows[-3]["images"])
    assert rows[5]["jaccard"] == ""
    for name, probability in read_held_out(done).items():
        settings = ThresholdSettings()
        mask, _ = binarise(choose_lesion(probability, settings), 32, 32, settings)
        write_mask(tmp_path / "masks" / f"{name}.png", mask)
    expected = evaluate(toy_data / "masks", tmp_path / "masks").mean
    assert rows[6]["images"] == "15"
    assert float(rows[6]["jaccard"]) == pytest.approx(expected.jaccard, abs=1e-5)
    assert float(rows[6]["specificity"]) == pytest.approx(expected.specificity, abs=1e-5)
    folds = [float(row["jaccard"]) * int(row["images"]) for row in rows[:5]]
    assert sum(folds) / 15 == pytest.approx(expected.jaccard, abs=1e-4)
    assert expected.jaccard > 0.3, "networks that learnt nothing would prove little"


def test_rule_thresholds_and_style_say_what_is_scored(done: Path, toy_data: Path) -> None:
    names = [f"ISIC_{number:07}" for number in range(15)]
    rows = [f"{name},{'traced' if n < 6 else 'semi-automatic'}" for n, name in enumerate(names)]
    (toy_data / "mine.csv").write_text("image_id,style\n" + "\n".join(rows))
    pairs = {pair.image_id: pair for pair in find_pairs(toy_data)}
    thresholds = ThresholdSettings("paper", 0.7, 0.4)
    protocol.report(toy_data, done, ScoringSettings(thresholds))
    by_rule = table(done)
    expected = evaluate_maps(read_held_out(done), pairs, thresholds).mean
    assert float(by_rule[6]["jaccard"]) == pytest.approx(expected.jaccard, abs=1e-5)
    protocol.report(toy_data, done, ScoringSettings(thresholds, "traced"))
    row = next(row for row in by_rule if row["member"] == "out of fold, traced")
    assert row["images"] == "6"
    for column in ("images", "jaccard", "sensitivity"):
        assert table(done)[6][column] == row[column]
    assert sum(int(row["images"] or 0) for row in table(done)[:5]) == 6


def test_what_says_how_to_score_needs_a_protocol(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(tmp_path), "-o", str(tmp_path / "out"), "--rule", "paper"]) == 2
    assert "--protocol" in capsys.readouterr().err


def test_members_can_be_trained_one_by_one(
    toy_data: Path, tmp_path: Path, tiny: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_protocol(toy_data, tmp_path, tiny(fold=3, epochs=1))
    assert (tmp_path / "fold-3" / "weights.safetensors").is_file()
    assert not (tmp_path / "fold-0").exists()
    assert not (tmp_path / "members.csv").exists()
    said: list[str] = []
    monkeypatch.setattr(loop, "say", said.append)
    train_protocol(toy_data, tmp_path, tiny(fold=None, epochs=1))
    assert sum("finished already" in message for message in said) == 1
    assert len(table(tmp_path)) == 9


def test_what_holds_for_all_members_is_said_once(
    toy_data: Path, tmp_path: Path, tiny: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(path.stem for path in (toy_data / "images").iterdir())
    rows = [f"{name},P{number // 2}" for number, name in enumerate(names)]
    (toy_data / "metadata.csv").write_text("\n".join(["image_id,patient_id", *rows]))
    given = tiny()
    size = ["--height", str(given.height), "--width", str(given.width), "--early-epochs", "0"]
    options = ["--network", "tiny", "--epochs", "1", "--batch-size", str(given.batch_size), *size]
    for output in ("one", "another"):
        command = ["train", str(toy_data), "-o", str(tmp_path / output), "--protocol", "short"]
        assert main([*command, *options]) == 0
        said = capsys.readouterr().err
        assert said.count("Training tiny") == 6
        assert said.count("folds keep together") == 1


def test_a_best_epoch_that_cannot_be_chosen_is_refused_before_a_fold_is_trained(
    toy_data: Path, tmp_path: Path, tiny: Maker
) -> None:
    with pytest.raises(UsageError, match="--keep best needs"):
        train_protocol(toy_data, tmp_path / "out", tiny(fold=None, keep="best"))
    assert not (tmp_path / "out").exists()


def test_the_named_protocols() -> None:
    assert PROTOCOLS["paper"] == TrainingSettings(precision="float32")
    short = PROTOCOLS["short"]
    assert (short.network, short.fold, short.folds) == ("cdnn29", None, 5)
    assert short.epochs < 100
    assert PROTOCOLS["pretrained"].network == "lite0"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--protocol", "paper"], TrainingSettings(precision="float32")),
        (["--protocol", "short"], PROTOCOLS["short"]),
        (["--protocol", "pretrained"], PROTOCOLS["pretrained"]),
        (["--protocol", "short", "--epochs", "600"], {"epochs": 600}),
        (["--epochs", "7", "--protocol=short", "--fold", "2"], {"epochs": 7, "fold": 2}),
        (["--protocol", "short", "--schedule", "constant"], {"schedule": "constant"}),
    ],
)
def test_options_change_a_protocols_settings(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    expected: TrainingSettings | dict[str, object],
) -> None:
    """Also options that happen to name the default of a training without a protocol."""
    given: list[TrainingSettings] = []
    monkeypatch.setattr(protocol, "train_protocol", lambda _, __, s, *___, **____: given.append(s))
    assert main(["train", str(tmp_path), "-o", str(tmp_path / "out"), *arguments]) == 0
    if isinstance(expected, dict):
        expected = TrainingSettings(**{**vars(PROTOCOLS["short"]), **expected})
    assert given == [expected]


def test_an_unknown_protocol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path), "-o", str(tmp_path), "--protocol", "papre"]) == 2
    assert "short" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
