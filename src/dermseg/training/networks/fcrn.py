"""A fully convolutional residual network of more than 50 layers (paper, [14])."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from dermseg.training.networks.layers import Dropout, initialise

STEM = 64


class Stage(NamedTuple):
    """Bottleneck blocks of one size: how many, how many maps come out, and the first's stride."""

    blocks: int
    features: int
    stride: int


STAGES = (Stage(3, 256, 1), Stage(4, 512, 2), Stage(6, 1024, 2), Stage(3, 2048, 2))
"""16 residual blocks of three convolutions each, as in ResNet-50 (He et al. 2016)."""
SCORED = 3
"""Stages, the last ones, that a score is read from: at 1/8, 1/16 and 1/32 of the input's size."""
NARROWING = 4
"""A block's inner maps are this many times fewer than its outer ones."""


def _normed(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class Block(nn.Module):
    """Narrow, filter, widen, and add the input."""

    def __init__(self, inputs: int, features: int, stride: int) -> None:
        super().__init__()
        narrow = features // NARROWING
        self.layers = nn.Sequential(
            *_normed(inputs, narrow, 1),
            nn.ReLU(inplace=True),
            *_normed(narrow, narrow, 3, stride),
            nn.ReLU(inplace=True),
            *_normed(narrow, features, 1),
        )
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != features:
            self.shortcut = nn.Sequential(*_normed(inputs, features, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, features, H / stride, W / stride)."""
        return functional.relu(self.layers(x) + self.shortcut(x))


class FCRN(nn.Module):
    """The 50-layer fully convolutional residual network of Yu et al. 2017.

    L. Yu, H. Chen, Q. Dou, J. Qin & P.-A. Heng, Automated melanoma recognition in dermoscopy images
    via very deep residual networks, IEEE Trans. Medical Imaging 36: 16 residual blocks, and scores
    of several depths that are fused as in a fully convolutional network (Long et al. 2015): each
    is doubled in size and added to the next. Theirs begins with ImageNet weights; here it begins
    from scratch like its baselines. With stem, shortcuts and scores there are 56 convolutions.

    Input: (N, `channels`, H, W), values in 0..1, H and W multiples of 32.
    Output: logits (N, H, W).
    """

    def __init__(self, channels: int = 7, dropout: float = 0.5) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.BatchNorm2d(channels),
            *_normed(channels, STEM, 7, 2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        inputs = STEM
        self.stages = nn.ModuleList()
        for blocks, features, stride in STAGES:
            self.stages.append(
                nn.Sequential(
                    Block(inputs, features, stride),
                    *(Block(features, features, 1) for _ in range(blocks - 1)),
                )
            )
            inputs = features
        self.dropout = Dropout(dropout)
        scored = STAGES[-SCORED:]
        self.scores = nn.ModuleList(nn.Conv2d(stage.features, 1, 1) for stage in scored)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of lesion, (N, H, W)."""
        size = x.shape[2:]
        x = self.stem(x)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        found[-1] = self.dropout(found[-1])
        logits: Tensor | None = None
        for score, maps in zip(reversed(self.scores), reversed(found[-SCORED:]), strict=True):
            part = score(maps)
            if logits is not None:
                part = part + _resized(logits, part.shape[2:])
            logits = part
        assert logits is not None  # several stages are scored
        return _resized(logits, size)[:, 0]


def _resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    return functional.interpolate(maps, list(size), mode="bilinear", align_corners=False)
