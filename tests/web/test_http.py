"""What HTTP asks of a service: methods, encodings, parameters, origins, tokens, subpaths."""

import json
import re
import socket
import struct
import time
from base64 import b64decode, b64encode
from math import hypot
from typing import get_args
from urllib.parse import urljoin

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hostile import encoded, picture
from local_service import client_of, listening
from PIL import Image
from rulers import with_ruler
from starlette.applications import Starlette
from starlette.routing import Mount

from dermseg.cli.main import main
from dermseg.errors import ModelError
from dermseg.imaging.photographs import FORMATS
from dermseg.imaging.png import encode_mask
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.edit import Edit, edit_mask
from dermseg.masks.redraw import redraw
from dermseg.settings import ServiceSettings
from dermseg.web.app import STATIC, create_app
from dermseg.web.manual import page_of

TOKEN = "a-token-of-twenty-ch"
PHOTOGRAPH = encoded(picture(), "JPEG")


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/v1/models"])
def test_head_is_get_without_its_body(client: TestClient, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert client.head("/v1/segment").status_code == 405


@pytest.mark.parametrize("name", ["gzip", "br", "deflate", "gzip, identity"])
def test_encoded_bodies_are_refused_by_their_kind(client: TestClient, name: str) -> None:
    response = client.post("/v1/segment", content=PHOTOGRAPH, headers={"Content-Encoding": name})
    assert (response.status_code, response.headers["accept-encoding"]) == (415, "identity")
    plain = {"Content-Encoding": "identity"}
    assert client.post("/v1/segment", content=PHOTOGRAPH, headers=plain).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("POST", "/v1/segment?hihg=0.4", "model, style, rule"),
        ("POST", "/v1/segment?low=0.4&LOW=0.4", "model, style, rule"),
        ("GET", "/v1/models?all=1", "none"),
        ("GET", "/healthz?x=1", "none"),
    ],
)
def test_unknown_parameters_are_named(
    client: TestClient, method: str, path: str, known: str
) -> None:
    response = client.request(method, path, content=PHOTOGRAPH if method == "POST" else None)
    assert response.status_code == 422
    assert f"no such parameter; there are {known}" in response.json()["detail"]


def test_links_to_the_page_may_carry_anything(client: TestClient) -> None:
    assert client.get("/?utm_source=mail").status_code == 200


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:443", "https://127.0.0.1", 200),
        ("127.0.0.1", "https://127.0.0.1:443", 200),
        ("127.0.0.1:80", "http://127.0.0.1", 200),
        ("LOCALHOST:80", "http://localhost", 200),
        ("[::1]:443", "https://[::1]", 200),
        ("127.0.0.1:443", "http://127.0.0.1", 403),
        ("127.0.0.1:8765", "http://127.0.0.1", 403),
        ("127.0.0.1", "ftp://127.0.0.1", 403),
        ("127.0.0.1", "http://127.0.0.1:70000", 403),
    ],
)
def test_default_ports_may_be_left_out(
    client: TestClient, host: str, origin: str, status: int
) -> None:
    headers = {"Host": host, "Origin": origin}
    assert client.post("/v1/segment", content=PHOTOGRAPH, headers=headers).status_code == status


def test_a_file_with_an_encoded_name_is_a_file(client: TestClient) -> None:
    head = "Content-Disposition: form-data; name=\"photograph\"; filename*=UTF-8''a%20b.jpg"
    body = f"--x\r\n{head}\r\n\r\n".encode() + PHOTOGRAPH + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.post("/v1/segment", content=body, headers=kind).status_code == 200


def test_a_form_that_stops_is_damaged(client: TestClient) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="photograph"; filename="a"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (head, head + PHOTOGRAPH, head + PHOTOGRAPH + b"\r\n--x\r\n", b"--x--\r\n"):
        response = client.post("/v1/segment", content=body, headers=kind)
        assert response.status_code in (400, 422)
        assert response.json()["type"] in ("urn:dermseg:damaged-form", "urn:dermseg:no-photograph")


