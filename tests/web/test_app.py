import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hostile import bad_files, encoded, good_files, mutated, picture
from local_service import client_of
from numpy.typing import NDArray
from PIL import Image

from dermseg.cli.main import main
from dermseg.imaging.images import encode_image
from dermseg.imaging.overlay import draw_overlay
from dermseg.imaging.photographs import read_photograph
from dermseg.inference import segmenter as inference
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import ServiceSettings, Style
from dermseg.web.app import create_app

pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")
"""Oddities in metadata, which the command line silences."""
EXAMPLE = Path(__file__).parents[2] / "examples" / "photographs" / "ISIC_0003582.jpg"
MUTATED_FILES = 60
"""scripts/fuzz_service.py runs thousands."""
JPEG = {"content-type": "image/jpeg"}
MASK = {"accept": "image/png"}


def post(client: TestClient, content: bytes, **options: Any) -> Any:
    headers = {**JPEG, **options.pop("headers", {})}
    return client.post("/v1/segment", content=content, headers=headers, **options)


def is_problem(response: Any, status: int, kind: str | None = None) -> bool:
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = response.json()
    assert problem.keys() == {"type", "title", "status", "detail"}
    assert problem["status"] == response.status_code == status, problem
    assert problem["detail"]
    assert kind is None or problem["type"] == f"urn:dermseg:{kind}"
    return True


