"""What verdicts may be said of: methods, the networks trained here, or nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest

from dermseg.data.layouts import Pair
from dermseg.errors import DataError
from dermseg.experiments import null, statistics
from dermseg.experiments.findings import Verdict
from dermseg.experiments.registry import Claim, Experiment
from dermseg.experiments.scoring import Scorer
from dermseg.experiments.statistics import Table, decide, difference, of_networks
from dermseg.experiments.study import Study, Trained, adopt
from dermseg.masks.metrics import Scores
from dermseg.settings import DataSettings, ScoringSettings

CLAIM = Claim("one beats the other", "a toy", "one", "other")


def scores(jaccard: float) -> Scores:
    return Scores(0.9, 0.8, jaccard, jaccard + 0.01, 0.95)


def made_up(means: Sequence[float], seed: int = 0, images: int = 40) -> Table:
    """Return a method's scores, with a training for each of `means`."""
    chance = np.random.default_rng(seed)
    values = [chance.normal(mean, 0.03, images) for mean in means]
    return {
        number: {f"{n:03}": scores(value) for n, value in enumerate(each)}
        for number, each in enumerate(values)
    }


@dataclass
class Known:
    """Scores in place of trainings: of each arm, and of one mask for all images."""

    arms: Mapping[str, Table]
    floor: float
    scoring: ScoringSettings = ScoringSettings()

    def out_of_fold(self, runs: Sequence[Path], ways: Mapping[str, object]) -> dict[str, Any]:
        (run,) = runs
        return dict.fromkeys(ways, self.arms[run.parent.name][int(run.name)])

    def trivial(self, images: Mapping[str, object]) -> dict[str, Scores]:
        return {image: scores(self.floor) for image in images}


def verdict(one: Table, other: Table, *, floor: float = 0.4, claim: Claim = CLAIM) -> Verdict:
    arms = {"one": one, "other": other}
    study = Study(
        name="toy",
        experiment=Experiment("a toy"),
        output=Path(),
        arms=[
            Trained(name, name, {seed: [Path(name) / str(seed)] for seed in table})
            for name, table in arms.items()
        ],
        scorer=cast(Scorer, Known(arms, floor)),
        scored_set=None,
        data=Path(),
        data_settings=DataSettings(),
    )
    (found,) = study.judge({"toy": arms}, [claim])
    return found


@pytest.mark.parametrize(
    ("seeds", "outcome"), [(1, "undecided"), (2, "undecided"), (3, "supported"), (4, "supported")]
)
def test_methods_take_three_seeds(seeds: int, outcome: str) -> None:
    found = verdict(made_up([0.8] * seeds), made_up([0.7] * seeds, 1))
    assert (found.outcome, found.networks) == (outcome, "supported")
    assert bool(found.why) == (seeds < 3)
    assert found.seeds == seeds


def test_networks_may_differ_where_methods_do_not() -> None:
    found = verdict(made_up([0.80, 0.70, 0.81]), made_up([0.72, 0.72, 0.74], 1))
    assert (found.outcome, found.networks, found.why) == ("undecided", "supported", "")
    one, other = made_up([0.8]), made_up([0.7], 1)
    alone = of_networks(one, other).of("jaccard")
    assert alone == pytest.approx(difference(one, other).of("jaccard"))


@pytest.mark.parametrize("floor", [0.75, 0.9])
def test_what_has_learned_nothing_decides_nothing(floor: float) -> None:
    found = verdict(made_up([0.8] * 3), made_up([0.7] * 3, 1), floor=floor)
    assert (found.outcome, found.networks) == ("undecided", "undecided")
    assert f"one mask for all images {floor:.3f}: train longer" in found.why
    assert ("one (seed" in found.why) == (floor == 0.9)


def test_rules_on_the_same_networks_need_no_seeds() -> None:
    same = replace(CLAIM, same_networks=True)
    found = verdict(made_up([0.8]), made_up([0.7], 1), claim=same)
    assert (found.outcome, found.why) == ("supported", "")
    short = verdict(made_up([0.8]), made_up([0.7], 1), claim=same, floor=0.75)
    assert short.outcome == "undecided"


