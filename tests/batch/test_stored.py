"""A folder of photographs in a store is segmented like one here."""

import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from object_store import ObjectStore

import dermseg
from dermseg.batch.jobs import find_jobs
from dermseg.cli.main import main
from dermseg.inference.segmenter import Segmenter
from dermseg.storage.stores import RemoteStore, open_store

Make = Callable[..., Path]
EXAMPLE = next((Path(__file__).parents[2] / "examples" / "photographs").glob("*.jpg"))
pytestmark = [pytest.mark.cloud, pytest.mark.slow, pytest.mark.usefixtures("darkness")]


@pytest.fixture
def memory() -> Any:
    """Return an empty store in memory, where no server is needed."""
    found = pytest.importorskip("fsspec").filesystem("memory")
    found.store.clear()
    yield found
    found.store.clear()


@pytest.fixture
def photographs(tmp_path: Path, photograph: Make) -> Path:
    """Return a folder of photographs, and of files that are none."""
    for name in ("a.jpg", "sub/b.png", "sub/deep/c d.jpg", "é.jpg"):
        photograph(name, 40 + len(name), 60)
    for name, content in {"notes.txt": b"", "broken.jpg": b"no photograph"}.items():
        (tmp_path / "in" / name).write_bytes(content)
    return tmp_path / "in"


def copy(folder: Path, address: str) -> None:
    """Write the files of a folder into a store."""
    store = open_store(address)
    for path in folder.rglob("*"):
        if path.is_file():
            store.write(path.relative_to(folder).as_posix(), path.read_bytes())


def contents(address: str | Path) -> dict[str, bytes]:
    """Return what lies in a folder or a store, but for the books that differ from run to run."""
    store = open_store(address)
    names = [file.name for file in store.files()]
    left_out = ("journal.jsonl", "timings.csv")
    kept = [n for n in names if not n.startswith("journal/") and n not in left_out]
    return {name: store.read(name) for name in kept}


