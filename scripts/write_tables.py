#!/usr/bin/env python
"""Write the tables of README.md and MODEL_CARD.md from the files in results/.

    scripts/write_tables.py [--check]

A table stands between `<!-- NAME -->` and `<!-- end -->`. With --check nothing is written, and the
exit status is 1 if a table is not what the results say.
"""

import csv
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
PAGES = ("README.md", "MODEL_CARD.md")
METRICS = ("accuracy", "dice", "jaccard", "sensitivity", "specificity")
PAPER = (0.953, 0.865, 0.783, 0.879, 0.979)
"""Table II of the paper: six models of 600 passes each, on the same 150 images."""
SETS = {
    "isic2017-validation": "",
    "isic2017-validation-without-duplicates": ", without near-duplicates of training images",
}
FEWEST = 5
"""Images below which an interval means nothing."""


def scores() -> list[str]:
    """Return the table of every scoring of the validation images, the paper's first."""
    lines = [
        "| on ISIC 2017's validation images | images | AC | DI | JA | SE | SP | JA, 95 % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| the paper: ensemble of six, 600 passes each | 150 | "
        + " | ".join(f"{value:.3f}" for value in PAPER)
        + " | |",
    ]
    with (RESULTS / "ledger.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            values = " | ".join(f"{float(row[name]):.3f}" for name in METRICS)
            interval = f"{float(row['jaccard_95_low']):.3f} to {float(row['jaccard_95_high']):.3f}"
            name = row["model"] + SETS[row["set"]]
            lines.append(f"| {name} | {row['images']} | {values} | {interval} |")
    return lines


def groups() -> list[str]:
    """Return the metrics of the validation images by diagnosis, age and sex."""
    content = json.loads((RESULTS / "cdnn29" / "validation.json").read_text())
    lines = [
        "| validation images | images | AC | DI | JA | SE | SP | JA, 95 % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind, parts in content["groups"].items():
        for value, part in parts.items():
            values = " | ".join(f"{part['mean'][name]:.3f}" for name in METRICS)
            low, high = part["interval"]["jaccard"]
            interval = f"{low:.3f} to {high:.3f}" if part["count"] >= FEWEST else ""
            name = f"{kind}: {value.replace('_', ' ')}"
            lines.append(f"| {name} | {part['count']} | {values} | {interval} |")
    return lines


def thresholds() -> list[str]:
    """Return the comparison of the dual thresholds' rules."""
    lines = ["| rule | high | low | JA | 95 % |", "| --- | --- | --- | --- | --- |"]
    path = RESULTS / "trials" / "cdnn29-96x128" / "thresholds.csv"
    with path.open(newline="") as handle:
        for row in csv.DictReader(handle):
            jaccard = f"{float(row['jaccard']):.4f}"
            cells = (row["rule"], row["high"], row["low"], jaccard, row["interval_95"])
            lines.append(f"| {' | '.join(cells)} |")
    return lines


TABLES = {"scores": scores, "groups": groups, "thresholds": thresholds}


def main(*, check: bool) -> int:
    """Write the tables, or check them."""
    stale = []
    for page in PAGES:
        before = (ROOT / page).read_text()
        after = before
        for name, table in TABLES.items():
            place = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", re.DOTALL)
            text = "\n".join(table()) + "\n"
            after = place.sub(text.replace("\\", r"\\"), after)
        if after != before:
            stale.append(page)
            if not check:
                (ROOT / page).write_text(after)
    if check and stale:
        print(f"{', '.join(stale)}: not what results/ says; run scripts/write_tables.py")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
