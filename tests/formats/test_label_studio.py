import json
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

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

from dermseg.errors import DataError
from dermseg.formats import label_studio
from dermseg.formats.annotation import Annotation, Photographs
from dermseg.settings import OutlineSettings


def region(**changes: Any) -> dict[str, Any]:
    value = {"points": [[0, 0], [80, 0], [0, 100]], "polygonlabels": ["lesion"]}
    found = {"type": "polygonlabels", "original_width": 5, "original_height": 4, "value": value}
    return {**found, **changes}


def load(folder: Path, task: Any, label: str | None = None) -> Annotation:
    (folder / "a.json").write_text(json.dumps([task]))
    (entry,) = label_studio.read(folder / "a.json", NOWHERE, label)
    return entry.load()


def task(*regions: Any, **changes: Any) -> dict[str, Any]:
    return {"data": {"image": "a.jpg"}, "annotations": [{"result": list(regions)}], **changes}


@pytest.mark.parametrize("rle", [False, True])
@ON_DISK
@given(masks=MASKS)
def test_masks_come_back_to_the_pixel(
    tmp_path_factory: pytest.TempPathFactory, masks: list[Mask], rle: bool
) -> None:
    named = {f"a b&c#{number}": mask for number, mask in enumerate(masks)}
    target = tmp_path_factory.mktemp("label-studio") / "tasks.json"
    assert_same(named, there_and_back("label-studio", named, target, OutlineSettings(rle=rle)))


def test_long_runs_come_back() -> None:
    mask = np.zeros((300, 400), np.bool_)
    mask[100:250] = True
    assert np.array_equal(label_studio.unpack(label_studio.pack(mask), (300, 400)), mask)


