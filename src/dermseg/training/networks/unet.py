"""U-Net, the network of the challenge's second place (NLP LOGIX; paper, Table VI and [26])."""

from torch import Tensor, nn

from dermseg.errors import MissingExtraError
from dermseg.training.networks.layers import Dropout

FEATURES = (32, 64, 128, 256, 512, 32)
"""Maps at each of five sizes, half of the original's, and before the output.

That makes 7.9 million weights, with CDNN-29's 5.0 in mind; the original has 31 million.
"""


class UNet(nn.Module):
    """MONAI's `BasicUNet`: Ronneberger, Fischer & Brox 2015, padded and with batch norm.

    Dropout lies at the end of the contracting path, as there (section 3.1). Upsampling is by
    transposed convolutions, and maps are concatenated.

    Input: (N, `channels`, H, W), values in 0..1, H and W multiples of 16.
    Output: logits (N, H, W). Raises MissingExtraError without MONAI.
    """

    def __init__(self, channels: int = 7, dropout: float = 0.5) -> None:
        super().__init__()
        try:
            from monai.networks.nets.basic_unet import BasicUNet
        except ImportError as error:
            raise MissingExtraError.naming("experiments", "the network unet needs monai") from error
        self.network = BasicUNet(
            2, channels, 1, FEATURES, act=("relu", {"inplace": True}), norm="batch"
        )
        deepest = nn.Sequential(self.network.down_4, Dropout(dropout))
        self.network.add_module("down_4", deepest)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of lesion, (N, H, W)."""
        logits: Tensor = self.network(x)
        return logits[:, 0]
