"""Photographs read from files: their pixels, their size, their orientation.

One frame of reference holds everywhere: the pixels as the file stores them. EXIF orientation is
reported, never applied, so that masks, boxes and outlines line up with the stored pixels.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from dermseg.errors import ImageError, TooManyPixelsError
from dermseg.imaging.images import Pixels
from dermseg.imaging.orientation import exif_orientation

Source: TypeAlias = str | Path | BinaryIO
"""Where an image is read from: a file's path, or an open binary file that can be rewound.

Errors name the path, or the open file's `name` where it has one.
"""

PHOTOGRAPH_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp"}
)
UNREAD_SUFFIXES = frozenset({".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".dng", ".dcm"})
"""Photographs too, in forms that are not read."""
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
"""The formats that are read, whatever a file is called: Pillow knows others that run programs."""
PNG_END = b"IEND\xaeB`\x82"
WHITE_16 = 65535
OPAQUE = {"RGBA": "RGB", "LA": "L", "P": "RGB"}
"""Modes that no colour profile is made for, and those that they become."""
DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    zlib.error,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
)
"""What Pillow's readers raise for damaged files."""


@dataclass(frozen=True)
class Photograph:
    """A decoded photograph.

    `pixels` is RGB (h, w, 3), perhaps at a reduced scale; `height` and `width` are those of the
    file. `orientation` is the EXIF orientation, 1 to 8, for those who show the picture upright.
    """

    pixels: Pixels
    height: int
    width: int
    orientation: int = 1


@contextmanager
def opened(source: Source) -> Iterator[Image.Image]:
    """Open an image file; anything that is wrong with the file is an ImageError naming it."""
    name = source if isinstance(source, str | Path) else getattr(source, "name", "the image")
    try:
        with Image.open(source, formats=FORMATS) as image:
            yield image
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: not an image that can be read") from error
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(
            f"{name}: more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels are not "
            "decoded, lest a forged file fill the memory; make it smaller"
        ) from error
    except DAMAGE as error:
        raise ImageError(f"{name}: cannot be read ({error})") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return the image as 8-bit sRGB.

    Embedded colour profiles are applied, 16-bit greys scaled, and transparency is dropped.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > WHITE_16:
            raise ValueError("its grey values exceed 16 bits")
        image = Image.fromarray((grey / (WHITE_16 / 255)).round().astype(np.uint8))
    profile = image.info.get("icc_profile")
    if profile and image.mode in OPAQUE:
        image = image.convert(OPAQUE[image.mode])
    if profile and image.mode in ("RGB", "CMYK", "L"):
        transform = _to_srgb(profile, image.mode)
        if transform is not None:
            converted = ImageCms.applyTransform(image, transform)
            assert converted is not None  # it is None only when done in place
            return converted
    return image.convert("RGB")


@lru_cache(maxsize=16)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform of an ICC profile to sRGB.

    None for sRGB itself, and for a profile that is damaged or belongs to another mode: the pixels
    are then taken as they are, as browsers do.
    """
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def read_photograph(source: Source, at_least: tuple[int, int] | None = None) -> Photograph:
    """Read a photograph from a file's path, or from an open binary file.

    With `at_least`, (height, width), a JPEG is decoded at the smallest of its scales 1/8, 1/4,
    1/2 and 1 that is no smaller, which is several times faster for large ones.

    Raises ImageError, naming the file, if it cannot be read.
    """
    with opened(source) as image:
        width, height = image.size
        orientation = exif_orientation(image)
        if at_least is not None:
            image.draft("RGB", (at_least[1], at_least[0]))
        pixels = np.asarray(_to_rgb(image))
    return Photograph(pixels, height, width, orientation)


def read_orientation(source: Source) -> int:
    """Return an image's EXIF orientation, 1 to 8, without decoding it; 1 if it says none."""
    with opened(source) as image:
        return exif_orientation(image)


def image_size(source: Source) -> tuple[int, int]:
    """Return (height, width) of an image file without decoding it."""
    with opened(source) as image:
        return image.height, image.width


def is_whole_image(path: Path) -> bool:
    """Say whether a file is an image, of any kind that is read, from its first byte to its last."""
    try:
        with opened(path) as image:
            image.load()
            return image.format != "PNG" or path.read_bytes().endswith(PNG_END)
    except ImageError:
        return False
