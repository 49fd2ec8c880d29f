"""Notebooks as pages: their text, their code, and what it showed. Nothing is run."""

import json
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx


def markdown(text: str) -> str:
    """Return a notebook, JSON, as Markdown."""
    return "\n\n".join(_cell(cell) for cell in json.loads(text)["cells"]) + "\n"


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    return "\n\n".join([_fence("python", source), *map(_output, cell["outputs"])])


def _output(output: dict[str, Any]) -> str:
    shown = output.get("data", {})
    if "text/html" in shown:
        return _fence("{raw} html", "".join(shown["text/html"]))
    return _fence("text", "".join(output.get("text") or shown["text/plain"]))


def _fence(kind: str, text: str) -> str:
    return f"```{kind}\n{text.rstrip()}\n```"


class NotebookParser(MystParser):
    """Parses notebooks as the Markdown that they become."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Fill `document`."""
        super().parse(markdown(inputstring), document)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_source_suffix(".ipynb", "notebook")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True}
