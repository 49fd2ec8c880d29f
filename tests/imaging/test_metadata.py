"""Files with sound pixels are read whatever surrounds them; lost pixels are said."""

import random
import struct
import time
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from hostile import encoded, picture, png_chunk
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin
from spoilt import SPOILERS, scene

from dermseg.errors import ImageError
from dermseg.imaging.containers import form_of, jpeg_segments, png_chunks
from dermseg.imaging.photographs import Photograph, image_size, read_orientation, read_photograph

EXAMPLE = next((Path(__file__).parents[2] / "examples").rglob("*.jpg"))
SCENES = 60
Pixels = NDArray[np.uint8]


def read(content: bytes, at_least: tuple[int, int] | None = None) -> Photograph:
    return read_photograph(BytesIO(content), at_least)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow, of metadata
@pytest.mark.parametrize("suffix", SPOILERS)
def test_spoilt_metadata_cost_no_pixel(suffix: str) -> None:
    spoil = SPOILERS[suffix]
    for seed in range(SCENES):
        pixels = scene(seed)
        content = spoil(random.Random(seed), Image.fromarray(pixels))
        photograph = read(content)
        assert image_size(BytesIO(content)) == (48, 64)
        assert read_orientation(BytesIO(content)) == photograph.orientation
        assert photograph.flags == ()
        if suffix == "jpg":
            assert np.abs(photograph.pixels.astype(int) - pixels).mean() < 8, seed
        else:
            np.testing.assert_array_equal(photograph.pixels, pixels)


def test_large_texts_cost_no_pixel() -> None:
    content = encoded(Image.fromarray(scene(0)), "PNG")
    place = content.index(b"IDAT") - 4
    texts = b"".join(png_chunk(b"tEXt", b"key\0" + b"x" * 2**20) for _ in range(70))
    photograph = read(content[:place] + texts + content[place:])
    np.testing.assert_array_equal(photograph.pixels, scene(0))


def test_a_sound_orientation_is_kept_beside_a_damaged_text() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.fromarray(scene(0)), "PNG", exif=exif)
    place = content.index(b"IDAT") - 4
    spoilt = content[:place] + png_chunk(b"tEXt", b"a\0b")[:-1] + b"\0" + content[place:]
    photograph = read(spoilt)
    assert photograph.orientation == read_orientation(BytesIO(spoilt)) == 6
    np.testing.assert_array_equal(photograph.pixels, scene(0))


def test_a_damaged_length_of_a_comment_is_passed_over() -> None:
    image = Image.fromarray(scene(1))
    content = encoded(image, "JPEG", quality=95, comment=b"a comment")
    place = content.index(b"\xff\xfe")
    for length in (0, 1, 5, 9_000):
        spoilt = content[: place + 2] + length.to_bytes(2, "big") + content[place + 4 :]
        np.testing.assert_array_equal(read(spoilt).pixels, read(content).pixels)


