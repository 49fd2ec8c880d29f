"""What may be given as a photograph: a path, bytes, an open file, a picture of Pillow's, pixels."""

import os
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image

from dermseg.errors import ImageError
from dermseg.imaging.images import Pixels
from dermseg.imaging.photographs import Photograph, photograph_of

PhotographLike: TypeAlias = (
    str | os.PathLike[str] | bytes | BinaryIO | Photograph | Image.Image | Pixels
)
Opened: TypeAlias = Path | BytesIO | Photograph


def opened(given: PhotographLike) -> Opened:
    """Return what is given as a path, a file in memory, or a photograph.

    A path is not opened; an open file is read to its end, from its beginning where it can be
    rewound. Raises ImageError if pixels are not uint8 RGB (H, W, 3), TypeError for other things.
    """
    if isinstance(given, Path | BytesIO | Photograph):
        return given
    if isinstance(given, str | os.PathLike):
        return Path(given)
    if isinstance(given, bytes | bytearray | memoryview):
        return BytesIO(given)
    if isinstance(given, Image.Image):
        return photograph_of(given)
    if isinstance(given, np.ndarray):
        return _of_pixels(given)
    if hasattr(given, "read"):
        return _in_memory(given)
    raise TypeError(
        "a photograph is a path, bytes, an open binary file, a picture of Pillow's, a "
        f"dermseg.Photograph or an array of uint8 RGB, not {type(given).__name__}"
    )


def _in_memory(file: BinaryIO) -> BytesIO:
    """Return an open file in memory, under its name."""
    if getattr(file, "seekable", lambda: False)():
        file.seek(0)
    content = file.read()
    if not isinstance(content, bytes):
        raise TypeError("a photograph is bytes; open its file in binary mode, 'rb'")
    memory = BytesIO(content)
    name = getattr(file, "name", "")
    if isinstance(name, str | os.PathLike) and name:
        memory.name = str(name)
    return memory


def _of_pixels(pixels: Pixels) -> Photograph:
    fits = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    if not fits or pixels.size == 0:
        raise ImageError(
            "pixels must be a uint8 array of shape (height, width, 3), RGB; "
            f"this one is {pixels.dtype} {pixels.shape}"
        )
    return Photograph(pixels, pixels.shape[0], pixels.shape[1])
