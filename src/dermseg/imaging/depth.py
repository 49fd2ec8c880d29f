"""Images of more than 8 bits: which value is white, and their values in 8 bits."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dermseg.imaging.containers import png_chunks
from dermseg.imaging.images import Pixels, bands

WHITE = 65535
ROWS = 256
"""Rows of an image that are scaled at once."""
NARROW = 2**14
"""A file whose values all lie below does not fill its 16 bits, unless it is very dark."""
BITS_PER_SAMPLE, HIGHEST_SAMPLE = 258, 341
"""Tags of TIFF; the second is SMaxSampleValue."""
Values = NDArray[np.uint16]


def is_deep(image: Image.Image, content: bytes) -> bool:
    """Say whether an opened image has more than 8 bits a channel."""
    if image.format == "PNG":
        return content[24] == 16
    return image.mode.startswith("I") or max(_tag(image, BITS_PER_SAMPLE), default=8) == 16


def to_eight_bits(image: Image.Image, content: bytes) -> tuple[Image.Image, bool]:
    """Return a deep image, decoded, in 8 bits, and whether its values may be scaled wrongly.

    White is what the file says (sBIT of PNG, SMaxSampleValue of TIFF, 12 bits), where no value
    exceeds it. Raises ValueError for grey values of more than 16 bits.
    """
    white = _stated_white(image, content)
    if image.mode.startswith("I"):
        # In bands: the values of all pixels would take as much memory again.
        highest = max(int(_grey(band).max()) for band in bands(image, ROWS))
        scale = _scale(WHITE if highest > (white or WHITE) else white)
        scaled = np.empty((image.height, image.width), np.uint8)
        for number, band in enumerate(bands(image, ROWS)):
            scaled[number * ROWS : (number + 1) * ROWS] = scale[_grey(band)]
        return Image.fromarray(scaled), white is None and 0 < highest < NARROW
    high = np.asarray(image.convert("RGB"))  # the upper 8 bits, which Pillow reads
    if int(high.max()) >= NARROW >> 8:
        return image, False
    if white is None:
        return image, bool(high.any())
    colours = _colours(content, high.shape)
    if colours is None or int(colours.max()) > white:
        return image, False
    return Image.fromarray(_scale(white)[colours]), False


def _grey(image: Image.Image) -> Values:
    values = np.asarray(image)
    if values.dtype != np.uint16 and (values.min() < 0 or values.max() > WHITE):
        raise ValueError("its grey values exceed 16 bits")
    return values.astype(np.uint16, copy=False)


def _colours(content: bytes, shape: tuple[int, ...]) -> Values | None:
    """Return all 16 bits, RGB (H, W, 3), which Pillow does not read; None where OpenCV does not."""
    try:
        found = cv2.imdecode(
            np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH
        )
    except cv2.error:
        return None
    fits = found is not None and found.dtype == np.uint16 and found.shape == shape
    return found if fits else None  # type: ignore[return-value]


@lru_cache(maxsize=4)
def _scale(white: int | None) -> Pixels:
    """Return the 8-bit value of each 16-bit one."""
    scaled = np.arange(WHITE + 1) / ((white or WHITE) / 255)
    return scaled.round().clip(0, 255).astype(np.uint8)


def _stated_white(image: Image.Image, content: bytes) -> int | None:
    """Return the highest value that a file says its channels take; None if it does not say."""
    if image.format == "PNG":
        for kind, start, end, sound in png_chunks(content):
            if kind == b"sBIT" and sound and end - start > 12:  # an empty one says nothing
                return 2 ** min(16, *content[start + 8 : end - 4][:3]) - 1 or None
            if kind == b"IDAT":
                break
        return None
    stated = [value for value in _tag(image, HIGHEST_SAMPLE) if 255 < value <= WHITE]
    if stated:
        return int(max(stated))
    return 4095 if _tag(image, BITS_PER_SAMPLE) == (12,) else None


def _tag(image: Image.Image, tag: int) -> tuple[float, ...]:
    """Return a TIFF tag's numbers; none for other forms and other types."""
    found = getattr(image, "tag_v2", {}).get(tag, ())
    found = found if isinstance(found, tuple) else (found,)
    return tuple(value for value in found if isinstance(value, int | float))
