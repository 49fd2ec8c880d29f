"""Hostile files through the command line: a correct mask or one clear line, never a traceback."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hostile import bad_files, encoded, good_files, mutated, picture, write_all
from PIL import Image

from dermseg.batch.jobs import find_jobs
from dermseg.batch.run import segment_all
from dermseg.batch.worker import Result
from dermseg.cli.main import main
from dermseg.inference.segmenter import Segmenter

MUTATED_FILES = 300
"""scripts/fuzz_images.py runs thousands."""


def rows(report: Path) -> dict[str, dict[str, str]]:
    with report.open(newline="", encoding="utf-8", errors="surrogateescape") as handle:
        return {row["photograph"]: row for row in csv.DictReader(handle)}


def segmented(folder: Path) -> dict[str, Result]:
    """Return what becomes of each photograph in `folder`/in, by its name."""
    results = segment_all(find_jobs([folder / "in"]), Segmenter(), folder / "out")
    return {result.job.photograph.name: result for result in results}


def test_every_good_file_gets_a_mask_of_its_own_size(tmp_path: Path) -> None:
    files = good_files()
    for number, (name, data) in enumerate(files.items()):
        # One folder each: several differ only in their suffix, and would share a mask.
        write_all({name: data}, tmp_path / "in" / str(number))
    assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
    for number, name in enumerate(files):
        with Image.open(tmp_path / "in" / str(number) / name) as image:
            size = image.size
        stem = name.rpartition(".")[0]
        with Image.open(tmp_path / "out" / str(number) / f"{stem}_segmentation.png") as mask:
            assert (mask.size, mask.mode) == (size, "L"), name
            assert set(mask.tobytes()) <= {0, 255}, name


def test_every_bad_file_costs_one_line_and_its_own_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = bad_files()
    write_all(files, tmp_path / "in")
    write_all({"good.jpg": encoded(picture(), "JPEG")}, tmp_path / "in")
    for number, name in enumerate(list(files)):
        (tmp_path / "in" / name).rename(tmp_path / "in" / f"{number}-{name}")
    assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    report = rows(tmp_path / "out" / "report.csv")
    assert report.pop("good.jpg")["error"] == ""
    assert len(report) == len(files)
    for name, row in report.items():
        assert name in row["error"], row
        assert error.count(f"failed: {tmp_path / 'in' / name}") == 1, name
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == ["good_segmentation.png"]
    assert [result.bug for result in segmented(tmp_path).values() if result.bug] == []


def test_the_corpus_is_large_enough() -> None:
    assert len(good_files()) + len(bad_files()) >= 60


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow, of what it can live with
def test_mutated_files_never_raise_what_is_not_understood(tmp_path: Path) -> None:
    originals = [
        (form.lower(), encoded(picture(), form)) for form in ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
    ]
    for seed in range(MUTATED_FILES):
        suffix, data = mutated(seed, originals)
        write_all({f"{seed}.{suffix}": data}, tmp_path / "in")
    write_all({"good.jpg": encoded(picture(), "JPEG")}, tmp_path / "in")
    results = segmented(tmp_path)
    assert len(results) == MUTATED_FILES + 1
    assert results["good.jpg"].error == ""
    assert any(result.error for result in results.values())
    assert [result.bug for result in results.values() if result.bug] == []


@pytest.mark.parametrize(
    ("stem", "shown"),
    [
        *(("=1+1", "'=1+1"), ("-2+3", "'-2+3"), ("@x", "'@x"), ("a;=1+1", "a;'=1+1")),
        *(("a;-b;+c", "a;'-b;'+c"), ("a|@b", "a|'@b"), ("a\t=b", "a\t'=b"), ("a=b;c", "a=b;c")),
    ],
)
def test_a_formula_in_a_name_is_defused_in_the_report(
    tmp_path: Path, stem: str, shown: str
) -> None:
    """Also behind what separates cells where the comma is a decimal's."""
    write_all({f"{stem}.jpg": encoded(picture(), "JPEG")}, tmp_path / "in")
    out = tmp_path / "out"
    assert main(["segment", str(tmp_path / "in"), "-o", str(out), "--form", "coco"]) == 0
    assert list(rows(out / "report.csv")) == [f"{shown}.jpg"]
    assert (out / f"{stem}_segmentation.png").is_file()
    told = json.loads((out / "coco.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in told["images"]] == [f"{stem}.jpg"]


def test_links_that_lead_nowhere_or_in_circles_cost_their_own_rows(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_all({"good.jpg": encoded(picture(), "JPEG")}, folder)
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "nowhere.jpg").symlink_to(folder / "missing.jpg")
    (folder / "around").symlink_to(folder, target_is_directory=True)
    assert main(["segment", str(folder), "-o", str(tmp_path / "out")]) == 1
    report = rows(tmp_path / "out" / "report.csv")
    assert list(report) == ["good.jpg", "loop.jpg", "nowhere.jpg"]
    assert [bool(row["error"]) for row in report.values()] == [False, True, True]
    assert main(["segment", str(folder / "loop.jpg"), "-o", str(tmp_path / "out")]) == 2


def test_an_output_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_all({"good.jpg": encoded(picture(), "JPEG")}, tmp_path / "in")
    (tmp_path / "file").write_text("in the way")
    assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "file" / "out")]) == 1
    error = capsys.readouterr().err
    assert "cannot be written" in error
    assert "Traceback" not in error


@pytest.mark.skipif(sys.platform == "win32", reason="needs ulimit")
def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    write_all({"good.jpg": encoded(picture(), "JPEG")}, tmp_path / "in")
    command = f"ulimit -f 0; exec {sys.executable} -m dermseg segment in -o out"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "cannot be written (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["journal.jsonl"]


def test_an_output_inside_the_input_is_not_segmented_again(tmp_path: Path) -> None:
    write_all({"good.jpg": encoded(picture(), "JPEG")}, tmp_path)
    arguments = ["segment", str(tmp_path), "-o", str(tmp_path / "masks")]
    arguments += ["--overlay", str(tmp_path / "pictures")]
    assert main(arguments) == 0
    assert main(arguments) == 0
    assert list(rows(tmp_path / "masks" / "report.csv")) == ["good.jpg"]
