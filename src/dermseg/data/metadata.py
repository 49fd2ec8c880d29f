"""Who is in a data set: diagnosis, age, sex, style and groups from the tables that lie beside it.

The tables of the ISIC challenges of 2016 to 2024, of isic-cli, HAM10000 and PH2 are known by their
columns, in any spelling, separator and encoding; a column `style` holds one's own labels of how a
lesion was outlined. Side data never stop the work: what is not used is passed over, and said.
"""

import csv
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dermseg.imaging.photographs import PHOTOGRAPH_SUFFIXES, UNREAD_SUFFIXES
from dermseg.masks.style import STYLE_IDS
from dermseg.storage.tables import foreign_rows, undefused

Facts = Mapping[str, str]
Groups = Mapping[str, Facts]
"""Image id to what is known of it: "diagnosis", "age" (a band of 20 years), "sex" and "style"."""

KINDS = ("diagnosis", "age", "sex", "style")
UNKNOWN = "unknown"
IDS = (
    "image_id",
    "isic_id",
    "image",
    "image_name",
    "img_id",
    "filename",
    "file_name",
    "file",
    "photograph",
    "name",
)
"""Columns that name the image, the likeliest first."""
COLUMNS = {
    "diagnosis": (
        "diagnosis",
        "diagnosis_1",
        "dx",
        "diagnostic",
        "iddx_1",
        "clinical_diagnosis",
        "benign_malignant",
        "target",
    ),
    "age": ("age_approximate", "age_approx", "age"),
    "sex": ("sex", "gender"),
    "style": ("style",),
}
"""Columns that say something of each kind; the first of them that a table has counts."""
GROUP_COLUMNS = {
    "patient_id": ("patient_id", "patientid", "patient", "subject_id", "subjectid", "subject"),
    "lesion_id": ("lesion_id", "lesionid"),
}
"""Columns whose images of one value share a fold, likewise."""
SPLIT, FOLD = "split", "fold"
"""Columns that say what an image is for, and in which fold it is held out."""
MARKS = {
    "melanoma": "melanoma",
    "seborrheic_keratosis": "seborrheic_keratosis",
    "mel": "melanoma",
    "nv": "nevus",
    "bcc": "basal_cell_carcinoma",
    "ak": "actinic_keratosis",
    "akiec": "actinic_keratosis",
    "bkl": "benign_keratosis",
    "df": "dermatofibroma",
    "vasc": "vascular_lesion",
    "scc": "squamous_cell_carcinoma",
    "unk": UNKNOWN,
}
"""The challenges' columns with a 1 for the images of a diagnosis; HAM10000 writes them as codes."""
TWO_CLASSES = {"melanoma", "seborrheic_keratosis"}
"""The columns of 2017."""
UNMARKED = "nevus"
"""The diagnosis of an image that none of these marks."""
CODES = {
    "clinical_diagnosis": {"0": "common_nevus", "1": "atypical_nevus", "2": "melanoma"},
    "target": {"0": "benign", "1": "malignant"},
    "benign_malignant": {"0": "benign", "1": "malignant"},
}
"""What numbers mean in a column: PH2's, and those of the challenges."""
SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}
BLANKS = {"", UNKNOWN, "na", "n/a", "nan", "none", "null", "?", "-"}
OLDEST = 130
SPREADSHEETS = (".xlsx", ".xls", ".ods")
TEXT = ".txt"
TABLES = (".csv", ".tsv", ".tab", TEXT, *SPREADSHEETS)
NO_FACTS = f"no column of {', '.join((*KINDS, *GROUP_COLUMNS, SPLIT))} or {FOLD}"
NO_IDS = f"no column that names images, such as {IDS[0]}, {IDS[1]} or {IDS[2]}"
SHOWN = 3
"""Tables that a line names."""


