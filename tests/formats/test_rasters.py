"""Outlines of any form stand where masks may: in evaluate, train and doctor."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import skin
from PIL import Image

from dermseg.cli.main import main
from dermseg.data.doctor import examine
from dermseg.data.layouts import find_all_pairs
from dermseg.errors import DataError
from dermseg.evaluation.scoring import evaluate
from dermseg.formats.conversion import FORMS
from dermseg.formats.rasters import masks_of
from dermseg.imaging.mask_files import read_mask, write_mask
from dermseg.settings import Form

OTHERS: list[Form] = [form for form in FORMS if form != "masks"]
NAMES = ("a", "b.c", "turned", "empty")


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """Return masks of four photographs, one of which EXIF turns by half, and one has no lesion."""
    (tmp_path / "photographs").mkdir()
    for number, name in enumerate(NAMES):
        exif = Image.Exif()
        exif[0x0112] = 3 if name == "turned" else 1
        picture = Image.fromarray(skin(40 + number, 60))
        picture.save(tmp_path / "photographs" / f"{name}.jpg", exif=exif)
        mask = np.zeros((40 + number, 60), np.bool_)
        if name != "empty":
            mask[5:20, 10 + number : 30] = True
            mask[8:10, 20:25] = False
        write_mask(tmp_path / "masks" / f"{name}_segmentation.png", mask)
    return tmp_path / "masks"


def converted(masks: Path, form: Form, target: Path) -> Path:
    photographs = str(masks.parent / "photographs")
    target.parent.mkdir(parents=True, exist_ok=True)
    options = ["-o", str(target), "--to", form, "--photographs", photographs]
    assert main(["convert", str(masks), *options]) == 0
    return target


@pytest.fixture(params=OTHERS)
def data(request: pytest.FixtureRequest, masks: Path, tmp_path: Path) -> Path:
    """Return a data set of photographs and outlines of a form."""
    form: Form = request.param
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "photographs").rename(folder / "images")
    options = ["--to", form, "--photographs", str(folder / "images")]
    suffix = FORMS[form].FILE
    target = folder / (f"lesions{suffix}" if suffix else "yolo" if form == "yolo" else "outlines")
    assert main(["convert", str(masks), "-o", str(target), *options]) == 0
    return folder


def test_a_data_set_may_have_outlines(data: Path, masks: Path) -> None:
    pairs = find_all_pairs(data)
    assert [pair.image_id for pair in pairs] == sorted(NAMES)
    for pair in pairs:
        assert pair.photograph == data / "images" / f"{pair.image_id}.jpg"
        expected = read_mask(masks / f"{pair.image_id}_segmentation.png")
        np.testing.assert_array_equal(pair.read_mask(), expected)
    again = find_all_pairs(data)
    assert [pair.mask for pair in again] == [pair.mask for pair in pairs]
    kinds = {finding.kind for finding in examine(data).findings}
    assert "sizes-differ" not in kinds
    assert "unreadable" not in kinds


@pytest.mark.parametrize("form", [form for form in OTHERS if form != "yolo"])
def test_outlines_are_scored_like_masks(form: Form, masks: Path, tmp_path: Path) -> None:
    (tmp_path / "photographs" / "turned.jpg").unlink()  # whose outline needs it
    (masks / "turned_segmentation.png").unlink()
    target = converted(masks, form, tmp_path / "other" / f"x{FORMS[form].FILE}")
    found = evaluate(target, masks)
    assert found.mean.jaccard == 1.0
    assert sorted(found.images) == sorted(evaluate(masks, masks).images)


def test_what_does_not_fit_is_named_by_the_outlines_own_file(masks: Path, tmp_path: Path) -> None:
    source = converted(masks, "coco", tmp_path / "x.json")
    (masks / "a_segmentation.png").unlink()
    with pytest.raises(DataError) as caught:
        evaluate(source, masks)
    assert f"no prediction for {source}: a_segmentation.png" in str(caught.value)


@pytest.mark.parametrize("form", ["geojson", "labelme"])
def test_outlines_may_lie_beside_their_photographs(form: Form, masks: Path, tmp_path: Path) -> None:
    both = converted(masks, form, tmp_path / "both")
    for photograph in (tmp_path / "photographs").iterdir():
        photograph.rename(both / photograph.name)
    assert evaluate(both, masks).mean.jaccard == 1.0
    (both / "a.jpg").rename(both / "other.jpg")  # may be a mask as far as one knows
    assert masks_of(both).folder == both


def test_masks_stay_where_they_are(masks: Path) -> None:
    converted(masks, "coco", masks / "coco.json")
    assert masks_of(masks).folder == masks
    assert masks_of(masks / "gone").folder == masks / "gone"


def test_what_is_made_is_as_old_as_its_source(masks: Path, tmp_path: Path) -> None:
    source = converted(masks, "coco", tmp_path / "x.json")
    made = masks_of(source).folder
    assert {path.stat().st_mtime_ns for path in made.iterdir()} == {source.stat().st_mtime_ns}
    assert masks_of(source).folder == made


def test_damaged_outlines_are_listed(masks: Path, tmp_path: Path) -> None:
    source = converted(masks, "coco", tmp_path / "x.json")
    source.write_text(source.read_text().replace('"segmentation":[[', '"segmentation":[[1],[', 1))
    with pytest.raises(DataError, match=r"some outlines cannot be read\n.*a polygon of 1 numbers"):
        evaluate(source, masks)


def test_of_several_files_none_is_taken(masks: Path, tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        converted(masks, "coco", tmp_path / "photographs" / name)
    with pytest.raises(DataError, match=r"several files of outlines, one\.json, two\.json"):
        find_all_pairs(tmp_path / "photographs")


def test_what_only_convert_can_be_told_is_said_with_its_command(tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    square = {"image_id": 1, "iscrowd": 0, "segmentation": [[1, 1, 4, 1, 4, 4, 1, 4]]}
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 6, "width": 8}],
        "categories": [{"id": 1, "name": "lesion"}, {"id": 2, "name": "ruler"}],
        "annotations": [{**square, "id": n, "category_id": n} for n in (1, 2)],
    }
    truth.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"several labels.*\n  `dermseg convert .* has --label"):
        masks_of(truth)
    made = tmp_path / "made"
    convert = ["convert", str(truth), "-o", str(made), "--to", "masks"]
    assert main([*convert, "--label", "lesion"]) == 0
    assert masks_of(made).folder == made


def test_what_one_outline_leaves_open_is_said_with_the_command(masks: Path, tmp_path: Path) -> None:
    source = converted(masks, "geojson", tmp_path / "outlines")
    content = json.loads((source / "a.geojson").read_text())
    (source / "a.geojson").write_text(json.dumps(content["features"]))  # no size
    with pytest.raises(DataError, match=r"a\.jpg: .*\n  `dermseg .* has --photographs; give"):
        masks_of(source)


def test_a_name_is_no_option(masks: Path, tmp_path: Path) -> None:
    source = converted(masks, "geojson", tmp_path / "outlines")
    (source / "no--label.geojson").write_text("{")
    with pytest.raises(DataError, match=r"some outlines cannot be read\n.*no--label") as caught:
        masks_of(source)
    assert "dermseg convert" not in str(caught.value)
