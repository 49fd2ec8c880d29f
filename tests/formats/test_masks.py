from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from PIL import Image
from round_trips import (
    MASKS,
    NOWHERE,
    ON_DISK,
    Mask,
    annotations,
    assert_same,
    hard_masks,
    there_and_back,
)

from dermseg.errors import DataError, ImageError
from dermseg.formats import masks
from dermseg.imaging.mask_files import read_mask
from dermseg.settings import OutlineSettings


@ON_DISK
@given(MASKS)
def test_masks_come_back_to_the_pixel(
    tmp_path_factory: pytest.TempPathFactory, masks: list[Mask]
) -> None:
    named = {str(number): mask for number, mask in enumerate(masks)}
    if named:
        assert_same(named, there_and_back("masks", named, tmp_path_factory.mktemp("masks")))


def test_they_are_the_challenges_masks(tmp_path: Path) -> None:
    masks.write(annotations(hard_masks()), tmp_path, OutlineSettings())
    assert np.unique(read_mask(tmp_path / "folder/hole_segmentation.png")).tolist() == [0, 255]


def test_a_report_tells_names_and_orientations(tmp_path: Path) -> None:
    masks.write(annotations({"hole": hard_masks()["hole"]}), tmp_path, OutlineSettings())
    rows = "photograph,mask,orientation\nfolder/hole.TIF,folder/hole_segmentation.png,6\n"
    (tmp_path / "report.csv").write_text(rows)
    (entry,) = masks.read(tmp_path, NOWHERE, None)
    assert (entry.load().photograph, entry.load().orientation) == ("folder/hole.TIF", 6)
    assert masks.read_orientations(tmp_path)


def test_a_bad_mask_costs_itself(tmp_path: Path) -> None:
    masks.write(annotations({"b": np.ones((2, 2), np.bool_)}), tmp_path, OutlineSettings())
    (tmp_path / "a.png").write_bytes(b"no mask")
    Image.fromarray(np.arange(9, dtype=np.uint8).reshape(3, 3)).save(tmp_path / "c.png")
    bad, dark, good = masks.read(tmp_path, NOWHERE, None)
    for entry in (bad, dark):
        with pytest.raises(ImageError):
            entry.load()
    assert good.load().mask.all()


def test_a_folder_has_masks_and_one_of_each_photograph(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no masks"):
        list(masks.read(tmp_path, NOWHERE, None))
    for name in ("a.png", "a_segmentation.png"):
        Image.new("L", (3, 3)).save(tmp_path / name)
    with pytest.raises(DataError, match="two masks"):
        list(masks.read(tmp_path, NOWHERE, None))


def test_pictures_beside_masks_are_none_and_a_suffix_may_be_in_capitals(tmp_path: Path) -> None:
    mask = Image.fromarray(np.full((3, 3), 255, np.uint8))
    for name in ("a_segmentation.PNG", "a_probability.png", "a_Crop.png", ".b.png"):
        mask.save(tmp_path / name)
    (entry,) = masks.read(tmp_path, NOWHERE, None)
    assert entry.photograph == "a.jpg"
    assert entry.load().mask.all()
