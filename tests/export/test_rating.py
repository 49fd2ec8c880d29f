"""How masks are judged out of fold, on data of which the truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from heldout import discs, made_up
from numpy.typing import NDArray
from rate_confidence import by_group, intervals, risks
from scipy.stats import mannwhitneyu, spearmanr

from dermseg.export.calibration import FAILURE, fit
from dermseg.export.rating import Quality, judge, roc_area

Numbers = NDArray[np.float64]


def area(positive: NDArray[np.bool_], scores: Numbers) -> float:
    """Return the ROC area as SciPy's Mann-Whitney statistic gives it."""
    above = mannwhitneyu(scores[positive], scores[~positive]).statistic
    return float(above / (positive.sum() * (~positive).sum()))


def test_each_fold_is_judged_by_the_others() -> None:
    """Evidence that means the opposite in one fold must look bad there."""
    held = made_up(1000, 0.02)
    assert Quality.of(judge(held)).roc_area > 0.95
    turned = np.where((held.fold_of == "fold-1")[:, None], -held.evidence, held.evidence)
    assert Quality.of(judge(replace(held, evidence=turned))).roc_area < 0.3


@pytest.mark.slow
def test_the_measures_are_scipys() -> None:
    held = made_up(1000, 0.08, folds=1)
    judged, scores = judge(held), fit(held).score(held.evidence)
    quality = Quality.of(judged)
    failed = held.jaccard < FAILURE
    assert quality.roc_area == pytest.approx(area(failed, -judged.score))
    assert quality.roc_area == pytest.approx(area(failed, -scores), abs=0.01)
    assert quality.rank_correlation == pytest.approx(spearmanr(judged.score, held.jaccard)[0])
    assert 0 < quality.gain_of_perfect < 1
    assert quality.failed == failed.mean()
    low, high = intervals(judged)["failed"]
    assert low < quality.failed < high
    assert high - low == pytest.approx(4 * np.sqrt(quality.failed / 1000), rel=0.2)


def test_a_perfect_order_gains_everything() -> None:
    quality = Quality.of(judge(made_up(2000, 0.0)))
    assert quality.gain_of_perfect == pytest.approx(1, abs=0.01)
    assert quality.roc_area > 0.999


def test_bands_are_measured_as_they_are_drawn() -> None:
    maps, border = discs(400)
    quality = Quality.of(judge(replace(made_up(400, 0.1), maps=maps, border=border)))
    assert quality.within == pytest.approx(0.9, abs=0.02)
    assert quality.within < quality.nine_tenths_within + 0.3
    assert 0.2 < quality.width < 1.5
    spotted = maps.copy()
    spotted[:, :2, :2] = 0.4  # may be lesion, but misses the mask
    again = Quality.of(judge(replace(made_up(400, 0.1), maps=spotted, border=border)))
    assert (again.within, again.width) == (quality.within, quality.width)


def test_what_cannot_be_said_is_none() -> None:
    held = made_up(400, 0.01)
    sure = judge(replace(held, jaccard=held.jaccard.clip(0.7, 1)))
    said = Quality.of(sure).to_dict()
    assert (said["failed"], said["roc_area"], said["within"]) == (0, None, None)


def test_groups_are_rated_apart() -> None:
    judged = judge(made_up(400, 0.05))
    sexes = {name: {"sex": "female" if name.endswith("7") else "male"} for name in judged.names}
    sexes.pop("image-0")
    found = by_group(judged, sexes)
    assert list(found) == ["sex"]
    counts = {value: quality.images for value, quality in found["sex"].items()}
    assert counts == {"female": 40, "male": 359, "unknown": 1}
    female = judged.jaccard[[name.endswith("7") for name in judged.names]]
    assert found["sex"]["female"].jaccard == pytest.approx(female.mean())


def test_risk_at_each_coverage() -> None:
    failed = np.array([1.0, 0.0, 0.0, 1.0])
    assert risks(failed, np.array([0.1, 0.9, 0.5, 0.7])).tolist() == [0, 0.5, 1 / 3, 0.5]


def test_roc_area_with_ties() -> None:
    positive = np.array([True, False, True, False, False, True])
    scores = np.array([2.0, 2.0, 3.0, 1.0, 2.0, 1.0])
    assert roc_area(positive, scores) == pytest.approx(area(positive, scores))
    assert np.isnan(roc_area(np.ones(6, np.bool_), scores))
