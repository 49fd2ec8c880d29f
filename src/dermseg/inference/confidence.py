"""How sure a mask is: its Jaccard index, predicted from the probability that it was made of.

A handful of numbers, the evidence, says how doubtful the probability is inside the mask, outside it
and along its border. What they mean for one model is its calibration, learnt from images that the
predicting network had not seen, and kept in the model's card (`dermseg.export.calibration`).

The band says the same of the border: two levels of the probability between which most of the true
border lies.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Mask, size_within
from dermseg.masks.postprocess import Lesion, Probability
from dermseg.settings import OVERLAY_SIDE

Contours = tuple[NDArray[np.float32], ...]
Numbers = NDArray[np.float64]
EVIDENCE = 5
"""Numbers that say how doubtful a mask is (see `evidence_of`)."""
SURE = 0.8
FLOOR = 0.01
"""A hundredth of the mask, or of a pixel: less error or doubt than this says nothing more."""
BORDER = 10
"""Pixels added to a border's length, so that tiny masks do not count as doubtful all over."""


@dataclass(frozen=True)
class Confidence:
    """How good a mask is likely to be, predicted from the probability alone.

    The prediction was learnt out of fold, on images that the predicting network had not seen.
    """

    score: float
    """Orders masks from the least sure to the surest; without a unit."""
    jaccard: float
    """The predicted Jaccard index of the mask against an expert's, 0 to 1."""
    low: float
    """Lower end of the index's 90 % interval."""
    high: float
    """Upper end of the index's 90 % interval."""
    low_confidence: bool
    """Whether the mask deserves a look. Few masks without this warning fail."""


@dataclass(frozen=True)
class Band:
    """Contours between which the lesion's border may lie.

    Each is float32 (n, 2), x and y in the photograph's stored pixels. On average over images a
    twentieth of the true border lies inside `inner`, and a twentieth outside `outer`.
    """

    inner: Contours
    """Around what is surely lesion; there may be several, or none."""
    outer: Contours
    """Around what may be lesion; there may be several, or none."""


@dataclass(frozen=True)
class Calibration:
    """What a model's evidence is worth, learnt on images that were held out of its training.

    A score is `weights` times 1 and the evidence (see `evidence_of`). `scores` ascend; at each of
    them `jaccard` is the mean Jaccard index of masks like that, and `low` and `high` leave 5 % of
    these on either side.

    Masks that score below `flag_below` are flagged. Of the others at most the share `risk` falls
    below a Jaccard index of `failure`, with the certainty `certainty`, if new images are
    exchangeable with those `images`; the share `unflagged` of these had no flag.

    Between the levels `outer` and `inner` of the probability lies, on average over images, the
    share `within` of the true border. All of it holds for masks made with the thresholds that
    stand beside it in the model's card.
    """

    weights: tuple[float, ...]
    scores: tuple[float, ...]
    jaccard: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    flag_below: float
    failure: float
    risk: float
    certainty: float
    unflagged: float
    images: int
    inner: float
    outer: float
    within: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Calibration":
        """Return the calibration that `to_dict` turned into `values`, as JSON gives it back.

        Raises ValueError or TypeError for other values.
        """
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        made = cls(**given)
        lists = made.scores, made.jaccard, made.low, made.high
        numbers = [number for each in (made.weights, *lists) for number in each]
        numbers += [getattr(made, each.name) for each in fields(cls)[len(lists) + 1 :]]
        if len(made.weights) != EVIDENCE + 1 or len({*map(len, lists)}) > 1 or not made.scores:
            raise ValueError("its calibration is damaged")
        if not all(isinstance(number, int | float) and isfinite(number) for number in numbers):
            raise ValueError("its calibration is damaged")
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return asdict(self)

    def score(self, evidence: Numbers) -> Numbers:
        """Return the scores, (n,), of `evidence`, (n, 5)."""
        scores: Numbers = self.weights[0] + evidence @ np.array(self.weights[1:])
        return scores

    def judge(self, probability: Probability, lesion: Lesion, low: float) -> Confidence:
        """Return the confidence of the mask of `lesion`, chosen in `probability`, above `low`.

        An empty mask is never surer than the least sure that were calibrated on, and is flagged.
        """
        score = float(self.score(evidence_of(probability, region(lesion, low))[np.newaxis])[0])
        empty = lesion.core is None
        if empty:
            score = min(score, self.scores[0])
        jaccard, bottom, top = (
            float(np.interp(score, self.scores, values))
            for values in (self.jaccard, self.low, self.high)
        )
        return Confidence(score, jaccard, bottom, top, empty or score < self.flag_below)

    def bound(
        self, probability: Probability, lesion: Lesion, low: float, size: tuple[int, int]
    ) -> Band:
        """Return where the border of `lesion`, chosen in `probability`, lies.

        In pixels of a photograph of `size`, (height, width).
        """
        own = reach(probability, region(lesion, low), self.outer)
        return Band(contour(own, self.inner, size), contour(own, self.outer, size))


def region(lesion: Lesion, low: float) -> Mask:
    """Return the lesion's mask, boolean (h, w), at the network's size."""
    if lesion.core is None:
        return np.zeros(lesion.probability.shape, np.bool_)
    mask: Mask = lesion.probability >= low
    return mask


def reach(probability: Probability, mask: Mask, outer: float) -> Probability:
    """Return `probability`, (h, w), without the regions at the level `outer` that miss `mask`."""
    _, regions = cv2.connectedComponents((probability >= outer).astype(np.uint8), connectivity=4)
    own = np.isin(regions, regions[mask & (regions > 0)])
    return np.where(own, probability, np.float32(0))


def contour(probability: Probability, level: float, size: tuple[int, int]) -> Contours:
    """Return the contours, without holes, of `probability` at `level` in pixels of `size`.

    Drawn at most OVERLAY_SIDE pixels wide and high: they are for the eye.
    """
    height, width = size_within(size, OVERLAY_SIDE)
    drawn = cv2.resize(probability, (width, height), interpolation=cv2.INTER_LINEAR) >= level
    contours, _ = cv2.findContours(drawn.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    factor = np.array([size[1] / width, size[0] / height])
    return tuple(
        ((each[:, 0] + 0.5) * factor - 0.5).astype(np.float32, copy=False) for each in contours
    )


def evidence_of(probability: Probability, mask: Mask) -> Numbers:
    """Return the evidence, (5,), that `probability` gives on the quality of `mask`, both (h, w).

    The logarithms of the expected lesion outside the mask, of the expected skin inside it, both as
    fractions of the mask, and of the mask's own share of the frame; how much of what may be lesion
    (0.2 and more) surely is (0.8 and more); and the logarithm of the doubt, p (1 - p), for each
    pixel of the border.
    """
    inside = max(int(np.count_nonzero(mask)), 1)
    missed = float(probability[~mask].sum(dtype=np.float64)) / inside
    wrong = float((1 - probability[mask]).sum(dtype=np.float64)) / inside
    maybe = int(np.count_nonzero(probability >= 1 - SURE))
    sure = int(np.count_nonzero(probability >= SURE)) / max(maybe, 1)
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    border = max((cv2.arcLength(each, True) for each in contours), default=0.0)
    doubt = float((probability * (1 - probability)).sum(dtype=np.float64)) / (border + BORDER)
    floor = np.array([FLOOR, FLOOR, 0, FLOOR])
    logs = np.log(np.array([missed, wrong, inside / mask.size, doubt]) + floor)
    return np.array([*logs, sure])
