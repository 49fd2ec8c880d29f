import csv
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dermseg import __version__
from dermseg.batch.jobs import find_jobs
from dermseg.batch.report import COLUMNS, MADE_BY, TIMINGS
from dermseg.batch.run import segment_all, segment_each
from dermseg.cli.main import main
from dermseg.imaging.images import encode_image
from dermseg.imaging.mask_files import read_mask, write_mask
from dermseg.imaging.overlay import RESULT_COLOR
from dermseg.imaging.photographs import image_size
from dermseg.inference import segmenter as inference
from dermseg.settings import DEFAULT_MODEL
from dermseg.storage import stores
from dermseg.storage.journal import JOURNAL, Entry, Journal, read_journal

Make = Callable[..., Path]
WHOLE = encode_image(np.full((9, 9), 200, np.uint8), "JPEG")
pytestmark = pytest.mark.usefixtures("darkness")


def files(folder: Path) -> list[str]:
    """Return what lies in `folder`, but for the books that every run keeps."""
    found = (path for path in folder.rglob("*") if path.is_file())
    books = (JOURNAL, TIMINGS)
    return sorted(p.relative_to(folder).as_posix() for p in found if p.name not in books)


def report(folder: Path) -> list[dict[str, str]]:
    with (folder / "report.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


class TestSegmentCommand:
    def test_masks_have_the_photographs_sizes_and_places(
        self, tmp_path: Path, photograph: Make
    ) -> None:
        sizes = {"a.jpg": (48, 64), "sub/b.png": (81, 33), "sub/deep/ISIC_1.jpg": (300, 400)}
        for name, size in sizes.items():
            photograph(name, *size)
        assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
        masks = {
            name: Path(name).with_suffix("").as_posix() + "_segmentation.png" for name in sizes
        }
        assert files(tmp_path / "out") == sorted([*masks.values(), "report.csv"])
        for name, size in sizes.items():
            with Image.open(tmp_path / "out" / masks[name]) as image:
                assert (image.mode, image.format, image.size) == ("L", "PNG", size[::-1])
                assert set(np.unique(np.asarray(image))) == {0, 255}

    def test_the_report_has_a_row_for_each_photograph(
        self, tmp_path: Path, photograph: Make
    ) -> None:
        photograph("sub/b.png", 60, 90)
        photograph("a.jpg")
        Image.new("RGB", (30, 20), "white").save(tmp_path / "in" / "c.png")
        assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
        rows = report(tmp_path / "out")
        assert tuple(rows[0]) == COLUMNS
        assert [row["photograph"] for row in rows] == ["a.jpg", "c.png", "sub/b.png"]
        empty, last = rows[1], rows[2]
        assert (empty["area"], empty["box_x"]) == ("0", "")
        assert empty["flags"].split() == ["unlike-training", "empty", "low-confidence"]
        mask = read_mask(tmp_path / "out" / last["mask"]) > 128
        lines, columns = np.nonzero(mask)
        assert (last["height"], last["width"], last["error"]) == ("60", "90", "")
        assert int(last["area"]) == mask.sum() > 0
        assert (int(last["box_x"]), int(last["box_y"])) == (columns.min(), lines.min())
        assert int(last["box_width"]) == np.ptp(columns) + 1
        assert int(last["box_height"]) == np.ptp(lines) + 1
        assert float(last["centroid_x"]) == pytest.approx(columns.mean(), abs=0.006)
        assert float(last["centroid_y"]) == pytest.approx(lines.mean(), abs=0.006)

    def test_each_row_says_what_made_its_mask(
        self, tmp_path: Path, photograph: Make, uncalibrated: Path
    ) -> None:
        photograph("a.png")
        (tmp_path / "in" / "b.png").write_bytes(b"no picture")
        segment = ["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
        assert main([*segment, "--model", str(uncalibrated), "--low", "0.4", "--mirror"]) == 1
        digest = hashlib.sha256(uncalibrated.read_bytes()).hexdigest()
        known = ["plain.onnx", f"sha256:{digest[:12]}", "traced", "yes", "complete", "0.8", "0.4"]
        first, failed = report(tmp_path / "out")
        for row in (first, failed):
            assert [row[column] for column in MADE_BY] == [*known, __version__]
        (tmp_path / "in" / "a.png").unlink()
        photograph("c.png")
        assert main([*segment, "--style", "semi-automatic"]) == 1
        rows = {row["photograph"]: row for row in report(tmp_path / "out")}
        assert rows["a.png"] == first, "an earlier run's mask keeps what made it"
        made = [rows["c.png"][column] for column in ("model", "style", "mirror", "low")]
        assert made == [DEFAULT_MODEL, "semi-automatic", "no", "0.5"]

    def test_a_bad_file_costs_its_own_row(
        self, tmp_path: Path, photograph: Make, capsys: pytest.CaptureFixture[str]
    ) -> None:
        photograph("a.jpg")
        photograph("z.jpg")
        (tmp_path / "in" / "broken.jpg").write_text("no photograph")
        assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 1
        captured = capsys.readouterr()
        assert "broken.jpg" in captured.err
        assert "failed: " + str(tmp_path / "in" / "broken.jpg") in captured.err
        assert "a.jpg" not in captured.err
        assert captured.out == ""
        assert files(tmp_path / "out") == [
            "a_segmentation.png",
            "report.csv",
            "z_segmentation.png",
        ]
        good, bad, last = report(tmp_path / "out")
        assert bad["photograph"] == "broken.jpg"
        assert "broken.jpg" in bad["error"]
        assert (bad["mask"], bad["area"]) == ("", "")
        assert good["error"] == last["error"] == ""

    def test_a_mask_that_cannot_be_written_costs_its_own_row(
        self, tmp_path: Path, photograph: Make
    ) -> None:
        photograph("x" * 245 + ".png")
        photograph("a.png")
        assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 1
        assert [bool(row["error"]) for row in report(tmp_path / "out")] == [False, True]

    def test_an_output_that_is_a_file_is_no_traceback(
        self, tmp_path: Path, photograph: Make, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "out").write_text("precious")
        assert main(["segment", str(photograph("a.png")), "-o", str(tmp_path / "out")]) == 2
        assert "out" in capsys.readouterr().err
        assert (tmp_path / "out").read_text() == "precious"

    @pytest.mark.parametrize("orientation", [1, 3, 6, 8])
    def test_overlays_are_upright_and_apart(
        self, tmp_path: Path, photograph: Make, orientation: int
    ) -> None:
        photograph("sub/a.png", 48, 64, orientation)
        out, pictures = tmp_path / "out", tmp_path / "pictures"
        arguments = ["segment", str(tmp_path / "in"), "-o", str(out), "--overlay", str(pictures)]
        assert main(arguments) == 0
        assert files(out) == ["report.csv", "sub/a_segmentation.png"]
        assert files(pictures) == ["sub/a_overlay.jpg"]
        assert image_size(out / "sub/a_segmentation.png") == (48, 64)
        with Image.open(pictures / "sub/a_overlay.jpg") as image:
            assert image.getexif().get(0x0112, 1) == 1
            assert image.size == ((48, 64) if orientation in (6, 8) else (64, 48))
            picture = np.asarray(image).astype(int)
        yellow = (
            np.argwhere(np.abs(picture - RESULT_COLOR).max(2) < 130).mean(0) / picture.shape[:2]
        )
        # The blob lies to the upper left as stored.
        turned = {1: (0.4, 0.35), 3: (0.6, 0.65), 6: (0.35, 0.6), 8: (0.65, 0.4)}[orientation]
        assert yellow == pytest.approx(turned, abs=0.07)

    def test_sizes_can_come_from_masks(self, tmp_path: Path, photograph: Make) -> None:
        photograph("a.png", 48, 64)
        photograph("sub/b.png", 48, 64)
        write_mask(tmp_path / "truth" / "a_segmentation.png", np.ones((97, 131), np.bool_))
        write_mask(tmp_path / "truth" / "sub" / "b.png", np.ones((20, 30), np.bool_))
        arguments = ["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
        assert main([*arguments, "--size-from", str(tmp_path / "truth")]) == 0
        assert image_size(tmp_path / "out" / "a_segmentation.png") == (97, 131)
        assert image_size(tmp_path / "out" / "sub" / "b_segmentation.png") == (20, 30)
        (tmp_path / "truth" / "sub" / "b.png").unlink()
        assert main([*arguments, "--size-from", str(tmp_path / "truth")]) == 1
        assert "b_segmentation.png" in report(tmp_path / "out")[1]["error"]

    def test_wrong_usage_writes_nothing(
        self, tmp_path: Path, photograph: Make, capsys: pytest.CaptureFixture[str]
    ) -> None:
        photograph("a.jpg")
        empty = tmp_path / "empty"
        empty.mkdir()
        output = ["-o", str(tmp_path / "out")]
        good = str(tmp_path / "in" / "a.jpg")
        for arguments in (
            [str(tmp_path / "gone"), *output],
            [good, str(tmp_path / "gone.jpg"), *output],
            [str(empty), *output],
            [good, *output, "--treshold", "3"],
            [good, *output, "--rule", "other"],
            [good, *output, "--high", "much"],
            [good, *output, "--device", "tpu"],
            [good],
            [],
        ):
            assert main(["segment", *arguments]) == 2, arguments
            assert capsys.readouterr().err.strip(), arguments
        assert not (tmp_path / "out").exists()

    def test_an_unknown_model_is_no_other(self, tmp_path: Path, photograph: Make) -> None:
        arguments = ["segment", str(photograph("a.jpg")), "-o", str(tmp_path / "out")]
        assert main([*arguments, "--model", "cdnn92"]) == 2
        assert not (tmp_path / "out").exists()

    def test_a_second_run_gives_the_same_bytes(self, tmp_path: Path, photograph: Make) -> None:
        photograph("a.jpg")
        photograph("sub/b.png", 100, 150)
        out = tmp_path / "out"
        arguments = ["segment", str(tmp_path / "in"), "-o", str(out), "--overlay", str(out / "p")]
        contents = []
        for _ in range(2):
            assert main(arguments) == 0
            contents.append({name: (out / name).read_bytes() for name in files(out)})
        assert contents[0] == contents[1]
        assert len(contents[0]) == 5

    def test_what_was_written_among_the_photographs_is_no_photograph(
        self, tmp_path: Path, photograph: Make
    ) -> None:
        photograph("a.jpg")
        inside = tmp_path / "in"
        for _ in range(2):
            output = ["-o", str(inside / "masks"), "--overlay", str(inside / "overlays")]
            assert main(["segment", str(inside), *output]) == 0
            assert [row["photograph"] for row in report(inside / "masks")] == ["a.jpg"]

    @pytest.mark.parametrize(
        "name", ["with space.jpg", "Läsion ß 病変.png", "a,b;'c\".png", "-x.png"]
    )
    def test_odd_names(self, tmp_path: Path, photograph: Make, name: str) -> None:
        photograph(name)
        assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
        # A spreadsheet would take the dash for the beginning of a formula.
        shown = f"'{name}" if name.startswith("-") else name
        assert [row["photograph"] for row in report(tmp_path / "out")] == [shown]
        assert (tmp_path / "out" / f"{Path(name).stem}_segmentation.png").is_file()

    @pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
    def test_a_name_that_is_not_unicode(self, tmp_path: Path, photograph: Make) -> None:
        name = os.fsdecode(b"caf\xe9.png")
        photograph(name)
        assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
        assert (tmp_path / "out" / os.fsdecode(b"caf\xe9_segmentation.png")).is_file()
        assert (tmp_path / "out" / "report.csv").is_file()

    def test_the_device_and_model_are_said(
        self, tmp_path: Path, photograph: Make, capsys: pytest.CaptureFixture[str]
    ) -> None:
        main(["segment", str(photograph("a.jpg")), "-o", str(tmp_path / "out")])
        said = capsys.readouterr().err
        assert f"{DEFAULT_MODEL} on cpu" in said
        assert "\x1b" not in said


class TestWrongFolders:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["-o", "file"], "file: a file, where a folder is to be written"),
            (["-o", "out", "--overlay", "file"], "file: a file, where a folder is to be written"),
            (["-o", "out", "--size-from", "gone"], "gone: no such folder"),
            (["-o", ""], "--output is empty"),
        ],
    )
    def test_they_are_said_to_be_before_any_work(
        self,
        tmp_path: Path,
        photograph: Make,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        options: list[str],
        message: str,
    ) -> None:
        photograph("a.jpg")
        (tmp_path / "file").touch()
        monkeypatch.chdir(tmp_path)
        assert main(["segment", "in", *options]) == 2
        assert message in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "in"]

    def test_an_empty_name_is_not_the_present_folder(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["segment", "", "-o", str(tmp_path / "out")]) == 2
        assert "is empty" in capsys.readouterr().err


