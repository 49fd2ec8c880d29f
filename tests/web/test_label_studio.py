"""Label Studio asks for first outlines: its protocol, and what may be fetched for it."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from answering_server import answering
from conftest import EXAMPLES
from fastapi.testclient import TestClient
from local_service import client_of, listening
from PIL import Image

from dermseg.errors import UsageError
from dermseg.formats.annotation import Photographs
from dermseg.formats.label_studio import read
from dermseg.imaging.orientation import upright
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import ServiceSettings
from dermseg.web import label_studio
from dermseg.web.app import create_app
from dermseg.web.errors import ProblemError

EXAMPLE = EXAMPLES / "photographs" / "ISIC_0003582.jpg"
KEY = "0123456789abcdef"
POLYGONS = """<View><!-- a lesion --><Image name="img" value="$photo"/>
<PolygonLabels name="outline" toName="img"><Label value="Mole"/><Label value="Lesion"/>
</PolygonLabels></View>"""
BRUSH = POLYGONS.replace("PolygonLabels", "BrushLabels")


class Studio:
    """A server of photographs that is not Label Studio."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/data/upload/1/a.jpg": EXAMPLE.read_bytes()}
        self.redirects: dict[str, str] = {}
        self.seen: list[tuple[str, str | None]] = []
        self.address = ""
        self.kept_back: set[str] = set()
        self.ended = Event()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.seen.append((handler.path, handler.headers.get("Authorization")))
        if handler.path in self.redirects:
            handler.send_response(303)
            handler.send_header("Location", self.redirects[handler.path])
            if handler.path in self.kept_back:
                handler.send_header("Content-Length", "1000000000")
            handler.end_headers()
            self.wait(handler)
        elif handler.path == "/noise.jpg":
            handler.wfile.write(b"no status line\r\n\r\n")
        elif handler.path in self.files:
            self.wait(handler)
            content = self.files[handler.path]
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)
        else:
            handler.send_error(404)

    def wait(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path in self.kept_back:
            self.ended.wait(20)


def served(studio: Studio) -> Iterator[Studio]:
    with answering(studio.answer) as studio.address:
        yield studio
        studio.ended.set()


@pytest.fixture
def studio() -> Iterator[Studio]:
    yield from served(Studio())


@pytest.fixture
def other() -> Iterator[Studio]:
    yield from served(Studio())


@pytest.fixture
def client(studio: Studio, segmenter: Segmenter) -> Iterator[TestClient]:
    settings = ServiceSettings(label_studio=(studio.address,))
    with client_of(create_app(segmenter, settings, label_studio_key=KEY)) as made:
        yield made


def ask_all(client: TestClient, addresses: list[Any], config: str | None = POLYGONS) -> Any:
    tasks = [{"id": 7 + n, "data": {"photo": each}} for n, each in enumerate(addresses)]
    body = {"tasks": tasks, "label_config": config, "project": "1.2", "params": {"context": None}}
    return client.post("/predict", json=body)


def ask(client: TestClient, address: str, config: str | None = POLYGONS) -> Any:
    return ask_all(client, [address], config)


def outlined(response: Any) -> list[bool]:
    """Say which tasks have an outline; the others have an empty list, which is not kept."""
    assert response.status_code == 200, response.json()
    results = response.json()["results"]
    assert all(each == [] or each["result"] for each in results)
    return [each != [] for each in results]


@pytest.mark.parametrize("config", [POLYGONS, BRUSH])
def test_a_task_gets_the_outline_that_the_file_would_get(
    client: TestClient, studio: Studio, segmenter: Segmenter, tmp_path: Path, config: str
) -> None:
    answer = ask(client, "/data/upload/1/a.jpg", config).json()
    (found,) = answer["results"]
    assert answer["model_version"] == found["model_version"]
    assert found["model_version"].startswith("dermseg ")
    assert found["model_version"].endswith(" lite0")
    assert 0 < found["score"] < 1
    for region in found["result"]:
        assert (region["from_name"], region["to_name"]) == ("outline", "img")
        assert region["value"][region["type"]] == ["Lesion"]
    task = {"data": {"image": "/a.jpg"}, "predictions": [{"result": found["result"]}]}
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([task]))
    (entry,) = read(path, Photographs(), None)
    np.testing.assert_array_equal(entry.load().mask, segmenter.segment(EXAMPLE).mask)
    assert studio.seen == [("/data/upload/1/a.jpg", f"Token {KEY}")]


