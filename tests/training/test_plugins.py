"""Files and modules that `--plugin` names: what they may do, and what is said of one that fails."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from dermseg.cli.main import main
from dermseg.errors import UsageError
from dermseg.training import losses, plugins

REGISTERING = """
import dermseg
dermseg.register_loss("plain", lambda logits, target: ((logits.sigmoid() - target) ** 2).mean())
"""


@pytest.fixture(autouse=True)
def _as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget what a plugin registers, and the modules of the test's folder."""
    monkeypatch.setattr(losses, "LOSSES", dict(losses.LOSSES))
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def write(path: Path, text: str = REGISTERING) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_file_called_like_another_module_is_refused(tmp_path: Path) -> None:
    one, two = (write(tmp_path / folder / "of_ones_own.py") for folder in ("one", "two"))
    plugins.load([one, one])
    for path in (two, write(tmp_path / "json.py")):
        with pytest.raises(UsageError, match="another module is called so; rename the file"):
            plugins.load([path])


def test_a_file_may_have_dataclasses_and_may_fail(tmp_path: Path) -> None:
    future = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    text = f"{future}@dataclass\nclass A:\n    a: int\nraise ValueError(A(1))\n"
    path = write(tmp_path / "with_dataclass.py", text)
    for _ in range(2):
        with pytest.raises(UsageError, match=r"dataclass\.py: it raised ValueError: A\(a=1\)"):
            plugins.load([path])
    assert "with_dataclass" not in sys.modules


def test_a_file_imports_its_neighbours_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mine" / "its_neighbour.py")
    path = write(tmp_path / "mine" / "with_neighbour.py", "import its_neighbour\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = list(sys.path)
    plugins.load([path, str(tmp_path / "mine" / "its_neighbour.py")])
    assert "plain" in losses.LOSSES
    assert sys.path == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import not_there_at_all\n", "No module named 'not_there_at_all'; install what it"),
        ("from json import nothing\n", "cannot import name 'nothing' from 'json'"),
        ("import dermseg\n\ndef f(:\n", r"wrong\.py, line 3: invalid syntax"),
        ("answer = 42\n", r"registers nothing; call dermseg\.register_network"),
        ("import dermseg\ndermseg.register_loss('dice', None)", "the name of a built-in loss"),
    ],
)
def test_a_plugin_that_fails_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    path = write(tmp_path / "wrong.py", text)
    for name in (path, path, "wrong"):
        with pytest.raises(UsageError, match=said):
            plugins.load([name])
        monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize("name", ["not_there", "json.not_there", "./mine", "..", "a b"])
def test_what_is_no_module_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"no such module; a file's name ends in \.py"):
        plugins.load([name])


def test_an_installed_plugin_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        raise ModuleNotFoundError("No module named 'gone'")

    entry = SimpleNamespace(name="theirs", load=load)
    monkeypatch.setattr(plugins, "entry_points", lambda group: {plugins.GROUP: [entry]}[group])
    with pytest.raises(UsageError, match="the installed plugin theirs: No module named 'gone'"):
        losses.find_loss("brier")


@pytest.mark.parametrize(
    "command",
    [
        ["train", "data", "-o", "out"],
        ["tune", "data", "-o", "out"],
        ["experiment", "runs", "data", "-o", "out", "--runs", "run"],
        ["export", "run", "-o", "out.onnx"],
        ["benchmark", "train", "data"],
    ],
)
def test_every_command_that_needs_networks_takes_plugins(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--plugin", "gone.py"]) == 2
    assert capsys.readouterr().err == "dermseg: --plugin gone.py: no such file\n"


def test_the_command_ends_as_for_any_wrong_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "wrong.py", "import not_there_at_all\n")
    assert main(["train", str(tmp_path), "-o", str(tmp_path / "run"), "--plugin", path]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"dermseg: --plugin {path}: No module named 'not_there_at_all'")
    assert not (tmp_path / "run").exists()
