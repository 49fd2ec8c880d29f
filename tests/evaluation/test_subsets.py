"""Some of the images scored, and their borders."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from dermseg.cli.main import main
from dermseg.errors import DataError, UsageError
from dermseg.evaluation.comparison import compare
from dermseg.evaluation.scoring import evaluate
from dermseg.imaging.mask_files import write_mask
from dermseg.masks.borders import BORDER_METRICS, score_border

NAMES = [f"ISIC_{number:07}" for number in range(6)]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return the folders of true masks, with a table beside them, and of masks to score."""
    truth, found = tmp_path / "data" / "truth", tmp_path / "found"
    for number, name in enumerate(NAMES):
        mask = np.zeros((24, 32), np.bool_)
        mask[4:20, 4:20] = True
        write_mask(truth / f"{name}_segmentation.png", mask)
        mask[:, 4 : 6 + number] = False
        write_mask(found / f"{name}_segmentation.png", mask)
    rows = [
        f"{name}.jpg,{'Melanoma' if n < 2 else 'nevus'},{n % 3}" for n, name in enumerate(NAMES)
    ]
    (tmp_path / "data" / "mine.csv").write_text("image_id,diagnosis,Clinic\n" + "\n".join(rows))
    return truth, found


@pytest.mark.parametrize(
    ("subset", "chosen"),
    [
        ("diagnosis=melanoma", NAMES[:2]),
        ("Diagnosis = NEVUS", NAMES[2:]),
        ("Clinic=2", [NAMES[2], NAMES[5]]),
        ("clinic=0", [NAMES[0], NAMES[3]]),
    ],
)
def test_by_a_column(folders: tuple[Path, Path], subset: str, chosen: list[str]) -> None:
    assert list(evaluate(*folders, subset=subset).images) == chosen


@pytest.mark.parametrize(
    "content",
    [
        f"{NAMES[1]}\n{NAMES[4]}.jpg\n\n",
        f"number,isic_id\n7,{NAMES[4]}\n8,{NAMES[1].lower()}\n9,another\n",
    ],
)
def test_by_a_file(folders: tuple[Path, Path], tmp_path: Path, content: str) -> None:
    (tmp_path / "some=list.csv").write_text(content)
    found = evaluate(*folders, subset=str(tmp_path / "some=list.csv"))
    assert list(found.images) == [NAMES[1], NAMES[4]]


def test_a_style_is_read_where_no_table_says_it(folders: tuple[Path, Path]) -> None:
    styles = {s["style"] for s in evaluate(*folders).groups.values()}
    (style,) = styles
    assert len(evaluate(*folders, subset=f"style={style}").images) == 6


def test_masks_of_the_others_may_lack(folders: tuple[Path, Path]) -> None:
    (folders[1] / f"{NAMES[5]}_segmentation.png").unlink()
    assert len(evaluate(*folders, subset="diagnosis=melanoma").images) == 2
    with pytest.raises(DataError, match="no prediction"):
        evaluate(*folders, subset="diagnosis=nevus")


@pytest.mark.parametrize(
    ("subset", "error", "said"),
    [
        ("diagnosis=wart", DataError, "known values: Melanoma, nevus|known values: melanoma"),
        ("colour=red", DataError, "no table in .* has a column colour"),
        ("missing.csv", UsageError, "no such file, and not COLUMN=VALUE"),
    ],
)
def test_what_means_nothing_is_refused(
    folders: tuple[Path, Path], subset: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        evaluate(*folders, subset=subset)


def test_a_list_of_other_images_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("another\n")
    with pytest.raises(DataError, match="names none of these images"):
        evaluate(*folders, subset=str(tmp_path / "list.txt"))


def test_names_of_a_list_that_are_no_images_are_counted(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"{NAMES[1]}\nanother\n{NAMES[4]}\nthird\n")
    assert main(["evaluate", *map(str, folders), "--subset", str(file)]) == 0
    said = capsys.readouterr()
    assert "2 images" in said.out
    assert f"skipped: 2 of the 4 names in {file}: of no true mask, such as another\n" in said.err
    file.write_text(f"{NAMES[1]}\n")
    assert evaluate(*folders, subset=file).passed_over == ()


def test_borders_are_scored_compared_and_written(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not evaluate(*folders).borders
    found = evaluate(*folders, borders=True)
    truth = np.zeros((24, 32), np.bool_)
    truth[4:20, 4:20] = True
    mask = truth.copy()
    mask[:, 4:6] = False
    assert found.borders[NAMES[0]] == score_border(truth, mask)
    same = evaluate(folders[0], folders[0], borders=True)
    gains = compare(found, same).differences
    assert gains["assd"] == pytest.approx(-found.border_means["assd"][0])
    arguments = [*map(str, folders), "--borders", "--subset", "diagnosis=melanoma"]
    arguments += ["--csv", str(tmp_path / "a.csv"), "--json", str(tmp_path / "a.json")]
    assert main(["evaluate", *arguments]) == 0
    said = capsys.readouterr().out
    assert "2 images" in said
    assert all(name in said for name in BORDER_METRICS)
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["borders"]["hd95"][0] == pytest.approx(2.5)
    with (tmp_path / "a.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["image"] for row in rows] == NAMES[:2]
    assert float(rows[0]["boundary_iou"]) == content["images"][NAMES[0]]["boundary_iou"]
