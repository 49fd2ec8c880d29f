"""The journal of an output folder."""

import json
import os
from io import BytesIO
from pathlib import Path

import pytest

from dermseg.errors import ImageError, OutputError, UsageError
from dermseg.storage.beside import check_beside, written_beside
from dermseg.storage.journal import (
    Entry,
    Journal,
    Lines,
    encoded_entry,
    is_foreign,
    read_journal,
)
from dermseg.storage.stores import File, LocalStore


def find(journal: Journal, mask: str, fingerprint: str) -> Entry | None:
    """Return what was noted of a mask last, if under this very fingerprint."""
    known = journal.last(mask)
    return known if known is not None and known.fingerprint == fingerprint else None


def test_what_was_noted_is_found_under_its_fingerprint_alone(tmp_path: Path) -> None:
    path = tmp_path / "out" / "journal.jsonl"
    with Journal(path) as journal:
        assert find(journal, "a.jpg", "f") is None
        journal.note("a.jpg", Entry("f", {"area": 3}, {}))
        assert find(journal, "a.jpg", "f") == Entry("f", {"area": 3}, {})
    with Journal(path) as journal:
        assert find(journal, "a.jpg", "f") == Entry("f", {"area": 3}, {})
        assert find(journal, "a.jpg", "g") is None
        assert find(journal, "b.jpg", "f") is None
        journal.note("a.jpg", Entry("g", {"area": 4}, {}))
    with Journal(path) as journal:
        assert find(journal, "a.jpg", "f") is None
        assert find(journal, "a.jpg", "g") == Entry("g", {"area": 4}, {})


def test_a_line_is_on_disk_as_soon_as_it_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.note("a.jpg", Entry("f", {}, {}))
        assert path.read_text().count("\n") == 1


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_last_line_cut_anywhere_is_not_written_and_harms_no_other(
    tmp_path: Path, cut: int
) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.note("a.jpg", Entry("f", {"area": 1}, {}))
        journal.note("b.jpg", Entry("f", {"area": 2}, {}))
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path) as journal:
        assert find(journal, "a.jpg", "f") == Entry("f", {"area": 1}, {})
        if cut > 1:  # without its line break alone, the line is still whole
            assert find(journal, "b.jpg", "f") is None
        journal.note("c.jpg", Entry("f", {"area": 3}, {}))
    with Journal(path) as journal:
        assert find(journal, "a.jpg", "f") == Entry("f", {"area": 1}, {})
        assert find(journal, "c.jpg", "f") == Entry("f", {"area": 3}, {})


@pytest.mark.parametrize(
    "line", ["", "nonsense", "[]", "{}", '{"version": 2, "mask": 1}', '{"mask": 1}', "null", "3"]
)
def test_lines_of_another_kind_are_passed_over(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(f"{line}\n")
    with Journal(path) as journal:
        journal.note("a.jpg", Entry("f", {}, {}))
        assert find(journal, "a.jpg", "f") == Entry("f", {}, {})


@pytest.mark.parametrize("version", ["", '"version": 1, ', '"version": 3, '])
def test_a_journal_of_another_version_is_refused_and_left_alone(
    tmp_path: Path, version: str
) -> None:
    path = tmp_path / "journal.jsonl"
    line = f'{{{version}"mask": "a.png", "fingerprint": "f", "row": {{}}, "files": {{}}}}\n'
    path.write_text(line)
    for reading in (Journal, read_journal):
        with pytest.raises(UsageError, match="another version"):
            reading(path)
    assert path.read_text() == line
    path.unlink()
    with Journal(path) as journal:
        journal.note("a.png", Entry("f", {}, {}))


def test_what_was_begun_and_not_noted_is_not_done(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert journal.last("a.png") is None
        journal.note("a.png", Entry("f", {"area": 3}, {}))
        journal.begin("a.png")
        assert find(journal, "a.png", "f") is None
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert find(journal, "a.png", "f") is None
        assert journal.last("a.png") is not None


def test_bytes_that_are_no_text_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"\xff\xfe\x00\n")
    with Journal(path) as journal:
        journal.note("a.png", Entry("f", {}, {}))
    with Journal(path) as journal:
        assert find(journal, "a.png", "f") == Entry("f", {}, {})


def test_a_line_is_found_behind_one_that_could_not_be_written() -> None:
    class Full(BytesIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    file, entry = Full(), Entry("f", {"area": 3}, {})
    lines = Lines(file, "journal")
    with pytest.raises(OSError, match="No space"):
        lines.add("a.jpg", encoded_entry("a.jpg", entry))
    file.flush = lambda: None  # type: ignore[method-assign]
    lines.add("b.jpg", encoded_entry("b.jpg", entry))
    assert lines.get("b.jpg") == entry


def test_names_that_are_no_utf_8_come_back(tmp_path: Path) -> None:
    name = b"\xff.jpg".decode("utf-8", "surrogateescape")
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.note(name, Entry("f", {"photograph": name}, {}))
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert find(journal, name, "f") == Entry("f", {"photograph": name}, {})


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        Journal(tmp_path / "file" / "journal.jsonl")


GOOD = {"version": 2, "mask": "b.png", "fingerprint": "f", "row": {}, "files": {}, "own": []}
OTHERS: list[tuple[str, object]] = [
    *(("mask", value) for value in (1, [], {}, None, True)),
    *(("fingerprint", value) for value in (1, [], {})),
    *(("row", value) for value in (1, "x", [], None, {"area": []}, {"area": {}}, {"area": None})),
    *(("files", value) for value in (1, "x", [], None, {"b.png": "x"}, {"b.png": [1]})),
    *(("own", value) for value in (1, None, "x", ["x"], [[1]], {"a": 1})),
]


@pytest.mark.parametrize(("key", "value"), OTHERS)
def test_a_line_of_another_shape_is_passed_over(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "journal.jsonl"
    lines = [{**GOOD, "mask": "a.png"}, {**GOOD, key: value}, {**GOOD, "mask": "c.png"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert sorted(read_journal(path)) == ["a.png", "c.png"]


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a":' * 100_000, '{"mask": "\\ud800"}', "\0"])
def test_lines_that_no_parser_likes_are_passed_over(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(f"{line}\n{json.dumps(GOOD)}\n")
    if "ud800" in line:  # a whole line, with no version
        path.write_text(f"{json.dumps({**GOOD, 'mask': chr(0xD800)})}\n{json.dumps(GOOD)}\n")
    assert "b.png" in read_journal(path)


def test_a_form_is_written_while_no_other_process_works_there(tmp_path: Path) -> None:
    with (
        written_beside(tmp_path, "coco.json"),
        pytest.raises(UsageError, match="another process is working here"),
    ):
        Journal(tmp_path / "journal.jsonl")


def test_a_run_that_failed_makes_nobodys_files_its_own(tmp_path: Path) -> None:
    with pytest.raises(ImageError), written_beside(tmp_path, "labelme"):
        raise ImageError("no mask")
    (tmp_path / "labelme").mkdir()
    check_beside(tmp_path, "labelme")
    (tmp_path / "labelme" / "a.json").touch()
    with pytest.raises(UsageError, match=r"a\.json: was not made by dermseg there"):
        check_beside(tmp_path, "labelme")
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.begin("labelme")  # as one that is killed
    check_beside(tmp_path, "labelme")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to a pipe"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "journal.jsonl"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    for reading in (Journal, read_journal):
        with pytest.raises(UsageError, match="is no file"):
            reading(path)
    assert is_foreign(File(LocalStore(tmp_path), path.name), None)
