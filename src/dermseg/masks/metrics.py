"""The challenge's five metrics (paper, section IV-A), by the rules of its official scorer.

What an empty mask gets follows isic-challenge-scoring: where there is nothing to find and nothing
is found, Jaccard and Dice are 1; sensitivity is 1 without lesion in the truth, and specificity is
1 without background in it.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Mask

RESAMPLES, COVERAGE = 10_000, 0.95
RESAMPLED_AT_ONCE = 500


@dataclass(frozen=True)
class Scores:
    """The challenge's five metrics of one image, or their means over images; each 0 to 1."""

    accuracy: float
    """Pixels that are right, of all pixels (AC)."""
    dice: float
    """Dice coefficient: twice the common pixels, of the sum of both areas (DI)."""
    jaccard: float
    """Jaccard index: the common pixels, of those in either mask (JA)."""
    sensitivity: float
    """Lesion that was found, of the true lesion (SE)."""
    specificity: float
    """Background that was left, of the true background (SP)."""


def score(truth: Mask, prediction: Mask) -> Scores:
    """Score a mask against the true one, as the challenge's official scorer does.

    Parameters
    ----------
    truth
        The true mask, boolean (H, W).
    prediction
        The mask to score, boolean (H, W).

    Returns
    -------
    Scores
        The five metrics (paper, section IV-A). Jaccard and Dice of two empty masks are 1;
        sensitivity is 1 without lesion in the truth, specificity 1 without background in it.

    Raises
    ------
    TypeError
        If a mask is no array.
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> truth = dermseg.read_mask("examples/masks/ISIC_0003582_segmentation.png") > 128
    >>> dermseg.score(truth, truth).jaccard
    1.0
    """
    check_masks(truth, prediction)
    lesion, found = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    tp = int(np.count_nonzero(truth & prediction))
    fp, fn = found - tp, lesion - tp
    tn = truth.size - tp - fp - fn
    return Scores(
        accuracy=(tp + tn) / truth.size,
        dice=_ratio(2 * tp, 2 * tp + fp + fn),
        jaccard=_ratio(tp, tp + fp + fn),
        sensitivity=_ratio(tp, tp + fn),
        specificity=_ratio(tn, tn + fp),
    )


def check_masks(truth: Mask, prediction: Mask) -> None:
    """Raise TypeError or ValueError for masks that cannot be compared."""
    for mask in (truth, prediction):
        if not isinstance(mask, np.ndarray):
            raise TypeError(
                f"a mask is a boolean array, not {type(mask).__name__}; of a file it is "
                "dermseg.read_mask(path) > 128, and dermseg.evaluate scores folders"
            )
    if truth.shape != prediction.shape:
        raise ValueError(f"shapes differ: truth {truth.shape}, prediction {prediction.shape}")


def cohens_kappa(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return Cohen's kappa: the agreement of two readers beyond what chance would give.

    Parameters
    ----------
    first, second
        Yes or no, boolean, of one shape: two masks, or two readers' decisions.

    Returns
    -------
    float
        1 where both are the same, 0 where they agree as by chance, below 0 where less.

    Raises
    ------
    ValueError
        If the shapes differ.

    Notes
    -----
    J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological
    Measurement 20 (1960).

    Examples
    --------
    >>> cohens_kappa(np.array([True, True, False, False]), np.array([True, False, False, False]))
    0.5
    """
    if first.shape != second.shape:
        raise ValueError(f"shapes differ: {first.shape} and {second.shape}")
    size = first.size
    yes, also = int(np.count_nonzero(first)), int(np.count_nonzero(second))
    same = size - int(np.count_nonzero(first != second))
    by_chance = yes * also + (size - yes) * (size - also)  # times size
    return 1.0 if same == size else (same * size - by_chance) / (size * size - by_chance)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def mean(scores: Sequence[Scores]) -> Scores:
    """Return each metric's mean over images, the challenge's macro average."""
    table = np.array([astuple(s) for s in scores], dtype=np.float64)
    return Scores(*(float(value) for value in table.mean(0)))


def bootstrap_interval(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 95 % percentile bootstrap interval, low and high, of the mean over images.

    `values` is (images,) or (images, k), for k means at once; the ends are () or (k,).
    """
    table = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(0)
    count = len(table)
    means = []
    for start in range(0, RESAMPLES, RESAMPLED_AT_ONCE):
        size = (min(RESAMPLED_AT_ONCE, RESAMPLES - start), count)
        # How often each image is drawn, (resamples, images): the means are then one product.
        drawn = generator.integers(0, count, size) + count * np.arange(size[0])[:, np.newaxis]
        times = np.bincount(drawn.ravel(), minlength=size[0] * count).reshape(size)
        means.append(times @ table / count)
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return low, high


METRICS = tuple(field.name for field in fields(Scores))
"""The metrics' names, in the paper's order: AC, DI, JA, SE, SP."""
