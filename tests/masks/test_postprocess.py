from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dermseg.masks.postprocess import (
    binarise,
    candidate_cores,
    choose_lesion,
    holds,
    threshold_scaled,
)
from dermseg.settings import ThresholdSettings

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]
COMPLETE, PAPER = ThresholdSettings(rule="complete"), ThresholdSettings(rule="paper")
BOTH = pytest.mark.parametrize("rule", [COMPLETE, PAPER], ids=["complete", "paper"])


def background(height: int = 40, width: int = 60) -> Map:
    return np.full((height, width), 0.1, np.float32)


def mask_of(probability: Map, rule: ThresholdSettings, scale: float = 1) -> Mask:
    height, width = (round(side * scale) for side in probability.shape)
    return binarise(choose_lesion(probability, rule), height, width, rule)[0]


def distance(shape: tuple[int, int], row: float, column: float) -> NDArray[np.float64]:
    """Return how far each pixel's centre is from a place, measured from the corner at 0, 0."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return np.hypot(y - row, x - column)


def disc(shape: tuple[int, int], row: float, column: float, radius: float, soft: float = 2) -> Map:
    """Return a probability that is one half at `radius` around a place."""
    away = distance(shape, row, column) - radius
    return (1 / (1 + np.exp(away / soft))).astype(np.float32)


def smooth(seed: int, height: int, width: int, sigma: float) -> Map:
    """Return a random landscape of hills and valleys, 0..1."""
    noise = np.random.default_rng(seed).normal(size=(height, width))
    hills = cv2.GaussianBlur(noise, (0, 0), sigma)
    return (1 / (1 + np.exp(-4 * hills / hills.std()))).astype(np.float32)


def count_regions(mask: Mask) -> int:
    return int(cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0]) - 1


def has_holes(mask: Mask) -> bool:
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    return bool(cv2.connectedComponents(outside, connectivity=4)[0] > 2)


def ring(shape: tuple[int, int], inner: float, outer: float) -> Mask:
    away = distance(shape, shape[0] / 2, shape[1] / 2)
    return (away >= inner) & (away <= outer)


class TestChoice:
    @BOTH
    def test_mass_decides_not_area(self, rule: ThresholdSettings) -> None:
        probability = background()
        probability[5:15, 5:15] = 0.81
        probability[25:35, 40:49] = 0.99
        mask = mask_of(probability, rule)
        assert mask[30, 44]
        assert not mask[10, 10]

    @BOTH
    def test_area_decides_where_the_probability_is_the_same(self, rule: ThresholdSettings) -> None:
        probability = background()
        probability[5:15, 5:15] = 0.9
        probability[25:35, 40:51] = 0.9
        mask = mask_of(probability, rule)
        assert mask[30, 44]
        assert not mask[10, 10]

    @BOTH
    def test_the_core_decides_not_the_reach(self, rule: ThresholdSettings) -> None:
        probability = background()
        probability[5:35, 5:35] = 0.7
        probability[20, 20] = 0.9
        probability[10:16, 45:51] = 0.85
        mask = mask_of(probability, rule)
        assert mask[12, 47]
        assert not mask[20, 20]

    @BOTH
    def test_the_lesion_reaches_to_the_low_threshold(self, rule: ThresholdSettings) -> None:
        probability = background()
        probability[10:30, 10:30] = 0.5
        probability[18:22, 18:22] = 0.8
        probability[10:30, 30:40] = 0.49
        mask = mask_of(probability, rule)
        grown = 1 if rule is PAPER else 0
        assert np.argwhere(mask).min(0).tolist() == [10 - grown, 10 - grown]
        assert np.argwhere(mask).max(0).tolist() == [29 + grown, 29 + grown]

    @BOTH
    def test_other_regions_are_removed(self, rule: ThresholdSettings) -> None:
        probability = background()
        probability[5:20, 5:20] = 0.9
        for row, column in ((5, 30), (25, 5), (30, 30), (36, 56)):
            probability[row : row + 3, column : column + 3] = 0.95
        mask = mask_of(probability, rule, 2.5)
        assert count_regions(mask) == 1
        assert mask[30, 30]

    @BOTH
    def test_nothing_reaches_the_low_threshold(self, rule: ThresholdSettings) -> None:
        probability = np.full((20, 30), 0.49, np.float32)
        lesion = choose_lesion(probability, rule)
        mask, outline = binarise(lesion, 41, 59, rule)
        assert not mask.any()
        assert mask.shape == (41, 59)
        assert outline.shape == (0, 2)
        assert lesion.candidates == 0

    def test_nothing_reaches_the_high_threshold(self) -> None:
        probability = background()
        probability[5:15, 5:15] = 0.6
        probability[20:38, 30:39] = 0.5
        assert not mask_of(probability, PAPER).any()
        found = mask_of(probability, COMPLETE)
        assert found[25, 35], "81 square pixels of one half outweigh 60"
        assert not found[10, 10]

    @BOTH
    def test_everything_is_lesion(self, rule: ThresholdSettings) -> None:
        assert mask_of(np.ones((12, 16), np.float32), rule, 3.3).all()

    def test_a_centroid_outside_the_lesion(self) -> None:
        probability = background(60, 60)
        probability[ring((60, 60), 14, 24)] = 0.95
        assert not mask_of(probability, PAPER).any()
        assert mask_of(probability, COMPLETE)[30, 30], "the ring's inside is a hole, and filled"

    def test_a_crescents_centroid_lies_outside_of_it(self) -> None:
        probability = background(60, 60)
        crescent = ring((60, 60), 16, 24)
        crescent[:, 42:] = False
        probability[crescent] = 0.95
        assert not mask_of(probability, PAPER).any()
        np.testing.assert_array_equal(mask_of(probability, COMPLETE), crescent)

    def test_the_paper_takes_whatever_region_embraces_the_centre(self) -> None:
        probability = background(60, 60)
        probability[ring((60, 60), 16, 24)] = 0.95
        probability[28:32, 28:32] = 0.6
        paper = mask_of(probability, PAPER)
        assert paper[30, 30]
        assert paper.sum() == 36, "the blob of 4 x 4 dilated by one pixel"
        assert mask_of(probability, COMPLETE)[30, 8]

    def test_candidates_are_counted_at_the_rules_own_threshold(self) -> None:
        probability = background()
        probability[5:15, 5:50] = 0.6
        probability[8:12, 8:12] = probability[8:12, 40:44] = 0.9
        probability[30:35, 5:10] = 0.6
        assert choose_lesion(probability, PAPER).candidates == 2
        assert choose_lesion(probability, COMPLETE).candidates == 2
        probability[25:28, 30:40] = 0.55
        assert choose_lesion(probability, PAPER).candidates == 2
        assert choose_lesion(probability, COMPLETE).candidates == 3

    @BOTH
    def test_the_map_that_came_in_is_left_alone(self, rule: ThresholdSettings) -> None:
        probability = smooth(7, 48, 64, 4)
        before = probability.copy()
        mask_of(probability, rule)
        np.testing.assert_array_equal(probability, before)


class TestHoles:
    @pytest.mark.parametrize("side", [1, 2, 5, 14])
    def test_the_complete_rule_fills_holes_of_any_size(self, side: int) -> None:
        probability = background()
        probability[5:35, 5:45] = 0.9
        probability[10 : 10 + side, 20 : 20 + side] = 0
        for scale in (1, 4, 2.7):
            mask = mask_of(probability, COMPLETE, scale)
            assert not has_holes(mask)
            assert count_regions(mask) == 1
        assert mask_of(probability, COMPLETE).sum() == 30 * 40

    @pytest.mark.parametrize(("side", "left"), [(1, 0), (2, 0), (3, 1), (10, 64)])
    def test_the_papers_dilation_fills_small_holes_only(self, side: int, left: int) -> None:
        probability = background()
        probability[5:35, 5:45] = 0.9
        probability[10 : 10 + side, 8 : 8 + side] = 0
        assert mask_of(probability, PAPER).sum() == 32 * 42 - left

    def test_a_bay_is_not_a_hole(self) -> None:
        probability = background()
        probability[5:35, 5:45] = 0.9
        probability[15:25, 30:45] = 0.1
        assert mask_of(probability, COMPLETE).sum() == 30 * 40 - 10 * 15

    def test_what_lies_in_a_hole_does_not_stay_apart(self) -> None:
        probability = background(60, 60)
        probability[ring((60, 60), 14, 24)] = 0.95
        probability[26:34, 26:34] = 0.7
        mask = mask_of(probability, COMPLETE, 3)
        assert not has_holes(mask)
        assert mask[90, 90]


sizes = st.tuples(st.integers(5, 150), st.integers(5, 150))


class TestCut:
    @given(
        st.integers(0, 10**6),
        st.sampled_from([(24, 32), (48, 64), (32, 24)]),
        st.sampled_from([2.0, 4.0, 7.0]),
        sizes,
    )
    @settings(deadline=None, max_examples=80)
    def test_the_mask_is_one_region_without_holes_at_any_size(
        self, seed: int, shape: tuple[int, int], sigma: float, size: tuple[int, int]
    ) -> None:
        lesion = choose_lesion(smooth(seed, *shape, sigma), COMPLETE)
        mask, outline = binarise(lesion, *size, COMPLETE)
        assert mask.dtype == np.bool_
        assert mask.shape == size
        assert count_regions(mask) == int(mask.any()) == int(len(outline) > 0)
        assert not has_holes(mask)

    @given(st.integers(0, 10**6), sizes, st.sampled_from([0.3, 0.5, 0.9]))
    @settings(deadline=None, max_examples=60)
    def test_what_is_scaled_is_the_whole_map_scaled(
        self, seed: int, size: tuple[int, int], low: float
    ) -> None:
        probability = smooth(seed, 24, 32, 3)
        whole = cv2.resize(probability, size[::-1], interpolation=cv2.INTER_LINEAR)
        found, (left, top) = threshold_scaled(probability, *size, low)
        mask = np.zeros(size, np.bool_)
        mask[top : top + found.shape[0], left : left + found.shape[1]] = found
        doubtful = np.abs(whole - low) < 1e-6
        np.testing.assert_array_equal(mask | doubtful, (whole >= low) | doubtful)

    @given(st.integers(0, 10**6), sizes)
    @settings(deadline=None, max_examples=60)
    def test_the_outline_encloses_exactly_the_mask(self, seed: int, size: tuple[int, int]) -> None:
        lesion = choose_lesion(smooth(seed, 24, 32, 3), COMPLETE)
        mask, outline = binarise(lesion, *size, COMPLETE)
        filled = np.zeros(size, np.uint8)
        if len(outline):
            cv2.drawContours(filled, [outline[:, np.newaxis]], -1, 1, cv2.FILLED)
        np.testing.assert_array_equal(filled.astype(bool), mask)
        assert outline.dtype == np.int32
        assert outline.shape == (len(outline), 2)

    @pytest.mark.parametrize("size", [(1152, 1536), (700, 933), (960, 1280)])
    def test_the_border_of_a_disc_is_smooth_and_in_its_place(self, size: tuple[int, int]) -> None:
        probability = disc((96, 128), 50.3, 60.7, 25.2)
        mask, outline = binarise(choose_lesion(probability, COMPLETE), *size, COMPLETE)
        factor = size[0] / 96
        radius = 25.2 * factor
        truth = distance(size, 50.3 * factor, 60.7 * size[1] / 128) < radius
        assert (mask & truth).sum() / (mask | truth).sum() > 0.99
        # A staircase of the network's pixels would be a good fifth longer than the circle.
        perimeter = cv2.arcLength(outline[:, np.newaxis], True)
        assert 2 * np.pi * radius < perimeter < 1.09 * 2 * np.pi * radius

    @given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5))
    @settings(deadline=None, max_examples=40)
    def test_mirrored_probability_gives_the_mirrored_mask(
        self, seed: int, down: int, across: int
    ) -> None:
        probability = smooth(seed, 24, 32, 4)
        size = 24 * down + 1, 32 * across - 1
        mask, _ = binarise(choose_lesion(probability, COMPLETE), *size, COMPLETE)
        for flip in (np.fliplr, np.flipud):
            mirrored = np.ascontiguousarray(flip(probability))
            back = flip(binarise(choose_lesion(mirrored, COMPLETE), *size, COMPLETE)[0])
            # Rounding may decide for a pixel that lies on the threshold.
            assert np.count_nonzero(mask != back) <= 2

    @BOTH
    @pytest.mark.parametrize("factor", [0.5, 2, 3.5, 8])
    def test_the_centroid_scales_by_the_factor(
        self, rule: ThresholdSettings, factor: float
    ) -> None:
        probability = disc((64, 80), 30.2, 41.9, 18)
        mask = mask_of(probability, rule, factor)
        centre = (np.argwhere(mask) + 0.5).mean(0)
        assert centre == pytest.approx([30.2 * factor, 41.9 * factor], abs=max(0.15, 0.05 * factor))

    @pytest.mark.parametrize("size", [(400, 100), (64, 640), (31, 301)])
    def test_sides_may_scale_differently(self, size: tuple[int, int]) -> None:
        mask, _ = binarise(choose_lesion(disc((64, 80), 30, 42, 18), COMPLETE), *size, COMPLETE)
        centre = (np.argwhere(mask) + 0.5).mean(0)
        assert centre == pytest.approx([30 * size[0] / 64, 42 * size[1] / 80], rel=0.01)
        extent = np.ptp(np.argwhere(mask), 0) + 1
        assert extent == pytest.approx([36 * size[0] / 64, 36 * size[1] / 80], rel=0.06)

    @given(st.integers(0, 10**6), st.floats(0.2, 0.8), st.floats(0.2, 0.8))
    @settings(deadline=None, max_examples=50)
    def test_raising_the_low_threshold_never_enlarges_the_mask(
        self, seed: int, one: float, other: float
    ) -> None:
        probability = smooth(seed, 24, 32, 4)
        probability[probability.argmax() // 32, probability.argmax() % 32] = 1
        for rule in ("complete", "paper"):
            wide, narrow = (
                mask_of(probability, ThresholdSettings(rule=rule, high=0.8, low=low))
                for low in sorted((one, other))
            )
            assert not (narrow & ~wide).any()

    @BOTH
    def test_raising_the_low_threshold_shrinks_a_disc_at_full_size(
        self, rule: ThresholdSettings
    ) -> None:
        probability = disc((48, 64), 24, 30, 14, soft=3)
        masks = [
            mask_of(probability, ThresholdSettings(rule.rule, 0.8, low), 7.3)
            for low in (0.2, 0.4, 0.6, 0.8)
        ]
        for wide, narrow in pairwise(masks):
            assert not (narrow & ~wide).any()
            assert 0 < narrow.sum() < wide.sum()

    @BOTH
    def test_the_same_input_gives_the_same_mask(self, rule: ThresholdSettings) -> None:
        probability = smooth(3, 48, 64, 4)
        np.testing.assert_array_equal(
            mask_of(probability, rule, 5.1), mask_of(probability.copy(), rule, 5.1)
        )

    def test_the_core_stays_in_the_mask_where_a_thin_bridge_breaks(self) -> None:
        probability = np.zeros((40, 60), np.float32)
        probability[15:25, 5:15] = 0.95
        probability[20, 15:30] = 0.501
        probability[5:35, 30:55] = 0.7
        assert mask_of(probability, COMPLETE)[20, 10]
        assert mask_of(probability, COMPLETE, 4)[80, 40]

    @BOTH
    def test_a_lesion_may_fill_the_frame_to_its_border(self, rule: ThresholdSettings) -> None:
        probability = background()
        probability[:, :30] = 0.9
        mask = mask_of(probability, rule, 3)
        assert mask[:, :85].all()
        assert not mask[:, 95:].any()

    def test_a_single_pixel_is_a_mask_with_an_outline(self) -> None:
        probability = background()
        probability[20, 30] = 0.9
        mask, outline = binarise(choose_lesion(probability, COMPLETE), 40, 60, COMPLETE)
        assert np.argwhere(mask).tolist() == [[20, 30]]
        assert outline.tolist() == [[30, 20]]


class TestAPersonsChoice:
    def two(self) -> Map:
        """Return a large lesion on the left and a small one on the right."""
        large, small = disc((60, 90), 30, 25, 16), disc((60, 90), 30, 70, 8)
        return np.maximum(large, small)

    @BOTH
    @pytest.mark.parametrize(("at", "inside"), [((30, 70), (30, 70)), ((30, 25), (30, 25))])
    def test_the_region_that_holds_the_place(
        self, rule: ThresholdSettings, at: tuple[int, int], inside: tuple[int, int]
    ) -> None:
        lesion = choose_lesion(self.two(), rule, at)
        mask = binarise(lesion, 60, 90, rule)[0]
        assert mask[inside]
        assert count_regions(mask) == 1
        assert lesion.candidates == 2

    @BOTH
    def test_a_place_beside_all_regions_means_none(self, rule: ThresholdSettings) -> None:
        lesion = choose_lesion(self.two(), rule, (5, 80))
        assert (lesion.core, lesion.candidates) == (None, 2)

    @BOTH
    def test_each_candidates_core_chooses_it(self, rule: ThresholdSettings) -> None:
        cores = candidate_cores(self.two(), rule)
        assert len(cores) == 2
        assert cores[0][1] < 45 < cores[1][1]
        for core in cores:
            assert holds(choose_lesion(self.two(), rule, core), core, rule.low)


class TestNothing:
    @BOTH
    def test_where_there_is_nothing_a_place_finds_nothing(self, rule: ThresholdSettings) -> None:
        assert choose_lesion(background(), rule, (3, 3)).core is None