def test_decoding_is_bounded_before_it_begins(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dermseg.web.uploads.MOST_COEFFICIENTS", 10_000)
    scans = encoded(picture(), "JPEG", progressive=True)
    response = client.post("/v1/segment", content=scans)
    assert response.status_code == 422
    assert "of coefficients" in response.json()["detail"]
    markers = PHOTOGRAPH[:2] + b"\xff\xe0\x00\x02" * 20_000 + PHOTOGRAPH[2:]
    for files in ({"photograph": markers}, {"photograph": PHOTOGRAPH, "mask": markers}):
        response = client.post("/v1/segment", files=files)
        assert response.status_code == 422
        assert "segments" in response.json()["detail"]


def test_a_webp_of_a_few_bytes_does_not_fill_the_memory(client: TestClient) -> None:
    width, height = 8000, 8000
    head = b"\x2f" + ((width - 1) | (height - 1) << 14).to_bytes(4, "little") + bytes(7)
    content = b"RIFF" + struct.pack("<I", 24) + b"WEBPVP8L" + struct.pack("<I", 12) + head
    response = client.post("/v1/segment", content=content)
    assert response.json()["type"] == "urn:dermseg:too-many-pixels"


class TestToken:
    @pytest.fixture
    def guarded(self, segmenter: Segmenter) -> TestClient:
        return client_of(create_app(segmenter, token=TOKEN))

    @pytest.mark.parametrize(
        "given",
        [
            "",
            "Bearer ",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Digest {TOKEN}",
            TOKEN,
            "Basic !",
            "Basic " + b64encode(TOKEN.encode()).decode(),
            "Bearer \xff",
        ],
    )
    def test_nothing_but_the_token_opens(self, guarded: TestClient, given: str) -> None:
        headers = {"Authorization": given.encode("latin-1")} if given else {}
        for path in ("/", "/metrics", "/readyz", "/v1/models", "/static/page.js", "/nothing"):
            response = guarded.get(path, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith("Basic ")
            assert response.json()["type"] == "urn:dermseg:no-token"
        assert guarded.post("/v1/segment", content=PHOTOGRAPH).status_code == 401
        assert guarded.get("/healthz").status_code == 200

    @pytest.mark.parametrize(
        "given", [f"Bearer {TOKEN}", "basic " + b64encode(f"me:{TOKEN}".encode()).decode()]
    )
    def test_the_token_opens(self, guarded: TestClient, given: str) -> None:
        headers = {"Authorization": given}
        for path in ("/", "/metrics", "/v1/models", "/static/page.js"):
            assert guarded.get(path, headers=headers).status_code == 200

    def test_pages_elsewhere_may_ask_whether_they_may_bring_it(self, segmenter: Segmenter) -> None:
        settings = ServiceSettings(allowed_origins=("https://app.example",))
        client = client_of(create_app(segmenter, settings, token=TOKEN))
        headers = {
            "Origin": "https://app.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        assert client.options("/v1/segment", headers=headers).status_code == 200

    @pytest.mark.parametrize("token", ["short", "ünicode-is-not-sent-alike", "x" * 15])
    def test_a_token_to_guess_is_refused(
        self, token: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["serve", "--token", token]) == 2
        assert "--token" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("host", "token", "warned"),
        [
            ("0.0.0.0", "", True),
            ("::", "", True),
            ("192.0.2.1", "", True),
            ("0.0.0.0", TOKEN, False),
            ("127.0.0.2", "", False),
            ("::1", "", False),
            ("localhost", "", False),
        ],
    )
    def test_other_machines_without_a_token_are_warned_of(
        self,
        host: str,
        token: str,
        warned: bool,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("DERMSEG_TOKEN", token)
        monkeypatch.setattr("dermseg.web.server.Server.run", lambda _: None)
        assert main(["serve", "--host", host]) == 0
        assert ("lets other machines in" in capsys.readouterr().err) == warned


def test_the_page_works_below_a_subpath(segmenter: Segmenter) -> None:
    """As behind a proxy that hands on what lies below /lesions/."""
    outside = Starlette(routes=[Mount("/lesions", create_app(segmenter))])
    client = TestClient(outside, base_url="http://127.0.0.1")
    page = client.get("/lesions/").text
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(links) >= 4
    for link in links:
        assert client.get(urljoin("/lesions/", link)).status_code == 200, link
    for script in STATIC.glob("*.js"):
        absolute = re.findall(r"""["'`]/(?:static|v1)/""", script.read_text())
        assert not absolute, script.name


def test_a_mask_drawn_by_hand_is_traced_and_changed(client: TestClient) -> None:
    drawn = np.zeros((60, 80), np.bool_)
    drawn[10:30, 10:30] = drawn[40:45, 40:45] = True
    drawn[15:20, 15:20] = False
    traced = client.post("/v1/mask", content=encode_mask(drawn)).json()
    assert [len(traced[name]) for name in ("outlines", "holes")] == [2, 1]
    assert (traced["height"], traced["width"], traced["mask"]) == (60, 80, None)
    for edit in get_args(Edit):
        changed = client.post(
            "/v1/mask",
            params={"edit": edit, "by": 2, "include": "mask"},
            content=encode_mask(drawn),
        ).json()
        assert b64decode(changed["mask"]) == encode_mask(edit_mask(drawn, edit, 2))
    line = "30 10 40 10.5 35 20 30 20"
    redrawn = client.post(
        "/v1/mask",
        params={"edit": "redraw", "line": line, "include": "mask"},
        content=encode_mask(drawn),
    ).json()
    points = np.array([(30, 10), (40, 10.5), (35, 20), (30, 20)])
    assert b64decode(redrawn["mask"]) == encode_mask(redraw(drawn, points))
    for line in (
        "",
        "1 2",
        "1 2 3",
        "1 2 nan 4",
        "1 2 3 1e9",
        "1 2 3 . 5 6",
        "1 2 3 9999999",
        "1 2 99 99 " * 99,
    ):
        asked = {"edit": "redraw", "line": line}
        refused = client.post("/v1/mask", params=asked, content=encode_mask(drawn))
        assert refused.status_code == 422, line
    assert client.post("/v1/mask?by=0", content=encode_mask(drawn)).status_code == 422
    assert client.post("/v1/mask?edit=melt", content=encode_mask(drawn)).status_code == 422
    assert client.post("/v1/mask", content=b"no image").status_code == 422


def test_models_are_those_of_the_start_and_loaded_when_they_are_named(
    segmenter: Segmenter,
) -> None:
    loads: list[str] = []

    def load() -> Segmenter:
        loads.append("cdnn29")
        return Segmenter("cdnn29")

    client = client_of(create_app(segmenter, others={"cdnn29": load, "gone": _gone}))
    models = client.get("/v1/models").json()
    assert [model["name"] for model in models] == ["lite0", "cdnn29", "gone"]
    assert [model["height"] is None for model in models] == [False, True, True]
    first = client.post("/v1/segment", content=PHOTOGRAPH).json()
    assert (first["model"], loads) == ("lite0", [])
    assert client.post("/v1/segment?model=lite0", content=PHOTOGRAPH).json() == first
    for _ in range(2):
        other = client.post("/v1/segment?model=cdnn29", content=PHOTOGRAPH).json()
        assert (other["model"], other["report"]["model"], loads) == ("cdnn29",) * 2 + (["cdnn29"],)
    assert client.get("/v1/models").json()[1]["height"] == Segmenter("cdnn29").height
    assert client.get("/v1/settings?model=cdnn29").json()["model"] == "cdnn29"
    for name in ("/etc/passwd", "lite0-ensemble", ""):
        answer = client.post("/v1/segment", params={"model": name}, content=PHOTOGRAPH)
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:dermseg:no-such-model")
    answer = client.post("/v1/segment?model=gone", content=PHOTOGRAPH)
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:dermseg:damaged-model")


def _gone() -> Segmenter:
    raise ModelError("gone.onnx: cannot be read")


def test_a_ruler_is_looked_for(client: TestClient) -> None:
    photograph = encoded(Image.fromarray(with_ruler(40.0)), "PNG")
    ruler = client.post("/v1/ruler", content=photograph).json()["ruler"]
    assert ruler["pixels_per_mm"] == pytest.approx(40, rel=0.01)
    length = hypot(ruler["end"]["x"] - ruler["start"]["x"], ruler["end"]["y"] - ruler["start"]["y"])
    assert length / ruler["millimetres"] == pytest.approx(ruler["pixels_per_mm"])
    assert client.post("/v1/ruler", content=PHOTOGRAPH).json() == {"ruler": None}
    assert client.post("/v1/ruler", content=b"no image").status_code == 422
    refused = client.post("/v1/ruler", files={"photograph": PHOTOGRAPH, "mask": PHOTOGRAPH})
    assert refused.status_code == 422
    assert refused.json()["detail"] == "a form has one file 'photograph'"


def files(*contents: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("photograph", each) for each in contents]


def test_many_photographs_get_a_line_each(client: TestClient) -> None:
    sent = files(("a/é.jpg", PHOTOGRAPH), ("b.txt", b"no image"), ("=c.jpg", PHOTOGRAPH))
    answer = client.post("/v1/batch?style=semi-automatic&include=mask", files=sent)
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["name"] for line in lines] == ["a/é.jpg", "b.txt", "=c.jpg"]
    alone = client.post("/v1/segment?style=semi-automatic&include=mask", content=PHOTOGRAPH)
    assert lines[0]["answer"] == lines[2]["answer"] == alone.json()
    assert lines[1]["answer"] is None
    assert lines[1]["problem"]["type"] == "urn:dermseg:unreadable-photograph"
    assert lines[0]["problem"] is None


def test_a_batch_is_bounded_and_leaves_its_place(segmenter: Segmenter) -> None:
    app = create_app(segmenter, ServiceSettings(megabytes=1))
    client = client_of(app)
    for status, kind, sent in (
        (422, "too-many", files(*[("a.jpg", b"x")] * 257)),
        (413, "too-large", files(*[("a.jpg", bytes(2**20))] * 5)),
        (422, "unexpected-part", [("mask", ("a.png", b"x"))]),
    ):
        answer = client.post("/v1/batch", files=sent)
        assert (answer.status_code, answer.json()["type"]) == (status, f"urn:dermseg:{kind}")
    for status, kind, content, head in (
        (415, "unsupported-type", PHOTOGRAPH, "image/jpeg"),
        (400, "damaged-form", b"--x\r\n", "multipart/form-data; boundary=x"),
        (422, "no-photograph", b"--x--\r\n", "multipart/form-data; boundary=x"),
    ):
        answer = client.post("/v1/batch", content=content, headers={"Content-Type": head})
        assert (answer.status_code, answer.json()["type"]) == (status, f"urn:dermseg:{kind}")
    answer = client.post("/v1/batch?high=0.2&low=0.9", files=files(("a.jpg", PHOTOGRAPH)))
    assert answer.status_code == 422
    assert client.post("/v1/batch", files=files(("a.jpg", PHOTOGRAPH))).is_success
    assert (app.state.service.places.taken, app.state.service.places.held) == (0, 0)


def test_a_batch_ends_with_its_client(segmenter: Segmenter) -> None:
    seen: list[object] = []

    class Slow:
        def __getattr__(self, name: str) -> object:
            return getattr(segmenter, name)

        def segment(self, *photograph: object, **options: object) -> object:
            seen.append(photograph)
            return segmenter.segment(*photograph, **options)  # type: ignore[arg-type]

    app = create_app(Slow())  # type: ignore[arg-type]
    with listening(app) as address:
        host, port = address.removeprefix("http://").rstrip("/").split(":")
        part = b'--x\r\nContent-Disposition: form-data; name="photograph"; filename="a"\r\n\r\n'
        body = (part + PHOTOGRAPH + b"\r\n") * 200 + b"--x--\r\n"
        head = f"POST /v1/batch HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection((host, int(port))) as client:
            client.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode())
            client.sendall(body)
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        for _ in range(200):
            if not app.state.service.places.taken:
                break
            time.sleep(0.05)
        assert app.state.service.places.taken == 0
    assert len(seen) < 200


def test_the_description_names_every_form_of_photograph(client: TestClient) -> None:
    upload = client.get("/v1/openapi.json").json()["paths"]["/v1/segment"]["post"]["requestBody"]
    form = upload["content"]["multipart/form-data"]["schema"]
    said = form["properties"]["photograph"]["description"].lower()
    forms = (*FORMATS, "MPO", "AVIF", "HEIC", "DICOM")
    assert [each for each in forms if each.lower() not in said] == []


def test_people_find_every_route_and_document_explained(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    described = client.get("/v1/openapi.json").json()
    anchors = set(re.findall(r'id="([^"]+)"', page.text))
    assert set(re.findall(r'href="#([^"]+)"', page.text)) <= anchors
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            assert f"{method.upper()} {path}</code>" in page.text
            for parameter in route.get("parameters", ()):
                assert f"<code>{parameter['name']}</code>" in page.text
    for name, schema in described["components"]["schemas"].items():
        assert f"<h3>{name}</h3>" in page.text
        for each in schema["properties"]:
            assert f"<td><code>{each}</code></td>" in page.text
    assert not re.search(r"<script|style=|https?://", page.text)


def test_what_a_description_says_is_text_and_no_markup() -> None:
    hostile = "<img src=x onerror=alert(1)> `<b>`"
    schema = {"description": hostile, "properties": {hostile: {"type": hostile}}}
    route = {"description": hostile, "responses": {hostile: {"description": hostile}}}
    page = page_of(
        {
            "info": {"title": hostile, "version": hostile, "summary": hostile},
            "paths": {hostile: {"get": route}},
            "components": {"schemas": {hostile: schema}},
        }
    )
    assert "<img" not in page
    assert "<b>" not in page
