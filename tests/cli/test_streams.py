"""Names from outside and broken streams: the work is done, and what is said harms no terminal."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermseg.cli.main import main
from dermseg.imaging.mask_files import read_mask, write_mask
from dermseg.progress import printable

FULL = Path("/dev/full")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="its names and devices")
NAMES = [b"l\xe9sion", "病变".encode(), b"\x1b[2Jwiped", b"two\nlines", "\u202egpj".encode()]


def dermseg(*words: object, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    usual: dict[str, Any] = {"capture_output": True, "check": False, "timeout": 120}
    command = [sys.executable, "-m", "dermseg", *map(str, words)]
    return subprocess.run(command, **{**usual, **options})


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """Return a folder with true and other masks of hostile names, Jaccard 0.5 each."""
    truth = np.zeros((40, 60), np.bool_)
    truth[10:30, 10:50] = True
    half = truth & (np.arange(60) < 30)
    for name in NAMES:
        write_mask(tmp_path / "truth" / f"{os.fsdecode(name)}.png", truth)
        write_mask(tmp_path / "found" / f"{os.fsdecode(name)}.png", half)
    return tmp_path


@LINUX
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_scores_are_printed_whatever_standard_output_can_encode(
    scored: Path, encoding: str
) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = dermseg("evaluate", scored / "truth", scored / "found", env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode(encoding).splitlines()
    assert lines[0].startswith(f"{len(NAMES)} images")
    assert lines[3].split()[:2] == ["jaccard", "0.5000"]
    assert any(line.split() == [r"l\udce9sion", "0.5000"] for line in lines)
    assert b"\x1b" not in done.stdout
    assert "\u202e".encode() not in done.stdout


@LINUX
def test_no_name_reaches_the_terminal_as_it_is(
    scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scored / "in").mkdir()
    for name in NAMES:
        (scored / "in" / os.fsdecode(name + b".jpg")).write_bytes(b"no photograph")
    assert main(["segment", str(scored / "in"), "-o", str(scored / "out")]) == 1
    said = capsys.readouterr().err
    assert r"\x1b[2Jwiped.jpg" in said
    assert r"l\udce9sion.jpg" in said
    assert not {"\x1b", "\u202e", "\udce9"} & set(said)


@given(text=st.text(st.characters(), max_size=40))
def test_what_is_printable(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert not [letter for letter in shown if not letter.isprintable() and letter < "\u00a0"] or (
        set(shown) & {"\n", "\t"}
    )
    if text.isascii() and text.isprintable():
        assert shown == text


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize("broken", ["closed", "full", "pipe"])
def test_the_work_is_done_without_standard_error(
    tmp_path: Path, examples: list[tuple[Path, Path]], broken: str
) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(examples[0][0], tmp_path / "in" / "a.jpg")
    assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "usual")]) == 0
    redirected = {"closed": "2>&-", "full": "2>/dev/full", "pipe": "2> >(exec true)"}[broken]
    words = ["-m", "dermseg", "segment", tmp_path / "in", "-o", tmp_path / "out"]
    command = f"{shlex.join(map(str, [sys.executable, *words]))} {redirected}"
    assert subprocess.run(["bash", "-c", command], check=False, timeout=120).returncode == 0
    masks = [tmp_path / name / "a_segmentation.png" for name in ("usual", "out")]
    assert np.array_equal(read_mask(masks[0]), read_mask(masks[1]))
    assert (tmp_path / "out" / "report.csv").read_bytes() == (
        tmp_path / "usual" / "report.csv"
    ).read_bytes()


@LINUX
def test_a_result_that_could_not_be_printed_is_no_success(scored: Path) -> None:
    with FULL.open("wb") as full:
        done = dermseg(
            "evaluate",
            scored / "truth",
            scored / "found",
            capture_output=False,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert done.returncode == 1
    assert done.stderr == (
        b"dermseg: standard output: cannot be written (No space left on device)\n"
    )


@LINUX
def test_nor_is_a_list_that_could_not_be_printed() -> None:
    with FULL.open("wb") as full:
        done = dermseg("models", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr.startswith(b"dermseg: standard output: cannot be written")


def test_an_interruption_while_the_program_starts_is_one_line() -> None:
    code = (
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'cyclopts': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from dermseg.__main__ import run\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"dermseg: interrupted\n")
