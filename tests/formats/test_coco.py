import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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

from dermseg.errors import DataError, DermsegError
from dermseg.formats import coco
from dermseg.formats.annotation import Annotation
from dermseg.settings import OutlineSettings

SQUARE = [1, 1, 3, 1, 3, 3, 1, 3]


def content(**changes: Any) -> dict[str, Any]:
    image = {"id": 7, "file_name": "a.jpg", "height": 4, "width": 5}
    outline = {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [SQUARE]}
    categories = [{"id": 1, "name": "lesion"}, {"id": 2, "name": "hair"}]
    found = {"images": [image], "annotations": [outline], "categories": categories}
    return {**found, **changes}


def load(tmp_path: Path, value: Any, label: str | None = None) -> list[Annotation]:
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(value))
    return [entry.load() for entry in coco.read(path, NOWHERE, label)]


@pytest.mark.parametrize("rle", [False, True])
@ON_DISK
@given(masks=MASKS)
def test_masks_come_back_to_the_pixel(
    tmp_path_factory: pytest.TempPathFactory, masks: list[Mask], rle: bool
) -> None:
    named = {str(number): mask for number, mask in enumerate(masks)}
    target = tmp_path_factory.mktemp("coco") / "lesions.json"
    assert_same(named, there_and_back("coco", named, target, OutlineSettings(rle=rle)))


@given(st.lists(st.integers(0, 2**40), min_size=1))
def test_compressed_run_lengths_come_back(lengths: list[int]) -> None:
    text = coco.compress(np.array(lengths))
    assert coco.decompress(text).tolist() == lengths


def test_an_image_without_a_lesion_is_kept(tmp_path: Path) -> None:
    coco.write(annotations(hard_masks()), tmp_path / "coco.json", OutlineSettings(label="naevus"))
    written = json.loads((tmp_path / "coco.json").read_text())
    assert len(written["images"]) == 8
    assert len(written["annotations"]) == 7
    assert written["categories"][0]["name"] == "naevus"
    (pieces,) = (a for a in written["annotations"] if len(a["segmentation"]) == 2)
    assert pieces["bbox"] == [3, 2, 25, 20]
    assert pieces["area"] == hard_masks()["pieces"].sum()


def test_ids_stay_when_photographs_are_added(tmp_path: Path) -> None:
    def ids(names: list[str]) -> dict[str, int]:
        path = tmp_path / f"{len(names)}.json"
        coco.write(
            (Annotation(n, np.ones((2, 2), np.bool_)) for n in names), path, OutlineSettings()
        )
        written = json.loads(path.read_text())
        assert {a["image_id"] for a in written["annotations"]} == {
            i["id"] for i in written["images"]
        }
        return {image["file_name"]: image["id"] for image in written["images"]}

    few, many = ids(["b.jpg", "c.jpg"]), ids(["a.jpg", "b.jpg", "c.jpg"])
    assert many.items() > few.items()
    assert len(set(many.values())) == 3


def test_annotations_of_an_image_are_pieces_and_may_overlap(tmp_path: Path) -> None:
    moved = [2, 2, 5, 2, 5, 4, 2, 4]
    both = [{"image_id": 7, "category_id": 1, "segmentation": [each]} for each in (SQUARE, moved)]
    (together,) = load(tmp_path, content(annotations=both))
    one = {"image_id": 7, "category_id": 1, "segmentation": [SQUARE, moved]}
    (alone,) = load(tmp_path, content(annotations=[one]))
    assert together.mask.sum() == alone.mask.sum() == 4 + 6 - 1


def test_only_the_label_asked_for_is_read(tmp_path: Path) -> None:
    hair = {"image_id": 7, "category_id": 2, "segmentation": [[0, 0, 5, 0, 5, 4, 0, 4]]}
    both = content(annotations=[*content()["annotations"], hair])
    with pytest.raises(DataError, match=r"several labels.*hair, lesion"):
        load(tmp_path, both)
    assert load(tmp_path, both, "lesion")[0].mask.sum() == 4
    with pytest.raises(DataError, match="no label 'mole'"):
        load(tmp_path, both, "mole")


def test_a_crowds_run_lengths_count_as_others_do(tmp_path: Path) -> None:
    segmentation = {"size": [4, 5], "counts": [6, 2, 2, 2, 8]}
    outline = {"image_id": 7, "category_id": 1, "iscrowd": 1, "segmentation": segmentation}
    assert load(tmp_path, content(annotations=[outline]))[0].mask.sum() == 4


@pytest.mark.parametrize(
    "segmentation",
    [
        [],
        [[1, 1, 2]],
        [[1, 1, 2, 2, 3, 3, 4]],
        [[1, 1, 2, None, 3, 3]],
        [["a"] * 6],
        {"size": [5, 4], "counts": [20]},
        {"size": [4, 5], "counts": [19]},
        {"size": [4, 5], "counts": [2**62] * 4 + [20]},  # which is 20 in 64 bits
        {"size": [4, 5], "counts": ""},
        {"size": [4, 5], "counts": "622O6"},
        {"size": [4, 5], "counts": "é"},
        {"counts": [20]},
        7,
    ],
)
def test_a_damaged_outline_costs_its_photograph_and_is_named(
    tmp_path: Path, segmentation: Any
) -> None:
    outline = {"image_id": 7, "category_id": 1, "segmentation": segmentation}
    with pytest.raises(DataError, match=r"a\.jpg: not a COCO annotation"):
        load(tmp_path, content(annotations=[outline]))


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"images": [{}]},
        content(images=[*content()["images"], *content()["images"]]),
        content(annotations=[{"image_id": 8, "category_id": 1, "segmentation": [SQUARE]}]),
        content(annotations=[{"image_id": 7}]),
    ],
)
def test_a_file_that_is_none_of_its_kind_is_named(tmp_path: Path, value: Any) -> None:
    with pytest.raises(DataError, match=r"coco\.json"):
        load(tmp_path, value)


@pytest.mark.parametrize("size", [(0, 5), (-1, 5), ("x", 5), (10**9, 10**9)])
def test_a_size_that_cannot_be_is_refused(tmp_path: Path, size: tuple[Any, int]) -> None:
    image = {"id": 7, "file_name": "a.jpg", "height": size[0], "width": size[1]}
    with pytest.raises(DermsegError):
        load(tmp_path, content(images=[image]))


def test_a_name_leads_nowhere_else(tmp_path: Path) -> None:
    for told, kept in {
        "../../etc/a.jpg": "a.jpg",
        "/etc/a.jpg": "a.jpg",
        "C:\\x\\a.jpg": "a.jpg",
        "x\\a.jpg": "x/a.jpg",
    }.items():
        image = {"id": 7, "file_name": told, "height": 4, "width": 5}
        assert load(tmp_path, content(images=[image]))[0].photograph == kept


@pytest.mark.skipif(sys.platform == "win32", reason="no name has a colon there")
def test_a_folder_may_be_named_after_an_hour(tmp_path: Path) -> None:
    names = ["12:30/a.jpg", "12:45/a.jpg"]
    images = [
        {"id": number, "file_name": name, "height": 4, "width": 5}
        for number, name in enumerate(names)
    ]
    found = load(tmp_path, content(images=images, annotations=[]))
    assert [each.photograph for each in found] == names
