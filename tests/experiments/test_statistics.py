"""Verdicts from hand-made scores."""

import numpy as np
import pytest

from dermseg.experiments.statistics import (
    Table,
    correlation,
    decide,
    difference,
    estimate,
    restrict,
    student_interval,
    two_way_interval,
    wilcoxon,
)
from dermseg.masks.metrics import METRICS, Scores, bootstrap_interval


def scores(jaccard: float) -> Scores:
    return Scores(0.9, 0.8, jaccard, 0.7, 0.95)


def table(*seeds: dict[str, float]) -> Table:
    return {
        seed: {image: scores(value) for image, value in each.items()}
        for seed, each in enumerate(seeds)
    }


def noisy(mean: float, seed: int, images: int = 40, spread: float = 0.05) -> dict[str, float]:
    values = np.random.default_rng(seed).normal(mean, spread, images)
    return {f"ISIC_{number:07}": float(value) for number, value in enumerate(values)}


@pytest.mark.parametrize(
    ("better", "outcome"), [(0.8, "supported"), (0.6, "not supported"), (0.7, "undecided")]
)
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_three_verdicts(better: float, outcome: str, seeds: int) -> None:
    ahead = table(*(noisy(better, seed) for seed in range(seeds)))
    behind = table(*(noisy(0.7, 10 + seed) for seed in range(seeds)))
    gain = difference(ahead, behind)
    mean, low, high = gain.of("jaccard")
    assert low <= mean <= high
    assert decide(low, high) == outcome
    assert (gain.images, gain.seeds) == (40, seeds)


def test_an_interval_that_ends_at_zero_decides_nothing() -> None:
    assert decide(0.0, 0.1) == decide(-0.1, 0.0) == decide(0.0, 0.0) == "undecided"


def test_images_are_paired_by_their_ids_and_not_by_their_places() -> None:
    values = noisy(0.5, 0, spread=0.2)
    raised = {image: value + 0.01 for image, value in values.items()}
    backwards = dict(reversed(raised.items()))
    mean, low, high = difference(table(backwards), table(values)).of("jaccard")
    assert (mean, low, high) == pytest.approx((0.01, 0.01, 0.01))


def test_only_images_that_both_hold_are_compared() -> None:
    gain = difference(table({"a": 0.5, "b": 0.9, "c": 0.1}), table({"d": 0.0, "c": 0.3, "a": 0.4}))
    assert gain.images == 2
    assert gain.of("jaccard")[0] == pytest.approx((0.1 - 0.2) / 2)
    with pytest.raises(ValueError, match="no image"):
        difference(table({"a": 0.5}), table({"b": 0.5}))


def test_seeds_are_paired_too() -> None:
    """Seed 1 holds out other images than seed 0, as folds that are drawn by the seed do."""
    ahead = table({"a": 0.5, "b": 0.7}, {"b": 0.4, "c": 0.9})
    behind = table({"a": 0.4, "b": 0.5}, {"b": 0.4, "c": 0.6, "a": 0.1})
    gain = difference(ahead, behind)
    assert gain.images == 3
    assert gain.of("jaccard")[0] == pytest.approx((0.1 + (0.2 + 0.0) / 2 + 0.3) / 3)
    shared = restrict({"ahead": ahead, "behind": behind})
    assert sorted(shared["behind"][1]) == ["b", "c"]


def test_a_seed_of_which_both_hold_no_image_is_left_out() -> None:
    ahead = table(noisy(0.8, 0), {"one": 0.5})
    gain = difference(ahead, table(noisy(0.7, 1), {"other": 0.5}))
    assert (gain.images, gain.seeds) == (40, 1)
    assert np.isfinite(gain.of("jaccard")).all()


def test_one_seed_is_the_bootstrap_over_images() -> None:
    values = noisy(0.7, 3)
    found = estimate(table(values))
    low, high = bootstrap_interval(np.array(list(values.values())))
    expected = (np.mean(list(values.values())), low, high)
    assert found.of("jaccard") == pytest.approx(expected)
    assert len(found.mean) == len(METRICS)


