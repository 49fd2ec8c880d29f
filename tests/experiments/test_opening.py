"""The half page that the report opens with."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from dermseg.experiments.opening import open_report
from dermseg.experiments.registry import EXPERIMENTS, MATTER
from dermseg.settings import PROTOCOLS, ScoringSettings, ThresholdSettings
from dermseg.storage.tables import write_table

PAPER = PROTOCOLS["paper"]


def content(folder: Path, **changes: Any) -> dict[str, Any]:
    """Write what the opening reads of table-2, and return its JSON."""
    row = {"set": "the-validation", "row": "CDNN-29", "jaccard": 0.7012}
    row |= {"jaccard_95_low": 0.66, "jaccard_95_high": 0.74}
    other = {**row, "set": "out-of-fold", "jaccard": 0.5}
    write_table(folder / "table-2.csv", list(row), [other, row])
    settings = {k: v for k, v in asdict(PAPER).items() if k not in ("seed", "fold")}
    usual = {
        "experiment": "table-2",
        "scored_set": "the-validation",
        "paper": EXPERIMENTS["table-2"].paper,
        "arms": [{"label": "CDNN-29", "settings": settings}],
        "scoring": asdict(ScoringSettings(ThresholdSettings("paper"))),
        "members": 6,
        "verdicts": [],
    }
    return json.loads(json.dumps({**usual, **changes}))  # type: ignore[no-any-return]


def verdict(claim: str, seeds: int, images: int, difference: float) -> dict[str, Any]:
    return {
        "claim": claim,
        "set": "out-of-fold",
        "outcome": "undecided" if seeds < 3 else "supported",
        "networks": "supported",
        "difference": difference,
        "low": difference - 0.01,
        "high": difference + 0.01,
        "images": images,
        "seeds": seeds,
    }


def test_the_papers_number_stands_beside_ours(tmp_path: Path) -> None:
    text = "\n".join(open_report(tmp_path, [content(tmp_path)]))
    assert "index of **0.783**, these trainings have **0.701** (0.660 to 0.740)" in text
    assert "with the paper's settings" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"members": 2}, "2 of the 6 members"),
        ({"scoring": asdict(ScoringSettings())}, "--rule complete (the paper: paper)"),
    ],
)
def test_what_differs_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in "\n".join(open_report(tmp_path, [content(tmp_path, **changes)]))


def test_settings_that_differ_are_named_with_the_papers(tmp_path: Path) -> None:
    settings = asdict(replace(PAPER, epochs=12, height=96))
    del settings["seed"], settings["fold"]
    arms = [{"label": "CDNN-29", "settings": settings}]
    text = "\n".join(open_report(tmp_path, [content(tmp_path, arms=arms)]))
    assert "--height 96 (the paper: 192), --epochs 12 (the paper: 600)." in text


def test_each_claim_that_matters_is_a_row(tmp_path: Path) -> None:
    depth = next(iter(MATTER))
    found = [verdict(depth, 1, 2000, 0.05), verdict(depth, 3, 400, 0.02)]
    lines = list(open_report(tmp_path, [content(tmp_path, verdicts=found)]))
    rows = [line for line in lines if line.split(" | ")[0].strip("| ") in MATTER]
    assert len(rows) == len(MATTER) == 6
    assert "+0.0200 (+0.0100 to +0.0300), out of fold | 3 | **supported**" in rows[0]
    assert all("not made" in row for row in rows[1:])


def test_the_claims_that_matter_are_claims_of_experiments() -> None:
    claims = {claim.text for each in EXPERIMENTS.values() for claim in each.claims}
    assert MATTER.keys() <= claims
