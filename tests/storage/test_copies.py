"""A copy of a store's folder: fetched once, and again only what has changed."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from object_store import ObjectStore

from dermseg.errors import OutputError, UsageError
from dermseg.storage.copies import local_copy
from dermseg.storage.files import files_below
from dermseg.storage.stores import open_store

pytestmark = pytest.mark.cloud


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_files_are_fetched_once(object_store: ObjectStore) -> None:
    store = open_store("s3://bucket/data")
    wanted = {"images/a.jpg": b"a", "masks/a.png": b"b", "table.csv": b"c"}
    for name, content in {**wanted, "a/../../../out.jpg": b"leads out"}.items():
        store.write(name, content)
    said: list[str] = []

    def copied() -> dict[str, bytes]:
        folder = local_copy("s3://bucket/data", said.append)
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files_below(folder)}

    assert copied() == wanted
    object_store.requests.clear()
    assert copied() == wanted
    assert [method for method, _ in object_store.requests] == ["GET"], "the listing"
    wanted = {"images/a.jpg": b"x", "masks/a.png": b"b", "d.txt": b"d"}
    for name, content in wanted.items():
        store.write(name, content) if name != "masks/a.png" else None
    store.remove("table.csv")
    object_store.requests.clear()
    assert copied() == wanted
    assert object_store.reads("masks/a.png") == 0
    assert [line.split(" to ")[0] for line in said] == [
        f"s3://bucket/data: 3 files, of which {count} were copied" for count in (3, 0, 2)
    ]


@pytest.mark.usefixtures("object_store")
def test_a_file_takes_the_place_of_a_folder_that_is_gone() -> None:
    store = open_store("s3://bucket/data")
    store.write("a/b/c.jpg", b"1")
    store.write("kept/d.jpg", b"2")
    local_copy("s3://bucket/data", print)
    store.remove("a/b/c.jpg")
    store.write("a", b"3")
    folder = local_copy("s3://bucket/data", print)
    assert (folder / "a").read_bytes() == b"3"
    assert (folder / "kept" / "d.jpg").read_bytes() == b"2"


def test_a_path_is_no_store(tmp_path: Path) -> None:
    assert local_copy(tmp_path, print) == tmp_path
    assert local_copy(str(tmp_path), print) == tmp_path


def test_what_cannot_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    memory: Any = pytest.importorskip("fsspec").filesystem("memory")
    memory.store.clear()
    with pytest.raises(UsageError, match="memory://data: holds no files"):
        local_copy("memory://data", print)
    open_store("memory://data").write("a", b"12")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1}))
    with pytest.raises(OutputError, match="XDG_CACHE_HOME"):
        local_copy("memory://data", print)
    memory.store.clear()
