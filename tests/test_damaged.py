"""A photograph that lost pixels inside its file is flagged behind every door."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from local_service import client_of
from PIL import Image

from dermseg.cli.main import main
from dermseg.data.doctor import examine
from dermseg.inference.segmenter import Segmenter
from dermseg.web.app import create_app

EXAMPLE = next((Path(__file__).parents[1] / "examples").rglob("*.jpg"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data set of a sound and a damaged photograph."""
    content = EXAMPLE.read_bytes()
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    middle = len(content) // 2
    damaged = content[:middle] + bytes(400) + content[middle + 400 :]
    (tmp_path / "data" / "images" / "damaged.jpg").write_bytes(damaged)
    shutil.copy(EXAMPLE, tmp_path / "data" / "images" / "sound.jpg")
    with Image.open(EXAMPLE) as image:
        mask = np.zeros((image.height, image.width), np.uint8)
    mask[100:200, 100:200] = 255
    for name in ("damaged", "sound"):
        Image.fromarray(mask).save(tmp_path / "data" / "masks" / f"{name}.png")
    return tmp_path / "data"


def test_in_the_report(data: Path, tmp_path: Path) -> None:
    assert main(["segment", str(data / "images"), "-o", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "report.csv").open(newline="") as handle:
        rows = {row["photograph"]: row["flags"].split() for row in csv.DictReader(handle)}
    assert "damaged" in rows["damaged.jpg"]
    assert "damaged" not in rows["sound.jpg"]


def test_in_the_answer_of_the_service(data: Path, segmenter: Segmenter) -> None:
    with client_of(create_app(segmenter)) as client:
        for name, flagged in (("damaged", True), ("sound", False)):
            content = (data / "images" / f"{name}.jpg").read_bytes()
            answer = client.post("/v1/segment", content=content).json()
            assert ("damaged" in answer["flags"]) == flagged


def test_by_the_doctor(data: Path) -> None:
    findings = {(each.image, each.kind) for each in examine(data).findings}
    assert ("damaged", "damaged") in findings
    assert ("sound", "damaged") not in findings


def test_on_the_page() -> None:
    page = Path(__file__).parents[1] / "src" / "dermseg" / "web" / "static" / "panel.js"
    for flag in ("damaged", "narrow-range"):
        assert f"  {flag}:" in page.read_text(encoding="utf-8") or f'  "{flag}":' in page.read_text(
            encoding="utf-8"
        )
