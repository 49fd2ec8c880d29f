"""Elements of large files are what the standard library's parsers find in them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from round_trips import ON_DISK

from dermseg.formats import elements
from dermseg.formats.elements import Element, json_elements, xml_elements

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("large"), inner),
    max_leaves=12,
)
KEEP: dict[str, Callable[[Any], Any]] = {"large": repr, "": repr}


@pytest.fixture(autouse=True)
def _read_little_by_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "CHUNK", 3)


def plain(content: Any) -> Any:
    """Return what was found with the elements read again, each as what was kept of it says."""
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items()}
    if not isinstance(content, list):
        return content
    values = [each.json() if isinstance(each, Element) else each for each in content]
    for element, value in zip(content, values, strict=True):
        assert not isinstance(element, Element) or element.kept == repr(value)
    return values


@ON_DISK
@given(
    value=VALUES,
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    mark=st.sampled_from(["", "\ufeff"]),
)
def test_json_is_what_it_is_as_a_whole(
    tmp_path_factory: pytest.TempPathFactory,
    value: Any,
    indent: int | None,
    ascii_only: bool,
    mark: str,
) -> None:
    path = tmp_path_factory.mktemp("elements") / "a.json"
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    path.write_bytes((mark + text).encode())
    found = json_elements(path, KEEP)
    assert plain(found) == json.loads(text)
    large = found.get("large") if isinstance(found, dict) else found
    assert not isinstance(large, list) or all(isinstance(each, Element) for each in large)


TOKENS = st.sampled_from([*'[]{},:" \n\\', '"large"', "12", "-", "true", "nul", "1e5", "é"])


@ON_DISK
@given(st.lists(TOKENS, max_size=12).map("".join))
def test_what_is_no_json_is_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("elements") / "a.json"
    path.write_text(text, encoding="utf-8")
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(ValueError, match="byte"):
            json_elements(path, KEEP)
    else:
        assert plain(json_elements(path, KEEP)) == expected


def test_a_fault_is_said_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"é": 1,\n "large": [1, 2, nil]}', encoding="utf-8")
    with pytest.raises(ValueError, match="Expecting value at byte 27"):
        json_elements(path, KEEP)
    path.write_bytes(b'["\xff"]')
    with pytest.raises(ValueError, match="decode byte 0xff"):
        json_elements(path, KEEP)


def test_a_fault_is_said_where_it_is_in_a_file_that_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elements, "CHUNK", 1 << 20)
    path = tmp_path / "a.json"
    path.write_text('{"é": 1,\n "large": [1, 2, nil]}', encoding="utf-8")
    with pytest.raises(ValueError, match="Expecting value at byte 27"):
        json_elements(path, KEEP)
    path.write_text(" 12-")
    with pytest.raises(ValueError, match="the end is missing at byte 3"):
        json_elements(path, KEEP)


NAMES = st.text("aäß<&'\"", max_size=3)


@ON_DISK
@given(
    names=st.lists(NAMES, max_size=4),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1", "ascii"]),
)
def test_xml_is_what_it_is_as_a_whole(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], encoding: str
) -> None:
    root = ElementTree.Element("annotations")
    for name in names:
        image = ElementTree.SubElement(root, "image", name=name)
        image.tail = "\n  "
        for _ in name:
            inside = ElementTree.SubElement(image, "polygon", points=name)
            ElementTree.SubElement(inside, "image", name="deeper")
        other = ElementTree.SubElement(root, "task")
        ElementTree.SubElement(other, "image", name="not right below the root")
        root.append(ElementTree.Comment("<image>"))
    path = tmp_path_factory.mktemp("elements") / "a.xml"
    declared = encoding.removesuffix("-sig").removesuffix("-be")
    text = ElementTree.tostring(root, "unicode")
    if declared != "utf-16":
        text = text.encode(declared, "xmlcharrefreplace").decode(declared)
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    written = f'{mark}<?xml version="1.0" encoding="{declared}"?>\n{text}'
    path.write_bytes(written.encode(encoding))

    found = xml_elements(path, "image", lambda own, inside: (own["name"], len(inside)))
    assert [each.kept for each in found] == [(name, len(name)) for name in names]
    expected = ElementTree.parse(path).getroot().findall("image")
    for element, image in zip(found, expected, strict=True):
        image.tail = None
        assert ElementTree.tostring(element.xml()) == ElementTree.tostring(image)


@pytest.mark.parametrize("head", ["", '<?xml version="1.0" encoding="utf-16"?>'])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_xml_of_two_bytes_a_character_needs_no_mark(
    tmp_path: Path, encoding: str, head: str
) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(f'{head}<a><image name="ä"/></a>'.encode(encoding))
    (element,) = xml_elements(path, "image", lambda own, _: own["name"])
    assert element.kept == "ä"
    assert element.xml().attrib == {"name": "ä"}


def test_xml_that_declares_a_document_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    kind = '<!DOCTYPE a [<!ATTLIST polygon label CDATA "lesion">]>'
    path.write_text(f'{kind}<a><image name="b"><polygon points="1,1"/></image></a>')
    with pytest.raises(ValueError, match="declares a document type"):
        xml_elements(path, "image", lambda own, _: own)


def test_an_element_that_has_changed_since_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<a><image/></a>")
    (element,) = xml_elements(path, "image", lambda own, _: own)
    path.write_text("<a><imag/></a>>")
    with pytest.raises(ValueError, match=r"unclosed token|written again"):
        element.xml()


def test_no_other_element_is_read_in_the_place_of_one_that_has_moved(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[1, 2]")
    first, _ = json_elements(path, KEEP)
    path.write_text("[2, 1]")
    os.utime(path, (0, 0))
    with pytest.raises(ValueError, match="the file was written again meanwhile"):
        first.json()
