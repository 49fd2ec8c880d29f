"""Random changes to the training images, for a whole batch at once on its device.

The paper (section III-B) names two kinds: flips, shifts, rotations and scalings, here one affine
map; and normalising the contrast of each channel to a random percentile window (Figure 1). Two more
are ours, for what other cameras would have seen: colour, one affine map of red, green and blue, and
sharpness.

The draws of an epoch are one table with a row for each image, made from (seed, epoch) alone: what
happens to an image depends neither on its batch, nor on the device, nor on what ran before.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from math import log1p, pi

import torch
from torch import Tensor
from torch.nn import functional

from dermseg.settings import AugmentationSettings

CAST = 1 / 3
"""Range of each channel's own gain, as a share of the range of the gain that all have together."""
VEIL = 1 / 4
"""Range of what is added to all channels, as a share of the same."""


@dataclass(frozen=True)
class Draws:
    """The random numbers of one epoch: a row for each image.

    `affine` (N, 2, 3) maps output to input positions, in units of half the image's width and
    height; `low` and `high` (N, C) bound each channel's percentile window, as fractions. Channels
    with the window (0, 1) stay as they are. `color` (N, 3, 4) maps red, green, blue and 1 to the
    new red, green and blue, and `sharpness` (N,) says how far an image is taken from its blurred
    self; None leaves all images alone. `told` (N,) says whether a network that takes the style of
    an outline is told the image's; None tells all.
    """

    affine: Tensor
    low: Tensor
    high: Tensor
    color: Tensor | None = None
    sharpness: Tensor | None = None
    told: Tensor | None = None

    def to(self, device: torch.device) -> "Draws":
        """Return the same table on `device`."""
        return self._each(lambda column: column.to(device))

    def rows(self, index: Tensor) -> "Draws":
        """Return the rows of the images `index`."""
        return self._each(lambda column: column[index])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Draws":
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        drawn = {name: column for name, column in columns.items() if column is not None}
        return replace(self, **{name: change(column) for name, column in drawn.items()})


def draw(
    settings: AugmentationSettings,
    images: int,
    channels: int,
    aspect: float,
    generator: torch.Generator,
) -> Draws:
    """Draw an epoch's changes for `images` images of `channels` channels.

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
    color = sharpness = None
    if settings.color:
        reach = log1p(settings.color)
        gain = uniform(-reach, reach, images, 1) + uniform(-reach, reach, images, 3) * CAST
        saturation = uniform(-reach, reach, images, 1, 1).exp()
        veil = uniform(-reach, reach, images, 1, 1).expand(images, 3, 1) * VEIL
        mixed = saturation * torch.eye(3) + (1 - saturation) / 3
        color = torch.cat((gain.exp().unsqueeze(2) * mixed, veil), 2)
    if settings.sharpness:
        sharpness = uniform(-settings.sharpness, settings.sharpness, images)
    return Draws(affine, low, high, color, sharpness)


def warp(images: Tensor, affine: Tensor, height: int, width: int) -> Tensor:
    """Return `images` (N, C, H, W) seen through `affine`, bilinearly, at `height` x `width`.

    What lies outside an image is its mirror image, as in `torch.nn.functional.grid_sample`.
    """
    shape = [images.shape[0], images.shape[1], height, width]
    grid = functional.affine_grid(affine, shape, align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def recolor(rgb: Tensor, color: Tensor) -> Tensor:
    """Return `rgb` (N, 3, H, W) in 0..1 with its colours mapped by `color` (N, 3, 4), and clipped.

    Each row of a map holds the factors of red, green and blue, and what is added.
    """
    mixed = torch.einsum("nij,njhw->nihw", color[:, :, :3], rgb)
    return (mixed + color[:, :, 3, None, None]).clamp(0, 1)


def sharpen(images: Tensor, sharpness: Tensor) -> Tensor:
    """Return `images` (N, C, H, W) in 0..1 sharpened by `sharpness` (N,), and clipped.

    A negative sharpness blurs; at -1 each pixel is the mean of the 3 x 3 around it.
    """
    blurred = functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    return (images + (images - blurred) * sharpness[:, None, None, None]).clamp(0, 1)


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
