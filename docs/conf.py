"""How the site is built: `scripts/docs`."""

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "src"), str(HERE / "extensions")]

import dermseg  # noqa: E402 - from this working tree

project = "dermseg"
author = "The dermseg authors"
copyright = "The dermseg authors, Apache-2.0"
version = release = dermseg.__version__

# The public names import numpy, OpenCV and ONNX Runtime, as the base install does, and no PyTorch.
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "commands",
    "from_source",
    "notebooks",
]
exclude_patterns = ["extensions"]
suppress_warnings = ["myst.header"]  # the experiments' report begins several headings of one level

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "undoc-members": True}
python_maximum_signature_line_length = 80
napoleon_google_docstring = False
napoleon_use_rtype = False
default_role = "code"
highlight_language = "none"
smartquotes = False  # they would make one dash of two

html_theme = "furo"
html_title = "dermseg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False


def keep_colons(_: Sphinx, what: str, *rest: Any) -> None:
    """Keep Napoleon from taking an attribute's words before a colon for its type."""
    if what in ("attribute", "data", "property"):
        rest[-1][:0] = ["..", ""]  # an empty comment, which has no colon


def shorten_arrays(*event: Any) -> tuple[str, str] | None:
    """Write NDArray[uint8] where NumPy writes out the shape and dtype of any array."""
    signature, returned = event[-2:]
    if signature is None:
        return None
    long = re.compile(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]")
    return long.sub(r"NDArray[\1]", signature), long.sub(r"NDArray[\1]", returned or "")


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("autodoc-process-signature", shorten_arrays)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)
