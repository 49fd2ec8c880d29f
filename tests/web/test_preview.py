"""The outline while a slider moves: from a probability map, in places of its own."""

from base64 import b64decode
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient
from hostile import encoded, picture
from local_service import listening
from PIL import Image

from dermseg.inference.segmenter import Segmenter
from dermseg.settings import Rule, ServiceSettings, ThresholdSettings
from dermseg.web.app import create_app
from dermseg.web.preview import read_map

EXAMPLE = Path(__file__).parents[2] / "examples" / "photographs" / "ISIC_0003582.jpg"
SIZE = {"height": 512, "width": 768}


@pytest.fixture(scope="module")
def probability(client: TestClient) -> bytes:
    """Return the map of the example, as the service gives it."""
    answer = client.post("/v1/segment?include=probability", content=EXAMPLE.read_bytes()).json()
    return b64decode(answer["probability"])


def outline(client: TestClient, content: bytes, **query: Any) -> Any:
    headers = {"content-type": "image/png"}
    return client.post("/v1/outline", content=content, params={**SIZE, **query}, headers=headers)


@pytest.mark.parametrize("rule", ["complete", "paper"])
def test_the_outline_is_the_librarys(
    client: TestClient, segmenter: Segmenter, probability: bytes, rule: Rule
) -> None:
    said = outline(client, probability, rule=rule, low=0.3).json()
    thresholds = ThresholdSettings(rule, low=0.3)
    lesion = segmenter.find(read_map(probability), (512, 768), thresholds=thresholds)
    assert said["outlines"][0] == lesion.outline.tolist()
    assert [each["outline"] for each in said["candidates"]] == [
        candidate.outline.tolist() for candidate in lesion.candidates
    ]


@pytest.mark.parametrize(
    ("query", "content", "status"),
    [
        ({}, b"text", 422),
        ({}, encoded(Image.new("L", (2000, 600)), "PNG"), 422),
        ({}, b"x" * (4 * 2**20 + 1), 413),
        ({"height": 0}, encoded(picture(), "PNG"), 422),
        ({"height": 60_000, "width": 60_000}, encoded(picture(), "PNG"), 422),
        ({"x": 3}, encoded(picture(), "PNG"), 422),
        ({"include": "mask"}, encoded(picture(), "PNG"), 422),
        ({"low": 0.9}, encoded(picture(), "PNG"), 422),
    ],
)
def test_what_is_refused(
    client: TestClient, query: dict[str, Any], content: bytes, status: int
) -> None:
    response = outline(client, content, **query)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


def test_previews_do_not_wait_behind_photographs(segmenter: Segmenter, probability: bytes) -> None:
    app = create_app(segmenter, ServiceSettings(workers=1, queue=0))
    with listening(app) as address, app.state.service.places.take():
        photograph = httpx.post(f"{address}v1/segment", content=EXAMPLE.read_bytes())
        preview = httpx.post(f"{address}v1/outline", content=probability, params=SIZE)
    assert (photograph.status_code, preview.status_code) == (429, 200)
