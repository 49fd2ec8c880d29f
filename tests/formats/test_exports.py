"""Data sets are read as the tools export them, from their roots: what was drawn comes back."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import skin
from numpy.typing import NDArray
from PIL import Image
from round_trips import annotations, hard_masks

from dermseg.cli.main import main
from dermseg.data.layouts import find_all_pairs
from dermseg.errors import DataError
from dermseg.evaluation.scoring import evaluate
from dermseg.formats.annotation import Annotation, Photographs
from dermseg.formats.conversion import FORMS, Reading, read_all
from dermseg.formats.rasters import masks_of
from dermseg.imaging.mask_files import read_mask, write_mask
from dermseg.imaging.orientation import as_filed
from dermseg.settings import Form, MaskFrame, OutlineSettings

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


def coco(root: Path, beside: Callable[[str], str], images: Callable[[str], str]) -> Truth:
    """Write photographs and a COCO file for each split; return the truth by name."""
    truth = {}
    categories = [{"id": 0, "name": "lesions"}, {"id": 1, "name": "lesion"}]
    for split, stems in SPLITS.items():
        listed, outlines = [], []
        for number, stem in enumerate(stems):
            size, box = (40 + number, 60), (10, 5, 30 + len(split), 25)
            photograph(root / images(split) / f"{stem}.jpg", size)
            sides = {"height": size[0], "width": size[1]}
            listed.append({"id": number, "file_name": f"{stem}.jpg", **sides})
            ring = {"segmentation": [corners(box)], "image_id": number, "category_id": 1}
            truth[f"{split}/{stem}"] = drawn(size, box) & (f"{split}/{stem}" != BLANK)
            outlines += [] if f"{split}/{stem}" == BLANK else [{"id": number, **ring}]
        content = {"categories": categories, "images": listed, "annotations": outlines}
        write(root / beside(split), json.dumps(content))
    return truth


def roboflows_coco(root: Path) -> Truth:
    write(root / "README.dataset.txt", "Lesions > 2024\n")
    return coco(root, lambda split: f"{split}/_annotations.coco.json", lambda split: split)


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
def test_a_data_set_may_be_yolos_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: Callable[[Path], Truth]
) -> None:
    truth = layout(tmp_path)
    for path in tmp_path.rglob("c.txt"):  # whose hair needs --label
        path.write_text(path.read_text().partition("\n")[2])
    pairs = find_all_pairs(tmp_path)
    assert [pair.image_id for pair in pairs if pair.unlabelled] == [BARE]
    assert main(["doctor", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert said.count("photographs without a file of labels, which have no lesion: 1\n") == 1
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


@pytest.mark.parametrize("layout", [roboflow, ultralytics])
def test_what_segment_makes_of_an_export_is_scored_by_its_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: Callable[[Path], Truth]
) -> None:
    root, masks, scores = tmp_path / "export", tmp_path / "masks", tmp_path / "scores.csv"
    truth = layout(root)
    for path in root.rglob("c.txt"):  # whose hair needs --label
        path.write_text(path.read_text().partition("\n")[2])
    assert main(["segment", str(root), "-o", str(masks)]) == 0
    assert main(["evaluate", str(root), str(masks), "--csv", str(scores)]) == 0
    assert f"{len(truth)} images" in capsys.readouterr().out
    assert {line.partition(",")[0] for line in scores.read_text().splitlines()[1:]} == set(truth)


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


def test_coco_is_read_from_its_root(tmp_path: Path) -> None:
    truth = roboflows_coco(tmp_path / "export")
    assert convert(tmp_path / "export", tmp_path / "masks") == 0
    assert_masks(tmp_path / "masks", truth)
    found = evaluate(tmp_path / "export", tmp_path / "masks")  # whose JPEGs are no masks
    assert found.images.keys() == truth.keys()
    assert found.mean.jaccard == 1.0
    part = evaluate(tmp_path / "export" / "train", tmp_path / "masks" / "train")
    assert part.images.keys() == {"a", "b"}


@pytest.mark.parametrize("form", ["coco", "cvat", "label-studio"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_photographs_beside_a_file_that_names_them_are_no_masks(
    tmp_path: Path, form: Form, suffix: str
) -> None:
    data, masks = tmp_path / "data", tmp_path / "masks"
    mask = drawn((40, 60), (10, 5, 30, 25))
    data.mkdir()
    outlines = [Annotation(f"a{suffix}", mask)]
    FORMS[form].write(outlines, data / f"x{FORMS[form].FILE}", OutlineSettings())
    for name in ("a", "other"):  # of which nothing is said
        photograph(data / f"{name}{suffix}", (40, 60))
    write_mask(masks / "a.png", mask)
    assert evaluate(data, masks).mean.jaccard == 1.0


@pytest.mark.parametrize("form", ["coco", "cvat", "label-studio"])
def test_masks_beside_a_file_that_names_their_photographs_stay(tmp_path: Path, form: Form) -> None:
    mask = drawn((40, 60), (10, 5, 30, 25))
    write_mask(tmp_path / "a.png", mask)
    outlines = [Annotation("a.jpg", mask)]
    FORMS[form].write(outlines, tmp_path / f"x{FORMS[form].FILE}", OutlineSettings())
    assert masks_of(tmp_path).folder == tmp_path


def test_a_data_set_may_be_cocos_export(tmp_path: Path) -> None:
    truth = roboflows_coco(tmp_path)
    pairs = find_all_pairs(tmp_path)
    assert {pair.image_id for pair in pairs} == truth.keys()
    for pair in pairs:
        np.testing.assert_array_equal(pair.read_mask() > 0, truth[pair.image_id])


def test_a_folder_annotations_is_no_part_of_a_name(tmp_path: Path) -> None:
    coco(tmp_path, lambda split: f"{split}/annotations/x.json", lambda split: f"{split}/images")
    assert {entry.photograph for entry in read_all(Reading(tmp_path))} == {
        f"{split}/{stem}.jpg" for split in SPLITS for stem in SPLITS[split]
    }
    assert len(find_all_pairs(tmp_path)) == 4


def test_labels_are_those_of_all_files(tmp_path: Path) -> None:
    roboflows_coco(tmp_path)
    hair = tmp_path / "test" / "_annotations.coco.json"
    hair.write_text(hair.read_text().replace('"name": "lesion"', '"name": "hair"'))
    with pytest.raises(DataError, match=r"several labels; .* --label: hair, lesion"):
        read_all(Reading(tmp_path))
    with pytest.raises(DataError, match=r"several labels; .*\n  `dermseg convert .* has --label"):
        evaluate(tmp_path, tmp_path)
    found = {each.photograph: each.load() for each in read_all(Reading(tmp_path, label="lesion"))}
    assert not found["test/c.jpg"].mask.any()
    assert found["valid/a.jpg"].mask.any()


def test_of_two_files_of_coco_in_a_folder_none_is_taken(tmp_path: Path) -> None:
    roboflows_coco(tmp_path)
    (tmp_path / "train" / "b.json").write_bytes(
        (tmp_path / "train" / "_annotations.coco.json").read_bytes()
    )
    with pytest.raises(DataError, match=r"train: has several .*, _annotations\.coco\.json, b\.j"):
        read_all(Reading(tmp_path))


@pytest.mark.parametrize("form", ["cvat", "label-studio"])
def test_one_file_in_a_folder_is_found(tmp_path: Path, form: Form) -> None:
    target = tmp_path / "export" / "deep" / f"x{FORMS[form].FILE}"
    FORMS[form].write(annotations(hard_masks()), target, OutlineSettings())
    assert len(read_all(Reading(tmp_path / "export"))) == len(hard_masks())
    write(tmp_path / "export" / f"y{FORMS[form].FILE}", target.read_text())
    with pytest.raises(DataError, match=r"several files of outlines, deep/x.*, y.*; give one"):
        read_all(Reading(tmp_path / "export"))
    assert convert(tmp_path / "export", tmp_path / "masks", "--from", "coco") == 1


SIDEWAYS = {
    "a": ((40, 60), 6),
    "b": ((40, 60), 3),
    "c": ((50, 50), 8),
    "d": ((40, 60), 1),
    "e": ((40, 60), 8),
}
"""Photographs' sizes as stored, and their orientations; of `b` and `c` no size tells the frame."""


