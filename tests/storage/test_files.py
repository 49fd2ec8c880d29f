"""Files that appear whole or not at all."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dermseg.batch.jobs import find_jobs
from dermseg.cli.main import main
from dermseg.errors import OutputError, UsageError
from dermseg.imaging.images import encode_image
from dermseg.storage.files import (
    ASIDE,
    HERE,
    aside_prefix,
    files_below,
    occupied,
    remove_leftovers,
    walk,
    written_whole,
)
from dermseg.storage.tables import write_table


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_file_appears_at_the_end_with_the_umask_s_permissions(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    before = os.umask(0o027)
    try:
        with written_whole(path) as temporary:
            temporary.write_text("whole")
            assert not path.exists()
            assert temporary.suffix == ".txt"
    finally:
        os.umask(before)
    assert path.read_text() == "whole"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(path.parent.iterdir()) == [path]


def test_threads_leave_the_umask_alone(tmp_path: Path) -> None:
    before = os.umask(0o027)

    def write(number: int) -> int:
        with written_whole(tmp_path / f"{number}.txt") as temporary:
            temporary.write_text("whole")
        return (tmp_path / f"{number}.txt").stat().st_mode & 0o777

    try:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(write, range(400))) == {0o640}
    finally:
        assert os.umask(before) == 0o027


def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), written_whole(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_of_decisions_is_on_the_disk_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []

    def aside() -> list[Path]:
        return list(tmp_path.glob(f"{ASIDE}*"))

    monkeypatch.setattr(os, "fsync", lambda _: synced.append(*map(Path.read_bytes, aside())))
    write_table(tmp_path / "a.csv", ("a",), [{"a": 1}])
    assert synced == []
    write_table(tmp_path / "a.csv", ("a",), [{"a": 2}], sync=True)
    assert synced == [b"a\n2\n"]
    assert (tmp_path / "a.csv").read_bytes() == b"a\n2\n"


def test_what_the_system_refuses_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "below.txt"
    with pytest.raises(OutputError, match=r"below\.txt: cannot be written"), written_whole(path):
        pass


def test_leftovers_of_dead_processes_go_and_others_stay(tmp_path: Path) -> None:
    dead = tmp_path / "sub" / f"{ASIDE}{HERE}-{dead_process()}-x.png"
    folder = tmp_path / f"{ASIDE}{HERE}-{dead_process()}-y"
    alive = tmp_path / f"{aside_prefix()}z.png"
    elsewhere = tmp_path / f"{ASIDE}0-{dead_process()}-x.png"
    older = tmp_path / f"{ASIDE}0-{dead_process()}-y.png"
    names = (".hidden", f"{ASIDE}notes.txt", f"{ASIDE}{HERE}-notes.txt", "mask.png")
    others = [*(tmp_path / name for name in names), alive, elsewhere]
    (tmp_path / "sub").mkdir()
    folder.mkdir()
    for path in (dead, folder / "inside", older, *others):
        path.write_text("")
    os.utime(older, (0, 0))
    remove_leftovers(tmp_path, below=False)
    assert dead.exists()
    assert not folder.exists()
    remove_leftovers(tmp_path)
    assert not dead.exists()
    assert not older.exists()
    assert all(path.exists() for path in others)


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not asked for there")
def test_a_number_that_no_process_can_have_is_that_of_none(tmp_path: Path) -> None:
    (tmp_path / f"{ASIDE}{HERE}-{10**20}-x.png").touch()
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_occupied_once_and_free_after_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from dermseg.storage.files import occupied\n"
    )
    code += "with occupied(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    folder = tmp_path / "new" / "folder"
    with subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        with pytest.raises(UsageError, match="another process is working here"), occupied(folder):
            pass
        other.kill()
    with occupied(folder), occupied(tmp_path):
        pass


def test_a_folder_that_is_not_there_has_no_leftovers(tmp_path: Path) -> None:
    remove_leftovers(tmp_path / "missing")


def write_half(path: Path, error: type[BaseException]) -> None:
    with written_whole(path) as temporary:
        temporary.write_text("half")
        raise error


class TestWrittenWhole:
    def test_content_appears_whole_and_only_at_the_end(self, tmp_path: Path) -> None:
        target = tmp_path / "new" / "folder" / "a.txt"
        with written_whole(target) as temporary:
            temporary.write_text("half")
            assert temporary.parent == target.parent
            assert temporary.suffix == ".txt"
            assert not target.exists()
            temporary.write_text("whole")
        assert target.read_text() == "whole"
        assert list(target.parent.iterdir()) == [target]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_a_failure_leaves_nothing(self, tmp_path: Path, error: type[BaseException]) -> None:
        with pytest.raises(error):
            write_half(tmp_path / "a.txt", error)
        assert not list(tmp_path.iterdir())

    def test_a_failure_keeps_what_was_there(self, tmp_path: Path) -> None:
        target = tmp_path / "a.txt"
        target.write_text("old")
        with pytest.raises(RuntimeError):
            write_half(target, RuntimeError)
        assert target.read_text() == "old"
        assert list(tmp_path.iterdir()) == [target]

    def test_an_older_file_is_replaced(self, tmp_path: Path) -> None:
        target = tmp_path / "a.txt"
        target.write_text("a longer text than the new one")
        with written_whole(target) as temporary:
            temporary.write_text("new")
        assert target.read_text() == "new"

    @pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
    @pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
    def test_permissions_follow_the_umask(self, tmp_path: Path, umask: int) -> None:
        before = os.umask(umask)
        try:
            with written_whole(tmp_path / "a.png") as temporary:
                temporary.write_text("whole")
            assert os.umask(umask) == umask
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o666 & ~umask


def nested(folder: Path, name: str, levels: int, photograph: bytes) -> None:
    """Make folders inside each other, a step at a time, and a photograph in every hundredth."""
    before = Path.cwd()
    os.chdir(folder)
    for level in range(1, levels + 1):
        Path(name).mkdir()
        os.chdir(name)
        if level % 100 == 0:
            Path(f"p{level}.png").write_bytes(photograph)
    os.chdir(before)


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that may become too deep for Python to remove it."""
    yield tmp_path
    subprocess.run(["rm", "-rf", *tmp_path.iterdir()], check=True)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no paths as long")
@pytest.mark.usefixtures("darkness")
def test_a_tree_of_1200_folders_is_walked_and_written_to(there: Path) -> None:
    (there / "in").mkdir()
    nested(there / "in", "d", 1200, encode_image(np.zeros((8, 8, 3), np.uint8), "PNG"))
    assert {job.photograph.stem for job in find_jobs([there / "in"])} == {
        f"p{level}" for level in range(100, 1201, 100)
    }
    arguments = ["segment", str(there / "in"), "-o", str(there / "out")]
    for _ in range(2):
        assert main(arguments) == 0
        assert len([path for path in files_below(there / "out") if path.suffix == ".png"]) == 12


@pytest.mark.skipif(os.name == "nt", reason="Windows has no paths as long")
def test_a_tree_deeper_than_a_path_can_be_costs_that_branch(there: Path) -> None:
    nested(there, "d" * 200, 30, b"")
    (there / "z.png").write_bytes(b"")
    closed: list[OSError] = []
    found = [name for _, _, names in walk(there, closed.append) for name in names]
    assert found == ["z.png"]
    assert [error.errno for error in closed] == [errno.ENAMETOOLONG]
