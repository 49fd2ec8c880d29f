import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
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
from dermseg.formats import yolo
from dermseg.formats.annotation import Annotation, Photographs
from dermseg.settings import OutlineSettings


@ON_DISK
@given(MASKS)
def test_masks_come_back_to_the_pixel(
    tmp_path_factory: pytest.TempPathFactory, masks: list[Mask]
) -> None:
    named = {str(number): mask for number, mask in enumerate(masks)}
    if named:
        folder = tmp_path_factory.mktemp("yolo")
        (folder / "images").mkdir()
        for name, mask in named.items():
            Image.fromarray(mask).save(folder / "images" / f"{name}.png")
        photographs = Photographs(folder / "images")
        back = there_and_back("yolo", named, folder / "yolo", photographs=photographs)
        assert_same(named, back)


def labels(tmp_path: Path, text: str, names: str = "") -> Path:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text(text)
    if names:
        (tmp_path / "data.yaml").write_text(names)
    Image.new("RGB", (4, 2)).save(tmp_path / "a.png")
    return tmp_path


def test_a_line_is_a_piece_and_an_empty_file_no_lesion(tmp_path: Path) -> None:
    yolo.write(annotations(hard_masks()), tmp_path, OutlineSettings(label="mole"))
    texts = {path.stem: path.read_text() for path in (tmp_path / "labels/folder").iterdir()}
    assert texts["empty"] == ""
    assert texts["full"].split()[0] == "0"
    assert {float(place) for place in texts["full"].split()[1:]} == {0, 1}
    assert len(texts["pieces"].splitlines()) == 2
    assert "0: mole" in (tmp_path / "data.yaml").read_text()


@pytest.mark.parametrize(
    "names",
    [
        "names: [hair, 'mole']",
        "names: [\n  hair,\n  mole]  # in brackets\n",
        "names:\n  0: hair\n  1: mole\n",
        "# names: below\nnames:  # of two\n\n  0: hair  # dark\n  # and\n  1: 'mole'  # here\n",
        "names:\n- hair\n- mole # PyYAML's way\nnc: 2\n",
        'names:\n  - hair\n  - "mole"\npath: .\ncolors:\n  0: red\n  1: blue\n',
    ],
)
def test_only_the_label_asked_for_is_read(tmp_path: Path, names: str) -> None:
    left, right = "0 0 0 .5 0 .5 1 0 1", "1 .5 0 1 0 1 1 .5 1"
    folder = labels(tmp_path, f"{left}\n\n{right}\n", names)
    photographs = Photographs(folder)
    with pytest.raises(DataError, match="several labels"):
        list(yolo.read(folder, photographs, None))
    with pytest.raises(DataError, match="no label 'lesion'"):
        list(yolo.read(folder, photographs, "lesion"))
    for label in ("mole", "1"):
        (entry,) = yolo.read(folder, photographs, label)
        assert entry.load().mask.tolist() == [[False, False, True, True]] * 2


@pytest.mark.parametrize("label", ["a #b", "no", "1", "it's: so", '"\\', "two\nlines", "näevus"])
def test_a_label_is_a_text_to_yaml_and_comes_back(tmp_path: Path, label: str) -> None:
    mask = np.ones((2, 4), np.bool_)
    yolo.write([Annotation("a.jpg", mask)], tmp_path, OutlineSettings(label=label))
    text = (tmp_path / "data.yaml").read_text(encoding="utf-8")
    assert f"  0: {json.dumps(label, ensure_ascii=False)}\n" in text
    (entry,) = yolo.read(tmp_path, NOWHERE, label)
    assert entry.photograph == "a.jpg"


@ON_DISK
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@example("two\u2028lines")
@example("\x85\x7f\ufeff\uffff")
@example("\U0010ffff")
def test_yaml_reads_every_label_as_we_do(
    tmp_path_factory: pytest.TempPathFactory, label: str
) -> None:
    yaml = pytest.importorskip("yaml")
    folder = tmp_path_factory.mktemp("yolo")
    annotation = Annotation("a.jpg", np.ones((2, 4), np.bool_))
    yolo.write([annotation], folder, OutlineSettings(label=label))
    with (folder / "data.yaml").open(encoding="utf-8") as file:
        assert yaml.safe_load(file)["names"] == {0: label}
    (entry,) = yolo.read(folder, NOWHERE, label)
    assert entry.photograph == "a.jpg"


@pytest.mark.parametrize("space", ["\n", " ", "\t"])
def test_names_behind_much_space_are_found_at_once(tmp_path: Path, space: str) -> None:
    names = f"names:{space * 200_000}\n  0: mole{space * 200_000}\n"
    folder = labels(tmp_path, "0 0 0 1 0 1 1\n", names)
    (entry,) = yolo.read(folder, Photographs(folder), "mole")
    assert entry.load().mask.any()


def test_a_label_is_a_number_where_nothing_names_the_classes(tmp_path: Path) -> None:
    folder = labels(tmp_path, "0 0 0 1 0 1 1\n1 0 0 1 0 0 1\n")
    photographs = Photographs(folder)
    with pytest.raises(DataError, match="no label 'mole'; it has 0, 1"):
        list(yolo.read(folder, photographs, "mole"))
    (entry,) = yolo.read(folder, photographs, "1")
    assert entry.load().mask.any()


@pytest.mark.parametrize("line", ["0 .5 .5 .1 .1", "0 0 0 1 1", "0 a b c d e f", "0 0 0 1 1 nan 0"])
def test_a_box_or_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    folder = labels(tmp_path, line)
    (entry,) = yolo.read(folder, Photographs(folder), None)
    with pytest.raises(DataError, match=r"a\.txt: not YOLO's labels"):
        entry.load()


def test_sizes_come_from_the_photographs(tmp_path: Path) -> None:
    folder = labels(tmp_path, "0 0 0 1 0 1 1")
    (entry,) = yolo.read(folder / "labels", NOWHERE, None)
    with pytest.raises(DataError, match="do not say its size"):
        entry.load()
    with pytest.raises(DataError, match="holds no labels"):
        list(yolo.read(tmp_path / "nowhere", NOWHERE, None))
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (4, 2)).save(tmp_path / "a.png", exif=exif)
    (entry,) = yolo.read(folder, Photographs(folder), None)
    assert entry.load().mask.shape == (4, 2)
    assert np.count_nonzero(entry.load().mask)
