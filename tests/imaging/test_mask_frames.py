"""How masks lie on photographs that EXIF turns: one decision for every command."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dermseg.batch.jobs import find_jobs
from dermseg.batch.run import segment_all
from dermseg.cli.main import main
from dermseg.data.datasets import open_cache
from dermseg.data.doctor import examine, fix
from dermseg.data.layouts import find_pairs
from dermseg.errors import DataError, ImageError
from dermseg.evaluation.scoring import evaluate
from dermseg.imaging.mask_files import read_mask
from dermseg.imaging.mask_frames import frame_problem
from dermseg.imaging.photographs import Header
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import BatchSettings, MaskFrame

SIZES = {"landscape": (48, 64), "portrait": (64, 48), "square": (56, 56)}
CASES = [
    (shape, orientation, frame)
    for shape in SIZES
    for orientation in range(1, 9)
    for frame in ("stored", "upright")
]
every_case = pytest.mark.parametrize(("shape", "orientation", "frame"), CASES)


def lesion(height: int, width: int) -> NDArray[np.uint8]:
    """Return a mask of which every turn and mirror image is another one."""
    mask = np.zeros((height, width), np.uint8)
    mask[height // 8 : height // 2, width // 8 : width // 4] = 255
    mask[height // 3 : height // 2, width // 8 : width // 2] = 255
    return mask


def put(folder: Path, name: str, stored: NDArray[np.uint8], turn: int, frame: str) -> None:
    """Write a photograph of a dark lesion that EXIF turns, and its mask, drawn in `frame`."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    skin = np.where(stored[..., None] > 0, [80, 50, 40], [220, 180, 160])
    photograph = Image.fromarray(skin.astype(np.uint8))
    photograph.getexif()[0x0112] = turn
    photograph.save(folder / "images" / f"{name}.png", exif=photograph.getexif())
    mask = Image.fromarray(stored)
    if frame == "upright":
        mask.getexif()[0x0112] = turn
        mask = ImageOps.exif_transpose(mask)
    Image.fromarray(np.asarray(mask)).save(folder / "masks" / f"{name}.png")


@every_case
def test_a_mask_lies_on_its_photograph_once_its_frame_is_said(
    tmp_path: Path, shape: str, orientation: int, frame: MaskFrame
) -> None:
    stored = lesion(*SIZES[shape])
    put(tmp_path, "a", stored, orientation, frame)
    (pair,) = find_pairs(tmp_path, frame)
    np.testing.assert_array_equal(pair.read_mask(), stored)
    height, width = stored.shape
    cache = open_cache([pair], height, width, tmp_path / "cache", allow_resized=False)
    np.testing.assert_array_equal(cache.masks[0], stored)
    kinds = {finding.kind for finding in examine(tmp_path, mask_frame=frame).findings}
    assert kinds.isdisjoint({"mask-frame", "sizes-differ"})
    assert fix(tmp_path, tmp_path / "fixed", frame) == 1
    np.testing.assert_array_equal(read_mask(tmp_path / "fixed" / "a_segmentation.png"), stored)


@every_case
def test_without_a_word_only_sizes_decide(
    tmp_path: Path, shape: str, orientation: int, frame: MaskFrame
) -> None:
    """A mask is taken as stored where its sides say so; where they do not, nothing is guessed."""
    stored = lesion(*SIZES[shape])
    put(tmp_path, "a", stored, orientation, frame)
    (pair,) = find_pairs(tmp_path)
    sides_tell = orientation >= 5 and shape != "square"
    findings = [each for each in examine(tmp_path).findings if each.kind == "mask-frame"]
    if orientation == 1 or (sides_tell and frame == "stored"):
        np.testing.assert_array_equal(pair.read_mask(), stored)
        assert not findings
        return
    with pytest.raises(ImageError, match="--mask-frame"):
        pair.read_mask()
    with pytest.raises(DataError, match="--mask-frame"):
        open_cache([pair], *SIZES[shape], tmp_path / "cache", allow_resized=True)
    (finding,) = findings
    hint = "(--mask-frame upright)" if sides_tell else f"it looks {frame}"
    assert finding.detail.endswith(hint)