def test_a_turned_photograph_is_outlined_as_it_is_shown(
    client: TestClient, studio: Studio, segmenter: Segmenter
) -> None:
    exif, buffer = Image.Exif(), BytesIO()
    exif[0x0112] = 6
    Image.open(EXAMPLE).save(buffer, "JPEG", exif=exif)
    studio.files["/turned.jpg"] = buffer.getvalue()
    (found,) = ask(client, f"{studio.address}/turned.jpg").json()["results"]
    region = found["result"][0]
    assert (region["original_width"], region["original_height"]) == (512, 768)
    lesion = segmenter.segment(BytesIO(buffer.getvalue())).mask
    shown = upright(lesion.view(np.uint8), 6)
    points = np.array(region["value"]["points"]) / 100 * (512, 768)
    rows, columns = np.nonzero(shown)
    assert points[:, 0].min() == pytest.approx(columns.min(), abs=0.1)
    assert points[:, 1].max() == pytest.approx(rows.max() + 1, abs=0.1)


def test_an_address_is_encoded_as_browsers_do(client: TestClient, studio: Studio) -> None:
    studio.files["/my%20photo-%C3%A9.jpg?d=a%20b"] = EXAMPLE.read_bytes()
    for address in ("/my photo-é.jpg?d=a b", "/my%20photo-%C3%A9.jpg?d=a%20b"):
        assert outlined(ask(client, address)) == [True]


def test_health_and_setup(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "UP", "model_class": "dermseg"}
    body = {"project": "1.2", "schema": POLYGONS, "hostname": "http://x", "access_token": "y"}
    assert client.post("/setup", json=body).json()["model_version"].startswith("dermseg ")


def test_without_a_label_studio_there_are_no_such_routes(segmenter: Segmenter) -> None:
    with client_of(create_app(segmenter)) as client:
        assert client.get("/health").status_code == 404
        assert client.post("/predict", json={"tasks": []}).status_code == 404


def test_a_token_is_asked_for_as_a_password(studio: Studio, segmenter: Segmenter) -> None:
    settings = ServiceSettings(label_studio=(studio.address,))
    with client_of(create_app(segmenter, settings, token="a" * 20)) as client:
        assert client.get("/health").status_code == 401
        assert client.get("/health", auth=("dermseg", "a" * 20)).status_code == 200


class TestWhatMayBeFetched:
    @pytest.mark.parametrize(
        "address",
        [
            "http://127.0.0.1:1/a.jpg",
            "//example.org/a.jpg",
            "http://127.0.0.1@example.org/a.jpg",
            "https://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "ftp://127.0.0.1/a.jpg",
            "http://[::1/a.jpg",
            "http://127.0.0.1:x/a.jpg",
        ],
    )
    def test_other_places_are_not(self, client: TestClient, studio: Studio, address: str) -> None:
        assert outlined(ask(client, address)) == [False]
        assert studio.seen == []

    def test_nor_where_a_redirection_leads(
        self, client: TestClient, studio: Studio, other: Studio
    ) -> None:
        studio.redirects["/a.jpg"] = f"{other.address}/data/upload/1/a.jpg"
        assert outlined(ask(client, "/a.jpg")) == [False]
        assert other.seen == []

    def test_an_address_has_a_length(self, client: TestClient, studio: Studio) -> None:
        assert outlined(ask(client, "/" + "a" * 9000)) == [False]
        assert studio.seen == []

    def test_what_arrives_too_slowly_or_cut_short_is_no_photograph(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = EXAMPLE.read_bytes()

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            with suppress(OSError):
                if handler.path == "/cut.jpg":
                    handler.wfile.write(content[:-9])
                else:
                    for place in range(100):
                        handler.wfile.write(content[place : place + 1])
                        time.sleep(0.05)

        monkeypatch.setattr(label_studio, "SECONDS", 0.5)
        with answering(answer) as address:
            studio = label_studio.LabelStudio((address,))
            with pytest.raises(ProblemError, match=r"cannot be fetched \(IncompleteRead\)"):
                studio.fetch("/cut.jpg", 10**6)
            began = time.monotonic()
            with pytest.raises(ProblemError, match=r"cannot be fetched \(TimeoutError\)"):
                studio.fetch("/slow.jpg", 10**6)
            assert time.monotonic() - began < 3

    def test_nothing_is_read_of_what_comes_with_a_redirection(
        self, client: TestClient, studio: Studio
    ) -> None:
        studio.redirects["/a.jpg"] = "/data/upload/1/a.jpg"
        studio.kept_back.add("/a.jpg")
        assert outlined(ask(client, "/a.jpg")) == [True]

    def test_a_store_is_allowed_by_name_and_gets_no_key(
        self, studio: Studio, other: Studio, segmenter: Segmenter
    ) -> None:
        settings = ServiceSettings(label_studio=(studio.address, other.address))
        studio.redirects["/a.jpg"] = f"{other.address}/data/upload/1/a.jpg"
        with client_of(create_app(segmenter, settings, label_studio_key=KEY)) as client:
            assert outlined(ask(client, "/a.jpg")) == [True]
            assert outlined(ask(client, f"{other.address}/data/upload/1/a.jpg")) == [True]
        assert [key for _, key in other.seen] == [None, None]

    def test_large_and_missing_files_cost_their_tasks(
        self, studio: Studio, segmenter: Segmenter, caplog: pytest.LogCaptureFixture
    ) -> None:
        studio.files |= {"/large.jpg": bytes(2**20 + 1), "/text.jpg": b"no photograph"}
        studio.redirects["/away.jpg"] = "s3://bucket/a.jpg?secret=1"
        settings = ServiceSettings(label_studio=(studio.address,), megabytes=1)
        good = "/data/upload/1/a.jpg"
        spoilt = ["/large.jpg", "/gone.jpg?secret=1", "/noise.jpg", "/text.jpg", "/away.jpg", 7]
        with client_of(create_app(segmenter, settings)) as client:
            found = outlined(ask_all(client, [good, *spoilt, good]))
        assert found == [True, *(False for _ in spoilt), True]
        (entry,) = caplog.messages
        for number, why in enumerate(
            (
                "has more than 1 megabytes",
                "cannot be fetched (status 404)",
                "cannot be fetched (BadStatusLine)",
                "not an image that can be read",
                "cannot be fetched (status 303)",
                "its data have no 'photo'",
            ),
            start=8,
        ):
            assert any(f"({number}): " in line and why in line for line in entry.splitlines())
        assert "secret" not in entry
        assert "gone" not in entry


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ("<View>", "no-outlines"),
        ("<View/>", "no-outlines"),
        (POLYGONS.replace('toName="img"', 'toName="text"'), "no-outlines"),
        ('<!DOCTYPE x [<!ENTITY a "aaaa">]><View>&a;</View>', "no-outlines"),
        (POLYGONS.replace("$photo", "$picture"), "not-fetched"),
    ],
)
def test_an_interface_without_outlines_is_told_so(
    client: TestClient, config: str, kind: str
) -> None:
    response = ask(client, "/data/upload/1/a.jpg", config)
    assert response.status_code == 422
    assert response.json()["type"] == f"urn:dermseg:{kind}"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"tasks": [1]}'])
