"""An S3 on this machine, made by moto, which counts requests and can be stopped and started."""

from collections.abc import Iterator
from typing import Any

import pytest

KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
}


class ObjectStore:
    """The server, with the method and path of each request since `requests` was cleared."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.port = 0
        self._server: Any = None

    def start(self) -> None:
        """Start, at the port of an earlier start, with what was stored then."""
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        """Stop answering; new connections are refused."""
        self._server.stop()
        self._server._server.server_close()

    def writes(self, suffix: str) -> int:
        """Count the files of a suffix that were written."""
        return sum(method == "PUT" and path.endswith(suffix) for method, path in self.requests)

    def reads(self, suffix: str) -> int:
        """Count the requests for files of a suffix, or for what they are."""
        return sum(m in ("GET", "HEAD") and p.endswith(suffix) for m, p in self.requests)


@pytest.fixture(scope="session")
def _server() -> Iterator[ObjectStore]:
    pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    from werkzeug.serving import WSGIRequestHandler

    store = ObjectStore()

    def count(self: Any, *_: object) -> None:
        store.requests.append((self.command, self.path.partition("?")[0]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WSGIRequestHandler, "log_request", count)
        store.start()
        yield store
        store.stop()


@pytest.fixture
def object_store(_server: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """Return the server with an empty bucket, s3://bucket."""
    import fsspec

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{_server.port}")
    bucket = fsspec.filesystem("s3")
    bucket.mkdir("bucket")
    _server.requests.clear()
    yield _server
    bucket.rm("bucket", recursive=True)  # by the credentials that it was opened with
    bucket.clear_instance_cache()
