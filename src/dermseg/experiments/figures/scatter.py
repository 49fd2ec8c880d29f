"""The Jaccard index of one method against that of others, image by image (paper, Figure 5)."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

from dermseg.experiments.baselines import BASELINES
from dermseg.experiments.crossfit import baseline_method, crossfit, open_images, predictions
from dermseg.experiments.figures.drawing import save
from dermseg.experiments.findings import OUT_OF_FOLD, Findings
from dermseg.experiments.statistics import Table, correlation, paired_jaccard, restrict
from dermseg.experiments.study import Study, shared
from dermseg.storage.tables import read_table, write_table

PANEL = 2.9
"""Inches of a panel's side."""
NOTE = (
    "Each point is an image; r is Pearson's, with a 95 % bootstrap interval. In the paper r is "
    "0.759 against an active contour and 0.873 against U-Net, on the 600 test images."
)


def measure(study: Study) -> Findings:
    """Draw the first arm against the other ones and the active contour."""
    first = study.arms[0]
    images = open_images(study, predictions(first))
    method = baseline_method("active-contour", BASELINES["active-contour"], images)
    contour = crossfit(method, first, images, study.output)
    tables = shared({arm.label: study.out_of_fold(arm) for arm in [*study.arms, contour]})
    others = [contour.label, *(arm.label for arm in study.arms[1:])]
    figures = write(study, tables, first.label, others)
    return Findings(
        {OUT_OF_FOLD: tables},
        study.judge({OUT_OF_FOLD: tables}, study.experiment.claims),
        figures,
        [NOTE],
    )


def write(
    study: Study, tables: Mapping[str, Table], first: str, others: Sequence[str]
) -> list[Path]:
    """Write every image's Jaccard index, and the figure that is made of that file."""
    file = study.output / f"{study.name}-jaccard.csv"
    rows = restrict({name: tables[name] for name in (first, *others)})
    images = sorted({image for scores in rows[first].values() for image in scores})
    columns = {name: paired_jaccard(rows[first], rows[name])[1] for name in rows}
    lines = (
        {"image": image, **{name: round(float(columns[name][n]), 5) for name in rows}}
        for n, image in enumerate(images)
    )
    write_table(file, ("image", *rows), lines)
    texts = {}
    for name in others:
        r, low, high = correlation(rows[first], rows[name])
        texts[name] = f"r = {r:.3f} ({low:.3f} to {high:.3f})"
    figures = [study.output / f"{study.name}.{kind}" for kind in ("png", "svg")]
    for figure in figures:
        draw(file, texts, figure)
    return figures


def draw(table: Path, texts: Mapping[str, str], file: Path) -> None:
    """Draw the second column of `table` against each later one, with its text above."""
    from matplotlib.figure import Figure

    rows = read_table(table)
    _, first, *others = rows[0]
    columns = min(len(others), 4)
    lines = ceil(len(others) / columns)
    figure = Figure(figsize=(columns * PANEL, lines * (PANEL + 0.3)), layout="constrained")
    places = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in places[len(others) :]:
        axes.set_visible(False)
    for axes, name in zip(places, others, strict=False):
        x, y = ([float(row[column]) for row in rows] for column in (name, first))
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, zorder=0)
        axes.scatter(x, y, s=7, alpha=0.35, linewidths=0, color="#1f4e8c", rasterized=True)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set_xlabel(f"JA, {name}", fontsize=8)
        axes.set_ylabel(f"JA, {first}", fontsize=8)
        axes.set_title(texts[name], fontsize=8)
        axes.tick_params(labelsize=7)
    save(figure, file)
