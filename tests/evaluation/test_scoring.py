import json
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermseg.cli.main import main
from dermseg.errors import DataError
from dermseg.evaluation.scoring import evaluate
from dermseg.imaging.images import write_image
from dermseg.imaging.mask_files import write_mask
from dermseg.masks.metrics import METRICS, score


def fill(folder: Path, names: dict[str, int], shape: tuple[int, int] = (10, 12)) -> Path:
    """Write random masks; the number decides what is in them."""
    for name, seed in names.items():
        write_mask(folder / f"{name}.png", np.random.default_rng(seed).random(shape) < 0.4)
    return folder


def test_a_folder_equals_itself(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", {"x_segmentation": 0, "y": 1})
    evaluation = evaluate(folder, folder)
    assert astuple(evaluation.mean) == (1, 1, 1, 1, 1)
    assert evaluation.summary.interval["jaccard"] == (1, 1)


def test_names_agree_with_and_without_segmentation(tmp_path: Path) -> None:
    truth = fill(tmp_path / "truth", {"a_segmentation": 0, "b_Segmentation": 1, "c": 2, "d": 3})
    found = fill(tmp_path / "found", {"a": 4, "b_segmentation": 5, "c_segmentation": 6, "d": 7})
    evaluation = evaluate(truth, found)
    assert list(evaluation.images) == ["a", "b", "c", "d"]
    for seed, scores in enumerate(evaluation.images.values()):
        first, second = (np.random.default_rng(s).random((10, 12)) < 0.4 for s in (seed, seed + 4))
        assert scores == score(first, second)


@pytest.mark.parametrize(
    ("truth", "found", "images"),
    [
        (["a_mask"], ["a_mask_segmentation"], ["a_mask"]),
        (["a_mask_segmentation"], ["a_mask"], ["a_mask"]),
        (["a", "a_mask"], ["a_segmentation", "a_mask_segmentation"], ["a", "a_mask"]),
        (["a_mask", "a_mask_mask"], ["a_mask", "a_mask_mask"], ["a", "a_mask"]),
        (["one/a_mask", "b_mask"], ["one/a_mask_segmentation", "b"], ["b", "one/a_mask"]),
    ],
)
def test_an_images_own_name_may_end_as_a_masks(
    tmp_path: Path, truth: list[str], found: list[str], images: list[str]
) -> None:
    seeds = range(2)
    one = fill(tmp_path / "truth", dict(zip(truth, seeds, strict=False)))
    other = fill(tmp_path / "found", dict(zip(found, seeds, strict=False)))
    evaluation = evaluate(one, other)
    assert sorted(evaluation.images) == images
    assert evaluation.mean.jaccard == 1


def test_all_that_does_not_fit_is_listed_at_once(tmp_path: Path) -> None:
    truth = fill(tmp_path / "truth", {"a": 0, "b": 1, "c": 2, "d": 3})
    found = fill(tmp_path / "found", {"a": 0, "surplus": 1})
    fill(found, {"c": 2}, (5, 6))
    with pytest.raises(DataError) as caught:
        evaluate(truth, found)
    message = str(caught.value)
    for text in ("b.png", "d.png", "surplus.png", "c.png: 5 x 6, but its truth is 10 x 12"):
        assert text in message
    assert "/a.png" not in message.replace("\\", "/")


def test_folders_images_and_labels_count_where_nothing_else_differs(tmp_path: Path) -> None:
    mask = np.eye(9, dtype=np.bool_)
    write_mask(tmp_path / "truth" / "x" / "labels" / "a.png", mask)
    write_mask(tmp_path / "found" / "images" / "x" / "a_segmentation.png", mask)
    assert evaluate(tmp_path / "truth", tmp_path / "found").images.keys() == {"x/a"}
    write_mask(tmp_path / "truth" / "x" / "a.png", mask)
    both = evaluate(tmp_path / "truth", tmp_path / "truth")
    assert both.images.keys() == {"x/a", "x/labels/a"}


def test_two_masks_of_one_photograph_are_not_passed_over(tmp_path: Path) -> None:
    truth = fill(tmp_path / "truth", {"a": 0})
    found = fill(tmp_path / "found", {"a": 1, "a_segmentation": 0})
    with pytest.raises(DataError, match=r"a\.png|a_segmentation\.png"):
        evaluate(truth, found)


def test_folders_without_masks(tmp_path: Path) -> None:
    truth = fill(tmp_path / "truth", {"a": 0})
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no masks"):
        evaluate(truth, tmp_path / "empty")
    with pytest.raises(DataError, match="gone: no such folder"):
        evaluate(tmp_path / "gone", truth)


def test_a_mask_in_colour_is_named(tmp_path: Path) -> None:
    truth = fill(tmp_path / "truth", {"a": 0})
    colours = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    write_image(tmp_path / "found" / "a.png", colours)
    with pytest.raises(DataError, match=r"found.a\.png: ambiguous as a mask"):
        evaluate(truth, tmp_path / "found")


def test_the_json_holds_everything(tmp_path: Path) -> None:
    truth = fill(tmp_path / "truth", {"a": 0, "b": 1, "c": 2})
    evaluation = evaluate(truth, fill(tmp_path / "found", {"a": 0, "b": 4, "c": 5}))
    evaluation.write_json(tmp_path / "new" / "scores.json")
    content = json.loads((tmp_path / "new" / "scores.json").read_text())
    assert content["count"] == 3
    assert content["mean"] == asdict(evaluation.mean)
    assert tuple(content["mean"]) == METRICS
    assert content["images"] == {name: asdict(s) for name, s in evaluation.images.items()}
    assert content["images"]["a"]["jaccard"] == 1
    low, high = content["interval"]["jaccard"]
    assert low < content["mean"]["jaccard"] < high


def test_the_text_has_the_five_means(tmp_path: Path) -> None:
    truth = fill(tmp_path / "truth", {"a": 0, "b": 1})
    evaluation = evaluate(truth, fill(tmp_path / "found", {"a": 0, "b": 4}))
    lines = str(evaluation).splitlines()
    assert lines[0].startswith("2 images; means")
    assert [line.split()[:2] for line in lines[1:6]] == [
        [name, f"{getattr(evaluation.mean, name):.4f}"] for name in METRICS
    ]
    assert [line.split()[0] for line in lines[7:9]] == ["b", "a"]


def test_groups_come_from_the_tables_beside_the_truth(tmp_path: Path) -> None:
    truth = fill(tmp_path / "truth", {"a": 0, "b": 1, "c": 2})
    (tmp_path / "Part3.csv").write_text(
        "image_id,melanoma,seborrheic_keratosis\na,1.0,0.0\nb,0.0,0.0\nc,0.0,0.0\n"
    )
    (tmp_path / "people.csv").write_text("image_id,age_approximate,sex\na,35,male\nb,70,female\n")
    evaluation = evaluate(truth, fill(tmp_path / "found", {"a": 0, "b": 4, "c": 2}))
    assert evaluation.kinds == ["diagnosis", "age", "sex", "style"]
    parts = evaluation.by("diagnosis")
    assert {value: part.count for value, part in parts.items()} == {"melanoma": 1, "nevus": 2}
    assert parts["melanoma"].mean == evaluation.images["a"]
    assert {value: part.count for value, part in evaluation.by("sex").items()} == {
        "female": 1,
        "male": 1,
        "unknown": 1,
    }
    assert "melanoma" in str(evaluation)


@pytest.fixture
def outlined(tmp_path: Path) -> Path:
    """Return true masks, one of each style and one too small to read, and masks to score."""
    y, x = np.mgrid[:400, :600]
    smooth = (x - 300) ** 2 + 2 * (y - 200) ** 2 < 150**2
    steps = smooth[::10, ::10].repeat(10, 0).repeat(10, 1)
    truths = {"smooth": smooth, "steps": steps, "small": (x < 5) & (y < 5)}
    for name, truth in truths.items():
        write_mask(tmp_path / "truth" / f"{name}.png", truth)
        write_mask(tmp_path / "found" / f"{name}.png", truth if name == "smooth" else ~truth)
    return tmp_path


def test_styles_are_read_from_the_truth(outlined: Path) -> None:
    evaluation = evaluate(outlined / "truth", outlined / "found")
    styles = {value: (p.count, p.mean.jaccard) for value, p in evaluation.by("style").items()}
    assert styles == {"traced": (1, 1.0), "semi-automatic": (1, 0.0), "unclear": (1, 0.0)}


def test_a_person_s_own_labels_go_before_the_reading(
    outlined: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (outlined / "labels.csv").write_text("image;style\nsteps.PNG;Traced\nsmooth;\nsmall;neat\n")
    (outlined / "train.csv").write_text("image_id,rle\nsteps,1 3\n")
    monkeypatch.chdir(outlined / "truth")
    assert main(["evaluate", ".", "../found", "--json", "../scores.json"]) == 0
    styles = json.loads((outlined / "scores.json").read_text())["groups"]["style"]
    assert {value: part["count"] for value, part in styles.items()} == {"traced": 2, "unclear": 1}
    said = capsys.readouterr().err
    assert "skipped: train.csv: no column of diagnosis, age, sex, style, " in said
    assert "1 images: labels.csv has a style other than traced or semi-automatic" in said


def test_a_table_has_a_row_for_each_image(tmp_path: Path) -> None:
    truth = fill(tmp_path / "truth", {"a": 0, "b": 1})
    evaluation = evaluate(truth, fill(tmp_path / "found", {"a": 0, "b": 4}))
    evaluation.write_csv(tmp_path / "scores.csv")
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert lines[0] == "image,accuracy,dice,jaccard,sensitivity,specificity"
    assert lines[1].startswith("a,1.0,1.0,1.0")
    assert float(lines[2].split(",")[3]) == evaluation.images["b"].jaccard


def test_masks_with_greys_are_named(tmp_path: Path) -> None:
    truth = fill(tmp_path / "truth", {"a": 0})
    fill(tmp_path / "found", {"a": 0})
    path = next((tmp_path / "found").glob("*.png"))
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 0] = 7
    Image.fromarray(pixels).save(path)
    assert evaluate(truth, tmp_path / "found").grey == (path,)


def test_masks_that_the_official_scorer_reads_otherwise_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ones = np.eye(10, 12, dtype=np.uint8)
    write_image(tmp_path / "truth" / "a.png", ones * 255)
    write_image(tmp_path / "found" / "a.png", ones)
    write_image(tmp_path / "truth" / "b_mask.TIF", ones * 255)
    write_image(tmp_path / "found" / "b.png", np.dstack([ones * 255] * 3))
    evaluation = evaluate(tmp_path / "truth", tmp_path / "found")
    assert [scores.jaccard for scores in evaluation.images.values()] == [1, 1]
    assert main(["evaluate", str(tmp_path / "truth"), str(tmp_path / "found")]) == 0
    said = capsys.readouterr().err
    assert f"{tmp_path / 'found' / 'a.png'}: the official scorer would read it as empty" in said
    assert f"{tmp_path / 'found' / 'b.png'}: the official scorer would read it as no mask" in said


def test_subfolders_are_scored_as_segment_writes_them(tmp_path: Path) -> None:
    truth = fill(tmp_path / "truth", {"one/a_segmentation": 0, "two/a": 1})
    found = fill(tmp_path / "found", {"one/a": 0, "two/a_segmentation": 1})
    evaluation = evaluate(truth, found)
    assert list(evaluation.images) == ["one/a", "two/a"]
    assert evaluation.mean.jaccard == 1
