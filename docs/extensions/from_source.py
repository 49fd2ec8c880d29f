"""Document a public function from its source, for those whose module needs PyTorch to import."""

import ast
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.ext.napoleon import NumpyDocstring
from sphinx.util.docutils import SphinxDirective

import dermseg


class FromSource(SphinxDirective):
    """The directive `.. autosource:: dermseg.NAME`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return what autodoc would show."""
        name = self.arguments[0].partition(".")[2]
        found = find_spec("dermseg")
        assert found is not None
        assert found.submodule_search_locations
        place = dermseg._HOMES[name].replace(".", "/")
        files = (f"{found.submodule_search_locations[0]}/{place}{end}" for end in FILES)
        (function,) = (node for file in files for node in _definitions(file) if node.name == name)
        lines = NumpyDocstring(ast.get_docstring(function) or "", self.config).lines()
        kind = "class" if isinstance(function, ast.ClassDef) else "function"
        signature = f"dermseg.{name}({_arguments(function)})"
        content = [f".. py:{kind}:: {signature}", "", *(f"   {line}" for line in lines)]
        return self.parse_text_to_nodes(StringList(content, source=place))


FILES = (".py", "/__init__.py")
"""Where a module's source may be."""


def _definitions(file: str) -> list[ast.FunctionDef | ast.ClassDef]:
    try:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _arguments(definition: ast.FunctionDef | ast.ClassDef) -> str:
    """Return what a function, or a class's constructor without self, takes."""
    if isinstance(definition, ast.FunctionDef):
        return ast.unparse(definition.args)
    (constructor,) = (
        node
        for node in definition.body
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    return ast.unparse(constructor.args).removeprefix("self, ")


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive, which keeps nothing from page to page."""
    app.add_directive("autosource", FromSource)
    return {"parallel_read_safe": True}
