"""The results of an experiment, as its report and its page show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dermseg.experiments.statistics import Outcome, Table

OUT_OF_FOLD = "out-of-fold"
"""What the set of all images is called, each scored by the member that had not seen it."""


@dataclass(frozen=True)
class Computing:
    """What trainings cost: how many there were, epochs of each (the fewest), hours of all."""

    runs: int
    epochs: int
    hours: float

    @classmethod
    def of(cls, logs: Sequence[Sequence[Mapping[str, str]]]) -> "Computing":
        """Add up what the logs of trainings say, each a row an epoch."""
        seconds = sum(float(row["seconds"]) for log in logs for row in log)
        return cls(len(logs), min((len(log) for log in logs), default=0), round(seconds / 3600, 3))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the data say of a claim: the difference that it is about, with a 95 % interval.

    `outcome` is of the methods, `networks` of the networks that were trained here: other seeds make
    others. `why` says why nothing is said of the methods, if not for the interval. `quantity` says
    what differs, and `images` to `computing` what stands behind the answer.
    """

    claim: str
    source: str
    set: str
    outcome: Outcome
    networks: Outcome
    why: str
    quantity: str
    difference: float
    low: float
    high: float
    images: int
    seeds: int
    computing: Computing


@dataclass(frozen=True)
class Findings:
    """What an experiment found: scores by set and row, verdicts, figures, what to know of them.

    The first row of a set is the one that the others are compared with. `beside` are further
    tables, CSV files, which the report shows as they are.
    """

    tables: Mapping[str, Mapping[str, Table]]
    verdicts: Sequence[Verdict]
    figures: Sequence[Path] = ()
    notes: Sequence[str] = ()
    beside: Sequence[Path] = ()
