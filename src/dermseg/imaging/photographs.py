"""Photographs read from files: their pixels, their size, their orientation.

One frame of reference holds everywhere: the pixels as the file stores them. EXIF orientation is
reported, never applied, so that masks, boxes and outlines line up with the stored pixels.
"""

import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path, PurePath
from types import ModuleType
from typing import BinaryIO, Literal, TypeAlias, TypeVar

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError, features

from dermseg.errors import ImageError, MissingFileError, TooManyPixelsError
from dermseg.imaging.block_shift import shows_shift
from dermseg.imaging.containers import BARE_DICOM, HEAD, form_of, holds_picture, without_metadata
from dermseg.imaging.decoding import Loaded, Pieces, load
from dermseg.imaging.depth import is_deep, to_eight_bits
from dermseg.imaging.images import Pixels, bands
from dermseg.imaging.orientation import Size, exif_orientation, stored_pixels, stored_size

T = TypeVar("T")
S = TypeVar("S", bound=str | Path | BinaryIO)
P = TypeVar("P", bound=PurePath)
Source: TypeAlias = str | Path | BinaryIO
"""Where an image is read from: a file's path, or an open binary file that can be rewound.

Errors name the path, or the open file's `name` where it has one.
"""

READS_HEIC = find_spec("pillow_heif") is not None
READS_DICOM = find_spec("pydicom") is not None
DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
"""Suffixes of DICOM files, which often have none."""
PHOTOGRAPH_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".tif", ".tiff", ".webp", ".avif"}
    | ({".heic", ".heif"} if READS_HEIC else set())
    | (DICOM_SUFFIXES if READS_DICOM else set())
)
UNREAD_SUFFIXES = frozenset(
    ({".heic", ".heif", ".gif", ".jp2", ".jxl", ".dng"} | DICOM_SUFFIXES) - PHOTOGRAPH_SUFFIXES
)
"""Photographs too, in forms that are not read."""
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
"""The formats that are read, whatever a file is called: Pillow knows others that run programs.

AVIF and HEIC are read too, where Pillow can, and the frames of DICOM files.
"""
PNG_END = b"IEND\xaeB`\x82"
JPEG_END = b"\xff\xd9"
"""Cameras write more behind it."""
OPAQUE = {"RGBA": "RGB", "LA": "L", "P": "RGB"}
"""Modes that no colour profile is made for, and those that they become."""
LARGE, BAND = 16 * 10**6, 10**6
"""Pixels from which on an image is converted in bands, and those of a band."""
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
    RuntimeError,
)
"""What Pillow's readers raise for damaged files."""
PhotographFlag = Literal["damaged", "narrow-range"]


@dataclass(frozen=True)
class Photograph:
    """A decoded photograph, its pixels as the file stores them."""

    pixels: Pixels
    """uint8 sRGB, (h, w, 3), perhaps at a reduced scale."""
    height: int
    """The file's height in pixels."""
    width: int
    """The file's width in pixels."""
    orientation: int = 1
    """The EXIF orientation, 1 to 8. It is not applied to the pixels."""
    flags: tuple[PhotographFlag, ...] = ()
    """"damaged" where pixels were lost inside the file; "narrow-range" where the values of a 16-bit
    file stay below a quarter of their range and nothing says why."""


@dataclass(frozen=True)
class File:
    """An opened image file, not yet decoded, and where its bytes come from."""

    image: Image.Image
    stream: BinaryIO | None

    def content(self) -> bytes:
        """Return the file's bytes."""
        assert self.stream is not None
        return _content(self.stream)

    def load(self) -> Loaded:
        """Decode the pixels, and say what was seen."""
        return load(self.image, self.stream if isinstance(self.stream, Pieces) else None)


def suffix_of(path: PurePath) -> str:
    """Return the suffix of a photograph's or a mask's name; digits alone are none.

    They are the end of a UID, by which hospitals call DICOM files: 1.2.840.113619.2.55.3.498.1.
    """
    return "" if path.suffix[1:].isdecimal() else path.suffix


