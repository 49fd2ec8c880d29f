import csv
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dermseg.batch.jobs import Job, find_jobs, passed_over
from dermseg.batch.pictures import Pictures
from dermseg.cli.main import main
from dermseg.errors import UsageError
from dermseg.settings import PictureSettings

Make = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("darkness")


def report(folder: Path) -> list[dict[str, str]]:
    with (folder / "report.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


class TestFindJobs:
    def test_folders_are_searched_and_masks_passed_over(
        self, tmp_path: Path, photograph: Make
    ) -> None:
        for name in ("b.jpg", "sub/a.PNG", "sub/deep/c.webp"):
            photograph(name)
        for name in ("b_segmentation.png", "b_superpixels.png", "sub/a_Segmentation.png"):
            photograph(name)
        (tmp_path / "in" / "notes.txt").touch()
        (tmp_path / "in" / "folder.jpg").mkdir()
        for name in (".hidden.jpg", ".checkpoints/b.jpg"):
            photograph(name)
        names = [job.name.as_posix() for job in find_jobs([tmp_path / "in"])]
        assert names == ["b.jpg", "sub/a.PNG", "sub/deep/c.webp"]

    def test_a_file_is_taken_whatever_its_name(self, photograph: Make) -> None:
        path = photograph("sub/x_segmentation.png")
        assert find_jobs([path]) == [Job(path, Path("x_segmentation.png"))]

    def test_names_of_outputs(self) -> None:
        job = Job(Path("in/sub/a.b.jpg"), Path("sub/a.b.jpg"))
        assert job.mask == Path("sub/a.b_segmentation.png")
        for name, stem in (("lesion.v2.jpg", "lesion.v2"), ("a.1.jpg", "a.1"), ("1.2.3", "1.2.3")):
            assert Job(Path(name), Path(name)).mask == Path(f"{stem}_segmentation.png")
        settings = PictureSettings(overlay=Path("o"), crops=Path("c"), probability=Path("p"))
        drawn = [str(file).replace(os.sep, "/") for file in Pictures(settings).files(job).values()]
        assert drawn == ["o/sub/a.b_overlay.jpg", "c/sub/a.b_crop.png", "p/sub/a.b_probability.png"]

    def test_nothing_to_do_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="holds no photographs"):
            find_jobs([tmp_path])
        with pytest.raises(UsageError, match="gone: no such file or folder"):
            find_jobs([tmp_path / "gone"])

    def test_a_folder_that_cannot_be_read_is_told_of(
        self,
        tmp_path: Path,
        photograph: Make,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        photograph("a.jpg")
        photograph("closed/b.jpg")
        real = os.scandir

        def scandir(place: Any) -> Any:
            if "closed" in str(place):
                raise PermissionError(13, "Permission denied", str(place))
            return real(place)

        monkeypatch.setattr(os, "scandir", scandir)
        assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
        closed = tmp_path / "in" / "closed"
        assert f"skipped: {closed}, a folder (Permission denied)" in capsys.readouterr().err
        with pytest.raises(UsageError, match=r"closed: cannot be read \(Permission denied\)"):
            find_jobs([closed])

    @pytest.mark.skipif(os.name != "posix", reason="links and pipes are POSIX's")
    def test_a_broken_link_is_told_of_and_a_pipe_not_waited_for(
        self, tmp_path: Path, photograph: Make
    ) -> None:
        photograph("a.jpg")
        (tmp_path / "in" / "b.jpg").symlink_to("gone")
        os.mkfifo(tmp_path / "in" / "c.jpg")
        assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 1
        assert [bool(row["error"]) for row in report(tmp_path / "out")] == [False, True]

    def test_forms_that_are_not_read_are_told_of(
        self, tmp_path: Path, photograph: Make, capsys: pytest.CaptureFixture[str]
    ) -> None:
        photograph("a.jpg")
        for name in ("b.HEIC", "sub/c.heic", "d.gif", "e.txt"):
            path = tmp_path / "in" / name
            path.parent.mkdir(exist_ok=True)
            path.touch()
        assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0
        said = capsys.readouterr().err
        assert "skipped: 2 .heic" in said
        assert "skipped: 1 .gif" in said
        assert "skipped: 1 .txt (e.txt)" in said

    def test_everything_that_is_not_used_is_counted_and_named(
        self, tmp_path: Path, photograph: Make
    ) -> None:
        content = photograph("a.jpg").read_bytes()
        folder, out = tmp_path / "in", tmp_path / "in" / "out"
        (tmp_path / "elsewhere").mkdir()
        for name, data in {
            "scan": content,
            "b.NEF": b"II*\0" + bytes(200),
            "c.nef": b"II*\0" + bytes(200),
            "a_segmentation.png": content,
            "notes.csv": b"a,b\n",
            "@eaDir/a.jpg": content,
            "out/b.jpg": content,
            ".hidden.jpg": content,
        }.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        (folder / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        assert [job.name.name for job in find_jobs([folder], without=[out])] == ["a.jpg"]
        assert passed_over([folder], without=[out]) == [
            "1 .csv (notes.csv)",
            "2 .nef (b.NEF and 1 more), TIFF by the first bytes",
            "1 folders of a storage device (@eaDir)",
            "1 linked folders (link)",
            "1 named _segmentation.png (a_segmentation.png)",
            "1 without a suffix (scan), JPEG by the first bytes",
        ]
        (folder / "a.jpg").unlink()
        with pytest.raises(UsageError, match=r"holds no photographs .*2 \.nef"):
            find_jobs([folder], without=[out])

    def test_patterns_are_expanded_where_the_shell_did_not(
        self, tmp_path: Path, photograph: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("a.jpg", "b.jpg", "c.png", "d[1].png"):
            photograph(name)
        monkeypatch.chdir(tmp_path)
        assert main(["segment", "in/*.jpg", "in/d[1].png", "-o", "out"]) == 0
        assert sorted(row["photograph"] for row in report(tmp_path / "out")) == [
            *("a.jpg", "b.jpg", "d[1].png")
        ]
        assert main(["segment", "in/*.gif", "-o", "out"]) == 2

    @pytest.mark.parametrize("second", ["a.png", "A.jpg", "a.JPEG", "a.tif", "sub/../a.webp"])
    def test_one_mask_for_two_photographs_costs_their_two_rows(
        self, tmp_path: Path, photograph: Make, second: str
    ) -> None:
        first, other = photograph("a.jpg"), photograph(second)
        photograph("b.jpg")
        photograph("sub/a.jpg")
        assert main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 1
        failed = {row["photograph"]: row["error"] for row in report(tmp_path / "out")}
        assert sorted(name for name in failed if not failed[name]) == ["b.jpg", "sub/a.jpg"]
        for one, two in ((first, other), (other, first)):
            assert f"{two.resolve()} would write" in failed[one.name]
        assert not (tmp_path / "out" / "a_segmentation.png").exists()
        assert not find_jobs([other])[0].refusal

    def test_names_that_differ_in_the_form_of_an_accent_alone_clash(self, photograph: Make) -> None:
        """On the systems that take them for one; their masks would be one file there."""
        names = [unicodedata.normalize(form, "lésion") for form in ("NFC", "NFD")]
        jobs = find_jobs([photograph(f"{name}.jpg") for name in names])
        assert [bool(job.refusal) for job in jobs] == [True, True]

    def test_a_photograph_that_is_named_twice_counts_once(
        self, tmp_path: Path, photograph: Make
    ) -> None:
        first, second = photograph("a.jpg"), photograph("b.jpg")
        jobs = find_jobs([first, tmp_path / "in", first])
        assert [job.photograph for job in jobs] == [first, second]
