import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from dermseg.errors import ImageError, OutputError, TooManyPixelsError
from dermseg.imaging.images import (
    encode_mask,
    image_size,
    mask_stem,
    read_mask,
    read_photograph,
    resize,
    write_image,
    write_mask,
    written_whole,
)

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
    @pytest.mark.parametrize("suffix", [".jpg", ".png"])
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
        assert (photograph.height, photograph.width) == (30, 50)
        assert photograph.orientation == orientation

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
    path.write_text("This is not a photograph.\n")


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


class TestMasks:
    @given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)))
    @settings(deadline=None, max_examples=15)
    def test_a_mask_is_written_as_one_channel_of_0_and_255(
        self, tmp_path_factory: pytest.TempPathFactory, mask: NDArray[np.bool_]
    ) -> None:
        path = tmp_path_factory.mktemp("mask") / "deep" / "a_segmentation.png"
        write_mask(path, mask)
        with Image.open(path) as image:
            assert (image.format, image.mode) == ("PNG", "L")
            np.testing.assert_array_equal(np.asarray(image), np.where(mask, 255, 0))
        np.testing.assert_array_equal(read_mask(path) > 128, mask)
        assert image_size(path) == mask.shape

    def test_a_view_of_a_mask_is_written_as_it_looks(self, tmp_path: Path) -> None:
        mask = np.random.default_rng(0).random((8, 10)) < 0.5
        write_mask(tmp_path / "a.png", mask[::2, ::-3])
        np.testing.assert_array_equal(read_mask(tmp_path / "a.png") > 128, mask[::2, ::-3])

    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
    def test_what_is_not_boolean_is_never_written_wrongly(
        self, tmp_path: Path, dtype: type
    ) -> None:
        """A mask of 0 and 255, as `read_mask` returns it, must not turn black unnoticed."""
        mask = np.array([[0, 255], [255, 0]]).astype(dtype)
        try:
            write_mask(tmp_path / "a.png", mask)
        except (ImageError, TypeError, ValueError):
            assert not list(tmp_path.iterdir())
        else:
            np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), [[0, 255], [255, 0]])

    def test_what_no_png_can_hold_is_said(self) -> None:
        with pytest.raises(OutputError, match="1000001 x 1"):
            encode_mask(np.zeros((1, 10**6 + 1), np.bool_))

    def test_greys_are_read_as_stored(self, tmp_path: Path) -> None:
        grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
        write_image(tmp_path / "a.png", grey)
        np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), grey)

    def test_one_bit_masks_are_read_as_0_and_255(self, tmp_path: Path) -> None:
        Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
        assert read_mask(tmp_path / "a.png").tolist() == [[255, 0]]

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "I;16"])
    def test_other_kinds_of_image_are_no_masks(self, tmp_path: Path, mode: str) -> None:
        Image.new(mode, (4, 3)).save(tmp_path / "colour.png")
        with pytest.raises(ImageError, match=r"colour\.png: a mask has one 8-bit channel"):
            read_mask(tmp_path / "colour.png")

    @pytest.mark.parametrize(
        ("name", "stem"),
        [
            ("ISIC_0000000_segmentation.png", "ISIC_0000000"),
            ("ISIC_0000000_Segmentation.png", "ISIC_0000000"),
            ("ISIC_0000000_SEGMENTATION.PNG", "ISIC_0000000"),
            ("ISIC_0000000.png", "ISIC_0000000"),
            ("a.b_segmentation.png", "a.b"),
            ("mole_segmentation_2.png", "mole_segmentation_2"),
            ("segmentation.png", "segmentation"),
            ("a_segmentation_segmentation.png", "a_segmentation"),
        ],
    )
    def test_the_stem_is_the_photographs(self, name: str, stem: str) -> None:
        assert mask_stem(Path("some_segmentation.png") / name) == stem


def write_half(path: Path, error: type[BaseException]) -> None:
    with written_whole(path) as temporary:
        temporary.write_text("half")
        raise error


class TestWrittenWhole:
    def test_content_appears_whole_and_only_at_the_end(self, tmp_path: Path) -> None:
        target = tmp_path / "new" / "folder" / "a.txt"
        with written_whole(target) as temporary:
            temporary.write_text("half")
            assert temporary.parent == target.parent
            assert temporary.suffix == ".txt"
            assert not target.exists()
            temporary.write_text("whole")
        assert target.read_text() == "whole"
        assert list(target.parent.iterdir()) == [target]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_a_failure_leaves_nothing(self, tmp_path: Path, error: type[BaseException]) -> None:
        with pytest.raises(error):
            write_half(tmp_path / "a.txt", error)
        assert not list(tmp_path.iterdir())

    def test_a_failure_keeps_what_was_there(self, tmp_path: Path) -> None:
        target = tmp_path / "a.txt"
        target.write_text("old")
        with pytest.raises(RuntimeError):
            write_half(target, RuntimeError)
        assert target.read_text() == "old"
        assert list(tmp_path.iterdir()) == [target]

    def test_an_older_file_is_replaced(self, tmp_path: Path) -> None:
        target = tmp_path / "a.txt"
        target.write_text("a longer text than the new one")
        with written_whole(target) as temporary:
            temporary.write_text("new")
        assert target.read_text() == "new"

    @pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
    @pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
    def test_permissions_follow_the_umask(self, tmp_path: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            write_mask(tmp_path / "a.png", np.ones((2, 2), np.bool_))
            assert os.umask(umask) == umask
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o666 & ~umask


class TestResize:
    def test_the_same_size_changes_nothing(self, noise: Pixels) -> None:
        np.testing.assert_array_equal(resize(noise, 30, 40), noise)

    @pytest.mark.parametrize("size", [(1, 1), (7, 90), (60, 80), (30, 41)])
    def test_shapes(self, noise: Pixels, size: tuple[int, int]) -> None:
        assert resize(noise, *size).shape == (*size, 3)
        assert resize(noise[..., 0], *size).shape == size
        assert resize(noise, *size).dtype == np.uint8

    @pytest.mark.parametrize("value", [0, 1, 128, 255])
    def test_a_constant_stays_constant(self, value: int) -> None:
        plain = np.full((50, 30, 3), value, np.uint8)
        for size in ((13, 17), (101, 99)):
            assert (resize(plain, *size) == value).all()

    def test_shrinking_averages_instead_of_picking(self) -> None:
        checks = np.indices((64, 64)).sum(0) % 2 * np.uint8(255)
        small = resize(checks.astype(np.uint8), 8, 8)
        assert np.abs(small.astype(int) - 127.5).max() < 12

    def test_the_middle_stays_the_middle(self) -> None:
        half = np.zeros((20, 40), np.uint8)
        half[:, 20:] = 200
        for width in (10, 80):
            scaled = resize(half, 20, width).astype(int)
            np.testing.assert_allclose(scaled + scaled[:, ::-1], 200, atol=1)
