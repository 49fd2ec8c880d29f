from xml.etree import ElementTree

import numpy as np

from dermseg.formats import svg

NAMES = {"svg": "http://www.w3.org/2000/svg"}


def test_a_line_through_the_pixels_centres() -> None:
    drawing = ElementTree.fromstring(
        svg.write([np.array([[0, 0], [9, 0], [9, 4]], np.int32)], (600, 800), "Outline by <a> & b")
    )
    polygon, title = drawing.find("*/svg:polygon", NAMES), drawing.find("svg:title", NAMES)
    group = drawing.find("svg:g", NAMES)
    assert polygon is not None
    assert title is not None
    assert group is not None
    assert polygon.get("points") == "0.5,0.5 9.5,0.5 9.5,4.5"
    assert group.get("stroke-width") == "2"
    assert (drawing.get("width"), drawing.get("height")) == ("800", "600")
    assert title.text == "Outline by <a> & b"


def test_each_piece_and_hole_has_a_polygon() -> None:
    square = np.array([[0, 0], [9, 0], [9, 4]], np.int32)
    drawing = ElementTree.fromstring(svg.write([square, square + 20], (30, 40), "Outline"))
    polygons = drawing.findall("*/svg:polygon", NAMES)
    assert [each.get("points", "").split()[0] for each in polygons] == ["0.5,0.5", "20.5,20.5"]


def test_without_an_outline_nothing_is_drawn() -> None:
    drawing = ElementTree.fromstring(svg.write([], (30, 40), "Outline"))
    assert drawing.findall("*/svg:polygon", NAMES) == []
