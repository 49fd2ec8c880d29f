"""Which trial is best, by how much, and how sure that is.

The best pair of thresholds flatters a trial a little, for it was chosen by the images that it is
scored on. Beside that number stands a cross-fitted one: each fold is scored with the pair that is
best on the other folds. It is honest about the thresholds; about learning rate, dropout and window
almost, for the networks of the other folds, by which those are chosen, were trained on this one.
"""

from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermseg.masks.metrics import bootstrap_interval
from dermseg.settings import ThresholdSettings, TrainingSettings

Jaccard = NDArray[np.float64]
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Point:
    """What distinguishes a trial."""

    learning_rate: float
    dropout: float
    window: float

    @property
    def name(self) -> str:
        """What the trial's folder is called."""
        rate, dropout, window = (f"{value:.15g}" for value in astuple(self))
        return f"rate-{rate}_dropout-{dropout}_window-{window}"

    def settings(self, base: TrainingSettings) -> TrainingSettings:
        """Return `base` with this point's values."""
        augmentation = replace(base.augmentation, window=self.window)
        return replace(
            base,
            learning_rate=self.learning_rate,
            dropout=self.dropout,
            augmentation=augmentation,
        )


@dataclass(frozen=True)
class Result:
    """What a trial found: Jaccard index, float64 (images, pairs of thresholds), out of fold.

    `images` and `fold_of` (images,) say which image was held out when.
    """

    point: Point
    images: list[str]
    fold_of: NDArray[np.intp]
    jaccard: Jaccard
    hours: float


def best_choice(jaccard: Jaccard) -> int:
    """Return the column of (images, choices) with the highest mean; the first of equal ones."""
    return int(jaccard.mean(0).argmax())


def cross_fitted(jaccard: Jaccard, fold_of: NDArray[np.intp]) -> Jaccard:
    """Return each image's Jaccard index by the choice that is best on the folds it is not in.

    `jaccard` is (images, choices), `fold_of` and the result are (images,). Raises ValueError if
    there is one fold only.
    """
    folds = np.unique(fold_of)
    if len(folds) < 2:
        raise ValueError("a choice needs another fold to be made on")
    fitted = np.empty(len(jaccard))
    for fold in folds:
        inside = fold_of == fold
        fitted[inside] = jaccard[inside, best_choice(jaccard[~inside])]
    return fitted


def rank(results: Sequence[Result]) -> list[Result]:
    """Return `results` best first, by the mean Jaccard index of each one's best thresholds."""
    return sorted(results, key=lambda r: (-r.jaccard.mean(0).max(), r.point.name))


def trial_rows(ranked: Sequence[Result], thresholds: Sequence[ThresholdSettings]) -> Rows:
    """Return a row a trial, from what `rank` returned.

    The differences are to the best trial, paired by image. The intervals are 95 % bootstrap
    intervals over images of the means, and know nothing of the choice among trials.
    """
    chosen = [best_choice(result.jaccard) for result in ranked]
    best = np.stack([r.jaccard[:, c] for r, c in zip(ranked, chosen, strict=True)], 1)
    difference = best - best[:, :1]
    ends = np.stack([*bootstrap_interval(best), *bootstrap_interval(difference)])
    return [
        {
            "trial": result.point.name,
            **asdict(result.point),
            "images": len(result.images),
            "jaccard": round(float(best[:, row].mean()), 5),
            "jaccard_95_low": round(float(ends[0, row]), 5),
            "jaccard_95_high": round(float(ends[1, row]), 5),
            "difference": round(float(difference[:, row].mean()), 5),
            "difference_95_low": round(float(ends[2, row]), 5),
            "difference_95_high": round(float(ends[3, row]), 5),
            "cross_fitted": _cross_fitted_mean(result.jaccard, result.fold_of),
            "high": thresholds[chosen[row]].high,
            "low": thresholds[chosen[row]].low,
            "hours": round(result.hours, 3),
        }
        for row, result in enumerate(ranked)
    ]


def _cross_fitted_mean(jaccard: Jaccard, fold_of: NDArray[np.intp]) -> float | str:
    """Return a table's cell; empty where one fold leaves nothing to choose on."""
    if len(np.unique(fold_of)) < 2:
        return ""
    return round(float(cross_fitted(jaccard, fold_of).mean()), 5)


def pair_rows(ranked: Sequence[Result], thresholds: Sequence[ThresholdSettings]) -> Rows:
    """Return a row for each trial and pair of thresholds."""
    lows, highs = bootstrap_interval(np.concatenate([r.jaccard for r in ranked], 1))
    ends = iter(zip(lows.tolist(), highs.tolist(), strict=True))
    rows: Rows = []
    for result in ranked:
        for pair, jaccard in zip(thresholds, result.jaccard.mean(0).tolist(), strict=True):
            low, high = next(ends)
            values = {"high": pair.high, "low": pair.low, "jaccard": round(jaccard, 5)}
            interval = {"jaccard_95_low": round(low, 5), "jaccard_95_high": round(high, 5)}
            rows.append({"trial": result.point.name, **values, **interval})
    return rows


def is_worse(row: dict[str, Any]) -> bool:
    """Say whether a trial's row shows it to be worse than the best trial."""
    worse: bool = row["difference_95_high"] < 0
    return worse


def verdict(row: dict[str, Any]) -> str:
    """Return, of a trial's row, how it differs from the best trial, and if that says anything."""
    ends = f"({row['difference_95_low']:+.4f} to {row['difference_95_high']:+.4f})"
    shown = "worse" if is_worse(row) else "no difference shown"
    return f"difference {row['difference']:+.4f} {ends}: {shown}"
