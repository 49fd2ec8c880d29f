"""Training and validation curves of two inputs (paper, Figure 2)."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dermseg.experiments import arms
from dermseg.experiments.figures.drawing import save
from dermseg.experiments.findings import OUT_OF_FOLD, Findings, Verdict
from dermseg.experiments.registry import RGB, RGB_HSV_L
from dermseg.experiments.statistics import decide, student_interval
from dermseg.experiments.study import Study, computing
from dermseg.storage.tables import read_table, write_table
from dermseg.training.run_folder import fold_name, read_log, read_settings

COLUMNS = ("input", "seed", "fold", "epoch", "training_loss", "held_out_error")
COLORS = {RGB.label: "black", RGB_HSV_L.label: "red"}
"""As in the paper."""
LAST = 0.1
"""Share of the epochs, at the end, over which the gap is averaged."""
NOTE = (
    "The training loss is that of probabilities, on augmented images with dropout. The held-out "
    "error is 1 - Jaccard index of masks with threshold 0.5, at the network's size. So the gap "
    "between the two can be compared between inputs, but means nothing by itself. Its interval is "
    "by Student's t over folds, or over seeds where there are several, each the mean of its folds."
)
Point = dict[str, str]
Key = tuple[str, str]


def measure(study: Study) -> Findings:
    """Collect the curves, draw them from the file that holds them, and compare the gaps."""
    scored = arms.measure(study)
    table = study.output / f"{study.name}-curves.csv"
    write_table(table, COLUMNS, _points(study))
    points = read_table(table)
    figures = [study.output / f"{study.name}.{kind}" for kind in ("png", "svg")]
    for figure in figures:
        draw(points, figure)
    mean, low, high = narrowing(points)
    (images,) = {verdict.images for verdict in scored.verdicts}
    why = scored.verdicts[0].why  # of the same trainings
    learned = not study.untrained()
    verdict = Verdict(
        claim="the extra channels narrow the gap between training and validation",
        source="Figure 2",
        set=OUT_OF_FOLD,
        outcome="undecided" if why else decide(low, high),
        networks=decide(low, high) if learned else "undecided",
        why=why,
        quantity="gap closed",
        difference=mean,
        low=low,
        high=high,
        images=images,
        seeds=len(study.arms[0].runs),
        computing=computing(study.arms),
    )
    return Findings(scored.tables, [*scored.verdicts, verdict], figures, [NOTE])


def _points(study: Study) -> Iterator[dict[str, object]]:
    for arm in study.arms:
        for seed, found in arm.runs.items():
            for run in found:
                settings = read_settings(run)
                fold = run.name if settings is None else fold_name(settings.fold)
                for row in read_log(run):
                    if "held_out_jaccard" not in row:
                        continue  # a run that held nothing out
                    error = 1 - float(row["held_out_jaccard"])
                    yield {
                        "input": arm.label,
                        "seed": seed,
                        "fold": fold,
                        "epoch": row["epoch"],
                        "training_loss": row["loss"],
                        "held_out_error": round(error, 5),
                    }


def gaps(points: Sequence[Point]) -> dict[str, dict[Key, float]]:
    """Return held-out error less training loss, over the last epochs, by input, then (seed, fold).

    A tenth of the epochs, and at least one.
    """
    found: dict[str, dict[Key, list[float]]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        gap = float(point["held_out_error"]) - float(point["training_loss"])
        found[point["input"]][point["seed"], point["fold"]].append(gap)
    return {
        name: {
            key: float(np.mean(epochs[-max(1, round(len(epochs) * LAST)) :]))
            for key, epochs in runs.items()
        }
        for name, runs in found.items()
    }


def narrowing(points: Sequence[Point]) -> tuple[float, float, float]:
    """Return by how much the extra channels narrow the gap, paired by seed and fold; 95 %.

    With several seeds each counts once, as the mean of its folds: these hold the same images.
    """
    found = gaps(points)
    wide, narrow = found[RGB.label], found[RGB_HSV_L.label]
    by_seed = defaultdict(list)
    for seed, fold in sorted(wide.keys() & narrow.keys()):
        by_seed[seed].append(wide[seed, fold] - narrow[seed, fold])
    several = [float(np.mean(folds)) for folds in by_seed.values()]
    (first, *_) = by_seed.values()
    return student_interval(several if len(several) > 1 else first)


def draw(points: Sequence[Point], file: Path) -> None:
    """Draw Figure 2: a line's colour is the input, dashes are the images held out.

    Thick lines are means over all runs, thin ones single runs. The format is the file's suffix.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.add_subplot()
    for name, color in COLORS.items():
        for column, style, meaning in (
            ("training_loss", "-", "training"),
            ("held_out_error", "--", "validation"),
        ):
            lines: dict[Key, dict[int, float]] = defaultdict(dict)
            for point in points:
                if point["input"] == name:
                    key = point["seed"], point["fold"]
                    lines[key][int(point["epoch"])] = float(point[column])
            epochs = sorted(set.intersection(*(set(line) for line in lines.values())))
            values = np.array([[line[number] for number in epochs] for line in lines.values()])
            if len(lines) > 1:
                axes.plot(epochs, values.T, style, color=color, linewidth=0.5, alpha=0.25)
            label = f"{name}, {meaning}"
            marker = "." if len(epochs) == 1 else ""
            axes.plot(epochs, values.mean(0), style, marker=marker, color=color, label=label)
    axes.set_xlabel("epochs over the training images")
    axes.set_ylabel("training: loss; validation: 1 - Jaccard index")
    axes.grid(color="0.9", linewidth=0.6)
    axes.legend(frameon=False)
    save(figure, file)