@pytest.mark.parametrize("told", [None, "stored", "upright"])
@pytest.mark.parametrize("resized", [False, True])
def test_a_mask_that_lies_across_is_an_error_whatever_is_said(
    tmp_path: Path, told: MaskFrame | None, *, resized: bool
) -> None:
    put(tmp_path, "a", lesion(48, 64), 1, "stored")
    Image.fromarray(lesion(64, 48)).save(tmp_path / "masks" / "a.png")
    (pair,) = find_pairs(tmp_path, told)
    with pytest.raises(DataError, match=r"a\.png: lies across"):
        open_cache([pair], 48, 64, tmp_path / "cache", allow_resized=resized)
    found = examine(tmp_path, mask_frame=told, allow_resized=True).findings
    assert "mask-frame" in [each.kind for each in found]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_mask_that_exif_turns_like_its_photograph_lies_on_it(orientation: int) -> None:
    both = Header((48, 64), orientation)
    assert [frame_problem(both, both, told) for told in (None, "stored", "upright")] == [""] * 3


def test_what_a_person_says_is_held_against_the_sizes() -> None:
    photograph, upright = Header((48, 64), 6), Header((64, 48), 1)
    assert "lies across" in frame_problem(photograph, upright, "stored")
    assert "lies across" in frame_problem(photograph, Header((48, 64), 1), "upright")
    assert frame_problem(photograph, upright, "upright") == ""


@pytest.mark.usefixtures("darkness")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_taken_from_masks_in_their_frame(
    photograph: Callable[..., Path], tmp_path: Path, segmenter: Segmenter, orientation: int
) -> None:
    """A mask of twice the size, drawn over the upright picture."""
    jobs = find_jobs([photograph("a.png", 48, 64, orientation)])
    sides = (128, 96) if orientation < 5 else (96, 128)
    (tmp_path / "sizes").mkdir()
    Image.new("L", sides).save(tmp_path / "sizes" / "a.png")

    def error(name: str, frame: MaskFrame | None) -> str:
        sizes = tmp_path / "sizes"
        (result,) = segment_all(
            jobs, segmenter, tmp_path / name, BatchSettings(size_from=sizes, mask_frame=frame)
        )
        return result.error

    assert error("upright", "upright") == ""
    large = read_mask(tmp_path / "upright" / "a_segmentation.png")
    segment_all(jobs, segmenter, tmp_path / "small")
    small = read_mask(tmp_path / "small" / "a_segmentation.png")
    assert large.shape == (96, 128)
    assert ((large > 0) == (small > 0).repeat(2, 0).repeat(2, 1)).mean() > 0.97
    assert ("lies across" in error("silent", None)) is (orientation >= 5)
    assert ("lies across" in error("stored", "stored")) is (orientation >= 5)


@pytest.mark.usefixtures("darkness")
def test_truth_that_was_drawn_upright_is_scored(
    tmp_path: Path, segmenter: Segmenter, capsys: pytest.CaptureFixture[str]
) -> None:
    for orientation in range(1, 9):
        put(tmp_path, f"a{orientation}", lesion(96, 128), orientation, "upright")
    truth, found = tmp_path / "masks", tmp_path / "out"
    segment_all(find_jobs([tmp_path / "images"]), segmenter, found)
    scores = evaluate(truth, found, mask_frame="upright").images
    assert len(scores) == 8
    assert min(each.jaccard for each in scores.values()) > 0.8
    with pytest.raises(DataError) as error:
        evaluate(truth, found)
    assert str(error.value).count("--mask-frame") == 7
    (found / "report.csv").unlink()
    assert main(["evaluate", str(truth), str(found), "--mask-frame", "upright"]) == 1
    assert capsys.readouterr().err.count("needs the report.csv of `dermseg segment` beside it") == 8


def test_the_option_needs_masks_to_take_sizes_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["segment", "a.jpg", "-o", "out", "--mask-frame", "upright"]) == 2
    assert "--size-from" in capsys.readouterr().err
