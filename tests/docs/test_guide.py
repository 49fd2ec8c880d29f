"""The guide's code blocks, run page by page as a reader would, in an empty folder.

A block that is not run has a comment above it, `<!-- not run: REASON -->`, and is skipped here for
that reason. A block that a reader puts into a file has `<!-- file: NAME -->`, and is put there.
Blocks without a language are not for running.
"""

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dermseg.cli.main import app

ROOT = Path(__file__).parent.parent.parent
GUIDE = [ROOT / "README.md", ROOT / "docs/start.md", *sorted((ROOT / "docs/guide").glob("*.md"))]
COMMANDS = [*GUIDE, *sorted((ROOT / "docs").glob("[!ge]*/*.md"))]
"""Pages whose commands must exist, whether they are run or not."""
SLOW = {"archives", "benchmark", "evaluate", "formats", "segment", "train"}
"""Pages that train, or take many seconds."""
QUICKLY = {
    "benchmark": "from dermseg.benchmark import segmenting as it; it.ROUNDS = it.STARTS = 1",
    "train": "from dermseg.training import precision as it; it.ROUNDS = 1",
}
"""What makes a command time fewer rounds here, before it runs."""
FENCE = re.compile(
    r"(?:<!-- (?:not run: (?P<reason>.+?)|file: (?P<file>.+?)) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
REASONS = {
    "installs",
    "installs and serves until it is stopped",
    "serves until it is stopped",
    "needs a running service",
    "needs several GPUs",
    "needs a bucket",
    "needs the extra cloud",
    "needs DICOM files",
    "needs Ray",
    "needs Slurm",
    "needs PyTorch",
    "needs the data of ISIC 2017",
    "needs a training on the data of ISIC 2017",
}
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: Path
    language: str
    text: str
    reason: str | None
    file: str | None


def blocks(page: Path) -> list[Block]:
    return [
        Block(page, found["language"], found["text"], found["reason"], found["file"])
        for found in FENCE.finditer(page.read_text(encoding="utf-8"))
    ]


def runnable(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in ("sh", "python", "output")]


def pages() -> Iterator[Any]:
    for page in GUIDE:
        if any(block.reason is None for block in runnable(page)):
            marks = [pytest.mark.slow] if page.stem in SLOW else []
            yield pytest.param(page, id=page.stem, marks=marks)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registries: None) -> Iterator[Path]:
    """Stand in an empty folder with the examples, and with `dermseg` on the path."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    command = tmp_path / "bin" / "dermseg"
    command.parent.mkdir()
    lines = ["#!/bin/sh"]
    for name, code in QUICKLY.items():
        program = f"{code}; from dermseg.__main__ import run; run()"
        lines.append(f'[ "$1" = {name} ] && exec "{sys.executable}" -c "{program}" "$@"')
    lines.append(f'exec "{sys.executable}" -m dermseg "$@"')
    command.write_text("\n".join(lines) + "\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for module in tmp_path.glob("*.py"):
        sys.modules.pop(module.stem, None)


@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader:UserWarning")  # MONAI's
@pytest.mark.parametrize("page", list(pages()))
def test_a_pages_blocks_run(page: Path, folder: Path) -> None:
    names: dict[str, Any] = {}
    printed = ""
    for block in runnable(page):
        if block.reason is not None:
            continue
        if block.language == "output":
            assert same(printed, block.text), f"{page.name} says\n{block.text}not\n{printed}"
        elif block.file is not None:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            with redirect_stdout(io.StringIO()) as out:
                exec(compile(block.text, page.name, "exec"), names)
            printed = out.getvalue()
        else:
            run_shell(block.text, folder)


def run_shell(text: str, folder: Path) -> None:
    lines = [line for line in text.splitlines() if not line.startswith("pip install")]
    done = subprocess.run(
        ["bash", "-euc", "\n".join(lines)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def same(printed: str, promised: str) -> bool:
    """Whether two texts are the same but for a hundredth of their numbers."""
    if NUMBER.split(printed) != NUMBER.split(promised):
        return False
    ours, theirs = (list(map(float, NUMBER.findall(text))) for text in (printed, promised))
    return ours == pytest.approx(theirs, rel=0.01)


NOT_RUN = [block for page in GUIDE for block in blocks(page) if block.reason is not None]


@pytest.mark.parametrize("block", [pytest.param(each, id=each.page.stem) for each in NOT_RUN])
def test_a_block_that_is_not_run_says_why(block: Block) -> None:
    assert block.reason in REASONS
    pytest.skip(f"{block.page.name}: {block.reason}")


def test_every_command_is_there() -> None:
    unknown = []
    for page in COMMANDS:
        for block in blocks(page):
            for line in block.text.replace("\\\n", " ").splitlines():
                if line.startswith("dermseg "):
                    try:
                        app.parse_args(
                            shlex.split(line)[1:], exit_on_error=False, print_error=False
                        )
                    except Exception as error:
                        unknown.append(f"{page.relative_to(ROOT)}: {line}\n    {error}")
    assert not unknown, "\n".join(unknown)
