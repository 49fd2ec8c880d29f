"""Layouts of data sets: each is read and trained on, with the right photographs and masks."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from toy import draw_picture

import dermseg
from dermseg.data.datasets import open_cache
from dermseg.data.doctor import examine
from dermseg.data.layouts import ALL_MASK_ENDINGS, find_all_pairs, find_pairs
from dermseg.errors import DataError
from dermseg.formats.annotation import Annotation
from dermseg.formats.conversion import FORMS
from dermseg.settings import DataSettings, Form, OutlineSettings, TrainingSettings
from dermseg.training.run_folder import WEIGHTS

NAMES = ("ISIC_0000001", "ISIC_0000002", "ISIC_0000003")


def write(data: Path, photograph: str, mask: str) -> None:
    """Write three pairs; `{n}` in a path is the image's name, `{i}` its number, `{c}` its class."""
    for number, name in enumerate(NAMES):
        pixels, truth = draw_picture(number)
        facts = {"n": name, "i": number, "c": ("mel", "nv")[number % 2]}
        for template, image in ((photograph, pixels), (mask, truth)):
            path = data / template.format(**facts)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


LAYOUTS = {
    "isic 2016": (
        "ISBI2016_ISIC_Part1_Training_Data/{n}.png",
        "ISBI2016_ISIC_Part1_Training_GroundTruth/{n}_Segmentation.png",
    ),
    "isic 2017": (
        "ISIC-2017_Training_Data/{n}.png",
        "ISIC-2017_Training_Part1_GroundTruth/{n}_segmentation.png",
    ),
    "isic 2018": (
        "ISIC2018_Task1-2_Training_Input/{n}.png",
        "ISIC2018_Task1_Training_GroundTruth/{n}_segmentation.png",
    ),
    "isic 2017, each archive in a folder of its name": (
        "ISIC-2017_Training_Data/ISIC-2017_Training_Data/{n}.png",
        "ISIC-2017_Training_Part1_GroundTruth/ISIC-2017_Training_Part1_GroundTruth/"
        "{n}_segmentation.png",
    ),
    "ph2": (
        "PH2 Dataset images/{n}/IMD{i:03}_Dermoscopic_Image/IMD{i:03}.bmp",
        "PH2 Dataset images/{n}/IMD{i:03}_lesion/IMD{i:03}_lesion.bmp",
    ),
    "ham10000": (
        "HAM10000_images_part_1/{n}.png",
        "HAM10000_segmentations_lesion_tschandl/{n}_segmentation.png",
    ),
    "nnu-net": ("imagesTr/{n}_0000.png", "labelsTr/{n}.png"),
    "images and masks": ("images/{n}.png", "masks/{n}_segmentation.png"),
    "images and masks of one name": ("images/{n}.bmp", "masks/{n}.png"),
    "masks named _mask": ("images/{n}.png", "masks/{n}_mask.png"),
    "imgs and labels": ("imgs/{n}.png", "labels/{n}.png"),
    "image and label": ("Image/{n}.png", "Label/{n}.png"),
    "train/images": ("train/images/{n}.png", "train/masks/{n}.png"),
    "images/train": ("images/train/{n}.png", "labels/train/{n}.png"),
    "train_images": ("train_images/{n}.png", "train_masks/{n}.png"),
    "pascal voc": ("VOC/JPEGImages/{n}.png", "VOC/SegmentationClass/{n}.png"),
    "classes": ("images/{c}/{n}.png", "masks/{c}/{n}.png"),
    "names that repeat": ("images/case {i}/mole.png", "masks/case {i}/mole.png"),
    "masks as TIFF": ("images/{n}.png", "masks/{n}.tif"),
    "masks as BMP": ("images/{n}.png", "masks/{n}_Mask.BMP"),
    "side by side": ("{n}.png", "{n}_segmentation.png"),
    "side by side, by suffix": ("{n}.bmp", "{n}.png"),
    "a folder an image": ("case {i}/image.png", "case {i}/mask.png"),
    "masks below the photographs": ("{n}.png", "masks/{n}.png"),
}