def test_seeds_that_disagree_widen_the_interval() -> None:
    """All images agree; only the trainings differ, which one seed could not have shown."""
    flat = [{f"{number}": mean for number in range(30)} for mean in (0.6, 0.7, 0.8)]
    one, three = estimate(table(flat[1])), estimate(table(*flat))
    assert one.of("jaccard") == pytest.approx((0.7, 0.7, 0.7))
    mean, low, high = three.of("jaccard")
    assert mean == pytest.approx(0.7)
    assert (low, high) == pytest.approx(student_interval([0.6, 0.7, 0.8])[1:])
    assert low < 0.6 < 0.8 < high


def test_both_images_and_seeds_are_drawn() -> None:
    """Of 20 trainings that differ and images that agree the interval is the trainings' own."""
    means = np.random.default_rng(2).normal(0.7, 0.05, 20)
    cells = np.repeat(means, 30).reshape(20, 30, 1)
    low, high = (float(end[0]) for end in two_way_interval(cells))
    assert high - low == pytest.approx(2 * 1.96 * means.std() / 20**0.5, rel=0.1)
    low, high = (float(end[0]) for end in two_way_interval(cells.swapaxes(0, 1)))
    assert high - low == pytest.approx(2 * 1.96 * means.std() / 20**0.5, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3])
def test_equal_arms_are_told_apart_as_seldom_as_promised(seeds: int) -> None:
    """Trainings differ by chance as much as images do; 5 % of the intervals may miss 0."""
    chance = np.random.default_rng(4)
    missed = 0
    for _ in range(120):
        of_training = chance.normal(0, 0.02, (2, seeds, 1))
        of_image = chance.normal(0, 0.1, (2, seeds, 40))
        ours, theirs = 0.5 + of_training + of_image
        arms = [
            table(*({f"{n}": float(value) for n, value in enumerate(seed)} for seed in arm))
            for arm in (ours, theirs)
        ]
        _, low, high = difference(*arms).of("jaccard")
        missed += decide(low, high) != "undecided"
    assert missed <= 12  # 6 are expected, and more than 12 are not, 99 times of 100


def test_several_seeds_that_agree_by_a_plain_bootstrap() -> None:
    """Images differ more than trainings: as drawing both one resample at a time."""
    each = [noisy(mean, 0, images=25, spread=0.3) for mean in (0.649, 0.65, 0.651)]
    del each[1]["ISIC_0000003"]  # a seed that lacks an image
    found = estimate(table(*each))
    chance = np.random.default_rng(5)
    images = sorted(each[0])
    means = []
    for _ in range(4000):
        seeds = [each[number] for number in chance.integers(0, 3, 3)]
        drawn = [images[number] for number in chance.integers(0, 25, 25)]
        held = [[s[image] for s in seeds if image in s] for image in drawn]
        means.append(np.mean([np.mean(values) for values in held if values]))
    low, high = np.quantile(means, [0.025, 0.975])
    assert found.of("jaccard")[1:] == pytest.approx((low, high), abs=0.01)


def test_student_for_a_handful() -> None:
    mean, low, high = student_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3
    assert high - mean == pytest.approx(2.7764 * (2.5 / 5) ** 0.5, rel=1e-4)
    assert mean - low == pytest.approx(high - mean)
    assert decide(*student_interval([0.3])[1:]) == "undecided"
    assert student_interval([0.0, 1.0] * 30)[2] < 0.7


def test_correlation_is_pearsons_over_the_images_of_both() -> None:
    ours, theirs = noisy(0.6, 0), noisy(0.6, 1)
    mixed = {image: value + 0.5 * theirs[image] for image, value in ours.items()}
    r, low, high = correlation(table({**ours, "alone": 1.0}), table(mixed))
    expected = np.corrcoef(list(ours.values()), list(mixed.values()))[0, 1]
    assert r == pytest.approx(expected)
    assert low < r < high < 1
    flat = table(dict.fromkeys(ours, 0.5))
    assert np.isnan(correlation(table(ours), flat)).all()


def test_wilcoxon_tells_a_shift_from_noise() -> None:
    ours = noisy(0.6, 0)
    shifted = {image: value + 0.01 * (n % 3) for n, (image, value) in enumerate(ours.items())}
    noise = {image: value + 0.01 * (-1) ** n for n, (image, value) in enumerate(ours.items())}
    assert wilcoxon(table(ours), table(shifted)) < 1e-4
    assert wilcoxon(table(ours), table(noise)) > 0.1
    assert wilcoxon(table(ours), table(ours)) == 1
