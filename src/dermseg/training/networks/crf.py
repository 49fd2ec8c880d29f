"""A dense conditional random field as recurrent steps (paper, section V), alone or in a network."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from dermseg.training.networks.cdnn29 import CDNN29

STEPS = 5
"""Mean-field steps: Zheng et al. 2015 train with five."""
CELL = 8
"""Side of the cells that pixels hear from, in pixels, inside a network."""
NEAR = 1.5
"""Standard deviation of the smoothing kernel, in pixels (Kraehenbuehl & Koltun 2011: 1 to 3)."""


class DenseCRF(nn.Module):
    """Mean-field inference in a fully connected CRF with two labels, step by step.

    P. Kraehenbuehl & V. Koltun, Efficient inference in fully connected CRFs with Gaussian edge
    potentials, 2011; as recurrent steps that are trained through, S. Zheng et al., Conditional
    random fields as recurrent neural networks, 2015 (the paper's reference [30]). With two labels
    and Potts compatibility a step is

        z = u + a * mean_bilateral(2 p - 1) + b * mean_smooth(2 p - 1),    p = sigmoid(z)

    with the network's logits u; the means are normalised, the pixel itself included, as in Zheng's.
    The bilateral mean of a pixel runs over the whole picture: a cell of side `cell` counts
    exp(-|place|^2 / 2 - |colour|^2 / 2), by its centre and its mean colour, with distances in units
    of `place` (a share of the picture's width) and `color` (of 0..1). With cells of one pixel that
    is the CRF itself; larger ones stand for their pixels, as Nystroem's method does.

    `bilateral`, a, and `smooth`, b, are what is trained.
    """

    def __init__(
        self,
        *,
        cell: int = CELL,
        place: float = 0.2,
        color: float = 0.1,
        bilateral: float = 1.0,
        smooth: float = 1.0,
    ) -> None:
        super().__init__()
        self.cell, self.place, self.color = cell, place, color
        self.bilateral = nn.Parameter(torch.tensor(float(bilateral)))
        self.smooth = nn.Parameter(torch.tensor(float(smooth)))
        self.kernel: Tensor
        self.register_buffer("kernel", _gaussian(), persistent=False)

    def forward(self, logits: Tensor, rgb: Tensor) -> Tensor:
        """Return the logits after all steps, (N, H, W).

        `logits` is (N, H, W), `rgb` (N, 3, H, W) in 0..1; H and W are multiples of `cell`.
        """
        with _full_precision(logits.device.type):
            unary = logits.float()
            weights = self.bilateral_weights(rgb.float())
            found = unary
            for _ in range(STEPS):
                signed = (found / 2).tanh().unsqueeze(1)
                cells = functional.avg_pool2d(signed, self.cell).flatten(2)
                heard = (weights @ cells.transpose(1, 2)).view_as(unary)
                near = _smoothed(signed, self.kernel)[:, 0]
                found = unary + self.bilateral * heard + self.smooth * near
            return found

    def bilateral_weights(self, rgb: Tensor) -> Tensor:
        """Return how much each pixel hears from each cell, (N, H * W, cells); rows sum to one."""
        pixels = self._features(rgb)
        cells = functional.avg_pool2d(pixels, self.cell).flatten(2)
        # The pixel's own square is the same for all cells, and falls out of the softmax.
        likeness = pixels.flatten(2).transpose(1, 2) @ cells - cells.square().sum(1, True) / 2
        return likeness.softmax(2)

    def _features(self, rgb: Tensor) -> Tensor:
        """Return colour and place, (N, 5, H, W), in units of their kernels' widths."""
        count, _, height, width = rgb.shape
        sides = [torch.arange(side, device=rgb.device).float() / width for side in (height, width)]
        places = torch.stack(torch.meshgrid(*sides, indexing="ij")) / self.place
        centred = rgb - 0.5  # smaller numbers, smaller rounding errors
        return torch.cat((centred / self.color, places.expand(count, -1, -1, -1)), 1)


def _gaussian() -> Tensor:
    """Return the smoothing kernel along one axis, (1, 1, 1, k), of sum one."""
    reach = round(3 * NEAR)
    steps = torch.arange(-reach, reach + 1).float()
    kernel = (-steps.square() / (2 * NEAR**2)).exp()
    return (kernel / kernel.sum()).view(1, 1, 1, -1)


def _smoothed(maps: Tensor, kernel: Tensor) -> Tensor:
    """Return `maps`, (N, 1, H, W), under `kernel` along both axes; the border is repeated."""
    reach = kernel.shape[3] // 2
    padded = functional.pad(maps, (reach, reach, reach, reach), mode="replicate")
    return functional.conv2d(functional.conv2d(padded, kernel), kernel.transpose(2, 3))


def _full_precision(device: str) -> AbstractContextManager[object]:
    """Return a context without autocast: squares of features need all their digits."""
    if torch.is_autocast_enabled(device):
        return torch.amp.autocast_mode.autocast(device, enabled=False)
    return nullcontext()


class CDNN29CRF(nn.Module):
    """CDNN-29 with the CRF as its last layers, trained through: what the paper proposes.

    Input: (N, `channels`, H, W), values in 0..1, red, green and blue first; H and W multiples of
    16.
    Output: logits (N, H, W).
    """

    def __init__(self, channels: int = 7, dropout: float = 0.5) -> None:
        super().__init__()
        self.network = CDNN29(channels, dropout)
        self.crf = DenseCRF()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of lesion, (N, H, W)."""
        logits: Tensor = self.crf(self.network(x), x[:, :3])
        return logits
