"""What `dermseg doctor` finds."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermseg.cli.main import main
from dermseg.data.datasets import open_cache
from dermseg.data.doctor import REMEDIES, examine, report
from dermseg.data.layouts import find_pairs
from dermseg.errors import DataError
from dermseg.masks.style import STYLE_NAMES, read_style
from dermseg.training.run_folder import read_held_out, write_held_out

Masks = dict[str, np.ndarray]


def disc(row: float, column: float, radius: float = 12) -> np.ndarray:
    y, x = np.mgrid[:48, :64]
    return (np.hypot(y - row, x - column) < radius).astype(np.uint8) * 255


@pytest.fixture
def ailing(tmp_path: Path) -> Path:
    """Return a data set in which each image but the first has one thing wrong."""
    masks = {
        "a-good": disc(24, 32),
        "b-empty": np.zeros((48, 64), np.uint8),
        "c-full": np.full((48, 64), 255, np.uint8),
        "d-pieces": disc(12, 12, 6) | disc(36, 50, 6),
        "e-grey": np.where(disc(24, 32) > 0, 200, 0).astype(np.uint8),
        "f-small": disc(24, 32)[::2, ::2].copy(),
        "g-twin": disc(20, 30),
        "h-twin": disc(20, 30),
        "i-broken": disc(24, 32),
        "j-wrong": disc(10, 10, 8),
    }
    data = tmp_path / "data"
    for folder in ("images", "masks"):
        (data / folder).mkdir(parents=True)
    for number, (name, mask) in enumerate(masks.items()):
        seed = 6 if name == "h-twin" else number
        blocks = np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
        Image.fromarray(blocks).resize((64, 48)).save(data / "images" / f"{name}.png")
        Image.fromarray(mask).save(data / "masks" / f"{name}_segmentation.png")
    (data / "images" / "i-broken.png").write_bytes(b"broken")
    return data


def test_each_ailment_is_found_and_health_is_not(ailing: Path) -> None:
    found = {(finding.image, finding.kind) for finding in examine(ailing).findings}
    assert found == {
        ("b-empty", "empty-mask"),
        ("c-full", "full-mask"),
        ("d-pieces", "pieces"),
        ("e-grey", "not-binary"),
        ("f-small", "sizes-differ"),
        ("g-twin", "near-duplicate"),
        ("h-twin", "near-duplicate"),
        ("i-broken", "unreadable"),
    }


def test_masks_that_a_network_contradicts_come_first(ailing: Path) -> None:
    right, wrong = disc(24, 32) / 255, disc(34, 50) / 255
    predictions = {
        "a-good": right.astype(np.float32),
        "j-wrong": wrong.astype(np.float32),
        "c-full": right.astype(np.float32),
    }
    findings = examine(ailing, predictions).findings
    assert [(f.image, f.kind) for f in findings[:2]] == [
        ("j-wrong", "suspicious"),
        ("c-full", "suspicious"),
    ]
    assert findings[0].detail.startswith("Jaccard 0.000")


def test_predictions_come_from_a_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train with --fold"):
        read_held_out(tmp_path)
    probability = np.random.default_rng(0).random((2, 4, 6)).astype(np.float32)
    write_held_out(tmp_path, ["a", "b"], probability, np.zeros(2, np.bool_))
    found = read_held_out(tmp_path)
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["b"], probability[1].astype(np.float16))


def test_the_command_prints_and_writes(
    ailing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(ailing), "-o", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "b-empty: empty-mask" in said
    assert "8 findings in 8 of 10 images" in said
    with (tmp_path / "out" / "doctor.csv").open(newline="") as handle:
        assert len(list(csv.DictReader(handle))) == 8
    with Image.open(tmp_path / "out" / "doctor.png") as sheet:
        assert sheet.width == 4 * 324  # seven pictures; the unreadable one has none
        assert sheet.height == 2 * 261


def test_an_unreadable_photograph_that_leaks_too_has_no_picture(
    ailing: Path, tmp_path: Path
) -> None:
    rows = ["image_id,patient_id,split"]
    for path in sorted((ailing / "images").iterdir()):
        person = "P1" if path.stem in ("a-good", "i-broken") else path.stem
        rows.append(f"{path.stem},{person},{'val' if path.stem == 'i-broken' else 'train'}")
    (ailing / "people.csv").write_text("\n".join(rows))
    assert main(["doctor", str(ailing), "-o", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "doctor.csv").open(newline="") as handle:
        found = [row["kind"] for row in csv.DictReader(handle) if row["image"] == "i-broken"]
    assert sorted(found) == ["leak", "unreadable"]


def test_a_healthy_set_has_no_sheet(
    ailing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", str(ailing), "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "doctor.png").is_file()
    lines = capsys.readouterr().out.splitlines()
    listed = Counter(line.split(": ")[1] for line in lines if line.count(": ") > 1)
    assert listed["sizes-differ"] > 0
    for kind, count in listed.items():
        assert f"  {count} {kind}: {REMEDIES[kind]}" in lines
    for path in ailing.rglob("*.png"):
        if not path.name.startswith("a-good"):
            path.unlink()
    report([], [], tmp_path / "out")
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left == ["doctor.csv", "journal.jsonl"]
    (tmp_path / "out" / "doctor.csv").write_text("my notes")
    assert main(["doctor", str(ailing), "-o", str(tmp_path / "out")]) == 2
    assert (tmp_path / "out" / "doctor.csv").read_text() == "my notes"
    capsys.readouterr()
    assert main(["doctor", str(ailing)]) == 0
    printed = capsys.readouterr().out
    assert printed == "0 findings in 0 of 1 image\noutlines: 1 semi-automatic\n"


def test_thumbnails_may_differ_in_size(ailing: Path) -> None:
    kinds = {finding.kind for finding in examine(ailing, allow_resized=True).findings}
    assert "sizes-differ" not in kinds
    assert "pieces" in kinds


def test_what_stands_alone_is_a_finding_among_the_others(
    ailing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {(each.image, each.kind) for each in examine(ailing).findings}
    (ailing / "masks" / "a-good_segmentation.png").unlink()
    (ailing / "masks" / "lost_segmentation.png").write_bytes(b"")
    after = {(each.image, each.kind) for each in examine(ailing).findings}
    alone = {("a-good", "alone"), ("lost_segmentation", "alone")}
    assert after == {each for each in before if each[0] != "a-good"} | alone
    assert main(["doctor", str(ailing), "-o", str(tmp_path / "out")]) == 0
    assert "a-good.png: no mask" in capsys.readouterr().out
    assert (tmp_path / "out" / "doctor.png").is_file()
    for path in (ailing / "masks").glob("*.png"):
        path.rename(path.with_name(f"other-{path.name}"))
    assert main(["doctor", str(ailing)]) == 1
    assert "a-good.png: no mask" in capsys.readouterr().err


def test_the_mix_of_styles_and_what_fits_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    y, x = np.mgrid[:400, :600]
    smooth = (x - 300) ** 2 + 2 * (y - 200) ** 2 < 150**2
    steps = smooth[::10, ::10].repeat(10, 0).repeat(10, 1)
    between = np.where(x < 360, smooth, steps)
    masks = {"a": smooth, "b": steps, "c": between, "d": smooth & (x < 1), "e": between}
    for seed, (name, mask) in enumerate(masks.items()):
        noise = np.random.default_rng(seed).integers(0, 255, (400, 600, 3), dtype=np.uint8)
        for folder, pixels in (("images", noise), ("masks", mask.astype(np.uint8) * 255)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    (tmp_path / "labels.csv").write_text("image,style\nb.png,Traced\ne,semi automatic\nc,\n")
    (tmp_path / "scores.csv").write_text("image,area\nb,3\n")
    found = examine(tmp_path)
    odd = [finding.image for finding in found.findings if finding.kind == "fits-no-style"]
    assert odd == ["c"]
    nearest = read_style(between).style
    expected = Counter({"traced": 2, "semi-automatic": 1, "unclear": 1})
    expected[str(nearest)] += 1
    assert found.styles == expected
    assert main(["doctor", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "outlines: " in printed.out
    assert "skipped: scores.csv: no column of diagnosis, age, sex, style, " in printed.err
    pairs = find_pairs(tmp_path)
    cache = open_cache(pairs, 32, 48, tmp_path / "cache", allow_resized=False)
    styles = dict(zip(cache.image_ids, (STYLE_NAMES[s] for s in cache.styles), strict=True))
    assert (styles["b"], styles["e"], styles["d"]) == ("traced", "semi-automatic", "unclear")
    (tmp_path / "labels.csv").unlink()
    again = open_cache(find_pairs(tmp_path), 32, 48, tmp_path / "cache", allow_resized=False)
    assert STYLE_NAMES[again.styles[1]] == "semi-automatic", "labels are not kept in the cache"


def test_an_inverted_mask_is_found_and_clean_copies_are_written(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    masks = {"ones": disc(24, 32) // 255, "inverted": 255 - disc(24, 32), "grey": disc(24, 32)}
    for number, (name, mask) in enumerate(masks.items()):
        noise = np.random.default_rng(number).integers(0, 255, (48, 64, 3)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / "data" / "images" / f"{name}.png")
        Image.fromarray(mask).save(tmp_path / "data" / "masks" / f"{name}_mask.png")
    found = {(finding.image, finding.kind) for finding in examine(tmp_path / "data").findings}
    assert found == {("inverted", "inverted-mask")}
    assert main(["doctor", str(tmp_path / "data"), "--fix", str(tmp_path / "fixed")]) == 0
    for name, mask in masks.items():
        with Image.open(tmp_path / "fixed" / f"{name}_segmentation.png") as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), (mask > 0) * np.uint8(255))
    Image.fromarray(disc(24, 9)).save(tmp_path / "fixed" / "grey_segmentation.png")
    assert main(["doctor", str(tmp_path / "data"), "--fix", str(tmp_path / "fixed")]) == 2
    with Image.open(tmp_path / "fixed" / "grey_segmentation.png") as image:
        np.testing.assert_array_equal(np.asarray(image), disc(24, 9))
