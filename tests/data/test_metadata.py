"""Diagnosis, age, sex and style from the tables of data sets."""

import csv
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dermseg.data.metadata import read_groups


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


def test_other_tables_are_named_and_say_nothing(tmp_path: Path) -> None:
    assert read_groups(tmp_path) == {}
    assert read_groups(tmp_path).passed_over(["I1"]) == []
    table(tmp_path, "report.csv", "photograph,area\na.jpg,3\n")
    table(tmp_path, "scores.csv", "image_id,jaccard\nI1,0.7\n")
    table(tmp_path, "empty.csv", "")
    table(tmp_path, "list.csv", "image_id\nI1\n")
    table(tmp_path, "others.csv", "image_id,sex\nI2,male\n")
    table(tmp_path, "LICENSE.txt", "Free, as in freedom.\nAll of it.\n")
    table(tmp_path, "._hidden.csv", "image_id,sex\nI1,male\n")
    table(tmp_path, "sheet.xlsx", "PK")
    table(tmp_path, "rle.csv", f"image_id,sex,rle\nI1,male,{'1 3 ' * 40000}\n")
    (tmp_path / "notes.csv").write_bytes("Größe;Läsion\n3;4\n".encode("latin-1"))
    (tmp_path / "folder.csv").mkdir()
    groups = read_groups(tmp_path)
    assert groups == {"I2": {"sex": "male"}}
    assert sorted(groups.passed_over(["I1"])) == [
        "empty.csv: has no rows",
        "folder.csv: not a file",
        "list.csv, report.csv, scores.csv: no column of diagnosis, age, sex, style, patient_id, "
        "lesion_id, split or fold",
        "notes.csv: no column that names images, such as image_id, isic_id or image",
        "others.csv: names none of these images",
        "rle.csv: cannot be read (field larger than field limit (131072))",
        "sheet.xlsx: spreadsheets are not read; save it as CSV",
    ]


def test_tables_lie_anywhere_between_a_data_set_and_its_photographs(tmp_path: Path) -> None:
    photographs = [tmp_path / "clinic" / "images" / f"{name}.jpg" for name in ("I1", "I2")]
    for folder in (photographs[0].parent, tmp_path / "clinic" / "masks", tmp_path / "runs"):
        folder.mkdir(parents=True)
    table(tmp_path, "own.csv", "image_id,sex\nI1,male\n")
    table(tmp_path / "clinic", "HAM10000_metadata", "image_id,dx,sex\nI1,nv,female\n")
    table(tmp_path / "clinic" / "images", "metadata.csv", "isic_id,age_approx\nI2,30\n")
    table(tmp_path / "clinic" / "images", "I1.txt", "image_id,sex\nI2,male\n")  # a label
    table(tmp_path / "runs", "report.csv", "photograph,style\nI1.jpg,traced\n")
    table(tmp_path.parent, f"{tmp_path.name}-beside.csv", "image_id,sex\nI2,male\n")
    groups = read_groups(tmp_path, photographs)
    assert groups == {"I1": {"sex": "male", "diagnosis": "nevus"}, "I2": {"age": "20 to 39"}}
    assert groups.passed_over(["I2"]) == [
        "own.csv, clinic/HAM10000_metadata: names none of these images",
        "1 images: clinic/HAM10000_metadata has another sex than an earlier row or table",
    ]


@pytest.mark.parametrize("column", ["patient_id", "LesionID", "split", "fold"])
def test_a_table_that_says_only_who_or_where_is_no_useless_one(tmp_path: Path, column: str) -> None:
    table(tmp_path, "people.csv", f"image_id,{column}\nI1,P1\n")
    groups = read_groups(tmp_path)
    assert groups == {}
    assert groups.passed_over(["I1"]) == []
    assert groups.passed_over(["I2"]) == ["people.csv: names none of these images"]


@pytest.mark.parametrize("age", ["inf", "nan", "unknown", "", "-1", "400", "old"])
def test_an_age_that_is_none_is_unknown(tmp_path: Path, age: str) -> None:
    table(tmp_path, "people.csv", f"image_id,age_approximate,sex\nI1,{age},male\n")
    assert read_groups(tmp_path)["I1"]["age"] == "unknown"


@pytest.mark.parametrize("row", ["I1,perhaps,0", "I1", "I1,1.0"])
def test_a_row_that_is_damaged_is_unknown(tmp_path: Path, row: str) -> None:
    text = f"image_id,melanoma,seborrheic_keratosis\n{row}\nI2,0,0\n"
    table(tmp_path, "ISIC-2017_Training_Part3_GroundTruth.csv", text)
    assert read_groups(tmp_path) == {"I1": {"diagnosis": "unknown"}, "I2": {"diagnosis": "nevus"}}


