import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dermseg.formats import geojson

PLACES = st.lists(st.tuples(st.integers(0, 999), st.integers(0, 999)), min_size=1)


@given(PLACES)
def test_a_ring_is_closed_and_holds_every_place(places: list[tuple[int, int]]) -> None:
    feature = json.loads(geojson.write(np.array(places, np.int32), (1000, 1000), {}))
    (ring,) = feature["geometry"]["coordinates"]
    assert ring[0] == ring[-1]
    assert [tuple(place) for place in ring[:-1]] == places


def test_without_an_outline_there_is_no_geometry() -> None:
    feature = json.loads(geojson.write(np.zeros((0, 2), np.int32), (30, 40), {"flags": ["empty"]}))
    assert feature["geometry"] is None
    assert feature["properties"] == {
        "height": 30,
        "width": 40,
        "flags": ["empty"],
        "units": geojson.UNITS,
    }
