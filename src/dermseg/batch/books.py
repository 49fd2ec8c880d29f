"""The books of an output folder: its journal and its tables, or those of one shard."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dermseg.batch.jobs import Job
from dermseg.batch.report import REPORT, TIMINGS
from dermseg.errors import UsageError
from dermseg.storage.journal import JOURNAL, Entry, Journal, check_own, has_entries, read_journal
from dermseg.storage.stores import File, LocalStore

SHARD = re.compile(r"(\d+)/(\d+)")
SHARD_JOURNAL = re.compile(r"journal-(\d+)-of-(\d+)\.jsonl")


@dataclass(frozen=True, order=True)
class Shard:
    """One of `count` equal parts of a list of jobs; `number` counts from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the shard that a text such as 3/16 names; UsageError if it names none."""
        named = SHARD.fullmatch(text)
        if named is None or not 1 <= int(named[1]) <= int(named[2]):
            raise UsageError(f"--shard {text}: write NUMBER/COUNT, from 1/COUNT to COUNT/COUNT")
        return cls(int(named[1]), int(named[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Return every `count`-th job, so that each shard has its part of every subfolder."""
        return jobs[self.number - 1 :: self.count]

    def name(self, file: str) -> str:
        """Return what the shard's own file is called, for that of a whole run."""
        stem, _, suffix = file.rpartition(".")
        return f"{stem}-{self.number}-of-{self.count}.{suffix}"


@dataclass(frozen=True)
class Books:
    """Where a run keeps its journal and its tables: a shard has its own, in the same folder."""

    folder: Path
    shard: Shard | None = None

    @property
    def journal(self) -> Path:
        """The journal, which one process has open at a time."""
        return self._path(JOURNAL)

    @property
    def report(self) -> Path:
        """The table with a row for each photograph."""
        return self._path(REPORT)

    @property
    def timings(self) -> Path:
        """The table of how long each photograph took."""
        return self._path(TIMINGS)

    def _path(self, file: str) -> Path:
        return self.folder / (self.shard.name(file) if self.shard else file)

    def open(self, jobs: Iterable[Job] = ()) -> Journal:
        """Open the journal; a shard's also knows what the folder's own noted of its jobs."""
        if self.shard is None:
            return Journal(self.journal)
        masks = {job.mask.as_posix() for job in jobs}
        return _ShardJournal(self.journal, read_journal(self.folder / JOURNAL, masks))

    def check_own(self) -> None:
        """Raise UsageError for tables in the place of these that dermseg has not made."""
        tables = (self.report, self.timings)
        noted = read_journal(self.journal, {table.name for table in tables})
        for table in tables:
            check_own(File(LocalStore(self.folder), table.name), noted.get(table.name))

    def are_new(self) -> bool:
        """Say whether nothing was noted in the folder yet, as far as these books go."""
        return not any(map(has_entries, {self.journal, self.folder / JOURNAL}))


class _ShardJournal(Journal):
    """A shard's journal, which also knows what another one noted earlier."""

    def __init__(self, path: Path, earlier: Mapping[str, Entry]) -> None:
        self._earlier = earlier
        super().__init__(path)

    def last(self, mask: str) -> Entry | None:
        """Return what was noted of a mask last, None if no run has made it or begun to."""
        return super().last(mask) or self._earlier.get(mask)


def shards_in(folder: Path) -> list[Shard]:
    """Return the shards whose journals lie in a folder, in order."""
    named = (SHARD_JOURNAL.fullmatch(path.name) for path in folder.glob("journal-*.jsonl"))
    return sorted(Shard(int(each[1]), int(each[2])) for each in named if each)
