"""A DICOM file is a photograph like any other: the same pixels, the same mask."""

import struct
import time
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from dicom_files import (
    DERMOSCOPIC,
    FORMS,
    PATIENT,
    data_set,
    decoded,
    encapsulate,
    encapsulated,
    file_of,
    in_png,
    native,
    pydicom,
    second_frame,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms
from pydicom.data import get_testdata_file
from pydicom.pixels.processing import convert_color_space
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
    SecondaryCaptureImageStorage,
)

import dermseg
from dermseg.errors import ImageError, TooManyPixelsError
from dermseg.imaging import photographs
from dermseg.imaging.containers import DICOM_SYNTAX, MOST_PARTS, dicom_facts
from dermseg.imaging.photographs import (
    image_size,
    read_orientation,
    read_photograph,
    scale_of,
    unwrapped,
)
from dermseg.inference.segmenter import Segmenter

EXAMPLE = sorted((Path(__file__).parents[2] / "examples" / "photographs").glob("*.jpg"))[0]
COLOURS = (
    "ExplVR_BigEnd.dcm",
    "JPEGLSNearLossless_08.dcm",
    "SC_jpeg_no_color_transform.dcm",
    "SC_jpeg_no_color_transform_2.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm",
    "SC_rgb_dcmtk_+eb+cy+n1.dcm",
    "SC_rgb_dcmtk_+eb+cy+n2.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm",
    "SC_rgb_dcmtk_+eb+cy+s2.dcm",
    "SC_rgb_dcmtk_+eb+cy+s4.dcm",
    "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jls_lossy_sample.dcm",
    "SC_rgb_jpeg_app14_dcmd.dcm",
    "SC_rgb_jpeg_dcmd.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_jpeg_lossy_gdcm.dcm",
    "SC_rgb_rle.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "examples_rgb_color.dcm",
    "examples_jpeg2k.dcm",
)
"""pydicom's own files of colours in 8 bits, one frame each."""
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    """Return a small photograph."""
    buffer = BytesIO()
    Image.open(EXAMPLE).resize((384, 256)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_pixels_and_the_mask_of_its_image(
    form: str, jpeg: bytes, segmenter: Segmenter
) -> None:
    made = FORMS[form](jpeg)
    found = read_photograph(BytesIO(made.content), frame=made.frame)
    expected = read_photograph(BytesIO(made.image))
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert (found.height, found.width, found.orientation, found.flags) == (256, 384, 1, ())
    inner = unwrapped(BytesIO(made.content), made.frame)
    masks = [segmenter.segment(source).mask for source in (inner, BytesIO(made.image))]
    np.testing.assert_array_equal(*masks)
    assert masks[0].any()


@pytest.mark.parametrize("form", [form for form in FORMS if form != "second-frame"])
def test_pixels_are_those_that_pydicom_decodes(form: str, jpeg: bytes) -> None:
    content = FORMS[form](jpeg).content
    header = pydicom.dcmread(BytesIO(content))
    oracle = pixel_array(BytesIO(content)).astype(np.int64)
    found = read_photograph(BytesIO(content)).pixels
    white = 2**header.BitsStored - 1
    if form == "palette":
        oracle = pydicom.pixels.apply_color_lut(oracle, header)
    elif header.PhotometricInterpretation == "MONOCHROME1":
        oracle = white - oracle
    oracle = np.round(oracle / (white / 255))
    np.testing.assert_array_equal(
        found, oracle if oracle.ndim == 3 else oracle[..., None] + [0] * 3
    )


@dataclass(frozen=True)
class Coding:
    """How the header says that values are stored, and in which syntax."""

    syntax: str
    colours: str
    allocated: int
    stored: int
    high_bit: int
    planar: int
    signed: int

    @property
    def is_read(self) -> bool:
        """Whether it says what the values are, and they are a photograph's."""
        meant = self.high_bit == self.stored - 1 or self.stored == self.allocated
        whole = self.colours != "YBR_FULL" or self.stored == self.allocated == 8
        return meant and whole and self.stored <= min(16, self.allocated) and not self.signed

    def file(self, values: NDArray[np.uint32], beside: NDArray[np.uint32]) -> bytes:
        """Return a file of values, and of other bits beside those that are stored."""
        used = (2**self.stored - 1) << (self.high_bit + 1 - self.stored)
        stored = values << (self.high_bit + 1 - self.stored) | beside & ~np.uint32(used)
        others = {"BitsAllocated": self.allocated, "BitsStored": self.stored}
        others |= {"HighBit": self.high_bit, "PixelRepresentation": self.signed}
        others |= {"PlanarConfiguration": self.planar} if values.ndim == 3 else {}
        pixels = np.zeros(values.shape, np.uint8)
        kind = SecondaryCaptureImageStorage
        data = data_set(pixels, kind, PhotometricInterpretation=self.colours, **others)
        order = ">" if self.syntax == ExplicitVRBigEndian else "<"
        samples = stored.astype(f"{order}u{self.allocated // 8}")
        if self.syntax == RLELossless:
            return file_of(data, RLELossless, encapsulate([in_runs(samples)]))
        if values.ndim == 3 and self.planar:
            samples = np.moveaxis(samples, 2, 0)
        content = samples.tobytes()
        return file_of(data, UID(self.syntax), content + b"\0" * (len(content) % 2))


def in_runs(samples: NDArray[np.unsignedinteger]) -> bytes:
    """Return little-endian samples in RLE: a segment for each byte, the highest first."""
    planes = samples[..., None].view(np.uint8)[..., ::-1].reshape(*samples.shape[:2], -1)
    head = bytes([samples.shape[1] - 1])
    segments = [
        b"".join(head + bytes(row) for row in planes[..., plane])
        for plane in range(planes.shape[2])
    ]
    segments = [each + b"\0" * (len(each) % 2) for each in segments]
    starts = np.cumsum([64, *map(len, segments)])[:-1]
    numbers = np.zeros(16, "<u4")
    numbers[0], numbers[1 : 1 + len(segments)] = len(segments), starts
    return b"".join([numbers.tobytes(), *segments])


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    coding=st.builds(
        Coding,
        syntax=st.sampled_from(
            [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless]
        ),
        colours=st.sampled_from(["MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL"]),
        allocated=st.sampled_from([8, 16, 32]),
        stored=st.integers(1, 16),
        high_bit=st.integers(0, 31),
        planar=st.integers(0, 1),
        signed=st.sampled_from([0, 0, 0, 1]),
    ),
    usual=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_values_are_read_as_the_header_says_or_refused(
    coding: Coding, usual: bool, seed: int
) -> None:
    stored = min(coding.stored, coding.allocated)
    high_bit = stored - 1 if usual else min(max(coding.high_bit, stored - 1), coding.allocated - 1)
    coding = replace(coding, stored=stored, high_bit=high_bit)
    draw, white = np.random.default_rng(seed), 2**stored - 1
    shape = (5, 7) if coding.colours.startswith("MONO") else (5, 7, 3)
    values = draw.integers(0, white, shape, np.uint32, endpoint=True)
    content = coding.file(values, draw.integers(0, 2**32, shape, np.uint32))
    if not coding.is_read:
        with pytest.raises(ImageError, match=r"the image: DICOM (of|whose) .*(signed|export)"):
            read_photograph(BytesIO(content))
        return
    found = read_photograph(BytesIO(content)).pixels
    shown = white - values if coding.colours == "MONOCHROME1" else values
    expected = np.round(shown * (255 / white)).astype(np.uint8)
    if coding.colours == "YBR_FULL":
        expected = convert_color_space(expected, "YBR_FULL", "RGB")
    np.testing.assert_array_equal(
        found, expected if expected.ndim == 3 else np.dstack([expected] * 3)
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SamplesPerPixel", None, "without SamplesPerPixel"),
        ("SamplesPerPixel", 1, "RGB with 1 samples"),
        ("BitsAllocated", None, "without BitsAllocated"),
        ("BitsAllocated", 12, "8 bits in 12"),
        ("BitsStored", 9, "9 bits in 8"),
        ("PixelRepresentation", None, "without PixelRepresentation"),
        ("PlanarConfiguration", None, "without PlanarConfiguration"),
        ("PhotometricInterpretation", "YBR_PARTIAL_422", "none of MONOCHROME1.*export it as RGB"),
        ("PhotometricInterpretation", "HSV", "none of MONOCHROME1.*export it as RGB"),
        ("PhotometricInterpretation", "MONOCHROME2", "MONOCHROME2 with 3 samples"),
    ],
)
def test_a_header_of_which_no_pixels_follow_says_why(
    name: str, value: object, said: str, jpeg: bytes
) -> None:
    for syntax in (ExplicitVRLittleEndian, RLELossless):
        made = FORMS["raw" if syntax == ExplicitVRLittleEndian else "rle"](jpeg)
        data = pydicom.dcmread(BytesIO(made.content))
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
        buffer = BytesIO()
        data.save_as(buffer)
        with pytest.raises(ImageError, match=f"the image: DICOM .*{said}"):
            read_photograph(BytesIO(buffer.getvalue()))


