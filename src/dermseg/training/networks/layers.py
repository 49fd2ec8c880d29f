"""The pieces that the convolutional-deconvolutional networks are made of."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dermseg.settings import LARGEST_DROPOUT


class Layer(NamedTuple):
    """One row of a network's table: the filter's side, and the number of output maps."""

    name: str
    kernel: int
    features: int


class Dropout(nn.Module):
    """`nn.Dropout`, with its probability rounded to 1/256 and random numbers eight at a time.

    On a processor `nn.Dropout` draws one number after the other, which took a fifth of CDNN-29's
    training time; here each 64-bit random number decides about eight values. On a GPU it is
    `nn.Dropout`.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0 <= probability < LARGEST_DROPOUT:
            raise ValueError(f"dropout probability must be in [0, 0.998), not {probability}")
        self.dropped = round(probability * 256)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` of any shape with a random share set to zero and the rest scaled up."""
        if not self.training or self.dropped == 0:
            return x
        if x.is_cuda:  # which draws in parallel, and whose compiler knows only PyTorch's own
            return functional.dropout(x, self.dropped / 256)
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None)
        draws = words.view(torch.uint8)[: x.numel()]
        # In the memory order of x, so that the product needs no rearrangement.
        dense = x if x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()
        keep = draws.as_strided(dense.size(), dense.stride()) >= self.dropped
        return dense * keep * (256 / (256 - self.dropped))


def convolution(
    inputs: int, features: int, kernel: int, *, mirrored: bool = False
) -> nn.Sequential:
    """Return a convolution that keeps height and width, then batch norm and ReLU.

    An even kernel has no centre: it pads one side more than the other. `mirrored` swaps the sides.
    """
    short, long = (kernel - 1) // 2, kernel // 2
    before, after = (long, short) if mirrored else (short, long)
    layers: list[nn.Module] = []
    if before != after:
        layers.append(nn.ZeroPad2d((before, after, before, after)))
    padding = before if before == after else 0
    layers.append(nn.Conv2d(inputs, features, kernel, padding=padding, bias=False))
    layers.append(nn.BatchNorm2d(features))
    layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def normed_convolutions(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of each convolution and of the batch norm that directly follows it."""
    for owner, module in network.named_modules():
        previous: tuple[str, nn.Module] | None = None
        for own, child in module.named_children():
            name = f"{owner}.{own}" if owner else own
            follows = previous is not None and isinstance(previous[1], nn.Conv2d)
            if previous and follows and isinstance(child, nn.BatchNorm2d):
                yield previous[0], name
            previous = name, child


def resampling(name: str, kernel: int) -> nn.Module:
    """Return the max pooling ("pool-...") or nearest upsampling ("ups-...") called `name`."""
    if name.startswith("pool"):
        return nn.MaxPool2d(kernel)
    return nn.Upsample(scale_factor=kernel, mode="nearest")


def initialise(network: nn.Module) -> None:
    """Set every convolution to Glorot uniform, Lasagne's default, and its bias to zero.

    Batch norm follows every convolution but the last, so that the scale of the first weights
    matters little; the paper's library is followed where it can be.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
