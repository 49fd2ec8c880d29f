#!/usr/bin/env python
"""Say how well trainings know their own mistakes, out of fold.

    scripts/rate_confidence.py DATA results/NAME RUN...
    scripts/rate_confidence.py DATA results/NAME MODEL

RUN is a folder that `dermseg train` filled with --protocol or --fold, DATA what it was trained on;
the members of a MODEL predict the images that they have not seen. Each fold is judged by a
calibration on the others. A folder for each style of outline receives confidence.csv, a row an
image; confidence.json, how good that is, with 95 % intervals, by diagnosis, age and sex, and the
calibration that `dermseg export --calibrate-on` would put into a model; and confidence.png, risk
against coverage.
"""

import sys
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dermseg.data.metadata import KINDS, UNKNOWN, Groups, read_groups
from dermseg.export.calibration import FAILURE, HeldOut, fit, gather
from dermseg.export.rating import Judged, Quality, judge
from dermseg.export.recalibration import predict_unseen
from dermseg.inference.confidence import Numbers
from dermseg.storage.files import write_json, written_whole
from dermseg.storage.tables import read_table, write_table

COLUMNS = ("image", "fold", *(field.name for field in fields(Judged)[2:]))
RESAMPLES = 1000


def main(data: Path, output: Path, sources: list[str]) -> None:
    """Write the files, and print what they say."""
    if Path(sources[0]).is_dir():
        found = gather([Path(source) for source in sources], data)
    else:
        with TemporaryDirectory() as cache:
            found = predict_unseen(sources[0], data, cache=Path(cache), allow_resized=True)
    for style, held in found.items():
        (output / style).mkdir(parents=True, exist_ok=True)
        report(held, data, output / style)


def report(held: HeldOut, data: Path, output: Path) -> None:
    """Judge the images that were held out of `data`, and write the files."""
    judged = judge(held)
    quality = Quality.of(judged)
    groups = by_group(judged, read_groups(data))
    content = {
        "quality": quality.to_dict(),
        "intervals": intervals(judged),
        "groups": {
            kind: {value: part.to_dict() for value, part in parts.items()}
            for kind, parts in groups.items()
        },
        "calibration": fit(held).to_dict(),
    }
    write_json(output / "confidence.json", content)
    write_table(output / "confidence.csv", COLUMNS, rows(judged))
    draw(output / "confidence.csv", output / "confidence.png")
    print(quality)


def by_group(judged: Judged, groups: Groups) -> dict[str, dict[str, Quality]]:
    """Rate the masks of each diagnosis, age, sex and style that `groups` knows."""
    found: dict[str, dict[str, Quality]] = {}
    for kind in KINDS:
        values = np.array([groups.get(name, {}).get(kind, UNKNOWN) for name in judged.names])
        known = sorted(set(values.tolist()))
        if known != [UNKNOWN]:
            found[kind] = {value: Quality.of(judged.where(values == value)) for value in known}
    return found


def intervals(judged: Judged) -> dict[str, tuple[float, float]]:
    """Return the 95 % bootstrap intervals over images, low and high, of what can be said."""
    chance = np.random.default_rng(0)
    count = len(judged.names)
    drawn = [
        list(asdict(Quality.of(judged.where(chance.integers(0, count, count)))).values())
        for _ in range(RESAMPLES)
    ]
    table = np.array(drawn, np.float64)
    return {
        field.name: (float(low), float(high))
        for field, column in zip(fields(Quality), table.T, strict=True)
        if field.name != "images" and not np.isnan(column).any()
        for low, high in [np.quantile(column, [0.025, 0.975])]
    }


def risks(values: Numbers, order: Numbers) -> Numbers:
    """Return the mean of `values` (n,) over the 1, 2, ... n images that `order` calls surest.

    The k-th is the risk at the coverage k / n (Geifman & El-Yaniv 2017).
    """
    found: Numbers = np.cumsum(values[np.argsort(-order, kind="stable")]) / np.arange(
        1, len(values) + 1
    )
    return found


def rows(judged: Judged) -> list[dict[str, object]]:
    """Return a row for each image, in order of their names."""
    ordered = judged.where(np.argsort(judged.names))
    values = zip(*(getattr(ordered, field.name).tolist() for field in fields(Judged)), strict=True)
    return [
        dict(zip(COLUMNS, (round(v, 5) if isinstance(v, float) else v for v in row), strict=True))
        for row in values
    ]


def draw(table: Path, figure: Path) -> None:
    """Draw risk against coverage, for our order, a perfect one and a random one."""
    from matplotlib.figure import Figure

    images = read_table(table)
    jaccard = np.array([float(row["jaccard"]) for row in images])
    score = np.array([float(row["score"]) for row in images])
    unflagged = np.mean([row["flagged"] == "False" for row in images])
    coverage = np.arange(1, len(images) + 1) / len(images)
    failed = (jaccard < FAILURE).astype(np.float64)
    sheet = Figure(figsize=(9, 3.8), layout="constrained")
    for axes, values, what in zip(
        sheet.subplots(1, 2),
        (1 - jaccard, failed),
        ("mean of 1 - Jaccard index", f"share with a Jaccard index below {FAILURE}"),
        strict=True,
    ):
        axes.axhline(values.mean(), color="0.6", linestyle=":", label="random order")
        axes.plot(coverage, risks(values, score), color="#0b6363", label="our order")
        axes.plot(
            coverage, risks(values, jaccard), color="black", linestyle="--", label="perfect order"
        )
        axes.axvline(unflagged, color="#a3231b", linewidth=0.8, label="without low-confidence")
        axes.set_xlabel("coverage: share of masks kept, the surest first")
        axes.set_ylabel(f"risk: {what}")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, None)
        axes.grid(color="0.9", linewidth=0.6)
    axes.legend(frameon=False)
    with written_whole(figure) as temporary:
        sheet.savefig(temporary, dpi=130)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