@pytest.mark.parametrize("name", COLOURS)
def test_the_colour_files_of_pydicom(name: str) -> None:
    path = get_testdata_file(name, download=False)
    oracle = pixel_array(path)
    found = read_photograph(path).pixels
    np.testing.assert_array_equal(found, oracle if oracle.ndim == 3 else np.dstack([oracle] * 3))
    assert image_size(path) == oracle.shape[:2]


def test_a_jpeg_inside_is_decoded_at_the_scale_that_is_needed(jpeg: bytes) -> None:
    content = encapsulated(jpeg).content
    reduced = read_photograph(BytesIO(content), at_least=(64, 96))
    np.testing.assert_array_equal(
        reduced.pixels, read_photograph(BytesIO(jpeg), at_least=(64, 96)).pixels
    )
    assert reduced.pixels.shape == (64, 96, 3)
    assert (reduced.height, reduced.width) == (256, 384)


def test_a_colour_profile_of_the_data_set_is_applied(jpeg: bytes) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"sRGB", b"mine")
    image = Image.fromarray(decoded(jpeg))
    buffer = BytesIO()
    image.save(buffer, "PNG", icc_profile=profile)
    data = data_set(decoded(jpeg), DERMOSCOPIC, ICCProfile=profile)
    raw = file_of(data, ExplicitVRLittleEndian, image.tobytes())
    expected = read_photograph(BytesIO(buffer.getvalue())).pixels
    np.testing.assert_array_equal(read_photograph(BytesIO(raw)).pixels, expected)
    coded = encapsulated(jpeg, ICCProfile=profile).content
    inner = Image.open(unwrapped(BytesIO(coded)))
    assert inner.info["icc_profile"] == profile


