"""The examples in docstrings print what they say."""

import doctest
import inspect
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

import dermseg
from dermseg import formats

ROOT = Path(__file__).parent.parent.parent
HOMES = {getattr(dermseg, name).__module__ for name in dermseg.__all__ if name != "__version__"}
FORMATS = {f"dermseg.formats.{each.name}" for each in iter_modules(formats.__path__)}


@pytest.mark.parametrize("name", sorted(HOMES | FORMATS))
def test_the_examples_of_a_module(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: None
) -> None:
    monkeypatch.chdir(ROOT)
    names = {"dermseg": dermseg, "folder": tmp_path}
    result = doctest.testmod(import_module(name), extraglobs=names)
    assert result.failed == 0


@pytest.mark.parametrize("name", [n for n in dermseg.__all__ if n != "__version__"])
def test_a_public_name_is_explained(name: str) -> None:
    each = getattr(dermseg, name)
    assert each.__doc__
    if callable(each) and not isinstance(each, type):
        assert "Examples\n    ---" in each.__doc__
        if inspect.signature(each).parameters:
            assert "Parameters\n    ---" in each.__doc__
