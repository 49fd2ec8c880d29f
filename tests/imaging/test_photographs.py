from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from dermseg.errors import ImageError, TooManyPixelsError
from dermseg.imaging.images import resize
from dermseg.imaging.mask_files import read_mask
from dermseg.imaging.photographs import image_size, read_orientation, read_photograph

Pixels = NDArray[np.uint8]


@pytest.fixture
def noise() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def gradient(height: int, width: int) -> Pixels:
    y, x = np.mgrid[:height, :width]
    return np.dstack((255 * y / height, 255 * x / width, np.full(y.shape, 99))).astype(np.uint8)


class TestReadPhotograph:
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff"])
    def test_exact_formats_give_back_every_pixel(
        self, tmp_path: Path, noise: Pixels, suffix: str
    ) -> None:
        Image.fromarray(noise).save(tmp_path / f"a{suffix}")
        photograph = read_photograph(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(photograph.pixels, noise)
        assert (photograph.height, photograph.width, photograph.orientation) == (30, 40, 1)

    @pytest.mark.parametrize("suffix", [".jpg", ".webp", ".JPEG"])
    def test_lossy_formats_come_close(self, tmp_path: Path, suffix: str) -> None:
        Image.fromarray(gradient(64, 80)).save(tmp_path / f"a{suffix}", quality=95)
        photograph = read_photograph(tmp_path / f"a{suffix}")
        away = np.abs(photograph.pixels.astype(int) - gradient(64, 80))
        assert photograph.pixels.shape == (64, 80, 3)
        assert away.mean() < 3

    def test_grey_becomes_three_equal_channels(self, tmp_path: Path, noise: Pixels) -> None:
        Image.fromarray(noise[..., 0]).save(tmp_path / "grey.png")
        pixels = read_photograph(tmp_path / "grey.png").pixels
        np.testing.assert_array_equal(pixels, noise[..., :1].repeat(3, 2))

    def test_transparency_is_dropped_and_colours_stay(self, tmp_path: Path, noise: Pixels) -> None:
        alpha = np.random.default_rng(1).integers(0, 256, (30, 40, 1), dtype=np.uint8)
        Image.fromarray(np.dstack((noise, alpha))).save(tmp_path / "clear.png")
        np.testing.assert_array_equal(read_photograph(tmp_path / "clear.png").pixels, noise)

    @pytest.mark.parametrize("transparency", [None, 3])
    def test_palettes_are_looked_up(self, tmp_path: Path, transparency: int | None) -> None:
        indices = np.arange(12, dtype=np.uint8).reshape(3, 4)
        image = Image.fromarray(indices).convert("P")
        image.putpalette([c for i in range(256) for c in (i * 20 % 256, 7, 255 - i)])
        more = {} if transparency is None else {"transparency": transparency}
        image.save(tmp_path / "palette.png", **more)
        expected = np.dstack((indices * 20, np.full_like(indices, 7), 255 - indices))
        np.testing.assert_array_equal(read_photograph(tmp_path / "palette.png").pixels, expected)

    def test_print_colours_are_converted(self, tmp_path: Path) -> None:
        Image.new("CMYK", (20, 10), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=95)
        pixels = read_photograph(tmp_path / "print.jpg").pixels
        assert pixels.shape == (10, 20, 3)
        assert np.abs(pixels.astype(int) - [255, 0, 0]).max() < 12

    def test_one_bit_becomes_black_and_white(self, tmp_path: Path) -> None:
        bits = np.random.default_rng(2).random((5, 9)) < 0.5
        Image.fromarray(bits).save(tmp_path / "bits.png")
        pixels = read_photograph(tmp_path / "bits.png").pixels
        np.testing.assert_array_equal(pixels, np.where(bits[..., None], [255] * 3, [0] * 3))

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_sixteen_bits_are_scaled_to_eight(self, tmp_path: Path, suffix: str) -> None:
        deep = np.array([[0, 256, 257, 32768], [65535, 65000, 1000, 128 * 257]], np.uint16)
        Image.fromarray(deep).save(tmp_path / f"deep{suffix}")
        pixels = read_photograph(tmp_path / f"deep{suffix}").pixels
        np.testing.assert_array_equal(pixels[..., 1], np.round(deep / 257).astype(np.uint8))

    @given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 250), st.integers(1, 250))
    @settings(deadline=None, max_examples=20)
    def test_a_reduced_decode_is_as_large_as_asked(
        self, tmp_path_factory: pytest.TempPathFactory, h: int, w: int, height: int, width: int
    ) -> None:
        path = tmp_path_factory.mktemp("draft") / "a.jpg"
        Image.fromarray(gradient(h, w)).save(path)
        photograph = read_photograph(path, at_least=(height, width))
        assert (photograph.height, photograph.width) == (h, w)
        assert photograph.pixels.shape[0] >= min(h, height)
        assert photograph.pixels.shape[1] >= min(w, width)

    def test_a_reduced_decode_is_much_smaller_and_shows_the_same(self, tmp_path: Path) -> None:
        whole = gradient(800, 1000)
        Image.fromarray(whole).save(tmp_path / "a.jpg", quality=95)
        pixels = read_photograph(tmp_path / "a.jpg", at_least=(96, 120)).pixels
        assert pixels.shape == (100, 125, 3)
        assert np.abs(pixels.astype(int) - resize(whole, 100, 125)).mean() < 3

    def test_other_formats_ignore_the_wish_for_less(self, tmp_path: Path, noise: Pixels) -> None:
        Image.fromarray(noise).save(tmp_path / "a.png")
        photograph = read_photograph(tmp_path / "a.png", at_least=(2, 2))
        np.testing.assert_array_equal(photograph.pixels, noise)

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif"])
    def test_orientation_is_reported_not_applied(
        self, tmp_path: Path, orientation: int, suffix: str
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        plain, turned = tmp_path / f"plain{suffix}", tmp_path / f"turned{suffix}"
        Image.fromarray(gradient(30, 50)).save(plain)
        Image.fromarray(gradient(30, 50)).save(turned, exif=exif)
        photograph = read_photograph(turned)
        np.testing.assert_array_equal(photograph.pixels, read_photograph(plain).pixels)
        assert (photograph.height, photograph.width) == image_size(turned) == (30, 50)
        assert photograph.orientation == read_orientation(turned) == orientation

    @pytest.mark.parametrize("orientation", [0, 9, 77])
    def test_an_orientation_that_means_nothing_is_none(
        self, tmp_path: Path, orientation: int
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(gradient(8, 8)).save(tmp_path / "a.jpg", exif=exif)
        assert read_photograph(tmp_path / "a.jpg").orientation == 1


def _empty(path: Path) -> None:
    path.touch()


def _text(path: Path) -> None:
    path.write_text("This is not a photograph.\n", encoding="utf-8")


def _truncated(path: Path) -> None:
    Image.fromarray(gradient(200, 300)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _header_only(path: Path) -> None:
    Image.fromarray(gradient(200, 300)).save(path)
    path.write_bytes(path.read_bytes()[:30])


def _folder(path: Path) -> None:
    path.mkdir()


def _missing(path: Path) -> None:
    assert not path.exists()


class TestBadFiles:
    @pytest.mark.parametrize("suffix", [".jpg", ".png"])
    @pytest.mark.parametrize("spoil", [_empty, _text, _truncated, _header_only, _folder, _missing])
    def test_an_image_error_names_the_file(
        self, tmp_path: Path, spoil: Callable[[Path], None], suffix: str
    ) -> None:
        path = tmp_path / f"bad one{suffix}"
        spoil(path)
        for read in (read_photograph, lambda p: read_photograph(p, at_least=(9, 9)), read_mask):
            with pytest.raises(ImageError, match=f"bad one{suffix}"):
                read(path)

    @pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp"])
    def test_damage_costs_an_image_error_or_nothing(self, tmp_path: Path, suffix: str) -> None:
        chance = np.random.default_rng(0)
        path = tmp_path / f"a{suffix}"
        Image.fromarray(gradient(20, 30)).save(path)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        refused = []
        for _ in range(40):
            content = whole.copy()
            places = chance.integers(0, min(300, len(whole)), 4)
            content[places] = chance.integers(0, 256, 4)
            path.write_bytes(content.tobytes())
            for read in (read_photograph, read_mask, image_size):
                try:
                    read(path)
                except ImageError as error:
                    refused.append(str(error))
        assert refused
        assert all(path.name in message for message in refused)

    def test_a_bomb_is_not_decoded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        Image.fromarray(gradient(30, 30)).save(tmp_path / "bomb.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
        with pytest.raises(
            TooManyPixelsError, match=r"bomb\.png: more than 800 pixels are not decoded"
        ):
            read_photograph(tmp_path / "bomb.png")
