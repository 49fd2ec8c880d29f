import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
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
from dermseg.formats import labelme
from dermseg.formats.annotation import Annotation
from dermseg.imaging.png import encode_mask
from dermseg.settings import OutlineSettings

TRIANGLE = {"label": "lesion", "shape_type": "polygon", "points": [[0, 0], [4, 0], [0, 4]]}


def load(folder: Path, label: str | None = None, **changes: Any) -> Annotation:
    content = {"shapes": [TRIANGLE], "imagePath": "..\\x\\a.PNG", "imageHeight": 4, "imageWidth": 5}
    (folder / "a.json").write_text(json.dumps({**content, **changes}))
    (entry,) = labelme.read(folder, NOWHERE, label)
    return entry.load()


@pytest.mark.parametrize("rle", [False, True])
@ON_DISK
@given(masks=MASKS)
def test_masks_come_back_to_the_pixel(
    tmp_path_factory: pytest.TempPathFactory, masks: list[Mask], rle: bool
) -> None:
    named = {str(number): mask for number, mask in enumerate(masks)}
    if named:
        target = tmp_path_factory.mktemp("labelme")
        assert_same(named, there_and_back("labelme", named, target, OutlineSettings(rle=rle)))


def test_pieces_share_a_group_and_no_lesion_is_no_shape(tmp_path: Path) -> None:
    labelme.write(annotations(hard_masks()), tmp_path, OutlineSettings(label="mole"))
    found = {p.stem: json.loads(p.read_text()) for p in (tmp_path / "folder").iterdir()}
    assert found["empty"]["shapes"] == []
    assert [s["group_id"] for s in found["pieces"]["shapes"]] == [1, 1]
    assert [s["group_id"] for s in found["hole"]["shapes"]] == [None]
    assert found["hole"]["shapes"][0]["label"] == "mole"
    assert found["hole"]["imagePath"] == "hole.jpg"


def test_a_name_has_the_photographs_suffix(tmp_path: Path) -> None:
    annotation = load(tmp_path)
    assert annotation.photograph == "a.PNG"
    assert annotation.mask.sum() == 6


def test_only_the_label_asked_for_is_read(tmp_path: Path) -> None:
    hair = {**TRIANGLE, "label": "hair", "points": [[0, 0], [5, 0], [5, 4], [0, 4]]}
    assert load(tmp_path, "lesion", shapes=[TRIANGLE, hair]).mask.sum() == 6
    with pytest.raises(DataError, match="several labels"):
        load(tmp_path, shapes=[TRIANGLE, hair])


@pytest.mark.parametrize(
    "shape",
    [
        {"label": "x"},
        {**TRIANGLE, "points": [[0, 0], [1, 1]]},
        {**TRIANGLE, "points": "no"},
        {**TRIANGLE, "shape_type": "circle"},
        {**TRIANGLE, "shape_type": "mask"},
        {**TRIANGLE, "shape_type": "mask", "mask": "%"},
        {**TRIANGLE, "shape_type": "mask", "mask": b64encode(b"no PNG").decode()},
        {
            **TRIANGLE,
            "shape_type": "mask",
            "mask": b64encode(encode_mask(np.ones((9, 9), np.bool_))).decode(),
        },
        7,
    ],
)
def test_a_damaged_shape_is_named(tmp_path: Path, shape: Any) -> None:
    with pytest.raises(DermsegError, match=r"a\.json"):
        load(tmp_path, shapes=[shape])


def test_a_folder_has_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no labelme files"):
        list(labelme.read(tmp_path, NOWHERE, None))
