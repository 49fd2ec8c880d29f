"""What differs on Windows, imitated: its locks, and files that others hold open."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from dermseg.errors import OutputError, UsageError
from dermseg.storage.files import FAR, JUNCTION, files_below, leads_out, occupied, written_whole
from dermseg.storage.journal import Entry, Journal, read_journal


class Locks:
    """Windows' locks of bytes: of a file, by the handle that has it; closing frees them."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.held: dict[int, tuple[int, int]] = {}

    def locking(self, handle: int, mode: int, count: int) -> None:
        assert (mode, count) == (self.LK_NBLCK, 1)
        mine = os.fstat(handle).st_ino, os.lseek(handle, 0, os.SEEK_CUR)
        others = {place for other, place in self.held.items() if other != handle and is_open(other)}
        if mine in others:
            raise PermissionError(13, "Permission denied")
        self.held[handle] = mine


def is_open(handle: int) -> bool:
    try:
        os.fstat(handle)
    except OSError:
        return False
    return True


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> Locks:
    locks = Locks()
    api = SimpleNamespace(locking=locks.locking, LK_NBLCK=locks.LK_NBLCK)
    monkeypatch.setitem(sys.modules, "msvcrt", api)
    monkeypatch.setattr(sys, "platform", "win32")
    return locks


def test_a_folder_is_locked_once_beyond_what_the_file_holds(locks: Locks, tmp_path: Path) -> None:
    with occupied(tmp_path):
        ((_, place),) = locks.held.values()
        assert place == FAR
        with pytest.raises(UsageError, match="another process is working here"), occupied(tmp_path):
            pass
    with occupied(tmp_path):
        pass


@pytest.mark.usefixtures("locks")
def test_a_journal_is_read_from_its_beginning_and_written_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for number in range(3):
        with Journal(path) as journal:
            assert len(journal.masks()) == number
            journal.note(f"{number}.png", Entry("f", {"error": ""}, {}))
            with pytest.raises(UsageError, match="another process"):
                Journal(path)
    assert path.stat().st_size < FAR
    assert sorted(read_journal(path)) == ["0.png", "1.png", "2.png"]


def test_a_file_that_another_program_holds_open_stays_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.csv"
    target.write_bytes(b"old")

    def refuse(path: Path, to: Path) -> Path:
        raise PermissionError(13, "Permission denied", str(path), 32, str(to))

    monkeypatch.setattr(Path, "replace", refuse)
    with (
        pytest.raises(OutputError, match=r"report\.csv: cannot be written \(Permission denied\)"),
        written_whole(target) as temporary,
    ):
        temporary.write_bytes(b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["report.csv"]
    assert target.read_bytes() == b"old"


@pytest.mark.usefixtures("locks")
@pytest.mark.parametrize("name", ["C:a.jpg", "C:/a.jpg", "a/b.jpg:c", "../a.jpg", "\\a.jpg"])
def test_a_name_with_a_drive_or_a_stream_leads_out(name: str) -> None:
    assert leads_out(name)
    assert not leads_out("a/b.jpg")


def test_elsewhere_a_colon_is_a_letter_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert not leads_out("2017-03-01T12:00:00.jpg")


class InFolder:
    """An entry of a folder as Windows lists it, where `around` is a junction."""

    def __init__(self, entry: os.DirEntry[str]) -> None:
        self.name, self.is_dir, self.is_symlink = entry.name, entry.is_dir, entry.is_symlink

    def stat(self, *, follow_symlinks: bool) -> SimpleNamespace:
        assert not follow_symlinks
        return SimpleNamespace(st_reparse_tag=JUNCTION if self.name == "around" else 0)


@pytest.mark.usefixtures("locks")
def test_a_junction_is_not_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("around", "within"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jpg").touch()
    listed = os.scandir

    @contextmanager
    def as_there(path: Path) -> Iterator[list[InFolder]]:
        with listed(path) as found:
            yield [InFolder(entry) for entry in found]

    monkeypatch.setattr(os, "scandir", as_there)
    found = list(files_below(tmp_path))
    monkeypatch.undo()
    assert found == [tmp_path / "within" / "a.jpg"]
