from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
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

from dermseg.errors import DataError, DermsegError
from dermseg.formats import cvat
from dermseg.formats.annotation import Annotation
from dermseg.settings import OutlineSettings

TRIANGLE = '<polygon label="lesion" points="0,0;4,0;0.00,4"/>'


def load(folder: Path, shapes: str, label: str | None = None, height: str = "4") -> Annotation:
    image = f'<image id="0" name="a.jpg" width="5" height="{height}">{shapes}</image>'
    (folder / "a.xml").write_text(f"<annotations>{image}</annotations>")
    (entry,) = cvat.read(folder / "a.xml", NOWHERE, label)
    return entry.load()


@pytest.mark.parametrize("rle", [False, True])
@ON_DISK
@given(masks=MASKS)
def test_masks_come_back_to_the_pixel(
    tmp_path_factory: pytest.TempPathFactory, masks: list[Mask], rle: bool
) -> None:
    named = {f'"<{number}>&': mask for number, mask in enumerate(masks)}
    if named:
        target = tmp_path_factory.mktemp("cvat") / "annotations.xml"
        assert_same(named, there_and_back("cvat", named, target, OutlineSettings(rle=rle)))


def test_pieces_share_a_group_and_no_lesion_is_no_shape(tmp_path: Path) -> None:
    cvat.write(annotations(hard_masks()), tmp_path / "a.xml", OutlineSettings(label="<mole>"))
    root = ElementTree.parse(tmp_path / "a.xml").getroot()
    images = {Path(image.attrib["name"]).stem: image for image in root.findall("image")}
    assert [int(image.attrib["id"]) for image in images.values()] == list(range(8))
    assert not list(images["empty"])
    assert [shape.get("group_id") for shape in images["pieces"]] == ["1", "1"]
    assert images["hole"][0].attrib["label"] == "<mole>"
    assert root.findtext("meta/task/labels/label/name") == "<mole>"


def test_run_lengths_go_along_rows_in_a_box(tmp_path: Path) -> None:
    box = 'left="1" top="2" width="3" height="2"'
    annotation = load(tmp_path, f'<mask label="lesion" rle="1, 2, 2, 1" {box}/>')
    assert annotation.mask.astype(int).tolist() == [
        [0] * 5,
        [0] * 5,
        [0, 0, 1, 1, 0],
        [0, 0, 0, 1, 0],
    ]


def test_only_the_label_asked_for_is_read(tmp_path: Path) -> None:
    both = TRIANGLE + '<box label="hair" xtl="0" ytl="0" xbr="1" ybr="1"/>'
    assert load(tmp_path, both, "lesion").mask.sum() == 6
    with pytest.raises(DataError, match="several labels"):
        load(tmp_path, both)


def test_what_xml_does_not_know_of_a_name_is_a_question_mark(tmp_path: Path) -> None:
    mask = hard_masks()["hole"]
    cvat.write(annotations({"l\udce9s\x01ion": mask}), tmp_path / "a.xml", OutlineSettings())
    (entry,) = cvat.read(tmp_path / "a.xml", NOWHERE, None)
    assert entry.photograph == "folder/l?s?ion.jpg"
    assert entry.load().mask.tolist() == mask.tolist()


@pytest.mark.parametrize(
    "shapes",
    [
        '<polygon label="lesion" points="0,0;4,0"/>',
        '<polygon label="lesion" points="0,0;4,0;a,b"/>',
        '<polygon label="lesion"/>',
        '<box label="lesion" xtl="0" ytl="0" xbr="1" ybr="1"/>',
        '<mask label="lesion" rle="7" left="0" top="0" width="3" height="2"/>',
        '<mask label="lesion" rle="6" left="3" top="0" width="3" height="2"/>',
        f'<mask label="lesion" rle="{f"{2**62}," * 4}6" left="0" top="0" width="3" height="2"/>',
        '<mask label="lesion" rle="" left="0" top="0" width="3" height="2"/>',
    ],
)
def test_a_damaged_shape_costs_its_image_and_is_named(tmp_path: Path, shapes: str) -> None:
    with pytest.raises(DataError, match=r"a\.jpg: not CVAT's XML"):
        load(tmp_path, shapes)


def test_a_size_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for height in ("0", "x", "9999999999"):
        with pytest.raises(DermsegError):
            load(tmp_path, TRIANGLE, height=height)


BOMB = "<!DOCTYPE a [<!ENTITY a 'aaaaaaaaaa'>" + "".join(
    f"<!ENTITY {after} '{'&' + before + ';'}{('&' + before + ';') * 9}'>"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<annotations>",
        "<annotations/>",
        "{}",
        f"{BOMB}]><annotations>&i;</annotations>",
        "<?xml version='1.0' encoding='of-nobody'?><annotations/>",
    ],
)
def test_a_file_that_is_none_of_its_kind_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(DataError, match=r"a\.xml: not CVAT's XML"):
        list(cvat.read(tmp_path / "a.xml", NOWHERE, None))
