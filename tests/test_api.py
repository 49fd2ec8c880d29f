import ast
import inspect
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

import dermseg


def test_every_public_name_resolves_to_what_it_says() -> None:
    for name in dermseg.__all__:
        value = getattr(dermseg, name)
        if name != "__version__":
            assert value.__name__ == name
            assert value.__doc__


def test_the_public_names_are_sorted_and_unique() -> None:
    assert dermseg.__all__ == sorted(set(dermseg.__all__))


def test_what_type_checkers_see_is_what_there_is() -> None:
    tree = ast.parse(Path(dermseg.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("dermseg.")
        for alias in node.names
    }
    assert {*seen, "__version__"} == set(dermseg.__all__)
    for name, module in seen.items():
        assert getattr(sys.modules[str(module)], name) is getattr(dermseg, name)


def test_a_path_may_be_text_wherever_there_is_one() -> None:
    """What is a Path by type alone, the settings take as text too: `test_own.py` shows it."""
    functions: dict[str, Callable[..., object]] = {}
    for name in dermseg.__all__:
        value = getattr(dermseg, name)
        if inspect.isfunction(value) or name.endswith("Settings"):
            functions[name] = value
        if inspect.isclass(value) and not issubclass(value, Exception):
            methods = inspect.getmembers(value, callable)
            functions |= {f"{name}.{k}": method for k, method in methods if not k.startswith("_")}
    hints = {
        f"{name}({parameter.name})": str(parameter.annotation)
        for name, function in functions.items()
        for parameter in inspect.signature(function).parameters.values()
    }
    paths = {place: hint for place, hint in hints.items() if "Path" in hint}
    assert len(paths) > 15
    assert {place for place, hint in paths.items() if "str" not in hint} == {"DataSettings(cache)"}


def test_dir_lists_the_public_names() -> None:
    assert set(dir(dermseg)) >= set(dermseg.__all__)
    assert "import_module" not in dir(dermseg)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dermseg' has no attribute 'segmnt'"):
        _ = dermseg.segmnt  # type: ignore[attr-defined]


def test_all_errors_are_of_one_family() -> None:
    errors = [name for name in dermseg.__all__ if name.endswith("Error")]
    assert len(errors) == 8
    for name in errors:
        assert issubclass(getattr(dermseg, name), dermseg.DermsegError)


def test_the_example_in_the_docstring_runs(
    photograph: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photograph("photograph.jpg")
    monkeypatch.chdir(path.parent)
    lines = [line for line in str(dermseg.__doc__).splitlines() if line.startswith("    ")]
    assert len(lines) == 3
    names: dict[str, object] = {}
    exec(textwrap.dedent("\n".join(lines)), names)
    lesion = names["lesion"]
    assert isinstance(lesion, dermseg.Segmentation)
    assert lesion.mask.shape == (48, 64)


def test_help_works_where_extras_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert not {"Segmentd", "train", "export_model"} & set(dir(dermseg))
    assert "segment_folder" in dir(dermseg)


def test_types_are_shipped() -> None:
    assert files("dermseg").joinpath("py.typed").is_file()


def test_importing_costs_nothing() -> None:
    code = "import sys, dermseg; dir(dermseg); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "dermseg" in loaded
    heavy = {
        "torch",
        "onnxruntime",
        "numpy",
        "cv2",
        "PIL",
        "cyclopts",
        "rich",
        "dermseg.imaging.images",
    }
    assert not loaded & heavy


def test_onnxruntime_is_told_to_tell_nobody(tmp_path: Path) -> None:
    """Where it may report, it leaves an identity of the machine and a queue in the home folder."""
    code = """
        import dermseg, numpy, pathlib
        dermseg.segment(numpy.zeros((8, 8, 3), numpy.uint8))
        assert not list(pathlib.Path.home().iterdir())
    """
    silent = {"CI", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS"}  # nothing else stops it
    given = {name: value for name, value in os.environ.items() if name not in silent}
    homes = {name: str(tmp_path) for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME")}
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=given | homes, check=True)