def stem_of(path: PurePath) -> str:
    """Return the name of a photograph or a mask without its suffix."""
    return path.name.removesuffix(suffix_of(path))


def with_ending(path: P, ending: str) -> P:
    """Return the path of a photograph with another end in place of its suffix, or with none."""
    return path.with_name(stem_of(path) + ending)


def may_be_photograph(path: Path) -> bool:
    """Say whether a file is a photograph by its suffix; of DICOM files the first bytes say it.

    What is called DICOM and is damaged counts too, so that nobody misses it.
    """
    return may_begin_photograph(path, lambda: head_of(path))


def may_begin_photograph(name: PurePath, head_of_it: Callable[[], bytes | None]) -> bool:
    """Say the same of a file wherever it lies.

    `head_of_it` returns its first HEAD bytes, or None where the name alone must do.
    """
    suffix = suffix_of(name).lower()
    if READS_DICOM and suffix in DICOM_SUFFIXES | {""} and (head := head_of_it()) is not None:
        return holds_picture(head) or (bool(suffix) and form_of(head) != "DICOM")
    return suffix in PHOTOGRAPH_SUFFIXES


def head_of(path: Path) -> bytes:
    """Return a file's first bytes; none where it cannot be read."""
    try:
        with path.open("rb") as handle:
            return handle.read(HEAD)
    except OSError:
        return b""


def read_with(source: Source, work: Callable[[File], T], *, decode: bool = True) -> T:
    """Return what `work` makes of an image file.

    What fails is tried again without the file's metadata, so that only lost pixels are a failure.
    `decode` says whether `work` decodes pixels, or only looks at the header. Raises ImageError,
    naming the file, for whatever is wrong with it.
    """
    name = _name_of(source)
    source = unwrapped(source)
    try:
        try:
            return _attempt(Pieces(_content(source)) if decode else source, work)
        except DAMAGE:
            content = _content(source)
            bare = without_metadata(content)
            if bare is None:
                raise
            return _attempt(Pieces(bare), work)
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: {_why_unread(content)}") from error
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(
            f"{name}: more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels are not "
            "decoded, lest a forged file fill the memory; make it smaller"
        ) from error
    except DAMAGE as error:
        raise _unread(name, error) from error