class TestSegment:
    def test_every_door_gives_the_same_bytes(self, client: TestClient, tmp_path: Path) -> None:
        assert main(["segment", str(EXAMPLE), "-o", str(tmp_path), "--low", "0.4"]) == 0
        mask = (tmp_path / f"{EXAMPLE.stem}_segmentation.png").read_bytes()
        raw = EXAMPLE.read_bytes()
        options = {"params": {"low": 0.4}, "headers": MASK}
        assert post(client, raw, **options).content == mask
        form = client.post("/v1/segment", files={"photograph": ("a/../b", raw)}, **options)
        assert form.content == mask
        answer = post(client, raw, params={"low": 0.4, "include": "mask"}).json()
        assert base64.b64decode(answer["mask"]) == mask

    def test_numbers_are_those_of_the_library(
        self, client: TestClient, segmenter: Segmenter
    ) -> None:
        answer, lesion = post(client, EXAMPLE.read_bytes()).json(), segmenter.segment(EXAMPLE)
        assert answer["area"] == lesion.area
        assert answer["flags"] == list(lesion.flags)
        assert answer["outline"] == lesion.outline.tolist()
        assert list(answer["bounding_box"].values()) == list(lesion.bounding_box or ())
        assert list(answer["centroid"].values()) == pytest.approx(lesion.centroid)
        assert (answer["perimeter"], answer["diameter"]) == (lesion.perimeter, lesion.diameter)
        assert answer["thresholds"] == {"rule": "complete", "high": 0.8, "low": 0.45}
        assert answer["mask"] is None
        assert answer["report"]["area"] == lesion.area

    @pytest.mark.parametrize("style", ["traced", "semi-automatic"])
    def test_a_style_that_the_network_draws(
        self, client: TestClient, segmenter: Segmenter, style: Style
    ) -> None:
        content = EXAMPLE.read_bytes()
        answer = post(client, content, params={"style": style}).json()
        assert answer["outline"] == segmenter.segment(EXAMPLE, style=style).outline.tolist()
        assert (answer["style"], answer["style_by"]) == (style, "network")
        headers = {"accept": "application/geo+json"}
        feature = post(client, content, params={"style": style}, headers=headers).json()
        assert feature["properties"]["style"] == style

    def test_a_style_that_thresholds_make(self) -> None:
        model = Segmenter("cdnn29", style="semi-automatic")
        with client_of(create_app(model)) as client:
            content = EXAMPLE.read_bytes()
            untold = post(client, content).json()
            traced = post(client, content, params={"style": "traced"}).json()
            higher = post(client, content, params={"style": "traced", "low": 0.3}).json()
        assert (untold["style"], untold["style_by"]) == ("semi-automatic", "thresholds")
        assert untold["thresholds"] == vars(model.thresholds_for("semi-automatic"))
        assert traced["thresholds"] == vars(model.thresholds_for("traced"))
        assert (higher["thresholds"]["low"], higher["style"]) == (0.3, "traced")
        assert traced["area"] > higher["area"] > untold["area"]

    def test_images_are_included_on_demand(self, client: TestClient, segmenter: Segmenter) -> None:
        names = ["probability", "overlay", "picture"]
        answer = post(client, EXAMPLE.read_bytes(), params={"include": names}).json()
        images = {n: Image.open(BytesIO(base64.b64decode(answer[n]))) for n in names}
        assert images["probability"].size == (segmenter.width, segmenter.height)
        shown = np.asarray(images["probability"]) / 255
        assert np.abs(shown - segmenter.segment(EXAMPLE).probability).max() <= 0.5 / 255 + 1e-6
        assert images["picture"].size == (answer["width"], answer["height"])

    @pytest.mark.parametrize(
        ("accept", "kind"),
        [
            ("image/jpeg", "image/jpeg"),
            ("image/*;q=0.5, application/geo+json", "application/geo+json"),
            ("image/svg+xml", "image/svg+xml"),
            ("*/*", "application/json"),
            ("text/html, */*;q=0.1", "application/json"),
            ("application/json;q=0, */*", "image/png"),
        ],
    )
    def test_accept_decides_the_form(self, client: TestClient, accept: str, kind: str) -> None:
        response = post(client, EXAMPLE.read_bytes(), headers={"accept": accept})
        assert (response.status_code, response.headers["content-type"]) == (200, kind)

    def test_the_outline_as_geojson_is_closed(self, client: TestClient) -> None:
        headers = {"accept": "application/geo+json"}
        feature = post(client, EXAMPLE.read_bytes(), headers=headers).json()
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        black = post(client, encoded(Image.new("RGB", (64, 48)), "PNG"), headers=headers).json()
        assert (black["geometry"] is None) == ("empty" in black["properties"]["flags"])

    def test_a_place_chooses_among_candidates(
        self, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        two = np.zeros((96, 128), np.float32)
        two[10:60, 10:60], two[70:90, 100:120] = 0.9, 0.9
        monkeypatch.setattr(inference, "run", lambda *_: two[np.newaxis])
        with client_of(create_app(segmenter)) as client:
            photograph = encoded(picture(960, 1280), "JPEG")
            usual = post(client, photograph).json()
            chosen = post(client, photograph, params={"x": 1100, "y": 800}).json()
        assert usual["bounding_box"]["x"] < 200 < 900 < chosen["bounding_box"]["x"]
        assert chosen["flags"] == ["unlike-training", "several-candidates"]

    def test_a_mask_drawn_by_hand_is_described(self, client: TestClient) -> None:
        drawn: NDArray[np.uint8] = np.zeros((60, 80, 4), np.uint8)
        drawn[..., 3] = 255
        drawn[10:30, 20:50] = 255
        files = {
            "photograph": encoded(picture(), "PNG"),
            "mask": encoded(Image.fromarray(drawn), "PNG"),
        }
        answer = client.post("/v1/segment", files=files).json()
        assert (answer["area"], answer["by_hand"]) == (600, True)
        assert (answer["style"], answer["style_by"]) == (None, None)
        mask = client.post("/v1/segment", files=files, headers=MASK).content
        with Image.open(BytesIO(mask)) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), drawn[..., 0])
        files["mask"] = encoded(picture(9, 9), "PNG")
        assert is_problem(client.post("/v1/segment", files=files), 422)

    def test_pictures_are_measured_as_stored(self, client: TestClient) -> None:
        answer = post(client, good_files()["orientation-6.jpg"]).json()
        assert (answer["height"], answer["width"], answer["orientation"]) == (60, 80, 6)


