"""The ledger of the validation or test images: every scoring of them is a line.

They only report. The ledger lets anyone check that nothing was chosen by them.
"""

import csv
import os
from collections.abc import Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import numpy as np

from dermseg.errors import OutputError
from dermseg.masks.metrics import METRICS, Scores, bootstrap_interval, mean
from dermseg.training.provenance import commit

COLUMNS = (
    "date",
    "commit",
    "model",
    "set",
    "images",
    *METRICS,
    "jaccard_95_low",
    "jaccard_95_high",
)
SHORT = 7
"""How much of a commit's name is written."""


def append(ledger: Path, model: str, name: str, scores: Sequence[Scores]) -> None:
    """Add the line of one scoring of the set `name`; start the file if it is not there.

    Raises OutputError if it cannot be written.
    """
    code = commit() or ""
    head = code[:SHORT] + "+" * code.endswith("+")
    row = [datetime.now(UTC).date().isoformat(), head, model, name, len(scores)]
    row += [round(value, 5) for value in astuple(mean(scores))]
    interval = bootstrap_interval(np.array([s.jaccard for s in scores]))
    row += [round(float(end), 4) for end in interval]
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    try:
        ledger.parent.mkdir(parents=True, exist_ok=True)
        # One write to the file's end: lines of several processes do not mix.
        place = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        with os.fdopen(place, "wb", buffering=0) as handle:
            if os.fstat(place).st_size == 0:
                writer.writerow(COLUMNS)
            writer.writerow(row)
            handle.write(text.getvalue().encode())
    except OSError as error:
        raise OutputError.about(ledger, error) from error
