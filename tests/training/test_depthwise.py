"""Depthwise convolution: PyTorch's own, forward and backward."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from dermseg.training.networks import depthwise as module
from dermseg.training.networks.depthwise import depthwise


@given(
    window=st.sampled_from([3, 5]),
    step=st.sampled_from([(1, 0), (1, 1), (1, 2), (2, 0)]),
    rows=st.integers(1, 7),
    columns=st.integers(1, 7),
    maps=st.integers(1, 20),
    images=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=60, deadline=None)
def test_values_and_gradients_are_pytorchs(
    window: int, step: tuple[int, int], rows: int, columns: int, maps: int, images: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        values = torch.randn(shape, generator=generator)
        return values.contiguous(memory_format=torch.channels_last)

    stride, padding = step
    size = [window + stride * (side - 1) for side in (rows, columns)]
    x = normal(images, maps, *size).requires_grad_()
    weight = normal(maps, 1, window, window).requires_grad_()
    found = depthwise(x, weight, stride, padding)
    expected = functional.conv2d(x, weight, None, stride, padding, groups=maps)
    gradient = normal(*expected.shape)
    torch.testing.assert_close(found, expected)
    ours = torch.autograd.grad(found, (x, weight), gradient)
    theirs = torch.autograd.grad(expected, (x, weight), gradient)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("window", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_in_bfloat16_gradients_stay_near(window: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(0)
    size = 8 + window - stride
    x = torch.randn((2, 6, size, size), generator=generator).requires_grad_()
    weight = torch.randn((6, 1, window, window), generator=generator).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = depthwise(x.bfloat16(), weight, stride, 0)
    assert rounded.dtype == torch.bfloat16
    exact = functional.conv2d(x, weight, stride=stride, groups=6)
    ours = torch.autograd.grad(rounded.float().square().sum(), (x, weight))
    theirs = torch.autograd.grad(exact.square().sum(), (x, weight))
    for our, their in zip(ours, theirs, strict=True):
        assert our.dtype == torch.float32
        assert (our - their).abs().max() < 0.03 * their.abs().max()


def test_backward_never_asks_for_a_slow_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    plain = module.gradients_of

    def spy(
        gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, wanted: list[bool]
    ) -> Any:
        asked.append((weight.shape[-1], stride, wanted))
        return plain(gradient, x, weight, stride, padding, wanted)

    monkeypatch.setattr(module, "gradients_of", spy)
    x = torch.randn(1, 4, 11, 11, requires_grad=True)
    weight = torch.randn(4, 1, 5, 5, requires_grad=True)
    depthwise(x, weight, 2, 0).sum().backward()  # type: ignore[no-untyped-call]
    depthwise(x, weight, 1, 2).sum().backward()  # type: ignore[no-untyped-call]
    assert asked
    for window, stride, (of_input, of_weight, _) in asked:
        assert window == 3 if of_weight else True
        assert stride == 1 if of_input else True


def test_without_gradients_it_is_one_plain_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Depthwise, "apply", None)
    x, weight = torch.randn(1, 4, 7, 7), torch.randn(4, 1, 3, 3, requires_grad=True)
    with torch.no_grad():
        found = depthwise(x, weight, 2, 0)
    torch.testing.assert_close(found, functional.conv2d(x, weight, stride=2, groups=4))
