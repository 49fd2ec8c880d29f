from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from dermseg.errors import ImageError, UsageError
from dermseg.imaging.images import write_image
from dermseg.imaging.mask_files import (
    MASK_SUFFIX,
    find_mask,
    find_masks,
    mask_stem,
    read_mask,
    read_stored_mask,
    write_mask,
)
from dermseg.imaging.photographs import image_size, stem_of, with_ending


def _palette(mask: NDArray[np.bool_]) -> Image.Image:
    image = Image.fromarray(mask.astype(np.uint8)).convert("P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    return image


def _coloured(mask: NDArray[np.bool_]) -> Image.Image:
    return Image.fromarray(mask[..., None].astype(np.uint8) * np.array([200, 30, 0], np.uint8))


def _grey(mask: NDArray[np.bool_], value: int = 255, dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(mask.astype(dtype) * dtype(value))


FORMS_OF_MASKS: dict[str, tuple[str, Callable[[NDArray[np.bool_]], Image.Image], str]] = {
    "grey": (".png", _grey, ""),
    "BMP": (".BMP", _grey, ""),
    "TIFF": (".tif", _grey, ""),
    "JPEG": (".jpg", _grey, ""),
    "one bit": (".png", lambda mask: Image.fromarray(mask), ""),
    "0 and 1": (".png", lambda mask: _grey(mask, 1), "as empty"),
    "0 and 100": (".png", lambda mask: _grey(mask, 100), "as empty"),
    "palette": (".png", _palette, "as no mask"),
    "RGB": (".png", lambda mask: _grey(mask).convert("RGB"), "as no mask"),
    "RGB as JPEG": (".jpeg", lambda mask: _grey(mask).convert("RGB"), "as no mask"),
    "RGBA": (".png", lambda mask: _grey(mask).convert("RGBA"), "as no mask"),
    "grey with alpha": (".png", lambda mask: _grey(mask).convert("LA"), "as no mask"),
    "one colour on black": (".png", _coloured, "as no mask"),
    "16 bits": (".png", lambda mask: _grey(mask, 65535, np.uint16), "as no mask"),
    "16 bits, 0 and 1": (".tif", lambda mask: _grey(mask, 1, np.uint16), "as no mask"),
}
"""Suffix, how a mask is made into such a picture, and how the official scorer reads it."""


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

    def test_greys_are_read_as_stored(self, tmp_path: Path) -> None:
        grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
        write_image(tmp_path / "a.png", grey)
        np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), grey)

    def test_one_bit_masks_are_read_as_0_and_255(self, tmp_path: Path) -> None:
        Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
        assert read_mask(tmp_path / "a.png").tolist() == [[255, 0]]

    @pytest.mark.parametrize("form", FORMS_OF_MASKS)
    def test_every_unambiguous_form_is_read(self, tmp_path: Path, form: str) -> None:
        for seed in range(20):
            chance = np.random.default_rng(seed)
            mask = cv2.resize(
                chance.integers(0, 2, (3, 4), dtype=np.uint8), (32, 24), interpolation=0
            ).astype(bool)
            suffix, picture, official = FORMS_OF_MASKS[form]
            path = tmp_path / f"{seed}_mask{suffix}"
            picture(mask).save(path)
            stored = read_stored_mask(path)
            np.testing.assert_array_equal(stored.pixels > 128, mask)
            assert stored.officially == (official if mask.any() or official != "as empty" else "")

    @pytest.mark.parametrize(
        "pixels",
        [
            np.array([[0, 1, 2]], np.uint8),
            np.array([[1, 2, 2]], np.uint8),
            np.array([[0, 40, 90]], np.uint8),
            np.array([[0, 300, 700]], np.uint16),
            np.array([[[0, 0, 0], [255, 0, 0], [0, 255, 0]]], np.uint8),
            np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 255]]], np.uint8),
        ],
    )
    def test_an_ambiguous_mask_is_refused_with_the_way_out(
        self, tmp_path: Path, pixels: NDArray[Any]
    ) -> None:
        Image.fromarray(pixels).save(tmp_path / "a.png")
        with pytest.raises(ImageError, match=r"a\.png: ambiguous as a mask, .* as 255 .*--fix OUT"):
            read_mask(tmp_path / "a.png")

    @pytest.mark.parametrize(
        ("name", "stem"),
        [
            ("ISIC_0000000_segmentation.png", "ISIC_0000000"),
            ("ISIC_0000000_Segmentation.png", "ISIC_0000000"),
            ("ISIC_0000000_SEGMENTATION.PNG", "ISIC_0000000"),
            ("ISIC_0000000.png", "ISIC_0000000"),
            ("ISIC_0000000_Mask.TIF", "ISIC_0000000"),
            ("a.b_segmentation.png", "a.b"),
            ("1.2.3_segmentation.png", "1.2.3"),
            ("1.2.3.png", "1.2.3"),
            ("1.2.3", "1.2.3"),
            ("mole_segmentation_2.png", "mole_segmentation_2"),
            ("segmentation.png", "segmentation"),
            ("_mask.png", "_mask"),
            ("a_segmentation_segmentation.png", "a_segmentation"),
        ],
    )
    def test_the_stem_is_the_photographs(self, name: str, stem: str) -> None:
        assert mask_stem(Path("some_segmentation.png") / name) == stem


