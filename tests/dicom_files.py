"""DICOM files made of photographs, in the forms that hospitals have."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.pixels import compress  # noqa: E402
from pydicom.uid import (  # noqa: E402
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    VLPhotographicImageStorage,
)

DERMOSCOPIC = UID("1.2.840.10008.5.1.4.1.1.77.1.7")
PATIENT = "Nobody^Known"
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Made:
    """A DICOM file, the image file whose pixels it has, and the frame if it has several."""

    content: bytes
    image: bytes
    frame: int | None = None


def data_set(
    pixels: Pixels, kind: UID, *, spacing: float | None = None, **others: object
) -> Dataset:
    """Return the data set of a photograph, without pixels."""
    made = Dataset()
    made.SOPClassUID = kind
    made.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    made.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.2"
    made.SeriesInstanceUID = "1.2.826.0.1.3680043.8.498.3"
    made.PatientName, made.PatientID = PATIENT, "4711"
    made.Modality = "DMS" if kind == DERMOSCOPIC else "XC"
    made.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    made.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.Rows, made.Columns = pixels.shape[:2]
    made.BitsAllocated = made.BitsStored = 8 * pixels.itemsize
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, 0
    if spacing is not None:
        made.PixelSpacing = [spacing, spacing]
    for name, value in others.items():
        setattr(made, name, value)
    return made


def file_of(data: Dataset, syntax: UID, content: bytes) -> bytes:
    """Return the file of a data set with these pixels, coded as they are."""
    data.PixelData = content
    data["PixelData"].VR = "OB" if data.BitsAllocated == 8 else "OW"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True, little_endian=None)
    return buffer.getvalue()


def in_png(pixels: Pixels) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def decoded(jpeg: bytes) -> Pixels:
    return np.asarray(Image.open(BytesIO(jpeg)).convert("RGB"))


def encapsulated(jpeg: bytes, kind: UID = DERMOSCOPIC, **others: object) -> Made:
    """Return a photograph as it came from a camera, in DICOM."""
    data = data_set(decoded(jpeg), kind, **{"PhotometricInterpretation": "YBR_FULL_422", **others})
    return Made(file_of(data, JPEGBaseline8Bit, encapsulate([jpeg])), jpeg)


def without_marker(jpeg: bytes) -> Made:
    """Return a JPEG in RGB that does not say so itself."""
    buffer = BytesIO()
    Image.fromarray(decoded(jpeg)).save(buffer, "JPEG", quality=95, keep_rgb=True)
    marked = buffer.getvalue()
    place = marked.index(b"\xff\xee\x00\x0eAdobe")
    bare = marked[:place] + marked[place + 16 :]
    bare = bare.replace(b"R\x11\x00G\x11\x00B\x11\x00", b"\x01\x11\x00\x02\x11\x00\x03\x11\x00")
    bare = bare.replace(b"\x03R\x00G\x00B\x00", b"\x03\x01\x00\x02\x00\x03\x00")
    data = data_set(decoded(jpeg), VLPhotographicImageStorage)
    return Made(file_of(data, JPEGBaseline8Bit, encapsulate([bare])), marked)


def native(jpeg: bytes, syntax: UID) -> Made:
    pixels = decoded(jpeg)
    data = data_set(pixels, SecondaryCaptureImageStorage)
    return Made(file_of(data, syntax, pixels.tobytes()), in_png(pixels))


def planar(jpeg: bytes) -> Made:
    pixels = decoded(jpeg)
    data = data_set(pixels, VLPhotographicImageStorage, PlanarConfiguration=1)
    content = np.moveaxis(pixels, 2, 0).tobytes()
    return Made(file_of(data, ImplicitVRLittleEndian, content), in_png(pixels))


def compressed(jpeg: bytes, syntax: UID) -> Made:
    pixels = decoded(jpeg)
    made = pydicom.dcmread(BytesIO(native(jpeg, ExplicitVRLittleEndian).content))
    compress(made, syntax, generate_instance_uid=False)
    buffer = BytesIO()
    made.save_as(buffer)
    return Made(buffer.getvalue(), in_png(pixels))


def in_jpeg2000(jpeg: bytes) -> Made:
    pixels, buffer = decoded(jpeg), BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG2000", no_jp2=True, irreversible=False, mct=1)
    data = data_set(pixels, DERMOSCOPIC, PhotometricInterpretation="YBR_RCT")
    return Made(file_of(data, JPEG2000Lossless, encapsulate([buffer.getvalue()])), in_png(pixels))


def second_frame(jpeg: bytes) -> Made:
    """Return a file of two photographs, of which the second is meant."""
    buffer, pixels = BytesIO(), decoded(jpeg)
    Image.fromarray(pixels[::-1]).save(buffer, "JPEG")
    kind = MultiFrameTrueColorSecondaryCaptureImageStorage
    data = data_set(pixels, kind, PhotometricInterpretation="YBR_FULL_422", NumberOfFrames=2)
    content = encapsulate([buffer.getvalue(), jpeg])
    return Made(file_of(data, JPEGBaseline8Bit, content), jpeg, 2)


def inverted_grey(jpeg: bytes) -> Made:
    grey = np.asarray(Image.open(BytesIO(jpeg)).convert("L"))
    data = data_set(grey, SecondaryCaptureImageStorage, PhotometricInterpretation="MONOCHROME1")
    return Made(file_of(data, ExplicitVRLittleEndian, (255 - grey).tobytes()), in_png(grey))


def of_sixteen_bits(jpeg: bytes, stored: int, colours: str) -> Made:
    """Return a photograph of so many bits a sample, which are stored in 16."""
    image = Image.open(BytesIO(jpeg))
    pixels = np.asarray(image.convert("RGB" if colours == "RGB" else "L"))
    white = 2**stored - 1
    values = np.round(pixels * (white / 255)).astype("<u2")
    if colours == "MONOCHROME1":
        values = white - values
    bits = {"BitsAllocated": 16, "BitsStored": stored, "HighBit": stored - 1}
    kind = SecondaryCaptureImageStorage
    data = data_set(pixels, kind, PhotometricInterpretation=colours, **bits)
    return Made(file_of(data, ExplicitVRLittleEndian, values.tobytes()), in_png(pixels))


def in_palette(jpeg: bytes) -> Made:
    image = Image.open(BytesIO(jpeg)).quantize(256)
    colours = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
    data = data_set(
        np.asarray(image), SecondaryCaptureImageStorage, PhotometricInterpretation="PALETTE COLOR"
    )
    for name, channel in zip(("Red", "Green", "Blue"), colours.T, strict=True):
        table = f"{name}PaletteColorLookupTable"
        setattr(data, f"{table}Descriptor", [len(channel), 0, 8])
        setattr(data, f"{table}Data", channel.tobytes())
    content = np.asarray(image).tobytes()
    pixels = np.asarray(image.convert("RGB"))
    return Made(file_of(data, ExplicitVRLittleEndian, content), in_png(pixels))


FORMS: dict[str, Callable[[bytes], Made]] = {
    "jpeg": encapsulated,
    "jpeg-rgb-without-marker": without_marker,
    "second-frame": second_frame,
    "raw": lambda jpeg: native(jpeg, ExplicitVRLittleEndian),
    "big-endian": lambda jpeg: native(jpeg, ExplicitVRBigEndian),
    "implicit-planar": planar,
    "rle": lambda jpeg: compressed(jpeg, RLELossless),
    "jpeg-ls": lambda jpeg: compressed(jpeg, JPEGLSLossless),
    "jpeg-2000": in_jpeg2000,
    "monochrome1": inverted_grey,
    "palette": in_palette,
    **{
        f"{stored}-of-16-{colours.lower()}": partial(
            of_sixteen_bits, stored=stored, colours=colours
        )
        for stored in (8, 10, 12)
        for colours in ("MONOCHROME1", "MONOCHROME2", "RGB")
    },
}
