"""The dense CRF against plain loops over pixels."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dermseg.training.networks.crf import CDNN29CRF, NEAR, STEPS, DenseCRF

HEIGHT, WIDTH = 4, 6
Numbers = NDArray[np.float64]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def by_loops(
    logits: Numbers, rgb: Numbers, place: float, color: float, bilateral: float, smooth: float
) -> Numbers:
    """Mean field as Kraehenbuehl & Koltun write it, pixel by pixel, for (h, w) and (3, h, w)."""
    height, width = logits.shape
    pixels = [(y, x) for y in range(height) for x in range(width)]
    found = logits.copy()
    for _ in range(STEPS):
        signed = 2 / (1 + np.exp(-found)) - 1
        after = logits.copy()
        for y, x in pixels:
            far = [((y - v) ** 2 + (x - u) ** 2) / (place * width) ** 2 for v, u in pixels]
            other = [((rgb[:, y, x] - rgb[:, v, u]) ** 2).sum() / color**2 for v, u in pixels]
            weight = np.exp(-(np.array(far) + np.array(other)) / 2)
            heard = sum(w * signed[place] for w, place in zip(weight, pixels, strict=True))
            after[y, x] += bilateral * heard / weight.sum()
            reach = round(3 * NEAR)
            near, total = 0.0, 0.0
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    w = np.exp(-(dy**2 + dx**2) / (2 * NEAR**2))
                    v, u = np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)
                    near, total = near + w * signed[v, u], total + w
            after[y, x] += smooth * near / total
        found = after
    return found


@pytest.mark.parametrize("color", [0.1, 0.5])
def test_it_is_mean_field_where_a_cell_is_a_pixel(color: float) -> None:
    logits, rgb = 4 * noise(2, HEIGHT, WIDTH) - 2, noise(2, 3, HEIGHT, WIDTH, seed=1)
    chosen = {"place": 0.3, "color": color, "bilateral": 1.5, "smooth": 0.7}
    with torch.inference_mode():
        found = DenseCRF(cell=1, **chosen)(logits, rgb)
    for each, unary, picture in zip(found.numpy(), logits.numpy(), rgb.numpy(), strict=True):
        expected = by_loops(unary.astype(np.float64), picture.astype(np.float64), **chosen)
        np.testing.assert_allclose(each, expected, atol=1e-4)


def test_cells_stand_for_their_pixels() -> None:
    """Where each cell is of one colour and belief, and small beside the kernel, nothing changes."""
    rgb = noise(1, 3, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    logits = (4 * noise(1, 4, 4, seed=1) - 2).repeat_interleave(4, 1).repeat_interleave(4, 2)
    with torch.inference_mode():
        fine, coarse = (DenseCRF(cell=cell, place=2.0, color=0.3)(logits, rgb) for cell in (1, 4))
    torch.testing.assert_close(coarse, fine, atol=0.05, rtol=0)


def test_pixels_of_one_colour_come_to_agree() -> None:
    rgb = torch.zeros(1, 3, 16, 16)
    rgb[..., 8:] = 1
    truth = rgb[:, 0] > 0
    logits = torch.where(truth, 1.0, -1.0)
    logits[:, 2:4, 2:4] = 0.5  # the network errs, weakly
    with torch.inference_mode():
        found = DenseCRF(cell=4)(logits, rgb)
    assert torch.equal(found > 0, truth)
    assert not torch.equal(logits > 0, truth)


def test_without_weights_nothing_changes() -> None:
    logits = noise(1, 16, 16)
    with torch.inference_mode():
        found = DenseCRF(bilateral=0, smooth=0)(logits, noise(1, 3, 16, 16))
    torch.testing.assert_close(found, logits)


def test_bfloat16_keeps_the_digits_of_the_kernel() -> None:
    field, logits, rgb = DenseCRF(color=0.02), noise(1, 16, 16), noise(1, 3, 16, 16, seed=1)
    with torch.inference_mode():
        expected = field(logits, rgb)
        with torch.autocast("cpu", torch.bfloat16):
            found = field(logits, rgb)
    torch.testing.assert_close(found, expected)


def test_inside_a_network_it_learns() -> None:
    network = CDNN29CRF(7, 0.5)
    network(noise(2, 7, 32, 32)).square().mean().backward()
    for parameter in (network.crf.bilateral, network.crf.smooth):
        assert parameter.grad is not None
        assert parameter.grad != 0
    first = next(network.network.parameters())
    assert first.grad is not None
    assert first.grad.abs().sum() > 0