class TestSecondRun:
    """A second run does only what is missing or stale."""

    @pytest.fixture
    def arguments(self, tmp_path: Path, photograph: Make) -> list[str]:
        photograph("a.jpg")
        photograph("b.jpg", 70, 90)
        return ["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]

    def done(self, tmp_path: Path, arguments: list[str]) -> list[str]:
        """Run, and return the photographs that were segmented rather than reused."""
        assert main(arguments) == 0
        with (tmp_path / "out" / TIMINGS).open(newline="") as handle:
            return [row["photograph"] for row in csv.DictReader(handle)]

    def test_nothing_is_done_twice(self, tmp_path: Path, arguments: list[str]) -> None:
        assert self.done(tmp_path, arguments) == ["a.jpg", "b.jpg"]
        first = (tmp_path / "out" / "report.csv").read_bytes()
        assert self.done(tmp_path, arguments) == []
        assert (tmp_path / "out" / "report.csv").read_bytes() == first

    def test_a_missing_mask_is_made_again(self, tmp_path: Path, arguments: list[str]) -> None:
        self.done(tmp_path, arguments)
        (tmp_path / "out" / "b_segmentation.png").unlink()
        assert self.done(tmp_path, arguments) == ["b.jpg"]

    def test_a_changed_photograph_is_segmented_again(
        self, tmp_path: Path, photograph: Make, arguments: list[str]
    ) -> None:
        self.done(tmp_path, arguments)
        photograph("b.jpg", 71, 90)
        assert self.done(tmp_path, arguments) == ["b.jpg"]
        assert image_size(tmp_path / "out" / "b_segmentation.png") == (71, 90)

    def test_other_settings_make_every_mask_again(
        self, tmp_path: Path, arguments: list[str]
    ) -> None:
        self.done(tmp_path, arguments)
        assert self.done(tmp_path, [*arguments, "--low", "0.4"]) == ["a.jpg", "b.jpg"]
        assert self.done(tmp_path, [*arguments, "--low", "0.4"]) == []

    def test_a_column_that_came_later_segments_nothing_again(
        self, tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.done(tmp_path, arguments)
        before = report(tmp_path / "out")
        for module in ("report", "run"):
            monkeypatch.setattr(f"dermseg.batch.{module}.COLUMNS", (*COLUMNS, "later"))
        assert self.done(tmp_path, arguments) == []
        assert report(tmp_path / "out") == [{**row, "later": ""} for row in before]
        (tmp_path / "in" / "a.jpg").unlink()
        assert self.done(tmp_path, arguments) == [], "nor is the row of an earlier run lost"
        assert {row["photograph"] for row in report(tmp_path / "out")} == {"a.jpg", "b.jpg"}

    def test_a_missing_overlay_is_drawn(self, tmp_path: Path, arguments: list[str]) -> None:
        self.done(tmp_path, arguments)
        more = [*arguments, "--overlay", str(tmp_path / "pictures")]
        assert self.done(tmp_path, more) == ["a.jpg", "b.jpg"]
        assert self.done(tmp_path, more) == []

    def test_dropping_the_overlays_makes_nothing_again(
        self, tmp_path: Path, arguments: list[str]
    ) -> None:
        pictures = ["--overlay", str(tmp_path / "pictures")]
        self.done(tmp_path, [*arguments, *pictures])
        assert self.done(tmp_path, arguments) == []
        assert self.done(tmp_path, [*arguments, *pictures]) == []

    @pytest.mark.parametrize("name", ["out/b_segmentation.png", "pictures/b_overlay.jpg"])
    @pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: c[:-9] + bytes(9)])
    def test_a_damaged_file_is_made_again(
        self, tmp_path: Path, arguments: list[str], name: str, damage: Callable[[bytes], bytes]
    ) -> None:
        more = [*arguments, "--overlay", str(tmp_path / "pictures")]
        self.done(tmp_path, more)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(damage(whole))
        assert self.done(tmp_path, more) == ["b.jpg"]
        assert (tmp_path / name).read_bytes() == whole

    def test_two_runs_do_not_write_into_one_folder(
        self, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.done(tmp_path, arguments)
        before = files(tmp_path / "out")
        with Journal(tmp_path / "out" / JOURNAL):
            assert main([*arguments, "--low", "0.4"]) == 2
        assert "another process is working here" in capsys.readouterr().err
        assert files(tmp_path / "out") == before
        assert self.done(tmp_path, [*arguments, "--low", "0.4"]) == ["a.jpg", "b.jpg"]

    def test_another_photograph_s_mask_under_the_same_name_is_not_taken(
        self, tmp_path: Path, photograph: Make
    ) -> None:
        output = ["-o", str(tmp_path / "out")]
        first, second = photograph("one/x.jpg", 48, 64), photograph("two/x.png", 50, 60)
        for path, size in ((first, (48, 64)), (second, (50, 60)), (first, (48, 64))):
            assert main(["segment", str(path), *output]) == 0
            assert image_size(tmp_path / "out" / "x_segmentation.png") == size

    def test_a_mask_whose_making_was_cut_short_is_not_taken(
        self, tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.done(tmp_path, arguments)
        with monkeypatch.context() as patch:
            real = Journal.note

            def note(journal: Journal, mask: str, entry: Entry) -> None:
                if entry.fingerprint is not None:
                    raise KeyboardInterrupt
                real(journal, mask, entry)

            patch.setattr(Journal, "note", note)
            assert main([*arguments, "--low", "0.1"]) == 130
        assert "a.jpg" in self.done(tmp_path, arguments)

    def test_an_old_overlay_is_drawn_again(self, tmp_path: Path, arguments: list[str]) -> None:
        pictures = ["--overlay", str(tmp_path / "pictures")]
        self.done(tmp_path, [*arguments, *pictures])
        before = (tmp_path / "pictures" / "a_overlay.jpg").read_bytes()
        self.done(tmp_path, [*arguments, "--low", "0.1"])
        self.done(tmp_path, [*arguments, "--low", "0.1", *pictures])
        assert (tmp_path / "pictures" / "a_overlay.jpg").read_bytes() != before

    def test_an_overlay_that_cannot_be_written_costs_no_mask(
        self, tmp_path: Path, arguments: list[str]
    ) -> None:
        self.done(tmp_path, arguments)
        (tmp_path / "pictures" / "a_overlay.jpg").mkdir(parents=True)
        assert main([*arguments, "--overlay", str(tmp_path / "pictures")]) == 1
        assert (tmp_path / "out" / "a_segmentation.png").is_file()
        assert (tmp_path / "out" / "b_segmentation.png").is_file()

    def test_a_folder_for_overlays_that_cannot_be_made_stops_the_run(
        self, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").touch()
        nowhere = tmp_path / "file" / "pictures"
        assert main([*arguments, "--overlay", str(nowhere)]) == 1
        assert f"{nowhere}: cannot be written" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_a_photograph_that_became_unreadable_leaves_no_old_mask(
        self, tmp_path: Path, arguments: list[str]
    ) -> None:
        self.done(tmp_path, arguments)
        (tmp_path / "in" / "a.jpg").write_text("damaged")
        assert main(arguments) == 1
        assert files(tmp_path / "out") == ["b_segmentation.png", "report.csv"]

    def test_what_cannot_even_be_opened_costs_no_mask(
        self, tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.done(tmp_path, arguments)
        before = (tmp_path / "out" / "a_segmentation.png").read_bytes()
        (tmp_path / "empty").mkdir()
        assert main([*arguments, "--size-from", str(tmp_path / "empty")]) == 1
        assert "holds no a_segmentation.png" in report(tmp_path / "out")[0]["error"]
        read = Path.read_bytes

        def away(path: Path) -> bytes:
            if path.suffix == ".onnx":
                return read(path)
            raise OSError(5, "away")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", away)
            assert main(arguments) == 1
        assert "cannot be read (away)" in report(tmp_path / "out")[0]["error"]
        assert (tmp_path / "out" / "a_segmentation.png").read_bytes() == before
        assert self.done(tmp_path, arguments) == []

    @pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGB", "RGBA", "I;16"])
    @pytest.mark.parametrize("more", [[], ["--low", "0.4"]])
    def test_a_mask_that_someone_has_edited_is_not_written_over(
        self, tmp_path: Path, arguments: list[str], more: list[str], mode: str
    ) -> None:
        self.done(tmp_path, arguments)
        path = tmp_path / "out" / "a_segmentation.png"
        Image.fromarray(255 - read_mask(path)).convert(mode).save(path)
        edited = path.read_bytes()
        for _ in range(2):
            assert main([*arguments, *more]) == 1
            assert "was changed since dermseg made it" in report(tmp_path / "out")[0]["error"]
            assert path.read_bytes() == edited
        path.unlink()
        assert "a.jpg" in self.done(tmp_path, [*arguments, *more])

    def test_a_mask_drawn_for_a_photograph_that_failed_stays(
        self, tmp_path: Path, arguments: list[str], photograph: Make
    ) -> None:
        whole = photograph("c.jpg").read_bytes()
        (tmp_path / "in" / "c.jpg").write_bytes(whole[: len(whole) // 2])
        assert main(arguments) == 1
        path = tmp_path / "out" / "c_segmentation.png"
        write_mask(path, np.ones((48, 64), np.bool_))
        drawn = path.read_bytes()
        assert main(arguments) == 1
        (tmp_path / "in" / "c.jpg").write_bytes(whole)
        assert main(arguments) == 1
        assert path.read_bytes() == drawn
        assert "is another's" in report(tmp_path / "out")[2]["error"]

    @pytest.mark.parametrize("killed_at", ["before", "after"])
    def test_a_kill_beside_the_writing_of_a_mask_leaves_it_dermsegs_own(
        self,
        tmp_path: Path,
        arguments: list[str],
        monkeypatch: pytest.MonkeyPatch,
        killed_at: str,
    ) -> None:
        self.done(tmp_path, arguments)
        real = stores.written_whole

        @contextmanager
        def killed(path: Path) -> Iterator[Path]:
            if killed_at == "after":
                with real(path) as temporary:
                    yield temporary
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(stores, "written_whole", killed)
            assert main([*arguments, "--low", "0.1"]) == 130
        assert "a.jpg" in self.done(tmp_path, [*arguments, "--low", "0.2"])

    def test_the_report_says_nothing_of_a_mask_that_was_edited_since(
        self, tmp_path: Path, photograph: Make, arguments: list[str]
    ) -> None:
        self.done(tmp_path, arguments)
        path = tmp_path / "out" / "a_segmentation.png"
        Image.fromarray(255 - read_mask(path)).save(path)
        assert main(["segment", str(photograph("c.jpg")), *arguments[2:]]) == 0
        assert [row["photograph"] for row in report(tmp_path / "out")] == ["c.jpg", "b.jpg"]

    def test_the_report_has_what_earlier_runs_left(
        self, tmp_path: Path, photograph: Make, arguments: list[str]
    ) -> None:
        self.done(tmp_path, arguments)
        before = report(tmp_path / "out")
        extra = photograph("c.jpg", 50, 60)
        assert main(["segment", str(extra), *arguments[2:]]) == 0
        rows = report(tmp_path / "out")
        assert [row["photograph"] for row in rows] == ["c.jpg", "a.jpg", "b.jpg"]
        assert rows[1:] == before
        (tmp_path / "out" / "a_segmentation.png").unlink()
        assert main(["segment", str(extra), *arguments[2:]]) == 0
        assert [row["photograph"] for row in report(tmp_path / "out")] == ["c.jpg", "b.jpg"]

    @pytest.mark.parametrize(
        "name",
        [
            "pictures/a_overlay.jpg",
            *("report.csv", "timings.csv", "review.csv"),
            "review_sheet.jpg",
            "coco.json",
            "yolo/notes.txt",
        ],
    )
    @pytest.mark.parametrize("when", ["before", "between"])
    def test_a_persons_files_are_not_written_over(
        self, tmp_path: Path, calibrated: Path, arguments: list[str], name: str, when: str
    ) -> None:
        """Nor if they were put there, or edited, between two runs of other settings."""
        more = ["--overlay", str(tmp_path / "out" / "pictures"), "--review", "2"]
        more += ["--model", str(calibrated), "--form", "coco", "--form", "yolo"]
        path = tmp_path / "out" / name
        if when == "between":
            self.done(tmp_path, [*arguments, *more])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(WHOLE if path.suffix == ".jpg" else b"precious")
        before = path.read_bytes()
        status = main([*arguments, *more, "--no-mirror", "--style", "semi-automatic"])
        costs_its_row = when == "between" and name == "pictures/a_overlay.jpg"
        assert status == (1 if costs_its_row else 2)
        assert path.read_bytes() == before
        path.unlink()
        own_folder = when == "before" and name == "yolo/notes.txt"
        assert main([*arguments, *more]) == (2 if own_folder else 0)

    def test_overlays_of_another_run_stay_dermsegs_own(
        self, tmp_path: Path, arguments: list[str]
    ) -> None:
        """Also if a run without them, or into another folder, came between."""
        for more in (["--overlay", "p"], ["--low", "0.4"], ["--overlay", "q"], ["--overlay", "p"]):
            place = [str(tmp_path / word) if len(word) == 1 else word for word in more]
            assert main([*arguments, *place]) == 0
        assert main([*arguments, "--overlay", str(tmp_path / "p"), "--low", "0.3"]) == 0

    @pytest.mark.parametrize("name", ["b_segmentation.png", "report.csv"])
    def test_what_no_run_has_made_is_not_written_over(
        self,
        tmp_path: Path,
        arguments: list[str],
        capsys: pytest.CaptureFixture[str],
        name: str,
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / name).write_text("precious")
        assert main(arguments) == 2
        said = capsys.readouterr().err
        assert f"{name}: was" in said
        assert "not made by dermseg there" in said or "is another's" in said
        if name != "report.csv":
            (tmp_path / "out" / "a_segmentation.png").write_text("precious")
            assert main(arguments) == 2
            assert "(and 1 more): was not made" in capsys.readouterr().err
            (tmp_path / "out" / "a_segmentation.png").unlink()
        assert (tmp_path / "out" / name).read_text() == "precious"
        assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
        (tmp_path / "out" / name).unlink()
        assert self.done(tmp_path, arguments) == ["a.jpg", "b.jpg"]

    def test_photographs_in_the_very_output_folder_are_found(
        self, tmp_path: Path, photograph: Make
    ) -> None:
        photograph("a.jpg")
        folder = str(tmp_path / "in")
        for _ in range(2):
            assert main(["segment", folder, "-o", folder, "--overlay", folder]) == 0
            assert [row["photograph"] for row in report(tmp_path / "in")] == ["a.jpg"]

    def test_a_folder_of_nothing_but_failures_is_tried_again(
        self, tmp_path: Path, photograph: Make
    ) -> None:
        path = photograph("a.jpg")
        content = path.read_bytes()
        path.write_text("not yet there")
        arguments = ["segment", str(path), "-o", str(tmp_path / "out")]
        assert main(arguments) == 1
        path.write_bytes(content)
        assert self.done(tmp_path, arguments) == ["a.jpg"]

    def test_a_failed_photograph_is_tried_again(
        self, tmp_path: Path, photograph: Make, arguments: list[str]
    ) -> None:
        (tmp_path / "in" / "c.jpg").write_text("not yet there")
        assert main(arguments) == 1
        photograph("c.jpg")
        assert self.done(tmp_path, arguments) == ["c.jpg"]


def test_a_bug_is_not_taken_for_a_bad_file(
    tmp_path: Path, photograph: Make, segmenter: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(inference, "run", fail)
    (result,) = segment_all(find_jobs([photograph("a.png")]), segmenter, tmp_path / "out")
    assert "ZeroDivisionError" in result.bug
    assert result.error == f"{tmp_path / 'in' / 'a.png'}: ZeroDivisionError: "
    assert report(tmp_path / "out")[0]["error"] == result.error


def test_a_run_that_is_given_up_notes_what_was_in_work(
    tmp_path: Path, photograph: Make, segmenter: Any
) -> None:
    for number in range(30):
        photograph(f"{number}.png")
    results = segment_each(find_jobs([tmp_path / "in"]), segmenter, tmp_path / "out")
    next(results)
    results.close()
    made = {path.name for path in (tmp_path / "out").glob("*_segmentation.png")}
    noted = read_journal(tmp_path / "out" / JOURNAL)
    assert made == {mask for mask, entry in noted.items() if entry.fingerprint}
