"""CDNN-29, the network of Yuan & Lo 2017 (Table I): the winner of ISIC 2017."""

from torch import Tensor, nn

from dermseg.training.networks.layers import Dropout, Layer, convolution, initialise, resampling

TABLE_I = (
    Layer("conv-1-1", 3, 16),
    Layer("conv-1-2", 3, 32),
    Layer("pool-1", 2, 32),
    Layer("conv-2-1", 3, 64),
    Layer("conv-2-2", 3, 64),
    Layer("pool-2", 2, 64),
    Layer("conv-3-1", 3, 128),
    Layer("conv-3-2", 4, 128),
    Layer("pool-3", 2, 128),
    Layer("conv-4-1", 3, 256),
    Layer("conv-4-2", 3, 256),
    Layer("pool-4", 2, 256),
    Layer("conv-5", 3, 512),
    Layer("decv-1", 3, 256),
    Layer("ups-1", 2, 256),
    Layer("decv-2-1", 3, 256),
    Layer("decv-2-2", 3, 128),
    Layer("ups-2", 2, 128),
    Layer("decv-3-1", 4, 128),
    Layer("decv-3-2", 3, 128),
    Layer("ups-3", 2, 128),
    Layer("decv-4-1", 3, 64),
    Layer("decv-4-2", 3, 32),
    Layer("ups-4", 2, 32),
    Layer("decv-5-1", 3, 16),
    Layer("output", 3, 1),
)

DROPOUT_BEFORE = ("conv-4-1", "decv-5-1")
"""Layers that a dropout, followed by a batch norm, precedes (section III-B)."""

MIRRORED = ("decv-3-1",)
"""Even-sided kernels padded the other way round, so that the half-pixel shifts of
conv-3-2 and decv-3-1 cancel."""


class CDNN29(nn.Module):
    """The 29-layer convolutional-deconvolutional network, layer by layer as in Table I.

    18 convolutions, 4 poolings, 4 upsamplings, 2 dropouts and the input make 29. With 7 channels
    its 5,037,327 weights and 5,262 running statistics are the paper's 5,042,589.

    Input: (N, `channels`, H, W), values in 0..1, H and W multiples of 16.
    Output: logits (N, H, W); their sigmoid is the probability of lesion.
    """

    def __init__(self, channels: int = 7, dropout: float = 0.5) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        self.layers.add_module("input-norm", nn.BatchNorm2d(channels))
        maps = channels
        for name, kernel, features in TABLE_I:
            if name in DROPOUT_BEFORE:
                self.layers.add_module(f"{name}-dropout", Dropout(dropout))
                self.layers.add_module(f"{name}-norm", nn.BatchNorm2d(maps))
            self.layers.add_module(name, self._layer(name, kernel, maps, features))
            maps = features
        initialise(self)

    @staticmethod
    def _layer(name: str, kernel: int, inputs: int, features: int) -> nn.Module:
        if name.startswith(("pool", "ups")):
            return resampling(name, kernel)
        if name == "output":
            return nn.Conv2d(inputs, features, kernel, padding=kernel // 2)
        return convolution(inputs, features, kernel, mirrored=name in MIRRORED)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of lesion, (N, H, W)."""
        logits: Tensor = self.layers(x)
        return logits[:, 0]
