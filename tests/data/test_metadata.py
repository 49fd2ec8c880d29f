"""Diagnosis, age and sex from the tables of data sets."""

from pathlib import Path

import pytest

from dermseg.data.metadata import read_groups
from dermseg.errors import DataError


def table(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8")


def test_the_challenge_s_two_tables_come_together(tmp_path: Path) -> None:
    table(
        tmp_path,
        "ISIC-2017_Training_Part3_GroundTruth.csv",
        "image_id,melanoma,seborrheic_keratosis\nI1,1.0,0.0\nI2,0.0,1.0\nI3,0.0,0.0\n",
    )
    table(
        tmp_path,
        "ISIC-2017_Training_Data_metadata.csv",
        "image_id,age_approximate,sex\nI1,55,female\nI2,unknown,male\nI3,80,unknown\n",
    )
    assert read_groups(tmp_path) == {
        "I1": {"diagnosis": "melanoma", "age": "40 to 59", "sex": "female"},
        "I2": {"diagnosis": "seborrheic_keratosis", "age": "unknown", "sex": "male"},
        "I3": {"diagnosis": "nevus", "age": "80 to 99", "sex": "unknown"},
    }


def test_isic_cli_s_table_is_read(tmp_path: Path) -> None:
    table(
        tmp_path,
        "metadata.csv",
        "\ufeffisic_id,attribution,age_approx,sex,diagnosis_1\nI1,someone,30.0,male,Benign\nI2,,,,\n",
    )
    assert read_groups(tmp_path) == {
        "I1": {"age": "20 to 39", "sex": "male", "diagnosis": "Benign"},
        "I2": {"age": "unknown", "sex": "unknown", "diagnosis": "unknown"},
    }


def test_other_tables_and_no_tables_say_nothing(tmp_path: Path) -> None:
    assert read_groups(tmp_path) == {}
    table(tmp_path, "report.csv", "photograph,area\na.jpg,3\n")
    table(tmp_path, "scores.csv", "image_id,jaccard\nI1,0.7\n")
    table(tmp_path, "empty.csv", "")
    table(tmp_path, "split.csv", "image_id,split\nI1,a\n")
    table(tmp_path, "hair.csv", "image_id,has_hair\nI1,1\n")
    table(tmp_path, "list.csv", "image_id\nI1\n")
    (tmp_path / "notes.csv").write_bytes("Größe;Läsion\n3;4\n".encode("latin-1"))
    assert read_groups(tmp_path) == {"I1": {}}


@pytest.mark.parametrize("age", ["inf", "nan", "unknown", ""])
def test_an_age_that_is_none_is_unknown(tmp_path: Path, age: str) -> None:
    table(tmp_path, "people.csv", f"image_id,age_approximate,sex\nI1,{age},male\n")
    assert read_groups(tmp_path)["I1"]["age"] == "unknown"


def test_a_table_of_a_known_kind_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_bytes("image_id,sex\nLäsion,male\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"people\.csv: a damaged table"):
        read_groups(tmp_path)


@pytest.mark.parametrize("row", ["I1,perhaps,0", "I1", "I1,1.0"])
def test_a_damaged_table_is_named(tmp_path: Path, row: str) -> None:
    text = f"image_id,melanoma,seborrheic_keratosis\n{row}\n"
    table(tmp_path, "ISIC-2017_Training_Part3_GroundTruth.csv", text)
    with pytest.raises(DataError, match=r"Part3_GroundTruth\.csv: a damaged table"):
        read_groups(tmp_path)
