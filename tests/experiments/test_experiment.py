"""Experiments from end to end, on toy data."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dermseg.batch.jobs import find_jobs
from dermseg.batch.run import segment_all
from dermseg.data.layouts import find_pairs
from dermseg.errors import DataError, ModelError, UsageError
from dermseg.evaluation.maps import binariser, evaluate_maps, read_styles
from dermseg.evaluation.scoring import evaluate
from dermseg.experiments import findings, ledger, scoring, thresholds
from dermseg.experiments.registry import EXPERIMENTS, NO_KIND, Experiment, find_experiment
from dermseg.experiments.report import describe
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.metrics import METRICS
from dermseg.settings import (
    AugmentationSettings,
    BatchSettings,
    ScoringSettings,
    ThresholdSettings,
    TrainingSettings,
)
from dermseg.training import checkpoints, loop
from dermseg.training.protocol import train_protocol
from dermseg.training.run_folder import read_held_out

pytestmark = pytest.mark.slow

Run = Callable[..., Path]
TRACED = ScoringSettings(style="traced")


def table(page: Path) -> list[dict[str, str]]:
    with page.with_suffix(".csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def facts(page: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(page.with_suffix(".json").read_text())
    return content


def lines(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what forbids every epoch of training and every scoring from there on."""

    def forbid() -> None:
        def fail(*_: object, **__: object) -> None:
            raise AssertionError("done twice")

        for module, name in (
            (loop, "_run_epoch"),
            (scoring, "score_maps"),
            (scoring, "segment_all"),
            (scoring, "export_model"),
            (ledger, "append"),
        ):
            monkeypatch.setattr(module, name, fail)

    return forbid


def test_a_toy_experiment(done: Path, tmp_path: Path) -> None:
    output = done.parent
    for arm in ("tiny", "tiny-rgb"):
        for fold in range(2):
            assert (output / "arms" / arm / "seed-0" / f"fold-{fold}" / "held-out.npz").is_file()
    rows = table(done)
    assert [(row["set"], row["row"], row["images"]) for row in rows] == [
        ("out-of-fold", "RGB", "15"),
        ("out-of-fold", "all channels", "15"),
        ("isic2017-validation", "RGB", "4"),
        ("isic2017-validation", "all channels", "4"),
    ]
    # What was scored on the validation images is what a user would run.
    (model,) = (output / "models").glob("tiny-seed-0-*.onnx")
    photographs = tmp_path / "data" / "ISIC-2017_Validation_Data"
    truth = tmp_path / "data" / "ISIC-2017_Validation_Part1_GroundTruth"
    segment_all(
        find_jobs([photographs]),
        Segmenter(model),
        tmp_path / "masks",
        BatchSettings(size_from=truth),
    )
    expected = evaluate(truth, tmp_path / "masks").mean
    for name in METRICS:
        assert float(rows[3][name]) == pytest.approx(getattr(expected, name), abs=1e-5)
    assert len(Segmenter(model).card.members) == 2
    gain = float(rows[3]["jaccard"]) - float(rows[2]["jaccard"])
    assert float(rows[3]["jaccard_gain"]) == pytest.approx(gain, abs=2e-5)


def test_every_image_is_scored_by_the_member_that_had_not_seen_it(
    done: Path, tmp_path: Path
) -> None:
    maps = read_held_out(done.parent / "arms" / "tiny" / "seed-0")
    masks = {pair.image_id: pair for pair in find_pairs(tmp_path / "data")}
    assert len(maps) == 15
    expected = evaluate_maps(maps, masks, ThresholdSettings()).mean
    assert float(table(done)[1]["jaccard"]) == pytest.approx(expected.jaccard, abs=1e-5)


def test_each_scoring_of_images_held_back_is_a_line_of_the_ledger(done: Path) -> None:
    found = lines(done.parent / "ledger.csv")
    assert [row["set"] for row in found] == ["isic2017-validation"] * 2
    assert [row["images"] for row in found] == ["4"] * 2
    assert found[0]["model"].startswith("tiny-rgb/seed-0 (2 members, ")
    rows = table(done)
    for line, row in zip(found, rows[2:], strict=True):
        for name in METRICS:
            assert line[name] == row[name]
        assert line["jaccard_95_low"] == row["jaccard_95_low"]


