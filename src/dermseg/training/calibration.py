"""What a model's evidence of its masks' quality is worth, learnt out of fold.

Each image is judged by the member that had not seen it. An ensemble and a model trained on
everything have no such images; they take the calibration of the folds, which is on the safe side as
far as they are better, and an assumption where they are surer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma, log, log1p
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dermseg.confidence import Calibration, Numbers, region, weigh
from dermseg.errors import DataError
from dermseg.evaluation import evaluate_maps
from dermseg.postprocess import Probability, choose_lesion
from dermseg.settings import ThresholdSettings
from dermseg.training.datasets import find_pairs
from dermseg.training.runs import HELD_OUT, find_members, read_held_out

FAILURE = 0.65
"""The Jaccard index below which the challenge's organisers call a mask failed."""
RISK, CERTAINTY = 0.05, 0.9
"""At most this share of unflagged masks fails, with this certainty."""
TAIL = 0.05
"""Share of masks beyond either end of an interval."""
IN_BIN = 100
"""Images that a quantile is taken of; fewer say little."""
FEWEST = 200
"""Images below which nothing is calibrated."""
ROUNDING = 1e-9
NEVER = 1e9
"""A threshold above all scores (JSON knows no infinity)."""
TRIED = 50
"""Thresholds at which all images are unflagged; those from a fifth of them on are tested."""


@dataclass(frozen=True)
class Quality:
    """How well held-out masks are judged, each by a calibration on the other folds.

    `roc_area` is that of finding masks below FAILURE, `rank_correlation` Spearman's with the true
    Jaccard index, `covered` the share of intervals that hold it. `gain_of_perfect` is what setting
    aside the least sure tenth raises the mean by, as a share of what a perfect order would.
    """

    images: int
    failed: float
    roc_area: float
    rank_correlation: float
    gain_of_perfect: float
    covered: float
    unflagged: float
    failed_unflagged: float


def calibrate(folders: Sequence[Path], data: Path) -> tuple[Calibration, Quality]:
    """Return the calibration of the trainings in `folders`, and how good it is.

    `data` is what they were trained on. Raises DataError if fewer than 200 images were held out.
    """
    usual = ThresholdSettings()
    masks = {pair.image_id: pair.mask for pair in find_pairs(data)}
    evidence, jaccard, fold_of = [], [], []
    for run in [run for folder in folders for run in find_members(folder)]:
        if not (run / HELD_OUT).is_file():
            continue
        maps = read_held_out(run)
        scores = evaluate_maps(maps, masks, usual).images
        evidence += [examine(maps[name], usual) for name in scores]
        jaccard += [each.jaccard for each in scores.values()]
        fold_of += [run.name] * len(scores)
    return fit_and_rate(np.array(evidence), np.array(jaccard), np.array(fold_of))


def examine(probability: Probability, thresholds: ThresholdSettings) -> Numbers:
    """Return the evidence, (5,), of the mask that `thresholds` cut from `probability`."""
    lesion = choose_lesion(probability, thresholds)
    return weigh(probability, region(lesion, thresholds.low))


def fit_and_rate(
    evidence: Numbers, jaccard: Numbers, fold_of: NDArray[np.str_]
) -> tuple[Calibration, Quality]:
    """Fit to all images; rate what each fold's images get from a fit to the other folds.

    With a single fold its images are dealt into five parts for the rating.
    """
    if len(jaccard) < FEWEST:
        raise DataError(f"{len(jaccard)} held-out images are too few to calibrate on")
    if len(set(fold_of.tolist())) == 1:
        fold_of = (np.arange(len(jaccard)) % 5).astype(np.str_)
    scores, predicted = np.zeros(len(jaccard)), np.zeros((len(jaccard), 3))
    flagged = np.zeros(len(jaccard), np.bool_)
    for fold in np.unique(fold_of):
        here = fold_of == fold
        others = fit(evidence[~here], jaccard[~here])
        scores[here] = others.score(evidence[here])
        flagged[here] = scores[here] < others.flag_below
        for column, values in enumerate((others.jaccard, others.low, others.high)):
            predicted[here, column] = np.interp(scores[here], others.scores, values)
    covered = (predicted[:, 1] <= jaccard) & (jaccard <= predicted[:, 2])
    failed = jaccard < FAILURE
    quality = Quality(
        images=len(jaccard),
        failed=float(failed.mean()),
        roc_area=roc_area(failed, -scores),
        rank_correlation=float(np.corrcoef(_ranks(scores), _ranks(jaccard))[0, 1]),
        gain_of_perfect=_gain(jaccard, scores) / _gain(jaccard, jaccard),
        covered=float(covered.mean()),
        unflagged=float((~flagged).mean()),
        failed_unflagged=float(failed[~flagged].mean()) if (~flagged).any() else 0.0,
    )
    return fit(evidence, jaccard), quality


