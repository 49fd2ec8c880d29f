"""Crops and probability maps beside the masks, and what a pipeline reads: JSON, streams, quiet."""

import json
import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dermseg.cli.main import main
from dermseg.imaging.mask_files import read_mask

Make = Callable[..., Path]


@pytest.mark.usefixtures("darkness")
class TestPictures:
    def test_a_crop_is_the_lesion_with_room_around(self, tmp_path: Path, photograph: Make) -> None:
        path = photograph("sub/a.png", 96, 128)
        crops, masks = tmp_path / "crops", tmp_path / "masks"
        call = ["segment", str(tmp_path / "in"), "-o", str(masks), "--crops", str(crops)]
        assert main(call) == 0
        found = np.asarray(Image.open(crops / "sub" / "a_crop.png"))
        lesion = read_mask(masks / "sub" / "a_segmentation.png") > 128
        rows, columns = np.nonzero(lesion)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        room = 0.1 * max(height, width)
        assert abs(found.shape[0] - (height + 2 * room)) <= 2
        assert abs(found.shape[1] - (width + 2 * room)) <= 2
        whole = np.asarray(Image.open(path))
        top, left = int(rows.min() - room), int(columns.min() - room)
        expected = whole[top : top + found.shape[0], left : left + found.shape[1]]
        np.testing.assert_array_equal(found, expected)

    def test_without_a_lesion_there_is_no_crop(self, tmp_path: Path, photograph: Make) -> None:
        path, crops = photograph("a.png"), tmp_path / "crops"
        call = ["segment", str(path), "-o", str(tmp_path / "masks"), "--crops", str(crops)]
        assert main(call) == 0
        assert [each.name for each in crops.iterdir()] == ["a_crop.png"]
        Image.new("RGB", (64, 48), "white").save(path)
        for _ in range(2):
            assert main(call) == 0
            assert list(crops.iterdir()) == []

    def test_a_crop_of_a_mask_of_another_size(self, tmp_path: Path, photograph: Make) -> None:
        photograph("a.png", 48, 64)
        sizes = tmp_path / "sizes"
        sizes.mkdir()
        Image.new("L", (640, 480)).save(sizes / "a_segmentation.png")
        output = ["-o", str(tmp_path / "masks"), "--size-from", str(sizes)]
        call = ["segment", str(tmp_path / "in"), *output, "--crops", str(tmp_path / "crops")]
        assert main(call) == 0
        with Image.open(tmp_path / "crops" / "a_crop.png") as image:
            assert 16 < image.width < 64
            assert 12 < image.height < 48

    def test_probability_maps_have_the_networks_size(
        self, tmp_path: Path, photograph: Make
    ) -> None:
        photograph("a.png")
        maps = tmp_path / "maps"
        output = ["-o", str(tmp_path / "masks"), "--probability", str(maps)]
        call = ["segment", str(tmp_path / "in"), *output]
        assert main(call) == 0
        with Image.open(maps / "a_probability.png") as image:
            assert (image.mode, image.size) == ("L", (256, 192))
            assert image.getextrema()[1] > 200
        before = (maps / "a_probability.png").stat().st_mtime_ns
        assert main(call) == 0
        assert (maps / "a_probability.png").stat().st_mtime_ns == before
        (maps / "a_probability.png").unlink()
        assert main(call) == 0
        assert (maps / "a_probability.png").is_file()

    def test_overlays_at_full_size(self, tmp_path: Path, photograph: Make) -> None:
        photograph("a.png", 1500, 2000)
        pictures = tmp_path / "pictures"
        call = ["segment", str(tmp_path / "in"), "-o", str(tmp_path / "masks")]
        sizes = []
        for options in ([], ["--full-size"], ["--full-size"], []):
            assert main([*call, "--overlay", str(pictures), *options]) == 0
            with Image.open(pictures / "a_overlay.jpg") as image:
                sizes.append((image.size, (pictures / "a_overlay.jpg").stat().st_mtime_ns))
        assert [size for size, _ in sizes] == [(1024, 768), *[(2000, 1500)] * 2, (1024, 768)]
        assert sizes[1] == sizes[2]

    def test_an_overlay_that_was_edited_is_not_drawn_otherwise(
        self, tmp_path: Path, photograph: Make
    ) -> None:
        photograph("a.png")
        pictures = tmp_path / "pictures"
        call = ["segment", str(tmp_path / "in"), "-o", str(tmp_path / "masks")]
        call += ["--overlay", str(pictures)]
        assert main(call) == 0
        Image.new("RGB", (9, 9)).save(pictures / "a_overlay.jpg")
        assert main([*call, "--no-band"]) == 1
        with Image.open(pictures / "a_overlay.jpg") as image:
            assert image.size == (9, 9)

    def test_the_band_is_drawn_unless_told(
        self, tmp_path: Path, photograph: Make, calibrated: Path
    ) -> None:
        photograph("a.png", 300, 400)
        masks, pictures = tmp_path / "masks", tmp_path / "pictures"
        call = ["segment", str(tmp_path / "in"), "-o", str(masks), "--model", str(calibrated)]
        blue = []
        for options in ([], ["--no-band"]):
            assert main([*call, "--overlay", str(pictures), *options]) == 0
            picture = np.asarray(Image.open(pictures / "a_overlay.jpg")).astype(int)
            blue.append(int((picture[..., 2] > picture[..., 0] + 90).sum()))
        assert blue[0] > 100 * max(1, blue[1])

    @pytest.mark.parametrize("option", ["--full-size", "--no-band"])
    def test_how_to_draw_needs_a_folder(
        self, option: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["segment", "in", "-o", "out", option]) == 2
        assert "are for --overlay; name its folder" in capsys.readouterr().err

    def test_pictures_are_no_photographs(self, tmp_path: Path, photograph: Make) -> None:
        photograph("a.png")
        inside = tmp_path / "in"
        call = ["segment", str(inside), "-o", str(inside / "masks")]
        more = ["--crops", str(inside / "c"), "--probability", str(inside / "p")]
        assert main([*call, *more]) == 0
        assert main(["segment", str(inside), "-o", str(tmp_path / "other")]) == 0
        assert [each.name for each in (tmp_path / "other").glob("*.png")] == ["a_segmentation.png"]


