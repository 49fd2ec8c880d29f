"""Differences between methods with their intervals, and the verdicts that follow."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Literal
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import NDArray

from dermseg.masks.metrics import METRICS, RESAMPLED_AT_ONCE, Scores, bootstrap_interval

Table = Mapping[int, Mapping[str, Scores]]
"""A row's scores: by seed, then by image."""
Numbers = NDArray[np.float64]
Outcome = Literal["supported", "not supported", "undecided"]

MINIMUM_SEEDS = 3
"""Fewer trainings of each method say nothing of how trainings differ by chance."""
RESAMPLES = 10_000
CORRELATED = 1000
"""Resamples of a correlation, each of which needs all images' values."""
TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Estimate:
    """The five metrics, or differences of them, each with a 95 % interval; arrays (5,).

    `images` and `seeds` are what they were taken over.
    """

    mean: Numbers
    low: Numbers
    high: Numbers
    images: int
    seeds: int

    def of(self, metric: str) -> tuple[float, float, float]:
        """Return one metric's mean and the ends of its interval."""
        column = METRICS.index(metric)
        return float(self.mean[column]), float(self.low[column]), float(self.high[column])


def restrict(tables: Mapping[str, Table]) -> dict[str, Table]:
    """Return `tables` without what some lack: the images, of each seed, that all of them hold.

    A seed of which they hold no image together is left out.
    """
    seeds = sorted(set.intersection(*(set(table) for table in tables.values())))
    shared = {
        seed: set.intersection(*(set(table[seed]) for table in tables.values())) for seed in seeds
    }
    return {
        name: {
            seed: {image: table[seed][image] for image in sorted(images)}
            for seed, images in shared.items()
            if images
        }
        for name, table in tables.items()
    }


def estimate(table: Table) -> Estimate:
    """Return the metrics' means: over seeds for each image, then over images."""
    cells, images = _cells(table)
    return _estimate(cells, len(images))


def difference(better: Table, worse: Table) -> Estimate:
    """Return how much higher `better` scores, paired by image and seed.

    Only what both tables hold counts. Raises ValueError if that is nothing.
    """
    pair = restrict({"better": better, "worse": worse})
    (ahead, images), (behind, _) = _cells(pair["better"]), _cells(pair["worse"])
    return _estimate(ahead - behind, len(images))


def of_networks(better: Table, worse: Table) -> Estimate:
    """Return the same of these trained networks alone: images are resampled, seeds are not."""
    pair = restrict({"better": better, "worse": worse})
    (ahead, images), (behind, _) = _cells(pair["better"]), _cells(pair["worse"])
    return _estimate(np.nanmean(ahead - behind, 0, keepdims=True), len(images))


def _cells(table: Table) -> tuple[Numbers, list[str]]:
    """Return the metrics as (seeds, images, 5), not a number where a seed lacks an image."""
    images = sorted({image for scores in table.values() for image in scores})
    if not images:
        raise ValueError("no image was scored")
    place = {image: column for column, image in enumerate(images)}
    cells = np.full((len(table), len(images), len(METRICS)), np.nan)
    for row, seed in enumerate(sorted(table)):
        for image, scores in table[seed].items():
            cells[row, place[image]] = astuple(scores)
    return cells, images


def _estimate(cells: Numbers, images: int) -> Estimate:
    """Estimate from (seeds, images, 5); with several seeds these are resampled as images are.

    How trainings differ by chance is then in the interval; with one seed it is not. Resampling a
    handful of seeds cannot leave their range, and alone called every sixth difference of two equal
    arms with three seeds real: the ends are those of Student's t over the seeds where that is
    wider.
    """
    mean = np.nanmean(cells, 0).mean(0)
    if len(cells) == 1:
        low, high = bootstrap_interval(cells[0])
    else:
        low, high = two_way_interval(cells)
        by_seed = [student_interval(column) for column in np.nanmean(cells, 1).T]
        _, lowest, highest = np.array(by_seed).T
        low, high = np.minimum(low, lowest), np.maximum(high, highest)
    return Estimate(mean, low, high, images, len(cells))


