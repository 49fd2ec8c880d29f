"""Figures 1, 3, 4 and 5, and the page: what is drawn, and from what."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy import Tiny, draw_picture

from dermseg.errors import DataError
from dermseg.experiments.figures import scatter
from dermseg.experiments.figures.channels import normalised
from dermseg.experiments.figures.drawing import Case, draw_cases
from dermseg.experiments.page import to_html, write_page
from dermseg.training import networks

Run = Callable[..., Path]


def colored(file: Path, color: tuple[int, int, int]) -> int:
    """Return how many pixels are about of a colour."""
    pixels = np.asarray(Image.open(file).convert("RGB")).astype(int)
    return int((np.abs(pixels - color).max(-1) < 60).sum())


def test_channels_are_stretched_between_their_percentiles() -> None:
    pixels = draw_picture(0, 40, 50)[0]
    found = normalised(pixels)
    assert found.shape == (7, 40, 50)
    assert found.min() == 0
    assert found.max() == 1
    blue = pixels[..., 2] / 255
    low, high = np.percentile(blue, (5, 95))
    np.testing.assert_allclose(found[2], ((blue - low) / (high - low)).clip(0, 1), atol=1e-5)
    assert np.isfinite(normalised(np.full((8, 8, 3), 9, np.uint8))).all()


def test_truth_is_red_and_the_result_yellow(tmp_path: Path) -> None:
    dark = np.full((60, 80, 3), 40, np.uint8)
    masks = [np.zeros((60, 80), np.bool_) for _ in range(2)]
    masks[0][10:40, 10:40] = True
    masks[1][30:50, 30:70] = True
    nothing = np.zeros((60, 80), np.bool_)
    rows = [("both", [Case(dark, *masks, "a"), Case(dark, masks[0], nothing, "b")])]
    draw_cases(rows, tmp_path / "both.png")
    assert colored(tmp_path / "both.png", (255, 0, 0)) > 100
    assert colored(tmp_path / "both.png", (255, 255, 0)) > 100
    draw_cases([("truth", [Case(dark, masks[0], nothing, "")])], tmp_path / "truth.png")
    found, legend = (colored(tmp_path / f"{n}.png", (255, 255, 0)) for n in ("both", "truth"))
    assert found > 2 * legend


def table(page: Path) -> list[dict[str, str]]:
    with page.with_suffix(".csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_figures_on_one_training(
    experiment: Run, toy_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(networks.NETWORKS, "cdnn29", Tiny)
    (toy_data / "truth.csv").write_text(
        "image_id,melanoma,seborrheic_keratosis\n"
        + "".join(f"ISIC_{number:07},{int(number < 5)},0\n" for number in range(15))
    )
    drawn: list[list[tuple[str, list[str]]]] = []

    def remember(rows: list[tuple[str, list[Case]]], file: Path) -> None:
        drawn.append([(name, [case.title for case in cases]) for name, cases in rows])
        draw_cases(rows, file)

    monkeypatch.setattr("dermseg.experiments.figures.contours.draw_cases", remember)
    monkeypatch.setattr("dermseg.experiments.figures.failures.draw_cases", remember)
    page = experiment("figure-3", epochs=3)
    assert "![" in page.read_text()
    assert table(page)[0]["images"] == "15"
    experiment("figure-4", epochs=3)
    by_diagnosis, worst = drawn
    assert [name for name, _ in by_diagnosis] == ["nevus", "melanoma"]
    assert all(len(titles) == 4 for _, titles in by_diagnosis)
    for _, titles in by_diagnosis:  # four places from poor to good, not one image four times
        values = [float(title.split()[-1]) for title in titles]
        assert len(set(titles)) == 4
        assert values == sorted(values)
    names = [title.split(",")[0] for title in by_diagnosis[1][1]]
    assert set(names) <= {f"ISIC_{number:07}" for number in range(5)}
    found = [float(title.split()[-1]) for _, titles in worst for title in titles]
    assert len(found) == 8
    assert found == sorted(found)
    runs = page.parent / "arms" / "cdnn29" / "seed-0"
    (runs / "all").mkdir()
    shutil.copy(runs / "fold-0" / "weights.safetensors", runs / "all")
    experiment("figure-4", runs=[runs])  # a protocol's folder, whose last run held nothing out
    assert [titles for _, titles in drawn[-1]] == [titles for _, titles in worst]
    first = experiment("figure-1")
    assert table(first) == []
    markdown, html = write_page(page.parent)
    text = html.read_text()
    assert text.count("data:image/png;base64,") == 3
    assert markdown.read_text().count("![") == 3
    assert "http" not in text.replace("https://challenge.isic-archive.com", "")
    assert ' src="f' not in text


def test_a_split_of_ones_own_counts_for_more_than_folders(
    experiment: Run, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(networks.NETWORKS, "cdnn29", Tiny)
    (toy_data / "val").mkdir()
    for folder in ("images", "masks"):
        (toy_data / folder).rename(toy_data / "val" / folder)
    rows = [f"ISIC_{number:07},{number % 2}" for number in range(15)]
    (tmp_path / "splits.csv").write_text("\n".join(["image_id,fold", *rows]))
    page = experiment("figure-4", epochs=1, splits=str(tmp_path / "splits.csv"))
    assert table(page)[0]["images"] == "15"


def test_the_scatter_is_drawn_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "jaccard.csv"
    lines = [f"{number},{number / 50},{(number % 7) / 7}" for number in range(50)]
    file.write_text("\n".join(["image,ours,theirs", *lines]) + "\n")
    for name in ("a.png", "b.png", "a.svg"):
        scatter.draw(file, {"theirs": "r = 0.1"}, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    assert (pixels[..., 2] - pixels[..., 0] > 20).sum() > 200
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_markdown_becomes_html(tmp_path: Path) -> None:
    (tmp_path / "f.png").write_bytes(b"picture")
    table = "| x | y |\n| --- | --- |\n| 1 < 2 | **3** |"
    text = f"# A & B\n\n{table}\n\n- one\n- two\n\n![alt](f.png)\n\nend"
    page = to_html(text, tmp_path).replace("\n<", "<")
    assert "<h1>A &amp; B</h1>" in page
    assert "<tr><td>1 &lt; 2</td><td><strong>3</strong></td></tr>" in page
    assert "<ul><li>one</li><li>two</li></ul>" in page
    assert '<img src="data:image/png;base64,cGljdHVyZQ==" alt="alt"' in page
    assert "<p>end</p>" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_a_folder_without_experiments_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps({}))
    with pytest.raises(DataError, match="dermseg experiment"):
        write_page(tmp_path)


def test_a_damaged_experiment_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "table-2.json").write_text("{")
    with pytest.raises(DataError, match=r"table-2\.json: damaged .*; remove it"):
        write_page(tmp_path)


def test_an_experiment_that_lacks_its_table_is_no_bug(tmp_path: Path) -> None:
    (tmp_path / "table-2.json").write_text("{}")
    with pytest.raises(DataError, match=r"damaged.*table-2\.csv"):
        write_page(tmp_path)
