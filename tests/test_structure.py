"""What holds for all code: functions stay short, and text files are UTF-8 on every system."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "src" / "dermseg"
LONGEST = 60
"""Lines of a function, without its docstring."""
MOST_PARAMETERS = 6
"""Parameters of a function, without self and cls; a dataclass says more of them better."""
ALLOWED = {
    "experiments/run.py run_experiment": "four of them are dataclasses of settings already",
    "export/recalibration.py calibrate": "each is an option of its command, given by name",
}
"""Functions with more, and why."""

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


def parameters(function: Function, *, by_name: bool) -> list[str]:
    """Name the parameters of a function, without self and cls, and without those only by name."""
    given = function.args
    listed = [*given.posonlyargs, *given.args, *(given.kwonlyargs if by_name else ())]
    return [each.arg for each in listed if each.arg not in ("self", "cls")]


def is_command(name: str) -> bool:
    """Say whether a function is a command, whose parameters by name are its options."""
    return name.startswith("cli/") and not name.rpartition(" ")[2].startswith("_")


def test_no_function_is_too_long() -> None:
    found = {name: lines(function) for name, function in functions()}
    assert len(found) > 900
    assert {name: count for name, count in found.items() if count > LONGEST} == {}


def test_no_function_takes_too_many_parameters() -> None:
    found = {
        name: parameters(function, by_name=not is_command(name)) for name, function in functions()
    }
    too_many = {name for name, listed in found.items() if len(listed) > MOST_PARAMETERS}
    assert too_many == set(ALLOWED)


def test_every_text_file_is_opened_with_an_encoding() -> None:
    # On Windows it would be the language's own code page.
    calls = {
        f"{path.relative_to(PACKAGE).as_posix()}:{node.lineno}": node
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("read_text", "write_text")
    }
    assert len(calls) > 20
    bare = {
        place
        for place, node in calls.items()
        if not any(keyword.arg == "encoding" for keyword in node.keywords)
    }
    assert bare == set()
