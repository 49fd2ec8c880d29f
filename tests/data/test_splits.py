"""Which images are held out: people's own splits, and groups that never cross folds."""

import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dermseg.cli.main import main
from dermseg.data import folds
from dermseg.data.layouts import Pair
from dermseg.data.splits import (
    Split,
    describe_people,
    find_leaks,
    group,
    read_people,
    read_split,
)
from dermseg.errors import DataError, UsageError

NAMES = tuple("abcdef")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data set of six pairs, a to f, of six colours and shapes."""
    folder = tmp_path / "data"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number, name in enumerate(NAMES):
        noise = np.random.default_rng(number).integers(0, 255, (32, 32, 3)).astype(np.uint8)
        mask = np.zeros((32, 32), np.uint8)
        mask[8 : 20 + number, 8:20] = 255
        Image.fromarray(noise).save(folder / "images" / f"{name}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    return folder


def table(file: Path, column: str, values: str) -> Path:
    rows = [f"{name},{value}" for name, value in zip(NAMES, values.split(), strict=False)]
    file.write_text("\n".join([f"image_id,{column}", *rows]) + "\n", encoding="utf-8")
    return file


def names(pairs: list[Pair]) -> str:
    return "".join(pair.image_id for pair in pairs)


def test_without_a_split_everything_is_for_training(data: Path) -> None:
    split = read_split(data)
    assert (names(split.training), split.validation, split.fold_of) == ("abcdef", [], {})


@pytest.mark.parametrize("beside", [True, False])
def test_a_column_says_what_an_image_is_for(data: Path, tmp_path: Path, beside: bool) -> None:
    file = table(
        (data if beside else tmp_path) / "s.csv", "Split", "train Val train test val train"
    )
    split = read_split(data, "" if beside else str(file))
    assert names(split.training) == "acf"
    assert names(split.validation) == "be"
    assert names(split.test) == "d"


def test_a_column_says_the_folds(data: Path) -> None:
    table(data / "folds.csv", "fold", "1 1 2 2 3 3")
    assert read_split(data).fold_of == dict(zip(NAMES, (0, 0, 1, 1, 2, 2), strict=True))


def test_folds_that_are_counted_otherwise_are_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = table(tmp_path / "s.csv", "fold", "5 1 2.0 3 4 5")
    split = read_split(data, str(file))
    assert split.fold_of == dict(zip(NAMES, (4, 0, 1, 2, 3, 4), strict=True))
    line = f"folds 1, 2, 3, 4, 5 of {file} are folds 0, 1, 2, 3, 4 here"
    assert split.renumbered == line
    assert main(["doctor", str(data), "--splits", str(file)]) == 0
    assert capsys.readouterr().err.count(line) == 1
    assert read_split(data, str(table(file, "fold", "0 1 2 0 1 2"))).renumbered == ""


def test_images_that_a_split_cannot_tell_apart_are_named(tmp_path: Path) -> None:
    for clinic in ("one", "two"):
        for kind in ("images", "masks"):
            (tmp_path / "data" / clinic / kind).mkdir(parents=True)
            (tmp_path / "data" / clinic / kind / "a.png").touch()
    (tmp_path / "s.csv").write_text("image_id,split\none/a.png,train\ntwo/a.png,test\n")
    with pytest.raises(DataError, match="cannot tell one/a from two/a"):
        read_split(tmp_path / "data", str(tmp_path / "s.csv"))


def test_persons_of_images_that_tables_cannot_tell_apart_are_not_guessed(tmp_path: Path) -> None:
    pairs = [Pair(name, Path(), Path()) for name in ("one/a", "two/a", "one/b")]
    people = tmp_path / "people.csv"
    people.write_text("image_id,lesion_id\nb,L1\n")
    assert group(pairs, range(3), read_people(tmp_path, pairs)) == [0, 1, 2]
    people.write_text("image_id,patient_id\none/a,P1\ntwo/a,P2\n")
    with pytest.raises(DataError, match="patient_id: cannot tell one/a from two/a"):
        read_people(tmp_path, pairs)


def test_nnu_net_s_file_is_read(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "splits_final.json"
    sides = [("abcd", "ef"), ("abef", "cd"), ("cdef", "ab")]
    content = [{"train": list(train), "val": list(val)} for train, val in sides]
    file.write_text(json.dumps(content))
    assert read_split(data, str(file)).fold_of == dict(zip(NAMES, (2, 2, 1, 1, 0, 0), strict=True))
    file.write_text(json.dumps(content[:1]))
    split = read_split(data, str(file))
    assert (names(split.training), names(split.validation)) == ("abcd", "ef")


@pytest.mark.parametrize("layout", ["nnU-Net", "folders"])
@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("s.csv", "image_id,split\na,train\nb,val\n", ("a", "b", {})),
        ("s.csv", "image_id,fold\na,0\nb,1\n", ("ab", "", {"a": 0, "b": 1})),
        ("s.json", '[{"train": ["a"], "val": ["b"]}]', ("a", "b", {})),
        (
            "s.json",
            '[{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]',
            ("ab", "", {"a": 1, "b": 0}),
        ),
    ],
)
def test_images_that_a_file_does_not_name_are_what_their_folders_say(
    tmp_path: Path, layout: str, name: str, content: str, expected: tuple[str, str, dict[str, int]]
) -> None:
    for image in "abtu":
        part = "s" if image in "tu" else "r"
        if layout == "nnU-Net":
            folders, ending = (f"imagesT{part}", f"labelsT{part}"), "_0000"
        else:
            folder = "test" if part == "s" else "train"
            folders, ending = (f"{folder}/images", f"{folder}/masks"), ""
        for kind, stem in zip(folders, (f"{image}{ending}", image), strict=True):
            file = tmp_path / "data" / kind / f"{stem}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    (tmp_path / name).write_text(content)
    split = read_split(tmp_path / "data", str(tmp_path / name))
    assert (names(split.training), names(split.validation), split.fold_of) == expected
    assert names(split.test) == "tu"


def test_a_file_has_priority_over_folders(tmp_path: Path) -> None:
    for image, part in (("a", "train"), ("b", "val"), ("t", "test")):
        for kind in ("images", "masks"):
            (tmp_path / "data" / part / kind).mkdir(parents=True)
            (tmp_path / "data" / part / kind / f"{image}.png").touch()
    file = tmp_path / "s.csv"
    file.write_text("image_id,fold\na,0\nb,1\n")
    split = read_split(tmp_path / "data", str(file))
    assert (names(split.training), names(split.test)) == ("ab", "t")
    file.write_text("image_id,split\na,val\nb,train\n")
    split = read_split(tmp_path / "data", str(file))
    assert (names(split.training), names(split.validation), names(split.test)) == ("b", "a", "t")
    file.write_text("image_id,fold\nb,1\n")
    with pytest.raises(DataError, match="no fold for 1 training image, such as a; give each one"):
        read_split(tmp_path / "data", str(file))


class TestReadSplitExceptions:
    @pytest.mark.parametrize(
        ("column", "values", "message"),
        [
            ("split", "train val train", "no split for 3 training images, such as d"),
            ("split", "a b a b a b", "'a' is none of training"),
            ("split", "test test val val val val", "all 6 images are for validation or test"),
            ("fold", "x 1 1 1 1 1", "fold 'x' is not a whole number"),
            ("fold", "1.2 1.7 2 2 3 3", "fold '1.2' is not a whole number"),
            ("fold", "1 inf 2 2 3 3", "fold 'inf' is not a whole number"),
            ("part", "train val val val val val", "no column split or fold"),
        ],
    )
    def test_what_cannot_be_is_said(
        self, data: Path, tmp_path: Path, column: str, values: str, message: str
    ) -> None:
        file = table(tmp_path / "s.csv", column, values)
        with pytest.raises(DataError, match=message):
            read_split(data, str(file))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "cannot be read"),
            ('[{"train": ["a"], "val": ["a"]}, {"train": [], "val": []}]', "in both"),
            ('[{"train": ["a"], "val": ["b"]}, {"train": ["a"], "val": ["b"]}]', "by two folds"),
            ('[{"train": ["a"], "val": ["b"]}]', r"s\.json: no split for 4 training images"),
        ],
    )
    def test_a_file_that_is_none_of_nnu_net_s_is_refused(
        self, data: Path, tmp_path: Path, content: str, message: str
    ) -> None:
        (tmp_path / "s.json").write_text(content)
        with pytest.raises(DataError, match=message):
            read_split(data, str(tmp_path / "s.json"))

    def test_a_file_that_is_not_there_is_named(self, data: Path, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no such file"):
            read_split(data, str(tmp_path / "none.csv"))


@given(
    seed=st.integers(0, 2**32),
    column=st.sampled_from(["patient_id", "PatientID", "Patient", "subject_id", "lesion_id"]),
    place=st.sampled_from([".", "clinic", "clinic/images"]),
    halves=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_patients_near_duplicates_and_strata_hold_at_once(
    seed: int, column: str, place: str, halves: bool
) -> None:
    """40 patients, near-duplicates of some photographs, a table or two: nothing leaks."""
    chance = random.Random(seed)
    with TemporaryDirectory() as folder:
        data, images = Path(folder), Path(folder) / "clinic" / "images"
        images.mkdir(parents=True)
        pairs = [Pair(f"I{i}", images / f"I{i}.jpg", images / f"I{i}.png") for i in range(120)]
        patients = {pair.image_id: chance.randrange(40) for pair in pairs}
        rows = [f"{image},P{patient}" for image, patient in patients.items()]
        tables = [rows[::2], rows[1::2]] if halves else [rows]
        for number, part in enumerate(tables):
            file = data / place / f"{number}.csv"
            file.write_text("\n".join([f"isic_id,{column}", *part]))
        people = read_people(data, pairs)
    duplicates = [row - chance.randrange(2) * (row % 10 == 1) for row in range(120)]
    strata = [chance.choice(("melanoma", "nevus", "nevus")) for _ in pairs]
    fold_of = folds.assign(group(pairs, duplicates, people), strata, 5, seed)
    by_image = dict(zip((pair.image_id for pair in pairs), fold_of, strict=True))
    twins = dict(zip(by_image, duplicates, strict=True))
    assert find_leaks(Split(pairs, fold_of=by_image), twins, people) == []
    of_patient: dict[int, set[int]] = {}
    for image, fold in by_image.items():
        of_patient.setdefault(patients[image], set()).add(fold)
    assert all(len(found) == 1 for found in of_patient.values())
    assert all(fold_of[row] == fold_of[duplicates[row]] for row in range(120))
    assert set(fold_of) == set(range(5))


def test_a_column_of_one_s_own_makes_groups(data: Path) -> None:
    table(data / "visits.csv", "Visit", "v1 v2 v1 v3 v3 v4")
    pairs = read_split(data).training
    groups = group(pairs, range(6), read_people(data, pairs, "visit"))
    assert groups[0] == groups[2]
    assert groups[3] == groups[4]
    assert len(set(groups)) == 4
    with pytest.raises(UsageError, match="--group clinic: no table"):
        read_people(data, pairs, "clinic")


def test_what_folds_keep_together_is_told(data: Path) -> None:
    table(data / "images" / "metadata.csv", "PatientID", "P1 P1 P2 P2 P3 P3")
    table(data / "visits.csv", "Visit", "v1 v2 v1")
    table(data / "more.csv", "Lesion ID", "L1")
    table(data / "findings.csv", "lesion", "yes no yes no yes no")  # says nothing of whose it is
    split = read_split(data)
    people = read_people(data, split.pairs, "visit")
    assert describe_people(people, split.training) == (
        "folds keep together the images of 1 lesion (lesion_id of more.csv) and "
        "3 patients (patient_id of images/metadata.csv) and 2 groups (visit of visits.csv)"
    )


def test_doctor_shows_leaks_in_a_given_split(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(data / "people.csv", "patient_id", "P1 P1 P2 P2 P3 P3")
    assert main(["doctor", str(data)]) == 0
    assert "leak" not in capsys.readouterr().out
    file = table(tmp_path / "s.csv", "split", "train val train train val val")
    assert main(["doctor", str(data), "--splits", str(file)]) == 0
    said = capsys.readouterr().out
    assert "a: leak: patient_id P1: b is in the validation set" in said
    assert said.count(": leak: ") == 2
    assert "\n  2 leak: put all photographs of one patient or lesion on one side" in said
    table(data / "visits.csv", "Visit", "v1 v2 v2 v3 v4 v5")
    assert main(["doctor", str(data), "--splits", str(file), "--group", "Visit"]) == 0
    assert "b: leak: Visit v2: c is in the training set" in capsys.readouterr().out
    assert main(["doctor", str(data), "--group", "clinic"]) == 2
    assert "--group clinic: no table" in capsys.readouterr().err
