"""How far borders lie apart, against MONAI and against distances by brute force."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dermseg.masks.borders import BorderScores, score_border

Mask = NDArray[np.bool_]


def disc(row: float, column: float, radius: float, shape: tuple[int, int] = (40, 56)) -> Mask:
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(y - row, x - column) < radius)


def blobs(seed: int, shape: tuple[int, int] = (40, 56)) -> Mask:
    """Return a mask of several pieces, with holes, some at the edge."""
    noise = np.random.default_rng(seed).random(shape).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 2.5) > 0.5)


PAIRS = [
    (disc(20, 28, 12), disc(22, 30, 10)),
    (disc(20, 28, 12), disc(20, 28, 12)),
    (disc(5, 5, 9), disc(30, 50, 4)),
    *((blobs(seed), blobs(seed + 50)) for seed in range(4)),
    (np.ones((12, 9), np.bool_), disc(6, 4, 3, (12, 9))),
    (disc(20, 28, 0.5), disc(3, 3, 0.5)),
]


def border(mask: Mask) -> NDArray[np.intp]:
    """Return the pixels that touch what is no mask at a side, (n, 2)."""
    around = np.pad(mask, 1)
    whole = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return np.argwhere(mask & ~whole)


@pytest.mark.parametrize("pair", PAIRS)
def test_distances_by_brute_force(pair: tuple[Mask, Mask]) -> None:
    one, other = (border(mask).astype(float) for mask in pair)
    away = np.hypot(*(one[:, None, :] - other[None, :, :]).transpose(2, 0, 1))
    there, back = away.min(1), away.min(0)
    found = score_border(*pair)
    expected = max(np.percentile(there, 95), np.percentile(back, 95))
    assert found.hd95 == pytest.approx(expected, abs=1e-4)
    assert found.assd == pytest.approx(np.concatenate([there, back]).mean(), abs=1e-4)


@pytest.mark.parametrize("pair", PAIRS)
def test_boundary_iou_by_brute_force(pair: tuple[Mask, Mask]) -> None:
    """A rim's pixels have something that is no mask within so many rows and columns."""
    height, width = pair[0].shape
    reach = max(1, round(0.02 * float(np.hypot(height, width))))

    def rim(mask: Mask) -> Mask:
        around = np.pad(mask, reach)
        side = 2 * reach + 1
        windows = np.lib.stride_tricks.sliding_window_view(around, (side, side))
        return mask & ~windows.all((2, 3))

    one, other = map(rim, pair)
    expected = (one & other).sum() / (one | other).sum()
    assert score_border(*pair).boundary_iou == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore")
def test_distances_are_those_of_monai() -> None:
    metrics = pytest.importorskip("monai.metrics")
    torch = pytest.importorskip("torch")
    for truth, found in PAIRS[:7]:
        tensors = [torch.from_numpy(mask)[None, None].float() for mask in (found, truth)]
        hd95 = metrics.compute_hausdorff_distance(*tensors, include_background=True, percentile=95)
        assd = metrics.compute_average_surface_distance(
            *tensors, include_background=True, symmetric=True
        )
        scores = score_border(truth, found)
        assert scores.hd95 == pytest.approx(hd95.item(), abs=1e-3)
        assert scores.assd == pytest.approx(assd.item(), abs=1e-3)


def test_what_empty_masks_get() -> None:
    empty, lesion = np.zeros((30, 40), np.bool_), disc(15, 20, 8, (30, 40))
    assert score_border(empty, empty) == BorderScores(1, 0, 0)
    assert score_border(empty, lesion) == BorderScores(0, 50, 50)
    assert score_border(lesion, empty) == BorderScores(0, 50, 50)
    assert score_border(lesion, lesion) == BorderScores(1, 0, 0)


def test_it_does_not_matter_which_is_the_truth() -> None:
    for truth, found in PAIRS:
        assert score_border(truth, found) == score_border(found, truth)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        score_border(disc(5, 5, 3), disc(5, 5, 3, (40, 40)))
