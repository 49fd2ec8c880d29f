from pathlib import Path

import pytest

from dermseg.experiments.registry import EXPERIMENTS
from dermseg.storage.files import read_json

RESULTS = Path(__file__).parents[2] / "results" / "experiments"


@pytest.mark.parametrize("file", sorted(RESULTS.glob("*.json")), ids=lambda file: file.stem)
def test_a_result_that_is_kept_is_of_the_experiment_that_the_command_runs(file: Path) -> None:
    content = read_json(file)
    assert content["experiment"] == file.stem
    assert content["summary"] == EXPERIMENTS[file.stem].summary