def _unread(name: object, error: Exception) -> ImageError:
    """Return the error for a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return MissingFileError(f"{name}: no such file")
    if isinstance(error, IsADirectoryError):
        return ImageError(
            f"{name}: cannot be read, being a folder; dermseg.segment_folder takes folders"
        )
    return ImageError(f"{name}: cannot be read ({error})")


class Unwrapped(BytesIO):
    """The image file in a DICOM file.

    Also its scale where the file says it, and which frame it is where the file has several.
    """

    name = ""
    pixels_per_mm: float | None = None
    frame: int | None = None


def unwrapped(source: S, frame: int | None = None, most: int | None = None) -> "S | Unwrapped":
    """Return the frame of a DICOM file as an open image file; other sources as they are.

    `frame` counts from 1 and is needed where there are several. Raises ImageError, naming the file,
    if there is no such frame or it cannot be read, TooManyPixelsError for more than `most` pixels.
    """
    most = min(most or sys.maxsize, _most_pixels())
    read = _of_dicom(source, lambda reader, content: reader.frame_file(content, frame, most))
    if read is None:
        return source
    file = Unwrapped()
    content, file.pixels_per_mm, file.frame = read
    file.name = str(_name_of(source))
    file.write(content)
    file.seek(0)
    return file


def _of_dicom(source: Source, read: Callable[[ModuleType, bytes], T]) -> T | None:
    """Return what `read` makes of a DICOM file with its reader's module; None for other files.

    Raises ImageError, naming the file, if it cannot be read.
    """
    name = _name_of(source)
    try:
        if not READS_DICOM or form_of(_content(source, HEAD)) != "DICOM":
            return None
        return read(import_module("dermseg.imaging.readers.dicom"), _content(source))
    except ImageError as error:
        raise type(error)(f"{name}: {error}") from error
    except DAMAGE as error:
        raise _unread(name, error) from error


def _most_pixels() -> int:
    """Return how many pixels are decoded at most."""
    return 2 * (Image.MAX_IMAGE_PIXELS or sys.maxsize)


def scale_of(source: Source) -> float | None:
    """Return the pixels a millimetre of what `unwrapped` returned; None where it does not say."""
    return source.pixels_per_mm if isinstance(source, Unwrapped) else None


def frame_of(source: Source) -> int | None:
    """Return which of several frames `unwrapped` returned, from 1; None for other photographs."""
    return source.frame if isinstance(source, Unwrapped) else None


def _name_of(source: Source) -> object:
    return source if isinstance(source, str | Path) else getattr(source, "name", "the image")


def _attempt(source: Source, work: Callable[[File], T]) -> T:
    with _open(source) as image:
        return work(File(image, None if isinstance(source, str | Path) else source))


def _open(source: Source) -> Image.Image:
    """Open an image of FORMATS, or of those that Pillow reads where the system lets it."""
    try:
        return Image.open(source, formats=FORMATS)
    except UnidentifiedImageError:
        form = form_of(_content(source, HEAD))
        if form == "AVIF" and features.check("avif"):
            return Image.open(source, formats=("AVIF",))
        if form == "HEIC" and READS_HEIC:
            import_module("pillow_heif").register_heif_opener()
            return Image.open(source, formats=("HEIF",))
        raise


def _why_unread(content: bytes) -> str:
    """Return why a file that Pillow does not know is not read."""
    if not content:
        return "an empty file; copy it again"
    form = form_of(content[:HEAD])
    if form == "HEIC" and not READS_HEIC:
        return "HEIC, which is read where the extra heic is installed (pip install '.[heic]')"
    if form == "DICOM" and not READS_DICOM:
        return "DICOM, which is read where the extra dicom is installed (pip install '.[dicom]')"
    if form == BARE_DICOM:
        return f"{form}, which is not read; dcmconv makes a file of it that is"
    readable = {"AVIF": features.check("avif"), "HEIC": READS_HEIC}
    if readable.get(form, form in ("", "JPEG", "PNG", "BMP", "TIFF", "WebP")):
        if form:
            return f"not an image that can be read; it begins like {form}, so copy it again"
        return "not an image that can be read; whatever its name, it holds no JPEG, PNG or TIFF"
    return f"{form}, which is not read; JPEG, PNG and TIFF are"


def _content(source: Source, size: int = -1) -> bytes:
    """Return a source's bytes, or the first `size`."""
    if isinstance(source, str | Path):
        with Path(source).open("rb") as handle:
            return handle.read(size)
    if size < 0 and isinstance(source, BytesIO):
        return source.getvalue()
    source.seek(0)
    content = source.read(size)
    source.seek(0)
    return content


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return an 8-bit image as sRGB: its colour profile is applied, transparency dropped."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
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


