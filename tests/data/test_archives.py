"""Official archives from a server that cuts, stalls, lies and changes: never a wrong file."""

import hashlib
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from answering_server import answering
from conftest import skin
from PIL import Image

from dermseg.cli.main import main
from dermseg.data import archives
from dermseg.data.archives import ARCHIVES, Archive, Fetching, Split, Wanted, fetch, unpack
from dermseg.data.download import PART, STATE, Patience, download
from dermseg.data.layouts import find_pairs
from dermseg.errors import DataError, OutputError, UsageError

COUNT = 4
QUICK = Patience(attempts=4, silence=0.5, pause=0.0, sleep=lambda _: None)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def image(form: str, number: int = 0) -> bytes:
    buffer = BytesIO()
    pixels = skin(60 + number, 90)
    Image.fromarray(pixels if form == "JPEG" else pixels[..., 0] // 128 * 255).save(buffer, form)
    return buffer.getvalue()


PHOTOGRAPHS = {f"a/ISIC_000000{n}.jpg": image("JPEG", n) for n in range(COUNT)}
MASKS = {f"b/ISIC_000000{n}_segmentation.png": image("PNG", n) for n in range(COUNT)}
OTHERS = {
    "a/ISIC_0000000_superpixels.png": b"x",
    "a/ISIC-2017_Training_Data_metadata.csv": b"image_id\n",
    "__MACOSX/a/._ISIC_0000000.jpg": b"x",
    "a/LICENSE.txt": b"CC-0",
}


@dataclass
class Server:
    """A server of files, and what it does wrong to one request after another."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[Callable[[BaseHTTPRequestHandler, bytes], None]] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    tag: str = '"one"'
    base: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        content = self.files.get(handler.path)
        asked = handler.headers.get("Range", "")
        self.ranges.append(asked)
        if content is None:
            handler.send_error(404)
        elif self.faults:
            self.faults.pop(0)(handler, content)
        else:
            self.send(handler, content)

    def send(
        self, handler: BaseHTTPRequestHandler, content: bytes, stop: int | None = None
    ) -> None:
        """Answer as a server should, but only with the first `stop` bytes."""
        first, total = 0, len(content)
        asked = handler.headers.get("Range", "")
        if asked and handler.headers.get("If-Range") == self.tag:
            first = int(asked.removeprefix("bytes=").rstrip("-"))
        handler.send_response(206 if first else 200)
        if first:
            handler.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        handler.send_header("Content-Length", str(total - first))
        handler.send_header("ETag", self.tag)
        handler.end_headers()
        handler.wfile.write(content[first:stop])


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    with answering(made.answer) as made.base:
        yield made


@pytest.fixture
def official(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Return the server with small archives of 2017, whose digests are known."""
    split = ARCHIVES["isic2017"]["training"]
    made = {}
    for archive, files in ((split.photographs, {**PHOTOGRAPHS, **OTHERS}), (split.masks, MASKS)):
        content = zipped(files)
        server.files[f"/2017/{archive.name}"] = content
        made[archive.name] = Archive(archive.name, hashlib.md5(content).hexdigest())
    small = Split(COUNT, made[split.photographs.name], made[split.masks.name])
    monkeypatch.setitem(ARCHIVES["isic2017"], "training", small)
    return server


CONTENT = zipped({"a.jpg": np.random.default_rng(0).bytes(100_000)})


@pytest.fixture
def path(tmp_path: Path, server: Server) -> Path:
    server.files["/a.zip"] = CONTENT
    return tmp_path / "a.zip"


def get(server: Server, path: Path, md5: str | None = None) -> None:
    download(f"{server.base}/a.zip", path, md5, patience=QUICK)


def is_whole(path: Path) -> bool:
    assert path.read_bytes() == CONTENT
    return sorted(each.name for each in path.parent.iterdir()) == [path.name]


class TestDownload:
    @pytest.mark.parametrize("stop", [0, 1, 3, 4, 5000, len(CONTENT) - 1])
    def test_what_is_cut_goes_on_from_that_byte(
        self, server: Server, path: Path, stop: int
    ) -> None:
        server.faults.append(lambda handler, content: server.send(handler, content, stop))
        get(server, path)
        assert is_whole(path)
        assert server.ranges == ["", f"bytes={stop}-" if stop else ""]

    def test_where_nobody_answers_a_proxy_or_another_place_may_help(self, path: Path) -> None:
        with pytest.raises(DataError, match=r"no connection \(.*refused.*--url") as caught:
            download("http://127.0.0.1:9/a.zip", path, None, patience=QUICK)
        assert "urlopen" not in str(caught.value)

    def test_a_later_start_goes_on_too(self, server: Server, path: Path) -> None:
        cuts = [lambda handler, content: server.send(handler, content, 70_000)]
        server.faults += cuts + [lambda handler, _: handler.send_error(503)] * 3
        with pytest.raises(DataError, match="answers 503; start again to continue from 70000"):
            get(server, path)
        assert path.with_name(path.name + PART).stat().st_size == 70_000
        server.ranges.clear()
        get(server, path, hashlib.md5(CONTENT).hexdigest())
        assert server.ranges == ["bytes=70000-"]
        assert is_whole(path)

    def test_a_stall_ends_the_attempt(self, server: Server, path: Path) -> None:
        def stall(handler: BaseHTTPRequestHandler, content: bytes) -> None:
            server.send(handler, content, 1000)
            time.sleep(0.8)

        server.faults.append(stall)
        get(server, path)
        assert is_whole(path)
        assert server.ranges == ["", "bytes=1000-"]

    def test_a_server_without_ranges_starts_over(self, server: Server, path: Path) -> None:
        def whole(handler: BaseHTTPRequestHandler, content: bytes) -> None:
            del handler.headers["Range"]
            server.send(handler, content)

        server.faults += [lambda handler, content: server.send(handler, content, 1000), whole]
        get(server, path)
        assert is_whole(path)

    def test_a_file_that_changed_starts_over(self, server: Server, path: Path) -> None:
        other = zipped({"b.jpg": np.random.default_rng(2).bytes(5000)})
        server.files["/a.zip"] = other

        def change(handler: BaseHTTPRequestHandler, content: bytes) -> None:
            server.send(handler, content, 500)
            server.tag, server.files["/a.zip"] = '"two"', CONTENT

        server.faults.append(change)
        get(server, path)
        assert is_whole(path)

    @pytest.mark.parametrize("lie", ["tag", "start", "length"])
    def test_a_part_of_another_file_is_never_taken(
        self, server: Server, path: Path, lie: str
    ) -> None:
        def other_part(handler: BaseHTTPRequestHandler, content: bytes) -> None:
            first = 999 if lie == "start" else 1000
            total = len(content) + (lie == "length")
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
            handler.send_header("Content-Length", str(total - first))
            handler.send_header("ETag", '"two"' if lie == "tag" else server.tag)
            handler.end_headers()
            handler.wfile.write(b"x" * (total - first))

        server.faults += [lambda handler, content: server.send(handler, content, 1000), other_part]
        get(server, path)
        assert is_whole(path)

    def test_without_a_validator_it_starts_over(self, server: Server, path: Path) -> None:
        server.tag = 'W/"weak"'
        server.faults.append(lambda handler, content: server.send(handler, content, 1000))
        get(server, path)
        assert is_whole(path)
        assert server.ranges == ["", ""]

    @pytest.mark.parametrize(
        ("kind", "content", "said"),
        [
            ("text/html", b"<html>sign in</html>", "a web page in place"),
            ("application/zip", b"<html>sign in</html>", "not a ZIP archive"),
        ],
    )
    def test_a_page_is_no_archive(
        self, server: Server, path: Path, kind: str, content: bytes, said: str
    ) -> None:
        def page(handler: BaseHTTPRequestHandler, _: bytes) -> None:
            handler.send_response(200)
            handler.send_header("Content-Type", kind)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)

        server.faults.append(page)
        with pytest.raises(DataError, match=said):
            get(server, path)
        assert not path.exists()
        get(server, path)
        assert is_whole(path)

    def test_a_length_that_is_too_long_is_given_up(self, server: Server, path: Path) -> None:
        def lie(handler: BaseHTTPRequestHandler, content: bytes) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(2 * len(content)))
            handler.send_header("ETag", server.tag)
            handler.end_headers()
            handler.wfile.write(content)

        server.faults += [lie, *[lambda handler, _: handler.send_error(416)]]
        with pytest.raises(DataError, match="answers 416"):
            get(server, path)
        assert not path.exists()

    def test_no_length_at_all_is_refused(self, server: Server, path: Path) -> None:
        def silent(handler: BaseHTTPRequestHandler, content: bytes) -> None:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(content)

        server.faults.append(silent)
        with pytest.raises(DataError, match="does not say how long the file is"):
            get(server, path)

    def test_another_digest_removes_it(self, server: Server, path: Path) -> None:
        with pytest.raises(DataError, match=r"has the MD5 .* instead of 0123; it was"):
            get(server, path, "0123")
        assert list(path.parent.iterdir()) == []

    def test_a_full_disk_is_said_before_the_first_byte(
        self, server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage(path.parent)._replace(free=1000)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(OutputError, match=r"are free, and 0.0 GB are needed"):
            get(server, path)
        assert list(path.parent.iterdir()) == []

    def test_what_is_not_there_is_said_at_once(self, server: Server, path: Path) -> None:
        server.files.clear()
        with pytest.raises(DataError, match="answers 404"):
            get(server, path)
        assert len(server.ranges) == 1
        with pytest.raises(UsageError, match="not an http or https address"):
            download("file:///etc/passwd", path)

    @pytest.mark.parametrize(
        "note", ["{", "[]", '{"size": "10", "validator": "v"}', '{"size": 10, "validator": 1}']
    )
    def test_a_damaged_note_starts_over(self, note: str, server: Server, path: Path) -> None:
        path.with_name(path.name + PART).write_bytes(b"x" * 10)
        path.with_name(path.name + STATE).write_text(note)
        get(server, path)
        assert is_whole(path)


class TestFetch:
    def test_what_is_fetched_is_a_data_set(
        self, official: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        call = ["fetch", "isic2017", "-o", str(tmp_path), "--url", official.base]
        assert main(call) == 0
        assert f"{COUNT} photographs with their masks" in capsys.readouterr().err
        assert len(find_pairs(tmp_path)) == COUNT
        folder = tmp_path / "ISIC-2017_Training_Data"
        names = sorted(path.name for path in folder.iterdir())
        assert names == [
            ".fetched",
            "ISIC-2017_Training_Data_metadata.csv",
            *(f"ISIC_000000{number}.jpg" for number in range(COUNT)),
        ]
        for name, content in PHOTOGRAPHS.items():
            assert (folder / Path(name).name).read_bytes() == content
        assert not list(tmp_path.glob("*.zip*"))
        official.files.clear()
        assert main(call) == 0  # and nothing is asked for again

    def test_thumbnails_are_made_and_masks_stay_whole(
        self, official: Server, tmp_path: Path
    ) -> None:
        fetching = Fetching(tmp_path, 32, official.base, QUICK)
        assert fetch("isic2017", "training", fetching) == COUNT
        pairs = find_pairs(tmp_path)
        with Image.open(pairs[0].photograph) as photograph, Image.open(pairs[0].mask) as mask:
            assert (photograph.size, mask.size) == ((32, 21), (90, 60))
        with pytest.raises(UsageError, match="holds thumbnails of 32 pixels; choose another"):
            fetch("isic2017", "training", replace(fetching, thumbnails=None))

    def test_unpacking_goes_on_where_it_stopped(
        self, official: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[str] = []
        write = archives._write

        def stop(archive: object, folder: Path, side: object, member: zipfile.ZipInfo) -> None:
            if len(written) == 6:
                raise KeyboardInterrupt
            written.append(member.filename)
            write(archive, folder, side, member)  # type: ignore[arg-type]

        monkeypatch.setattr(archives, "_write", stop)
        monkeypatch.setattr(archives, "parallel_map", map)
        fetching = Fetching(tmp_path, None, official.base, QUICK)
        with pytest.raises(KeyboardInterrupt):
            fetch("isic2017", "training", fetching)
        official.files.clear()
        monkeypatch.setattr(archives, "_write", write)
        assert fetch("isic2017", "training", fetching) == COUNT

    def test_a_part_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="isic2016 has no validation set"):
            fetch("isic2016", "validation", Fetching(tmp_path))
        with pytest.raises(UsageError, match="--thumbnails 0"):
            fetch("isic2016", "test", Fetching(tmp_path, 0))

    def test_a_mask_without_its_photograph_is_named(
        self, official: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        split = ARCHIVES["isic2017"]["training"]
        others = {name.replace("0003", "0009"): content for name, content in MASKS.items()}
        official.files[f"/2017/{split.masks.name}"] = zipped(others)
        loose = replace(split, masks=Archive(split.masks.name))
        monkeypatch.setitem(ARCHIVES["isic2017"], "training", loose)
        with pytest.raises(DataError, match=r"2 images .* such as ISIC_0000003"):
            fetch("isic2017", "training", Fetching(tmp_path, None, official.base, QUICK))

    def test_the_table_is_complete(self) -> None:
        splits = [(challenge, part) for challenge in ARCHIVES for part in ARCHIVES[challenge]]
        assert len(splits) == 8
        found = [
            archive
            for challenge, part in splits
            for archive in (
                ARCHIVES[challenge][part].photographs,
                ARCHIVES[challenge][part].masks,
            )
        ]
        assert len({archive.name for archive in found}) == 16
        assert [archive.name for archive in found if archive.md5 is None] == [
            "ISIC2018_Task1_Test_GroundTruth.zip"
        ]
        assert all(len(archive.md5 or "0" * 32) == 32 for archive in found)


class TestUnpack:
    def unpacked(self, tmp_path: Path, content: bytes, count: int = 1) -> Path:
        path = tmp_path / "a.zip"
        path.write_bytes(content)
        unpack(path, tmp_path / "out", Wanted(".jpg", count))
        return tmp_path / "out"

    @pytest.mark.parametrize("name", ["../../a.jpg", "/etc/a.jpg", "..\\a.jpg", "C:\\x\\a.jpg"])
    def test_no_name_leads_elsewhere(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "deep").mkdir()
        folder = self.unpacked(tmp_path / "deep", zipped({name: b"x"}))
        assert sorted(each.name for each in folder.iterdir()) == [".fetched", "a.jpg"]
        assert sorted(each.name for each in tmp_path.iterdir()) == ["deep"]

    def test_a_damaged_file_is_found_by_its_checksum(self, tmp_path: Path) -> None:
        content = bytearray(zipped({"a.jpg": np.random.default_rng(1).bytes(1000)}))
        content[500] ^= 1
        with pytest.raises(DataError, match="is damaged and was removed"):
            self.unpacked(tmp_path, bytes(content))
        assert not (tmp_path / "a.zip").exists()
        assert not (tmp_path / "out" / ".fetched").exists()

    def test_a_length_that_is_too_short_makes_no_archive(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="is damaged"):
            self.unpacked(tmp_path, zipped({"a.jpg": bytes(1000)})[:-10])

    def test_a_bomb_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(archives, "LARGEST_FILE", 10**6)
        with pytest.raises(DataError, match="has 2000000 bytes"):
            self.unpacked(tmp_path, zipped({"a.jpg": bytes(2 * 10**6)}))
        honest = zipped({"a.jpg": bytes(10**6)})
        lying = honest.replace((10**6).to_bytes(4, "little"), (10).to_bytes(4, "little"))
        assert lying != honest
        with pytest.raises(DataError, match="is damaged"):
            self.unpacked(tmp_path, lying)

    def test_other_counts_and_names_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"has 1 \*.jpg files instead of 2"):
            self.unpacked(tmp_path, zipped({"a.jpg": b"x"}), 2)
        with pytest.raises(DataError, match=r"holds A.JPG twice"):
            self.unpacked(tmp_path, zipped({"a/a.jpg": b"x", "b/A.JPG": b"y"}), 2)

    def test_a_full_disk_is_said_before_unpacking(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage(tmp_path)._replace(free=10)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        with pytest.raises(OutputError, match="are needed"):
            self.unpacked(tmp_path, zipped({"a.jpg": bytes(1000)}))
        assert (tmp_path / "a.zip").exists()
