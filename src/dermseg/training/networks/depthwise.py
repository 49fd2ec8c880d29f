"""Depthwise convolution whose backward pass does not fall into a processor's slow kernels.

oneDNN has fast kernels for the weights of a 3 x 3 window and for the input of a stride of 1. Larger
windows and strides fall back to reference code, which made half of lite0's training time.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

FAST = 3
"""The window whose weights have a fast kernel."""


class _Depthwise(torch.autograd.Function):
    """Forward as PyTorch does it; backward in pieces that have fast kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return functional.conv2d(x, weight, stride=stride, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        return (
            _of_input(x, weight, gradient, ctx.stride),
            _of_weight(x, weight, gradient, ctx.stride),
            None,
        )


def depthwise(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return what `functional.conv2d` does without padding, each map by its own window.

    `x` is (N, C, H, W), `weight` (C, 1, K, K) with K 3 or 5; `stride` is 1 or 2, and H - K
    and W - K are multiples of it.
    """
    if x.device.type != "cpu" or not torch.is_grad_enabled():
        return functional.conv2d(x, weight, stride=stride, groups=len(weight))
    if torch.is_autocast_enabled("cpu"):
        weight = weight.to(x.dtype)
    found: Tensor = _Depthwise.apply(x, weight, stride)  # type: ignore[no-untyped-call]
    return found


def _backward(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, mask: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, [stride] * 2, [0, 0], [1, 1], False, [0, 0], len(weight), mask
    )
    return found


def _of_input(x: Tensor, weight: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """Return the gradient of `x`.

    With a stride, the rows and columns of `x` fall into as many classes, each of which the window
    meets with a part of its own: a convolution with a stride of 1.
    """
    if stride == 1:
        return _backward(gradient, x, weight, 1, [True, False, False])[0]
    found = torch.empty_like(x)
    for top in range(stride):
        for left in range(stride):
            part = found[:, :, top::stride, left::stride]
            met = weight[:, :, top::stride, left::stride].flip(2, 3)
            small = functional.pad(met, (FAST - met.shape[3], 0, FAST - met.shape[2], 0))
            wide = functional.conv2d(gradient, small, padding=FAST - 1, groups=len(weight))
            part.copy_(wide[:, :, : part.shape[2], : part.shape[3]])
    return found


def _of_weight(x: Tensor, weight: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """Return the gradient of `weight`, from windows of 3 x 3 that cover a larger one together."""
    window = weight.shape[-1]
    height, width = (stride * (side - 1) + FAST for side in gradient.shape[2:])
    found = torch.empty_like(weight)
    starts = sorted({*range(0, window - FAST, FAST), window - FAST})
    for top in starts:
        for left in starts:
            part = x[:, :, top : top + height, left : left + width]
            part = part.contiguous(memory_format=torch.channels_last)
            small = weight[:, :, :FAST, :FAST]
            found[:, :, top : top + FAST, left : left + FAST] = _backward(
                gradient, part, small, stride, [False, True, False]
            )[1]
    return found