def test_a_claim_may_be_about_sensitivity() -> None:
    usual = made_up([0.7] * 3)
    better = {
        seed: {image: replace(each, sensitivity=0.9) for image, each in images.items()}
        for seed, images in usual.items()
    }
    found = verdict(better, usual, claim=replace(CLAIM, metric="sensitivity"))
    assert (found.outcome, found.quantity) == ("supported", "sensitivity")
    assert verdict(better, usual).outcome == "undecided"


def test_of_twenty_differences_that_are_none_at_most_one_is_called_real(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Trainings differ by chance, images do, and images may suit one method better."""
    monkeypatch.setattr(statistics, "RESAMPLES", 500)
    chance = np.random.default_rng(5)
    real = count = 0
    for of_training, of_image in ((0.0, 0.1), (0.005, 0.05), (0.01, 0.05), (0.02, 0.0)):
        for _ in range(60):
            suits = chance.normal(0, of_image, (1, 1, 60)) * np.array([[[1]], [[-1]]]) / 2**0.5
            trained = chance.normal(0, of_training, (2, 3, 1))
            jaccard = 0.7 + suits + trained + chance.normal(0, 0.08, (2, 3, 60))
            ours, theirs = (
                {s: {f"{n:02}": scores(v) for n, v in enumerate(row)} for s, row in enumerate(arm)}
                for arm in jaccard.tolist()
            )
            real += decide(*difference(ours, theirs).of("jaccard")[1:]) != "undecided"
            count += 1
    assert count == 240
    assert real <= count / 20


class TestNull:
    def test_every_two_seeds_and_every_two_groups_of_three(self) -> None:
        found = list(null.groupings(range(6)))
        assert len(found) == 15 + 10
        groups = {frozenset((frozenset(ours), frozenset(theirs))) for ours, theirs in found}
        assert len(groups) == 25
        assert all(not set(ours) & set(theirs) for ours, theirs in found)
        assert len(list(null.groupings(range(5)))) == 10

    def test_it_counts_what_is_called_real(self) -> None:
        """One training is far off: alone it differs from the others, in a group it does not."""
        rows = list(null.compare(made_up([0.7, 0.7, 0.7, 0.7, 0.7, 0.9])))
        alone = [row["called_real"] for row in rows if row["second"] == "5"]
        assert alone == ["yes"] * 5
        groups = [row["called_real"] for row in rows if " " in str(row["first"])]
        assert groups == ["no"] * 10
        assert "0 of 10 with 3 seeds each" in null.tell(rows)


def test_seeds_without_a_common_image_cannot_be_compared() -> None:
    tables = {"one": {0: {"a": scores(0.8)}, 1: {"b": scores(0.7)}}}
    study = Study(
        name="null",
        experiment=Experiment("a toy"),
        output=Path(),
        arms=[Trained("one", "one", {seed: [Path("one") / str(seed)] for seed in range(2)})],
        scorer=cast(Scorer, Known(tables, 0.4)),
        scored_set=None,
        data=Path(),
        data_settings=DataSettings(),
    )
    with pytest.raises(DataError, match="no image was held out by all"):
        null.measure(study)


def test_a_copy_of_a_seeds_folder_is_no_seed(tmp_path: Path) -> None:
    for name in ("seed-0", "seed-0 (copy)"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.safetensors").touch()
    (found,) = adopt([], [tmp_path])
    assert found.runs == {0: [tmp_path / "seed-0"]}


def test_the_floor_is_one_mask_for_all_images(tmp_path: Path) -> None:
    y, x = np.mgrid[:48, :64]
    masks = {}
    for name, column in {"a": 32, "b": 34, "c": 30}.items():
        mask = np.where(np.hypot(y - 24, x - column) < 10, 255, 0).astype(np.uint8)
        file = tmp_path / f"{name}.png"
        masks[name] = Pair(name, file, file)
        cv2.imwrite(str(file), cv2.resize(mask, (128, 96), interpolation=0))
    scorer = Scorer(tmp_path / "out", masks, tmp_path / "ledger.csv")
    found = scorer.trivial(masks)
    assert found["a"].jaccard > 0.9
    assert 0.6 < found["b"].jaccard < 0.9
    assert scorer.trivial(masks) == found