def test_masks_are_images_that_are_nothing_else(tmp_path: Path) -> None:
    for name in ("a_mask.JPG", "b.PNG", "c.bmp", "d.jpg", "e_overlay.jpg", "f_superpixels.png"):
        (tmp_path / name).touch()
    (tmp_path / "._b.png").touch()
    assert [path.name for path in find_masks(tmp_path)] == ["a_mask.JPG", "b.PNG", "c.bmp"]
    for name in ("a_mask.JPG", "b.PNG", "c.bmp"):
        (tmp_path / name).unlink()
    assert [path.name for path in find_masks(tmp_path)] == ["d.jpg"]
    assert find_mask(tmp_path, Path("D.png")).name == "d.jpg"


def test_masks_for_sizes_are_found_by_either_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert find_mask(tmp_path, Path("a.jpg")) == tmp_path / "a.png"
    (tmp_path / "a_segmentation.png").touch()
    assert find_mask(tmp_path, Path("a.jpg")) == tmp_path / "a_segmentation.png"
    (tmp_path / "C_mask.bmp").touch()
    assert find_mask(tmp_path, Path("c.jpg")) == tmp_path / "C_mask.bmp"
    assert find_mask(tmp_path, Path("c_mask.jpg")) == tmp_path / "C_mask.bmp"
    with pytest.raises(UsageError, match=r"b_segmentation\.png or b\.png"):
        find_mask(tmp_path, Path("b.jpg"))


@st.composite
def _photographs(draw: st.DrawFn) -> tuple[str, str]:
    """Return the name of a photograph, and the same without its suffix."""
    part = st.sampled_from(["1", "2", "840", "a", "v2", "lésion"])
    parts = draw(st.lists(part, min_size=1, max_size=4))
    has_none = len(parts) == 1 or parts[-1].isdecimal()
    suffix = draw(st.sampled_from([".jpg", ".PNG", ".dcm", *([""] if has_none else [])]))
    return ".".join(parts) + suffix, ".".join(parts)


@given(st.lists(_photographs(), min_size=1, unique_by=lambda named: named[1]), st.booleans())
@settings(deadline=None, max_examples=50)
def test_a_mask_is_found_for_its_photograph_and_for_no_other(
    tmp_path_factory: pytest.TempPathFactory, named: list[tuple[str, str]], plain: bool
) -> None:
    folder = tmp_path_factory.mktemp("masks")
    (lacking, _), *others = named
    for name, stem in others:
        path = folder / with_ending(Path(name), ".png" if plain else MASK_SUFFIX)
        path.touch()
        assert (stem_of(Path(name)), mask_stem(path)) == (stem, stem)
    for name, stem in others:
        assert mask_stem(find_mask(folder, Path(name))) == stem
    with pytest.raises(UsageError):
        find_mask(folder, Path(lacking))
