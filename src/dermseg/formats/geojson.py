"""GeoJSON, which QuPath reads: a file for each photograph, polygons with holes, as stored."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dermseg.formats.annotation import (
    Annotation,
    Entry,
    Frame,
    Photographs,
    choose_label,
    find_files,
    frame_size,
    read_json,
    safe_name,
    understood,
)
from dermseg.imaging.orientation import exchanges_sides
from dermseg.imaging.overlay import RESULT_COLOR
from dermseg.imaging.photographs import Header, read_header, suffix_of, with_ending
from dermseg.masks.polygons import Polygon, Ring, fill
from dermseg.settings import OutlineSettings
from dermseg.storage.files import write_json

FRAME: Frame = "stored"
FILE = ""
KIND = "GeoJSON"
UNITS = "pixels of the photograph as stored, x to the right, y down"


def feature(polygons: Sequence[Polygon], properties: Mapping[str, object]) -> dict[str, object]:
    """Return a lesion as a GeoJSON feature.

    GeoJSON counts y upwards, as maps do. Here it counts downwards, as pictures do.

    Parameters
    ----------
    polygons
        The lesion's pieces, whole numbers along the edges of pixels; none without a lesion.
    properties
        Properties of the feature, ready for JSON.

    Returns
    -------
    dict
        The feature. Its geometry is a polygon with its holes, a multipolygon for several pieces, or
        null.

    Examples
    --------
    >>> square = Polygon(np.array([[1.0, 1], [3, 1], [3, 2], [1, 2]]))
    >>> feature([square], {"area": 2})["geometry"]["coordinates"]
    [[[1, 1], [3, 1], [3, 2], [1, 2], [1, 1]]]
    """
    pieces = [[_closed(ring) for ring in (polygon.outer, *polygon.holes)] for polygon in polygons]
    geometry: dict[str, object] | None = None
    if len(pieces) == 1:
        geometry = {"type": "Polygon", "coordinates": pieces[0]}
    elif pieces:
        geometry = {"type": "MultiPolygon", "coordinates": pieces}
    return {"type": "Feature", "geometry": geometry, "properties": dict(properties)}


def _closed(ring: Ring) -> list[list[int]]:
    corners: list[list[int]] = ring.astype(np.int64).tolist()
    return [*corners, corners[0]]


def write(annotations: Iterable[Annotation], target: Path, settings: OutlineSettings) -> None:
    """Write outlines as GeoJSON, `<name>.geojson`: a collection of one feature, or of none.

    Beside the features, a collection has the photograph's name and size, which GeoJSON does not
    know and other readers pass over. The label is QuPath's classification.

    The format: RFC 7946; QuPath's properties: https://qupath.readthedocs.io
    """
    target.mkdir(parents=True, exist_ok=True)
    for annotation in annotations:
        path = target / with_ending(Path(annotation.photograph), ".geojson")
        write_json(path, collection(annotation, settings.name), compact=True)


def collection(annotation: Annotation, label: str) -> dict[str, object]:
    """Return a photograph's outline, called `label`, as a GeoJSON feature collection."""
    classification = {"name": label, "color": RESULT_COLOR}
    properties = {"objectType": "annotation", "classification": classification}
    height, width = annotation.size
    return {
        "type": "FeatureCollection",
        "photograph": annotation.photograph,
        "height": height,
        "width": width,
        "units": UNITS,
        "features": ([feature(annotation.polygons, properties)] if annotation.polygons else []),
    }


def read(source: Path, photographs: Photographs, label: str | None) -> Iterator[Entry]:
    """Read GeoJSON files: polygons and multipolygons, alone or in collections.

    `photographs` tell the sizes of files that other programs wrote. Labels are told apart in each
    file, whose entry raises DataError if it has several.
    """
    for path, name in find_files(source, ".geojson", "GeoJSON"):
        yield Entry(name.as_posix(), partial(_load, path, name, photographs, label))


def _load(path: Path, name: Path, photographs: Photographs, label: str | None) -> Annotation:
    content = read_json(path, KIND)
    with understood(path, KIND):
        features = content if isinstance(content, list) else content.get("features", [content])
        facts = {} if isinstance(content, list) else content.get("properties") or content
        if "photograph" in facts:
            name = with_ending(name, suffix_of(Path(safe_name(str(facts["photograph"])))))
        photograph = name.as_posix()
        if "height" in facts:
            header, size = None, frame_size(facts["height"], facts["width"])
        else:
            header = read_header(photographs.require(photograph, "GeoJSON does not say its size"))
            size = header.size
        found = [(_label(each["properties"] or {}), each["geometry"]) for each in features]
        choose_label((each for each, _ in found if each), label, path)
        polygons = [
            polygon
            for own, geometry in found
            if geometry and (label is None or own == label)
            for polygon in _polygons(geometry)
        ]
        if header is not None:
            _check_frame(polygons, header)
        mask = np.zeros(size, np.bool_)
        for polygon in polygons:
            mask |= fill(polygon, size)
        return Annotation(photograph, mask)


def _label(properties: dict[str, Any]) -> str:
    known = properties.get("classification") or {}
    return str(known.get("name", ""))


def _polygons(geometry: dict[str, Any]) -> list[list[Ring]]:
    if geometry["type"] not in ("Polygon", "MultiPolygon"):
        raise ValueError(f"a {geometry['type']} is no outline")
    pieces = geometry["coordinates"]
    return [
        [np.array(ring, np.float64)[:, :2] for ring in polygon]
        for polygon in ([pieces] if geometry["type"] == "Polygon" else pieces)
    ]


def _check_frame(polygons: list[list[Ring]], photograph: Header) -> None:
    """Raise ValueError for an outline that fits its photograph only as EXIF shows it."""
    corners = [ring.max(axis=0) for polygon in polygons for ring in polygon]
    if not corners or not exchanges_sides(photograph.orientation):
        return
    reach = np.max(corners, axis=0)
    if (reach > photograph.size[::-1]).any() and (reach <= photograph.size).all():
        raise ValueError(
            "it fits its photograph only as EXIF shows it, and GeoJSON counts the pixels as "
            "stored; let the tool that drew it leave EXIF alone"
        )
