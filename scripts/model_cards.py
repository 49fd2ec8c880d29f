"""One page a shipped model, from the model file's own card, its results and model_cards.toml."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dermseg import Segmenter
from dermseg.masks.style import STYLE_IDS
from dermseg.storage.tables import read_table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
WEIGHTS = ROOT / "src" / "dermseg" / "weights"
WORDS: dict[str, Any] = tomllib.loads(
    (Path(__file__).parent / "model_cards.toml").read_text(encoding="utf-8")
)
MODELS = tuple(WORDS["models"])
"""The shipped models, the default first."""
METRICS = ("accuracy", "dice", "jaccard", "sensitivity", "specificity")
TIGHT = "--style semi-automatic"
OPTIONS = {
    "lite0": ("--mirror", TIGHT),
    "lite0-ensemble": (TIGHT,),
    "cdnn29-ensemble": ("--low 0.5",),
}
"""Options with which a model is scored too; the last is the paper's threshold."""
DISTINCT = "without near-duplicates of training images"
SETS = {
    "isic2017-validation": "validation",
    "isic2017-validation-without-duplicates": f"validation, {DISTINCT}",
    "isic2017-full-resolution": "validation, at full resolution",
    "isic2017-full-resolution-as-thumbnails": "the same, as thumbnails",
}
MEASURES = {
    "roc_area": ("ROC area of finding masks below 0.65", ".3f"),
    "gain_of_perfect": (
        "rise in JA without the least sure tenth, as a share of the rise without the worst tenth",
        ".0%",
    ),
    "covered": ("90 % intervals of JA that hold it", ".1%"),
    "unflagged": ("masks without `low-confidence`", ".1%"),
    "failed_unflagged": ("of these, below 0.65", ".1%"),
    "within": ("share of the true border that lies in the band", ".1%"),
    "width": ("the band's area as a share of the mask's, median", ".2f"),
}
"""What a table says of confidence: name in confidence.json, words, and form of the number."""
FEWEST = 5
"""Images below which an interval means nothing."""


@dataclass(frozen=True)
class Way:
    """A shipped model as its card has it, or with an option."""

    model: str
    option: str = ""

    @property
    def name(self) -> str:
        """What a table calls it."""
        return f"{self.model}, `{self.option}`" if self.option else self.model

    @property
    def suffix(self) -> str:
        """What the names of its results end in."""
        return f"-{self.option.strip('-').replace(' ', '-')}" if self.option else ""

    def scored(self, images: str) -> dict[str, str] | None:
        """Return the last scoring on a set of images: that of the file that is there."""
        name = f"{self.model} {self.option}".strip()
        ledger = read_table(RESULTS / "ledger.csv")
        found = [row for row in ledger if (row["model"], row["set"]) == (name, images)]
        return found[-1] if found else None

    def result(self, name: str) -> Any:
        """Return a JSON file of its results, None where there is none."""
        path = RESULTS / self.model / f"{name.format(self.suffix)}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def ways(model: str) -> list[Way]:
    """Return the ways in which a model is scored and timed."""
    return [Way(model), *(Way(model, option) for option in OPTIONS.get(model, ()))]


def out_of_fold(model: str) -> dict[str, str] | None:
    """Return the scores of an ensemble's images by the members that had not seen them."""
    table = RESULTS / model / "members.csv"
    if not table.is_file():
        return None
    return next(row for row in read_table(table) if row["member"] == "out of fold")


def interval(row: dict[str, str]) -> str:
    """Return a row's 95 % interval of the Jaccard index."""
    return f"{float(row['jaccard_95_low']):.3f} to {float(row['jaccard_95_high']):.3f}"


def metrics(row: dict[str, str]) -> list[str]:
    """Return a row's five metrics, the Jaccard index with its interval."""
    values = {metric: f"{float(row[metric]):.3f}" for metric in METRICS}
    values["jaccard"] += f" ({interval(row)})"
    return list(values.values())


def computing(model: str) -> str:
    """Return what was spent on a model: epochs, size and hours, in both rounds if there were."""
    folders = (RESULTS / model / part for part in ("first", "second", ""))
    rounds = [folder for folder in folders if folder.is_dir()]
    given = [
        json.loads((each / "settings.json").read_text(encoding="utf-8"))["settings"]
        for each in rounds
    ]
    epochs = " + ".join(str(settings["epochs"]) for settings in given)
    size = f"{given[-1]['height']} x {given[-1]['width']}"
    if (RESULTS / model / "members.csv").is_file():
        tables = [read_table(each / "members.csv") for each in rounds]
        trained = [[row for row in table if row["epochs"]] for table in tables]
        hours = sum(float(row["hours"]) for table in trained for row in table)
        many = f"({epochs})" if len(rounds) > 1 else epochs
        return f"{len(trained[-1])} x {many} epochs, {size}, {hours:.1f} h"
    seconds = sum(float(row["seconds"]) for each in rounds for row in read_table(each / "log.csv"))
    return f"{epochs} epochs, {size}, {seconds / 3600:.1f} h"


def group_jaccard(part: dict[str, Any]) -> str:
    """Return a group's mean Jaccard index, with its interval where there are enough images."""
    low, high = part["interval"]["jaccard"]
    bounds = f" ({low:.3f} to {high:.3f})" if part["count"] >= FEWEST else ""
    return f"{part['mean']['jaccard']:.3f}{bounds}"


def with_interval(rated: dict[str, Any], name: str, form: str) -> str:
    """Return one measure of confidence, with its interval; nothing where it was not measured."""
    value = rated["quality"][name]
    if value is None:
        return ""
    return f"{value:{form}} ({' to '.join(format(end, form) for end in rated['intervals'][name])})"