OUTLINES: dict[Form, str] = {
    "coco": "lesions.json",
    "cvat": "annotations/lesions.xml",
    "label-studio": "lesions.json",
    "labelme": "outlines",
    "geojson": "outlines",
    "yolo": "yolo",
}
"""Where each other form of outlines lies, beside the folder of photographs."""


def write_outlines(data: Path, form: Form, photographs: Sequence[str]) -> None:
    """Write photographs of these names, with outlines of a form instead of masks."""
    drawn = {name: draw_picture(number) for number, name in enumerate(photographs)}
    (data / "images").mkdir(parents=True)
    for name, (pixels, _) in drawn.items():
        Image.fromarray(pixels).save(data / "images" / name)
    target = data / OUTLINES[form]
    target.parent.mkdir(exist_ok=True)
    outlined = [Annotation(name, truth > 128) for name, (_, truth) in drawn.items()]
    FORMS[form].write(outlined, target, OutlineSettings())


def assert_trains(data: Path, folder: Path, settings: TrainingSettings) -> None:
    """Train, and check that what was trained on are the photographs and masks, to the pixel."""
    pairs = find_pairs(data)
    assert len(pairs) == 3
    store, log = folder / "cache", list[dict[str, Any]]()
    dermseg.train(data, folder / "run", settings, DataSettings(cache=store), callbacks=[log.append])
    assert [row["epoch"] for row in log] == [1, 2]
    assert (folder / "run" / WEIGHTS).is_file()
    kept = sorted(store.rglob("*"))
    cache = open_cache(pairs, 32, 32, store, allow_resized=False)
    assert sorted(store.rglob("*")) == kept  # what the training read
    for number in range(3):
        pixels, truth = draw_picture(number)
        assert np.array_equal(cache.images[number].transpose(1, 2, 0), pixels)
        assert np.array_equal(cache.masks[number] > 128, truth > 128)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_trains_on_the_right_pairs(
    layout: str, tmp_path: Path, tiny: Callable[..., TrainingSettings]
) -> None:
    data = tmp_path / "data"
    write(data, *LAYOUTS[layout])
    (data / "notes.txt").write_text("by hand")
    assert_trains(data, tmp_path, tiny(epochs=2, batch_size=3, fold=None))


@pytest.mark.parametrize("form", OUTLINES)
def test_each_form_of_outlines_trains_on_the_right_pairs(
    form: Form, tmp_path: Path, tiny: Callable[..., TrainingSettings]
) -> None:
    write_outlines(tmp_path / "data", form, [f"{name}.png" for name in NAMES])
    assert_trains(tmp_path / "data", tmp_path, tiny(epochs=2, batch_size=3, fold=None))


@pytest.mark.parametrize("form", OUTLINES)
def test_with_outlines_a_photographs_name_may_end_as_a_masks(form: Form, tmp_path: Path) -> None:
    names = ["case1.jpg", "case1_lesion.jpg", "case2.jpg"]
    write_outlines(tmp_path, form, names)
    pairs = find_pairs(tmp_path)
    assert [pair.photograph.name for pair in pairs] == names
    for number, pair in enumerate(pairs):
        assert np.array_equal(pair.read_mask(), draw_picture(number)[1])


def test_there_are_24_layouts_and_every_form() -> None:
    assert len(LAYOUTS) == 24
    assert {*OUTLINES, "masks"} == set(FORMS)