KNOWN = {
    "2016": ("ISIC_1,benign\nISIC_2,malignant\n", {"diagnosis": "benign"}),
    "2016, test": ("ISIC_1,0.0\nISIC_2,1.0\n", {"diagnosis": "benign"}),
    "2018 and 2019": (
        "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\nISIC_1,0.0,0,1.0,0,0,0,0,0,0\n",
        {"diagnosis": "basal_cell_carcinoma"},
    ),
    "2019, people": (
        "image,age_approx,anatom_site_general,lesion_id,sex\nISIC_1,55.0,head,,female\n",
        {"age": "40 to 59", "sex": "female"},
    ),
    "2020": (
        "image_name,patient_id,sex,age_approx,diagnosis,benign_malignant,target\n"
        "ISIC_1,IP_1,male,45.0,nevus,benign,0\n",
        {"diagnosis": "nevus", "age": "40 to 59", "sex": "male"},
    ),
    "2024": (
        "isic_id,target,patient_id,age_approx,sex,iddx_full,iddx_1\n"
        "ISIC_1,0,IP_1,60.0,male,Benign,Benign\n",
        {"diagnosis": "Benign", "age": "60 to 79", "sex": "male"},
    ),
    "HAM10000": (
        "lesion_id,image_id,dx,dx_type,age,sex,localization\nHAM_1,ISIC_1,akiec,histo,8,F,back\n",
        {"diagnosis": "actinic_keratosis", "age": "0 to 19", "sex": "female"},
    ),
    "PAD-UFES-20": (
        "patient_id,lesion_id,age,gender,diagnostic,img_id\nP,1,55,FEMALE,BCC,ISIC_1.png\n",
        {"diagnosis": "basal_cell_carcinoma", "age": "40 to 59", "sex": "female"},
    ),
    "PH2": (
        "||   Name || Histological Diagnosis || Clinical Diagnosis || Asymmetry ||\n"
        "|| ISIC_1 ||                        ||                  1 ||         0 ||\n"
        "\nLegends:\nClinical Diagnosis:\n0 - Common Nevus;\n",
        {"diagnosis": "atypical_nevus"},
    ),
    "one's own": ("File;Style\nISIC_1.JPG;Semi automatic\n", {"style": "semi-automatic"}),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_tables_of_data_sets_are_known(tmp_path: Path, name: str) -> None:
    text, facts = KNOWN[name]
    table(tmp_path, "PH2_dataset.txt" if name == "PH2" else "data.csv", text)
    groups = read_groups(tmp_path)
    assert groups["ISIC_1"] == facts
    assert groups["folder/isic_1.png"] == facts
    assert groups.passed_over(["ISIC_1"]) == []


def test_unknown_never_replaces_known_and_what_differs_is_said(tmp_path: Path) -> None:
    table(tmp_path, "a.csv", "image_id,sex,age,style\nI1,male,,traced\nI2,,50,\n")
    table(tmp_path, "b.csv", "image_id,sex,age,style\nI1,,30,neat\nI2,female,70,traced\n")
    groups = read_groups(tmp_path)
    assert groups == {
        "I1": {"sex": "male", "age": "20 to 39", "style": "traced"},
        "I2": {"sex": "female", "age": "40 to 59", "style": "traced"},
    }
    assert sorted(groups.passed_over(["I1", "I2"])) == [
        "1 images: b.csv has a style other than traced or semi-automatic",
        "1 images: b.csv has another age than an earlier row or table",
    ]


SPELLINGS = {
    "image": ("image_id", "Image ID", "isic_id", "IMAGE", "image_name", "File Name", "filename"),
    "age": ("age_approximate", "Age Approx", "AGE", "age"),
    "sex": ("sex", "Sex", "GENDER"),
    "diagnosis": ("diagnosis", "Diagnosis", "dx", "diagnostic", "diagnosis_1"),
    "style": ("style", "Style", "STYLE"),
}
VALUES = {
    "age": {
        "": "unknown",
        "35": "20 to 39",
        "35.0": "20 to 39",
        "85+": "80 to 99",
        "NA": "unknown",
    },
    "sex": {"": "unknown", "Male": "male", "f": "female", " FEMALE ": "female", "nan": "unknown"},
    "diagnosis": {"": "unknown", "mel": "melanoma", "Läsion": "Läsion", "nevus, old": "nevus, old"},
    "style": {"": "unknown", "Traced": "traced", "semi_automatic": "semi-automatic"},
}
NAMES = ("ISIC_{}", "isic_{}.JPG", "Training/ISIC_{}.png", "ISIC_{}.tiff", "C:\\data\\ISIC_{}.bmp")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.slow
@given(draw=st.data())
def test_any_spelling_order_separator_and_encoding(tmp_path: Path, draw: st.DataObject) -> None:
    kinds = draw.draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, unique=True))
    columns = draw.draw(st.permutations(["image", "notes", *kinds]))
    separator = draw.draw(st.sampled_from([",", ";", "\t", "|"]))
    encoding = draw.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    lines = [[draw.draw(st.sampled_from(SPELLINGS.get(column, (column,)))) for column in columns]]
    expected = {}
    for number in range(draw.draw(st.integers(1, 4))):
        cells = {kind: draw.draw(st.sampled_from(sorted(VALUES[kind]))) for kind in kinds}
        named = draw.draw(st.sampled_from(NAMES)).format(number)
        lines.append([{"image": named, "notes": "é; 1,5|\t", **cells}[each] for each in columns])
        expected[f"ISIC_{number}"] = {kind: VALUES[kind][cells[kind]] for kind in kinds}
    text = StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows(lines)
    (tmp_path / "table.csv").write_bytes(text.getvalue().encode(encoding))
    groups = read_groups(tmp_path)
    assert groups.passed_over(expected) == []
    for image, facts in expected.items():
        assert groups[image] == facts


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=st.binary(max_size=300), begins=st.sampled_from([b"", b"image_id,sex\n", b"\xff\xfe"])
)
def test_no_content_stops_the_work(tmp_path: Path, content: bytes, begins: bytes) -> None:
    table(tmp_path, "a.csv", "image_id,sex\nI1,male\n")
    (tmp_path / "b.csv").write_bytes(begins + content)
    groups = read_groups(tmp_path)
    assert groups["I1"] == {"sex": "male"}
    assert groups.passed_over(["I1"]) or "I1" in groups