def test_masks_report_and_pictures_are_those_of_a_folder(
    memory: Any, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy(photographs, "memory://in")
    kinds = ("overlay", "crops", "probability")
    here = [argument for kind in kinds for argument in (f"--{kind}", str(tmp_path / kind))]
    there = [argument for kind in kinds for argument in (f"--{kind}", f"memory://{kind}")]
    assert main(["segment", str(photographs), "-o", str(tmp_path / "out"), *here]) == 1
    capsys.readouterr()
    assert main(["segment", "memory://in", "-o", "memory://out", *there]) == 1
    said = capsys.readouterr().err
    assert "skipped: 1 .txt (notes.txt)" in said
    assert "memory://in/broken.jpg" in said
    report = (tmp_path / "out" / "report.csv").read_text(encoding="utf-8")
    expected = contents(tmp_path / "out")
    expected["report.csv"] = report.replace(str(photographs), "memory://in").encode()
    assert contents("memory://out") == expected
    assert len(expected) == 5
    for kind in kinds:
        assert contents(f"memory://{kind}") == contents(tmp_path / kind)
        assert len(contents(tmp_path / kind)) == 4


def test_a_store_can_be_one_side_alone(memory: Any, photographs: Path, tmp_path: Path) -> None:
    copy(photographs, "memory://in")
    assert main(["segment", str(photographs), "-o", "memory://out"]) == 1
    assert main(["segment", "memory://in", "-o", str(tmp_path / "out")]) == 1
    for name, content in contents(tmp_path / "out").items():
        if name.endswith(".png"):
            assert contents("memory://out")[name] == content
    assert main(["segment", "memory://in/sub/deep/c d.jpg", "-o", str(tmp_path / "one")]) == 0
    assert sorted(contents(tmp_path / "one")) == ["c d_segmentation.png", "report.csv"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_is_read_like_a_folder(photographs: Path, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("fsspec")
    files = [path for path in photographs.rglob("*") if path.is_file()]
    archive = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as made:
            for path in files:
                made.write(path, path.relative_to(photographs).as_posix())
            made.writestr("../out.jpg", b"leads out")
    else:
        with tarfile.open(archive, "w") as tar:
            for path in files:
                tar.add(path, path.relative_to(photographs).as_posix())
    assert main(["segment", str(photographs), "-o", str(tmp_path / "out")]) == 1
    for _ in range(2):
        assert main(["segment", f"{kind}://::{archive}", "-o", str(tmp_path / "other")]) == 1
        for name, content in contents(tmp_path / "out").items():
            assert name == "report.csv" or contents(tmp_path / "other")[name] == content
    assert not (tmp_path / "out_segmentation.png").exists()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_dicom_files_in_an_archive_here_are_known_by_their_first_bytes(
    memory: Any, tmp_path: Path, kind: str
) -> None:
    made = pytest.importorskip("dicom_files")
    folder, uid = tmp_path / "study", "1.2.840.113619.2.55.3.498.1"
    (folder / "DICOM").mkdir(parents=True)
    content = made.encapsulated(EXAMPLE.read_bytes()).content
    report = Path(made.pydicom.data.get_testdata_file("reportsi.dcm")).read_bytes()
    files = {uid: content, "IM1": content, "none.dcm": report, "README": b"", "bad.dcm": b"x"}
    for name, held in files.items():
        (folder / "DICOM" / name).write_bytes(held)
    archive = Path(shutil.make_archive(str(tmp_path / "study"), kind, folder))
    here = find_jobs([folder])
    unused: list[str] = []
    there = find_jobs([f"{kind}://::{archive}"], unused=unused)
    assert [job.name for job in there] == [job.name for job in here]
    assert [job.name.name for job in there] == [uid, "IM1", "bad.dcm"]
    assert unused == ["1 .dcm without a photograph (none.dcm)", "1 without a suffix (README)"]
    memory.pipe_file(f"/{archive.name}", archive.read_bytes())
    far = find_jobs([f"{kind}://::memory://{archive.name}"])
    assert [job.name.name for job in far] == ["bad.dcm", "none.dcm"]


def test_a_mask_that_someone_changed_is_not_written_over(
    memory: Any, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy(photographs, "memory://in")
    command = ["segment", "memory://in", "-o", "memory://out"]
    main(command)
    store = open_store("memory://out")
    mine = store.read("sub/b_segmentation.png")
    store.write("a_segmentation.png", mine)
    capsys.readouterr()
    assert main([*command, "--low", "0.1"]) == 1
    assert "memory://out/a_segmentation.png: was changed since" in capsys.readouterr().err
    assert store.read("a_segmentation.png") == mine


def test_masks_that_no_run_made_are_refused(
    memory: Any, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy(photographs, "memory://in")
    open_store("memory://out").write("a_segmentation.png", b"mine")
    assert main(["segment", "memory://in", "-o", "memory://out"]) == 2
    said = capsys.readouterr().err
    assert "memory://out/a_segmentation.png: was not made by dermseg there" in said
    assert contents("memory://out") == {"a_segmentation.png": b"mine"}


def test_what_a_killed_run_wrote_and_did_not_note_is_its_own(
    memory: Any, photographs: Path
) -> None:
    copy(photographs, "memory://in")
    command = ["segment", "memory://in", "-o", "memory://out"]
    main(command)
    expected = contents("memory://out")
    store = open_store("memory://out")
    for part in [file.name for file in store.files() if file.name.endswith(".jsonl")]:
        lines = store.read(part).splitlines(keepends=True)
        store.write(part, b"".join(line for line in lines if b'"sub/' not in line))
    assert main(command) == 1
    assert contents("memory://out") == expected


def test_what_is_not_written_to_stores_is_refused_before_the_work(
    memory: Any, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy(photographs, "memory://in")
    for options in (["--form", "coco"], ["--size-from", "memory://truth"]):
        assert main(["segment", "memory://in", "-o", "memory://out", *options]) == 2
        assert options[0] in capsys.readouterr().err
        assert contents("memory://out") == {}


def test_no_dicom_segmentation_refers_to_a_photograph_in_a_store(
    memory: Any, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("highdicom")
    copy(photographs, "memory://in")
    output = tmp_path / "out"
    assert main(["segment", "memory://in", "-o", str(output), "--form", "dicom-seg"]) == 2
    assert "refers to files of this machine; download them" in capsys.readouterr().err
    assert not output.exists()


def test_the_least_sure_are_listed_in_a_store(memory: Any, photographs: Path) -> None:
    copy(photographs, "memory://in")
    assert main(["segment", "memory://in", "-o", "memory://out", "--review", "2"]) == 1
    assert contents("memory://out")["review.csv"].count(b"\n") == 3
    assert contents("memory://out")["review_sheet.jpg"]


class TestBucket:
    """S3, made by moto."""

    def test_masks_are_those_of_a_folder_and_a_resume_reads_nothing(
        self, object_store: ObjectStore, photographs: Path, tmp_path: Path
    ) -> None:
        copy(photographs, "s3://bucket/in")
        main(["segment", str(photographs), "-o", str(tmp_path / "out")])
        command = ["segment", "s3://bucket/in", "-o", "s3://bucket/out"]
        assert main(command) == 1
        report = (tmp_path / "out" / "report.csv").read_text(encoding="utf-8")
        expected = contents(tmp_path / "out")
        expected["report.csv"] = report.replace(str(photographs), "s3://bucket/in").encode()
        assert contents("s3://bucket/out") == expected
        (photographs / "broken.jpg").write_bytes((photographs / "é.jpg").read_bytes() + b"changed")
        open_store("s3://bucket/in").remove("broken.jpg")
        object_store.requests.clear()
        assert main(command) == 0
        assert object_store.reads(".jpg") == object_store.reads(".png") == 0
        assert [method for method, path in object_store.requests if path.endswith(".png")] == []
        open_store("s3://bucket/in").write("a.jpg", (photographs / "broken.jpg").read_bytes())
        object_store.requests.clear()
        assert main(command) == 0
        assert object_store.reads(".jpg") == 1, "one photograph was changed"

    def test_a_run_goes_on_when_the_store_is_back(
        self,
        object_store: ObjectStore,
        photograph: Make,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        for number in range(12):
            photograph(f"{number:02}.png", 40 + number, 60)
        copy(tmp_path / "in", "s3://bucket/in")
        main(["segment", str(tmp_path / "in"), "-o", str(tmp_path / "out")])
        capsys.readouterr()
        real = Segmenter.segment
        done: list[object] = []

        def segment(self: Segmenter, *arguments: Any, **named: Any) -> Any:
            done.append(None)
            if len(done) == 5:
                object_store.stop()
            return real(self, *arguments, **named)

        command = ["segment", "s3://bucket/in", "-o", "s3://bucket/out"]
        with monkeypatch.context() as patch:
            patch.setattr(Segmenter, "segment", segment)
            assert main(command) == 1
        assert "does not answer" in capsys.readouterr().err
        object_store.start()
        assert main(command) == 0
        assert contents("s3://bucket/out") == contents(tmp_path / "out")

    @pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
    def test_a_killed_run_is_gone_on_with(
        self, object_store: ObjectStore, photograph: Make, tmp_path: Path
    ) -> None:
        for number in range(30):
            photograph(f"{number:02}.png", 400 + number, 600)
        copy(tmp_path / "in", "s3://bucket/in")
        command = [sys.executable, "-m", "dermseg", "segment", "s3://bucket/in", "-o"]
        subprocess.run([*command, "s3://bucket/calm"], check=True)
        killed = subprocess.Popen([*command, "s3://bucket/out"])
        until = time.monotonic() + 60
        while object_store.writes("_segmentation.png") < 36 and time.monotonic() < until:
            time.sleep(0.01)
        killed.kill()
        killed.wait()
        left = contents("s3://bucket/out")
        assert 0 < len(left) < 31
        subprocess.run([*command, "s3://bucket/out"], check=True)
        calm = contents("s3://bucket/calm")
        assert contents("s3://bucket/out") == calm
        assert left.items() <= calm.items(), "each file was whole"

    def test_a_second_process_is_refused(
        self,
        object_store: ObjectStore,  # noqa: ARG002
        photographs: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from dermseg.storage import lease

        copy(photographs, "s3://bucket/in")
        command = ["segment", "s3://bucket/in", "-o", "s3://bucket/out"]
        with monkeypatch.context() as patch:
            patch.setattr(lease, "THIS_PROCESS", "another")
            patch.setattr(lease, "machine", lambda: "another")
            held = lease.Lease(RemoteStore("s3://bucket/out/journal"), lease.USUAL)
        assert main(command) == 2
        assert "works here, and said so" in capsys.readouterr().err
        held.release()
        assert main(command) == 1


def test_photographs_are_known_by_the_listing(memory: Any, photographs: Path) -> None:
    copy(photographs, "memory://in")
    store = open_store("memory://in")
    for name in (
        ".hidden/a.jpg",
        "@eaDir/a.jpg",
        "a_segmentation.png",
        "out/a.jpg",
        "b.DCM",
        "1.2.3",
    ):
        store.write(name, b"x")
    unused: list[str] = []
    jobs = find_jobs(["memory://in"], without=("memory://in/out", None), unused=unused)
    assert [job.name.as_posix() for job in jobs if job.name.suffix != ".DCM"] == [
        *("a.jpg", "broken.jpg", "sub/b.png", "sub/deep/c d.jpg", "é.jpg")
    ]
    assert unused[-3:] == [
        "1 in folders of a storage device (a.jpg)",
        "1 named _segmentation.png (a_segmentation.png)",
        "1 without a suffix (1.2.3)",
    ]
    assert str(jobs[0]) == "memory://in/a.jpg"


def test_an_address_that_holds_nothing(
    memory: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_store("memory://in").write("a.txt", b"")
    for address, said in (
        ("memory://none", "no such file or folder"),
        ("memory://in", "holds no photographs"),
        ("nosuch://a/b", "no store that is known"),
    ):
        assert main(["segment", address, "-o", str(tmp_path / "out")]) == 2
        assert f"{address}: {said}" in capsys.readouterr().err


def test_a_folder_is_segmented_from_python(memory: Any, photographs: Path) -> None:
    copy(photographs, "memory://in")
    rows = dermseg.segment_folder("memory://in", "memory://out", overlay="memory://overlays")
    assert [bool(row["error"]) for row in rows] == [False, True, False, False, False]
    assert len(contents("memory://overlays")) == 4


def test_masks_in_a_store_are_scored(
    memory: Any, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["segment", str(photographs), "-o", str(tmp_path / "out")])
    (tmp_path / "out" / "report.csv").unlink()
    copy(tmp_path / "out", "memory://masks")
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "out"), str(tmp_path / "out")]) == 0
    here = capsys.readouterr().out
    assert main(["evaluate", "memory://masks", "memory://masks", "memory://masks"]) == 0
    assert capsys.readouterr().out.startswith(here)


def test_data_in_a_store_are_trained_on(
    memory: Any, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = pytest.importorskip("dermseg.training.loop")
    copy(photographs, "memory://data")
    given: list[Path] = []
    monkeypatch.setattr(loop, "train", lambda folder, *_: given.append(folder))
    assert main(["train", "memory://data", "-o", str(tmp_path / "run")]) == 0
    assert (given[0] / "sub" / "b.png").read_bytes() == (photographs / "sub/b.png").read_bytes()


def test_a_dry_run_counts_a_store(
    memory: Any, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy(photographs, "memory://in")
    command = ["segment", "memory://in", "-o", "memory://out"]
    assert main([*command, "--dry-run"]) == 0
    first = capsys.readouterr().out
    assert contents("memory://out") == {}
    main(command)
    capsys.readouterr()
    assert main([*command, "--dry-run"]) == 0
    second = capsys.readouterr().out
    assert "4" in second
    assert first != second
