"""Two folders of masks compared image by image."""

from pathlib import Path

import numpy as np
import pytest

from dermseg.cli.main import main
from dermseg.errors import DataError
from dermseg.evaluation.comparison import compare
from dermseg.evaluation.scoring import Evaluation, evaluate
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


def test_the_command_prints_the_differences(
    folders: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *map(str, folders)]) == 0
    said = capsys.readouterr().out
    assert "second minus first" in said
    assert "higher on 12 images, lower on 0" in said
