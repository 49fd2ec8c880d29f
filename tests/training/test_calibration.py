"""Calibration on data of which the truth is known."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, mannwhitneyu, spearmanr

from dermseg.errors import DataError
from dermseg.images import write_image, write_mask
from dermseg.training.calibration import (
    FAILURE,
    NEVER,
    RISK,
    _at_most,
    calibrate,
    fit,
    fit_and_rate,
    roc_area,
)

Numbers = NDArray[np.float64]


def made_up(count: int, noise: float, seed: int = 0) -> tuple[Numbers, Numbers]:
    """Return evidence (count, 5), and Jaccard indices that it explains but for `noise`."""
    chance = np.random.default_rng(seed)
    evidence = chance.normal(0, 1, (count, 5))
    jaccard = 0.8 + evidence @ [0.05, -0.04, 0.03, 0.0, 0.06] + chance.normal(0, noise, count)
    return evidence, jaccard.clip(0, 1)


def area(positive: NDArray[np.bool_], scores: Numbers) -> float:
    """Return the ROC area as SciPy's Mann-Whitney statistic gives it."""
    above = mannwhitneyu(scores[positive], scores[~positive]).statistic
    return float(above / (positive.sum() * (~positive).sum()))


class TestFit:
    def test_it_finds_what_explains_the_index(self) -> None:
        known = fit(*made_up(4000, 0.001))
        assert known.weights == pytest.approx((0.8, 0.05, -0.04, 0.03, 0.0, 0.06), abs=0.01)
        np.testing.assert_allclose(known.scores, known.jaccard, atol=0.02)

    def test_a_surer_mask_is_never_said_to_be_worse(self) -> None:
        known = fit(*made_up(1000, 0.2))
        for values in (known.scores, known.jaccard, known.low, known.high):
            assert (np.diff(values) >= 0).all()
        assert (np.array(known.low) <= known.jaccard).all()
        assert (np.array(known.jaccard) <= known.high).all()

    def test_its_intervals_and_its_flag_hold_on_new_images(self) -> None:
        """Over twenty worlds, the promise of the flag may fail in about two."""
        covered, broken = [], 0
        for seed in range(20):
            known = fit(*made_up(1500, 0.06, seed))
            evidence, jaccard = made_up(20_000, 0.06, 1000 + seed)
            scores = known.score(evidence)
            low, high = (np.interp(scores, known.scores, v) for v in (known.low, known.high))
            covered.append(((low <= jaccard) & (jaccard <= high)).mean())
            kept = scores >= known.flag_below
            assert 0.3 < kept.mean() < 1
            assert abs(kept.mean() - known.unflagged) < 0.05
            broken += (jaccard[kept] < FAILURE).mean() > RISK
        assert 0.87 < np.mean(covered) < 0.93
        assert broken <= 5

    def test_where_nothing_can_be_promised_everything_is_flagged(self) -> None:
        evidence, jaccard = made_up(1000, 0.01)
        known = fit(evidence, np.where(np.arange(1000) % 3, jaccard, 0.1))
        assert (known.flag_below, known.unflagged) == (NEVER, 0)

    def test_where_nothing_fails_nothing_is_flagged(self) -> None:
        evidence, jaccard = made_up(1000, 0.01)
        known = fit(evidence, jaccard.clip(0.7, 1))
        assert known.unflagged == 1
        assert known.flag_below <= known.score(evidence).min()


class TestRating:
    def test_each_fold_is_judged_by_the_others(self) -> None:
        """Evidence that means the opposite in one fold must look bad there."""
        evidence, jaccard = made_up(1000, 0.02)
        folds = np.array(["a", "b"] * 500)
        _, quality = fit_and_rate(evidence, jaccard, folds)
        assert quality.roc_area > 0.95
        turned = np.where((folds == "b")[:, None], -evidence, evidence)
        _, fooled = fit_and_rate(turned, jaccard, folds)
        assert fooled.roc_area < 0.3

    def test_the_measures_are_scipys(self) -> None:
        evidence, jaccard = made_up(1000, 0.08)
        known, quality = fit_and_rate(evidence, jaccard, np.array(["a"] * 1000))
        scores = known.score(evidence)
        assert quality.roc_area == pytest.approx(area(jaccard < FAILURE, -scores), abs=0.01)
        assert quality.rank_correlation == pytest.approx(spearmanr(scores, jaccard)[0], abs=0.01)
        assert 0 < quality.gain_of_perfect < 1
        assert quality.failed == (jaccard < FAILURE).mean()

    def test_a_perfect_order_gains_everything(self) -> None:
        _, quality = fit_and_rate(*made_up(2000, 0.0), np.array(["a", "b"] * 1000))
        assert quality.gain_of_perfect == pytest.approx(1, abs=0.01)
        assert quality.roc_area > 0.999

    def test_too_few_images(self) -> None:
        with pytest.raises(DataError, match="too few"):
            fit_and_rate(*made_up(150, 0.1), np.array(["a"] * 150))


def test_roc_area_with_ties() -> None:
    positive = np.array([True, False, True, False, False, True])
    scores = np.array([2.0, 2.0, 3.0, 1.0, 2.0, 1.0])
    assert roc_area(positive, scores) == pytest.approx(area(positive, scores))
    assert np.isnan(roc_area(np.ones(6, np.bool_), scores))


@pytest.mark.parametrize(("failures", "count"), [(0, 45), (3, 200), (60, 1000), (100, 2000)])
def test_the_binomial_tail_is_scipys(failures: int, count: int) -> None:
    assert _at_most(failures, count, RISK) == pytest.approx(binom.cdf(failures, count, RISK))


def test_predictions_are_taken_from_all_folds(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    for fold in range(2):
        run = tmp_path / "runs" / f"fold-{fold}"
        run.mkdir(parents=True)
        for name in ("settings.json", "weights.safetensors", "samples.npy"):
            (run / name).touch()
        names = [f"{fold}-{number}" for number in range(120)]
        maps = []
        for name in names:
            centre = chance.uniform(5, 11, 2)
            distance = np.hypot(y - centre[0], x - centre[1])
            write_mask(tmp_path / "data" / "masks" / f"{name}.png", distance < 4)
            path = tmp_path / "data" / "images" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, np.zeros((16, 16, 3), np.uint8))
            blur = chance.uniform(0.3, 3)
            off = chance.normal(0, blur / 2, 2)
            seen = np.hypot(y - centre[0] - off[0], x - centre[1] - off[1])
            maps.append(1 / (1 + np.exp((seen - 4) / blur)))
        held_out = np.array(maps, np.float16)
        np.savez(run / "held-out.npz", image_ids=np.array(names), probability=held_out)
    known, quality = calibrate([tmp_path / "runs"], tmp_path / "data")
    assert known.images == quality.images == 240
    assert quality.rank_correlation > 0.5, "the blurred are misplaced, and are known by their blur"
