"""Other tools read what is written here. They need the extra "formats-test"."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from round_trips import NOWHERE, annotations, hard_masks

from dermseg.formats import coco, cvat, label_studio, labelme, yolo
from dermseg.formats.annotation import Annotation
from dermseg.masks.runs import run_lengths
from dermseg.settings import OutlineSettings

Mask = NDArray[np.bool_]


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


def test_polygons_of_label_studio_are_the_very_masks_to_pycocotools(tmp_path: Path) -> None:
    codec = pytest.importorskip("pycocotools.mask")
    masks, path = random_masks(), tmp_path / "tasks.json"
    label_studio.write(annotations(masks), path, OutlineSettings())
    for task in json.loads(path.read_text()):
        expected = masks[Path(task["data"]["image"]).stem]
        height, width = expected.shape
        found = np.zeros_like(expected)
        for region in task["predictions"][0]["result"]:
            places = np.array(region["value"]["points"]) * (width, height) / 100
            runs = codec.frPyObjects([places.ravel().tolist()], height, width)
            found |= codec.decode(codec.merge(runs)).astype(np.bool_)
        assert np.array_equal(found, expected)


def test_lines_of_yolo_are_the_very_masks_to_pycocotools(tmp_path: Path) -> None:
    codec = pytest.importorskip("pycocotools.mask")
    masks = random_masks()
    yolo.write(annotations(masks), tmp_path, OutlineSettings())
    for name, expected in masks.items():
        height, width = expected.shape
        found = np.zeros_like(expected)
        for line in (tmp_path / f"labels/folder/{name}.txt").read_text().splitlines():
            places = np.array(line.split()[1:], float).reshape(-1, 2) * (width, height)
            runs = codec.frPyObjects([places.ravel().tolist()], height, width)
            found |= codec.decode(codec.merge(runs)).astype(np.bool_)
        assert np.array_equal(found, expected)