def test_values_without_runs_are_read() -> None:
    bits = (
        f"{8:032b}{7:05b}"
        + "0010" * 4
        + "0"
        + "00"
        + "111"
        + "".join(f"{value:08b}" for value in (1, 2, 3, 0, 1, 2, 3, 4))
    )
    stroke = int(bits.ljust(-len(bits) % 8 + len(bits), "0"), 2)
    packed = stroke.to_bytes((len(bits) + 7) // 8, "big")
    assert label_studio.unpack(packed, (1, 2)).tolist() == [[False, True]]


def test_outlines_are_predictions_to_correct(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    label_studio.write(annotations(hard_masks()), path, OutlineSettings(label="mole"))
    tasks = json.loads(path.read_text())
    found = {Path(t["data"]["image"]).stem: t["predictions"][0]["result"] for t in tasks}
    assert found["empty"] == []
    assert len(found["pieces"]) == 2
    ids = [each["id"] for results in found.values() for each in results]
    assert len(set(ids)) == len(ids)
    assert found["hole"][0]["value"]["polygonlabels"] == ["mole"]
    assert found["full"][0]["value"]["points"] == [[0, 0], [0, 100], [100, 100], [100, 0]]


def test_the_last_annotation_counts_that_was_not_cancelled(tmp_path: Path) -> None:
    other = region(value={"points": [[0, 0], [100, 0], [100, 100], [0, 100]]})
    done = [{"result": [other]}, {"result": [region()]}, {"result": [], "was_cancelled": True}]
    both = task(annotations=done, predictions=[{"result": [other]}])
    assert load(tmp_path, both).mask.sum() == 6
    assert load(tmp_path, {**both, "annotations": []}).mask.all()
    with pytest.raises(DataError, match="skipped"):  # the prediction may be what was refused
        load(tmp_path, {**both, "annotations": done[-1:]})


def test_names_are_the_photographs(tmp_path: Path) -> None:
    for address, name in {
        "/data/upload/3/0123abcd-x%20y.jpg": "x y.jpg",
        "/data/local-files/?d=x/a.jpg": "x/a.jpg",
        "https://host/x/a.jpg?token=1": "a.jpg",
        "s3://bucket/x/a.jpg": "a.jpg",
        "../a.jpg": "a.jpg",
    }.items():
        assert load(tmp_path, task(region(), data={"photo": address})).photograph == name


@pytest.mark.parametrize(
    "data",
    [
        {"patient": "P7", "photo": "https://host/x/a.jpg?token=b.c"},
        {"patient": "P7", "photo": "/data/upload/1/0123abcd-a.jpg"},
        {"patient": "P7", "photo": "/data/local-files/?d=a.JPG", "note": "see http://[x/"},
        {"patient": "P7", "photo": "s3://b/a.heic", "thumbnail": ["b.jpg"], "age": 50},
        {"patient": "P7", "photo": "a.jpg", "file": "/data/upload/1/0123abcd-a.jpg"},
        {"patient": "P7", "photo": "data:image/png;base64,AAAA/b.jpg", "file": "a.jpg"},
        {"overview": "b.jpg", "close": "a.jpg"},
        {"image": "b.jpg", "close": "a"},
    ],
)
def test_the_name_is_no_other_of_a_tasks_data(tmp_path: Path, data: dict[str, Any]) -> None:
    found = load(tmp_path, task(region(to_name="close"), data=data))
    assert Path(found.photograph.lower()).stem == "a"


@pytest.mark.parametrize(
    "data", [{"patient": "P7", "visit": "V1"}, {"patient": "P7", "one": "a.jpg", "two": "b.jpg"}]
)
def test_a_name_that_is_not_clear_is_asked_for(tmp_path: Path, data: dict[str, str]) -> None:
    with pytest.raises(
        DataError, match=r"a\.json: which of 'patient', .* call that key 'image'"
    ) as e:
        load(tmp_path, task(region(), data=data))
    assert "P7" not in str(e.value)
    assert load(tmp_path, task(region(), data={**data, "image": "c.jpg"})).photograph == "c.jpg"


def test_regions_of_two_photographs_are_no_mask(tmp_path: Path) -> None:
    hair = {**region()["value"], "polygonlabels": ["hair"]}
    regions = [region(to_name="one", value=hair), region(to_name="two")]
    with pytest.raises(DataError, match="of several photographs"):
        load(tmp_path, task(*regions, data={"one": "a.jpg", "two": "b.jpg"}), "lesion")


def test_a_name_that_is_no_utf_8_comes_back(tmp_path: Path) -> None:
    masks = {"l\udce9sion": hard_masks()["hole"]}
    assert_same(masks, there_and_back("label-studio", masks, tmp_path / "tasks.json"))


def test_only_the_label_asked_for_is_read(tmp_path: Path) -> None:
    value = {"points": [[0, 0], [100, 0], [100, 100]], "polygonlabels": ["hair"]}
    both = task(region(), region(value=value))
    assert load(tmp_path, both, "lesion").mask.sum() == 6
    with pytest.raises(DataError, match="several labels"):
        load(tmp_path, both)


@pytest.mark.parametrize("kind", ["rectanglelabels", "polygon", "ellipselabels", "vectorlabels"])
def test_a_task_of_other_regions_alone_is_not_without_a_lesion(tmp_path: Path, kind: str) -> None:
    other = region(type=kind, value={"x": 1, "y": 1, "width": 9, "height": 9})
    data = {"image": "a.jpg", "height": 4, "width": 5}
    for label in (None, "lesion"):
        with pytest.raises(
            DataError, match=f"a region of type {kind} is not read; draw .* with PolygonL"
        ):
            load(tmp_path, task(other, data=data), label)
    named = region(type="rectanglelabels", value={"rectanglelabels": ["ruler"]})
    assert not load(tmp_path, task(named, data=data), "lesion").mask.any()


@pytest.mark.parametrize("kind", ["ellipselabels", "polygon", "bitmask", "vectorlabels"])
def test_a_lesion_is_not_read_in_part(tmp_path: Path, kind: str) -> None:
    for label in (None, "lesion"):
        for value in ({}, {kind: ["lesion"]}):
            with pytest.raises(DataError, match=f"a region of type {kind} is not read; draw"):
                load(tmp_path, task(region(), region(type=kind, value=value)), label)
        other = region(type=kind, value={kind: ["ruler"]})
        if kind.endswith("labels"):
            assert load(tmp_path, task(region(), other), label).mask.sum() == 6


@pytest.mark.parametrize("kind", ["rectanglelabels", "keypoint"])
def test_marks_beside_outlines_are_passed_over_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    mark = region(type=kind, value={"x": 1, "y": 1, kind: ["lesion"]})
    assert load(tmp_path, task(mark, region())).mask.sum() == 6
    told = "boxes and key points beside outlines are not read (in 1 task)"
    assert told in capsys.readouterr().err
    load(tmp_path, task(region()))
    assert capsys.readouterr().err == ""


def bitmask(image: Image.Image, form: str = "PNG", **changes: Any) -> dict[str, Any]:
    file = BytesIO()
    image.save(file, form)
    address = f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
    value = {"imageDataURL": address, "bitmasklabels": ["lesion"], **changes}
    return region(type="bitmasklabels", value=value)


def black(mask: Mask) -> Image.Image:
    """Return a mask as Label Studio draws it: black where it is, transparent elsewhere."""
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    pixels[..., 3] = mask * np.uint8(255)
    return Image.fromarray(pixels)


def test_bitmasks_are_read(tmp_path: Path) -> None:
    mask = np.zeros((4, 5), np.bool_)
    mask[1, 2:5] = mask[3, 0] = True
    assert np.array_equal(load(tmp_path, task(bitmask(black(mask)))).mask, mask)
    both = load(tmp_path, task(bitmask(black(mask)), region())).mask
    assert np.array_equal(both, mask | load(tmp_path, task(region())).mask)
    assert load(tmp_path, task(bitmask(black(np.ones((4, 5), np.bool_))))).mask.all()


CUT_SHORT = bitmask(black(np.ones((4, 5), np.bool_)))["value"]["imageDataURL"][:86]


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        (bitmask(black(np.ones((5, 4), np.bool_))), "a bitmask of 5 x 4 pixels, not 4 x 5"),
        (bitmask(Image.new("1", (9000, 8000))), "a bitmask of 8000 x 9000 pixels, not 4 x 5"),
        (bitmask(Image.new("RGB", (5, 4))), "without transparency"),
        (bitmask(black(np.ones((4, 5), np.bool_)), "WEBP"), "no PNG"),
        (bitmask(Image.new("L", (5, 4)), imageDataURL=None), "no PNG"),
        (bitmask(Image.new("L", (5, 4)), imageDataURL="http://a/b.png"), "no PNG"),
        (bitmask(Image.new("L", (5, 4)), imageDataURL="data:image/png;base64,!"), "base64"),
        (bitmask(Image.new("L", (5, 4)), imageDataURL=CUT_SHORT), "a bitmask: cannot be read"),
    ],
)
def test_a_damaged_bitmask_costs_its_task(tmp_path: Path, damaged: Any, why: str) -> None:
    with pytest.raises(DataError, match=rf"a\.jpg: not a task .*{why}"):
        load(tmp_path, task(damaged))


