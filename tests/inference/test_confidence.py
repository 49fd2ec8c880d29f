"""How sure a mask is: what the evidence says, and what a calibration makes of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from dermseg.inference.confidence import (
    BORDER,
    FLOOR,
    Calibration,
    contour,
    evidence_of,
    reach,
    region,
)
from dermseg.masks.postprocess import choose_lesion
from dermseg.settings import ThresholdSettings

Map = NDArray[np.float32]
USUAL = ThresholdSettings()
LADDER = Calibration(
    weights=(0.0, 0.0, 0.0, 0.0, 0.0, 1.0),  # the share of sure pixels alone
    scores=(0.2, 0.6, 1.0),
    jaccard=(0.3, 0.7, 0.9),
    low=(0.0, 0.5, 0.8),
    high=(0.6, 0.8, 1.0),
    flag_below=0.5,
    failure=0.65,
    risk=0.05,
    certainty=0.9,
    unflagged=0.8,
    images=1000,
    inner=0.9,
    outer=0.1,
    within=0.9,
)


def disc(inside: float, outside: float, radius: float = 10) -> Map:
    y, x = np.mgrid[:48, :64]
    return np.where(np.hypot(y - 24, x - 32) < radius, inside, outside).astype(np.float32)


def evidence(probability: Map) -> NDArray[np.float64]:
    return evidence_of(probability, region(choose_lesion(probability, USUAL), USUAL.low))


class TestEvidence:
    def test_by_hand(self) -> None:
        probability = np.full((4, 5), 0.1, np.float32)
        mask = np.zeros((4, 5), np.bool_)
        mask[1:3, 1:3] = True
        probability[mask] = 0.9, 0.9, 0.9, 0.6
        missed, wrong, size, doubt, sure = evidence_of(probability, mask)
        assert np.exp(missed) == pytest.approx(1.6 / 4 + FLOOR, rel=1e-5)
        assert np.exp(wrong) == pytest.approx(0.7 / 4 + FLOOR, rel=1e-5)
        assert np.exp(size) == pytest.approx(4 / 20)
        doubts = (16 * 0.09 + 3 * 0.09 + 0.24) / (4 + BORDER)
        assert np.exp(doubt) == pytest.approx(doubts + FLOOR, rel=1e-5)
        assert sure == pytest.approx(3 / 4)

    def test_a_sure_map_is_surer_than_a_doubtful_one(self) -> None:
        sure, doubtful = evidence(disc(0.99, 0.01)), evidence(disc(0.7, 0.2))
        assert (sure[[0, 1, 3]] < doubtful[[0, 1, 3]]).all()
        assert sure[4] > doubtful[4]
        assert sure[2] == doubtful[2]

    @given(arrays(np.float32, (12, 16), elements=st.floats(0, 1, width=32)))
    def test_it_is_always_numbers_and_has_no_direction(self, probability: Map) -> None:
        found = evidence(probability)
        assert np.isfinite(found).all()
        flipped = evidence(np.ascontiguousarray(probability[::-1, ::-1]))
        one = region(choose_lesion(probability, USUAL), 0.5)
        other = region(choose_lesion(np.ascontiguousarray(probability[::-1, ::-1]), USUAL), 0.5)
        if np.array_equal(one, other[::-1, ::-1]):  # equal regions may be chosen the other way
            np.testing.assert_allclose(found, flipped, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_nothing_and_everything(self, value: float) -> None:
        assert np.isfinite(evidence(np.full((12, 16), value, np.float32))).all()


class TestCalibration:
    def judged(self, sure: float) -> tuple[float, float, float, bool]:
        """Judge a map of which the share `sure` of all possible lesion is sure."""
        probability = np.full((10, 10), 0.6, np.float32)
        probability.flat[: round(100 * sure)] = 0.9
        found = LADDER.judge(probability, choose_lesion(probability, USUAL), USUAL.low)
        assert found.score == pytest.approx(sure)
        return found.jaccard, found.low, found.high, found.low_confidence

    def test_it_goes_straight_from_knot_to_knot(self) -> None:
        assert self.judged(0.4) == pytest.approx((0.5, 0.25, 0.7, True))
        assert self.judged(0.6) == pytest.approx((0.7, 0.5, 0.8, False))
        assert self.judged(0.8) == pytest.approx((0.8, 0.65, 0.9, False))

    def test_beyond_its_ends_it_says_what_it_says_there(self) -> None:
        assert self.judged(0.0) == pytest.approx((0.3, 0.0, 0.6, True))

    def test_it_survives_json(self) -> None:
        assert Calibration.from_dict(json.loads(json.dumps(LADDER.to_dict()))) == LADDER

    def test_a_misspelt_field_is_not_swallowed(self) -> None:
        with pytest.raises(TypeError, match="jacard"):
            Calibration.from_dict({**LADDER.to_dict(), "jacard": 1})

    def test_the_flag_is_strict(self) -> None:
        at = replace(LADDER, flag_below=0.6)
        probability = np.full((10, 10), 0.6, np.float32)
        probability.flat[:60] = 0.9
        lesion = choose_lesion(probability, USUAL)
        assert not at.judge(probability, lesion, USUAL.low).low_confidence
        assert replace(at, flag_below=0.601).judge(probability, lesion, 0.5).low_confidence


class TestBand:
    def cone(self) -> Map:
        """Return a map that falls by 0.05 a pixel from the middle of a 48 x 64 frame."""
        y, x = np.mgrid[:48, :64]
        return (1 - np.hypot(y - 24, x - 32) / 20).clip(0, 1).astype(np.float32)

    def radii(self, contours: tuple[Map, ...], middle: tuple[float, float]) -> Map:
        return np.hypot(*(np.concatenate(contours) - middle).T)

    @pytest.mark.parametrize("scale", [1, 4, 60])
    def test_its_contours_are_where_the_probability_is(self, scale: int) -> None:
        cone = self.cone()
        lesion = choose_lesion(cone, USUAL)
        band = LADDER.bound(cone, lesion, USUAL.low, (48 * scale, 64 * scale))
        middle = (32.5 * scale - 0.5, 24.5 * scale - 0.5)
        for contours, radius in ((band.inner, 2), (band.outer, 18)):
            assert len(contours) == 1
            assert contours[0].dtype == np.float32
            assert self.radii(contours, middle) == pytest.approx(radius * scale, abs=1.3 * scale)

    def test_regions_that_miss_the_mask_are_left_out(self) -> None:
        cone = self.cone()
        cone[:5, :5] = 0.4  # as doubtful as the mask's own rim, but far from it
        cone[22:27, 30:35] = 0.05  # a hole, which is no border
        mask = region(choose_lesion(cone, USUAL), USUAL.low)
        own = reach(cone, mask, 0.1)
        assert (own[:5, :5] == 0).all()
        assert len(contour(own, 0.1, (48, 64))) == 1
        np.testing.assert_array_equal(own[20:22, 28:36], cone[20:22, 28:36])

    def test_where_there_is_no_lesion_there_is_no_band(self) -> None:
        nothing = np.full((48, 64), 0.3, np.float32)
        band = LADDER.bound(nothing, choose_lesion(nothing, USUAL), USUAL.low, (48, 64))
        assert (band.inner, band.outer) == ((), ())

    def test_a_mask_that_is_nowhere_sure_has_no_inner_contour(self) -> None:
        band = LADDER.bound(disc(0.7, 0), choose_lesion(disc(0.7, 0), USUAL), USUAL.low, (480, 640))
        assert (len(band.inner), len(band.outer)) == (0, 1)