def test_the_exif_of_a_jpeg_inside_turns_nothing() -> None:
    exif, buffer = Image.Exif(), BytesIO()
    exif[0x0112] = 6
    Image.open(EXAMPLE).resize((96, 64)).save(buffer, "JPEG", exif=exif)
    content = encapsulated(buffer.getvalue()).content
    assert read_orientation(BytesIO(buffer.getvalue())) == 6
    assert read_orientation(BytesIO(content)) == 1


def test_of_several_frames_one_is_named(jpeg: bytes) -> None:
    made = second_frame(jpeg)
    with pytest.raises(ImageError, match=r"with --frame.*read_photograph\(path, frame=1\)"):
        read_photograph(BytesIO(made.content))
    for wrong in (0, 3):
        with pytest.raises(ImageError, match=f"has 2 frames, from 1, and no frame {wrong}"):
            read_photograph(BytesIO(made.content), frame=wrong)
    one = read_photograph(BytesIO(encapsulated(jpeg).content), frame=3)
    np.testing.assert_array_equal(one.pixels, decoded(jpeg))
    photograph = read_photograph(BytesIO(made.content), frame=1)
    assert dermseg.segment(photograph).mask.shape == (256, 384)
    first = photograph.pixels
    assert np.abs(first[::-1].astype(int) - decoded(jpeg)).mean() < 3


def test_the_size_of_all_frames_is_known_without_decoding_one(jpeg: bytes) -> None:
    data = data_set(decoded(jpeg), DERMOSCOPIC, NumberOfFrames=2)
    undecodable = file_of(data, JPEGLosslessSV1, encapsulate([b"no", b"code"]))
    for content in (second_frame(jpeg).content, undecodable):
        assert image_size(BytesIO(content)) == (256, 384)
        assert read_orientation(BytesIO(content)) == 1
    data.Rows = 60_000
    data.Columns = 60_000
    with pytest.raises(TooManyPixelsError, match="the image: 60000 x 60000 pixels"):
        image_size(BytesIO(file_of(data, JPEGLosslessSV1, encapsulate([b"no", b"code"]))))
    with pytest.raises(ImageError, match="without a photograph"):
        image_size(get_testdata_file("reportsi.dcm", download=False))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SC_rgb_jpeg_gdcm.dcm", f"JPEG Lossless.*{JPEGLosslessSV1}.*gdcmconv --raw"),
        ("JPGExtended.dcm", "JPEG Extended"),
        ("image_dfl.dcm", rf"Deflated.*{DeflatedExplicitVRLittleEndian}.*dcmconv \+te"),
        ("JPEG2000.dcm", "signed or more than 16"),
        ("CT_small.dcm", "without a photograph, such as a report, a segmentation or a CT"),
        ("MR_small.dcm", "without a photograph"),
        ("SC_rgb_rle_32bit.dcm", "32 bits"),
        ("liver_1frame.dcm", "without a photograph"),
        ("reportsi.dcm", "without a photograph"),
        ("rtplan.dcm", "without a photograph"),
        ("nested_priv_SQ.dcm", "without Rows"),
        ("ExplVR_LitEndNoMeta.dcm", "without its first 132 bytes.*dcmconv"),
        ("rtstruct.dcm", "without its first 132 bytes.*dcmconv"),
        ("meta_missing_tsyntax.dcm", "does not name"),
    ],
)
def test_what_cannot_be_read_says_why(name: str, said: str) -> None:
    with pytest.raises(ImageError, match=f"{name}: .*{said}"):
        read_photograph(get_testdata_file(name, download=False))


