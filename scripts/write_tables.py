#!/usr/bin/env python
"""Write the tables of README.md and its neighbours from the files in results/.

    scripts/write_tables.py [--check]

A table stands between `<!-- NAME -->` and `<!-- end -->`. With --check nothing is written, and the
exit status is 1 if a table is not what the results say.
"""

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
BENCHMARKS = RESULTS / "benchmarks"
WEIGHTS = ROOT / "src" / "dermseg" / "weights"
PAGES = ("README.md", "MODEL_CARD.md", "ARCHITECTURE.md", "docs/speed.md")
METRICS = ("accuracy", "dice", "jaccard", "sensitivity", "specificity")
PAPER = (0.953, 0.865, 0.783, 0.879, 0.979)
"""Table II of the paper, on the same 150 images."""
PAPER_COMPUTING = "6 x 600 passes, 192 x 256, 60 h on a GPU"
"""Section III-B: a pass took about 60 seconds."""
SETS = {
    "isic2017-validation": "",
    "isic2017-validation-without-duplicates": ", without near-duplicates of training images",
}
MEASURES = {
    "roc_area": ("ROC area of finding masks below 0.65", ".3f"),
    "gain_of_perfect": (
        "the least sure tenth set aside: gain in JA, as a share of a perfect order's",
        ".0%",
    ),
    "covered": ("90 % intervals of JA that hold it", ".1%"),
    "unflagged": ("masks without `low-confidence`", ".1%"),
    "failed_unflagged": ("of these, below 0.65", ".1%"),
    "within": ("share of the true border that lies in the band", ".1%"),
    "width": ("the band's area as a share of the mask's, median", ".2f"),
}
"""What a table says of confidence: name in confidence.json, words, and form of the number."""
RATED = {
    "confidence.json": "members of {}, out of fold",
    "validation-confidence.json": "{}, validation",
}
"""Files of such numbers, and the images that they are of."""
JUDGES = "lite0-ensemble"
"""The trainings whose folds say how sure the default model may be."""
SAME = {"lite0-flips": "lite0"}
"""Models with another's weights, and so with its training."""
BEFORE = ("first", "second")
"""Folders, in a model's results, of the trainings that the next one's weights come from."""
FEWEST = 5
"""Images below which an interval means nothing."""


def scores() -> list[str]:
    """Return the table of every scoring, the paper's first, with the computing behind it."""
    lines = [
        "| on ISIC 2017 | computing | images | AC | DI | JA | SE | SP | JA, 95 % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        f"| the paper | {PAPER_COMPUTING} | 150 | "
        + " | ".join(f"{value:.3f}" for value in PAPER)
        + " | |",
    ]
    # The ledger also has the arms of experiments, whose tables lie with them.
    ledger = _rows(RESULTS / "ledger.csv")
    # Of a model that was replaced, only the last scoring is of the one that is there now.
    last = {(row["model"], row["set"]): row for row in ledger if row["set"] in SETS}
    rows = [row for row in last.values() if (RESULTS / row["model"]).is_dir()]
    lines += [_scored(row["model"] + SETS[row["set"]], row["model"], row) for row in rows]
    for settings in sorted(RESULTS.glob("*/settings.json")):
        model = settings.parent.name
        if total := _out_of_fold(model):
            lines.append(_scored(f"{model}, training images out of fold", model, total))
    return lines


def models() -> list[str]:
    """Return the shipped models' scores, the paper's first, with the computing behind them."""
    lines = [
        "| model | computing | AC | DI | JA, 95 % | SE | SP | JA out of fold |",
        f"|{' --- |' * 8}",
        f"| the paper | {PAPER_COMPUTING} | {' | '.join(f'{value:.3f}' for value in PAPER)} | |",
    ]
    ledger = _rows(RESULTS / "ledger.csv")
    for name in sorted(path.stem for path in WEIGHTS.glob("*.onnx")):
        scored = [row for row in ledger if (row["model"], row["set"]) == (name, next(iter(SETS)))]
        accuracy, dice, jaccard, *rest = (f"{float(scored[-1][metric]):.3f}" for metric in METRICS)
        cells = [name, _computing(name), accuracy, dice, f"{jaccard} ({_interval(scored[-1])})"]
        out_of_fold = _out_of_fold(name)
        known = (
            f"{float(out_of_fold['jaccard']):.3f} ({_interval(out_of_fold)})" if out_of_fold else ""
        )
        lines.append(f"| {' | '.join([*cells, *rest, known])} |")
    return lines