def test_the_report_has_the_papers_rows_and_verdicts(done: Path) -> None:
    content = facts(done)
    verdicts = content["verdicts"]
    assert isinstance(verdicts, list)
    assert [verdict["set"] for verdict in verdicts] == ["out-of-fold", "isic2017-validation"]
    for verdict in verdicts:
        assert verdict["outcome"] in ("supported", "not supported", "undecided")
        assert verdict["computing"]["runs"] == 4
        assert verdict["computing"]["epochs"] == 2
        assert verdict["seeds"] == 1
        assert verdict["outcome"] == "undecided", "two networks are not two methods"
        assert verdict["networks"] in ("supported", "not supported", "undecided")
        assert verdict["why"]
    assert "commit" in content, "which is None outside a clone"
    for key in ("machine", "data", "scored_set_data", "arms", "paper"):
        assert content[key]
    page = done.read_text(encoding="utf-8")
    assert "| the paper: RGB |  |  | 0.900 | 0.800 | 0.700 | 0.600 | 0.950 |" in page
    assert verdicts[0]["outcome"] in page
    assert "15 images, 1 seed, 4 trainings of 2 epochs" in page
    assert "With one seed" in page
    assert page == describe(done.with_suffix(".csv"), done.with_suffix(".json")) + "\n"


def test_the_papers_rows_of_other_images_stand_apart(done: Path) -> None:
    file = done.with_suffix(".json")
    content = {**facts(done), "scored_set": None}
    file.write_text(json.dumps(content))
    lines = describe(done.with_suffix(".csv"), file).splitlines()
    heads = [n for n, line in enumerate(lines) if line.startswith("| the challenge's 600 test")]
    assert len(heads) == 1
    assert lines[heads[0] + 2].startswith("| the paper: RGB |")
    assert sum(line.startswith("| the paper: RGB |") for line in lines) == 1


def test_a_second_run_does_nothing_new(
    done: Path, experiment: Run, forbidden: Callable[[], None]
) -> None:
    before = {path: path.read_bytes() for path in done.parent.glob("toy.*")}
    told = (done.parent / "ledger.csv").read_bytes()
    forbidden()
    assert experiment("toy") == done
    assert before == {path: path.read_bytes() for path in done.parent.glob("toy.*")}
    assert (done.parent / "ledger.csv").read_bytes() == told


