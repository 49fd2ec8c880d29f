"""Networks and losses of one's own: modules that register them when they are imported."""

import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from dermseg.errors import UsageError

GROUP = "dermseg.plugins"
"""Entry points of installed packages; each names such a module."""


def load(names: Iterable[str]) -> None:
    """Import modules by name, or by the path of a file that ends in .py, each once.

    Raises UsageError for one that is not there. What a module itself raises goes on.
    """
    for name in names:
        if not name.endswith(".py"):
            _import(name)
        elif (path := Path(name).resolve()).stem not in sys.modules:
            spec = spec_from_file_location(path.stem, path)
            if not path.is_file() or spec is None or spec.loader is None:
                raise UsageError(f"--plugin {name}: no such file")
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            sys.modules[path.stem] = module


def _import(name: str) -> None:
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0] and error.name != name:
            raise
        raise UsageError(f"--plugin {name}: no such module; a file's name ends in .py") from error


def load_installed() -> None:
    """Import what installed packages offer under GROUP."""
    for entry in entry_points(group=GROUP):
        entry.load()
