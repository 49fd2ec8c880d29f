"""Who is in a data set: diagnosis, age and sex from the tables that come with it.

Two kinds of tables are known, by their columns: those of ISIC 2017 (`image_id` with
`age_approximate` and `sex`, or with `melanoma` and `seborrheic_keratosis`, 0 or 1) and those of
isic-cli (`isic_id` with `age_approx`, `sex` and `diagnosis` or `diagnosis_1`). Others say nothing.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from dermseg.errors import DataError
from dermseg.storage.tables import read_table

Groups = dict[str, dict[str, str]]
"""Image id to what is known of it: "diagnosis", "age" (a band of 20 years) and "sex"."""

IDS = {"image_id", "isic_id"}
UNMARKED = "nevus"
"""The diagnosis of an image that no column of a challenge's table marks."""
CHALLENGE_DIAGNOSES = {"melanoma", "seborrheic_keratosis"}
UNKNOWN = "unknown"
AGES = ("age_approximate", "age_approx")
DIAGNOSES = ("diagnosis", "diagnosis_1")


def read_groups(folder: Path) -> Groups:
    """Return what the CSV tables in `folder` say of each image; empty where there are none.

    Raises DataError, naming the table, if one of a known kind is damaged.
    """
    groups: Groups = {}
    for table in sorted(folder.glob("*.csv")):
        for image_id, facts in _read(table):
            groups.setdefault(image_id, {}).update(facts)
    return groups


def _read(table: Path) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        with table.open(newline="", encoding="utf-8-sig", errors="replace") as handle:
            header = next(csv.reader(handle), [])
        if not IDS & set(header):
            return  # a table of another kind
        for row in read_table(table, errors="strict"):
            image_id = row.pop("image_id", None) or row.pop("isic_id", None)
            if image_id is not None:
                yield image_id, _facts(row)
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise DataError(f"{table}: a damaged table ({error})") from error


def _facts(row: dict[str, str]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for column, value in row.items():
        if column in AGES:
            facts["age"] = _age_band(value)
        elif column == "sex":
            facts["sex"] = value if value in ("female", "male") else UNKNOWN
        elif column in DIAGNOSES:
            facts["diagnosis"] = value or UNKNOWN
    if row.keys() == CHALLENGE_DIAGNOSES:
        marked = [column for column, value in row.items() if float(value) == 1]
        facts["diagnosis"] = marked[0] if marked else UNMARKED
    return facts


def _age_band(age: str) -> str:
    try:
        years = int(float(age))
    except (ValueError, OverflowError):
        return UNKNOWN
    first = years // 20 * 20
    return f"{first} to {first + 19}"