def test_facts_beyond_the_bound_are_not_looked_through() -> None:
    one = struct.pack("<HH2sH", 2, 1, b"UI", 0)
    told = struct.pack("<HH2sH", 2, DICOM_SYNTAX, b"UI", 4) + b"1.2\0"
    assert dicom_facts(bytes(128) + b"DICM" + one + told) == {1: "", DICOM_SYNTAX: "1.2"}
    assert dicom_facts(bytes(128) + b"DICM" + one * MOST_PARTS + told) == {1: ""}


@pytest.mark.parametrize("item", [struct.pack("<HHI", 0xFFFE, 0xE000, 0), bytes(8)])
def test_a_sequence_of_a_million_items_is_refused_at_once(item: bytes, jpeg: bytes) -> None:
    made = encapsulated(jpeg)
    begun = made.content + struct.pack("<HH2s2xI", 0x0040, 0x0260, b"SQ", 0xFFFFFFFF)
    ended = begun + item * 1000 + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    np.testing.assert_array_equal(
        read_photograph(BytesIO(ended)).pixels, read_photograph(BytesIO(made.image)).pixels
    )
    began = time.process_time()
    with pytest.raises(ImageError, match=r"the image: DICOM of more .* keep a decoder busy"):
        read_photograph(BytesIO(begun + item * 1_000_000))
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("form", "head", "part"),
    [
        ("implicit-planar", struct.pack("<HHI", 0x0028, 0x0030, 4_000_000), b"1\\0\\"),
        ("jpeg", struct.pack("<HH2s2xI", 0x0028, 0x0030, b"UN", 4_000_000), b"1\\0\\"),
        ("jpeg", struct.pack("<HH2s2xI", 0x0008, 0x0005, b"UC", 4_000_000), b"1\\0\\"),
        ("jpeg", struct.pack("<HH2s2xI", 0x7FE0, 0x0010, b"UC", 4_000_000), b"1\\0\\"),
    ],
)
def test_a_value_of_a_million_parts_is_refused_at_once(
    form: str, head: bytes, part: bytes, jpeg: bytes
) -> None:
    content = FORMS[form](jpeg).content + head + part * 1_000_000
    began = time.process_time()
    with pytest.raises(ImageError, match=r"DICOM whose .* is no photograph's; .* decoder busy"):
        read_photograph(BytesIO(content))
    assert time.process_time() - began < 1


def test_a_packed_file_that_hides_its_coding_is_not_unpacked() -> None:
    def told(syntax: str) -> bytes:
        return struct.pack("<HH2sH", 2, DICOM_SYNTAX, b"UI", len(syntax)) + syntax.encode()

    hidden = (b"UI\0\0" + told(JPEGBaseline8Bit)).ljust(0x20002, b"\0")
    text = struct.pack("<HH2s2xI", 2, 0x0102, b"UT", len(hidden)) + hidden
    head = bytes(128) + b"DICM" + told(DeflatedExplicitVRLittleEndian)
    content = head + text + b"\x08" * 100
    assert dicom_facts(content)[DICOM_SYNTAX] == JPEGBaseline8Bit
    with pytest.raises(ImageError, match="Deflated"):
        read_photograph(BytesIO(content))


