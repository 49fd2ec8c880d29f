"""Tables as CSV files."""

import csv
import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from dermseg.storage.files import written_whole

FORMULA = re.compile(r"(^|[;\t|])(?=[=+\-@\t\r])")
DEFUSED = re.compile(r"(^|[;\t|])'(?=[=+\-@\t\r])")
"""Where a spreadsheet takes a formula to begin, which may separate cells by other than commas."""
SEPARATORS = (",", ";", "\t", "|")
"""What stands between cells, the usual first."""
LONGEST_HEADER = 2**16
"""Characters of a table's first line; what has more is no table."""
CHUNK = 2**20


def write_table(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, object]],
    *,
    sync: bool = False,
) -> None:
    """Write a CSV file in which no text is a formula to a spreadsheet.

    With `sync` it is on the disk when this returns, for what nobody can make again. Raises
    OutputError if it cannot be written.
    """
    with written_whole(path) as temporary, temporary.open("wb") as handle:
        handle.writelines(encoded_rows(columns, rows))
        if sync:
            handle.flush()
            os.fsync(handle.fileno())


def encode_table(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    """Return a CSV file in which no text is a formula to a spreadsheet."""
    return b"".join(encoded_rows(columns, rows))


def encoded_rows(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
    """Yield the lines of such a file, so that a million rows need not be in memory."""
    text = StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({column: _cell(row[column]) for column in columns})
        yield _taken(text)
    yield _taken(text)


def _taken(text: StringIO) -> bytes:
    """Return what a buffer holds, and empty it."""
    content = text.getvalue().encode("utf-8", "surrogateescape")
    text.seek(0)
    text.truncate()
    return content


def read_table(path: Path) -> list[dict[str, str]]:
    """Return what `table_rows` yields."""
    return list(table_rows(path))


def table_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows, by column, of a CSV file that dermseg wrote; missing cells are empty.

    Names that are no UTF-8 come back, and so does what a spreadsheet has saved again (see
    `foreign_rows`), but in an encoding of its own. Raises OSError if the file cannot be read, and
    ValueError or csv.Error if it is no table.
    """
    with path.open("rb") as handle:
        encoding = _marked(handle.read(2)) or "utf-8-sig"
    with path.open(newline="", encoding=encoding, errors="surrogateescape") as text:
        yield from _rows(text)


def foreign_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows, by column, of a CSV file that anybody wrote; missing cells are empty.

    Spreadsheets put a mark before the first column, separate by semicolons or tabs where the comma
    is a decimal's, and encode in UTF-16 or Windows-1252. Raises as `read_table` does.
    """
    with path.open(newline="", encoding=_encoding(path), errors="replace") as text:
        yield from _rows(text, skipinitialspace=True)


def _rows(text: TextIO, **form: Any) -> Iterator[dict[str, str]]:
    first = text.readline(LONGEST_HEADER)
    if first.lower().startswith("sep="):  # as Excel is told
        separator = first[4:].rstrip("\r\n")[:1] or SEPARATORS[0]
        first = text.readline(LONGEST_HEADER)
    else:
        separator = max(SEPARATORS, key=first.count)
    return csv.DictReader(chain([first], text), delimiter=separator, restval="", **form)


def _encoding(path: Path) -> str:
    decoder = getincrementaldecoder("utf-8")()
    with path.open("rb") as handle:
        chunk = handle.read(CHUNK)
        if marked := _marked(chunk):
            return marked
        try:
            while chunk:
                decoder.decode(chunk)
                chunk = handle.read(CHUNK)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def _marked(beginning: bytes) -> str:
    return "utf-16" if beginning.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else ""


def _cell(value: object) -> object:
    """Return `value` so that no spreadsheet takes it for a formula; a number stays one."""
    if not isinstance(value, str) or not FORMULA.search(value):
        return value
    try:
        float(value)
    except ValueError:
        return defused(value)
    return value


def defused(text: str) -> str:
    """Return a text in which no spreadsheet sees a formula."""
    return FORMULA.sub(r"\1'", text)


def undefused(text: str) -> str:
    """Undo `defused`."""
    return DEFUSED.sub(r"\1", text)
