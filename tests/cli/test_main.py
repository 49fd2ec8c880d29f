import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dermseg import __version__, cores
from dermseg.cli.main import main, run
from dermseg.experiments.registry import EXPERIMENTS
from dermseg.imaging.images import write_image
from dermseg.imaging.mask_files import write_mask
from dermseg.masks.metrics import METRICS
from dermseg.settings import (
    DEFAULT_MODEL,
    PROTOCOLS,
    DataSettings,
    ExperimentSettings,
    ScoringSettings,
    ThresholdSettings,
)

Captured = pytest.CaptureFixture[str]
COMMANDS = ("segment", "evaluate", "train", "tune", "export", "experiment", "serve")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(arguments: list[str], capsys: Captured) -> None:
    assert main(arguments) == 0
    said = capsys.readouterr().out
    for command in COMMANDS:
        assert command in said
    assert "Write a mask for each photograph" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_with_an_example(command: str, capsys: Captured) -> None:
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"Example: dermseg {command}" in said


def test_every_option_of_segment_is_explained(capsys: Captured) -> None:
    main(["segment", "--help"])
    said = capsys.readouterr().out
    for text in ("--output", "-o", "--overlay", "--model", "--size-from", "--device"):
        assert text in said
    for text in ("--rule", "--high", "0.8", "--low", "0.5", DEFAULT_MODEL):
        assert text in said