def test_a_raw_file_that_is_cut_short_is_not_called_a_coding(jpeg: bytes) -> None:
    whole = native(jpeg, ExplicitVRLittleEndian).content
    with pytest.raises(ImageError, match="cut short; copy it again"):
        read_photograph(BytesIO(whole[: len(whole) // 2]))


@pytest.mark.parametrize("wrong", [{"Columns": -1}, {"Rows": -1}, {"NumberOfFrames": 1}])
def test_raw_pixels_that_are_more_than_the_header_says_are_refused(
    wrong: dict[str, int], jpeg: bytes
) -> None:
    """Rows that are cut at the wrong place would be a slanted picture."""
    pixels = decoded(jpeg)
    data = data_set(pixels, SecondaryCaptureImageStorage)
    for name, less in wrong.items():
        setattr(data, name, data[name].value + less if less < 0 else less)
    content = pixels.tobytes() * (2 if "NumberOfFrames" in wrong else 1)
    with pytest.raises(ImageError, match="size or its number of frames is wrong; export it again"):
        read_photograph(BytesIO(file_of(data, ExplicitVRLittleEndian, content)))


@pytest.mark.filterwarnings("ignore:The pixel data is")
def test_raw_pixels_may_be_padded(jpeg: bytes) -> None:
    pixels = decoded(jpeg)
    content = pixels.tobytes() + bytes(8)
    made = file_of(data_set(pixels, SecondaryCaptureImageStorage), ExplicitVRLittleEndian, content)
    assert np.array_equal(read_photograph(BytesIO(made)).pixels, pixels)


def test_a_coded_file_that_is_cut_short_says_so(jpeg: bytes) -> None:
    whole = encapsulated(jpeg).content
    told = whole.index(b"\x10\x00\x10\x00PN") + 6
    longer = whole[:told] + b"\xff\xff" + whole[told + 2 :]
    for content in (whole[: len(whole) // 2], longer[:1000]):
        with pytest.raises(ImageError, match="damaged or cut short; copy it again"):
            read_photograph(BytesIO(content))


@pytest.mark.parametrize("spacing", [b"wide\\high ", b"0.1 ", b"nan\\nan ", b"inf\\inf "])
def test_a_scale_that_is_none_does_not_cost_the_photograph(spacing: bytes, jpeg: bytes) -> None:
    made = encapsulated(jpeg, spacing=0.02)
    length = struct.pack("<H", len(spacing))
    begins = made.content.index(b"\x28\x00\x30\x00DS") + 6
    (old,) = struct.unpack_from("<H", made.content, begins)
    content = made.content[:begins] + length + spacing + made.content[begins + 2 + old :]
    inner = unwrapped(BytesIO(content))
    assert not scale_of(inner)
    np.testing.assert_array_equal(
        read_photograph(inner).pixels, read_photograph(BytesIO(made.image)).pixels
    )


def test_without_the_extra_the_message_has_the_remedy(
    monkeypatch: pytest.MonkeyPatch, jpeg: bytes
) -> None:
    monkeypatch.setattr(photographs, "READS_DICOM", False)
    with pytest.raises(ImageError, match=r"pip install '\.\[dicom\]'"):
        read_photograph(BytesIO(encapsulated(jpeg).content))


def test_a_code_of_another_size_is_refused_before_it_is_decoded(jpeg: bytes) -> None:
    large = BytesIO()
    Image.new("RGB", (4000, 3000)).save(large, "JPEG2000", no_jp2=True)
    for syntax, coded in ((JPEGBaseline8Bit, jpeg), (JPEG2000Lossless, large.getvalue())):
        data = data_set(np.zeros((8, 8, 3), np.uint8), DERMOSCOPIC)
        content = file_of(data, syntax, encapsulate([coded]))
        with pytest.raises(ImageError, match="says 8 x 8 pixels, but codes"):
            read_photograph(BytesIO(content))


def test_too_many_pixels_are_refused_before_they_are_decoded(jpeg: bytes) -> None:
    data = data_set(np.zeros((8, 8, 3), np.uint8), DERMOSCOPIC)
    data.Rows = data.Columns = 60_000
    with pytest.raises(TooManyPixelsError):
        read_photograph(BytesIO(file_of(data, ExplicitVRLittleEndian, bytes(192))))
    with pytest.raises(TooManyPixelsError):
        unwrapped(BytesIO(encapsulated(jpeg).content), most=1000)


def test_damaged_files_are_errors_that_tell_nothing_of_the_patient(jpeg: bytes) -> None:
    draw = np.random.default_rng(25)
    forms = [FORMS[form](jpeg).content for form in ("jpeg", "rle", "jpeg-ls", "palette")]
    for content in forms:
        for _ in range(25):
            damaged = bytearray(content[: draw.integers(200, len(content))])
            for place in draw.integers(132, min(len(damaged), 2000), 8):
                damaged[place] = draw.integers(256)
            said = ""
            try:
                read_photograph(BytesIO(bytes(damaged)))
            except ImageError as error:
                said = str(error)
            assert PATIENT not in said
            assert "4711" not in said


def test_png_beside(jpeg: bytes) -> None:
    source = BytesIO(in_png(decoded(jpeg)))
    assert unwrapped(source) is source
