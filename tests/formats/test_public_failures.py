"""What other tools got wrong in public does not go wrong here.

Each failure has a test named after it, here or, where one was there already, in `ELSEWHERE`.
"""

import ast
import json
from io import BytesIO
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from round_trips import NOWHERE, PLAIN, annotations, hard_masks, there_and_back

from dermseg.errors import DataError
from dermseg.formats.annotation import Annotation, Photographs
from dermseg.formats.conversion import FORMS, Reading, convert, read_all
from dermseg.formats.masks import write as write_masks
from dermseg.imaging.photographs import read_photograph
from dermseg.settings import Form, OutlineSettings

ALL: tuple[Form, ...] = get_args(Form)
TESTS = Path(__file__).parent.parent
ELSEWHERE = {
    "COCO polygons have no holes (cocoapi 153, supervision 574)": (
        "formats/test_foreign.py::test_pycocotools_decodes_the_very_masks"
    ),
    "YOLO lines have no holes (ultralytics 1106)": (
        "formats/test_foreign.py::test_polygons_of_every_form_are_the_very_masks_to_pycocotools"
    ),
    "images without annotations are dropped (supervision 188)": (
        "formats/test_conversion.py::test_every_form_gives_back_every_mask_to_the_byte"
    ),
    "CVAT's run lengths go along rows in a box (CVAT 8124)": (
        "formats/test_cvat.py::test_run_lengths_go_along_rows_in_a_box"
    ),
    "Label Studio's run lengths are packed bits of RGBA (label-studio-converter 95)": (
        "formats/test_foreign.py::test_strokes_of_label_studios_converter_are_read"
    ),
    "a JPEG in RGB without a marker is taken for YCbCr (pydicom 1444)": (
        "imaging/test_dicom.py::test_every_form_has_the_pixels_and_the_mask_of_its_image"
    ),
    "one of several frames is taken silently": (
        "imaging/test_dicom.py::test_of_several_frames_one_is_named"
    ),
    "a segmentation has errors for dciodvfy": (
        "formats/test_dicom_seg.py::test_dciodvfy_finds_no_error"
    ),
    "a segmentation lacks type-2 attributes": (
        "formats/test_dicom_seg.py::test_what_the_standard_requires_is_there"
    ),
}
"""A failure, with its issue, and the test that it would break."""


