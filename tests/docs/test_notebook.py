"""The guide's notebook shows what its code shows, and so does its page of the site."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from run_notebook import NOTEBOOK, read_cells, run_cells

from .test_guide import same

ROOT = Path(__file__).parent.parent.parent


def texts(outputs: list[dict[str, Any]]) -> list[str]:
    """Return what a cell shows as text."""
    return ["".join(each.get("text") or each["data"]["text/plain"]) for each in outputs]


def test_its_cells_show_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / "docs/guide").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "docs/guide")
    cells = read_cells(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    assert len(cells) > 5
    for cell, outputs in zip(cells, run_cells(cells), strict=True):
        kinds = [[each["output_type"] for each in shown] for shown in (outputs, cell["outputs"])]
        assert kinds[0] == kinds[1]
        for shown, promised in zip(texts(outputs), texts(cell["outputs"]), strict=True):
            assert same(shown, promised), f"{cell['id']} says {promised}, not {shown}"
    assert list(Path.cwd().iterdir()) == []


def test_its_page_has_pictures_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("myst_parser")
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs/extensions"), *sys.path])
    from notebooks import markdown  # type: ignore[import-not-found]

    page = markdown(NOTEBOOK.read_text(encoding="utf-8"))
    assert page.count("data:image/jpeg;base64") == 3
    assert page.count("```python") == len(
        read_cells(json.loads(NOTEBOOK.read_text(encoding="utf-8")))
    )
    assert page.startswith("# A notebook\n")
