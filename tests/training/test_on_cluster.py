"""A protocol and a search, trained on a cluster of this machine; needs the extra `cluster`."""

import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from dermseg.cli.main import main

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra cluster"),
    pytest.mark.filterwarnings("ignore"),  # what Ray itself warns of
]
SIZE = ["--height", "32", "--width", "48", "--batch-size", "4", "--epochs", "2", "--folds", "2"]
SIZE += ["--precision", "float32"]
PLUGIN = """
import sys
sys.path.append({tests!r})
import dermseg
from toy import Tiny
dermseg.register_network("tiny-elsewhere", Tiny)
"""


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    plugin = tmp_path_factory.mktemp("plugin") / "tiny_elsewhere.py"  # imported once
    tests = str(Path(__file__).parent.parent)
    plugin.write_text(PLUGIN.format(tests=tests), encoding="utf-8")
    return [*SIZE, "--network", "tiny-elsewhere", "--plugin", str(plugin), "--device", "cpu"]


def are_close(one: Path, other: Path) -> bool:
    """Say whether two trainings have the same weights, but for what the number of threads does."""
    first, second = (load_file(folder / "weights.safetensors") for folder in (one, other))
    return all(np.allclose(first[name], second[name], atol=1e-3) for name in first)


def test_a_protocol_and_a_search_are_those_of_this_machine(
    tmp_path: Path, toy_data: Path, options: list[str]
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    train = ["train", str(toy_data), "--protocol", "short", *options]
    assert main([*train, "-o", str(here)]) == 0
    assert main([*train, "-o", str(there), "--cluster", "local"]) == 0
    for member in ("fold-0", "fold-1", "all"):
        assert are_close(there / member, here / member)
    assert len((there / "out-of-fold.csv").read_text(encoding="utf-8").splitlines()) == 16
    tune = ["tune", str(toy_data), "--protocol", "short", *options, "--dropouts", "0.5"]
    tune += ["--learning-rates", "0.003", "0.01", "--windows", "5"]
    tables = []
    for output, more in (("alone", []), ("together", ["--cluster", "local"])):
        assert main([*tune, "-o", str(tmp_path / output), *more]) == 0
        with (tmp_path / output / "trials.csv").open(newline="", encoding="utf-8") as text:
            tables.append({row["learning_rate"]: row for row in csv.DictReader(text)})
    alone, together = tables
    assert sorted(alone) == sorted(together) == ["0.003", "0.01"]
    for rate, row in alone.items():
        assert float(together[rate]["jaccard"]) == pytest.approx(float(row["jaccard"]), abs=0.02)


def test_a_fold_alone_is_no_work_for_a_cluster(
    tmp_path: Path, toy_data: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ([], ["--protocol", "short", "--fold", "1"]):
        command = ["train", str(toy_data), "-o", str(tmp_path / "out"), *options, *more]
        assert main([*command, "--cluster", "local"]) == 2
        assert "trains all members of a --protocol" in capsys.readouterr().err
