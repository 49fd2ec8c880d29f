"""Stores: a folder, a bucket, an archive, behind one interface."""

import io
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from object_store import ObjectStore

from dermseg.cli.options import as_place
from dermseg.errors import ImageError, MissingExtraError, OutputError, StoreError, UsageError
from dermseg.storage import stores
from dermseg.storage.stores import (
    File,
    LocalStore,
    RemoteStore,
    Store,
    is_address,
    local_path,
    open_store,
)

cloud = pytest.mark.cloud


@pytest.fixture(
    params=["folder", pytest.param("memory", marks=cloud), pytest.param("s3", marks=cloud)]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Return an empty store of each kind that is written to."""
    if request.param == "folder":
        yield open_store(tmp_path / "out")
    elif request.param == "s3":
        request.getfixturevalue("object_store")
        yield open_store("s3://bucket/out")
    else:
        memory = pytest.importorskip("fsspec").filesystem("memory")
        yield open_store("memory://out")
        memory.store.clear()


def test_what_is_written_is_listed_read_and_removed(store: Store, tmp_path: Path) -> None:
    store.write("b/c d.png", b"one")
    store.write("a.png", b"two")
    store.write("a.png", b"three")
    with store.written_whole("d") as path:
        path.write_bytes(b"four")
    store.fetch("d", tmp_path / "large")
    assert (tmp_path / "large").read_bytes() == b"four"
    assert store.sum_of(tmp_path / "large") == store.sum_of(b"four")
    assert store.below("b").read("c d.png") == b"one"
    listed = {file.name: file.size for file in store.files()}
    assert listed == {"a.png": 5, "b/c d.png": 3, "d": 4}
    tags = {file.tag for file in store.files()}
    assert len(tags) == 3
    assert "" not in tags
    assert store.read("a.png") == File(store, "a.png").read_bytes() == b"three"
    store.remove("a.png")
    store.remove("a.png")
    assert {file.name for file in store.files()} == {"b/c d.png", "d"}
    with pytest.raises(ImageError, match=r"a\.png"):
        store.read("a.png")


def test_of_two_that_create_one_may(store: Store) -> None:
    assert store.create("lease", b"first")
    assert not store.create("lease", b"second")
    assert store.read("lease") == b"first"


@pytest.mark.parametrize("listed", [False, True])
def test_sums_tell_what_a_file_holds(store: Store, listed: bool) -> None:
    store.write("a.png", b"one")
    store.write("b.png", b"two")
    if listed and isinstance(store, RemoteStore):
        store.list_sums()
    one, two = store.sum_of(b"one"), store.sum_of(b"two")
    assert store.is_as("a.png", [one])
    assert store.is_as("a.png", (None, two, one))
    assert not store.is_as("a.png", [two, None])
    assert not store.is_as("a.png", [None])
    assert store.is_as("c.png", [None, one])
    assert not store.is_as("c.png", [one])
    store.write("a.png", b"two")
    store.remove("b.png")
    assert store.is_as("a.png", [two])
    assert store.is_as("b.png", [None])


@cloud
def test_listed_sums_read_no_file(object_store: ObjectStore) -> None:
    store = RemoteStore("s3://bucket/out")
    for number in range(20):
        store.write(f"{number}.png", b"%d" % number)
    object_store.requests.clear()
    store.list_sums()
    assert all(store.is_as(f"{n}.png", [store.sum_of(b"%d" % n)]) for n in range(20))
    assert len(object_store.requests) == 1


@cloud
@pytest.mark.parametrize("where", ["s3://bucket", "s3://bucket/out"])
def test_a_bucket_is_listed_page_by_page(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(stores, "PAGE", 7)
    store = RemoteStore(where)
    for number in range(15):
        store.write(f"a b/é {number}.png", b"%d" % number)
    RemoteStore("s3://bucket/out-of-it").write("a.png", b"another folder's")
    object_store.requests.clear()
    found = {file.name: file for file in store.files() if "out-of-it" not in file.name}
    assert len(object_store.requests) == 3
    assert sorted(found) == sorted(f"a b/é {number}.png" for number in range(15))
    assert found["a b/é 12.png"].size == 2
    (alone,) = open_store(f"{where}/a b/é 12.png").files()
    assert (alone.name, alone.size, alone.tag) == ("", 2, found["a b/é 12.png"].tag)


def pictures() -> dict[str, bytes]:
    """Return files of which no two are alike, in an order that is not theirs by name."""
    return {f"{number % 7}/{number}.jpg": bytes([number]) * (9000 + number) for number in range(60)}


def packed(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in pictures().items():
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, content in pictures().items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@cloud
@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("where", ["folder", "s3"])
def test_threads_read_an_archive_right(
    kind: str, where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("fsspec")
    if where == "s3":
        request.getfixturevalue("object_store")
        open_store("s3://bucket").write("a.bin", packed(kind))
        store = open_store(f"{kind}://::s3://bucket/a.bin")
        assert str(store) == f"{kind}://::s3://bucket/a.bin"
    else:
        (tmp_path / "a.bin").write_bytes(packed(kind))
        store = open_store(f"{kind}://::{tmp_path / 'a.bin'}")
    expected = pictures()
    listed = list(store.files())
    assert {file.name: file.size for file in listed} == {k: len(v) for k, v in expected.items()}
    assert all(file.tag for file in listed)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(store.read, expected)) == list(expected.values())
    outer = "s3://bucket/a.bin" if where == "s3" else str(tmp_path / "a.bin")
    inside = open_store(f"{kind}://3::{outer}")
    assert {file.name for file in inside.files()} == {n[2:] for n in expected if n[0] == "3"}
    assert inside.read("3.jpg") == expected["3/3.jpg"]
    assert inside.address("3.jpg").startswith(f"{kind}://3/3.jpg::")


@cloud
def test_a_tar_of_the_same_names_sizes_and_times_is_another(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    tags = []
    for content in (b"one", b"two"):
        with tarfile.open(tmp_path / "a.tar", "w") as tar:
            member = tarfile.TarInfo("a.bmp")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        tags += [file.tag for file in open_store(f"tar://::{tmp_path / 'a.tar'}").files()]
    assert tags[0] != tags[1]


@cloud
def test_a_store_is_opened_again_in_another_process() -> None:
    pytest.importorskip("fsspec")
    sent = pickle.dumps(File(open_store("memory://elsewhere"), "a.jpg", 3, "tag"))
    first, second = pickle.loads(sent), pickle.loads(sent)
    assert str(first) == "memory://elsewhere/a.jpg"
    assert first.store is second.store


@cloud
def test_a_tag_that_is_no_md5_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a bucket with SSE-KMS, whose ETags look like MD5."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    store = RemoteStore("memory://encrypted")
    store.write("a.png", b"one")
    monkeypatch.setattr(stores, "_tag", lambda _: "f" * 32)
    for _ in range(2):
        assert store.is_as("a.png", [store.sum_of(b"one")])
        assert not store.is_as("a.png", [store.sum_of(b"two"), None])
        store.list_sums()
    memory.store.clear()


@cloud
@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        ("nosuch://bucket/a", UsageError, "no store that is known; s3://"),
        ("gs://bucket/a", MissingExtraError, "pip install gcsfs"),
        ("zip://::{tmp}/none.zip", UsageError, "no such bucket, folder or file"),
        ("zip://::{tmp}/text", UsageError, "no archive of this kind"),
        ("tar://::{tmp}/text", UsageError, "no archive of this kind"),
    ],
)
def test_what_a_driver_raises_becomes_a_sentence(
    tmp_path: Path, address: str, kind: type[Exception], said: str
) -> None:
    pytest.importorskip("fsspec")
    if address.startswith("gs") and "gcsfs" in sys.modules:
        pytest.skip("gcsfs is installed")
    (tmp_path / "text").write_text("no archive" * 100)
    with pytest.raises(kind, match=said):
        open_store(address.format(tmp=tmp_path))


@cloud
def test_a_bucket_that_is_not_there_or_does_not_answer(object_store: ObjectStore) -> None:
    with pytest.raises(UsageError, match="s3://none/a: no such bucket"):
        list(open_store("s3://none/a").files())
    with pytest.raises(OutputError, match="s3://none/a/b: no such bucket"):
        open_store("s3://none/a").write("b", b"")
    store = open_store("s3://bucket/in")
    store.write("a.jpg", b"a")
    object_store.stop()
    try:
        with pytest.raises(StoreError, match="s3://bucket/in: does not answer"):
            store.read("a.jpg")
        with pytest.raises(StoreError, match="does not answer"):
            store.write("b", b"")
    finally:
        object_store.start()
    assert store.read("a.jpg") == b"a"


@cloud
def test_credentials_that_lack_or_expire(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    store = RemoteStore("s3://bucket/in")
    store.write("a.jpg", b"a")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError("The provided token has expired.")

    with monkeypatch.context() as patch:
        patch.setattr(store._fs, "cat_file", refused)
        with pytest.raises(ImageError, match=r"a\.jpg: cannot be read \(The provided token"):
            store.read("a.jpg")  # as for one file whose owner forbids it
        patch.setattr(store._fs, "info", refused)
        with pytest.raises(StoreError, match=r"s3://bucket/in: refused .* renew the credentials"):
            store.read("a.jpg")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(StoreError, match=r"refused .*AWS_ACCESS_KEY_ID"):
        list(open_store("s3://bucket/in").files())


def test_what_is_an_address_and_what_a_path(tmp_path: Path) -> None:
    for address in ("s3://b", "zip://::a.zip", "zip://x/y::s3://b/a.zip", "memory://"):
        assert is_address(address)
    for path in ("a", "./a", "/a/b", "C:/a", "C:\\a", "a:b", "file:///a", Path("s3://b")):
        assert not is_address(path)
    assert local_path("file:///a/b") == Path("/a/b")
    for name in ("a", "a b", "100%25 ä#1"):
        path = tmp_path / name
        assert [local_path(each) for each in (path, str(path), path.as_uri())] == [path] * 3
        assert as_place(path.as_uri()) == path
    assert isinstance(open_store(tmp_path), LocalStore)


def test_no_command_imports_fsspec_for_a_path() -> None:
    code = "import sys, dermseg.batch.run, dermseg.cli.segment, dermseg.storage.stores as s;"
    code += "s.open_store('a'); assert 'fsspec' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
