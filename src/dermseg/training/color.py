"""Colour spaces as network modules, so that training and use cannot drift apart.

The paper (section II) feeds its network RGB, HSV and the lightness L of CIELAB: 7 channels.
Definitions follow scikit-image's `rgb2hsv` and `rgb2lab` (D65); every channel is scaled to 0..1.

Arithmetic in place of `where` and `pow`, which ONNX Runtime computes one number at a time: with
them the colours took a third of lite0's time.
"""

import torch
from torch import Tensor, nn

from dermseg.settings import Channels

TINY = 1e-20
"""Added to a divisor that may be zero; too small to change any other."""


def hsv(rgb: Tensor) -> Tensor:
    """Return hue, saturation and value, (N, 3, H, W), each in 0..1, of `rgb` in 0..1.

    Hue is in turns: 0 red, 1/3 green, 2/3 blue. Greys have hue 0, and black saturation 0.
    """
    red, green, blue = rgb.unbind(1)
    # The colours are sorted, and hue counted from where the first two meet (Hocevar 2013).
    cold = (green < blue).to(rgb.dtype)
    high, low = torch.maximum(green, blue), torch.minimum(green, blue)
    not_red = (red < high).to(rgb.dtype)
    value, middle = torch.maximum(red, high), torch.minimum(red, high)
    chroma = value - torch.minimum(middle, low)
    start = not_red * (2 * cold - 1 / 3) - cold
    hue = (start + (middle - low) / (6 * chroma + TINY)).abs()
    return torch.stack((hue, chroma / (value + TINY), value), 1)


def lightness(rgb: Tensor) -> Tensor:
    """Return CIELAB's L divided by 100, (N, 1, H, W), in 0..1, of sRGB `rgb` in 0..1."""
    linear = _above(rgb, 0.04045, _power((rgb + 0.055) / 1.055, 2.4), rgb / 12.92)
    red, green, blue = linear.unbind(1)
    luminance = 0.212671 * red + 0.715160 * green + 0.072169 * blue
    curve, line = _power(luminance.clamp(min=1e-6), 1 / 3), 7.787 * luminance + 16 / 116
    root = _above(luminance, 0.008856, curve, line)
    return (1.16 * root - 0.16).clamp(0, 1).unsqueeze(1)


def _power(base: Tensor, exponent: float) -> Tensor:
    return torch.exp(exponent * torch.log(base))


def _above(x: Tensor, limit: float, curve: Tensor, line: Tensor) -> Tensor:
    """Return `curve` where `x` is above `limit`, and `line` elsewhere."""
    return line + (x > limit).to(x.dtype) * (curve - line)


class ColorChannels(nn.Module):
    """Turn RGB (N, 3, H, W) in 0..1 into the network's input channels, each in 0..1.

    "rgb-hsv-l" gives (N, 7, H, W): red, green, blue, hue, saturation, value, lightness.
    "rgb" returns its input (the RGB rows of Tables IV and V).
    """

    def __init__(self, channels: Channels) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, rgb: Tensor) -> Tensor:
        """Return the channels of `rgb`."""
        if self.channels == "rgb":
            return rgb
        return torch.cat((rgb, hsv(rgb), lightness(rgb)), 1)
