"""Photographs in DICOM files: the frame as a JPEG or TIFF file, which all else reads.

A JPEG inside is handed on as it is, so that it is decoded at the scale that is needed. pydicom
decodes other codings. VOI windows and modality tables are not applied: a photograph has none.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.encaps import get_frame
from pydicom.filereader import read_partial
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import get_expected_length, pixel_array
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from dermseg.errors import ImageError, TooManyPixelsError
from dermseg.imaging.containers import DICOM_SYNTAX, dicom_facts, holds_picture, jpeg_segments
from dermseg.imaging.depth import HIGHEST_SAMPLE, WHITE
from dermseg.imaging.structure import FRAMES

TAGS = (
    "SOPClassUID",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
    "ICCProfile",
    "PixelSpacing",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelData",
)
"""What is read of a file: nothing that says whom it shows."""
WANTED: list[BaseTag | int] = [Tag(name) for name in TAGS]
CHECKED = frozenset({*TAGS, "SpecificCharacterSet"})
"""What pydicom reads: it always takes the character set too."""
BYTES = frozenset({"OB", "OV", "OW", "UN"})
"""Kinds of values that stay bytes, of which no objects are made."""
LONGEST_VALUE = 2**17
"""Bytes of a value of another kind: a colour table has 65,536 numbers of two bytes."""
PACKED = (DeflatedExplicitVRLittleEndian,)
"""Of a few bytes they make gigabytes."""
SAMPLES = {
    **dict.fromkeys(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"), 1),
    **dict.fromkeys(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"), 3),
}
"""Colours to their samples a pixel."""
ALLOCATED = (1, 8, 16, 32)
"""Bits that a sample may take in the file."""
JPEG = (JPEGBaseline8Bit, JPEGExtended12Bit)
JPEG_LS, JPEG_2000 = 0xF7, b"\xff\x4f\xff\x51"
"""What precedes the size in these codes."""
EXIF, PROFILE, ADOBE, JFIF = 0xE1, 0xE2, 0xEE, 0xE0
UNTRANSFORMED = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""The segment that says that a JPEG's colours are RGB, where decoders take them for YCbCr."""
RGB_NAMES = (b"RGB", b"rgb")
"""Names of a JPEG's components that say the same."""
OBLONG = 1.01
"""A pixel whose sides differ more is not square."""
MOST_READS = 100_000
"""How often pydicom reads from a file: up to three times for each item, once for each element."""
LONGEST_PART = 65519
"""Bytes of a colour profile that fit into one segment."""
Values = NDArray[np.integer]


class _Followed(BytesIO):
    """A file of which pydicom reads no more parts than are decoded, and nothing packed."""

    reads = 0
    is_cut = False
    """Whether a part was shorter than it should be."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes; raise past MOST_READS, and for the whole rest, to be unpacked."""
        if size is None or size < 0:
            raise _unread(PACKED[0])
        self.reads += 1
        if self.reads > MOST_READS:
            raise OSError("too many parts")
        found = super().read(size)
        self.is_cut |= 0 < len(found) < size
        return found


def frame_file(
    content: bytes, frame: int | None, most: int
) -> tuple[bytes, float | None, int | None]:
    """Return a frame of a DICOM file as a JPEG or TIFF file, and what else is known of it.

    That is its pixels a millimetre, and which of several frames it is, None of a single one.

    `frame`, from 1, chooses one of several; a file of one frame is read whatever it says. Raises
    ImageError, whose message names no file, if there is no such frame, several and none is chosen,
    or it cannot be read; TooManyPixelsError for more than `most` pixels.
    """
    with _understood():
        dataset, syntax = _read(content)
        number = frame_number(dataset, frame)
        return _image_file(dataset, syntax, (number or 1) - 1, most), _scale(dataset), number


def frame_size(content: bytes, most: int) -> tuple[int, int]:
    """Return the (height, width) of a DICOM file's frames, all of one size, decoding none.

    Raises as `frame_file` does.
    """
    with _understood():
        return _size(_read(content)[0], most)


