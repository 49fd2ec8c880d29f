"""Pictures as arrays of pixels: types, resizing, and writing."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dermseg.storage.files import write_bytes

Pixels: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize (h, w, 3) or (h, w) to `height` x `width`.

    Bilinear (paper, section II), with the filter widened when shrinking, so that hairs and
    sensor noise do not alias.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def size_within(size: tuple[int, ...], side: int) -> tuple[int, int]:
    """Return the (height, width) of a picture of `size` when no side is longer than `side`."""
    scale = min(1.0, side / max(size))
    height, width = (max(1, round(each * scale)) for each in size)
    return height, width


def bands(image: Image.Image, rows: int) -> Iterator[Image.Image]:
    """Yield an image's bands of so many rows, from top to bottom."""
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def encode_image(pixels: Pixels, form: str) -> bytes:
    """Return grey (H, W) or RGB (H, W, 3) pixels in one of FORMATS."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def write_image(path: Path, pixels: Pixels) -> None:
    """Write grey (H, W) or RGB (H, W, 3) pixels whole: a JPEG under .jpg, otherwise a PNG."""
    # Pillow, writing itself, takes no notice of a disk that is full.
    content = encode_image(pixels, "JPEG" if path.suffix.lower() == ".jpg" else "PNG")
    write_bytes(path, content)
