import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from dermseg.experiments import null
from dermseg.experiments.page import write_page
from dermseg.experiments.registry import EXPERIMENTS
from dermseg.experiments.report import describe
from dermseg.experiments.study import too_few
from dermseg.storage.files import read_json
from dermseg.storage.tables import read_table

RESULTS = Path(__file__).parents[2] / "results" / "experiments"
KEPT = pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)


@KEPT
def test_a_result_that_is_kept_is_of_the_experiment_that_the_command_runs(file: Path) -> None:
    content = read_json(file)
    assert content["experiment"] == file.stem
    assert content["summary"] == EXPERIMENTS[file.stem].summary


@KEPT
def test_the_sentences_of_a_kept_result_are_those_of_the_command(file: Path) -> None:
    content = read_json(file)
    assert file.with_suffix(".md").read_text(encoding="utf-8") == (
        describe(file.with_suffix(".csv"), file) + "\n"
    )
    if file.stem != "figure-1":  # its note names the photograph
        assert content["notes"] == notes(file.stem)
    for verdict in content["verdicts"]:
        if "train longer" not in verdict["why"]:
            assert verdict["why"] in ("", too_few(verdict["seeds"]))


def notes(name: str) -> list[str]:
    """Return what the command says of an experiment, in a note for each paragraph."""
    experiment = EXPERIMENTS[name]
    module: Any = import_module(f"dermseg.experiments.{experiment.measure}")
    if module is null:
        return [null.tell(read_table(RESULTS / "null-pairs.csv"))]
    own = [module.NOTE] if hasattr(module, "NOTE") else getattr(module, "NOTES", ())
    return [*experiment.notes, *own]


def test_the_kept_report_is_the_commands(tmp_path: Path) -> None:
    shutil.copytree(RESULTS, tmp_path, dirs_exist_ok=True)
    markdown, _ = write_page(tmp_path)
    assert markdown.read_bytes() == (RESULTS / markdown.name).read_bytes()
