"""Measure how good a model's confidence and its band are, out of fold.

Each image gets its confidence from a calibration on the other folds, as a new image would.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from dermseg.export.calibration import FAILURE, HeldOut, fit, read_along
from dermseg.inference.confidence import Calibration, Numbers, reach, region
from dermseg.masks.postprocess import choose_lesion
from dermseg.modelfile.card import StyleFacts
from dermseg.settings import Style

PARTS = 5
"""Parts for cross-fitting the images of a single member."""
ASIDE = 10
"""One in ASIDE images, the least sure, is set aside for review."""
NINE_TENTHS = 0.9


@dataclass(frozen=True)
class Judged:
    """Held-out images with their confidence; a table with a row an image.

    `low` and `high` are the ends of the interval around the `predicted` Jaccard index. `within` is
    the part of the true border inside the band, NaN without a lesion. `width` is the band's area
    in units of the mask's.
    """

    names: NDArray[np.str_]
    fold_of: NDArray[np.str_]
    jaccard: Numbers
    score: Numbers
    predicted: Numbers
    low: Numbers
    high: Numbers
    flagged: NDArray[np.bool_]
    within: Numbers
    width: Numbers

    def where(self, chosen: NDArray[Any]) -> "Judged":
        """Return the images of `chosen`: booleans (n,), or their places."""
        return Judged(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True)
class Quality:
    """How well some masks were judged.

    `roc_area` is that of finding masks below FAILURE, `rank_correlation` Spearman's with the true
    Jaccard index, `covered` the share of intervals that hold it. `gain_of_perfect` is what setting
    aside the least sure tenth raises the mean by, as a share of what a perfect order would.
    `within` is the share of the true border that lies in the band, `nine_tenths_within` that of
    images with nine tenths of it there, and `width` the band's median area as a share of the
    mask's. What cannot be said of these masks is NaN.
    """

    images: int
    jaccard: float
    failed: float
    roc_area: float
    rank_correlation: float
    gain_of_perfect: float
    covered: float
    unflagged: float
    failed_unflagged: float
    within: float
    nine_tenths_within: float
    width: float

    @classmethod
    def of(cls, judged: Judged) -> "Quality":
        """Rate at least one mask."""
        jaccard, failed = judged.jaccard, judged.jaccard < FAILURE
        within = judged.within[~np.isnan(judged.within)]
        return cls(
            images=len(jaccard),
            jaccard=float(jaccard.mean()),
            failed=float(failed.mean()),
            roc_area=roc_area(failed, -judged.score),
            rank_correlation=_rank_correlation(judged.score, jaccard),
            gain_of_perfect=_ratio(_gain(jaccard, judged.score), _gain(jaccard, jaccard)),
            covered=float(((judged.low <= jaccard) & (jaccard <= judged.high)).mean()),
            unflagged=float((~judged.flagged).mean()),
            failed_unflagged=_mean(failed[~judged.flagged]),
            within=_mean(within),
            nine_tenths_within=_mean(within >= NINE_TENTHS),
            width=float(np.median(judged.width)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON; None for what cannot be said."""
        return {name: None if value != value else value for name, value in asdict(self).items()}

    def __str__(self) -> str:
        """Return lines for people."""
        return "\n".join(
            (
                f"{self.images} held-out images, {self.failed:.1%} below {FAILURE}",
                f"finding those: ROC area {self.roc_area:.3f}; rank correlation with the true "
                f"Jaccard index {self.rank_correlation:.3f}",
                f"setting aside the least sure tenth gains {self.gain_of_perfect:.0%} of what a "
                "perfect order would",
                f"90 % intervals hold {self.covered:.1%}",
                f"unflagged {self.unflagged:.1%}, of which {self.failed_unflagged:.1%} fail",
                f"bands hold {self.within:.1%} of the border, and nine tenths of it in "
                f"{self.nine_tenths_within:.1%} of images; half are narrower than "
                f"{self.width:.2f} of the mask",
            )
        )


def learn_styles(held_out: Mapping[Style, HeldOut]) -> dict[str, StyleFacts]:
    """Return what a card says of each style, learnt from its held-out images."""
    return {
        style: StyleFacts(
            asdict(held.thresholds), fit(held).to_dict(), Quality.of(judge(held)).to_dict()
        )
        for style, held in held_out.items()
    }


def judge(held: HeldOut) -> Judged:
    """Judge each fold's images by a calibration on the other folds.

    With a single fold its images are dealt into PARTS.
    """
    parts = held.fold_of
    if len(np.unique(parts)) == 1:
        parts = (np.arange(len(parts)) % PARTS).astype(np.str_)
    count = len(parts)
    columns = {name: np.zeros(count) for name in ("predicted", "low", "high", "within", "width")}
    scores, flagged = np.zeros(count), np.zeros(count, np.bool_)
    for part in np.unique(parts):
        here = parts == part
        known, judged = fit(held.where(~here)), held.where(here)
        scores[here] = known.score(judged.evidence)
        flagged[here] = scores[here] < known.flag_below
        for name, values in (
            ("predicted", known.jaccard),
            ("low", known.low),
            ("high", known.high),
        ):
            columns[name][here] = np.interp(scores[here], known.scores, values)
        columns["within"][here], columns["width"][here] = _bounded(judged, known)
    return Judged(
        names=held.names,
        fold_of=held.fold_of,
        jaccard=held.jaccard,
        score=scores,
        flagged=flagged,
        **columns,
    )


def _bounded(held: HeldOut, known: Calibration) -> tuple[Numbers, Numbers]:
    """Return the share of each true border in the band, and the bands' areas; (n,) both."""
    found = []
    for stored, border in zip(held.maps, held.border, strict=True):
        probability = stored.astype(np.float32)
        mask = region(choose_lesion(probability, held.thresholds), held.thresholds.low)
        own = reach(probability, mask, known.outer)
        values = read_along(own, border)
        within = np.where(
            np.isnan(values), np.nan, (values >= known.outer) & (values < known.inner)
        )
        area = int(np.count_nonzero((own >= known.outer) & (own < known.inner)))
        found.append((within.mean(), area / max(int(np.count_nonzero(mask)), 1)))
    within, width = np.array(found, np.float64).T
    return within, width


def roc_area(positive: NDArray[np.bool_], scores: Numbers) -> float:
    """Return the area under the ROC curve: how often a positive scores above a negative."""
    ranks, count = rankdata(scores), int(positive.sum())
    others = len(positive) - count
    return _ratio(float(ranks[positive].sum()) - count * (count + 1) / 2, count * others)


def _rank_correlation(one: Numbers, other: Numbers) -> float:
    """Return Spearman's correlation; not a number where all values of one are the same."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other).statistic)


def _gain(jaccard: Numbers, order: Numbers) -> float:
    """Return what the mean rises by when the tenth that is lowest in `order` is set aside."""
    kept = np.argsort(order, kind="stable")[len(order) // ASIDE :]
    return float(jaccard[kept].mean() - jaccard.mean())


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