class TestFindAllPairs:
    def test_names_that_repeat_are_told_apart_by_their_folder(self, tmp_path: Path) -> None:
        write(tmp_path, *LAYOUTS["names that repeat"])
        ids = [pair.image_id for pair in find_pairs(tmp_path)]
        assert ids == ["case 0/mole", "case 1/mole", "case 2/mole"]
        write(tmp_path / "folders", *LAYOUTS["a folder an image"])
        ids = [pair.image_id for pair in find_pairs(tmp_path / "folders")]
        assert ids == ["case 0", "case 1", "case 2"]

    def test_a_dicom_file_may_be_called_by_its_uid(self, tmp_path: Path) -> None:
        from dicom_files import ExplicitVRLittleEndian, native

        write(tmp_path, "images/1.2.{i}.jpg", "masks/1.2.{i}.png")
        for photograph in sorted((tmp_path / "images").iterdir()):
            content = native(photograph.read_bytes(), ExplicitVRLittleEndian).content
            photograph.write_bytes(content)
            photograph.rename(photograph.with_suffix(""))
        assert [pair.image_id for pair in find_pairs(tmp_path)] == ["1.2.0", "1.2.1", "1.2.2"]
        (tmp_path / "masks" / "1.2.0.png").unlink()
        alone = [each.image for each in examine(tmp_path).findings if each.kind == "alone"]
        assert alone == ["1.2.0"]

    def test_folders_say_what_an_image_is_for(self, tmp_path: Path) -> None:
        for part in ("train", "val", "test"):
            write(
                tmp_path,
                f"{part}/images/{part} {{i}}.png",
                f"{part}/masks/{part} {{i}}.png",
            )
        parts = {pair.image_id: pair.part for pair in find_all_pairs(tmp_path)}
        assert parts["train 0"] == "training"
        assert parts["val 1"] == "validation"
        assert parts["test 2"] == "test"
        assert [pair.image_id for pair in find_pairs(tmp_path)] == ["train 0", "train 1", "train 2"]

    def test_the_archives_of_one_year_lie_side_by_side(self, tmp_path: Path) -> None:
        for part in ("Training", "Validation"):
            write(
                tmp_path,
                f"ISIC-2017_{part}_Data/{part} {{i}}.png",
                f"ISIC-2017_{part}_Part1_GroundTruth/{part} {{i}}_segmentation.png",
            )
        (tmp_path / "ISIC-2017_Training_Part2_GroundTruth").mkdir()
        test = tmp_path / "ISIC-2017_Test_v2_Data" / "hidden.png"  # its masks are kept secret
        test.parent.mkdir()
        Image.fromarray(draw_picture(0)[1]).save(test)
        parts = [pair.part for pair in find_all_pairs(tmp_path)]
        assert parts == ["training"] * 3

    def test_thumbnails_and_predictions_beside_the_data_do_no_harm(self, tmp_path: Path) -> None:
        write(tmp_path, *LAYOUTS["images and masks"])
        write(tmp_path, "images/@eaDir/{n}.png", "masks/@eaDir/{n}.png")
        write(tmp_path, "overlays/{n}.png", "masks_predicted/{n}_segmentation.png")
        assert len(find_pairs(tmp_path)) == 3

    def test_links_that_lead_back_are_not_followed(self, tmp_path: Path) -> None:
        write(tmp_path, *LAYOUTS["images and masks"])
        before = find_pairs(tmp_path)
        for name in ("latest", "images/up"):
            (tmp_path / name).symlink_to(tmp_path, target_is_directory=True)
        assert find_pairs(tmp_path) == before


ENDINGS = st.sampled_from(("", *ALL_MASK_ENDINGS, "_Lesion"))
STEMS = st.builds("{}{}{}".format, st.sampled_from("ab"), ENDINGS, ENDINGS)
IN_FOLDERS = {
    "archive": ("ISIC-2017_Training_Data/{n}.jpg", "ISIC-2017_Training_Part1_GroundTruth/{m}.png"),
    "ph2": ("{i}/IMD{i}_Dermoscopic_Image/{n}.bmp", "{i}/IMD{i}_lesion/{m}.bmp"),
    "nnu-net": ("imagesTr/{n}_0000.png", "labelsTr/{m}.png"),
    "images and masks": ("images/{n}.jpg", "masks/{m}.png"),
    "classes": ("images/{c}/{n}.png", "masks/{c}/{m}.png"),
    "classes of photographs": ("images/{c}/{n}.png", "masks/{m}.png"),
    "masks below the photographs": ("{n}.png", "masks/{m}.png"),
}
SIDE_BY_SIDE = {
    "by ending": ("{n}.png", "{m}.png"),
    "by suffix": ("{n}.jpg", "{m}.png"),
    "in classes": ("{c}/{n}.jpg", "{c}/{m}.png"),
}


