import json
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
from dermseg.formats import geojson
from dermseg.formats.annotation import Annotation, Photographs
from dermseg.masks.polygons import trace
from dermseg.settings import OutlineSettings


@ON_DISK
@given(MASKS)
def test_masks_come_back_to_the_pixel(
    tmp_path_factory: pytest.TempPathFactory, masks: list[Mask]
) -> None:
    named = {str(number): mask for number, mask in enumerate(masks)}
    if named:
        target = tmp_path_factory.mktemp("geojson")
        assert_same(named, there_and_back("geojson", named, target))


def test_holes_are_rings_and_pieces_are_polygons(tmp_path: Path) -> None:
    geojson.write(annotations(hard_masks()), tmp_path, OutlineSettings(label="naevus"))
    found = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "folder").iterdir()}
    assert found["empty"]["features"] == []
    assert (found["empty"]["height"], found["empty"]["width"]) == (24, 30)
    (hole,) = found["hole"]["features"]
    assert [len(ring) for ring in hole["geometry"]["coordinates"]] == [5, 5, 5]
    (pieces,) = found["pieces"]["features"]
    assert pieces["geometry"]["type"] == "MultiPolygon"
    assert pieces["properties"]["classification"]["name"] == "naevus"
    assert all(r[0] == r[-1] for p in pieces["geometry"]["coordinates"] for r in p)


def test_without_an_outline_there_is_no_geometry() -> None:
    feature = geojson.feature([], {"flags": ["empty"]})
    assert feature == {"type": "Feature", "geometry": None, "properties": {"flags": ["empty"]}}


def test_another_programs_file_has_its_photographs_size(tmp_path: Path) -> None:
    mask = np.zeros((6, 8), np.bool_)
    mask[1:4, 2:7] = True
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([geojson.feature(trace(mask), {})]))
    (entry,) = geojson.read(path, Photographs(tmp_path), None)
    assert np.array_equal(entry.load().mask, mask)
    (entry,) = geojson.read(path, NOWHERE, None)
    with pytest.raises(DataError, match="name the photographs' folder"):
        entry.load()


def test_a_feature_of_the_service_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(geojson.feature([], {"height": 3, "width": 4})))
    (entry,) = geojson.read(path, NOWHERE, None)
    assert entry.load().mask.shape == (3, 4)


@pytest.mark.parametrize(
    "value",
    [
        7,
        {"height": 3, "width": 4, "features": [7]},
        {"height": 3, "width": 4, "features": [{"geometry": {"type": "Point"}}]},
        {
            "height": 3,
            "width": 4,
            "features": [{"properties": {}, "geometry": {"type": "Point", "coordinates": [1, 2]}}],
        },
        {
            "height": 3,
            "width": 4,
            "features": [{"properties": {}, "geometry": {"type": "Polygon", "coordinates": [[1]]}}],
        },
    ],
)
def test_a_damaged_file_costs_itself_and_is_named(tmp_path: Path, value: Any) -> None:
    geojson.write([Annotation("b.jpg", np.ones((2, 2), np.bool_))], tmp_path, OutlineSettings())
    (tmp_path / "a.geojson").write_text(json.dumps(value))
    damaged, whole = geojson.read(tmp_path, NOWHERE, None)
    with pytest.raises(DataError, match=r"a\.geojson: not GeoJSON"):
        damaged.load()
    assert whole.load().mask.all()


def test_labels_are_told_apart(tmp_path: Path) -> None:
    for number, label in enumerate(("lesion", "hair")):
        mask = np.zeros((4, 4), np.bool_)
        mask[number] = True
        named = {"classification": {"name": label}, "height": 4, "width": 4}
        (tmp_path / f"{number}.json").write_text(json.dumps(geojson.feature(trace(mask), named)))
    both = [json.loads((tmp_path / f"{n}.json").read_text()) for n in (0, 1)]
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"height": 4, "width": 4, "features": both}))
    (entry,) = geojson.read(path, NOWHERE, "hair")
    assert entry.load().mask.sum(axis=1).tolist() == [0, 4, 0, 0]
    (entry,) = geojson.read(path, NOWHERE, None)
    with pytest.raises(DataError, match="several labels"):
        entry.load()


def test_the_script_for_qupath_knows_the_label_and_the_folder() -> None:
    script = (Path(__file__).parents[2] / "examples" / "qupath.groovy").read_text(encoding="utf-8")
    assert f'def label = "{OutlineSettings().name}"' in script
    assert 'def folder = "masks/geojson"' in script