def test_a_task_without_a_region_has_its_photographs_size(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its size is not in the file"):
        load(tmp_path, task())
    Image.new("RGB", (5, 4)).save(tmp_path / "a.jpg")
    (entry,) = label_studio.read(tmp_path / "a.json", Photographs(tmp_path), None)
    assert entry.load().mask.shape == (4, 5)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_rotation": 90},
        {"original_width": 0},
        {"value": {"points": [[0, 0], [1, 1]]}},
        {"value": {"points": [["a", 0], [1, 1], [2, 2]]}},
        {"value": {}},
        {"value": {"rle": []}},
        {"value": {"rle": [0, 0, 0, 80, 57, 75, 63, 0]}},
        {"value": {"rle": [999]}},
        {"value": {"rle": 10**15}},
        {"value": {"points": [[0], [80], [50]]}},
        {"value": {"rle": [0, 0, 0, 80, 57, 27, 191, 255, 255, 255, 255, 255]}},
    ],
)
def test_a_damaged_region_costs_its_task_and_is_named(tmp_path: Path, changes: Any) -> None:
    with pytest.raises(DataError, match=r"a\.jpg: not a task"):
        load(tmp_path, task(region(**changes)))
    with pytest.raises(DataError, match="several sizes"):
        load(tmp_path, task(region(), region(original_width=6)))


@pytest.mark.parametrize("value", [7, {"images": []}, [7], [{}], [{"data": {}}]])
def test_a_file_that_is_none_of_its_kind_is_named(tmp_path: Path, value: Any) -> None:
    (tmp_path / "a.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match="not Label Studio's tasks"):
        list(label_studio.read(tmp_path / "a.json", NOWHERE, None))