@pytest.mark.usefixtures("darkness")
def test_quiet_says_only_what_failed(
    tmp_path: Path, photograph: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph("a.png")
    call = ["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--form", "coco"]
    assert main([*call, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    (tmp_path / "in" / "b.jpg").write_text("no photograph")
    assert main([*call, "-q"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"failed: {tmp_path / 'in' / 'b.jpg'}: not an image that can be read; whatever its name, "
        "it holds no JPEG, PNG or TIFF"
    ]
    assert main(call) == 1
    assert len(capsys.readouterr().err.splitlines()) > 2


@pytest.mark.usefixtures("darkness")
def test_json_has_a_line_for_each_photograph(
    tmp_path: Path, photograph: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "b.png"):
        photograph(name)
    (tmp_path / "in" / "c.jpg").write_text("no photograph")
    call = ["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--json"]
    texts = []
    for _ in range(2):
        assert main(call) == 1
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    rows = [json.loads(line) for line in texts[0].splitlines()]
    assert [row["photograph"] for row in rows] == ["a.png", "b.png", "c.jpg"]
    assert rows[0]["area"] > 0
    assert rows[0]["error"] is None
    assert rows[2]["area"] is None
    assert "not an image" in rows[2]["error"]


class TestStreams:
    @pytest.fixture
    def streams(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], BytesIO]:
        """Return what puts a file into standard input and takes standard output."""

        def put(content: bytes) -> BytesIO:
            out = BytesIO()
            monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(content), encoding="utf-8"))
            monkeypatch.setattr(
                sys, "stdout", TextIOWrapper(out, encoding="utf-8", write_through=True)
            )
            return out

        return put

    def test_a_photograph_goes_in_and_its_mask_comes_out(
        self, tmp_path: Path, photograph: Make, streams: Callable[[bytes], BytesIO]
    ) -> None:
        content = photograph("a.png", 200, 300).read_bytes()
        assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
        out = streams(content)
        assert main(["segment", "-", "-o", "-"]) == 0
        assert out.getvalue() == (tmp_path / "out" / "a_segmentation.png").read_bytes()
        out = streams(content)
        assert main(["segment", "-", "-o", "-", "--json"]) == 0
        row = json.loads(out.getvalue())
        assert (row["photograph"], row["mask"], row["height"]) == ("-", None, 200)

    @pytest.mark.parametrize(
        ("terminal", "remedy"), [("stdout", "> mask.png"), ("stdin", "< photograph.jpg")]
    )
    def test_a_terminal_is_no_file(
        self,
        terminal: str,
        remedy: str,
        streams: Callable[[bytes], BytesIO],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        out = streams(b"")
        monkeypatch.setattr(getattr(sys, terminal), "isatty", lambda: True)
        assert main(["segment", "-", "-o", "-"]) == 2
        assert remedy in capsys.readouterr().err
        assert out.getvalue() == b""

    def test_what_is_no_photograph_fails(self, streams: Callable[[bytes], BytesIO]) -> None:
        out = streams(b"no photograph")
        assert main(["segment", "-", "-o", "-"]) == 1
        assert out.getvalue() == b""

    @pytest.mark.parametrize(
        "call",
        [
            ["-", "-o", "out"],
            ["a.jpg", "-o", "-"],
            ["-", "-o", "-", "--form", "coco"],
            ["-", "-o", "-", "--dry-run"],
            ["-", "-o", "-", "--shard", "1/2"],
            ["-", "-o", "-", "--cluster", "local"],
            ["-", "-o", "-", "--mask-frame", "upright"],
        ],
    )
    def test_streams_and_files_do_not_mix(
        self, call: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["segment", *call]) == 2
        assert "dermseg segment - -o - < photograph.jpg > mask.png" in capsys.readouterr().err
