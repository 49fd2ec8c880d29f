"""Photographs of rulers, drawn: a line with ticks, every second and tenth of them longer."""

import cv2
import numpy as np

from dermseg.imaging.images import Pixels

HEIGHT, WIDTH = 600, 800


def skin(seed: int = 0) -> Pixels:
    """Return skin with a lesion and a little noise."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.full((HEIGHT, WIDTH, 3), (225, 190, 175), np.float32)
    pixels[np.hypot(x - 400, y - 250) < 90] = (110, 70, 50)
    pixels += np.random.default_rng(seed).normal(0, 3, pixels.shape)
    return cv2.GaussianBlur(pixels, (0, 0), 0.7).clip(0, 255).astype(np.uint8)


def with_ruler(
    millimetre: float,
    angle: float = 0.0,
    *,
    parts: int = 10,
    start: tuple[float, float] = (120, 500),
    count: int = 10,
) -> Pixels:
    """Return skin with a ruler of `count` millimetres, each of so many parts; angle in degrees."""
    pixels = skin()
    along = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
    across = np.array([along[1], -along[0]])
    origin = np.array(start, np.float64)

    def line(first: np.ndarray, last: np.ndarray) -> None:
        ends = (np.round(16 * end).astype(int).tolist() for end in (first, last))
        cv2.line(pixels, *ends, (40, 35, 35), 1, cv2.LINE_AA, 4)

    line(origin, origin + count * millimetre * along)
    for number in range(count * parts + 1):
        length = 0.12
        if number % parts == 0:
            length = 0.45
        elif 2 * number % parts == 0:
            length = 0.27
        foot = origin + number * millimetre / parts * along
        line(foot, foot + length * millimetre * across)
    return pixels


def hairs(pixels: Pixels, count: int = 12, seed: int = 0) -> Pixels:
    """Return a photograph with hairs over it."""
    generator = np.random.default_rng(seed)
    drawn = pixels.copy()
    for _ in range(count):
        ends = generator.integers(0, (WIDTH, HEIGHT), (3, 2))
        share = np.linspace(0, 1, 40)[:, np.newaxis]
        curve = (1 - share) ** 2 * ends[0] + 2 * share * (1 - share) * ends[1] + share**2 * ends[2]
        points = curve.round().astype(np.int32)
        cv2.polylines(drawn, [points], False, (70, 50, 40), 2, cv2.LINE_AA)
    return drawn
