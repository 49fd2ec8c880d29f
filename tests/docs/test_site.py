import re
import subprocess
import sys
from pathlib import Path

import pytest

import dermseg

ROOT = Path(__file__).parent.parent.parent
BUILD = """
import sys
class NoTorch:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"no {name} here", name=name)
sys.meta_path.insert(0, NoTorch())
from sphinx.cmd.build import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_site_is_built_without_warnings_and_without_torch(tmp_path: Path) -> None:
    pytest.importorskip("furo")
    options = ["-b", "html", "-q", "--fail-on-warning", "--keep-going", "-d", tmp_path / "read"]
    done = subprocess.run(
        [sys.executable, "-c", BUILD, *options, ROOT / "docs", tmp_path / "site"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    commands = {page.stem for page in (tmp_path / "site/reference/commands").glob("*.html")}
    reference = (tmp_path / "site/reference/python.html").read_text(encoding="utf-8")
    assert "Where the lesion is: boolean" in re.sub("<[^>]+>", "", reference)  # in this order
    assert {"dermseg-segment", "dermseg-benchmark-train", "index"} <= commands


def test_the_reference_names_the_public_face() -> None:
    page = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\.\. auto\w+:: dermseg\.(\w+)$", page, re.MULTILINE))
    assert named == set(dermseg.__all__) - {"__version__"}


def test_every_link_of_the_readme_leads_somewhere() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    released = r"(?:https:[^)]+?/(?:blob|raw)/main/)?"  # as scripts/release.py makes them absolute
    links = re.findall(rf"\]\({released}(?!https?:)([^)#]+)", readme)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100
