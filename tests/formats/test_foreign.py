"""Other tools read what is written here. Most need the extra "formats-test"."""

import json
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from round_trips import NOWHERE, annotations, hard_masks

from dermseg.formats import coco, cvat, label_studio, labelme
from dermseg.formats.annotation import Annotation, Photographs
from dermseg.formats.conversion import FORMS, Reading, convert
from dermseg.masks.runs import run_lengths
from dermseg.settings import Form, OutlineSettings

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"  # pycocotools'
)
Mask = NDArray[np.bool_]
ORIENTATION = 274
AS_STORED = ("coco", "geojson")
"""Forms whose tools ignore EXIF; those of the others turn the photograph first."""


def random_masks() -> dict[str, Mask]:
    """Return noise at several densities, and the hard masks."""
    draw = np.random.default_rng(25)
    noise = {f"noise-{n}": draw.random((31, 23)) < n / 40 for n in range(1, 40)}
    return {**hard_masks(), **noise}


@pytest.mark.parametrize("rle", [False, True])
def test_pycocotools_decodes_the_very_masks(tmp_path: Path, rle: bool) -> None:
    tools = pytest.importorskip("pycocotools.coco")
    masks, path = random_masks(), tmp_path / "coco.json"
    coco.write(annotations(masks), path, OutlineSettings(rle=rle))
    foreign = tools.COCO(str(path))
    assert len(foreign.imgs) == len(masks)
    for number, image in foreign.imgs.items():
        expected = masks[Path(image["file_name"]).stem]
        found = foreign.loadAnns(foreign.getAnnIds(imgIds=[number]))
        assert len(found) == int(expected.any())
        for annotation in found:
            assert np.array_equal(foreign.annToMask(annotation), expected)
            assert annotation["area"] == expected.sum()


def test_run_lengths_are_pycocotools_to_the_byte() -> None:
    codec = pytest.importorskip("pycocotools.mask")
    for mask in random_masks().values():
        theirs = codec.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        assert coco.compress(run_lengths(mask.T.ravel())) == theirs.decode()


def test_what_pycocotools_writes_is_read(tmp_path: Path) -> None:
    codec = pytest.importorskip("pycocotools.mask")
    masks = random_masks()
    images, outlines = [], []
    for number, (name, mask) in enumerate(masks.items()):
        height, width = mask.shape
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        encoded: dict[str, Any] = codec.encode(np.asfortranarray(mask.astype(np.uint8)))
        segmentation = {"size": encoded["size"], "counts": encoded["counts"].decode()}
        outlines.append({"image_id": number, "category_id": 1, "segmentation": segmentation})
    path = tmp_path / "coco.json"
    path.write_text(json.dumps({"images": images, "annotations": outlines}))
    loaded: list[Annotation] = [entry.load() for entry in coco.read(path, NOWHERE, None)]
    for annotation in loaded:
        assert np.array_equal(annotation.mask, masks[annotation.photograph])


@pytest.mark.parametrize("rle", [False, True])
def test_datumaro_decodes_the_very_masks_of_cvat(tmp_path: Path, rle: bool) -> None:
    datumaro = pytest.importorskip("datumaro")
    masks, path = random_masks(), tmp_path / "annotations.xml"
    cvat.write(annotations(masks), path, OutlineSettings(rle=rle))
    (tmp_path / "images/folder").mkdir(parents=True)
    for name, mask in masks.items():
        Image.fromarray(mask).convert("L").save(tmp_path / f"images/folder/{name}.jpg")
    items = list(datumaro.Dataset.import_from(str(tmp_path), "cvat"))
    assert len(items) == len(masks)
    codec = pytest.importorskip("pycocotools.mask")
    for item in items:
        expected = masks[Path(item.id).stem]
        found = np.zeros_like(expected)
        for annotation in item.annotations:
            if rle:
                found |= np.asarray(annotation.image, np.bool_)
            else:
                runs = codec.frPyObjects([annotation.points], *expected.shape)
                found |= codec.decode(codec.merge(runs)).astype(np.bool_)
        assert np.array_equal(found, expected), item.id


@pytest.mark.parametrize("rle", [False, True])
def test_labelme_opens_the_files(tmp_path: Path, rle: bool) -> None:
    pytest.importorskip("labelme")
    shapes = pytest.importorskip("labelme.utils.shape")
    files = pytest.importorskip("labelme._label_file")
    masks = random_masks()
    labelme.write(annotations(masks), tmp_path, OutlineSettings(rle=rle))
    for name, expected in masks.items():
        content = json.loads((tmp_path / f"folder/{name}.json").read_text())
        loaded = [files._load_shape_json_obj(shape) for shape in content["shapes"]]
        found = shapes.shapes_to_label(expected.shape, loaded, {"lesion": 1})[0] > 0
        if rle:
            assert np.array_equal(found, expected)
        else:  # it fills what its lines touch too
            grown = cv2.dilate(expected.view(np.uint8), np.ones((3, 3), np.uint8)) > 0
            assert (expected <= found).all()
            assert (found <= grown).all()