def test_version(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize("arguments", [["segmnt"], ["evaluate"], ["evaluate", "a"], ["--colour"]])
def test_wrong_usage(arguments: list[str], capsys: Captured) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.strip()


class TestEvaluate:
    def masks(self, folder: Path, names: str) -> Path:
        for name in names:
            write_mask(folder / f"{name}_segmentation.png", np.eye(9, dtype=np.bool_))
        return folder

    def test_prints_the_five_numbers_and_writes_json(
        self, tmp_path: Path, capsys: Captured
    ) -> None:
        folder, scores = self.masks(tmp_path / "a", "xyz"), tmp_path / "scores.json"
        assert main(["evaluate", str(folder), str(folder), "--json", str(scores)]) == 0
        said = capsys.readouterr().out
        for name in METRICS:
            assert [name, "1.0000"] in [line.split()[:2] for line in said.splitlines()]
        assert json.loads(scores.read_text())["count"] == 3

    def test_names_every_file_that_does_not_fit(self, tmp_path: Path, capsys: Captured) -> None:
        truth, found = self.masks(tmp_path / "a", "pqr"), self.masks(tmp_path / "b", "rst")
        scores = tmp_path / "scores.json"
        assert main(["evaluate", str(truth), str(found), "--json", str(scores)]) == 1
        captured = capsys.readouterr()
        for name in "pqst":
            assert f"{name}_segmentation.png" in captured.err
        assert "r_segmentation.png" not in captured.err
        assert captured.out == ""
        assert not scores.exists()

    def test_a_file_that_cannot_be_written_is_no_traceback(
        self, tmp_path: Path, capsys: Captured
    ) -> None:
        folder = self.masks(tmp_path / "a", "x")
        assert main(["evaluate", str(folder), str(folder), "--json", str(folder)]) == 1
        assert str(folder) in capsys.readouterr().err


class TestWithoutTorch:
    @pytest.mark.parametrize(
        ("command", "missing", "extra"),
        [
            *((c, m, "train") for c in ("train", "export") for m in ("torch", "onnx")),
            ("train", "safetensors", "train"),
            *(("serve", m, "web") for m in ("fastapi", "uvicorn", "prometheus_client")),
            *(("tune", missing, "tune") for missing in ("torch", "optuna", "filelock")),
        ],
    )
    def test_the_remedy_is_said(
        self,
        tmp_path: Path,
        command: str,
        missing: str,
        extra: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: Captured,
    ) -> None:
        monkeypatch.setitem(sys.modules, missing, None)
        arguments = [] if command == "serve" else [str(tmp_path), "-o", str(tmp_path / "out")]
        assert main([command, *arguments]) == 1
        said = capsys.readouterr().err
        assert missing in said
        assert f"pip install '.[{extra}]'" in said
        assert not (tmp_path / "out").exists()


class TestExperiment:
    def test_help_names_every_experiment_with_a_line(self, capsys: Captured) -> None:
        assert main(["experiment", "--help"]) == 0
        said = " ".join(capsys.readouterr().out.split())
        for name, experiment in EXPERIMENTS.items():
            assert f"{name}: {experiment.summary}" in said

    @pytest.mark.parametrize("missing", ["torch", "matplotlib"])
    def test_the_extra_is_named(
        self, tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
    ) -> None:
        monkeypatch.setitem(sys.modules, missing, None)
        output = tmp_path / "out"
        assert main(["experiment", "table-2", str(tmp_path), "-o", str(output)]) == 1
        said = capsys.readouterr().err
        assert missing in said
        assert "pip install '.[experiments]'" in said
        assert not output.exists()

    def test_an_unknown_one_lists_those_there_are(self, tmp_path: Path, capsys: Captured) -> None:
        assert main(["experiment", "table-9", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
        assert ", ".join(EXPERIMENTS) in capsys.readouterr().err

    def test_protocol_and_options(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
    ) -> None:
        from dermseg.experiments import run

        given: list[object] = []

        def take(*arguments: object, **scoring: object) -> Path:
            given.extend((*arguments, *scoring.values()))
            (tmp_path / "page.md").write_text("# what it says")
            return tmp_path / "page.md"

        monkeypatch.setattr(run, "run_experiment", take)
        words = f"experiment figure-2 {tmp_path} -o {tmp_path} --protocol short --epochs 3"
        options = "--seeds 2 --folds-used 4 --runs a b --ledger c.csv --device cpu --cache d"
        options += " --rule paper --low 0.4 --style traced"
        assert main([*words.split(), *options.split(), "--allow-resized"]) == 0
        settings = replace(PROTOCOLS["short"], epochs=3)
        chosen = ExperimentSettings(
            seeds=2,
            folds_used=4,
            runs=[Path("a"), Path("b")],
            ledger=Path("c.csv"),
        )
        data_settings = DataSettings(device="cpu", allow_resized=True, cache=Path("d"))
        scoring = ScoringSettings(ThresholdSettings("paper", low=0.4), "traced")
        assert given == ["figure-2", tmp_path, tmp_path, settings, chosen, data_settings, scoring]
        assert "# what it says" in capsys.readouterr().out


def test_torchrun_learns_what_went_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    assert main(["evaluate", str(tmp_path / "missing"), str(tmp_path)]) == 2
    assert "missing: no such folder" in json.loads((tmp_path / "error.json").read_text())["message"]


def test_help_imports_nothing_heavy() -> None:
    done = python(
        "import sys, dermseg; from dermseg.cli.main import main\n"
        "assert main(['--version']) == main(['--help']) == 0\n"
        f"for command in {COMMANDS}: assert main([command, '--help']) == 0\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'numpy', 'cv2', 'PIL', 'safetensors'}\n"
        "heavy |= {'matplotlib', 'optuna', 'fastapi', 'uvicorn'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_segmenting_needs_no_torch() -> None:
    done = python(
        "import sys\n"
        "extras = ('torch', 'onnx', 'safetensors', 'onnxscript', 'filelock', 'ray')\n"
        "for name in extras: sys.modules[name] = None\n"
        "import dermseg.batch.run, dermseg.evaluation.scoring, dermseg.imaging.overlay\n"
        "import dermseg.weights, dermseg.cli.main\n"
        "import dermseg.experiments.page, dermseg.data.doctor"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_python_runs_the_package_as_a_program(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dermseg", "segment", str(tmp_path / "gone.jpg"), "-o", "x"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "gone.jpg" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_program_keeps_freed_memory_and_the_library_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[bool] = []
    monkeypatch.setattr(cores, "keep_memory", lambda: kept.append(True))
    assert list(cores.parallel_map(str, range(3))) == ["0", "1", "2"]
    assert main(["--version"]) == 0
    assert not kept
    monkeypatch.setattr(sys, "argv", ["dermseg", "--version"])
    with pytest.raises(SystemExit) as ended:
        run()
    assert (ended.value.code, kept) == (0, [True])


def test_an_interruption_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dermseg.evaluation.scoring.evaluate", interrupt)
    assert main(["evaluate", str(tmp_path), str(tmp_path)]) == 130
    assert "interrupted" in capsys.readouterr().err


class TestExitStatus:
    """2: the call is wrong, and nothing was tried. 1: something failed."""

    @pytest.mark.parametrize(
        "arguments",
        [
            ["segment", "gone.jpg"],
            ["segment", ".", "--model", "cdnn30"],
            ["segment", ".", "--model", "gone.onnx"],
            ["segment", ".", "--device", "abacus"],
            ["serve", "--model", "gone.onnx"],
            ["serve", "--token", "short"],
            ["evaluate", "gone", "."],
            ["evaluate", ".", "gone"],
            ["doctor", "gone"],
            ["experiment", "table-99", "."],
        ],
    )
    def test_a_wrong_call_is_2(
        self,
        arguments: list[str],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: Captured,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        write_mask(tmp_path / "a_segmentation.png", np.eye(9, dtype=np.bool_))
        write_image(tmp_path / "a.jpg", np.zeros((9, 9, 3), np.uint8))
        assert main(arguments) == 2, capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a_segmentation.png"]

    def test_a_file_that_fails_is_1(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(b"text")
        assert main(["segment", str(tmp_path / "a.jpg"), "-o", str(tmp_path / "out")]) == 1
        (tmp_path / "bad.onnx").write_bytes(b"text")
        model = ["--model", str(tmp_path / "bad.onnx")]
        assert main(["segment", str(tmp_path / "a.jpg"), "-o", str(tmp_path / "out"), *model]) == 1
