"""The rows of a table of decisions, as items of a review."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

from dermseg.batch.jobs import Job
from dermseg.errors import DataError
from dermseg.storage.decisions import COLUMNS, PREDICTED
from dermseg.storage.tables import undefused, write_table
from dermseg.web.review.items import Decision, Item, Remark
from dermseg.web.schema import Predicted


def write_decisions(path: Path, items: Iterable[Item], others: Iterable[Mapping[str, str]]) -> None:
    """Write a table of decisions whole: the items', then `others`, rows as they were read.

    Raises OutputError if it cannot be written.
    """
    write_table(path, COLUMNS, [*map(_row, items), *others], sync=True)


def item_of(job: Job, row: Mapping[str, str], path: Path) -> Item:
    """Return the item that a row of `path` describes; raise DataError if the row is damaged."""
    decision = row["decision"]
    if decision not in get_args(Decision):
        raise DataError(f"{path}: {decision!r} is no decision")
    try:
        unsure = float(row["unsure"])
        remark = Remark(
            undefused(row["reviewer"]), undefused(row["note"]), float(row["seconds"] or 0)
        )
        ends = [float(row[name]) for name in PREDICTED if row[name]]
    except ValueError as error:
        raise DataError(
            f"{path}: has text where a number belongs ({error}); move it away"
        ) from error
    predicted = None
    if len(ends) == len(PREDICTED):
        predicted = Predicted(jaccard=ends[0], low=ends[1], high=ends[2])
    known = row["digest"], row["flags"], unsure, decision, predicted, remark
    return Item(job, *known)  # type: ignore[arg-type]


def _row(item: Item) -> dict[str, object]:
    return {
        "photograph": item.job.name.as_posix(),
        "mask": item.job.mask.as_posix(),
        "digest": item.digest,
        "flags": item.flags,
        **_cells(item.predicted),
        "unsure": item.unsure,
        "decision": item.decision,
        "reviewer": item.remark.reviewer,
        "note": item.remark.note,
        "seconds": round(item.remark.seconds, 1) or "",
    }


def _cells(predicted: Predicted | None) -> dict[str, object]:
    if predicted is None:
        return dict.fromkeys(PREDICTED, "")
    values = (predicted.jaccard, predicted.low, predicted.high)
    return {name: round(value, 3) for name, value in zip(PREDICTED, values, strict=True)}
