"""Tables as CSV files."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path

from dermseg.storage.files import written_whole

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV file in which no text is a formula to a spreadsheet.

    Raises OutputError if it cannot be written.
    """
    text = StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({column: _defused(row[column]) for column in columns})
    with written_whole(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", errors="surrogateescape")


def read_table(path: Path, *, errors: str = "surrogateescape") -> list[dict[str, str]]:
    """Return a CSV file's rows, by column; `errors` is what becomes of bytes that are not UTF-8.

    Spreadsheets put a mark before the first column, which is dropped. Raises OSError if the file
    cannot be read, and ValueError or csv.Error if it is no table.
    """
    with path.open(newline="", encoding="utf-8-sig", errors=errors) as handle:
        return list(csv.DictReader(handle))


def _defused(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
