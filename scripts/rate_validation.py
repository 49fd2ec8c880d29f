#!/usr/bin/env python
"""Say how well a model knew its mistakes on images that are scored already.

    scripts/rate_validation.py MASKS/report.csv results/NAME/validation.json OUT.json

The report is `dermseg segment`'s and the metrics are `dermseg evaluate --json`'s, of the same
masks. OUT.json receives what `scripts/rate_confidence.py` says out of fold, but for the band.
"""

import json
import sys
from pathlib import Path

import numpy as np

from dermseg.export.rating import Judged, Quality, intervals
from dermseg.storage.files import write_json
from dermseg.storage.tables import read_table


def main(report: Path, metrics: Path, output: Path) -> None:
    """Write and print the rating."""
    jaccard = {
        name: row["jaccard"] for name, row in json.loads(metrics.read_text())["images"].items()
    }
    rows = {Path(row["photograph"]).stem: row for row in read_table(report)}
    if set(rows) != set(jaccard):
        sys.exit(f"{report} and {metrics} are not of the same images")
    names = sorted(rows)

    def column(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([float(rows[image][name]) for image in names])

    nothing = np.full(len(names), np.nan)
    judged = Judged(
        names=np.array(names),
        fold_of=np.full(len(names), "validation"),
        jaccard=np.array([jaccard[image] for image in names]),
        score=column("confidence_score"),
        predicted=column("predicted_jaccard"),
        low=column("jaccard_low"),
        high=column("jaccard_high"),
        flagged=np.array(["low-confidence" in rows[image]["flags"].split() for image in names]),
        within=nothing,
        width=nothing,
    )
    quality = Quality.of(judged).to_dict()
    ends = {name: pair for name, pair in intervals(judged).items() if quality[name] is not None}
    write_json(output, {"quality": quality, "intervals": ends})
    print(json.dumps(quality, indent=1))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