def _out_of_fold(model: str) -> dict[str, str] | None:
    """Return the scores of a protocol's images by the members that had not seen them."""
    table = RESULTS / model / "members.csv"
    if not table.is_file():
        return None
    return next(row for row in _rows(table) if row["member"] == "out of fold")


def _interval(row: dict[str, str]) -> str:
    return f"{float(row['jaccard_95_low']):.3f} to {float(row['jaccard_95_high']):.3f}"


def _scored(name: str, model: str, row: dict[str, str]) -> str:
    values = " | ".join(f"{float(row[metric]):.3f}" for metric in METRICS)
    return f"| {name} | {_computing(model)} | {row['images']} | {values} | {_interval(row)} |"


def _computing(model: str) -> str:
    """Return what was spent on a model: passes, size and hours, in all rounds if there were."""
    model = SAME.get(model, model)
    before = [RESULTS / model / name for name in BEFORE]
    rounds = [folder for folder in (*before, RESULTS / model) if folder.is_dir()]
    given = [json.loads((each / "settings.json").read_text())["settings"] for each in rounds]
    passes = " + ".join(str(settings["passes"]) for settings in given)
    size = f"{given[-1]['height']} x {given[-1]['width']}"
    if (RESULTS / model / "members.csv").is_file():
        tables = [_rows(each / "members.csv") for each in rounds]
        trained = [[row for row in table if row["passes"]] for table in tables]
        hours = sum(float(row["hours"]) for rows in trained for row in rows)
        many = f"({passes})" if len(rounds) > 1 else passes
        return f"{len(trained[-1])} x {many} passes, {size}, {hours:.1f} h"
    seconds = sum(float(row["seconds"]) for each in rounds for row in _rows(each / "log.csv"))
    return f"{passes} passes, {size}, {seconds / 3600:.1f} h"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def groups() -> list[str]:
    """Return each shipped model's Jaccard index by diagnosis, age and sex."""
    files = sorted(RESULTS.glob("*/validation.json"))
    models = {path.parent.name: json.loads(path.read_text())["groups"] for path in files}
    lines = [
        f"| validation images | images | {' | '.join(f'JA, {name}' for name in models)} |",
        f"| --- | --- |{' --- |' * len(models)}",
    ]
    first = next(iter(models.values()))
    for kind, parts in first.items():
        for value, part in parts.items():
            cells = [_jaccard(groups[kind][value]) for groups in models.values()]
            name = f"{kind}: {value.replace('_', ' ')}"
            lines.append(f"| {name} | {part['count']} | {' | '.join(cells)} |")
    return lines


def _jaccard(part: dict[str, Any]) -> str:
    low, high = part["interval"]["jaccard"]
    interval = f" ({low:.3f} to {high:.3f})" if part["count"] >= FEWEST else ""
    return f"{part['mean']['jaccard']:.3f}{interval}"