@contextmanager
def _understood() -> Iterator[None]:
    """Raise ImageError for a damaged file, of which pydicom raises whatever it trips over."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"damaged DICOM ({type(error).__name__})") from error


def _size(dataset: Dataset, most: int) -> tuple[int, int]:
    size = int(dataset.Rows), int(dataset.Columns)
    if size[0] * size[1] > most:
        raise TooManyPixelsError(f"{size[0]} x {size[1]} pixels; {most:,} are the most")
    return size


def _image_file(dataset: Dataset, syntax: UID, index: int, most: int) -> bytes:
    size = _size(dataset, most)
    coded = _coded(dataset, index) if syntax.is_encapsulated else b""
    if (found := _coded_size(coded)) not in (None, size):
        raise ImageError(f"says {size[0]} x {size[1]} pixels, but codes {found}")
    if syntax in JPEG and _bits(coded) == 8 and dataset.PhotometricInterpretation != "MONOCHROME1":
        return _as_jpeg(coded, dataset)
    return _as_tiff(_decoded(dataset, syntax, index), dataset)


def _read(content: bytes) -> tuple[Dataset, UID]:
    """Read what TAGS names; raise ImageError for what is no picture, or is packed as a whole."""
    if not holds_picture(content):
        raise ImageError("DICOM without a photograph, such as a report, a segmentation or a CT")
    syntax = UID(dicom_facts(content).get(DICOM_SYNTAX, ""))
    if not syntax.is_transfer_syntax or syntax in PACKED:
        raise _unread(syntax)
    file = _Followed(content)
    try:
        dataset = read_partial(file, _check_value, specific_tags=WANTED)
    except OSError as error:
        if file.reads <= MOST_READS:
            raise
        raise ImageError(
            f"DICOM of more than {MOST_READS} parts; such files keep a decoder busy, and are not "
            "read"
        ) from error
    needed = ("Rows", "Columns", "PhotometricInterpretation", "BitsStored", "PixelData")
    if missing := [name for name in needed if not dataset.get(name)]:
        if file.is_cut or file.tell() > len(content):
            raise ImageError("DICOM that is damaged or cut short; copy it again")
        raise _without(missing[0])
    if dataset.get("PixelRepresentation") or dataset.BitsStored > 16:
        raise ImageError(
            f"DICOM of {dataset.BitsStored} bits, signed or more than 16, which is no photograph"
        )
    return dataset, syntax


def _without(name: str) -> ImageError:
    return ImageError(f"DICOM without {name}, which a photograph has")


def _check_value(tag: BaseTag, kind: str | None, length: int) -> bool:
    """Raise ImageError for a value that would become millions of objects; never stop the reading.

    `kind` is that of the file, None where it tells none.
    """
    name = keyword_for_tag(tag)
    if length > LONGEST_VALUE and name in CHECKED:
        usual = dictionary_VR(tag).split(" or ")
        if BYTES.isdisjoint(usual) or (kind is not None and kind not in BYTES):
            raise ImageError(
                f"DICOM whose {name} is no photograph's; such files keep a decoder busy, and are "
                "not read"
            )
    return False


def _scale(dataset: Dataset) -> float | None:
    """Return the pixels a millimetre; None where a file does not say, or its pixels are oblong."""
    spacing = pixel_spacing(dataset)
    is_square = len(spacing) == 2 and 0 < max(spacing) <= OBLONG * min(spacing)
    return 2 / sum(spacing) if is_square else None


def pixel_spacing(dataset: Dataset) -> list[float]:
    """Return the millimetres between rows and between columns; none where they are no numbers."""
    try:
        return [float(side) for side in dataset.get("PixelSpacing") or ()]
    except (TypeError, ValueError):
        return []


def frame_number(dataset: Dataset, frame: int | None) -> int | None:
    """Return which frame is meant, from 1, in a file of several; None in a file of one.

    Raises ImageError if there is no such frame, or several and none is chosen.
    """
    count = int(dataset.get("NumberOfFrames") or 1)
    if count < 2:
        return None
    if frame is None:
        raise ImageError(
            f"has {count} frames; choose one, from 1, with --frame of dermseg segment or convert "
            "(Python: segment what read_photograph(path, frame=1) returns)"
        )
    if not 1 <= frame <= count:
        raise ImageError(f"has {count} frames, from 1, and no frame {frame}")
    return frame


def _coded(dataset: Dataset, index: int) -> bytes:
    """Return the bytes of a frame that is coded."""
    offsets = None
    if dataset.get("ExtendedOffsetTable"):
        offsets = dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    count = int(dataset.get("NumberOfFrames") or 1)
    return get_frame(dataset.PixelData, index, extended_offsets=offsets, number_of_frames=count)


def _coded_size(coded: bytes) -> tuple[int, int] | None:
    """Return the (height, width) in the code of a JPEG, JPEG-LS or JPEG 2000; None for others."""
    if coded.startswith(b"\xff\xd8"):
        for marker, start, _ in jpeg_segments(coded):
            if marker in FRAMES | {JPEG_LS}:
                height, width = struct.unpack_from(">HH", coded, start + 5)
                return height, width
    if (place := coded.find(JPEG_2000, 0, 1024)) >= 0:
        width, height, left, top = struct.unpack_from(">4I", coded, place + 8)
        return height - top, width - left
    return None


def _bits(coded: bytes) -> int:
    """Return the bits a colour of a JPEG's."""
    frames = (coded[start + 4] for marker, start, _ in jpeg_segments(coded) if marker in FRAMES)
    return next(frames, 0)


