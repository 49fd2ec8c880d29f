"""CDNN-19, a reconstruction of the 19-layer network that CDNN-29 was compared with."""

from torch import Tensor, nn

from dermseg.training.networks.layers import Dropout, Layer, initialise, resampling

RECONSTRUCTION = (
    Layer("conv-1", 5, 8),
    Layer("pool-1", 2, 8),
    Layer("conv-2", 5, 16),
    Layer("pool-2", 2, 16),
    Layer("conv-3", 5, 32),
    Layer("pool-3", 2, 32),
    Layer("conv-4", 5, 32),
    Layer("pool-4", 2, 32),
    Layer("conv-5", 5, 128),
    Layer("ups-1", 2, 128),
    Layer("decv-1", 5, 32),
    Layer("ups-2", 2, 32),
    Layer("decv-2", 5, 32),
    Layer("ups-3", 2, 32),
    Layer("decv-3", 5, 16),
    Layer("ups-4", 2, 16),
    Layer("decv-4", 5, 8),
    Layer("output", 1, 1),
)

DROPOUT_BEFORE = ("conv-4", "decv-4")
"""The places that CDNN-29 drops out at. Whether its predecessor did is not known."""


class CDNN19(nn.Module):
    """A reconstruction, not a copy: the layer table of this network was not available.

    Yuan & Lo 2017 give 19 layers, 290,129 parameters and the remark that CDNN-29 splits larger
    kernels into 3 x 3 ones of the same effective receptive field, and widens the layers. Undoing
    that turns CDNN-29's 18 convolutions, pair by pair, into nine of 5 x 5; a 1 x 1 output, 4
    poolings, 4 upsamplings and the input make 19.

    Of the widths in powers of two from 8 to 256, the same on both paths, only these then give the
    count exactly: with RGB input, a bias in every convolution, and batch norm on the nine hidden
    ones (four numbers a channel, as in CDNN-29) but not on the input. CDNN-29 has no such biases,
    and normalises its input and after its dropouts; counted its way, this table has 290,029.
    A bias before batch norm matters only if the ReLU comes between, hence that order.

    An exact count is no proof. The two pairs with a 4 x 4 kernel come to 6 x 6, not 5 x 5: the
    receptive field is 200 pixels, CDNN-29's 208. And 64 maps in conv-5, with one more layer of 64
    after it, would give the same count. With 7 channels there are 290,929 parameters.

    Input: (N, `channels`, H, W), values in 0..1, H and W multiples of 16.
    Output: logits (N, H, W); their sigmoid is the probability of lesion.
    """

    def __init__(self, channels: int = 3, dropout: float = 0.5) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        maps = channels
        for name, kernel, features in RECONSTRUCTION:
            if name in DROPOUT_BEFORE:
                self.layers.add_module(f"{name}-dropout", Dropout(dropout))
            self.layers.add_module(name, self._layer(name, kernel, maps, features))
            maps = features
        initialise(self)

    @staticmethod
    def _layer(name: str, kernel: int, inputs: int, features: int) -> nn.Module:
        if name.startswith(("pool", "ups")):
            return resampling(name, kernel)
        conv = nn.Conv2d(inputs, features, kernel, padding=kernel // 2)
        if name == "output":
            return conv
        return nn.Sequential(conv, nn.ReLU(inplace=True), nn.BatchNorm2d(features))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of lesion, (N, H, W)."""
        logits: Tensor = self.layers(x)
        return logits[:, 0]