def test_other_bodies_are_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/predict", content=body)
    assert response.json()["type"] == "urn:dermseg:invalid-settings"


@pytest.mark.parametrize(
    "address", ["ftp://a", "localhost:8080", "http://", "http://:80", "http://a:x", "http://[a"]
)
def test_addresses_are_of_http(address: str) -> None:
    message = f"--label-studio {address}: not an http or https address"
    with pytest.raises(UsageError, match=re.escape(message)):
        ServiceSettings(label_studio=(address,))


@pytest.fixture
def slow(studio: Studio) -> Studio:
    """The server, which keeps /slow.jpg back until the test ends."""
    studio.files["/slow.jpg"] = EXAMPLE.read_bytes()
    studio.kept_back.add("/slow.jpg")
    return studio


def test_each_task_has_the_time_of_a_request(slow: Studio, segmenter: Segmenter) -> None:
    app = create_app(segmenter, ServiceSettings(label_studio=(slow.address,), seconds=2))
    with client_of(app) as client:
        good = "/data/upload/1/a.jpg"
        assert outlined(ask_all(client, [good, "/slow.jpg", good])) == [True, False, True]
        slow.ended.set()


def test_what_there_is_no_time_for_is_left_for_the_next_request(
    studio: Studio, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_studio, "BEGINS", 0)
    with client_of(
        create_app(segmenter, ServiceSettings(label_studio=(studio.address,)))
    ) as client:
        assert outlined(ask_all(client, ["/data/upload/1/a.jpg"] * 3)) == [True, False, False]
    assert len(studio.seen) == 1


def test_no_photograph_is_fetched_that_nobody_waits_for(slow: Studio, segmenter: Segmenter) -> None:
    app = create_app(segmenter, ServiceSettings(label_studio=(slow.address,)))
    tasks = [{"data": {"photo": "/slow.jpg"}}] * 5
    with listening(app) as address:
        with suppress(httpx.ReadTimeout):
            httpx.post(
                f"{address}predict", json={"tasks": tasks, "label_config": POLYGONS}, timeout=0.5
            )
        slow.ended.set()
        while app.state.service.places.taken:
            time.sleep(0.05)
    assert len(slow.seen) <= 1
