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


class Depthwise(torch.autograd.Function):
    """Forward as PyTorch does it; backward in pieces that have fast kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        """Return the plain convolution."""
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Return the gradients of input and weight."""
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        if ctx.stride == 1:
            of_input = gradients_of(gradient, x, weight, 1, ctx.padding, [True, False, False])[0]
        else:
            of_input = _of_strided(x, weight, gradient, ctx.stride)
        if weight.shape[-1] == FAST:
            wanted = [False, True, False]
            of_weight = gradients_of(gradient, x, weight, ctx.stride, ctx.padding, wanted)[1]
        else:
            padded = functional.pad(x, [ctx.padding] * 4)
            of_weight = _of_large(padded, weight, gradient, ctx.stride)
        return of_input, of_weight, None, None


def depthwise(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Return what `functional.conv2d` does, each map filtered by its own window.

    `x` is (N, C, H, W), `weight` (C, 1, K, K) with K 3 or 5. `stride` is 1; or 2 without padding
    and with H - K and W - K even.
    """
    if x.device.type != "cpu" or not torch.is_grad_enabled():
        return functional.conv2d(x, weight, None, stride, padding, groups=len(weight))
    if torch.is_autocast_enabled("cpu"):
        weight = weight.to(x.dtype)
    found: Tensor = Depthwise.apply(  # type: ignore[no-untyped-call]
        x, weight, stride, padding
    )
    return found


def gradients_of(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of input, weight and bias, as far as they are wanted."""
    sizes = [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight)
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        gradient, x, weight, None, *sizes, wanted
    )
    return found


def _of_strided(x: Tensor, weight: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """Return the gradient of `x`, which was not padded.

    Its rows and columns fall into as many classes as the stride is long, each of which the window
    meets with a part of its own: a convolution with a stride of 1.
    """
    found = torch.empty_like(x)
    for top in range(stride):
        for left in range(stride):
            part = found[:, :, top::stride, left::stride]
            met = weight[:, :, top::stride, left::stride].flip(2, 3)
            small = functional.pad(met, (FAST - met.shape[3], 0, FAST - met.shape[2], 0))
            wide = functional.conv2d(gradient, small, padding=FAST - 1, groups=len(weight))
            part.copy_(wide[:, :, : part.shape[2], : part.shape[3]])
    return found


def _of_large(x: Tensor, weight: Tensor, gradient: Tensor, stride: int) -> Tensor:
    """Return the gradient of `weight`, from windows of 3 x 3 that cover it; `x` is padded."""
    window = weight.shape[-1]
    height, width = (stride * (side - 1) + FAST for side in gradient.shape[2:])
    small = weight[:, :, :FAST, :FAST]
    found = torch.empty_like(weight)
    for top in (0, window - FAST):
        for left in (0, window - FAST):
            part = x[:, :, top : top + height, left : left + width]
            part = part.contiguous(memory_format=torch.channels_last)
            found[:, :, top : top + FAST, left : left + FAST] = gradients_of(
                gradient, part, small, stride, 0, [False, True, False]
            )[1]
    return found
