"""The default service, for all tests of the web."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from local_service import client_of

from dermseg.inference.segmenter import Segmenter
from dermseg.web.app import create_app


@pytest.fixture(scope="session")
def client(segmenter: Segmenter) -> Iterator[TestClient]:
    """Return a client of the default service."""
    with client_of(create_app(segmenter)) as client:
        yield client
