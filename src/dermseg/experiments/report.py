"""An experiment's files: NAME.csv, NAME.json, and NAME.md, which is made of the other two."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dermseg.experiments.findings import OUT_OF_FOLD, Findings
from dermseg.experiments.registry import Experiment
from dermseg.experiments.statistics import Table, difference, estimate
from dermseg.masks.metrics import METRICS
from dermseg.progress import counted
from dermseg.storage.files import read_json, write_json, write_text
from dermseg.storage.tables import read_table, write_table

ENDS = ("low", "high")
COLUMNS = (
    "set",
    "row",
    "images",
    "seeds",
    *METRICS,
    *(f"{name}_95_{end}" for name in METRICS for end in ENDS),
    "jaccard_gain",
    *(f"jaccard_gain_95_{end}" for end in ENDS),
)
"""The table's columns. A gain is over the set's first row, paired by image and seed."""
HEADS = ("images", "seeds", "AC", "DI", "JA", "SE", "SP", "JA, 95 %", "gain in JA, 95 %")
ELSEWHERE = "the challenge's 600 test images, scored by its organisers"
"""Heads the paper's rows where none of ours are of the same images."""
ONE_SEED = (
    "With one seed an interval covers the variation of images, not of trainings: another seed can "
    "move a number out of its interval. A verdict about methods takes three seeds."
)
MEMBERS = 6
"""What the paper averages."""


def write_report(
    name: str, experiment: Experiment, findings: Findings, facts: Mapping[str, Any], output: Path
) -> Path:
    """Write the three files into `output`; `facts` go into the JSON file. Return the last."""
    rows = [row for part, tables in findings.tables.items() for row in _rows(part, tables)]
    write_table(output / f"{name}.csv", COLUMNS, rows)
    content = {
        "experiment": name,
        "summary": experiment.summary,
        "paper": experiment.paper,
        **facts,
        "verdicts": [asdict(verdict) for verdict in findings.verdicts],
        "figures": [figure.name for figure in findings.figures],
        "notes": [*experiment.notes, *findings.notes],
        "beside": [table.name for table in findings.beside],
    }
    write_json(output / f"{name}.json", _finite(content))
    page = output / f"{name}.md"
    write_text(page, describe(output / f"{name}.csv", output / f"{name}.json") + "\n")
    return page


