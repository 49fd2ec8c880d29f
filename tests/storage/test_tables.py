"""Tables: what a spreadsheet takes for a formula, and what it makes of a table."""

import csv
import re
from hashlib import blake2b
from pathlib import Path

import pytest

from dermseg.storage.tables import defused, read_table, undefused, write_table

NAMES = (
    "=1+1",
    "+a",
    "-b",
    "@c",
    "\t=d",
    "x;=e",
    "x|@f",
    "x;y",
    "a,b",
    'a"b',
    "lésion",
    "-1.5",
    "",
)


@pytest.mark.parametrize("text", NAMES)
def test_what_is_defused_comes_back(text: str) -> None:
    assert undefused(defused(text)) == text
    assert defused(defused(text)) == defused(text)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("first", [True, False])
def test_no_cell_is_a_formula_whatever_separates(
    tmp_path: Path, separator: str, encoding: str, *, first: bool
) -> None:
    """And a table that a spreadsheet has saved again is read as it was."""
    write_table(tmp_path / "a.csv", ("name", "n"), [{"name": each, "n": 3} for each in NAMES])
    text = (tmp_path / "a.csv").read_text(encoding="utf-8")
    for row in csv.reader(text.splitlines(), delimiter=separator):
        assert not [cell for cell in row if re.match(r"[=+@]|-(?![\d.,]+$)", cell)]
    rows = list(csv.reader(text.splitlines()))
    with (tmp_path / "b.csv").open("w", encoding=encoding, newline="") as handle:
        if first:
            handle.write(f"sep={separator}\r\n")
        csv.writer(handle, delimiter=separator).writerows(rows)
    found = [undefused(row["name"]) for row in read_table(tmp_path / "b.csv")]
    assert [each.strip() for each in found] == [each.strip() for each in NAMES]


@pytest.mark.parametrize("text", [b"sep=", b"sep=\n", b"sep=\r\nname,n\r\na,3\r\n"])
def test_where_no_separator_is_named_it_is_a_comma(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(text)
    rows = read_table(tmp_path / "a.csv")
    assert rows == ([{"name": "a", "n": "3"}] if b"name" in text else [])


def test_no_digest_of_a_mask_is_a_number_to_a_spreadsheet(tmp_path: Path) -> None:
    """One in 1,800 digests of 16 digits is: all decimal, or with an e among them."""
    from dermseg.storage.decisions import digest_of

    path = tmp_path / "mask.png"
    numbers = 0
    for number in range(20_000):
        content = str(number).encode()
        plain = blake2b(content, digest_size=8).hexdigest()
        if re.fullmatch(r"\d+(e\d+)?", plain):
            path.write_bytes(content)
            with pytest.raises(ValueError, match="could not convert"):
                float(digest_of(path))
            numbers += 1
    assert numbers > 5