def table(head: list[str], body: list[list[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def write_card(model: str) -> str:
    """Return the model card of a shipped model, as Markdown."""
    words = WORDS["models"][model]
    story = [words["origin"].strip(), WORDS["training"].strip(), NEAREST]
    limits = [
        f"- {line.replace('UNSEEN SOURCES', unseen_sources())}"
        for line in [*words["limits"], *WORDS["limits"]]
    ]
    parts = [
        f"# {model}",
        words["summary"],
        "\n".join(table(["", ""], [[key, value] for key, value in _facts(model).items()])),
        f"## Intended use\n\n{WORDS['intended_use'].strip()}",
        f"## Scores\n\n{SCORES}\n\n" + "\n".join(_scores(model)),
        f"## By {_kinds(model)}\n\n{GROUPS}\n\n" + "\n".join(_groups(model)),
        *_confidence(model),
        "\n\n".join(["## How it came about", *story, f"```\n{words['commands'].strip()}\n```"]),
        f"## Data\n\n{WORDS['data'].strip()}",
        "## Limits\n\n" + "\n".join(limits),
    ]
    return f"{GENERATED}\n\n" + "\n\n".join(parts) + "\n"


GENERATED = "<!-- Written by scripts/tables.py from scripts/model_cards.toml and results/. -->"
SCORES = (
    "AC accuracy, DI Dice, JA Jaccard index with a 95 % bootstrap interval over images, SE "
    "sensitivity, SP specificity, by the challenge's definitions."
)
GROUPS = "The Jaccard index of the 150 validation images, with 95 % bootstrap intervals."
NEAREST = "The nearest commands today:"


def _facts(model: str) -> dict[str, str]:
    """Return the first table of a card: what the file is, from its own card where it says so."""
    words, segmenter = WORDS["models"][model], Segmenter(model)
    card = segmenter.card
    trainings = card.members
    devices = sorted({training["device"] for training in trainings})
    megabytes = (WEIGHTS / f"{model}.onnx").stat().st_size / 1e6
    return {
        "network": words["network"],
        "input": f"{words['input']}; any size, scaled to {segmenter.height} x {segmenter.width}",
        "first weights": words["first_weights"],
        "arithmetic": words["arithmetic"],
        "mirror averaging": "on by default" if card.mirror else "off by default (`--mirror`)",
        "says how sure it is": words["confidence"],
        "file": f"`{model}.onnx`, {megabytes:.1f} MB",
        "trained on": f"{max(training['images'] for training in trainings)} images",
        "computing": f"{computing(model)}; {', '.join(devices)}",
        "licence": f"{words['licence']}; the data are CC-0",
    }


def _scores(model: str) -> list[str]:
    """Return the table of a model's scores."""
    body = []
    if total := out_of_fold(model):
        body.append(["training images, out of fold", total["images"], *metrics(total)])
    for images, name in SETS.items():
        for way in ways(model):
            if row := way.scored(images):
                named = f"{name}, `{way.option}`" if way.option else name
                body.append([named, row["images"], *metrics(row)])
    return table(["set", "images", "AC", "DI", "JA", "SE", "SP"], body)


def _kinds(model: str) -> str:
    """Return what the images are grouped by."""
    *others, last = Way(model).result("validation")["groups"]
    return f"{', '.join(others)} and {last}"


def _groups(model: str) -> list[str]:
    """Return the Jaccard index by group."""
    scored = Way(model).result("validation")["groups"]
    body = [
        [f"{kind}: {value.replace('_', ' ')}", str(part["count"]), group_jaccard(part)]
        for kind, parts in scored.items()
        for value, part in parts.items()
    ]
    return table(["group", "images", "JA"], body)


def held_out_confidence(model: str) -> dict[str, Any]:
    """Return how well a model's masks are judged on what was held out: by words, for each style.

    The default model is trained on everything; networks like it that held out whole sources speak.
    """
    how = "sources held out" if model == "lite0" else "out of fold"
    return {f"{how}, {style}": Way(model).result(f"{style}/confidence") for style in STYLE_IDS}


def unseen_sources() -> str:
    """Return a sentence on traced masks of sources that networks like lite0 had not seen."""
    rated = Way("lite0").result("traced/confidence")["quality"]
    failed, unflagged, wrong = (
        f"{100 * rated[name]:.1f} %" for name in ("failed", "unflagged", "failed_unflagged")
    )
    return (
        "Masks are worse for photographs of a source that was not in the training. Networks like "
        f"it, which held out whole sources, had a Jaccard index of {rated['jaccard']:.3f} on "
        f"traced masks of such photographs; {failed} of the masks failed. By the calibration on "
        f"the other sources, {unflagged} of them have no flag `low-confidence`, and {wrong} of "
        "these fail."
    )


def _confidence(model: str) -> list[str]:
    """Return the section on how well a model knows its mistakes; none for one that does not say."""
    measured = held_out_confidence(model)
    for way in ways(model):
        name = f"validation, `{way.option}`" if way.option else "validation"
        measured[name] = way.result("validation{}-confidence")
    rated = {name: each for name, each in measured.items() if each is not None}
    if not rated:
        return []
    body = [["images", *(str(each["quality"]["images"]) for each in rated.values())]]
    for name, (text, form) in MEASURES.items():
        cells = [with_interval(each, name, form) for each in rated.values()]
        if any(cells):
            body.append([text, *cells])
    lines = table(["", *rated], body)
    return [
        "## How well it knows its mistakes\n\n"
        "[Confidence](../science/confidence.md) says what these mean.\n\n" + "\n".join(lines)
    ]
