"""Random changes to the training images, for a whole batch at once on its device.

The paper (section III-B) names two kinds: flips, shifts, rotations and scalings, here one affine
map; and normalising the contrast of each channel to a random percentile window (Figure 1).

The draws of a pass are one table with a row for each image, made from (seed, pass) alone: what
happens to an image depends neither on its batch, nor on the device, nor on what ran before.
"""

from dataclasses import dataclass
from math import log1p, pi

import torch
from torch import Tensor
from torch.nn import functional

from dermseg.settings import AugmentationSettings


@dataclass(frozen=True)
class Draws:
    """The random numbers of one pass: a row for each image.

    `affine` (N, 2, 3) maps output to input positions, in units of half the image's width and
    height; `low` and `high` (N, C) bound each channel's percentile window, as fractions. Channels
    with the window (0, 1) stay as they are.
    """

    affine: Tensor
    low: Tensor
    high: Tensor

    def to(self, device: torch.device) -> "Draws":
        """Return the same table on `device`."""
        return Draws(self.affine.to(device), self.low.to(device), self.high.to(device))

    def rows(self, index: Tensor) -> "Draws":
        """Return the rows of the images `index`."""
        return Draws(self.affine[index], self.low[index], self.high[index])


def draw(
    settings: AugmentationSettings,
    images: int,
    channels: int,
    aspect: float,
    generator: torch.Generator,
) -> Draws:
    """Draw a pass's changes for `images` images of `channels` channels.

    `aspect` is width over height: rotations turn the scene, they do not shear it.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    angle = uniform(-settings.rotation, settings.rotation, images) * (pi / 180)
    factor = uniform(-log1p(settings.scale), log1p(settings.scale), images).exp()
    flips = torch.randint(0, 2, (images, 2), generator=generator) * 2.0 - 1
    if not settings.flip:
        flips = torch.ones_like(flips)
    shift = uniform(-settings.shift, settings.shift, images, 2) * 2
    cosine, sine = angle.cos() / factor, angle.sin() / factor
    affine = torch.stack(
        (
            torch.stack((flips[:, 0] * cosine, -flips[:, 0] * sine / aspect, shift[:, 0]), 1),
            torch.stack((flips[:, 1] * sine * aspect, flips[:, 1] * cosine, shift[:, 1]), 1),
        ),
        1,
    )
    stretched = uniform(0, 1, images, channels) < settings.contrast
    cut = settings.window / 100
    low = torch.where(stretched, uniform(0, cut, images, channels), 0.0)
    high = torch.where(stretched, uniform(1 - cut, 1, images, channels), 1.0)
    return Draws(affine, low, high)


def warp(images: Tensor, affine: Tensor, height: int, width: int) -> Tensor:
    """Return `images` (N, C, H, W) seen through `affine`, bilinearly, at `height` x `width`.

    What lies outside an image is its mirror image, as in `torch.nn.functional.grid_sample`.
    """
    shape = [images.shape[0], images.shape[1], height, width]
    grid = functional.affine_grid(affine, shape, align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def stretch_contrast(channels: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Scale each channel so that its percentiles `low` and `high` become 0 and 1, and clip.

    `channels` is (N, C, H, W) in 0..1; `low` and `high` are (N, C) fractions. A window of (0, 1)
    leaves its channel alone, as does one whose ends coincide in value. Percentiles are taken over
    every fourth pixel each way, which is a sixteenth of the work.
    """
    sample = channels[:, :, ::4, ::4].flatten(2).sort(-1).values
    last = sample.shape[-1] - 1
    floor = sample.gather(-1, (low * last).round().long().unsqueeze(-1)).unsqueeze(-1)
    ceiling = sample.gather(-1, (high * last).round().long().unsqueeze(-1)).unsqueeze(-1)
    span = ceiling - floor
    untouched = ((low == 0) & (high == 1))[..., None, None] | (span <= 0)
    floor = torch.where(untouched, 0.0, floor)
    span = torch.where(untouched, 1.0, span)
    return ((channels - floor) / span).clamp(0, 1)