@pytest.mark.parametrize("lost", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
def test_lost_pixels_are_a_failure(form: str, lost: float) -> None:
    content = encoded(Image.fromarray(scene(2)), form)
    with pytest.raises(ImageError):
        read(content[: int(len(content) * lost)])


def test_a_progressive_file_cut_off_after_its_first_scan_is_coarse_and_flagged() -> None:
    content = encoded(Image.fromarray(scene(3)), "JPEG", quality=95, progressive=True)
    photograph = read(content[: content.rindex(b"\xff\xda") + 20])
    assert photograph.flags == ("damaged",)
    assert np.abs(photograph.pixels.astype(int) - scene(3)).mean() < 25
    with pytest.raises(ImageError):
        read(content[: content.index(b"\xff\xda") + 40])


class TestDamagedScans:
    def test_sound_files_of_all_kinds_are_not_flagged(self) -> None:
        chance = np.random.default_rng(0)
        for number in range(150):
            height, width = chance.integers(1, 150, 2)
            pixels = (
                chance.integers(0, 256, (height, width, 3)),
                np.full((height, width, 3), chance.integers(0, 256)),
                scene(number, height, width),
            )[number % 3]
            image = Image.fromarray(pixels.astype(np.uint8))
            image = image.convert(("RGB", "L", "CMYK")[number // 3 % 3])
            options = {
                "quality": int(chance.integers(1, 100)),
                "optimize": number % 2 == 0,
                "subsampling": number % 3,
                "progressive": number % 5 == 0,
                "restart_marker_blocks": 3 * (number % 4 == 0),
            }
            content = encoded(image, "JPEG", **options)
            at_least = (16, 16) if number % 2 else None
            assert read(content, at_least).flags == (), (number, options)
            assert read(content + content, at_least).flags == (), "another picture follows"
            filled = content[:-2] + bytes(3) + content[-2:]
            assert read(filled, at_least).flags == (), "zeros follow"

    @pytest.mark.parametrize("at_least", [None, (64, 64)])
    def test_most_damage_that_shows_is_flagged(self, at_least: tuple[int, int] | None) -> None:
        content = EXAMPLE.read_bytes()
        sound = read(content, at_least).pixels.astype(int)
        start = content.rindex(b"\xff\xda") + 20
        spoilt = flagged = 0
        for seed in range(40):
            chance = random.Random(seed)
            damaged = bytearray(content)
            for _ in range(8):
                damaged[chance.randrange(start, len(content) - 10)] ^= 1 << chance.randrange(8)
            try:
                photograph = read(bytes(damaged), at_least)
            except ImageError:
                continue  # a marker that cannot stand there
            if (np.abs(photograph.pixels - sound).max(2) > 24).mean() > 0.02:
                spoilt += 1
                flagged += "damaged" in photograph.flags
        assert spoilt >= 20
        assert flagged >= 0.85 * spoilt

    def test_a_wiped_run_is_flagged(self) -> None:
        content = EXAMPLE.read_bytes()
        start = content.rindex(b"\xff\xda") + 20
        for seed in range(20):
            place = random.Random(seed).randrange(start, len(content) - 500)
            damaged = content[:place] + bytes(400) + content[place + 400 :]
            assert read(damaged).flags == ("damaged",), place

    def test_a_lost_restart_marker_is_flagged(self) -> None:
        content = encoded(picture(160, 160), "JPEG", restart_marker_blocks=4)
        place = content.rindex(b"\xff\xd2")
        assert read(content).flags == ()
        assert read(content[:place] + b"\x12\x34" + content[place + 2 :]).flags == ("damaged",)


def deep_png(values: NDArray[np.uint16], bits: int | None) -> bytes:
    """Return a PNG of 16-bit grey or RGB, which may say how many bits are used."""
    order = values if values.ndim == 2 else values[..., ::-1]
    content = cv2.imencode(".png", order)[1].tobytes()
    channels = 1 if values.ndim == 2 else 3
    said = b"" if bits is None else png_chunk(b"sBIT", bytes([bits] * channels))
    return content[:33] + said + content[33:]


def deep_tiff(values: NDArray[np.uint16], highest: int | None) -> bytes:
    """Return a TIFF of 16-bit grey, which may say its highest value."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    if highest is not None:
        tags.tagtype[341] = 3
        tags[341] = highest
    return encoded(Image.fromarray(values), "TIFF", tiffinfo=tags)


class TestDepth:
    @pytest.mark.parametrize("bits", [10, 12, 14])
    @pytest.mark.parametrize("colour", [False, True])
    def test_png_is_scaled_by_the_bits_that_it_uses(self, bits: int, colour: bool) -> None:
        white = 2**bits - 1
        values = np.random.default_rng(bits).integers(0, white + 1, (9, 11, 3), dtype=np.uint16)
        values = values if colour else values[..., 0]
        photograph = read(deep_png(values, bits))
        expected = np.round(values / white * 255)
        expected = expected if colour else expected[..., None].repeat(3, 2)
        np.testing.assert_array_equal(photograph.pixels, expected)
        assert photograph.flags == ()

    def test_values_that_fill_their_range_are_not_scaled_again(self) -> None:
        values = np.random.default_rng(0).integers(0, 2**16, (9, 11), dtype=np.uint16)
        for content in (deep_png(values, 12), deep_tiff(values, 4095), deep_png(values, None)):
            photograph = read(content)
            np.testing.assert_array_equal(photograph.pixels[..., 0], np.round(values / 257))
            assert photograph.flags == ()

    @pytest.mark.parametrize("white", [1023, 4080, 10_000])
    def test_tiff_is_scaled_by_its_highest_value(self, white: int) -> None:
        values = np.random.default_rng(white).integers(0, white + 1, (9, 11), dtype=np.uint16)
        photograph = read(deep_tiff(values, white))
        np.testing.assert_array_equal(photograph.pixels[..., 0], np.round(values / white * 255))

    @pytest.mark.parametrize("colour", [False, True])
    def test_a_range_that_is_not_said_is_flagged(self, colour: bool) -> None:
        values = np.random.default_rng(1).integers(0, 4081, (9, 11, 3), dtype=np.uint16)
        values = values if colour else values[..., 0]
        assert read(deep_png(values, None)).flags == ("narrow-range",)
        assert read(deep_png(values, 16)).flags == ()
        if not colour:
            assert read(deep_tiff(values, None)).flags == ("narrow-range",)


class TestForms:
    @pytest.mark.parametrize("form", ["JPEG", "MPO", "PNG", "BMP", "TIFF", "WEBP", "AVIF"])
    def test_forms_are_told_by_their_first_bytes(self, form: str) -> None:
        more = {"save_all": True, "append_images": [picture()]} if form == "MPO" else {}
        content = encoded(picture(), form, **more)
        assert form_of(content).upper() == {"MPO": "JPEG"}.get(form, form)
        photograph = read(content)
        assert photograph.flags == ()
        assert np.abs(photograph.pixels.astype(int) - np.asarray(picture())).mean() < 3

    @pytest.mark.parametrize(
        ("content", "form"),
        [
            (bytes(128) + b"DICM", "DICOM"),
            (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", "HEIC"),
            (b"GIF89a", "GIF"),
            (b"%PDF-1.7", "PDF"),
            (b"P6\n2 2\n255\n", "PNM"),
            (b"<!doctype html>", "HTML or XML"),
        ],
    )
    def test_an_error_names_the_form(self, content: bytes, form: str, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(content + bytes(200))
        with pytest.raises(ImageError, match=f"a.jpg: {form}"):
            read_photograph(tmp_path / "a.jpg")

    def test_heic_comes_upright(self, tmp_path: Path) -> None:
        heif = pytest.importorskip("pillow_heif")
        heif.register_heif_opener()
        Image.fromarray(scene(4)).save(tmp_path / "a.heic", quality=95)
        photograph = read_photograph(tmp_path / "a.heic")
        assert np.abs(photograph.pixels.astype(int) - scene(4)).mean() < 6
        assert photograph.orientation == 1


def test_a_file_that_is_damaged_everywhere_is_looked_through_once() -> None:
    began = time.process_time()
    damaged = struct.pack(">I4s4x", 2**24, b"\1\1\1\1")
    chunks = (damaged + png_chunk(b"IDAT", b"")) * 5000
    found = png_chunks(b"\x89PNG\r\n\x1a\n" + chunks + bytes(2**24))
    assert [kind for kind, _, _, _ in found] == [b"IDAT"] * 5000
    segments = b"\xff\xdb\x00\x02\1\1" * 20_000
    assert len(list(jpeg_segments(b"\xff\xd8" + segments + bytes(2**25)))) == 20_000
    assert time.process_time() - began < 5


def test_an_empty_number_of_bits_costs_no_pixel() -> None:
    values = np.random.default_rng(0).integers(0, 2**16, (9, 11), dtype=np.uint16)
    content = deep_png(values, None)
    said = content[:33] + png_chunk(b"sBIT", b"") + content[33:]
    np.testing.assert_array_equal(read(said).pixels, read(content).pixels)


def test_blocks_without_height_are_damage() -> None:
    content = bytearray(encoded(picture(), "JPEG"))
    frame = content.index(b"\xff\xc0")
    for component in range(content[frame + 9]):
        content[frame + 11 + 3 * component] = 0
    with pytest.raises(ImageError, match="cannot be read"):
        read(bytes(content))