class Metadata(Groups):
    """What the tables of a folder say of images, by image id.

    Ids are compared without folders, suffixes, capitals and Unicode's forms. Where tables differ
    the first one's value holds, and an unknown value never replaces a known one.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, Facts]] = {}
        self._named: dict[str, set[str]] = {}
        self._unused: defaultdict[str, list[str]] = defaultdict(list)
        self._odd: Counter[str] = Counter()

    def __getitem__(self, image_id: str) -> Facts:
        return self._known[image_key(image_id)][1]

    def __iter__(self) -> Iterator[str]:
        return (image_id for image_id, _ in self._known.values())

    def __len__(self) -> int:
        return len(self._known)

    def passed_over(self, image_ids: Iterable[str]) -> list[str]:
        """Return a line for each reason why tables, or values, are not used for these images."""
        wanted = {image_key(image_id) for image_id in image_ids}
        others = [table for table, keys in self._named.items() if keys.isdisjoint(wanted)]
        reasons = {**self._unused, "names none of these images": others}
        lines = [f"{_listed(tables)}: {why}" for why, tables in reasons.items() if tables]
        return lines + [f"{count} images: {what}" for what, count in self._odd.items()]

    def add(self, table: Path, name: str) -> None:
        """Add what a table says; one that says nothing, or cannot be read, is noted as unused.

        `name` is what people call it.
        """
        try:
            rows = list(_read(table))  # all of it or nothing
        except _UnusedError as error:
            if table.suffix.lower() != TEXT:  # PH2's table is one, and most others are prose
                self._unused[str(error)].append(name)
        except (OSError, ValueError, csv.Error) as error:
            known = isinstance(error, OSError) and error.strerror
            self._unused[f"cannot be read ({known or error})"].append(name)
        else:
            self._named[name] = {image_key(image_id) for image_id, _ in rows}
            for image_id, facts in rows:
                if facts:  # a table of patients or folds alone has none
                    self._add(name, image_id, facts)

    def _add(self, table: str, image_id: str, facts: Facts) -> None:
        name, known = self._known.get(image_key(image_id), (image_id, {}))
        for kind, value in facts.items():
            before = known.get(kind, UNKNOWN)
            if kind == "style" and value not in (*STYLE_IDS, UNKNOWN):
                self._odd[f"{table} has a style other than {' or '.join(STYLE_IDS)}"] += 1
            elif before == UNKNOWN:
                known = {**known, kind: value}
            elif value not in (UNKNOWN, before):
                self._odd[f"{table} has another {kind} than an earlier row or table"] += 1
        self._known[image_key(image_id)] = name, known


class Column(dict[str, str]):
    """A column's values by `image_key`, and the names of the `tables` that have it."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[str] = []


def read_groups(folder: Path, photographs: Collection[Path] = ()) -> Metadata:
    """Return what the tables of a data set say of each image; empty where there are none.

    They lie in `folder`, or between it and its `photographs`: beside these, or beside a folder
    that holds them.
    """
    found = Metadata()
    for name, table in _tables(folder, photographs):
        found.add(table, name)
    return found


def _tables(folder: Path, photographs: Collection[Path]) -> Iterator[tuple[str, Path]]:
    """Yield each table with its path in `folder`, its own first."""
    holding = {photograph.parent for photograph in photographs}
    above = {place for held in holding for place in (held, *held.parents)}
    for place in sorted({folder, *(each for each in above if each.is_relative_to(folder))}):
        try:
            files = sorted(place.iterdir())
        except OSError:  # whoever asks reads the folder's images too, and says so
            continue
        # Texts beside photographs below are most often labels, one an image.
        kinds = {*TABLES} - ({TEXT} if place != folder and place in holding else set())
        for table in files:
            kind, name = table.suffix.lower(), table.name.lower()
            if not name.startswith(".") and (kind in kinds or name.endswith("metadata")):
                yield table.relative_to(folder).as_posix(), table


def read_columns(
    folder: Path, columns: Collection[str], photographs: Collection[Path] = ()
) -> dict[str, Column]:
    """Return the values of `columns` in the tables that `read_groups` reads, by column.

    Blank values are left out, and so are tables that cannot be read. The first table counts.
    """
    found: dict[str, Column] = {}
    for name, table in _tables(folder, photographs):
        try:
            values = columns_of(table, columns) if table.is_file() else {}
        except (OSError, ValueError, csv.Error):
            continue  # `Metadata.passed_over` says so
        for column, by_image in values.items():
            known = found.setdefault(column, Column())
            known.update(by_image | known)
            known.tables.append(name)
    return found


