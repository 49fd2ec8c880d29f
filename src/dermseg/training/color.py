"""Colour spaces as network modules, so that training and use cannot drift apart.

The paper (section II) feeds its network RGB, HSV and the lightness L of CIELAB: 7 channels.
Definitions follow scikit-image's `rgb2hsv` and `rgb2lab` (D65); every channel is scaled to 0..1.
"""

import torch
from torch import Tensor, nn

from dermseg.settings import Channels


def hsv(rgb: Tensor) -> Tensor:
    """Return hue, saturation and value, (N, 3, H, W), each in 0..1, of `rgb` in 0..1.

    Hue is in turns: 0 red, 1/3 green, 2/3 blue. Greys have hue 0, and black saturation 0.
    """
    red, green, blue = rgb.unbind(1)
    value = rgb.amax(1)
    chroma = value - rgb.amin(1)
    divisor = torch.where(chroma > 0, chroma, 1.0)
    sixths = torch.where(
        red == value,
        (green - blue) / divisor,
        torch.where(green == value, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    turns = sixths / 6
    hue = torch.where(turns < 0, turns + 1, turns)
    saturation = chroma / torch.where(value > 0, value, 1.0)
    return torch.stack((hue, saturation, value), 1)


def lightness(rgb: Tensor) -> Tensor:
    """Return CIELAB's L divided by 100, (N, 1, H, W), in 0..1, of sRGB `rgb` in 0..1."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp(min=0) ** 2.4, rgb / 12.92)
    red, green, blue = linear.unbind(1)
    luminance = 0.212671 * red + 0.715160 * green + 0.072169 * blue
    root = torch.where(
        luminance > 0.008856, luminance.clamp(min=1e-6) ** (1 / 3), 7.787 * luminance + 16 / 116
    )
    return (1.16 * root - 0.16).clamp(0, 1).unsqueeze(1)


class ColorChannels(nn.Module):
    """Turn RGB (N, 3, H, W) in 0..1 into the network's input channels, each in 0..1.

    "rgb-hsv-l" gives (N, 7, H, W): red, green, blue, hue, saturation, value, lightness.
    "rgb" passes its input through (the RGB rows of Tables IV and V).
    """

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, rgb: Tensor) -> Tensor:
        """Return the channels of `rgb`."""
        if self.channels == "rgb":
            return rgb
        return torch.cat((rgb, hsv(rgb), lightness(rgb)), 1)
