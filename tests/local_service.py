"""A service for the tests: in this process, or listening on this machine."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from dermseg.settings import ServiceSettings
from dermseg.web.server import Server


def client_of(app: FastAPI) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@contextmanager
def listening(app: FastAPI, **changes: Any) -> Iterator[str]:
    """Run a server in a thread and yield its address."""
    said: list[str] = []
    ready = threading.Event()

    def say(address: str) -> None:
        said.append(address)
        ready.set()

    server = Server(app, ServiceSettings(port=0, **changes), say)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert ready.wait(20)
    try:
        yield said[0]
    finally:
        server.should_exit = True
        thread.join(20)
