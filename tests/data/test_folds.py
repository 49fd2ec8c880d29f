"""Cross-validation: near-duplicates together, everything else spread evenly."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dermseg.data import folds
from dermseg.data.folds import assign, near_duplicates

Signature = NDArray[np.float64]


def scene(seed: int) -> Signature:
    """Return the signature of a random picture, (8, 8, 3) in 40..200."""
    return np.random.default_rng(seed).uniform(40, 200, (8, 8, 3))


def stack(*signatures: Signature) -> NDArray[np.uint8]:
    return np.stack(signatures).clip(0, 255).astype(np.uint8)


def noisy(signature: Signature) -> Signature:
    return signature + np.random.default_rng(0).normal(0, 4, signature.shape)


class TestNearDuplicates:
    def test_unlike_images_stay_apart(self) -> None:
        groups = near_duplicates(stack(*(scene(seed) for seed in range(30))))
        assert len(set(groups)) == 30

    @pytest.mark.parametrize(
        "changed",
        [
            noisy(scene(0)),
            scene(0) + 15,
            scene(0) * 0.8,
            noisy(scene(0) * 1.1 - 10),
            scene(0),
        ],
        ids=["noise", "brighter", "darker", "noise and contrast", "a copy"],
    )
    def test_a_slightly_changed_image_joins_its_original(self, changed: Signature) -> None:
        groups = near_duplicates(stack(scene(0), scene(1), changed, scene(2)))
        assert groups[0] == groups[2]
        assert len(set(groups)) == 3

    @pytest.mark.parametrize("at_once", [1, 2, 1000])
    def test_groups_join_transitively(self, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
        monkeypatch.setattr(folds, "COMPARED_AT_ONCE", at_once)
        one, two = (scene(seed) - scene(seed).mean() for seed in (0, 1))
        two = two - one * (one * two).sum() / (one * one).sum()
        two *= np.linalg.norm(one) / np.linalg.norm(two)
        turned = [120 + 0.6 * (np.cos(a) * one + np.sin(a) * two) for a in np.radians([0, 20, 10])]
        ends, chain = stack(*turned[:2]), stack(*turned)
        assert len(set(near_duplicates(ends))) == 2
        for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
            assert len(set(near_duplicates(chain[order]))) == 1

    @pytest.mark.parametrize("at_once", [1, 2, 1000])
    def test_chains_that_meet_late_become_one_group(
        self, monkeypatch: pytest.MonkeyPatch, at_once: int
    ) -> None:
        monkeypatch.setattr(folds, "COMPARED_AT_ONCE", at_once)
        # 0 joins 1 and 2 joins 3 before 1 meets 3.
        one, two = (scene(seed) - scene(seed).mean() for seed in (0, 1))
        two = two - one * (one * two).sum() / (one * one).sum()
        two *= np.linalg.norm(one) / np.linalg.norm(two)
        angles = np.radians([0, 10, 28, 19])
        chain = stack(*(120 + 0.6 * (np.cos(a) * one + np.sin(a) * two) for a in angles))
        assert len(set(near_duplicates(chain))) == 1

    def test_a_mirror_image_is_another_image(self) -> None:
        # Nobody looks for it; this pins what a group means.
        assert len(set(near_duplicates(stack(scene(0), scene(0)[:, ::-1])))) == 2

    def test_colours_count_not_lightness_alone(self) -> None:
        assert len(set(near_duplicates(stack(scene(0), scene(0)[..., [2, 0, 1]])))) == 2

    def test_images_of_one_colour_raise_no_warning(self) -> None:
        with np.errstate(all="raise"):
            groups = near_duplicates(stack(np.full((8, 8, 3), 90.0), scene(0)))
        assert groups[0] != groups[1]


# Groups as (stratum, size).
GROUPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), min_size=1, max_size=60)


class TestAssign:
    @settings(max_examples=150, deadline=None)
    @given(groups=GROUPS, folds=st.integers(1, 7), seed=st.integers(0, 2**32), data=st.data())
    def test_groups_stay_whole_and_strata_even(
        self, groups: list[tuple[str, int]], folds: int, seed: int, data: st.DataObject
    ) -> None:
        images = [(g, s) for g, (s, size) in enumerate(groups) for _ in range(size)]
        images = data.draw(st.permutations(images))
        numbers, strata = [g for g, _ in images], [s for _, s in images]
        fold_of = assign(numbers, strata, folds, seed)

        assert len(fold_of) == len(images)
        assert set(fold_of) <= set(range(folds))
        assert len(set(zip(numbers, fold_of, strict=True))) == len(groups)
        for stratum in set(strata):
            sizes = Counter(
                fold for fold, other in zip(fold_of, strata, strict=True) if other == stratum
            )
            largest = max(size for s, size in groups if s == stratum)
            counts = [sizes[fold] for fold in range(folds)]
            assert max(counts) - min(counts) <= largest
        assert assign(numbers, strata, folds, seed) == fold_of

    @pytest.mark.parametrize("seed", range(5))
    def test_images_without_duplicates_are_dealt_evenly(self, seed: int) -> None:
        strata = ["melanoma"] * 374 + ["keratosis"] * 254 + ["nevus"] * 1372
        fold_of = assign(range(2000), strata, 5, seed)
        sizes = Counter(fold_of)
        assert max(sizes.values()) - min(sizes.values()) <= 2
        for stratum, low, high in (
            ("melanoma", 74, 75),
            ("keratosis", 50, 51),
            ("nevus", 274, 275),
        ):
            counts = Counter(f for f, s in zip(fold_of, strata, strict=True) if s == stratum)
            assert {low, high} >= set(counts.values())

    def test_sizes_are_even_when_strata_are_small(self) -> None:
        strata = [f"{i}" for i in range(50)]  # a stratum an image: only the sizes can decide
        assert set(Counter(assign(range(50), strata, 5, 0)).values()) == {10}

    def test_the_seed_decides(self) -> None:
        deals = [assign(range(40), ["unknown"] * 40, 5, seed) for seed in range(3)]
        assert deals[0] != deals[1] != deals[2] != deals[0]

    def test_neighbours_in_the_list_are_not_dealt_in_turn(self) -> None:
        fold_of = assign(range(100), ["unknown"] * 100, 5, 0)
        assert fold_of != [i % 5 for i in range(100)]

    def test_a_group_of_several_strata_is_counted_under_its_commonest(self) -> None:
        groups = [0, 0, 0, 1, 2, 3]
        strata = ["a", "a", "b", "a", "b", "b"]
        for seed in range(10):
            fold_of = assign(groups, strata, 2, seed)
            assert len(set(fold_of[:3])) == 1
            assert fold_of[3] != fold_of[0]
