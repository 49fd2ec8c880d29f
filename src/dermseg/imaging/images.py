"""Photographs and masks in and out of files.

One frame of reference holds everywhere: the pixels as the file stores them. EXIF orientation is
reported, never applied, so that masks, boxes and outlines line up with the stored pixels.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from dermseg.errors import ImageError, OutputError, TooManyPixelsError
from dermseg.imaging.orientation import exif_orientation
from dermseg.storage.files import written_whole

Pixels: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
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
MASK_SUFFIX = "_segmentation.png"
MASK_FOREGROUND = 128
"""A mask's pixel is lesion above this value, as in the official scorer."""
BINARY = np.isin(np.arange(256), (0, 255))
"""Whether each 8-bit value belongs in a mask."""
RUN_LENGTHS = (
    cv2.IMWRITE_PNG_FILTER,
    cv2.IMWRITE_PNG_FILTER_NONE,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
)
"""How masks are compressed: a quarter of the time that Pillow's defaults take, and smaller."""
LONGEST_SIDE = 10**6
"""Pixels of a mask's side, which libpng allows."""
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


def by_name(named: Iterable[tuple[str, Path]]) -> tuple[dict[str, Path], list[str]]:
    """Return files by name, and a line for each second file of a name."""
    found: dict[str, Path] = {}
    problems = []
    for name, path in named:
        if found.setdefault(name, path) != path:
            problems.append(f"{path}: means the same image as {found[name].name}")
    return found, problems


def mask_stem(path: Path) -> str:
    """Return the name of the photograph that a mask file belongs to, without a suffix."""
    stem = path.stem
    return stem[: -len("_segmentation")] if stem.lower().endswith("_segmentation") else stem


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
def _opened(source: Source) -> Iterator[Image.Image]:
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
    with _opened(source) as image:
        width, height = image.size
        orientation = exif_orientation(image)
        if at_least is not None:
            image.draft("RGB", (at_least[1], at_least[0]))
        pixels = np.asarray(_to_rgb(image))
    return Photograph(pixels, height, width, orientation)


def read_mask(path: str | Path) -> Pixels:
    """Read a mask file as stored: one channel of 8 bits, (H, W), lesion above MASK_FOREGROUND.

    Raises ImageError, naming the file, if it cannot be read or has several channels.
    """
    with _opened(path) as image:
        if image.mode not in ("L", "1"):
            raise ImageError(f"{path}: a mask has one 8-bit channel, this image is {image.mode}")
        return np.asarray(image.convert("L"))


def read_orientation(source: Source) -> int:
    """Return an image's EXIF orientation, 1 to 8, without decoding it; 1 if it says none."""
    with _opened(source) as image:
        return exif_orientation(image)


def image_size(source: Source) -> tuple[int, int]:
    """Return (height, width) of an image file without decoding it."""
    with _opened(source) as image:
        return image.height, image.width


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize (h, w, 3) or (h, w) to `height` x `width`.

    Bilinear (paper, section II), with the filter widened when shrinking, so that hairs and
    sensor noise do not alias.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def is_whole_image(path: Path) -> bool:
    """Say whether a file is an image, of any kind that is read, from its first byte to its last."""
    try:
        with _opened(path) as image:
            image.load()
            return image.format != "PNG" or path.read_bytes().endswith(PNG_END)
    except ImageError:
        return False


def is_binary(mask: Pixels) -> bool:
    """Say whether a mask holds nothing but 0 and 255."""
    return bool(BINARY[mask].all())


def check_mask(path: Path, mask: Pixels) -> None:
    """Raise ImageError for a mask that marks its lesion by small numbers, such as 1.

    It would count as empty: lesion is above MASK_FOREGROUND.
    """
    highest = int(mask.max())
    if 0 < highest <= MASK_FOREGROUND:
        raise ImageError(f"{path}: a mask's lesion is 255; the highest value here is {highest}")


def write_mask(path: str | Path, mask: Mask) -> None:
    """Write a mask as `encode_mask` encodes it; raise OutputError if it cannot be written."""
    with written_whole(Path(path)) as temporary:
        temporary.write_bytes(encode_mask(mask))


def encode_mask(mask: Mask) -> bytes:
    """Return a mask as the challenge wants it: an 8-bit PNG of one channel, 0 or 255.

    What is not zero is lesion. Raises OutputError for a side of more than a million pixels.
    """
    grey = mask.astype(np.bool_, copy=False).view(np.uint8) * np.uint8(255)
    done, content = cv2.imencode(".png", grey, RUN_LENGTHS)
    if not done:
        height, width = grey.shape
        raise OutputError(f"no PNG of {width} x {height}: a side has {LONGEST_SIDE} pixels at most")
    return content.tobytes()


def encode_image(pixels: Pixels, form: str) -> bytes:
    """Return grey (H, W) or RGB (H, W, 3) pixels in one of FORMATS."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def write_image(path: Path, pixels: Pixels) -> None:
    """Write grey (H, W) or RGB (H, W, 3) pixels, in the format of the path's suffix."""
    with written_whole(path) as temporary:
        Image.fromarray(pixels).save(temporary)