@pytest.mark.parametrize("place", ELSEWHERE.values(), ids=list(ELSEWHERE))
def test_the_test_is_there(place: str) -> None:
    file, _, name = place.partition("::")
    tree = ast.parse((TESTS / file).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def photographed(folder: Path, size: tuple[int, int], orientation: int) -> Photographs:
    """Write a photograph a.jpg of this (height, width)."""
    exif = Image.Exif()
    exif[274] = orientation
    (folder / "photographs").mkdir()
    Image.new("RGB", size[::-1]).save(folder / "photographs" / "a.jpg", exif=exif)
    return Photographs(folder / "photographs")


def written(form: Form, mask: NDArray[np.bool_], folder: Path, orientation: int = 1) -> Path:
    """Write a mask of a.jpg in a form, and return the file or folder."""
    masks = folder / "masks"
    write_masks([Annotation("a.jpg", mask)], masks, PLAIN)
    target = folder / f"out{FORMS[form].FILE}"
    reading = Reading(masks, photographs=photographed(folder, mask.shape, orientation))
    assert convert(reading, target, form, PLAIN).failures == []
    return target


def stated(form: Form, target: Path) -> tuple[int, int]:
    """Return the (height, width) that a file of one photograph says."""
    if form == "cvat":
        image: Any = ElementTree.parse(target).find("image")
        return int(image.get("height")), int(image.get("width"))
    if form == "labelme":
        content = json.loads((target / "a.json").read_text())
        return content["imageHeight"], content["imageWidth"]
    content = json.loads((target / "a.geojson" if form == "geojson" else target).read_text())
    if form == "label-studio":
        content = content[0]["predictions"][0]["result"][0]
        return content["original_height"], content["original_width"]
    content = content["images"][0] if form == "coco" else content
    return content["height"], content["width"]


@pytest.mark.parametrize("form", [form for form in ALL if form not in ("masks", "yolo")])
def test_exif_swaps_height_and_width(form: Form, tmp_path: Path) -> None:
    """supervision 2593, labelme 232: the size is that of one frame, the outline of the other."""
    mask = np.zeros((20, 30), np.bool_)
    mask[2:7, 5:28] = True
    size = stated(form, written(form, mask, tmp_path, orientation=6))
    assert size == ((20, 30) if FORMS[form].FRAME == "stored" else (30, 20))


@pytest.mark.parametrize("form", ALL)
def test_outlines_shift_by_half_a_pixel(form: Form, tmp_path: Path) -> None:
    """OpenCV's contours run through pixels' centres, so that a square of 4 pixels has an area of 1.

    Here outlines run along the edges, in every form, and a pixel is a pixel.
    """
    masks = {}
    for row, column in ((0, 0), (5, 3), (19, 29)):
        masks[f"{row}-{column}"] = np.zeros((20, 30), np.bool_)
        masks[f"{row}-{column}"][row, column] = True
    if form != "yolo":  # which does not say sizes
        target = tmp_path / f"out{FORMS[form].FILE}"
        back = there_and_back(form, masks, target)
        assert all(np.array_equal(back[name], mask) for name, mask in masks.items())
    (tmp_path / "one").mkdir()
    mask = np.zeros((20, 30), np.bool_)
    mask[5:7, 3:5] = True
    target = written(form, mask, tmp_path / "one")
    if form == "yolo":
        corners = np.array((target / "labels/a.txt").read_text().split()[1:], float).reshape(-1, 2)
        corners *= (30, 20)
        assert corners.min(0) == pytest.approx([3, 5], abs=1e-4)
        assert corners.max(0) == pytest.approx([5, 7], abs=1e-4)
    elif form == "coco":
        assert json.loads(target.read_text())["annotations"][0]["bbox"] == [3, 5, 2, 2]
    elif form == "geojson":
        (feature,) = json.loads((target / "a.geojson").read_text())["features"]
        ring = np.array(feature["geometry"]["coordinates"][0])
        assert [*ring.min(0), *ring.max(0)] == [3, 5, 5, 7]


def test_segmentations_are_empty_or_lose_pieces(tmp_path: Path) -> None:
    """supervision 2285: `"segmentation": []`, or the first polygon of several alone."""
    target = tmp_path / "coco.json"
    FORMS["coco"].write(annotations(hard_masks()), target, PLAIN)
    content = json.loads(target.read_text())
    names = {image["id"]: Path(image["file_name"]).stem for image in content["images"]}
    pieces = {names[each["image_id"]]: each["segmentation"] for each in content["annotations"]}
    assert "empty" not in pieces
    assert len(pieces["pieces"]) == 2
    assert len(pieces["corners"]) == 4
    for rings in pieces.values():
        assert rings
        assert all(len(ring) >= 6 and len(ring) % 2 == 0 for ring in rings)


def test_ids_are_not_unique(tmp_path: Path) -> None:
    """supervision 285, 768: ids of annotations, which collide in a file or between splits."""
    mask = np.ones((4, 5), np.bool_)
    parts = {
        split: [Annotation(f"{split}/{number}.jpg", mask) for number in range(200)]
        for split in ("training", "validation")
    }
    ids: list[int] = []
    for split, part in parts.items():
        FORMS["coco"].write(part, tmp_path / f"{split}.json", PLAIN)
        content = json.loads((tmp_path / f"{split}.json").read_text())
        images = [image["id"] for image in content["images"]]
        assert [each["image_id"] for each in content["annotations"]] == images
        ids += [each["id"] for each in content["annotations"]]
    assert len(set(ids)) == 400


@pytest.mark.parametrize("runs", ["0, 13", "3, 3, 3", "12, 1"])
def test_run_lengths_are_longer_than_their_mask(runs: str, tmp_path: Path) -> None:
    """CVAT 9460: run lengths that add up to more or less than the box stop a whole export."""
    shape = '<mask label="lesion" left="0" top="0" width="4" height="3"'
    images = (
        f'<image id="0" name="bad.jpg" width="9" height="9">{shape} rle="{runs}"/></image>'
        f'<image id="1" name="good.jpg" width="9" height="9">{shape} rle="2, 10"/></image>'
    )
    (tmp_path / "a.xml").write_text(f"<annotations>{images}</annotations>")
    done = convert(Reading(tmp_path / "a.xml"), tmp_path / "masks", "masks", PLAIN)
    assert done.written == 1
    assert len(done.failures) == 1
    assert "bad.jpg" in done.failures[0]


def test_written_run_lengths_fill_their_box(tmp_path: Path) -> None:
    """CVAT 9460, the other way: none is written that CVAT could not read."""
    FORMS["cvat"].write(annotations(hard_masks()), tmp_path / "a.xml", OutlineSettings(rle=True))
    shapes = list(ElementTree.parse(tmp_path / "a.xml").iter("mask"))
    assert len(shapes) == len(hard_masks()) - 1
    for shape in shapes:
        said: dict[str, str] = shape.attrib
        assert sum(map(int, said["rle"].split(","))) == int(said["width"]) * int(said["height"])


@pytest.mark.parametrize("form", ALL)
def test_a_stray_pixel_breaks_the_polygon(form: Form, tmp_path: Path) -> None:
    """CVAT 7520: one pixel apart, and the polygons of a mask are broken or missing."""
    mask = np.zeros((20, 30), np.bool_)
    mask[5:15, 5:25] = True
    mask[2, 2] = mask[4, 4] = True  # one apart, one that touches a corner
    target = written(form, mask, tmp_path)
    photographs = Photographs(tmp_path / "photographs")
    (entry,) = read_all(Reading(target, photographs=photographs))
    assert np.array_equal(entry.load().mask, mask)
    done = convert(
        Reading(target, photographs=photographs),
        tmp_path / "largest.json",
        "coco",
        OutlineSettings(one="largest"),
    )
    assert done.lost == {"a.jpg": 1}


def test_a_hole_is_a_piece_of_its_own(tmp_path: Path) -> None:
    """detectron2 489: two rings of one COCO outline are two pieces, never a piece and its hole."""
    rings = [[10, 10, 40, 10, 40, 40, 10, 40], [20, 20, 30, 20, 30, 30, 20, 30]]
    image = {"id": 1, "file_name": "a.jpg", "height": 50, "width": 50}
    outline = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": rings}
    (tmp_path / "a.json").write_text(json.dumps({"images": [image], "annotations": [outline]}))
    (entry,) = FORMS["coco"].read(tmp_path / "a.json", NOWHERE, None)
    assert entry.load().mask.sum() == 30 * 30


def test_a_polygon_without_its_list(tmp_path: Path) -> None:
    """supervision 205: `"segmentation": [x, y, ...]`, a ring where a list of rings belongs."""
    image = {"id": 1, "file_name": "a.jpg", "height": 50, "width": 50}
    outline = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [1, 1, 9, 1, 9, 9]}
    (tmp_path / "a.json").write_text(json.dumps({"images": [image], "annotations": [outline]}))
    (entry,) = FORMS["coco"].read(tmp_path / "a.json", NOWHERE, None)
    with pytest.raises(DataError, match=r"a\.json"):
        entry.load()


@pytest.mark.parametrize("jfif", [True, False])
def test_a_data_set_says_rgb_of_a_jpeg_in_ycbcr(jfif: bool) -> None:
    """Bio-Formats 4161: converters code the colours again and leave "RGB" in the data set."""
    pytest.importorskip("pydicom")
    from dicom_files import data_set, file_of
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit, VLPhotographicImageStorage

    pixels = np.tile(np.array([[[200, 120, 90], [90, 50, 40]]], np.uint8), (16, 16, 1))
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", subsampling=0 if jfif else 2)
    coded = buffer.getvalue()
    if not jfif:
        length = int.from_bytes(coded[4:6], "big") + 2
        coded = coded[:2] + coded[2 + length :]
    data = data_set(pixels, VLPhotographicImageStorage)
    assert data.PhotometricInterpretation == "RGB"
    content = file_of(data, JPEGBaseline8Bit, encapsulate([coded]))
    found = read_photograph(BytesIO(content)).pixels
    assert np.array_equal(found, np.asarray(Image.open(buffer)))
