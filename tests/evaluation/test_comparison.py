"""Two folders of masks compared image by image."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermseg.cli.main import main
from dermseg.errors import DataError
from dermseg.evaluation.comparison import compare
from dermseg.evaluation.scoring import Evaluation, evaluate
from dermseg.imaging.images import write_image
from dermseg.imaging.mask_files import write_mask


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Return the folders of the truth, of masks half as wide, and of masks a little too small."""
    found = tmp_path / "truth", tmp_path / "half", tmp_path / "near"
    for number in range(12):
        for folder, width in zip(found, (16, 8, 14 + number % 2), strict=True):
            mask = np.zeros((24, 32), np.bool_)
            mask[4:20, 4 : 4 + width] = True
            write_mask(folder / f"{number:02}_segmentation.png", mask)
    return found


def test_differences_are_paired(folders: tuple[Path, Path, Path]) -> None:
    truth, half, near = folders
    found = compare(evaluate(truth, half), evaluate(truth, near))
    assert (found.images, found.better, found.worse) == (12, 12, 0)
    assert found.differences["jaccard"] == pytest.approx((14 + 15) / 32 - 0.5)
    low, high = found.intervals["jaccard"]
    assert 0.37 < low < found.differences["jaccard"] < high < 0.44


def test_a_folder_equals_itself(folders: tuple[Path, Path, Path]) -> None:
    same = evaluate(folders[0], folders[1])
    found = compare(same, same)
    assert set(found.differences.values()) == {0}
    assert set(found.intervals.values()) == {(0, 0)}


def test_other_images_are_refused(folders: tuple[Path, Path, Path]) -> None:
    whole = evaluate(folders[0], folders[1])
    part = Evaluation(dict(list(whole.images.items())[:3]), {})
    with pytest.raises(DataError, match="different images"):
        compare(whole, part)


def test_odd_masks_are_named_in_both_folders(
    folders: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, name in zip(folders, ("00", "01", "02"), strict=True):
        grey = np.full((24, 32), 200, np.uint8)
        write_image(folder / f"{name}_segmentation.png", grey)
    for folder in folders[1:]:
        Image.new("I;16", (32, 24), 65535).save(folder / "03_segmentation.png")
    assert main(["evaluate", *map(str, folders)]) == 0
    said = capsys.readouterr().err
    assert said.count("not binary") == 3
    for folder, name in zip(folders, ("00", "01", "02"), strict=True):
        assert f"{folder / name}_segmentation.png: not binary" in said
    for folder in folders[1:]:
        assert f"{folder / '03_segmentation.png'}: the official scorer" in said


def test_the_command_prints_the_differences(
    folders: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *map(str, folders)]) == 0
    said = capsys.readouterr().out
    assert "second minus first" in said
    assert "higher on 12 images, lower on 0" in said


@pytest.mark.parametrize("options", [[], ["--borders"]])
def test_files_hold_both_folders_and_their_differences(
    folders: tuple[Path, Path, Path], tmp_path: Path, options: list[str]
) -> None:
    truth, half, near = folders
    contents, tables = [], []
    for number, scored in enumerate(([half], [near], [half, near])):
        files = [tmp_path / "scores" / f"{number}.{suffix}" for suffix in ("json", "csv")]
        written = ["--json", str(files[0]), "--csv", str(files[1])]
        assert main(["evaluate", str(truth), *map(str, scored), *written, *options]) == 0
        contents.append(json.loads(files[0].read_text(encoding="utf-8")))
        tables.append(list(csv.DictReader(files[1].read_text(encoding="utf-8").splitlines())))

    first, second, both = contents
    compared = compare(*(evaluate(truth, each, borders=bool(options)) for each in (half, near)))
    intervals = {metric: list(ends) for metric, ends in compared.intervals.items()}
    means = {"mean": compared.differences, "interval": intervals}
    difference = {"count": 12, **means, "better": 12, "worse": 0}
    assert both == {**first, "second": second, "difference": difference}

    for one, other, row in zip(*tables, strict=True):
        image, *metrics = one
        assert list(row)[: len(one)] == [image, *metrics]
        assert {**row, **one} == row
        for metric in metrics:
            assert row[f"second_{metric}"] == other[metric]
            gain = float(other[metric]) - float(one[metric])
            assert float(row[f"difference_{metric}"]) == pytest.approx(gain)
