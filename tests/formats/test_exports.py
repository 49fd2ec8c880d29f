"""Data sets are read as the tools export them, from their roots: what was drawn comes back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import skin
from numpy.typing import NDArray
from PIL import Image

from dermseg.cli.main import main
from dermseg.data.layouts import find_all_pairs
from dermseg.errors import DataError
from dermseg.evaluation.scoring import evaluate
from dermseg.formats.annotation import Photographs
from dermseg.formats.conversion import Reading, read_all
from dermseg.imaging.mask_files import read_mask

Truth = dict[str, NDArray[np.bool_]]
SPLITS = {"train": ("a", "b"), "valid": ("a",), "test": ("c",)}
"""Photographs of each split; two have one name."""
BLANK, BARE = "train/b", "train/background"
"""A photograph with an empty file of labels, and one without any."""
NAMES = "train: ../train/images\nnc: 2\nnames: ['hair', 'lesion']\n"


def drawn(size: tuple[int, int], box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Return the mask of a box, (left, top, right, bottom)."""
    mask = np.zeros(size, np.bool_)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def photograph(path: Path, size: tuple[int, int], orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(skin(*size)).save(path, exif=exif)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def corners(box: tuple[int, int, int, int]) -> list[int]:
    left, top, right, bottom = box
    return [left, top, right, top, right, bottom, left, bottom]


def yolo(root: Path, place: Callable[[str, str], str]) -> Truth:
    """Write photographs and labels of class 1 where `place` says; return the truth by name."""
    truth = {}
    for number, name in enumerate([f"{s}/{stem}" for s in SPLITS for stem in SPLITS[s]] + [BARE]):
        split, _, stem = name.partition("/")
        size, box = (40, 60 + number), (10, 5 + number, 30, 25)
        photograph(root / place(split, "images") / f"{stem}.jpg", size)
        line = ["1", *(str(at / size[1 - i % 2]) for i, at in enumerate(corners(box)))]
        hair = "0 0 0 .5 0 .5 .5\n" if stem == "c" else ""
        if name != BARE:
            text = "" if name == BLANK else f"{hair}{' '.join(line)}\n"
            write(root / place(split, "labels") / f"{stem}.txt", text)
        truth[name] = drawn(size, box) & (name not in (BLANK, BARE))
    return truth


def roboflow(root: Path) -> Truth:
    for name in ("README.dataset.txt", "README.roboflow.txt"):
        write(root / name, "Lesions > 2024\nProvided by a user\n")
    write(root / "data.yaml", NAMES)
    return yolo(root, lambda split, kind: f"{split}/{kind}")


def ultralytics(root: Path) -> Truth:
    write(root / "data.yaml", NAMES)
    write(root / "train.txt", "./images/train/a.jpg\n./images/train/b.jpg\n")
    return yolo(root, lambda split, kind: f"{kind}/{split}")


def label_studio(root: Path) -> Truth:
    write(root / "classes.txt", "hair\nlesion\n")
    write(root / "notes.txt", "two classes\n")
    return yolo(root, lambda split, kind: f"{kind}/{split}")


YOLO = (roboflow, ultralytics, label_studio)


def convert(source: Path, target: Path, *options: str) -> int:
    return main(["convert", str(source), "-o", str(target), "--to", "masks", *options])


def assert_masks(folder: Path, truth: Truth) -> None:
    """Assert that a folder holds the true masks, and no others."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.png")}
    assert found.keys() == {f"{name}_segmentation.png" for name in truth}
    for name, mask in truth.items():
        np.testing.assert_array_equal(read_mask(found[f"{name}_segmentation.png"]) > 0, mask)


@pytest.mark.parametrize("layout", YOLO)
def test_yolo_is_read_from_its_root(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: Callable[[Path], Truth]
) -> None:
    truth = layout(tmp_path / "export")
    assert convert(tmp_path / "export", tmp_path / "masks", "--label", "lesion") == 0
    assert_masks(tmp_path / "masks", truth)
    said = capsys.readouterr().err
    assert "photographs without a file of labels, which have no lesion: 1\n" in said
    assert "5 outlines" in said
    with pytest.raises(DataError, match=r"several labels; .* --label: hair, lesion"):
        read_all(Reading(tmp_path / "export"))


@pytest.mark.parametrize("layout", YOLO)
def test_a_data_set_may_be_yolos_export(tmp_path: Path, layout: Callable[[Path], Truth]) -> None:
    truth = layout(tmp_path)
    for path in tmp_path.rglob("c.txt"):  # whose hair needs --label
        path.write_text(path.read_text().partition("\n")[2])
    pairs = find_all_pairs(tmp_path)
    assert {pair.image_id: pair.part for pair in pairs} == {
        name: {"train": "training", "valid": "validation", "test": "test"}[name.partition("/")[0]]
        for name in truth
    }
    for pair in pairs:
        np.testing.assert_array_equal(pair.read_mask() > 0, truth[pair.image_id])


@pytest.mark.parametrize(
    ("layout", "labels"), [(roboflow, "train/labels"), (ultralytics, "labels/train")]
)
def test_one_folder_of_labels_has_its_photographs_and_classes(
    tmp_path: Path, layout: Callable[[Path], Truth], labels: str
) -> None:
    truth = layout(tmp_path / "export")
    assert convert(tmp_path / "export" / labels, tmp_path / "masks", "--label", "lesion") == 0
    split = {name.removeprefix("train/"): truth[name] for name in truth if "train/" in name}
    assert_masks(tmp_path / "masks", split)
    assert evaluate(tmp_path / "export" / labels, tmp_path / "masks").mean.jaccard == 1.0


def test_yolos_photographs_beside_its_labels_are_no_masks(tmp_path: Path) -> None:
    truth = ultralytics(tmp_path / "export")
    assert convert(tmp_path / "export", tmp_path / "masks", "--label", "lesion") == 0
    for path in tmp_path.rglob("c.txt"):
        path.write_text(path.read_text().partition("\n")[2])
    found = evaluate(tmp_path / "export", tmp_path / "masks")
    assert found.images.keys() == truth.keys()
    assert found.mean.jaccard == 1.0


def test_a_split_without_labels_says_nothing_of_its_photographs(tmp_path: Path) -> None:
    truth = ultralytics(tmp_path)
    photograph(tmp_path / "images" / "unknown" / "a.jpg", (40, 60))
    entries = read_all(Reading(tmp_path, label="lesion"))
    assert {entry.photograph for entry in entries} == {f"{name}.jpg" for name in truth}


def test_a_photograph_is_found_without_the_folder_images(tmp_path: Path) -> None:
    for name in ("train/images/a.jpg", "valid/images/a.jpg", "images/own/b.jpg", "own/b.jpg"):
        photograph(tmp_path / name, (4, 6))
    photographs = Photographs(tmp_path)
    assert photographs.find("train/a.jpg") == tmp_path / "train/images/a.jpg"
    assert photographs.find("own/b.jpg") == tmp_path / "own/b.jpg"
    assert photographs.parts_in_common(tmp_path / "train/images/a.jpg", "train/a.jpg") == 2
    with pytest.raises(DataError, match="several photographs"):
        photographs.find("a.jpg")
