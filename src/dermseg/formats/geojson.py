"""An outline as a GeoJSON feature, for programs that know regions as polygons (RFC 7946)."""

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

UNITS = "pixels of the photograph as stored, x to the right, y down"


def write(
    outline: NDArray[np.int32], size: tuple[int, int], properties: Mapping[str, object]
) -> str:
    """Write an outline as a GeoJSON feature.

    GeoJSON counts y upwards, as maps do. Here it counts downwards, as pictures do; the feature's
    property `units` says so.

    Parameters
    ----------
    outline
        x and y of the border's pixels, int32 (n, 2); (0, 2) where there is no lesion.
    size
        The photograph's (height, width) in pixels.
    properties
        Properties of the feature, ready for JSON. `height`, `width` and `units` are added.

    Returns
    -------
    str
        The feature. Its geometry is a polygon of one closed ring, or null without an outline.

    Examples
    --------
    >>> text = write(np.array([[1, 1], [3, 1], [3, 2]], np.int32), (4, 6), {"area": 5})
    >>> json.loads(text)["geometry"]["coordinates"]
    [[[1, 1], [3, 1], [3, 2], [1, 1]]]
    """
    ring = outline.tolist()
    height, width = size
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*ring, *ring[:1]]]} if ring else None,
        "properties": {"height": height, "width": width, **properties, "units": UNITS},
    }
    return json.dumps(feature)