def thresholds() -> list[str]:
    """Return the comparison of the dual thresholds' rules, out of fold."""
    lines = ["| rule, high/low | images | JA | 95 % | gain | 95 % |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for row in _rows(RESULTS / "experiments" / "thresholds.csv"):
        ends = [f"{float(row[f'jaccard_95_{end}']):.3f}" for end in ("low", "high")]
        gain = [f"{float(row[f'jaccard_gain_95_{end}']):+.4f}" for end in ("low", "high")]
        cells = [row["row"], row["images"], f"{float(row['jaccard']):.4f}", " to ".join(ends)]
        cells += [f"{float(row['jaccard_gain']):+.4f}", " to ".join(gain)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def confidence() -> list[str]:
    """Return how well each model's masks are judged, and their borders bounded."""
    models = {
        where.format(path.parent.name): json.loads(path.read_text())
        for name, where in RATED.items()
        for path in sorted(RESULTS.glob(f"*/{name}"))
    }
    images = [str(model["quality"]["images"]) for model in models.values()]
    lines = [f"| | {' | '.join(models)} |", f"| --- |{' --- |' * len(models)}"]
    lines.append(f"| images | {' | '.join(images)} |")
    for name, (text, form) in MEASURES.items():
        cells = [_with_interval(model, name, form) for model in models.values()]
        lines.append(f"| {text} | {' | '.join(cells)} |")
    return lines


def _with_interval(model: dict[str, Any], name: str, form: str) -> str:
    value = model["quality"][name]
    if value is None:
        return ""
    return f"{value:{form}} ({' to '.join(format(end, form) for end in model['intervals'][name])})"


def confidence_groups() -> list[str]:
    """Return the same by diagnosis, age and sex, for the trainings that speak for the default."""
    lines = [
        f"| members of {JUDGES}, out of fold | images | JA | below 0.65 | flagged | "
        "of the unflagged below 0.65 | ROC area | 90 % intervals hold | border in the band |",
        f"| --- |{' --- |' * 8}",
    ]
    judged = json.loads((RESULTS / JUDGES / "confidence.json").read_text())
    for kind, parts in judged["groups"].items():
        for value, part in parts.items():
            name = f"{kind}: {value.replace('_', ' ')}"
            shares = [part["failed"], 1 - part["unflagged"], part["failed_unflagged"]]
            cells = [str(part["images"]), f"{part['jaccard']:.3f}", *map(_share, shares)]
            cells += ["" if part["roc_area"] is None else f"{part['roc_area']:.3f}"]
            cells += [_share(part["covered"]), _share(part["within"])]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def speed() -> list[str]:
    """Return how fast each shipped model segments photographs of each size, stage by stage."""
    lines = [
        "| model | photographs | one, ms | decode | network | mask | encode | folder, a second "
        "| share of the limit | times the plain loop | MB |",
        f"|{' --- |' * 11}",
    ]
    for model, chip, timed in _timings():
        for folder in timed["folders"]:
            stages = ("decode", "network", "postprocess", "encode")
            one = f"{folder['one']:.1f} ({folder['one_95']:.1f})"
            cells = [f"{model}, {chip}", folder["name"], one]
            cells += [f"{folder['stages'][stage]:.1f}" for stage in stages]
            ratios = timed["ratios"][folder["name"]]
            cells += [f"{folder['rate']:.1f}", f"{ratios['limit']:.2f}", f"{ratios['plain']:.1f}"]
            lines.append(f"| {' | '.join(cells)} | {folder['peak_megabytes']:.0f} |")
    return lines


def speed_at_a_glance() -> list[str]:
    """Return how fast each shipped model segments photographs of the first size, and starts."""
    timings = list(_timings())
    size = timings[0][2]["folders"][0]["name"]
    lines = [
        f"| {size} | one, ms | folder, a second | times the plain loop | MB | start, s "
        "| importing torch, s |",
        f"|{' --- |' * 7}",
    ]
    for model, chip, timed in timings:
        folder, ratio = timed["folders"][0], timed["ratios"][size]["plain"]
        cells = [f"{model}, {chip}", f"{folder['one']:.0f}", f"{folder['rate']:.0f}"]
        cells += [f"{ratio:.1f}", f"{folder['peak_megabytes']:.0f}"]
        cells += [f"{timed['start']:.2f}", f"{timed['torch_start']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _timings() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each timing of a shipped model, after the model's name and the processor's."""
    for path in sorted(BENCHMARKS.glob("segment-*.json")):
        timed = json.loads(path.read_text())
        model = timed["model"].removesuffix(".onnx")
        if (WEIGHTS / f"{model}.onnx").is_file():
            yield model, timed["machine"].partition("(")[0].partition(",")[0], timed


def libraries() -> list[str]:
    """Return what each library weighs."""
    lines = ["| library | MB | ms to import |", "| --- | --- | --- |"]
    for path in sorted(BENCHMARKS.glob("libraries-*.json")):
        weighed = json.loads(path.read_text())
        lines.append(f"| Python alone, on {weighed['machine']} | | {weighed['python']:.0f} |")
        for name, each in weighed["libraries"].items():
            lines.append(f"| {name} | {each['megabytes']:.1f} | {each['milliseconds']:.0f} |")
    return lines


TABLES = {
    "models": models,
    "scores": scores,
    "groups": groups,
    "thresholds": thresholds,
    "confidence": confidence,
    "confidence-groups": confidence_groups,
    "speed": speed,
    "speed-at-a-glance": speed_at_a_glance,
    "libraries": libraries,
}


def main(*, check: bool) -> int:
    """Write the tables, or check them."""
    stale = []
    for page in PAGES:
        before = (ROOT / page).read_text()
        after = before
        for name, table in TABLES.items():
            place = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end -->)", re.DOTALL)
            text = "\n".join(table()) + "\n"
            after = place.sub(text.replace("\\", r"\\"), after, count=1)
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
