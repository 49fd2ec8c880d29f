"""Networks and losses of one's own: modules that register them when they are imported."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from dermseg.errors import DermsegError, UsageError

GROUP = "dermseg.plugins"
"""Entry points of installed packages; each names such a module."""
REGISTERED: list[str] = []
"""What `register_network` and `register_loss` were called with, in order."""


LOADED: list[str] = []
"""What `load` was called with last, in order."""


def load(names: Iterable[str]) -> None:
    """Import modules by name, or by the path of a file that ends in .py, each once.

    A file can import its neighbours. Raises UsageError for one that is not there, that fails, that
    registers nothing, or that is called like another module.
    """
    LOADED[:] = names
    for name in LOADED:
        if name.endswith(".py"):
            _import_file(name)
        elif name not in sys.modules:
            with _explained(f"--plugin {name}"), _registering(name):
                _import(name)


def loaded_options() -> list[str]:
    """Return the options that load the same plugins in another command."""
    return [word for name in LOADED for word in ("--plugin", name)]


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
        with _explained(f"--plugin {name}"), _registering(name), _beside(path):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise


def _import(name: str) -> None:
    there = all(part.isidentifier() for part in name.split("."))
    try:
        if there:
            import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise
        there = False
    if not there:
        raise UsageError(f"--plugin {name}: no such module; a file's name ends in .py")


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Let the block import the neighbours of the file `path`, as a script can its own."""
    folder = str(path.parent)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):  # it may have changed the list itself
            sys.path.remove(folder)


@contextmanager
def _registering(name: str) -> Iterator[None]:
    """Raise UsageError if the block registers nothing: then it is not what was meant."""
    before = len(REGISTERED)
    yield
    if len(REGISTERED) == before:
        raise UsageError(
            f"--plugin {name}: registers nothing; call dermseg.register_network or "
            "dermseg.register_loss in it"
        )


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what is wrong in the code of the plugin `name` into a UsageError that says what."""
    try:
        yield
    except DermsegError:
        raise
    except SyntaxError as error:
        where = f"{error.filename}, line {error.lineno}"
        raise UsageError(f"{name}: {where}: {error.msg}") from error
    except ImportError as error:
        raise UsageError(
            f"{name}: {error}; install what it imports, or put it into the plugin's folder"
        ) from error
    except Exception as error:
        raise UsageError(f"{name}: it raised {type(error).__name__}: {error}") from error


def load_installed() -> None:
    """Import what installed packages offer under GROUP; raise UsageError for one that fails."""
    for entry in entry_points(group=GROUP):
        with _explained(f"the installed plugin {entry.name}"):
            entry.load()
