#!/usr/bin/env python
"""Run the guide's notebook and write what its cells show into it, without Jupyter.

scripts/run_notebook.py
"""

import ast
import io
import json
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parent.parent / "docs" / "guide" / "notebook.ipynb"
Cell = dict[str, Any]


def read_cells(notebook: dict[str, Any]) -> list[Cell]:
    """Return a notebook's cells of code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run_cells(cells: list[Cell]) -> list[list[dict[str, Any]]]:
    """Run cells in order, in the folder that the process is in, and return their outputs."""
    names: dict[str, Any] = {"__name__": "__main__"}
    return [_run(cell, number, names) for number, cell in enumerate(cells, 1)]


def _run(cell: Cell, number: int, names: dict[str, Any]) -> list[dict[str, Any]]:
    tree = ast.parse("".join(cell["source"]))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, f"cell {number}", "exec"), names)
        value = None
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append(
            {"name": "stdout", "output_type": "stream", "text": _lines(printed.getvalue())}
        )
    if value is not None:
        shown = {"text/plain": _lines(repr(value))}
        if hasattr(value, "_repr_html_"):
            shown["text/html"] = _lines(value._repr_html_())
        kind = {"execution_count": number, "metadata": {}, "output_type": "execute_result"}
        outputs.append({**kind, "data": shown})
    return outputs


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def main() -> None:
    """Write the outputs."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    os.chdir(NOTEBOOK.parent)
    cells = read_cells(notebook)
    for number, (cell, outputs) in enumerate(zip(cells, run_cells(cells), strict=True), 1):
        cell["execution_count"], cell["outputs"] = number, outputs
    text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True)
    NOTEBOOK.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
