"""What readers decided about the masks of a folder: a table beside the masks for each reader."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from dermseg.errors import DataError, UsageError
from dermseg.storage.files import reading
from dermseg.storage.tables import read_table, undefused

PREDICTED = ("predicted_jaccard", "jaccard_low", "jaccard_high")
REMARK = ("reviewer", "note", "seconds")
COLUMNS = ("photograph", "mask", "digest", "flags", *PREDICTED, "unsure", "decision", *REMARK)
NAME = re.compile(r"[\w-]{1,40}")


@dataclass(frozen=True)
class Kept:
    """A mask that a reader kept: accepted as it was, or corrected.

    `photograph` and `mask` are paths with forward slashes, the mask's below its folder, and `path`
    is its file. `changed` says that the mask was made again since it was accepted.
    """

    photograph: str
    mask: str
    path: Path
    changed: bool


@dataclass(frozen=True)
class Reader:
    """Someone who reviews a folder of masks; of several all but one have a name.

    Raises UsageError for a name that is no part of a file's name.
    """

    masks: Path
    name: str = ""

    def __post_init__(self) -> None:
        if self.name and not NAME.fullmatch(self.name):
            raise UsageError(
                f"--reader {self.name!r}: letters, digits, _ and -, 40 characters at most"
            )

    @property
    def table(self) -> Path:
        """The table of decisions."""
        return self.masks / f"decisions{self._ending}.csv"

    @property
    def corrected(self) -> Path:
        """The folder of corrected masks, beside that of the masks."""
        folder = self.masks.resolve()
        return folder.with_name(f"{folder.name}-corrected{self._ending}")

    @property
    def _ending(self) -> str:
        return f"-{self.name}" if self.name else ""

    def rows(self) -> dict[str, dict[str, str]]:
        """Return the rows of the table by photograph, none if there is no table.

        Raises DataError for another table, or one that is damaged.
        """
        if not self.table.is_file():
            return {}
        with reading(self.table):
            rows = read_table(self.table)
        if rows and set(rows[0]) != set(COLUMNS):
            raise DataError(f"{self.table}: not a table of decisions; move it away")
        return {row["photograph"]: row for row in rows}

    def kept(self, rows: Mapping[str, Mapping[str, str]] | None = None) -> list[Kept]:
        """Return the masks that the reader accepted or corrected, by photograph.

        `rows` are those of the table, if they were read already.
        """
        kept = []
        for row in (self.rows() if rows is None else rows).values():
            if row["decision"] not in ("accepted", "corrected"):
                continue
            mask = undefused(row["mask"])
            folder = self.masks if row["decision"] == "accepted" else self.corrected
            path = folder / mask
            changed = row["decision"] == "accepted" and (
                path.is_file() and digest_of(path) != row["digest"]
            )
            kept.append(Kept(undefused(row["photograph"]), mask, path, changed))
        return sorted(kept, key=lambda one: one.photograph)


def readers_of(masks: Path) -> list[Reader]:
    """Return who has a table of decisions in a folder of masks: the unnamed, then by name."""
    stems = sorted(path.stem for path in masks.glob("decisions*.csv"))
    names = (stem.removeprefix("decisions") for stem in stems)
    return [
        Reader(masks, name.removeprefix("-"))
        for name in names
        if not name or (name[0] == "-" and NAME.fullmatch(name[1:]))
    ]


def digest_of(mask: Path) -> str:
    """Return a digest of a mask's file as it is now, which no spreadsheet takes for a number."""
    return "b" + blake2b(mask.read_bytes(), digest_size=8).hexdigest()
