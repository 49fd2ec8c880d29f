"""Other tools read what is written here. They need the extra "formats-test"."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from round_trips import NOWHERE, annotations, hard_masks

from dermseg.formats import coco
from dermseg.formats.annotation import Annotation, Writing
from dermseg.masks.runs import run_lengths

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
    coco.write(annotations(masks), path, Writing(rle=rle))
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