def fit(evidence: Numbers, jaccard: Numbers) -> Calibration:
    """Return the calibration of `evidence` (n, 5) for masks with the index `jaccard` (n,)."""
    design = np.column_stack([np.ones(len(evidence)), evidence])
    weights, *_ = np.linalg.lstsq(design, jaccard, rcond=None)
    scores = design @ weights
    order = np.argsort(scores, kind="stable")
    bins = np.array_split(order, max(1, len(order) // IN_BIN))
    knots = [float(scores[each].mean()) for each in bins]
    rows = [(jaccard[each].mean(), *np.quantile(jaccard[each], [TAIL, 1 - TAIL])) for each in bins]
    # A surer mask is never said to be worse.
    mean, low, high = np.maximum.accumulate(np.array(rows)).T
    flag_below, unflagged = _flag_below(scores, jaccard < FAILURE)
    return Calibration(
        weights=tuple(weights.tolist()),
        scores=tuple(knots),
        jaccard=tuple(mean.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        flag_below=flag_below,
        failure=FAILURE,
        risk=RISK,
        certainty=CERTAINTY,
        unflagged=unflagged,
        images=len(jaccard),
    )


def _flag_below(scores: Numbers, failed: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the lowest threshold that keeps the risk, and the share of images at or above it.

    Thresholds are tested one by one, from the one that leaves the surest fifth unflagged, each at
    the full level, until the first that cannot be shown to keep the risk: fixed-sequence testing
    (Angelopoulos et al. 2021, Learn then Test) of the selective risk of Geifman & El-Yaniv 2017.
    If none can, all are flagged.
    """
    order = np.argsort(-scores, kind="stable")
    found, kept = NEVER, 0
    for step in range(TRIED // 5, TRIED + 1):
        count = len(scores) * step // TRIED
        failures = int(failed[order[:count]].sum())
        if _at_most(failures, count, RISK) > 1 - CERTAINTY:
            break
        found, kept = float(scores[order[count - 1]]) - ROUNDING, count
    return found, kept / len(scores)


def _at_most(failures: int, count: int, risk: float) -> float:
    """Return the probability of so few `failures` among `count`, were the risk `risk`."""
    logarithms = [
        lgamma(count + 1)
        - lgamma(k + 1)
        - lgamma(count - k + 1)
        + k * log(risk)
        + (count - k) * log1p(-risk)
        for k in range(failures + 1)
    ]
    return sum(exp(each) for each in logarithms)


def roc_area(positive: NDArray[np.bool_], scores: Numbers) -> float:
    """Return the area under the ROC curve: how often a positive scores above a negative."""
    ranks, count = _ranks(scores), int(positive.sum())
    others = len(positive) - count
    if count == 0 or others == 0:
        return float("nan")
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def _ranks(values: Numbers) -> Numbers:
    """Return ranks from 1, equal values sharing their mean."""
    unique, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    assert len(last) == len(unique)
    ranks: Numbers = (last - (counts - 1) / 2)[inverse].astype(np.float64)
    return ranks


def _gain(jaccard: Numbers, order: Numbers) -> float:
    """Return what the mean rises by when the tenth that is lowest in `order` is set aside."""
    kept = np.argsort(order, kind="stable")[len(order) // 10 :]
    return float(jaccard[kept].mean() - jaccard.mean())


def describe(quality: Quality) -> str:
    """Return `quality` as lines for people."""
    return "\n".join(
        (
            f"{quality.images} held-out images, {quality.failed:.1%} below {FAILURE}",
            f"finding those: ROC area {quality.roc_area:.3f}; rank correlation with the true "
            f"Jaccard index {quality.rank_correlation:.3f}",
            f"setting aside the least sure tenth gains {quality.gain_of_perfect:.0%} of what a "
            "perfect order would",
            f"90 % intervals hold {quality.covered:.1%}",
            f"unflagged {quality.unflagged:.1%}, of which {quality.failed_unflagged:.1%} fail",
        )
    )