def turned(root: Path, frames: dict[str, str]) -> Truth:
    """Write photographs and one COCO file of outlines, each drawn along its photograph's frame."""
    truth = {}
    listed, outlines = [], []
    for number, (name, (size, orientation)) in enumerate(SIDEWAYS.items()):
        photograph(root / f"{name}.jpg", size, orientation)
        box = (3, 5, 20, 12)
        sides = size if frames[name] == "stored" or orientation < 5 else size[::-1]
        mask = drawn(sides, box)
        listed.append({"id": number, "file_name": f"{name}.jpg", "height": sides[0]})
        listed[-1]["width"] = sides[1]
        ring = {"segmentation": [corners(box)], "image_id": number, "category_id": 1}
        outlines.append({"id": number, **ring})
        filed = as_filed(mask.view(np.uint8), orientation).view(np.bool_)
        truth[name] = mask if frames[name] == "stored" else filed
    write(root / "x.json", json.dumps({"images": listed, "annotations": outlines}))
    return truth


@pytest.mark.parametrize("frame", ["stored", "shown"])
def test_cocos_sizes_tell_in_which_frame_its_outlines_are(tmp_path: Path, frame: str) -> None:
    truth = turned(tmp_path / "data", dict.fromkeys(SIDEWAYS, frame))
    options = ["--photographs", str(tmp_path / "data")]
    assert convert(tmp_path / "data" / "x.json", tmp_path / "masks", *options) == 0
    assert_masks(tmp_path / "masks", truth)
    for pair in find_all_pairs(tmp_path / "data"):
        np.testing.assert_array_equal(pair.read_mask() > 0, truth[pair.image_id])


