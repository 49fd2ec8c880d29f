"""Whether a picture looks like the dermoscopic photographs that a model learnt from.

A few numbers describe a picture's colours and how fast they change from place to place. A picture
whose numbers lie far from those of the training photographs, in units of how much these vary
(Mahalanobis 1936), is probably no dermoscopic photograph: a screenshot, a landscape, a blank.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Pixels, resize

Numbers = NDArray[np.float64]
FINE, COARSE = (48, 64), (6, 8)
"""Sizes, (height, width), at which changes of lightness are measured."""
GREY = 4
"""Chroma in CIELAB below which a pixel is grey."""
SRGB = np.arange(256, dtype=np.float32) / 255
LINEAR = np.where(SRGB <= 0.04045, SRGB / 12.92, ((SRGB + 0.055) / 1.055) ** 2.4)
"""The light of each 8-bit value of sRGB, 0 to 1 (IEC 61966-2-1)."""
TO_XYZ = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ],
    np.float32,
)
"""CIE XYZ of linear red, green and blue (ITU-R BT.709)."""
LINEAR_BELOW = (6 / 29) ** 3
"""Where CIELAB's cube root gives way to a line."""


@dataclass(frozen=True)
class Appearance:
    """What the photographs look like that a model knows, as the distribution of 11 numbers.

    `mean` (11,) and `whitening` (11, 11) turn a picture's numbers into independent ones of unit
    variance. A picture is unlike the photographs where these are longer than `limit`: of
    photographs like those `images`, the share `alarms` is.
    """

    mean: tuple[float, ...]
    whitening: tuple[tuple[float, ...], ...]
    limit: float
    images: int
    alarms: float

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Appearance":
        """Return the appearance that `to_dict` turned into `values`, as JSON gives it back."""
        rows = tuple(tuple(row) for row in values["whitening"])
        return cls(**{**values, "mean": tuple(values["mean"]), "whitening": rows})

    def to_dict(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        return asdict(self)

    def distances(self, descriptions: Numbers) -> Numbers:
        """Return how far pictures lie from the known ones, (n,), by their numbers, (n, 11)."""
        whitened = (descriptions - np.array(self.mean)) @ np.array(self.whitening)
        distances: Numbers = np.linalg.norm(whitened, axis=1)
        return distances

    def is_unlike(self, picture: Pixels) -> bool:
        """Say whether a picture, as the network sees it, is unlike the known photographs."""
        return bool(self.distances(describe(picture)[np.newaxis])[0] > self.limit)


def describe(picture: Pixels) -> Numbers:
    """Return 11 numbers, (11,), of a picture as the network sees it, uint8 RGB (h, w, 3).

    In CIELAB: the means, and the logarithms of the standard deviations; the logarithms of the
    changes of lightness between neighbours at FINE and COARSE size; how far hues are from being
    one hue; how much of the picture is grey. And how much neighbours differ at its own size.
    """
    lab = to_lab(resize(picture, *FINE))
    lightness, *hues = cv2.split(lab)
    chroma = cv2.magnitude(*hues)
    means, deviations = (each.ravel() for each in cv2.meanStdDev(lab))
    toward = means[1:] / (chroma.mean() + 1 / chroma.size)
    coarse = cv2.resize(lightness, COARSE[::-1], interpolation=cv2.INTER_AREA)
    texture = cv2.mean(cv2.absdiff(picture[1:, 1:], picture[:-1, :-1]))[:3]
    logs = [
        *(deviations + 0.5),
        _change(lightness) + 0.2,
        _change(coarse) + 0.2,
        1.02 - np.hypot(*toward),
        np.mean(texture) + 0.3,
        np.count_nonzero(chroma < GREY) / chroma.size + 0.01,
    ]
    return np.array([*means, *np.log(logs)], np.float64)


def to_lab(picture: Pixels) -> NDArray[np.float32]:
    """Return CIELAB (CIE 1976, D65), float32 (h, w, 3), of uint8 sRGB (h, w, 3).

    OpenCV needs 80 ms to prepare its first conversion, a fifth of a command's start.
    """
    xyz = LINEAR[picture] @ (TO_XYZ / TO_XYZ.sum(1, keepdims=True)).T
    roots = np.where(xyz > LINEAR_BELOW, np.cbrt(xyz), xyz * (841 / 108) + 4 / 29)
    x, y, z = np.moveaxis(roots, 2, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 2, dtype=np.float32)


def _change(lightness: NDArray[Any]) -> float:
    """Return the mean difference between neighbours along rows plus that along columns."""
    down = cv2.absdiff(lightness[1:], lightness[:-1])
    right = cv2.absdiff(lightness[:, 1:], lightness[:, :-1])
    return cv2.mean(down)[0] + cv2.mean(right)[0]
