"""A service that listens: places, hanging up, the server's own errors."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import numpy as np
import pytest
from fastapi import Request
from hostile import encoded, picture
from local_service import listening
from numpy.typing import NDArray

from dermseg.inference import segmenter as inference
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import ServiceSettings
from dermseg.web.app import create_app
from dermseg.web.errors import ProblemError
from dermseg.web.limits import Places

JPEG = {"content-type": "image/jpeg"}
WAIT = 20.0


class Gate:
    """A model that answers when the gate opens."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)

    def run(self, *_: Any) -> NDArray[np.float32]:
        self.entered.release()
        self.open.wait(WAIT)
        return np.zeros((1, 96, 128), np.float32)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(inference, "run", gate.run)
    yield gate
    gate.open.set()


def until(condition: Any) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def hang(address: str, content: bytes, announced: int | None = None) -> socket.socket:
    """Send a request and do not wait for the answer."""
    place = urlsplit(address)
    connection = socket.create_connection((place.hostname, place.port))
    length = len(content) if announced is None else announced
    head = f"POST /v1/segment HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: image/jpeg\r\n"
    connection.sendall(f"{head}Content-Length: {length}\r\n\r\n".encode() + content)
    return connection


def test_a_full_queue_says_when_to_come_back_and_who_hangs_up_leaves(
    segmenter: Segmenter, gate: Gate
) -> None:
    settings, photograph = ServiceSettings(workers=1, queue=1), encoded(picture(), "JPEG")
    app = create_app(segmenter, settings)
    with listening(app) as address:
        working = hang(address, photograph)
        assert gate.entered.acquire(timeout=WAIT)
        waiting = hang(address, photograph)
        until(lambda: app.state.service.places.full)
        refused = httpx.post(f"{address}v1/segment", content=photograph, headers=JPEG)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["type"] == "urn:dermseg:busy"
        assert httpx.get(f"{address}readyz").status_code == 503
        assert httpx.get(f"{address}healthz").status_code == 200
        assert httpx.get(f"{address}v1/settings").status_code == 200  # for a page that is opened
        waiting.close()  # its place is free at once: its work had not begun
        until(lambda: app.state.service.places.taken == 1)
        working.close()  # its thread cannot be stopped
        gate.open.set()
        until(lambda: app.state.service.places.taken == 0)
        answer = httpx.post(f"{address}v1/segment", content=photograph, headers=JPEG)
        assert answer.status_code == 200
        assert 'status="499"' in httpx.get(f"{address}metrics").text


def test_who_hangs_up_while_sending_leaves(segmenter: Segmenter) -> None:
    app = create_app(segmenter)
    with listening(app) as address:
        connection = hang(address, b"x" * 1000, announced=5000)
        until(lambda: app.state.service.places.taken == 1)
        connection.close()
        until(lambda: app.state.service.places.taken == 0)


def test_what_takes_too_long_is_given_up(segmenter: Segmenter, gate: Gate) -> None:
    app = create_app(segmenter, ServiceSettings(seconds=0.3))
    with listening(app) as address:
        photograph = encoded(picture(), "JPEG")
        slow = httpx.post(f"{address}v1/segment", content=photograph, headers=JPEG)
        assert (slow.status_code, slow.json()["type"]) == (503, "urn:dermseg:too-slow")
        hang(address, b"x", announced=99).close()
        gate.open.set()
        until(lambda: app.state.service.places.taken == 0)


def test_an_upload_that_takes_too_long_is_the_clients(segmenter: Segmenter) -> None:
    app = create_app(segmenter, ServiceSettings(seconds=0.3))
    with listening(app) as address, hang(address, b"x", announced=99) as sending:
        answer = b""
        while b"slow-upload" not in answer:
            part = sending.recv(4096)
            assert part, answer
            answer += part
        assert answer.startswith(b"HTTP/1.1 408")
        until(lambda: app.state.service.places.taken == 0)