def _as_jpeg(coded: bytes, dataset: Dataset) -> bytes:
    """Return a JPEG that says itself what the data set says of its colours.

    Its own EXIF is left out: in DICOM an orientation there turns nothing.
    """
    parts, pixels, ids, sampling = [], 2, b"", b""
    marked = {PROFILE: False, ADOBE: False, JFIF: False}
    for marker, start, end in jpeg_segments(coded):
        if marker in marked:
            begins = coded[start + 4 : end].startswith((b"ICC_PROFILE\0", b"Adobe", b"JFIF\0"))
            marked[marker] |= begins
        elif marker in FRAMES:
            ids, sampling = coded[start + 10 : end : 3], coded[start + 11 : end : 3]
        if marker != EXIF:
            parts.append(coded[start:end])
        pixels = end
    # JFIF, or colours at half the resolution, are YCbCr whatever a converter left in the data set.
    may_be_rgb = not marked[JFIF] and len(set(sampling)) == 1
    is_rgb = dataset.PhotometricInterpretation == "RGB" and may_be_rgb
    if len(ids) == 3 and (is_rgb or ids in RGB_NAMES) and not marked[ADOBE]:
        parts.insert(0, UNTRANSFORMED)
    if not marked[PROFILE]:
        parts[:0] = _profile_segments(bytes(dataset.get("ICCProfile") or b""))
    return b"".join([coded[:2], *parts, coded[pixels:]])


def _profile_segments(profile: bytes) -> list[bytes]:
    parts = [profile[at : at + LONGEST_PART] for at in range(0, len(profile), LONGEST_PART)]
    return [
        struct.pack(">BBH12sBB", 0xFF, PROFILE, len(part) + 16, b"ICC_PROFILE", number, len(parts))
        + part
        for number, part in enumerate(parts, 1)
    ]


