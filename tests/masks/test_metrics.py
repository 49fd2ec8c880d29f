from dataclasses import asdict, astuple
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from dermseg.evaluation.scoring import evaluate
from dermseg.masks.metrics import METRICS, Scores, bootstrap_interval, mean, score

Mask = NDArray[np.bool_]


def officially(truth: Mask, prediction: Mask) -> dict[str, float]:
    official = pytest.importorskip("isic_challenge_scoring.metrics")
    confusion = pytest.importorskip("isic_challenge_scoring.confusion")
    matrix = confusion.create_binary_confusion_matrix(truth, prediction)
    return {name: float(getattr(official, f"binary_{name}")(matrix)) for name in METRICS}


@st.composite
def mask_pairs(draw: Any) -> tuple[Mask, Mask]:
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
    kinds = st.one_of(
        st.just(np.zeros(shape, np.bool_)), st.just(np.ones(shape, np.bool_)), arrays(bool, shape)
    )
    return draw(kinds), draw(kinds)


@given(mask_pairs())
@settings(deadline=None, max_examples=150)
def test_equals_the_official_scorer(pair: tuple[Mask, Mask]) -> None:
    assert asdict(score(*pair)) == pytest.approx(officially(*pair), abs=1e-12, rel=0)


@pytest.mark.parametrize(("truth", "found"), list(product(("empty", "full", "half"), repeat=2)))
def test_equals_the_official_scorer_without_lesion_or_background(truth: str, found: str) -> None:
    half = np.zeros((6, 8), np.bool_)
    half[:3] = True
    masks = {"empty": np.zeros_like(half), "full": np.ones_like(half), "half": half}
    ours = asdict(score(masks[truth], masks[found]))
    assert ours == pytest.approx(officially(masks[truth], masks[found]), abs=1e-12, rel=0)


def test_nothing_to_find_and_nothing_found_is_perfect() -> None:
    nothing = np.zeros((3, 4), np.bool_)
    assert astuple(score(nothing, nothing)) == (1, 1, 1, 1, 1)


def test_counts_by_hand() -> None:
    truth = np.array([[1, 1, 1, 0, 0]], np.bool_)
    found = np.array([[1, 0, 0, 1, 0]], np.bool_)
    expected = Scores(accuracy=2 / 5, dice=2 / 5, jaccard=1 / 4, sensitivity=1 / 3, specificity=0.5)
    assert astuple(score(truth, found)) == pytest.approx(astuple(expected))


@given(mask_pairs())
@settings(deadline=None, max_examples=50)
def test_dice_follows_from_jaccard_and_neither_knows_which_mask_is_true(
    pair: tuple[Mask, Mask],
) -> None:
    there, back = score(*pair), score(*pair[::-1])
    assert there.dice == pytest.approx(2 * there.jaccard / (1 + there.jaccard))
    assert (there.dice, there.jaccard) == (back.dice, back.jaccard)


@pytest.mark.parametrize("shape", [(4, 3), (1, 12), (3, 1), (1, 1)])
def test_differing_shapes_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(TypeError, match=r"dermseg\.read_mask\(path\)"):
        score("truth.png", "mask.png")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shapes differ"):
        score(np.ones((3, 4), np.bool_), np.ones(shape, np.bool_))


def test_metrics_are_named_in_the_papers_order() -> None:
    assert METRICS == ("accuracy", "dice", "jaccard", "sensitivity", "specificity")


def test_mean_is_taken_over_images_not_pixels() -> None:
    scores = [Scores(1, 1, 1, 1, 1), Scores(0, 0.25, 0.5, 0.75, 1), Scores(0.5, 0.25, 0, 0.5, 1)]
    assert astuple(mean(scores)) == pytest.approx((0.5, 0.5, 0.5, 0.75, 1))


def test_bootstrap_interval_covers_the_mean_and_stays_within_the_values() -> None:
    values = np.random.default_rng(1).beta(8, 2, 80)
    low, high = bootstrap_interval(values)
    assert values.min() <= low < values.mean() < high <= values.max()


def test_bootstrap_interval_has_the_width_that_theory_says() -> None:
    values = np.random.default_rng(2).normal(0.7, 0.1, 400)
    low, high = bootstrap_interval(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)


def test_bootstrap_interval_is_the_same_each_time() -> None:
    values = np.random.default_rng(3).random(30)
    assert bootstrap_interval(values) == bootstrap_interval(list(values))


def test_bootstrap_interval_narrows_with_images() -> None:
    values = np.random.default_rng(4).random(25)
    (low, high), ends = bootstrap_interval(values), bootstrap_interval(np.tile(values, 16))
    assert ends[1] - ends[0] == pytest.approx((high - low) / 4, rel=0.25)


def test_bootstrap_interval_of_one_image_is_its_value() -> None:
    assert bootstrap_interval([0.25]) == (0.25, 0.25)


@pytest.mark.filterwarnings("ignore")  # the official scorer's own
def test_a_folder_scores_as_the_official_scorer_says(tmp_path: Path) -> None:
    segmentation = pytest.importorskip("isic_challenge_scoring.segmentation")
    random = np.random.default_rng(5)
    for folder, suffix in (("truth", "_segmentation"), ("found", "")):
        (tmp_path / folder).mkdir()
        for number in range(6):
            # Greys around 128 show which values count as lesion.
            grey = random.choice(np.array([0, 127, 128, 129, 255], np.uint8), (9, 7))
            Image.fromarray(grey).save(tmp_path / folder / f"ISIC_{number:07}{suffix}.png")
    ours = asdict(evaluate(tmp_path / "truth", tmp_path / "found").mean)
    theirs = segmentation.SegmentationScore.from_dir(tmp_path / "truth", tmp_path / "found")
    assert ours == pytest.approx({name: theirs.macro_average[name] for name in METRICS}, abs=1e-12)
