"""The report's first half page: the paper's number, ours, why they differ, and what matters."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dermseg.experiments.findings import OUT_OF_FOLD
from dermseg.experiments.registry import CDNN29, MATTER, RGB_HSV_L
from dermseg.experiments.report import MEMBERS
from dermseg.settings import PROTOCOLS, TrainingSettings, changed_options
from dermseg.storage.tables import read_table

OURS = (CDNN29.label, RGB_HSV_L.label)
"""What rows of the paper's own network are called."""
TABLES = ("table-2", "table-4", "table-3", "table-5")
"""Experiments on the paper's sets, those on validation images first."""
Content = Mapping[str, Any]


def open_report(folder: Path, contents: Sequence[Content]) -> Iterator[str]:
    """Yield the lines of the opening, from the experiments' files in `folder`."""
    by_name = {content["experiment"]: content for content in contents}
    for name in TABLES:
        if name in by_name:
            yield from _number(folder, by_name[name])
            yield ""
            break
    yield "| claim | the paper | ours, 95 % | seeds | methods | these networks |"
    yield f"|{' --- |' * 6}"
    for text, theirs in MATTER.items():
        found = [v for content in contents for v in content["verdicts"] if v["claim"] == text]
        yield _claim(text, theirs, found)


def _number(folder: Path, content: Content) -> Iterator[str]:
    """Yield the paper's Jaccard index of its network, ours, and what differs between the two."""
    scored = content["scored_set"]
    theirs = next(values[2] for name, values in content["paper"].items() if name in OURS)
    rows = read_table(folder / f"{content['experiment']}.csv")
    (ours,) = [row for row in rows if row["row"] in OURS and row["set"] == scored]
    low, high = float(ours["jaccard_95_low"]), float(ours["jaccard_95_high"])
    yield (
        f"CDNN-29 on {scored}: the paper has a Jaccard index of **{theirs:.3f}**, these trainings "
        f"have **{float(ours['jaccard']):.3f}** ({low:.3f} to {high:.3f})."
    )
    yield ""
    changed = ", ".join(_changes(content))
    if not changed:
        yield "They were trained with the paper's settings, as far as the paper gives them."
        return
    yield (
        f"What differs from the paper's settings: {changed}. What its text leaves open is listed "
        "among the readings."
    )


def _changes(content: Content) -> Iterator[str]:
    """Yield each setting of our training of CDNN-29 that is not the paper's."""
    (arm,) = [arm for arm in content["arms"] if arm["label"] in OURS]
    if not arm["settings"]:
        yield "settings that were not kept"
        return
    known = TrainingSettings.__dataclass_fields__.keys() & arm["settings"].keys()
    settings = TrainingSettings.from_dict({name: arm["settings"][name] for name in known})
    paper = PROTOCOLS["paper"]
    for option, value in changed_options(settings, paper).items():
        usual = getattr(paper, option.removeprefix("--").replace("-", "_"), None)
        yield f"{option} {value}" if usual is None else f"{option} {value} (the paper: {usual})"
    used = content["scoring"]["thresholds"]
    if used["rule"] != "paper":
        yield f"--rule {used['rule']} (the paper: paper)"
    if content["members"] < MEMBERS:
        yield f"{content['members']} of the {MEMBERS} members"


def _claim(text: str, theirs: str, found: Sequence[Content]) -> str:
    """Return a row for a claim: its verdict with the most seeds, then of the most images."""
    if not found:
        return f"| {text} | {theirs} | not made |  |  |  |"
    best = max(found, key=lambda verdict: (verdict["seeds"], verdict["images"]))
    ends = ""
    if best["low"] is not None:
        ends = f" ({best['low']:+.4f} to {best['high']:+.4f})"
    place = "out of fold" if best["set"] == OUT_OF_FOLD else best["set"]
    return (
        f"| {text} | {theirs} | {best['difference']:+.4f}{ends}, {place} | {best['seeds']} | "
        f"**{best['outcome']}** | {best['networks']} |"
    )
