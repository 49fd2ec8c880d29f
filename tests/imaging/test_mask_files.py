from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from dermseg.errors import ImageError, OutputError, UsageError
from dermseg.imaging.images import write_image
from dermseg.imaging.mask_files import encode_mask, find_mask, mask_stem, read_mask, write_mask
from dermseg.imaging.photographs import image_size


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


def test_masks_for_sizes_are_found_by_either_name(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert find_mask(tmp_path, Path("a.jpg")) == tmp_path / "a.png"
    (tmp_path / "a_segmentation.png").touch()
    assert find_mask(tmp_path, Path("a.jpg")) == tmp_path / "a_segmentation.png"
    with pytest.raises(UsageError, match=r"b_segmentation\.png or b\.png"):
        find_mask(tmp_path, Path("b.jpg"))