def received(connection: socket.socket) -> bytes:
    """Return what comes until the connection ends."""
    parts = []
    with connection, suppress(ConnectionResetError):
        while part := connection.recv(2**16):
            parts.append(part)
    return b"".join(parts)


def test_uploads_that_fill_the_memory_are_told_to_come_back(segmenter: Segmenter) -> None:
    app = create_app(segmenter, ServiceSettings(megabytes=1, queue=60))
    places = app.state.service.places
    with listening(app) as address:
        waiting = [hang(address, b"x" * 2**19, announced=2**20) for _ in range(16)]
        until(lambda: places.held == 2**23)  # 8 MB: eight uploads of the largest size
        photograph = encoded(picture(), "JPEG")
        refused = httpx.post(f"{address}v1/segment", content=photograph, headers=JPEG)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert "dermseg_upload_bytes 8.388608e+06" in httpx.get(f"{address}metrics").text
        for connection in waiting:
            connection.close()
        until(lambda: places.held == places.taken == 0)
        answer = httpx.post(f"{address}v1/segment", content=photograph, headers=JPEG)
        assert answer.status_code == 200
        assert places.held == 0


def test_a_service_that_stops_says_so(
    segmenter: Segmenter,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("dermseg.web.server.DRAIN_SECONDS", 0.3)
    photograph = encoded(picture(), "JPEG")
    app = create_app(segmenter, ServiceSettings(workers=2))
    with listening(app) as address:
        working = [hang(address, photograph) for _ in range(2)]
        for _ in working:
            assert gate.entered.acquire(timeout=WAIT)
        waiting = [hang(address, photograph) for _ in range(29)]
        sending = [hang(address, photograph[:50], announced=len(photograph)) for _ in range(3)]
        until(lambda: app.state.service.places.taken == 34)
    for connection in (*working, *waiting, *sending):
        answer = received(connection)
        assert answer.startswith(b"HTTP/1.1 503"), answer
        assert b"urn:dermseg:stopping" in answer
        assert b"retry-after: 10" in answer
    assert "Traceback" not in capfd.readouterr().err


def test_a_service_that_stops_ends_what_it_began(
    segmenter: Segmenter, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(segmenter)
    with listening(app) as address:
        working = hang(address, encoded(picture(), "JPEG"))
        assert gate.entered.acquire(timeout=WAIT)
        drain = app.state.service.places.drain
        monkeypatch.setattr(
            app.state.service.places, "drain", lambda seconds: (drain(seconds), gate.open.set())
        )
    assert received(working).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("lines", [b"\x00\xff\r\n\r\n", b"GET / HTTP/1.1\r\nHost\r\n\r\n"])
def test_what_is_not_http_gets_a_problem(segmenter: Segmenter, lines: bytes) -> None:
    with listening(create_app(segmenter)) as address:
        place = urlsplit(address)
        with socket.create_connection((place.hostname, place.port)) as connection:
            connection.sendall(lines)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in answer
    assert b"urn:dermseg:not-http" in answer


def test_nothing_is_written_to_disk(
    segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", lambda _: pytest.fail("on disk"))
    large = encoded(picture(1200, 1600), "BMP")
    with listening(create_app(segmenter)) as address:
        answer = httpx.post(f"{address}v1/segment", files={"photograph": large}, timeout=WAIT)
    assert answer.status_code == 200


def test_places_are_given_back_after_an_error() -> None:
    places = Places(ServiceSettings(workers=1, queue=0))
    with places.take(), pytest.raises(ProblemError, match="taken"), places.take():
        pass
    assert places.taken == 0
    places.close()


def test_a_service_stops_while_a_request_runs_out_of_time() -> None:
    async def late() -> None:
        places = Places(ServiceSettings(seconds=0.01))
        async with places.time_limit(Request({"type": "http"})):
            try:
                await asyncio.sleep(WAIT)
            except asyncio.CancelledError:
                places.drain(1)
                raise

    with pytest.raises(ProblemError, match="stops"):
        asyncio.run(late())