def test_experiments_share_their_trainings(
    done: Path, experiment: Run, forbidden: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Experiment("one of the same arms", EXPERIMENTS["toy"].arms[:1])
    monkeypatch.setitem(EXPERIMENTS, "other", other)
    forbidden()
    assert table(experiment("other"))[0] == table(done)[0]


@pytest.mark.parametrize("moment", ["training", "exporting", "scoring", "keeping"])
def test_a_killed_experiment_goes_on(
    experiment: Run,
    scored_set: Path,
    toy: str,
    quick_export: None,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    module, name, calls = {
        "training": (loop, "_run_epoch", 4),
        "exporting": (scoring, "export_model", 1),
        "scoring": (scoring, "evaluate", 2),
        "keeping": (scoring, "_write", 4),
    }[moment]
    original, count = getattr(module, name), 0

    def killed(*arguments: object, **options: object) -> object:
        nonlocal count
        count += 1
        if count == calls:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, killed)
    with pytest.raises(KeyboardInterrupt):
        experiment(toy)
    monkeypatch.setattr(module, name, original)
    page = experiment(toy)
    assert len(table(page)) == 4
    scored = lines(page.parent / "ledger.csv")
    # What was scored but not kept is told twice: no scoring is ever untold.
    assert len(scored) == (3 if moment == "keeping" else 2)
    epochs = [len(arm.read_text().splitlines()) for arm in page.parent.glob("arms/*/*/*/log.csv")]
    assert epochs == [3] * 4


def test_new_weights_are_scored_again(done: Path, experiment: Run, quick_export: None) -> None:
    file = done.parent / "arms" / "tiny" / "seed-0" / "fold-0" / "weights.safetensors"
    tensors, known = checkpoints.load(file)
    checkpoints.save(file, {name: tensor + 1 for name, tensor in tensors.items()}, known)
    experiment("toy")
    assert len(lines(done.parent / "ledger.csv")) == 3


def test_seeds_and_folds(
    experiment: Run, toy_data: Path, toy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXPERIMENTS, toy, replace(EXPERIMENTS[toy], scored_set=None))
    page = experiment(toy, seeds=2, folds_used=1, epochs=1)
    runs = sorted(path.parent.name for path in page.parent.glob("arms/tiny/*/*"))
    assert runs == ["seed-0", "seed-1"]
    row = table(page)[0]
    assert row["seeds"] == "2"
    assert 7 < int(row["images"]) <= 15, "seeds hold out different images"
    assert "With one seed" not in page.read_text()


def test_rule_thresholds_and_style_say_what_is_scored(
    done: Path, experiment: Run, quick_export: None, tmp_path: Path
) -> None:
    maps = read_held_out(done.parent / "arms" / "tiny" / "seed-0")
    (tmp_path / "data" / "mine.csv").write_text(
        "image_id,style\n" + "\n".join(f"{name},traced" for name in sorted(maps)[:9])
    )
    masks = {pair.image_id: pair for pair in find_pairs(tmp_path / "data")}
    thresholds = ThresholdSettings("paper", 0.7, 0.4)
    page = experiment("toy", scoring=ScoringSettings(thresholds))
    expected = evaluate_maps(maps, masks, thresholds).mean
    assert float(table(page)[1]["jaccard"]) == pytest.approx(expected.jaccard, abs=1e-5)
    assert "by the paper rule at 0.7/0.4" in page.read_text()
    styles = read_styles(masks)
    traced = {name: maps[name] for name in maps if styles[name] == "traced"}
    assert len(traced) >= 9
    page = experiment("runs", runs=[done.parent / "arms" / "tiny" / "seed-0"], scoring=TRACED)
    assert table(page)[0]["images"] == str(len(traced))
    expected = evaluate_maps(traced, masks, ThresholdSettings()).mean
    assert float(table(page)[0]["jaccard"]) == pytest.approx(expected.jaccard, abs=1e-5)


def test_the_sixth_member_is_trained_and_scored_with_the_others(
    experiment: Run,
    scored_set: Path,
    toy: str,
    quick_export: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exported: list[int] = []
    original = scoring.export_model
    monkeypatch.setattr(
        scoring,
        "export_model",
        lambda runs, file: exported.append(len(runs)) or original(runs, file),
    )
    noted = replace(EXPERIMENTS[toy], sixth=True, notes=("What to know.",))
    monkeypatch.setitem(EXPERIMENTS, toy, noted)
    page = experiment(toy, epochs=1)
    assert facts(page)["members"] == 3
    assert exported == [3, 3]
    assert [row["images"] for row in table(page)] == ["15", "15", "4", "4"]
    assert "3 members, not the paper's six" in page.read_text()
    assert "What to know." in page.read_text()
    runs = {path.parent.name for path in page.parent.glob("arms/*/*/*/weights.safetensors")}
    assert len(list(page.parent.glob("arms/*/*/all/weights.safetensors"))) == 2
    assert runs == {"fold-0", "fold-1", "all"}


def test_the_null_experiment_and_the_seeds_of_a_training_that_is_given(
    experiment: Run, toy_data: Path, toy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = EXPERIMENTS[toy].arms[1:]
    monkeypatch.setitem(EXPERIMENTS, "null", replace(EXPERIMENTS["null"], arms=arms))
    page = experiment("null", seeds=2, folds_used=1, epochs=1)
    assert [row["row"] for row in table(page)] == ["seed 0", "seed 1"]
    (pair,) = lines(page.with_name("null-pairs.csv"))
    gain = float(table(page)[1]["jaccard_gain"])
    assert float(pair["jaccard_difference"]) == pytest.approx(-gain, abs=2e-5)
    assert "of 1 with one seed each" in page.read_text()
    before = table(page)
    again = experiment("null", runs=[page.parent / "arms" / "tiny"])
    assert table(again) == before
    with pytest.raises(UsageError, match="compares seeds"):
        experiment("null", runs=[page.parent / "arms" / "tiny" / "seed-0"])


@pytest.mark.parametrize("which", ["validation", "test"])
def test_missing_sets_are_refused_with_the_remedy_before_any_training(
    experiment: Run,
    toy_data: Path,
    tmp_path: Path,
    toy: str,
    monkeypatch: pytest.MonkeyPatch,
    which: str,
) -> None:
    monkeypatch.setitem(EXPERIMENTS, toy, replace(EXPERIMENTS[toy], scored_set=which))
    name = {"test": "Test_v2_Data", "validation": "Validation_Data"}[which]
    with pytest.raises(DataError, match=rf"{which} images: unpack ISIC-2017_{name}\.zip"):
        experiment(toy)
    assert not (tmp_path / "out").exists()


def test_the_test_set_is_found_by_its_official_names(scored_set: Path) -> None:
    for part in ("Data", "Part1_GroundTruth"):
        folder = scored_set / f"ISIC-2017_Validation_{part}"
        folder.rename(scored_set / f"ISIC-2017_Test_v2_{part}")
    found = scoring.find_scored_set(scored_set, "test")
    assert found.name == "isic2017-test"
    assert len(found.files) == 8


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("table-9", {}, "table-2, table-3"),
        ("toy", {"fold": 1}, "--folds-used"),
        ("toy", {"seeds": 0}, "--seeds"),
        ("toy", {"folds_used": 3}, "choose from 1 to 2"),
        ("toy", {"runs": [Path("a")]}, r"\(RGB; all channels\); here are 1 for an .* compares 2"),
        ("runs", {}, "--runs"),
        ("null", {}, "give --seeds 6, or at least 2"),
    ],
)
def test_wrong_usage(
    experiment: Run,
    scored_set: Path,
    toy: str,
    name: str,
    options: dict[str, object],
    said: str,
) -> None:
    with pytest.raises(UsageError, match=said):
        experiment(name, **options)


def test_several_processes_are_refused(
    experiment: Run, toy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would score the validation or test images, and tell the ledger."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="one process"):
        experiment(toy)


def test_members_against_the_ensemble(
    experiment: Run,
    scored_set: Path,
    quick_export: None,
    tiny: Callable[..., TrainingSettings],
    tmp_path: Path,
) -> None:
    """On a protocol's folder, which has a sixth member."""
    train_protocol(scored_set, tmp_path / "protocol", tiny(fold=None, folds=2, epochs=2))
    page = experiment("members", runs=[tmp_path / "protocol"])
    rows = {row["row"]: row for row in table(page) if row["set"] == "isic2017-validation"}
    members = ["fold-0", "fold-1", "all"]
    assert list(rows) == ["the average member", *members, "the ensemble"]
    mean = np.mean([float(rows[name]["jaccard"]) for name in members])
    assert float(rows["the average member"]["jaccard"]) == pytest.approx(mean, abs=2e-5)
    assert len(lines(page.parent / "ledger.csv")) == 4
    (verdict,) = facts(page)["verdicts"]  # type: ignore[misc]
    assert verdict["claim"] == "the ensemble beats its members"
    assert not (page.parent / "arms").exists()


def test_thresholds_and_runs_on_what_is_trained_already(
    experiment: Run, toy_data: Path, tiny: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    loop.train(toy_data, one, tiny(fold=0, folds=3, epochs=8, learning_rate=0.02))
    loop.train(toy_data, other, tiny(fold=0, folds=2, epochs=1))
    page = experiment("thresholds", runs=[one])
    rows = {row["row"]: row for row in table(page)}
    assert next(iter(rows)) == "single 0.5"
    assert len(rows) == 9
    assert {row["images"] for row in rows.values()} == {str(len(read_held_out(one)))}
    assert len(facts(page)["verdicts"]) == 4  # type: ignore[arg-type]
    # Each row is what its name says; the paper's, of maps at the paper's size.
    maps = read_held_out(one)
    for name, row in rows.items():
        rule, levels = name.split()
        if rule == "single":
            continue
        settings = ThresholdSettings(rule, *map(float, levels.split("/")))  # type: ignore[arg-type]
        if rule == "paper":
            maps = {k: cv2.resize(v, (256, 192), interpolation=1) for k, v in maps.items()}
        masks = {pair.image_id: pair for pair in find_pairs(toy_data)}
        found = evaluate_maps(maps if rule == "paper" else read_held_out(one), masks, settings)
        assert float(row["jaccard"]) == pytest.approx(found.mean.jaccard, abs=2e-5), name
    page = experiment("runs", runs=[one, other])
    shared = read_held_out(one).keys() & read_held_out(other).keys()
    assert [(row["row"], row["images"]) for row in table(page)] == [
        ("one", str(len(shared))),
        ("other", str(len(shared))),
    ]
    assert not (page.parent / "ledger.csv").exists()
    with pytest.raises(DataError, match="no finished training"):
        experiment("runs", runs=[tmp_path])
    with pytest.raises(UsageError, match=r"one are not those of RGB; .*: RGB; RGB\+HSV\+L"):
        experiment("figure-2", runs=[one, other])


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        (
            "augmentation",
            {"augmentation": AugmentationSettings(contrast=0)},
            "'without contrast' and 'every kind' are the same training",
        ),
        ("table-6", {"height": 32, "width": 48}, "fcrn"),
    ],
)
def test_arms_that_cannot_be_compared_are_refused_before_any_is_trained(
    experiment: Run, forbidden: Callable[[], None], name: str, changes: dict[str, Any], said: str
) -> None:
    forbidden()
    with pytest.raises(UsageError, match=said):
        experiment(name, **changes)


def test_predictions_alone_are_enough_for_thresholds(done: Path, experiment: Run) -> None:
    run = done.parent / "arms" / "tiny" / "seed-0"
    for file in run.glob("fold-*/*"):
        if file.name != "held-out.npz":
            file.unlink()
    page = experiment("thresholds", runs=[run])
    assert {row["images"] for row in table(page)} == {"15"}
    assert "computing not logged" in page.read_text()


def test_predictions_alone_cannot_score_validation_images(done: Path, experiment: Run) -> None:
    run = done.parent / "arms" / "tiny" / "seed-0"
    for file in run.glob("*/weights.safetensors"):
        file.unlink()
    with pytest.raises(ModelError, match=r"holds no weights\.safetensors"):
        experiment("toy", runs=[run.parent.parent / "tiny-rgb" / "seed-0", run])


def test_a_mask_that_changed_is_scored_anew_though_its_file_is_as_long(
    done: Path, tmp_path: Path
) -> None:
    pairs = {pair.image_id: pair for pair in find_pairs(tmp_path / "data")}
    runs = sorted((done.parent / "arms" / "tiny" / "seed-0").glob("fold-*"))
    scorer = scoring.Scorer(tmp_path / "scores", pairs, tmp_path / "ledger.csv")
    way = {"usual": binariser(ThresholdSettings())}
    before = scorer.out_of_fold(runs, way)["usual"]
    name, mask = next((name, pair.mask) for name, pair in pairs.items())
    flipped = cv2.flip(cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE), 1)
    content = cv2.imencode(".bmp", flipped)[1].tobytes()
    mask.write_bytes(content)
    scorer.out_of_fold(runs, way)
    cv2.imwrite(str(tmp_path / "back.bmp"), cv2.flip(flipped, 1))
    mask.write_bytes((tmp_path / "back.bmp").read_bytes())
    assert len(content) == mask.stat().st_size
    assert scorer.out_of_fold(runs, way)["usual"][name] == before[name]


