"""The size of functions: none is too long to be read at once, or takes too much to be called."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "src" / "dermseg"
LONGEST = 60
"""Lines of a function, without its docstring."""
MOST_PARAMETERS = 6
"""Parameters of a function, without self and cls."""
COMMANDS = ("experiment", "segment", "serve", "tune")
"""Commands with more: theirs are options, or groups of options, and are given by name."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    """Yield every function of the package, with its file and its name."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Function):
                yield f"{path.relative_to(PACKAGE).as_posix()} {node.name}", node


def lines(function: Function) -> int:
    """Count the lines of a function, without its docstring."""
    first, count = function.body[0], (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        count -= (first.end_lineno or 0) - first.lineno + 1
    return count


def parameters(function: Function) -> list[str]:
    """Name the parameters of a function, without self and cls."""
    given = function.args
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def test_no_function_is_too_long() -> None:
    found = {name: lines(function) for name, function in functions()}
    assert len(found) > 900
    assert {name: count for name, count in found.items() if count > LONGEST} == {}


def test_no_function_takes_too_many_parameters() -> None:
    found = {name: len(parameters(function)) for name, function in functions()}
    too_many = {name for name, count in found.items() if count > MOST_PARAMETERS}
    assert too_many == {f"cli/{name}.py {name}" for name in COMMANDS}