def test_label_studios_converter_decodes_the_very_strokes(tmp_path: Path) -> None:
    brush = pytest.importorskip("label_studio_converter.brush")
    masks, path = hard_masks(), tmp_path / "tasks.json"
    label_studio.write(annotations(masks), path, OutlineSettings(rle=True))
    for task in json.loads(path.read_text()):
        expected = masks[Path(task["data"]["image"]).stem]
        regions = task["predictions"][0]["result"]
        flat = [{**region, **region["value"]} for region in regions]  # as its converter does
        layers = brush.decode_from_annotation("label", flat)
        assert len(layers) == int(expected.any())
        for layer in layers.values():
            assert np.array_equal(layer > 0, expected)


def test_strokes_of_label_studios_converter_are_read() -> None:
    brush = pytest.importorskip("label_studio_converter.brush")
    for mask in hard_masks().values():
        packed = brush.mask2rle(mask.astype(np.uint8) * 255)
        assert np.array_equal(label_studio.unpack(bytes(packed), mask.shape), mask)


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Image.Image], Path]:
    """Return masks with each EXIF orientation of their photographs, and the folder of both."""
    folder = tmp_path_factory.mktemp("turned")
    masks = {}
    for number, (name, mask) in enumerate(random_masks().items()):
        for orientation in range(1, 9) if name in hard_masks() else [1 + number % 8]:
            image = Image.fromarray(mask)
            image.getexif()[ORIENTATION] = orientation
            masks[f"{name}-{orientation}"] = image
    for name, image in masks.items():
        photograph = folder / f"photographs/folder/{name}.jpg"
        photograph.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", image.size).save(photograph, exif=image.getexif())
    FORMS["masks"].write(
        annotations({name: np.asarray(image) for name, image in masks.items()}),
        folder / "masks",
        OutlineSettings(),
    )
    return masks, folder


@cache
def parsed(path: Path) -> Any:
    """Return what a file holds that has all photographs."""
    return json.loads(path.read_text(encoding="utf-8"))


def polygons(form: Form, target: Path, name: str, size: tuple[int, int]) -> list[Any]:
    """Return the polygons of a photograph as they stand in a form's files, in pixels."""
    if form == "yolo":
        lines = (target / f"labels/folder/{name}.txt").read_text().splitlines()
        return [np.array(line.split()[1:], float).reshape(-1, 2) * size for line in lines]
    if form == "cvat":
        drawn = ElementTree.parse(target).findall(f"image[@name='folder/{name}.jpg']/polygon")
        return [[p.split(",") for p in each.attrib["points"].split(";")] for each in drawn]
    if form == "labelme":
        shapes = json.loads((target / f"folder/{name}.json").read_text())["shapes"]
        return [shape["points"] for shape in shapes]
    if form == "geojson":
        features = json.loads((target / f"folder/{name}.geojson").read_text())["features"]
        shapes = [feature["geometry"] for feature in features]
        several = [
            s["coordinates"] if s["type"] == "MultiPolygon" else [s["coordinates"]] for s in shapes
        ]
        return [ring for pieces in several for rings in pieces for ring in rings]
    content = parsed(target)
    if form == "coco":
        number = {image["file_name"]: image["id"] for image in content["images"]}
        found = [a for a in content["annotations"] if a["image_id"] == number[f"folder/{name}.jpg"]]
        return [polygon for each in found for polygon in each["segmentation"]]
    (task,) = [each for each in content if each["data"]["image"].endswith(f"/{name}.jpg")]
    regions = task["predictions"][0]["result"]
    return [np.array(each["value"]["points"]) * size / 100 for each in regions]


@pytest.mark.parametrize("form", [form for form in FORMS if form != "masks"])
def test_polygons_of_every_form_are_the_very_masks_to_pycocotools(
    form: Form, turned: tuple[dict[str, Image.Image], Path], tmp_path: Path
) -> None:
    codec = pytest.importorskip("pycocotools.mask")
    masks, folder = turned
    reading = Reading(folder / "masks", photographs=Photographs(folder / "photographs"))
    target = tmp_path / f"out{FORMS[form].FILE}"
    assert convert(reading, target, form, OutlineSettings()).failures == []
    for name, mask in masks.items():
        expected = mask if form in AS_STORED else ImageOps.exif_transpose(mask)
        found = np.zeros((expected.height, expected.width), np.bool_)
        for polygon in polygons(form, target, name, expected.size):
            flat = np.array(polygon, float).ravel().tolist()
            found ^= codec.decode(codec.frPyObjects([flat], *found.shape))[..., 0].astype(np.bool_)
        assert np.array_equal(found, np.asarray(expected)), name