@pytest.mark.parametrize(
    ("shape", "taken"),
    [((96, 128), (192, 256)), ((160, 512), (192, 512)), ((224, 160), (224, 256))],
)
def test_the_papers_rule_is_applied_at_the_papers_size_or_above(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], taken: tuple[int, int]
) -> None:
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        thresholds, "binariser", lambda _: lambda probability, *_: seen.append(probability.shape)
    )
    thresholds.binarise_literally(np.zeros(shape, np.float32), 300, 400)
    assert seen == [taken]


def test_every_experiment_is_whole() -> None:
    """Rows that claims name exist, and modules that measure do."""
    from importlib import import_module

    for name, each in EXPERIMENTS.items():
        assert find_experiment(name) is each
        assert callable(import_module(f"dermseg.experiments.{each.measure}").measure)
        labels = {arm.label for arm in each.arms}
        for claim in each.claims if each.measure in ("arms", "curves") else ():
            assert {claim.better, claim.worse} <= labels


def test_what_arms_change() -> None:
    base = TrainingSettings(network="cdnn19", channels="rgb", epochs=7)
    arms = {arm.name: arm.settings(base) for each in EXPERIMENTS.values() for arm in each.arms}
    assert arms["cdnn29"] == TrainingSettings(epochs=7)
    assert arms["cdnn19"] == TrainingSettings(network="cdnn19", epochs=7)
    assert arms["cdnn29-rgb"] == TrainingSettings(channels="rgb", epochs=7)
    assert arms["cdnn29-without-shift"].augmentation == replace(base.augmentation, shift=0)
    nothing = arms["cdnn29-no-augmentation"].augmentation
    assert (nothing.flip, nothing.rotation, nothing.scale) == (False, 0, 0)
    assert (nothing.shift, nothing.contrast) == (0, 0)
    colourful = replace(base, augmentation=replace(base.augmentation, color=0.3, sharpness=0.5))
    nothing = NO_KIND.settings(colourful).augmentation
    assert (nothing.color, nothing.sharpness) == (0, 0)
    same = {arm.name: arm for each in EXPERIMENTS.values() for arm in each.arms}
    for each in EXPERIMENTS.values():
        for arm in each.arms:
            assert arm.settings(base) == same[arm.name].settings(base)
    assert findings.OUT_OF_FOLD not in scoring.ARCHIVES
