"""How a mask is made: one threshold or two, the paper's rule or the complete one.

On predictions out of fold; nothing is trained but what they need.
"""

import cv2
import numpy as np

from dermseg.evaluation.maps import Binariser, binariser
from dermseg.experiments.findings import OUT_OF_FOLD, Findings
from dermseg.experiments.registry import DUAL, LITERAL, ONE_LEVEL, SINGLE
from dermseg.experiments.statistics import Table
from dermseg.experiments.study import Study
from dermseg.imaging.images import Mask
from dermseg.masks.postprocess import Probability
from dermseg.settings import ThresholdSettings

VARIANTS = {
    DUAL: ThresholdSettings("complete", 0.8, 0.5),
    ONE_LEVEL: ThresholdSettings("complete", 0.5, 0.5),  # the region of the largest mass
    "complete 0.7/0.5": ThresholdSettings("complete", 0.7, 0.5),
    "complete 0.9/0.5": ThresholdSettings("complete", 0.9, 0.5),
    "complete 0.8/0.3": ThresholdSettings("complete", 0.8, 0.3),
    "complete 0.8/0.4": ThresholdSettings("complete", 0.8, 0.4),
    "complete 0.8/0.6": ThresholdSettings("complete", 0.8, 0.6),
}
"""Ways to binarise by two thresholds, high and low."""
NOTE = (
    f'"{SINGLE}" takes every pixel whose probability is at least 0.5, in however many regions and '
    f'with their holes; "{ONE_LEVEL}" keeps the region of the largest mass, with holes filled. '
    "The paper's rule is applied at the paper's size, for it dilates by a pixel, and at half the "
    "size that is twice as much of the lesion."
)
PAPER = ThresholdSettings("paper", 0.8, 0.5)
PAPER_SIZE = (192, 256)
"""Height and width of the paper's maps (section II)."""


def measure(study: Study) -> Findings:
    """Score every way on the same predictions."""
    (arm,) = study.arms
    literally = f"{PAPER!r} at {PAPER_SIZE}"
    binarisers: dict[str, Binariser] = {SINGLE: binarise_once, literally: binarise_literally}
    binarisers |= {repr(settings): binariser(settings) for settings in VARIANTS.values()}
    names = {SINGLE: SINGLE, LITERAL: literally}
    names |= {name: repr(settings) for name, settings in VARIANTS.items()}
    scores = {seed: study.scorer.out_of_fold(found, binarisers) for seed, found in arm.runs.items()}
    rows: dict[str, Table] = {
        name: {seed: found[way] for seed, found in scores.items()} for name, way in names.items()
    }
    tables = {OUT_OF_FOLD: rows}
    return Findings(tables, study.judge(tables, study.experiment.claims), notes=[NOTE])


def binarise_literally(probability: Probability, height: int, width: int) -> Mask:
    """Return the mask by the paper's rule, of the probability at least at the paper's size."""
    needed = tuple(max(sides) for sides in zip(probability.shape, PAPER_SIZE, strict=True))
    if needed != probability.shape:
        large = cv2.resize(probability, needed[::-1], interpolation=cv2.INTER_LINEAR)
        probability = np.asarray(large, np.float32)
    return binariser(PAPER)(probability, height, width)


def binarise_once(probability: Probability, height: int, width: int) -> Mask:
    """Return where the bilinearly scaled probability is at least one half."""
    scaled = cv2.resize(probability, (width, height), interpolation=cv2.INTER_LINEAR)
    mask: Mask = np.asarray(scaled) >= 0.5
    return mask