def two_way_interval(cells: Numbers) -> tuple[Numbers, Numbers]:
    """Return the interval, (5,) and (5,), from drawing both seeds and images with replacement."""
    seeds, images, _ = cells.shape
    known = ~np.isnan(cells[..., 0])
    filled = np.nan_to_num(cells)
    generator = np.random.default_rng(0)
    means = []
    for start in range(0, RESAMPLES, RESAMPLED_AT_ONCE):
        count = min(RESAMPLED_AT_ONCE, RESAMPLES - start)
        of_seed = _times(generator, count, seeds)
        of_image = _times(generator, count, images)
        drawn = of_seed @ known  # (count, images): how many of the seeds drawn hold the image
        weight = np.divide(of_image, drawn, out=np.zeros_like(drawn), where=drawn > 0)
        present = (of_image * (drawn > 0)).sum(1, keepdims=True)
        # Some draws hold nothing, where seeds share few images; they say nothing.
        held = present[:, 0] > 0
        sums = np.stack([(weight * (of_seed @ part)).sum(1) for part in np.moveaxis(filled, 2, 0)])
        means.append((sums.T / np.maximum(present, 1))[held])
    low, high = np.quantile(np.concatenate(means), TAILS, axis=0)
    return low, high


def _times(generator: np.random.Generator, resamples: int, count: int) -> Numbers:
    """Return how often each of `count` is drawn, (resamples, count)."""
    drawn = generator.integers(0, count, (resamples, count)) + count * np.arange(resamples)[:, None]
    times = np.bincount(drawn.ravel(), minlength=resamples * count)
    return times.reshape(resamples, count).astype(np.float64)


def student_interval(values: Sequence[float] | Numbers) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval by Student's t, for a handful of values.

    A bootstrap of five numbers is too narrow. The interval of one number is endless.
    """
    from scipy.stats import t

    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return mean, -np.inf, np.inf
    reach = float(t.ppf(TAILS[1], count - 1) * np.std(values, ddof=1)) / count**0.5
    return mean, mean - reach, mean + reach


def decide(low: float, high: float) -> Outcome:
    """Return what the interval of a difference says of the claim that it is above 0."""
    if low > 0:
        return "supported"
    return "not supported" if high < 0 else "undecided"


def wilcoxon(one: Table, other: Table) -> float:
    """Return the p of Wilcoxon's signed ranks, two-sided, on the images' Jaccard indices.

    Each image's is the mean over the seeds. 1 where no image differs.
    """
    from scipy.stats import wilcoxon as test

    ours, theirs = paired_jaccard(one, other)
    if np.array_equal(ours, theirs):
        return 1.0
    return float(test(ours, theirs).pvalue)


def correlation(one: Table, other: Table) -> tuple[float, float, float]:
    """Return Pearson's r of the images' Jaccard indices (paper, Figure 5), and its 95 % interval.

    Not a number where one of them is the same for all images.
    """
    from scipy.stats import ConstantInputWarning, pearsonr

    ours, theirs = paired_jaccard(one, other)
    generator = np.random.default_rng(0)
    drawn = generator.integers(0, len(ours), (CORRELATED, len(ours)))
    with catch_warnings():
        simplefilter("ignore", ConstantInputWarning)
        resampled = pearsonr(ours[drawn], theirs[drawn], axis=-1).statistic
        r = float(pearsonr(ours, theirs).statistic)
    known = resampled[np.isfinite(resampled)]
    low, high = np.quantile(known, TAILS) if len(known) else (np.nan, np.nan)
    return r, float(low), float(high)


def paired_jaccard(one: Table, other: Table) -> tuple[Numbers, Numbers]:
    """Return the Jaccard indices of the images that both hold, (n,) and (n,): means over seeds."""
    pair = restrict({"one": one, "other": other})
    column = METRICS.index("jaccard")
    ours, theirs = (np.nanmean(_cells(pair[name])[0][..., column], 0) for name in pair)
    return ours, theirs
