"""Clients that are slow, silent or many, against a server that listens; and its log."""

import logging
import socket
import sys
import time
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from local_service import listening

from dermseg.inference.segmenter import Segmenter
from dermseg.settings import ServiceSettings
from dermseg.web import server
from dermseg.web.app import create_app

WAIT = 20.0


def connect(address: str, sent: bytes = b"", receive: int | None = None) -> socket.socket:
    place = urlsplit(address)
    connection = socket.socket()
    if receive is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    connection.settimeout(WAIT)
    connection.connect((place.hostname, place.port))
    connection.sendall(sent)
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Say whether the other end is gone; nothing must be there to be read."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def read_until(connection: socket.socket, expected: bytes) -> None:
    got = b""
    while expected not in got:
        part = connection.recv(2**16)
        assert part, got
        got += part


def trickle(connection: socket.socket) -> float:
    """Send a byte now and then; return the seconds until the other end has had enough."""
    began = time.monotonic()
    with suppress(BrokenPipeError, ConnectionResetError, ConnectionAbortedError):
        while time.monotonic() - began < WAIT:
            connection.sendall(b"G")
            time.sleep(0.05)
    return time.monotonic() - began


@pytest.mark.slow
class TestDeadlines:
    @pytest.mark.parametrize("sent", [b"", b"GET /heal", b"GET /healthz HTTP/1.1\r\nHost: 127"])
    def test_a_head_that_does_not_end(
        self, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, sent: bytes
    ) -> None:
        monkeypatch.setattr(server, "HEAD_SECONDS", 0.3)
        with listening(create_app(segmenter)) as address:
            began = time.monotonic()
            with connect(address, sent) as connection:
                assert is_closed(connection)
            assert 0.2 < time.monotonic() - began < 10

    def test_a_head_that_trickles(
        self, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "HEAD_SECONDS", 0.5)
        good = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        with listening(create_app(segmenter)) as address, connect(address, good) as connection:
            read_until(connection, b'{"status":"alive"}')
            assert trickle(connection) < 15

    def test_a_body_that_trickles_to_a_route_that_reads_none(
        self, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "BODY_SECONDS", 0.3)
        head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n"
        app = create_app(segmenter, ServiceSettings(seconds=0.3))
        with listening(app) as address, connect(address, head) as connection:
            assert trickle(connection) < 15

    def test_a_client_that_does_not_read(
        self, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "SLOWEST_READER", 2**30)
        requests = b"GET /static/page.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 600
        app = create_app(segmenter, ServiceSettings(seconds=0.3))
        with listening(app) as address, connect(address, requests, receive=4096) as connection:
            assert trickle(connection) < WAIT

    def test_a_client_that_reads_slowly_gets_everything(self, segmenter: Segmenter) -> None:
        request = b"GET /static/page.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        with listening(create_app(segmenter)) as address:
            whole = httpx.get(f"{address}static/page.js").content
            got = bytearray()
            with connect(address, request * 200, receive=4096) as connection:
                while len(got) < 200 * len(whole):
                    got += connection.recv(2**14)
                while got.count(b"HTTP/1.1 200 OK") < 200 or not got.endswith(whole):
                    got += connection.recv(2**14)
        assert got.count(whole) == 200


class TestMany:
    def test_half_open_connections_make_room(
        self, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "MOST_CONNECTIONS", 20)
        with listening(create_app(segmenter)) as address, ExitStack() as stack:
            held = [stack.enter_context(connect(address, b"GET / HT")) for _ in range(100)]
            began = time.monotonic()
            assert httpx.get(f"{address}healthz").json() == {"status": "alive"}
            assert time.monotonic() - began < server.HEAD_SECONDS
            for connection in held[:60]:
                assert is_closed(connection)

    def test_a_request_in_work_is_not_closed_for_others(
        self, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "MOST_CONNECTIONS", 4)
        head = b"POST /v1/segment HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4\r\n\r\n"
        with listening(create_app(segmenter)) as address, ExitStack() as stack:
            sending = stack.enter_context(connect(address, head))
            time.sleep(0.2)
            for _ in range(20):
                stack.enter_context(connect(address, b"GET"))
            sending.sendall(b"text")
            read_until(sending, b"unreadable-photograph")

    @pytest.mark.skipif(sys.platform == "win32", reason="has no such limit")
    @pytest.mark.parametrize(("files", "most"), [(256, 128), (1024, 512), (10**6, 512), (4, 8)])
    def test_connections_leave_files_for_the_rest(
        self, monkeypatch: pytest.MonkeyPatch, files: int, most: int
    ) -> None:
        monkeypatch.setattr("resource.getrlimit", lambda _: (files, files))
        assert server.most_connections() == most


class TestLog:
    def entry(self, text: str, at: float) -> logging.LogRecord:
        record = logging.LogRecord("x", logging.WARNING, "", 0, text, None, None)
        record.created = at
        return record

    def test_entries_are_bounded_in_number(self) -> None:
        bounded = server.BoundedLog()
        assert sum(bounded.filter(self.entry("x", 1000 + n / 100)) for n in range(5000)) == 60
        later = self.entry("next", 1061)
        assert bounded.filter(later)
        assert later.getMessage() == "next (4940 entries were left out before)"
        assert bounded.filter(self.entry("x", 1062))

    def test_entries_are_bounded_in_length(self) -> None:
        text = server.BoundedLine("%(message)s").format(self.entry("a" * 10**6 + "end", 0))
        assert len(text) < 8100
        assert text.startswith("aaa")
        assert text.endswith("end")
