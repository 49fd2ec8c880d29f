"""Pictures that are no dermoscopic photographs, and photographs that are."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2lab

from dermseg.data.layouts import find_pairs
from dermseg.export.appearance import ALARMS, describe_all, fit_appearance, learn_appearance
from dermseg.imaging.images import resize
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.appearance import Appearance, describe, to_lab

Picture = NDArray[np.uint8]
SHAPE = (48, 64)
DARKENED = 40


def skin(seed: int) -> Picture:
    """Return a brownish picture with a darker middle, of random colours and noise."""
    chance = np.random.default_rng(seed)
    colour = np.array([200, 150, 120]) + chance.normal(0, 12, 3)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    middle = np.hypot(y - 24, x - 32) < chance.uniform(8, 18)
    picture = colour - DARKENED * middle[..., np.newaxis] + chance.normal(0, 4, (*SHAPE, 3))
    return picture.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def known() -> Appearance:
    return fit_appearance(np.stack([describe(skin(seed)) for seed in range(600)]))


def test_colours_are_scikit_images() -> None:
    every = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    every[0, :256] = np.arange(256)[:, np.newaxis]
    np.testing.assert_allclose(to_lab(every), rgb2lab(every), atol=0.01)


def test_new_photographs_are_rarely_called_unlike(known: Appearance) -> None:
    alarms = np.mean([known.is_unlike(skin(seed)) for seed in range(1000, 2000)])
    assert alarms < 3 * ALARMS


@pytest.mark.parametrize("value", [0, 128, 255])
def test_blanks_are_unlike(known: Appearance, value: int) -> None:
    assert known.is_unlike(np.full((*SHAPE, 3), value, np.uint8))


def test_a_stripe_of_other_colours_is_unlike(known: Appearance) -> None:
    picture = skin(0)
    picture[:, ::4] = [0, 0, 255]
    assert known.is_unlike(picture)


def test_the_length_is_mahalanobis(known: Appearance) -> None:
    """Against the definition, on the covariance itself."""
    chance = np.random.default_rng(0)
    numbers = chance.normal(size=(500, 11)) @ chance.normal(size=(11, 11))
    appearance = fit_appearance(numbers)
    covariance = np.cov(numbers.T)
    covariance += 0.02 * np.diag(np.diag(covariance))
    away = numbers - numbers.mean(0)
    expected = np.sqrt(np.einsum("ij,jk,ik->i", away, np.linalg.inv(covariance), away))
    assert np.allclose(appearance.distances(numbers), expected)
    assert (expected > appearance.limit).mean() <= ALARMS


def test_a_number_that_is_the_same_for_all_photographs_is_no_error() -> None:
    numbers = np.random.default_rng(0).normal(size=(500, 11))
    numbers[:, 10] = np.log(0.01)  # no pixel of any photograph is grey
    appearance = fit_appearance(numbers)
    assert (appearance.distances(numbers) > appearance.limit).mean() <= ALARMS
    numbers[:, 10] = 0.0
    assert (appearance.distances(numbers) > appearance.limit).all()


def test_json_keeps_everything(known: Appearance) -> None:
    assert Appearance.from_dict(json.loads(json.dumps(known.to_dict()))) == known


def test_few_photographs_teach_nothing(toy_data: Path) -> None:
    assert learn_appearance(find_pairs(toy_data), SHAPE) is None


def test_a_portrait_is_described_as_the_network_sees_it(tmp_path: Path) -> None:
    landscape = skin(3)
    files = [tmp_path / "landscape.png", tmp_path / "portrait.png"]
    for picture, file in zip((landscape, np.rot90(landscape)), files, strict=True):
        Image.fromarray(picture).save(file)
    one, other = describe_all(files, SHAPE)
    seen = describe(resize(read_photograph(files[0]).pixels, *SHAPE))
    assert np.array_equal(one, seen)
    assert np.allclose(one, other, atol=0.05)