def columns_of(table: Path, columns: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the values of `columns` in one table, by column and `image_key`, without blanks.

    Those of GROUP_COLUMNS are known in other spellings. Nothing if it names no images. Raises as
    `foreign_rows` does.
    """
    found: dict[str, dict[str, str]] = {}
    for row in foreign_rows(table):
        cells = {_plain(name): cell for name, cell in row.items() if isinstance(name, str)}
        image = next((cells[name] for name in IDS if name in cells), "")
        for column in columns:
            spellings = GROUP_COLUMNS.get(column, (_plain(column),))
            value = next((cells[name] for name in spellings if name in cells), "").strip()
            if image and value.casefold() not in BLANKS:
                found.setdefault(column, {}).setdefault(image_key(undefused(image)), value)
    return found


def _plain(column: str) -> str:
    return re.sub(r"\W+", "_", column.strip().casefold())


_OF_SPLITS = {SPLIT, FOLD, *(name for names in GROUP_COLUMNS.values() for name in names)}
"""Columns that are facts of no image, and that `dermseg.data.splits` reads."""


class _UnusedError(Exception):
    """A table is not used; the message says why."""


@dataclass(frozen=True)
class _Columns:
    """Which columns of a table say what."""

    image: str
    facts: dict[str, tuple[str, str]]
    """Kind to the column's name in the table, and in COLUMNS."""
    marks: dict[str, str]
    """Column to the diagnosis of the images that have a 1 there."""

    @classmethod
    def of(cls, header: Iterable[str]) -> "_Columns":
        """Read a table's first line; raise _UnusedError if it names no images, or no facts."""
        names = {_plain(column): column for column in header}
        image = next((names[name] for name in IDS if name in names), None)
        if image is None:
            raise _UnusedError(NO_IDS)
        facts = {
            kind: (names[name], name)
            for kind, columns in COLUMNS.items()
            for name in columns[::-1]
            if name in names
        }
        marks = {names[name]: name for name in MARKS if name in names}
        if "diagnosis" in facts or len(marks) < 2:
            marks = {}
        if not facts and not marks and names.keys().isdisjoint(_OF_SPLITS):
            raise _UnusedError(NO_FACTS)
        return cls(image, facts, marks)

    def read(self, row: Mapping[str, str]) -> dict[str, str]:
        """Return the facts in a row."""
        found = {kind: _value(kind, row[own], name) for kind, (own, name) in self.facts.items()}
        if self.marks:
            found["diagnosis"] = self._marked(row)
        return found

    def _marked(self, row: Mapping[str, str]) -> str:
        try:
            values = {self.marks[own]: _number(row[own]) for own in self.marks}
        except ValueError:
            return UNKNOWN
        marked = [MARKS[name] for name, value in values.items() if value == 1]
        if not marked:
            return UNMARKED if values.keys() == TWO_CLASSES else UNKNOWN
        return marked[0]


def _read(table: Path) -> Iterator[tuple[str, Facts]]:
    """Yield what a table says of each image; raise _UnusedError if it says nothing."""
    if table.suffix.lower() in SPREADSHEETS:
        raise _UnusedError("spreadsheets are not read; save it as CSV")
    if not table.is_file():
        raise _UnusedError("not a file")
    columns = None
    for row in foreign_rows(table):
        if columns is None:
            header = [name for name in row if name is not None]
            if _is_2016(header):
                columns = _Columns(header[0], {"diagnosis": (header[1], "benign_malignant")}, {})
                yield header[0], columns.read({name: name for name in header})
            else:
                columns = _Columns.of(header)
        if image_id := undefused(row[columns.image].strip()):
            yield image_id, columns.read(row)
    if columns is None:
        raise _UnusedError("has no rows")


def _is_2016(header: list[str]) -> bool:
    """Say whether the first line is a row already: ISIC 2016's table has no names of columns."""
    return (
        len(header) == 2
        and header[1].strip() in ("benign", "malignant", "0.0", "1.0")
        and re.fullmatch(r"ISIC_\d+", header[0]) is not None
    )


def _value(kind: str, text: str, column: str) -> str:
    text = text.strip()
    plain = text.casefold()
    if plain in BLANKS:
        return UNKNOWN
    if kind == "age":
        return _age_band(text)
    if kind == "sex":
        return SEXES.get(plain, UNKNOWN)
    if kind == "style":
        return re.sub(r"[\s_]+", "-", plain)
    return CODES.get(column, {}).get(plain.removesuffix(".0"), MARKS.get(plain, text))


def _age_band(age: str) -> str:
    try:
        years = _number(age.rstrip("+"))
    except ValueError:
        return UNKNOWN
    if not 0 <= years <= OLDEST:
        return UNKNOWN
    first = int(years) // 20 * 20
    return f"{first} to {first + 19}"


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def image_key(image_id: str) -> str:
    """Return what is compared of an image's name, or of its path."""
    name = unicodedata.normalize("NFC", image_id).replace("\\", "/").rpartition("/")[2].strip()
    stem, dot, suffix = name.rpartition(".")
    named = f".{suffix}".lower() in PHOTOGRAPH_SUFFIXES | UNREAD_SUFFIXES
    return (stem if dot and named else name).casefold()


def _listed(tables: list[str]) -> str:
    more = f" and {len(tables) - SHOWN} more" if len(tables) > SHOWN else ""
    return ", ".join(tables[:SHOWN]) + more