def _rgb_pixels(image: Image.Image, at_least: tuple[int, int]) -> Pixels:
    """Return a decoded image's pixels as 8-bit sRGB.

    A large one is converted a band at a time, since Pillow's image, its conversion and the array
    would fill the memory together; and each side at the scale 1/2, 1/4 or 1/8 that is no smaller
    than `at_least`, (height, width), as a JPEG is decoded.
    """
    width, height = image.size
    if width * height < LARGE:
        return np.asarray(_to_rgb(image))
    down, across = (
        max((scale for scale in (2, 4, 8) if scale * least <= side), default=1)
        for side, least in zip((height, width), at_least, strict=True)
    )
    rows = max(1, BAND // (down * width)) * down
    pixels = np.empty((-(-height // down), -(-width // across), 3), np.uint8)
    for number, band in enumerate(bands(image, rows)):
        top = number * rows // down
        pixels[top : top + rows // down] = np.asarray(_to_rgb(band).reduce((across, down)))
    return pixels


def read_photograph(
    source: Source, at_least: tuple[int, int] | None = None, *, frame: int | None = None
) -> Photograph:
    """Read a photograph.

    Embedded colour profiles are applied, 16-bit greys are scaled to 8 bits, and transparency is
    dropped. The EXIF orientation is reported, not applied.

    Parameters
    ----------
    source
        A path, or an open binary file.
    at_least
        (height, width) that is enough. A JPEG is then decoded at the smallest of its scales 1/8,
        1/4, 1/2 and 1 that is no smaller, which is several times faster.
    frame
        Which frame of a DICOM file, from 1; needed where it has several.

    Returns
    -------
    Photograph
        uint8 sRGB pixels, the file's size, and its orientation.

    Raises
    ------
    ImageError
        If the file cannot be read; the message names it.

    Examples
    --------
    >>> photograph = dermseg.read_photograph("examples/photographs/ISIC_0003582.jpg")
    >>> photograph.pixels.shape, photograph.orientation
    ((512, 768, 3), 1)
    """

    def decoded(file: File) -> Photograph:
        image = file.image
        (height, width), orientation = stored_size(image), exif_orientation(image)
        if at_least is not None:
            image.draft("RGB", (at_least[1], at_least[0]))
        loaded = file.load()
        profile, narrow = image.info.get("icc_profile"), False
        if is_deep(image, file.content()):
            image, narrow = to_eight_bits(image, file.content())
            image.info["icc_profile"] = profile
        rgb = _rgb_pixels(image, at_least or image.size[::-1])
        pixels = stored_pixels(rgb, file.image, orientation)
        damaged = loaded.damaged or _is_shifted(pixels, loaded.unit, (height, width))
        flags: list[PhotographFlag] = ["damaged"] if damaged else []
        flags += ["narrow-range"] if narrow else []
        return Photograph(pixels, height, width, orientation, tuple(flags))

    return read_with(unwrapped(source, frame), decoded)


def photograph_of(picture: Image.Image) -> Photograph:
    """Return a picture of Pillow's as a photograph: sRGB, its pixels as they lie in the picture.

    Raises ImageError if its pixels cannot be read.
    """
    try:
        picture.load()
        rgb, narrow = picture, False
        if picture.mode.startswith("I"):
            rgb, narrow = to_eight_bits(picture, b"")
        pixels = np.asarray(_to_rgb(rgb))
    except DAMAGE as error:
        raise _unread("the picture", error) from error
    flags: tuple[PhotographFlag, ...] = ("narrow-range",) if narrow else ()
    return Photograph(pixels, picture.height, picture.width, exif_orientation(picture), flags)


def _is_shifted(pixels: Pixels, unit: Size | None, size: Size) -> bool:
    """Say whether a JPEG of this size, decoded at some scale, is shifted from some block on."""
    if unit is None:
        return False
    scales = (round(side / reduced) for side, reduced in zip(size, pixels.shape, strict=False))
    height, width = (max(1, side // scale) for side, scale in zip(unit, scales, strict=True))
    return shows_shift(pixels, (height, width))


@dataclass(frozen=True)
class Header:
    """An image's (height, width) as stored, and its EXIF orientation, 1 to 8; 1 if none is said."""

    size: Size
    orientation: int


def read_header(source: Source) -> Header:
    """Read what an image file says of its picture, without decoding it.

    The frames of a DICOM file are all as its header says, and none is turned.
    """

    def read(file: File) -> Header:
        return Header(stored_size(file.image), exif_orientation(file.image))

    size: Size | None = _of_dicom(
        source, lambda reader, content: reader.frame_size(content, _most_pixels())
    )
    return read_with(source, read, decode=False) if size is None else Header(size, 1)


def read_orientation(source: Source) -> int:
    """Return an image's EXIF orientation, 1 to 8, without decoding it; 1 if it says none."""
    return read_header(source).orientation


def image_size(source: Source) -> Size:
    """Return (height, width) of an image file as stored, without decoding it."""
    return read_header(source).size


def is_whole_image(source: Source) -> bool:
    """Say whether a file is an image, of any kind that is read, from its first byte to its last."""

    def whole(file: File) -> bool:
        if file.load().damaged:
            return False
        if file.image.format == "PNG":
            return file.content().endswith(PNG_END)
        return file.image.format != "JPEG" or JPEG_END in file.content()

    try:
        return read_with(source, whole)
    except ImageError:
        return False
