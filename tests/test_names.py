"""Names of files: one name in two forms of Unicode, names that are no Unicode, long ones."""

import csv
import os
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermseg.batch.jobs import find_jobs
from dermseg.batch.run import segment_all
from dermseg.cli.main import main
from dermseg.data.layouts import find_pairs
from dermseg.evaluation.scoring import evaluate
from dermseg.formats.annotation import Photographs
from dermseg.imaging.mask_files import read_mask
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import BatchSettings

NAMES = ("lésion", "Ärztin-Ö", "ñandú_1", "한국", "ﾀﾞ", "Å-ångström", "q̣̇")
apart = pytest.mark.skipif(sys.platform == "darwin", reason="there both forms are one file")


def form(name: str, kind: str) -> str:
    return unicodedata.normalize(kind, name)  # type: ignore[arg-type]


def put(path: Path, number: int = 0, size: tuple[int, int] = (48, 64)) -> Path:
    """Write a mask whose lesion depends on `number`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size, np.uint8)
    mask[8 : 16 + number, 10:40] = 255
    Image.fromarray(mask).save(path)
    return path


@apart
@pytest.mark.parametrize("kinds", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_in_two_forms_is_one_name(tmp_path: Path, kinds: tuple[str, str]) -> None:
    """To scores, tables, pairs, sizes and the photographs of other forms."""
    one, other = kinds
    with (tmp_path / "metadata.csv").open("w", encoding="utf-8", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(["image_id", "sex"])
        rows.writerows([form(name, other), "female"] for name in NAMES)
    for number, name in enumerate(NAMES):
        put(tmp_path / "truth" / f"sub/{form(name, one)}_segmentation.png", number)
        put(tmp_path / "found" / f"sub/{form(name, other)}.png", number)
        put(tmp_path / "data" / "images" / f"{form(name, one)}.png")
        put(tmp_path / "data" / "masks" / f"{form(name, other)}.png", number)
    scores = evaluate(tmp_path / "truth", tmp_path / "found")
    assert [each.jaccard for each in scores.images.values()] == [1.0] * len(NAMES)
    assert list(scores.by("sex")) == ["female"]
    pairs = find_pairs(tmp_path / "data")
    assert {pair.image_id for pair in pairs} == {form(name, "NFC") for name in NAMES}
    heights = {pair.image_id: int((pair.read_mask() > 0).any(1).sum()) for pair in pairs}
    assert heights == {form(name, "NFC"): 8 + number for number, name in enumerate(NAMES)}
    photographs = Photographs(tmp_path / "data" / "images")
    for name in NAMES:
        found = photographs.find(f"{form(name, other)}.jpg")
        assert found == tmp_path / "data" / "images" / f"{form(name, one)}.png"


@apart
@pytest.mark.usefixtures("darkness")
@pytest.mark.parametrize("name", NAMES)
def test_sizes_are_found_under_the_other_form(
    tmp_path: Path, photograph: Callable[..., Path], segmenter: Segmenter, name: str
) -> None:
    path = photograph(f"{form(name, 'NFD')}.png")
    put(tmp_path / "sizes" / f"{form(name, 'NFC')}_segmentation.png", size=(96, 128))
    jobs = find_jobs([path])
    segment_all(jobs, segmenter, tmp_path / "out", BatchSettings(size_from=tmp_path / "sizes"))
    assert read_mask(tmp_path / "out" / jobs[0].mask).shape == (96, 128)


@pytest.mark.skipif(os.name == "nt", reason="its limit is one of the whole path")
@pytest.mark.usefixtures("darkness")
@pytest.mark.parametrize("letter", ["a", "é", "病"])
def test_a_name_too_long_for_a_mask_is_told_before_the_work(
    tmp_path: Path,
    photograph: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    letter: str,
) -> None:
    """A mask's name is the photograph's and 13 bytes; from 239 on it is beyond 255."""
    size = len(letter.encode())
    fits, long = (letter * (count // size) + "x" * (count % size) for count in (238, 239))
    for name in (fits, long, letter * (251 // size)):
        photograph(f"{name}.jpg")
    read = Path.read_bytes
    opened = []
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.stem) or read(path))
    arguments = ["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--overlay", str(tmp_path / "pictures")]) == 1
    assert fits in opened
    assert long not in opened
    with (tmp_path / "out" / "report.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [bool(row["error"]) for row in rows] == [
        len(row["photograph"]) > len(fits) + 4 for row in rows
    ]
    assert sum("shorten it" in row["error"] for row in rows) == 2
    assert (tmp_path / "out" / f"{fits}_segmentation.png").is_file()