def _finite(value: Any) -> Any:
    """Return `value` with None for the ends of an endless interval, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and abs(value) == float("inf") else value


def _rows(part: str, tables: Mapping[str, Table]) -> list[dict[str, object]]:
    first = next(iter(tables.values()))
    rows = []
    for name, table in tables.items():
        own, gain = estimate(table), difference(table, first)
        cells: dict[str, object] = {
            "set": part,
            "row": name,
            "images": own.images,
            "seeds": own.seeds,
        }
        for metric in METRICS:
            mean, *ends = own.of(metric)
            cells[metric] = round(mean, 5)
            cells |= _ends(f"{metric}_95", ends)
        mean, *ends = gain.of("jaccard")
        rows.append(cells | {"jaccard_gain": round(mean, 5)} | _ends("jaccard_gain_95", ends))
    return rows


def _ends(name: str, ends: Sequence[float]) -> dict[str, object]:
    return {f"{name}_{end}": round(value, 4) for end, value in zip(ENDS, ends, strict=True)}


def describe(table: Path, facts: Path) -> str:
    """Return the report as Markdown, from the files `table` and `facts` alone."""
    content = read_json(facts)
    rows = read_table(table)
    lines = [f"# {content['experiment']}: {content['summary']}", ""]
    if content["arms"]:
        lines += [_how(content), ""]
    scored_set = content["scored_set"]
    for part in dict.fromkeys(row["set"] for row in rows):
        ours = [row for row in rows if row["set"] == part]
        lines += [_line([part, *HEADS]), _line(["---"] * (1 + len(HEADS)))]
        if part == scored_set:
            lines += [_paper(name, values) for name, values in content["paper"].items()]
        lines += [*(_ours(row, baseline=row is ours[0]) for row in ours), ""]
    if content["paper"] and not scored_set:
        lines += [_line([ELSEWHERE, *HEADS]), _line(["---"] * (1 + len(HEADS)))]
        lines += [*(_paper(name, values) for name, values in content["paper"].items()), ""]
    for name in content.get("beside", []):  # older files have none
        lines += [*_whole(facts.with_name(name)), ""]
    lines += [f"![{content['summary']}]({name})\n" for name in content["figures"][:1]]
    if content["verdicts"]:
        lines += ["## Verdicts", "", *map(_verdict, content["verdicts"]), ""]
    notes = list(content["notes"])
    if rows and all(row["seeds"] == "1" for row in rows):
        notes.append(ONE_SEED)
    if scored_set and content["members"] < MEMBERS:
        notes.append(
            "The models that were scored on validation or test images have "
            f"{counted(content['members'], 'member')}, not the paper's six."
        )
    return "\n".join([*lines, *(f"{note}\n" for note in notes)]).rstrip()


def _whole(table: Path) -> list[str]:
    """Return a CSV file as a table."""
    with table.open(newline="", encoding="utf-8") as handle:
        head, *rows = csv.reader(handle)
    titles = [name.replace("_", " ") for name in head]
    return [_line(titles), _line(["---"] * len(head)), *map(_line, rows)]


def _how(content: Mapping[str, Any]) -> str:
    """Return a paragraph on what was trained, and with what."""
    arms = content["arms"]
    hours = sum(arm["computing"]["hours"] for arm in arms)
    count = sum(arm["computing"]["runs"] for arm in arms)
    what = []
    for arm in arms:
        settings = arm["settings"]
        size = f"{settings['height']} x {settings['width']}, " if settings else ""
        what.append(f"{arm['label']}: {size}{counted(arm['computing']['epochs'], 'epoch')}")
    logged = (
        f"{counted(count, 'training')}, {hours:.2f} hours of computing"
        if count
        else "no logs of training"
    )
    return (
        f"{'; '.join(what)}. {logged}, {content['machine']['processor']['name']}; "
        f"commit {content['commit'] or 'unknown'}. Out of fold, each image is scored by the member "
        f"that had not seen it, at its mask's own size{_scoring(content['scoring'])}; intervals "
        "are of 95 %, by bootstrap; gains "
        "are over the first row, image by image."
    )


def _scoring(scoring: Mapping[str, Any]) -> str:
    """Return how masks were made of predictions, and which were scored."""
    used = scoring["thresholds"]
    made = f", by the {used['rule']} rule at {used['high']:g}/{used['low']:g}"
    return made if scoring["style"] is None else f"{made}, masks of the style {scoring['style']}"


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _paper(name: str, values: Sequence[float]) -> str:
    return _line([f"the paper: {name}", "", "", *(f"{value:.3f}" for value in values), "", ""])


def _ours(row: Mapping[str, str], *, baseline: bool) -> str:
    values = [f"{float(row[name]):.3f}" for name in METRICS]
    low, high = (float(row[f"jaccard_95_{end}"]) for end in ENDS)
    gain = ""
    if not baseline:
        ends = [float(row[f"jaccard_gain_95_{end}"]) for end in ENDS]
        gain = f"{float(row['jaccard_gain']):+.4f} ({ends[0]:+.4f} to {ends[1]:+.4f})"
    interval = f"{low:.3f} to {high:.3f}"
    return _line([row["row"], row["images"], row["seeds"], *values, interval, gain])


def _verdict(verdict: Mapping[str, Any]) -> str:
    ends = "no interval from one training"
    if verdict["low"] is not None:
        ends = f"{verdict['low']:+.4f} to {verdict['high']:+.4f}"
    computing = verdict["computing"]
    part = "Out of fold" if verdict["set"] == OUT_OF_FOLD else verdict["set"]
    cost = "computing not logged"
    if computing["runs"]:
        cost = (
            f"{counted(computing['runs'], 'training')} of {counted(computing['epochs'], 'epoch')}, "
            f"{computing['hours']:.2f} hours"
        )
    return (
        f"- **{verdict['outcome']}**: {verdict['claim']} ({verdict['source']}). {part}: "
        f"{verdict['quantity']} {verdict['difference']:+.4f} ({ends}); "
        f"{counted(verdict['images'], 'image')}, {counted(verdict['seeds'], 'seed')}, {cost}."
        f"{_reserve(verdict)}"
    )


def _reserve(verdict: Mapping[str, Any]) -> str:
    """Return why a verdict is none about the methods, and what it is about these networks."""
    if not verdict["why"]:
        return ""
    why = verdict["why"][0].upper() + verdict["why"][1:]
    here = (
        "" if verdict["networks"] == "undecided" else f" Of these networks: {verdict['networks']}."
    )
    return f" {why}.{here}"