class TestRefusals:
    def test_the_parameter_is_named(self, client: TestClient) -> None:
        answer = post(client, b"", params={"include": "foo"}).json()
        assert answer["detail"].startswith("include: ")

    @pytest.mark.parametrize(
        ("changes", "status", "kind"),
        [
            ({"params": {"low": 0.9}}, 422, "invalid-settings"),
            ({"params": {"low": "nan"}}, 422, "invalid-settings"),
            ({"params": {"rule": "compleat"}}, 422, "invalid-settings"),
            ({"params": {"style": "automatic"}}, 422, "invalid-settings"),
            ({"params": {"hihg": 0.4}}, 422, "invalid-settings"),
            ({"params": {"x": 3}}, 422, "invalid-settings"),
            ({"params": {"x": 99999, "y": 3}}, 422, "invalid-settings"),
            ({"params": {"x": 3, "y": -1}}, 422, "invalid-settings"),
            ({"params": {"include": "all"}}, 422, "invalid-settings"),
            ({"content": b""}, 422, "no-photograph"),
            ({"content": b"text"}, 422, "unreadable-photograph"),
            ({"headers": {"content-type": "text/html"}}, 415, "unsupported-type"),
            ({"headers": {"accept": "text/html"}}, 406, "no-such-form"),
            ({"headers": {"host": "evil.example"}}, 421, "unknown-host"),
            ({"headers": {"host": "["}}, 421, "unknown-host"),
            ({"headers": {"origin": "http://evil.example"}}, 403, "foreign-origin"),
            ({"headers": {"origin": "null"}}, 403, "foreign-origin"),
            ({"headers": {"origin": "//[:22[\tb]"}}, 403, "foreign-origin"),
            ({"headers": {"content-type": "multipart/form-data"}}, 400, "damaged-form"),
            ({"headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "damaged-form"),
        ],
    )
    def test_each_says_what_was_wrong(
        self, client: TestClient, changes: dict[str, Any], status: int, kind: str
    ) -> None:
        request = {"content": encoded(picture(), "JPEG"), **changes}
        assert is_problem(post(client, request.pop("content"), **request), status, kind)

    @pytest.mark.parametrize("method", ["get", "put", "delete"])
    def test_other_methods(self, client: TestClient, method: str) -> None:
        response = getattr(client, method)("/v1/segment")
        assert is_problem(response, 405)
        assert f"takes POST, not {method.upper()}" in response.json()["detail"]
        assert response.headers["allow"] == "POST"

    def test_other_addresses(self, client: TestClient) -> None:
        for path in ("/v1/nothing", "/static/../service.py", "/static/%2e%2e/service.py", "/redoc"):
            assert is_problem(client.get(path), 404)
            assert "/docs" in client.get(path).json()["detail"]

    def test_a_form_with_other_parts(self, client: TestClient) -> None:
        raw = encoded(picture(), "JPEG")
        for files in (
            [("photo", raw)],
            [("photograph", raw), ("photograph", raw)],
            [("photograph", b"")],
            [("mask", raw)],
        ):
            assert is_problem(client.post("/v1/segment", files=files), 422)
        response = client.post("/v1/segment", files=[("photograph", raw)] * 3)
        assert is_problem(response, 422, "unexpected-part")

    def test_the_page_of_the_service_itself_may_post(self, client: TestClient) -> None:
        headers = {"origin": "http://127.0.0.1"}
        assert post(client, EXAMPLE.read_bytes(), headers=headers).status_code == 200

    def test_bounds(self, segmenter: Segmenter) -> None:
        settings = ServiceSettings(megabytes=1, megapixels=1)
        with client_of(create_app(segmenter, settings)) as client:
            assert is_problem(post(client, b"x" * (2**20 + 1)), 413, "too-large")
            chunks = (b"x" * 2**18 for _ in range(5))
            response = client.post("/v1/segment", content=chunks, headers=JPEG)
            assert is_problem(response, 413, "too-large")
            files = {"photograph": b"x" * (2**20 + 1)}
            assert is_problem(client.post("/v1/segment", files=files), 413, "too-large")
            wide = encoded(Image.new("L", (1001, 1000)), "PNG")
            assert is_problem(post(client, wide), 422, "too-many-pixels")

    def test_more_pixels_than_are_ever_decoded(
        self, client: TestClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
        wide = encoded(Image.new("L", (30, 30)), "PNG")
        assert is_problem(post(client, wide), 422, "too-many-pixels")

    def test_a_bug_is_a_problem_too(
        self, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> None:
            raise RuntimeError("secret")

        monkeypatch.setattr(inference, "run", fail)
        with client_of(create_app(segmenter)) as client:
            response = post(client, EXAMPLE.read_bytes())
            counts = client.get("/metrics").text
        assert is_problem(response, 500, "bug")
        assert "secret" not in response.text
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert 'route="/v1/segment",status="500"} 1.0' in counts

    def test_a_field_in_place_of_a_file_is_named(self, client: TestClient) -> None:
        photograph = {"photograph": ("a.jpg", EXAMPLE.read_bytes())}
        for data, files in (({"photograph": "hello"}, {}), ({"model": "lite0"}, photograph)):
            (name,) = data
            kind = {} if files else {"content-type": "multipart/form-data; boundary=x"}
            form = f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\nhello\r\n--x--\r\n'
            sent: Any = {"data": data, "files": files} if files else {"content": form.encode()}
            response = client.post("/v1/segment", headers=kind, **sent)
            assert is_problem(response, 422, "unexpected-part")
            assert f"no field {name!r} (curl sends a file by -F name=@file)" in response.text

    def test_a_mask_that_is_none_is_named(self, client: TestClient) -> None:
        files = {"photograph": EXAMPLE.read_bytes(), "mask": b"text"}
        response = client.post("/v1/segment", files=files)
        assert is_problem(response, 422, "unreadable-photograph")
        assert "the mask: not an image" in response.text

    def test_an_outline_that_would_fill_the_memory(self, client: TestClient) -> None:
        comb = np.zeros((700, 700), np.uint8)
        comb[:, 0] = comb[::4, ::2] = comb[1::4, 1::2] = 255  # zigzags, a corner at each pixel
        dots = np.zeros((700, 700), np.uint8)
        dots[::2, ::2] = 255  # no outline is long, but there are many
        for drawn in (comb, dots):
            files = {
                "photograph": encoded(picture(700, 700), "JPEG"),
                "mask": encoded(Image.fromarray(drawn), "PNG"),
            }
            response = client.post("/v1/segment", files=files)
            assert is_problem(response, 422, "too-ragged")

    def test_a_side_that_no_mask_can_have(self, client: TestClient) -> None:
        thread = encoded(Image.new("L", (10**6 + 1, 1)), "PNG")
        assert is_problem(post(client, thread, headers=MASK), 422, "too-many-pixels")


class TestHostile:
    def test_good_files_get_a_mask_of_their_own_size(self, client: TestClient) -> None:
        for name, data in good_files().items():
            response = post(client, data, headers=MASK)
            assert response.status_code == 200, name
            with Image.open(BytesIO(data)) as image, Image.open(BytesIO(response.content)) as mask:
                assert (mask.size, mask.mode) == (image.size, "L"), name

    def test_bad_files_get_a_problem(self, client: TestClient) -> None:
        for name, data in bad_files().items():
            assert is_problem(post(client, data), 422), name

    def test_mutated_files_get_a_mask_or_a_problem(self, client: TestClient) -> None:
        forms = ("JPEG", "PNG", "TIFF", "WEBP", "BMP")
        originals = [(form.lower(), encoded(picture(), form)) for form in forms]
        for seed in range(MUTATED_FILES):
            response = post(client, mutated(seed, originals)[1])
            assert response.status_code == 200 or is_problem(response, 422), seed
        assert post(client, EXAMPLE.read_bytes()).status_code == 200

    def test_mutated_forms_get_a_mask_or_a_problem(self, client: TestClient) -> None:
        request = client.build_request(
            "POST", "/v1/segment", files={"photograph": encoded(picture(), "JPEG")}
        )
        original, kind = request.read(), request.headers["content-type"]
        for seed in range(MUTATED_FILES):
            _, data = mutated(seed, [("", original)])
            response = client.post("/v1/segment", content=data, headers={"content-type": kind})
            assert response.status_code == 200 or is_problem(response, response.status_code)
            assert response.status_code in (200, 400, 422), seed

    def test_other_formats_that_pillow_knows_are_refused(self, client: TestClient) -> None:
        gif, eps = encoded(picture(), "GIF"), encoded(picture(), "EPS")
        for data in (gif, eps):
            assert is_problem(post(client, data), 422, "unreadable-photograph")


class TestTheRest:
    def test_models(self, client: TestClient, segmenter: Segmenter) -> None:
        (model,) = client.get("/v1/models").json()
        assert (model["name"], model["height"]) == (segmenter.name, segmenter.height)
        assert model["card"] == json.loads(json.dumps(segmenter.card.to_dict()))

    def test_health(self, client: TestClient) -> None:
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").json() == {"status": "ready"}

    def test_metrics_count_without_names(self, client: TestClient) -> None:
        client.get("/secret-patient.jpg")
        files = {"photograph": ("secret-patient.jpg", EXAMPLE.read_bytes())}
        client.post("/v1/segment", files=files)
        text = client.get("/metrics").text
        assert 'dermseg_requests_total{method="POST",route="/v1/segment",status="200"}' in text
        assert 'route="other",status="404"' in text
        assert "secret" not in text

    def test_browsers_are_told_to_stay_inside(self, client: TestClient) -> None:
        for path in ("/", "/v1/models", "/nothing"):
            headers = client.get(path).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert "access-control-allow-origin" not in headers

    def test_origins_are_let_in_when_asked_for(self, segmenter: Segmenter) -> None:
        settings = ServiceSettings(allowed_origins=("https://app.example",))
        with client_of(create_app(segmenter, settings)) as client:
            headers = {"origin": "https://app.example"}
            response = post(client, EXAMPLE.read_bytes(), headers=headers)
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == "https://app.example"


class TestHowSure:
    def test_a_model_that_says_so(self, calibrated: Path) -> None:
        known = Segmenter(calibrated)
        content, found = EXAMPLE.read_bytes(), known.segment(EXAMPLE)
        assert found.confidence is not None
        assert found.band is not None
        with client_of(create_app(known)) as client:
            said = client.post("/v1/segment", content=content).json()
            overlay = client.post(
                "/v1/segment", content=content, headers={"Accept": "image/jpeg"}
            ).content
            lower = client.post("/v1/segment?low=0.4", content=content).json()
        assert said["confidence"] == {
            "jaccard": found.confidence.jaccard,
            "low": found.confidence.low,
            "high": found.confidence.high,
        }
        (outer,) = said["band"]["outer"]
        np.testing.assert_allclose(outer, found.band.outer[0], atol=0.051)
        drawn = draw_overlay(read_photograph(EXAMPLE), found.outline, found.band_contours)
        assert overlay == encode_image(drawn, "JPEG")
        assert (lower["confidence"], lower["band"] is None) == (None, False)

    def test_one_that_does_not(self, uncalibrated: Path) -> None:
        with client_of(create_app(Segmenter(uncalibrated))) as client:
            said = client.post("/v1/segment", content=EXAMPLE.read_bytes()).json()
        assert (said["confidence"], said["band"]) == (None, None)


class TestDicom:
    def test_a_dicom_file_is_a_photograph(self, client: TestClient) -> None:
        made = pytest.importorskip("dicom_files").encapsulated(EXAMPLE.read_bytes())
        expected = post(client, EXAMPLE.read_bytes(), headers=MASK).content
        for kind in ("application/dicom", "image/jpeg"):
            found = post(client, made.content, headers={"content-type": kind, **MASK})
            assert found.content == expected
        answer = post(client, made.content, params={"include": ["picture", "overlay"]}).json()
        assert answer["picture"]
        assert answer["overlay"]

    def test_its_pixels_are_bounded_before_they_are_decoded(self, segmenter: Segmenter) -> None:
        made = pytest.importorskip("dicom_files").FORMS["rle"](EXAMPLE.read_bytes())
        with client_of(create_app(segmenter, ServiceSettings(megapixels=1))) as client:
            assert post(client, made.content).status_code == 200
        damaged = made.content.replace(
            b"\x28\x00\x10\x00US\x02\x00\x00\x02", b"\x28\x00\x10\x00US\x02\x00\x00\xff"
        )
        assert damaged != made.content
        with client_of(create_app(segmenter, ServiceSettings(megapixels=1))) as client:
            assert is_problem(post(client, damaged), 422, "too-many-pixels")

    def test_its_segmentation_is_one_of_the_forms(self, client: TestClient) -> None:
        made = pytest.importorskip("dicom_files").encapsulated(EXAMPLE.read_bytes(), spacing=0.02)
        highdicom = pytest.importorskip("highdicom")
        wanted = {"accept": "application/dicom"}
        response = post(client, made.content, headers=wanted)
        assert response.headers["content-type"] == "application/dicom"
        found = highdicom.seg.segread(BytesIO(response.content))
        mask = post(client, made.content, headers=MASK).content
        expected = np.asarray(Image.open(BytesIO(mask))) > 0
        np.testing.assert_array_equal(found.pixel_array.reshape(expected.shape) > 0, expected)
        drawn = {"photograph": ("a", made.content), "mask": ("b", mask)}
        by_hand = client.post("/v1/segment", files=drawn, headers=wanted)
        (segment,) = highdicom.seg.segread(BytesIO(by_hand.content)).SegmentSequence
        assert segment.SegmentAlgorithmType == "MANUAL"
        assert is_problem(post(client, EXAMPLE.read_bytes(), headers=wanted), 422)
        assert post(client, made.content).json()["report"]["pixels_per_mm"] == 50
