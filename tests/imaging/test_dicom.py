"""A DICOM file is a photograph like any other: the same pixels, the same mask."""

import struct
import time
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
from PIL import Image, ImageCms
from pydicom.data import get_testdata_file
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
)

from dermseg.errors import ImageError, TooManyPixelsError
from dermseg.imaging import photographs
from dermseg.imaging.containers import DICOM_SYNTAX, MOST_PARTS, dicom_facts
from dermseg.imaging.photographs import image_size, read_orientation, read_photograph, unwrapped
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
    oracle = pixel_array(BytesIO(content)).astype(np.int64)
    found = read_photograph(BytesIO(content)).pixels
    if form == "monochrome1":
        oracle = 255 - oracle
    elif form == "twelve-bits":
        oracle = np.round(oracle / (4095 / 255))
    elif form == "palette":
        oracle = pydicom.pixels.apply_color_lut(oracle, pydicom.dcmread(BytesIO(content)))
    np.testing.assert_array_equal(
        found, oracle if oracle.ndim == 3 else oracle[..., None] + [0] * 3
    )


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
    with pytest.raises(ImageError, match="has 2 frames; choose one, from 1, with --frame"):
        read_photograph(BytesIO(made.content))
    for wrong in (0, 3):
        with pytest.raises(ImageError, match=f"has 2 frames, from 1, and no frame {wrong}"):
            read_photograph(BytesIO(made.content), frame=wrong)
    one = read_photograph(BytesIO(encapsulated(jpeg).content), frame=3)
    np.testing.assert_array_equal(one.pixels, decoded(jpeg))
    first = read_photograph(BytesIO(made.content), frame=1).pixels
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
        ("image_dfl.dcm", f"Deflated.*{DeflatedExplicitVRLittleEndian}"),
        ("CT_small.dcm", "signed or more than 16"),
        ("SC_rgb_rle_32bit.dcm", "32 bits"),
        ("liver_1frame.dcm", "without a photograph"),
        ("reportsi.dcm", "without a photograph"),
        ("rtplan.dcm", "without Rows"),
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
