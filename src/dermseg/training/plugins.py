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

    Raises UsageError for one that is not there, and for a file called like another module. What a
    module itself raises goes on.
    """
    for name in names:
        if name.endswith(".py"):
            _import_file(name)
        else:
            _import(name)


def _import_file(name: str) -> None:
    path = Path(name).resolve()
    spec = spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UsageError(f"--plugin {name}: no such file")
    known = sys.modules.get(path.stem)
    if known is not None:
        if getattr(known, "__file__", None) != str(path):
            raise UsageError(f"--plugin {name}: another module is called so; rename the file")
        return
    module = module_from_spec(spec)
    sys.modules[path.stem] = module  # before it runs: dataclasses look there for their module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise


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
