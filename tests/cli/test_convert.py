import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from round_trips import annotations, hard_masks

from dermseg.cli.main import main
from dermseg.formats.masks import write as write_masks
from dermseg.settings import OutlineSettings


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    write_masks(annotations(hard_masks()), tmp_path / "masks", OutlineSettings())
    return tmp_path / "masks"


def test_masks_become_coco_and_come_back(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, back = tmp_path / "lesions.json", tmp_path / "back"
    assert main(["convert", str(masks), "-o", str(target), "--to", "coco", "--label", "mole"]) == 0
    assert f"8 outlines in {target}, 0 failed" in capsys.readouterr().err
    assert json.loads(target.read_text())["categories"][0]["name"] == "mole"
    assert main(["convert", str(target), "-o", str(back), "--to", "masks", "--from", "coco"]) == 0
    for path in masks.rglob("*.png"):
        assert (back / path.relative_to(masks)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("options", [[], ["--reader", "bo"]])
def test_without_a_review_nothing_is_accepted(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    call = ["convert", str(masks), "-o", str(tmp_path / "kept"), "--to", "masks", "--accepted"]
    assert main([*call, *options]) == 2
    assert "no such file; --accepted takes a folder of masks after a review" in (
        capsys.readouterr().err
    )


def test_one_outline_is_no_outlines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_masks(
        annotations(dict([next(iter(hard_masks().items()))])), tmp_path / "masks", OutlineSettings()
    )
    target = tmp_path / "a.json"
    assert main(["convert", str(tmp_path / "masks"), "-o", str(target), "--to", "coco"]) == 0
    assert f"1 outline in {target}, 0 failed" in capsys.readouterr().err


def test_what_is_lost_is_said(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--to", "coco", "--one", "largest"]
    assert main(["convert", str(masks), "-o", str(tmp_path / "a.json"), *options]) == 0
    said = capsys.readouterr().err
    assert "pixels differ, in 2 outlines" in said
    assert "most, 42, folder/pieces.jpg" in said


def test_a_failure_costs_its_photograph_and_is_said(
    masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.arange(9, dtype=np.uint8).reshape(3, 3)).save(masks / "dark.png")
    assert main(["convert", str(masks), "-o", str(tmp_path / "geojson"), "--to", "geojson"]) == 1
    said = capsys.readouterr().err
    assert "dark.png: ambiguous as a mask" in said
    assert "8 outlines" in said
    assert main(["convert", str(masks), "-o", str(masks), "--to", "masks"]) == 2


def test_segmenting_writes_forms_beside_its_masks(
    tmp_path: Path, examples: list[tuple[Path, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    photographs, output = tmp_path / "photographs", tmp_path / "masks"
    photographs.mkdir()
    exif = Image.Exif()
    exif[274] = 6
    with Image.open(examples[0][0]) as image:
        image.resize((400, 300)).save(photographs / "turned.jpg", exif=exif)
    Image.new("RGB", (40, 30)).save(photographs / "black.png")
    command = ["segment", str(photographs), "-o", str(output)]
    for _ in range(2):
        assert main([*command, "--form", "coco", "--form", "labelme"]) == 0
    assert f"2 outlines in {output / 'coco.json'}" in capsys.readouterr().err
    sizes = {
        i["file_name"]: i["height"]
        for i in json.loads((output / "coco.json").read_text())["images"]
    }
    assert sizes == {"black.png": 30, "turned.jpg": 300}
    shown = json.loads((output / "labelme/turned.json").read_text())
    assert (shown["imageHeight"], shown["imagePath"]) == (400, "turned.jpg")
    assert main([*command, "--form", "masks"]) == 2


@pytest.mark.parametrize("form", ["coco", "geojson"])
def test_a_form_that_someone_has_changed_is_not_written_over(
    form: str,
    tmp_path: Path,
    examples: list[tuple[Path, Path]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "masks"
    command = ["segment", str(examples[0][0]), "-o", str(output), "--form", form]
    assert main(command) == 0
    (changed,) = output.rglob("*.*json")
    made = changed.read_bytes()
    changed.write_bytes(made + b" ")
    assert main(command) == 2
    assert f"{changed}: was changed since dermseg made it" in capsys.readouterr().err
    assert changed.read_bytes() == made + b" "
    changed.unlink()
    assert main(command) == 0
    assert changed.read_bytes() == made


def test_a_file_that_someone_drew_beside_a_forms_is_not_written_over(
    tmp_path: Path, examples: list[tuple[Path, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    output, (first, second) = tmp_path / "masks", [photograph for photograph, _ in examples[:2]]
    options = ["-o", str(output), "--form", "labelme"]
    assert main(["segment", str(first), *options]) == 0
    copy = output / "labelme" / "photograph.JPG"
    for content in (b"1", b"2"):  # of another kind, which may change
        copy.write_bytes(content)
        assert main(["segment", str(first), *options]) == 0
    drawn = output / "labelme" / f"{second.stem}.json"
    drawn.write_text("{}")
    assert main(["segment", str(first), str(second), *options]) == 2
    assert f"{drawn}: was not made by dermseg there; move it away" in capsys.readouterr().err
    assert drawn.read_text() == "{}"
    assert [path.name for path in output.glob("*.png")] == [f"{first.stem}_segmentation.png"]
    drawn.unlink()
    assert main(["segment", str(first), str(second), *options]) == 0