def test_outlines_in_both_frames_are_not_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turned(tmp_path / "data", {**dict.fromkeys(SIDEWAYS, "stored"), "a": "shown"})
    options = ["--photographs", str(tmp_path / "data")]
    assert convert(tmp_path / "data" / "x.json", tmp_path / "masks", *options) == 1
    said = capsys.readouterr().err
    assert "4 outlines" in said
    assert "a.jpg: 40 x 60, but its outline is of 60 x 40; it was drawn along the pixels as" in said


def test_an_outline_of_labelmes_in_the_other_frame_is_named(tmp_path: Path) -> None:
    photograph(tmp_path / "a.jpg", (40, 60), 6)
    FORMS["labelme"].write(
        [Annotation("a.jpg", drawn((40, 60), (3, 5, 50, 30)))], tmp_path, OutlineSettings()
    )
    with pytest.raises(DataError, match=r"along the pixels as stored: `dermseg convert` turns "):
        find_all_pairs(tmp_path)


def test_geojson_that_only_fits_the_shown_photograph_is_named(tmp_path: Path) -> None:
    ring = [[3, 5], [20, 5], [20, 55], [3, 55], [3, 5]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    write(tmp_path / "a.geojson", json.dumps(feature))
    for orientation, fits in ((6, False), (3, True)):
        photograph(tmp_path / "a.jpg", (40, 60), orientation)
        (entry,) = read_all(Reading(tmp_path, photographs=Photographs(tmp_path)))
        if fits:
            assert entry.load().mask.any()
            continue
        with pytest.raises(DataError, match="fits its photograph only as EXIF shows it"):
            entry.load()


def standard_coco(root: Path, images: Callable[[str], str] = lambda split: f"{split}2017") -> Truth:
    """Write the folders of COCO's own data set, with its files of other tasks."""
    truth = coco(root, lambda split: f"annotations/instances_{split}2017.json", images)
    for split in SPLITS:
        listed = [{"id": 0, "file_name": "a.jpg", "height": 40, "width": 60}]
        told = [{"id": 0, "image_id": 0, "caption": "a mole"}]
        content = json.dumps({"images": listed, "annotations": told})
        for task in ("captions", "person_keypoints"):
            write(root / "annotations" / f"{task}_{split}2017.json", content)
    return {name.replace("/", "2017/"): mask for name, mask in truth.items()}


@pytest.mark.parametrize("place", ["{}2017", "images/{}2017"])
def test_cocos_own_folders_are_read(tmp_path: Path, place: str) -> None:
    truth = standard_coco(tmp_path / "coco", place.format)
    assert convert(tmp_path / "coco", tmp_path / "masks") == 0
    assert_masks(tmp_path / "masks", truth)
    for source in (tmp_path / "coco", tmp_path / "coco" / "annotations"):
        assert evaluate(source, tmp_path / "masks").mean.jaccard == 1.0
    photograph(tmp_path / "coco" / place.format("test") / "unlabelled.jpg", (40, 60))
    with pytest.raises(DataError, match=r"test2017/unlabelled\.jpg: no mask"):
        find_all_pairs(tmp_path / "coco")
    (tmp_path / "coco" / "annotations" / "instances_test2017.json").unlink()
    valid = tmp_path / "coco" / "annotations" / "instances_valid2017.json"
    valid.write_text(valid.read_text().replace('"a.jpg"', '"valid2017/a.jpg"'))
    pairs = find_all_pairs(tmp_path / "coco")
    assert {pair.image_id: pair.part for pair in pairs} == {
        "train2017/a": "training",
        "train2017/b": "training",
        "valid2017/a": "validation",
    }
    for pair in pairs:
        np.testing.assert_array_equal(pair.read_mask() > 0, truth[pair.image_id])


def test_cocos_files_tell_the_splits_of_one_folder_of_photographs(tmp_path: Path) -> None:
    standard_coco(tmp_path, lambda _: "images")
    (tmp_path / "annotations" / "instances_valid2017.json").unlink()
    assert {pair.image_id: pair.part for pair in find_all_pairs(tmp_path)} == {
        "a": "training",
        "b": "training",
        "c": "test",
    }


def test_cocos_files_of_splits_are_told_from_others(tmp_path: Path) -> None:
    standard_coco(tmp_path)
    plain = tmp_path / "annotations" / "plain.json"
    plain.write_text((tmp_path / "annotations" / "instances_test2017.json").read_text())
    with pytest.raises(DataError, match=r"several files of outlines, .*test2017\.json, .*plain"):
        read_all(Reading(tmp_path))
    with pytest.raises(DataError, match=r"several files of outlines, .*test2017\.json, .*plain"):
        find_all_pairs(tmp_path)


@pytest.mark.parametrize("form", ["coco", "cvat", "labelme"])
@pytest.mark.parametrize("frame", ["stored", "upright"])
def test_a_person_says_how_outlines_lie_whose_sizes_do_not_tell(
    tmp_path: Path, form: Form, frame: MaskFrame
) -> None:
    data, drawing = tmp_path / "data", drawn((40, 60), (3, 5, 20, 12))
    data.mkdir()
    photograph(data / "a.jpg", (40, 60), 3)
    target = data / f"x{FORMS[form].FILE}" if FORMS[form].FILE else data
    FORMS[form].write([Annotation("a.jpg", drawing)], target, OutlineSettings())
    truth = drawing if frame == "stored" else drawing[::-1, ::-1]
    (pair,) = find_all_pairs(data, frame)
    np.testing.assert_array_equal(pair.read_mask() > 0, truth)
    assert main(["doctor", str(data), "--mask-frame", frame, "--fix", str(tmp_path / "masks")]) == 0
    assert_masks(tmp_path / "masks", {"a": truth})
    report = "photograph,mask,orientation\na.jpg,a_segmentation.png,3\n"
    write(tmp_path / "masks" / "report.csv", report)
    assert evaluate(data, tmp_path / "masks", mask_frame=frame).mean.jaccard == 1.0
    assert evaluate(target, tmp_path / "masks", mask_frame=frame).mean.jaccard == 1.0


@pytest.mark.parametrize("form", ["yolo", "geojson", "label-studio"])
def test_a_person_cannot_say_another_frame_than_a_form_has(tmp_path: Path, form: Form) -> None:
    photograph(tmp_path / "images" / "a.jpg", (40, 60), 3)
    outlines = [Annotation("a.jpg", drawn((40, 60), (3, 5, 20, 12)))]
    FORMS[form].write(outlines, tmp_path / f"x{FORMS[form].FILE}", OutlineSettings())
    own: MaskFrame = "stored" if FORMS[form].FRAME == "stored" else "upright"
    other: MaskFrame = "upright" if own == "stored" else "stored"
    assert len(find_all_pairs(tmp_path, own)) == 1
    with pytest.raises(DataError, match=f"--mask-frame {other}, but .* as the format {form}"):
        find_all_pairs(tmp_path, other)


@pytest.mark.parametrize("frame", ["stored", "upright"])
def test_a_person_cannot_say_another_frame_than_sizes_do(tmp_path: Path, frame: MaskFrame) -> None:
    turned(tmp_path, dict.fromkeys(SIDEWAYS, "shown" if frame == "stored" else "stored"))
    with pytest.raises(DataError, match=f"--mask-frame {frame}, but .* as their sizes say"):
        find_all_pairs(tmp_path, frame)