def _check_samples(dataset: Dataset, syntax: UID) -> None:
    """Raise ImageError where the header does not say how to read the values.

    Another High Bit than that of Bits Stored may be meant, or wrong.
    """
    colours = dataset.PhotometricInterpretation
    samples = SAMPLES.get(colours)
    if samples is None:
        raise ImageError(f"DICOM whose colours are none of {', '.join(SAMPLES)}; export it as RGB")
    needed = ["SamplesPerPixel", "BitsAllocated", "PixelRepresentation"]
    needed += ["PlanarConfiguration"] if samples > 1 else []
    if missing := [name for name in needed if name not in dataset]:
        raise _without(missing[0])
    if (found := dataset.SamplesPerPixel) != samples:
        raise ImageError(f"DICOM of {colours} with {found} samples a pixel; export it again")
    bits, allocated = int(dataset.BitsStored), int(dataset.BitsAllocated)
    if allocated not in ALLOCATED or bits > allocated:
        raise ImageError(
            f"DICOM of {bits} bits in {allocated}, which are not read; export it again"
        )
    if colours.startswith("YBR_FULL") and (bits, allocated) != (8, 8):
        raise ImageError(f"DICOM of YBR of {bits} bits in {allocated}; export it as RGB")
    is_plain = not syntax.is_encapsulated or syntax == RLELossless
    if is_plain and bits < allocated and dataset.get("HighBit", bits - 1) != bits - 1:
        raise ImageError(
            f"DICOM whose High Bit is {dataset.HighBit}, and not {bits - 1} as Bits Stored says, "
            "so that its values are not known; export it again"
        )


def _check_length(dataset: Dataset) -> None:
    """Raise ImageError for raw pixels that are more than the header says, by more than padding.

    Where rows are longer than the header says, the picture would be slanted. Padding at the end has
    less than half a byte a row.
    """
    needed, found = get_expected_length(dataset), len(dataset.PixelData)
    if found - needed > max(1, dataset.Rows // 2):
        raise ImageError(
            f"DICOM of {found} bytes of pixels, where {dataset.Rows} x {dataset.Columns} pixels "
            f"have {needed}: its size or its number of frames is wrong; export it again"
        )


def _decoded(dataset: Dataset, syntax: UID, index: int) -> Values:
    """Return a frame's values, RGB (H, W, 3) or grey (H, W), white being the highest."""
    if not get_decoder(syntax).is_available:
        raise _unread(syntax)
    _check_samples(dataset, syntax)
    if not syntax.is_encapsulated:
        _check_length(dataset)
    try:
        values: Values = pixel_array(dataset, index=index)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            values = apply_color_lut(values, dataset)
    except Exception as error:
        if not syntax.is_encapsulated:
            raise ImageError(
                "DICOM whose pixels are not as many as it says: it is damaged or cut short; copy "
                "it again"
            ) from error
        raise _unread(syntax) from error
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        values = (2**dataset.BitsStored - 1) - values
    return values


def _unread(syntax: UID) -> ImageError:
    coding = f"{syntax.name} ({syntax})" if syntax else "a transfer syntax that it does not name"
    tool = "dcmconv +te" if syntax in PACKED else "gdcmconv --raw, or dcmdjpeg,"
    return ImageError(
        f"DICOM whose pixels, coded as {coding}, cannot be read here; {tool} makes a file of it "
        "that is read"
    )


def _as_tiff(values: Values, dataset: Dataset) -> bytes:
    """Return values as a TIFF file, colours in 8 bits, greys of more in 16 with what is white."""
    bits = 16 if values.dtype == np.uint16 else 8
    white = 2 ** int(dataset.BitsStored) - 1
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        white = 2**bits - 1
    tags = {}
    if values.ndim == 2 and white > 255:
        values = values.astype(np.uint16)
        if white < WHITE:
            tags[HIGHEST_SAMPLE] = white
    elif white != 255 or values.dtype != np.uint8:
        values = (values.clip(0, white) * (255 / white)).round().astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(values))
    buffer = BytesIO()
    profile = bytes(dataset.get("ICCProfile") or b"") or None
    image.save(buffer, "TIFF", tiffinfo=tags, icc_profile=profile)
    return buffer.getvalue()