class TestNamesThatEndAsAMasks:
    """`{n}` in a path is the photograph's name, `{m}` the mask's."""

    @staticmethod
    def pairs(layout: tuple[str, str], endings: dict[str, str]) -> dict[str, str]:
        """Return the path of each photograph's mask; `endings` are the masks', by stem."""
        facts = [
            {"n": stem, "m": stem + ending, "i": number, "c": ("mel", "nv")[number % 2]}
            for number, (stem, ending) in enumerate(endings.items())
        ]
        return {layout[0].format(**each): layout[1].format(**each) for each in facts}

    @staticmethod
    def found(pairs: dict[str, str]) -> dict[str, str]:
        """Return the same as it is found in a folder of such files, which are empty."""
        with TemporaryDirectory() as folder:
            data = Path(folder)
            for path in map(data.joinpath, (*pairs, *pairs.values())):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            return {
                pair.photograph.relative_to(data).as_posix(): pair.mask.relative_to(data).as_posix()
                for pair in find_all_pairs(data)
            }

    @settings(max_examples=200)
    @given(
        st.sampled_from([*IN_FOLDERS.values(), *SIDE_BY_SIDE.values()]),
        st.dictionaries(STEMS, ENDINGS, min_size=1, max_size=4),
    )
    def test_they_pair_rightly_or_are_refused(
        self, layout: tuple[str, str], endings: dict[str, str]
    ) -> None:
        pairs = self.pairs(layout, endings)
        assume(len({path.lower() for path in (*pairs, *pairs.values())}) == 2 * len(endings))
        with suppress(DataError):
            assert self.found(pairs) == pairs

    @given(
        st.sampled_from([*IN_FOLDERS.values(), SIDE_BY_SIDE["by suffix"]]),
        st.lists(STEMS, min_size=1, max_size=4, unique_by=str.lower),
    )
    def test_masks_named_exactly_as_their_photographs_are_read(
        self, layout: tuple[str, str], stems: list[str]
    ) -> None:
        pairs = self.pairs(layout, dict.fromkeys(stems, ""))
        assert self.found(pairs) == pairs

    @pytest.mark.parametrize("layout", IN_FOLDERS)
    def test_they_are_read_beside_masks_with_an_ending(self, layout: str) -> None:
        endings = {"case1_lesion": "", "case2": "_segmentation", "case3_seg": "_mask", "case4": ""}
        pairs = self.pairs(IN_FOLDERS[layout], endings)
        assert self.found(pairs) == pairs


class TestFindAllPairsExceptions:
    def test_an_unknown_layout_is_told_with_what_was_found(self, tmp_path: Path) -> None:
        write(tmp_path, "left/{n}.png", "right/{i}.png")
        with pytest.raises(DataError, match="known layout") as caught:
            find_pairs(tmp_path)
        assert "left: 3 images" in str(caught.value)
        assert "images and masks" in str(caught.value)

    def test_a_test_set_alone_is_not_trained_on(self, tmp_path: Path) -> None:
        write(tmp_path, "test/images/{n}.png", "test/masks/{n}.png")
        with pytest.raises(DataError, match="all 3 images lie in folders for validation or test"):
            find_pairs(tmp_path)

    def test_two_data_sets_in_one_folder_are_named(self, tmp_path: Path) -> None:
        write(tmp_path, *LAYOUTS["isic 2017"])
        write(tmp_path, *LAYOUTS["isic 2018"])
        with pytest.raises(
            DataError, match="expected one folder of training photographs"
        ) as caught:
            find_pairs(tmp_path)
        assert "ISIC-2017_Training_Data, ISIC2018_Task1-2_Training_Input" in str(caught.value)
