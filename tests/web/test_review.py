import asyncio
import json
import os
import shutil
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from threading import Event, Thread
from typing import get_args
from zipfile import ZipFile

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hostile import encoded, picture
from local_service import client_of, listening
from numpy.typing import NDArray
from PIL import Image

from dermseg.batch.jobs import Job, find_jobs
from dermseg.batch.run import segment_all
from dermseg.cli.main import main
from dermseg.errors import DataError, UsageError
from dermseg.formats.conversion import FORMS
from dermseg.imaging.mask_files import read_mask, write_mask
from dermseg.imaging.photographs import read_photograph
from dermseg.imaging.png import encode_mask
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import ServiceSettings, Style
from dermseg.storage.decisions import COLUMNS, Reader, digest_of
from dermseg.storage.files import occupied
from dermseg.storage.tables import write_table
from dermseg.web import responses
from dermseg.web.app import create_app
from dermseg.web.review.export import archive
from dermseg.web.review.items import Remark, unsure_share
from dermseg.web.review.queue import Review

HEAD = ",".join(COLUMNS) + "\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, segmenter: Segmenter) -> Path:
    """Return a folder with photographs and the model's masks; tests have copies."""
    folder = tmp_path_factory.mktemp("made") / "photographs"
    folder.mkdir()
    for name in ("=a.jpg", "b.png", "c.tif"):
        (folder / name).write_bytes(
            encoded(picture(), {"j": "JPEG", "p": "PNG"}.get(name[-3], "TIFF"))
        )
    segment_all(find_jobs([folder]), segmenter, folder.with_name("masks"))
    return folder.parent


@pytest.fixture
def jobs(made: Path, tmp_path: Path) -> list[Job]:
    return find_jobs([Path(shutil.copytree(made / "photographs", tmp_path / "photographs"))])


@pytest.fixture
def masks(made: Path, tmp_path: Path, jobs: list[Job]) -> Path:
    return Path(shutil.copytree(made / "masks", tmp_path / "masks"))


@pytest.fixture
def client(jobs: list[Job], masks: Path, segmenter: Segmenter) -> TestClient:
    return client_of(create_app(segmenter, review=Review.load(jobs, masks, segmenter)))


def test_the_queue_and_its_pictures(client: TestClient) -> None:
    items = client.get("/v1/review").json()["items"]
    assert sorted(item["name"] for item in items) == ["=a.jpg", "b.png", "c.tif"]
    for item in items:
        address = f"/v1/review/{item['number']}"
        shown = client.get(address).json()
        assert (shown["height"], shown["width"]) == (60, 80)
        assert client.get(f"{address}/photograph").content.startswith(b"\xff\xd8")
        assert client.get(f"{address}/mask").content.startswith(b"\x89PNG")
    assert client.get("/v1/review/3").status_code == 404
    assert client.get("/v1/review/-1").status_code == 404
    assert client.get("/v1/review/x").status_code == 422


def test_decisions_are_kept_taken_back_and_gone_on_with(
    client: TestClient, jobs: list[Job], masks: Path, segmenter: Segmenter
) -> None:
    for decision in ("accepted", "rejected", "", "accepted"):
        answer = client.put("/v1/review/0", json={"decision": decision})
        assert answer.json()["decision"] == decision
        again = Review.load(jobs, masks, segmenter)
        assert again.items[0].decision == decision
    assert client.put("/v1/review/0", json={"decision": "melanoma"}).status_code == 422


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
@pytest.mark.parametrize("name", [b"l\xe9sion.png", b"a;\xff=b.jpg", b"\xed\xa0\x80.png"])
def test_a_name_that_is_not_unicode(tmp_path: Path, segmenter: Segmenter, name: bytes) -> None:
    folder, output = tmp_path / "photographs", tmp_path / "masks"
    folder.mkdir()
    path = folder / os.fsdecode(name)
    path.write_bytes(encoded(picture(), "PNG" if name.endswith(b"png") else "JPEG"))
    jobs = find_jobs([folder])
    assert not segment_all(jobs, segmenter, output)[0].error
    client = client_of(create_app(segmenter, review=Review.load(jobs, output, segmenter)))
    answer = client.get("/v1/review")
    assert answer.status_code == 200
    assert len(answer.json()["items"]) == 1
    assert client.put("/v1/review/0", json={"decision": "accepted"}).status_code == 200
    assert name in (output / "decisions.csv").read_bytes()
    assert Review.load(jobs, output, segmenter).items[0].decision == "accepted"


def test_who_decided_why_and_how_long_it_took(
    client: TestClient, jobs: list[Job], masks: Path, segmenter: Segmenter
) -> None:
    first = {"reviewer": "=Ä. B.", "note": "hair; see 3", "seconds": 4.25}
    entry = client.put("/v1/review/0", json={"decision": "accepted", **first}).json()
    assert {name: entry[name] for name in first} == first
    second = {"reviewer": "C", "note": "", "seconds": 1.5}
    client.put("/v1/review/1", json={"decision": "rejected", **first})
    client.put("/v1/review/1", json={"decision": "accepted", **second})
    client.put("/v1/review/1", json={"decision": "rejected"})  # which says nothing of who or why
    drawn = encoded(Image.fromarray(np.full((60, 80), 255, np.uint8)), "PNG")
    client.put("/v1/review/2/mask", content=drawn)
    kept = client.put("/v1/review/2", json={"decision": "accepted", **second}).json()
    assert (kept["decision"], kept["reviewer"], kept["seconds"]) == ("corrected", "C", 1.5)
    again = Review.load(jobs, masks, segmenter).items
    assert again[0].remark == Remark("=Ä. B.", "hair; see 3", 4.2)
    assert again[1].remark == Remark("C", "", 5.8)
    assert (again[2].decision, again[2].remark) == ("corrected", Remark("C", "", 1.5))
    for wrong in ({"seconds": -1}, {"note": "x" * 501}, {"reviewer": 3}):
        answer = client.put("/v1/review/0", json={"decision": "accepted", **wrong})
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(next(iter(wrong)))


def test_a_correction_leaves_the_models_mask_alone(client: TestClient, masks: Path) -> None:
    name = client.get("/v1/review").json()["items"][1]["name"]
    path = masks / f"{Path(name).stem}_segmentation.png"
    before, drawn = path.read_bytes(), np.zeros((60, 80), np.uint8)
    drawn[5:9, 5:9] = 255
    sent = encoded(Image.fromarray(drawn), "PNG")
    assert client.put("/v1/review/1/mask", content=sent).json()["decision"] == "corrected"
    assert path.read_bytes() == before
    corrected = read_mask(masks.with_name("masks-corrected") / path.name)
    np.testing.assert_array_equal(corrected, drawn)
    assert client.get("/v1/review/1/mask").content != before
    wrong = encoded(picture(9, 9), "PNG")
    assert client.put("/v1/review/1/mask", content=wrong).status_code == 422


def test_the_model_s_mask_in_either_style(client: TestClient, segmenter: Segmenter) -> None:
    name = client.get("/v1/review").json()["items"][0]["name"]
    photograph = next(
        item.job.photograph
        for item in client.app.state.service.review.items  # type: ignore[attr-defined]
        if item.job.name.as_posix() == name
    )
    for style in get_args(Style):
        made = client.get(f"/v1/review/0/mask?style={style}").content
        assert made == encode_mask(segmenter.segment(photograph, style=style).mask)
    assert client.get("/v1/review/0/mask?style=bold").status_code == 422


def test_a_decision_about_another_mask_holds_no_longer(
    client: TestClient, jobs: list[Job], masks: Path, segmenter: Segmenter
) -> None:
    names = [item["name"] for item in client.get("/v1/review").json()["items"]]
    client.put("/v1/review/0", json={"decision": "accepted"})
    client.put("/v1/review/1", json={"decision": "rejected"})
    drawn = encoded(Image.fromarray(np.full((60, 80), 255, np.uint8)), "PNG")
    client.put("/v1/review/2/mask", content=drawn)
    for name in (names[0], names[2]):
        path = masks / f"{Path(name).stem}_segmentation.png"
        path.write_bytes(encoded(Image.fromarray(255 - read_mask(path)), "PNG"))
    again = Review.load(jobs, masks, segmenter)
    decisions = {item.job.name.as_posix(): item.decision for item in again.items}
    assert decisions == {names[0]: "", names[1]: "rejected", names[2]: "corrected"}
    assert again.reopened == 1
    assert Review.load(jobs, masks, segmenter).reopened == 0, "which was said once"


def test_how_sure_a_mask_is_comes_from_the_run_that_made_it(
    jobs: list[Job], tmp_path: Path, calibrated: Path, uncalibrated: Path
) -> None:
    known, silent = Segmenter(calibrated), Segmenter(uncalibrated)
    results = segment_all(jobs, known, tmp_path / "masks")
    review = Review.load(jobs, tmp_path / "masks", silent)  # whichever model the service has
    predicted = {result.job.name: result.row["predicted_jaccard"] for result in results}
    for item in review.items:
        assert item.predicted is not None
        assert item.predicted.jaccard == predicted[item.job.name]
    worth = [item.predicted.jaccard for item in review.items if item.predicted]
    assert worth == sorted(worth)
    shown = client_of(create_app(known, review=review)).get("/v1/review/0").json()
    assert shown["band"].keys() == {"inner", "outer"}
    review.decide(0, "accepted")
    again = Review.load(jobs, tmp_path / "masks", known)
    assert [item for item in again.items if item.decision] == [review.items[0]]
    assert [item.predicted for item in again.items] == [item.predicted for item in review.items]


def test_nothing_is_said_of_how_sure_a_model_is_of_another_s_mask(
    jobs: list[Job], tmp_path: Path, calibrated: Path, uncalibrated: Path
) -> None:
    masks = tmp_path / "masks"
    segment_all(jobs, Segmenter(uncalibrated), masks)
    path = masks / jobs[1].mask
    corner = np.zeros_like(read_mask(path))
    corner[:9, :9] = corner[-5:, -5:] = 255
    Image.fromarray(corner).save(path)
    review = Review.load(jobs, masks, Segmenter(calibrated))
    item = next(item for item in review.items if item.job == jobs[1])
    assert item.predicted is None
    assert item.flags.split() == ["touches-border", "several-candidates"]
    number = review.items.index(item)
    client = client_of(create_app(Segmenter(calibrated), review=review))
    assert client.get(f"/v1/review/{number}").json()["band"] is None
    # The others are what this model makes too, and so it may say how sure it is.
    assert all(other.predicted for other in review.items if other != item)


def test_readers_decide_apart_and_are_compared(
    jobs: list[Job], masks: Path, segmenter: Segmenter
) -> None:
    drawn = np.zeros((60, 80), np.bool_)
    drawn[5:25, 5:25] = True
    for reader in ("", "bo"):
        review = Review.load(jobs, masks, segmenter, reader)
        assert [item.decision for item in review.items] == ["", "", ""]
        client = client_of(create_app(segmenter, review=review))
        assert client.get("/v1/settings").json()["reader"] == reader
        assert client.get("/v1/review/accepted").status_code == 409
        client.put("/v1/review/0", json={"decision": "rejected"})
        drawn[5:15, 5:15] = not reader
        client.put("/v1/review/1/mask", content=encode_mask(drawn))
    (found,) = client.get("/v1/review/agreement").json()
    assert (found["second"], found["decided"], found["alike"]) == ("bo", 2, 2)
    assert (found["compared"], found["jaccard"]) == (1, 0.75)
    path = review.mask_path(review.items[1])
    assert path.parent.name == "masks-corrected-bo"
    assert (read_mask(path) > 0).sum() == 300
    assert (read_mask(masks.with_name("masks-corrected") / path.name) > 0).sum() == 400
    assert (masks / "decisions-bo.csv").is_file()


def test_what_was_accepted_is_exported(
    client: TestClient, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert client.get("/v1/review/accepted").json()["type"] == "urn:dermseg:nothing-accepted"
    names = [item["name"] for item in client.get("/v1/review").json()["items"]]
    client.put("/v1/review/0", json={"decision": "accepted"})
    client.put("/v1/review/1", json={"decision": "rejected"})
    drawn = np.zeros((60, 80), np.bool_)
    drawn[5:25, 5:25] = True
    client.put("/v1/review/2/mask", content=encode_mask(drawn))
    stems = {number: Path(names[number]).stem for number in (0, 2)}
    packed = client.get("/v1/review/accepted")
    assert packed.headers["content-disposition"].endswith('"accepted-masks.zip"')
    with ZipFile(BytesIO(packed.content)) as archive:
        assert sorted(archive.namelist()) == sorted(
            f"{stem}_segmentation.png" for stem in stems.values()
        )
        assert archive.read(f"{stems[2]}_segmentation.png") == encode_mask(drawn)
    for form in FORMS:
        packed = client.get("/v1/review/accepted", params={"form": form})
        assert not {"failed.txt"} & set(ZipFile(BytesIO(packed.content)).namelist()), form
    assert client.get("/v1/review/accepted?form=dicom-seg").status_code == 422
    coco = tmp_path / "accepted.json"
    command = ["convert", str(masks), "--accepted", "--to", "coco", "-o"]
    assert main([*command, str(coco)]) == 0
    with ZipFile(BytesIO(client.get("/v1/review/accepted?form=coco").content)) as archive:
        assert archive.read("accepted.json") == coco.read_bytes()
    assert sorted(image["file_name"] for image in json.loads(coco.read_text())["images"]) == sorted(
        [names[0], names[2]]
    )
    # A mask that was made again since is not what was accepted.
    write_mask(masks / f"{stems[0]}_segmentation.png", drawn)
    assert main([*command, str(tmp_path / "again.json")]) == 1
    assert "review it again" in capsys.readouterr().err
    assert main([*command, str(tmp_path / "other.json"), "--reader", "bo"]) == 2
    assert main(["convert", str(masks), "-o", "x", "--to", "masks", "--reader", "bo"]) == 2


def test_decisions_about_other_photographs_stay(
    client: TestClient, jobs: list[Job], masks: Path, segmenter: Segmenter
) -> None:
    for number in range(3):
        client.put(f"/v1/review/{number}", json={"decision": "accepted"})
    for some in (jobs[:1], jobs[1:2]):
        assert len(Review.load(some, masks, segmenter).items) == 1
    again = Review.load(jobs, masks, segmenter)
    assert [item.decision for item in again.items] == ["accepted"] * 3


def test_a_decision_outlives_a_mask_that_cannot_be_read_for_a_while(
    client: TestClient, jobs: list[Job], masks: Path, segmenter: Segmenter
) -> None:
    for number in range(3):
        client.put(f"/v1/review/{number}", json={"decision": "accepted"})
    whole = (masks / jobs[1].mask).read_bytes()
    (masks / jobs[1].mask).write_bytes(whole[:40])
    assert len(Review.load(jobs, masks, segmenter).items) == 2
    (masks / jobs[1].mask).write_bytes(whole)
    again = Review.load(jobs, masks, segmenter)
    assert [item.decision for item in again.items] == ["accepted"] * 3


def test_a_correction_is_kept_by_accepting_it_and_thrown_away_by_name(
    client: TestClient, masks: Path
) -> None:
    drawn = encoded(Image.fromarray(np.full((60, 80), 255, np.uint8)), "PNG")
    model = client.get("/v1/review/0/mask").content
    client.put("/v1/review/0/mask", content=drawn)
    corrected = client.get("/v1/review/0/mask").content
    assert corrected != model
    answer = client.put("/v1/review/0", json={"decision": "accepted"})
    assert answer.json()["decision"] == "corrected"
    assert client.get("/v1/review/0/mask").content == corrected
    assert (
        client.put("/v1/review/0", json={"decision": "rejected"}).json()["decision"] == "rejected"
    )
    assert client.get("/v1/review/0/mask").content == model
    assert not list(masks.with_name("masks-corrected").glob("*.png"))


def test_a_correction_and_a_decision_at_once_agree_with_the_file(
    jobs: list[Job], masks: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = Review.load(jobs, masks, segmenter)
    drawn = encoded(Image.fromarray(np.full((60, 80), 255, np.uint8)), "PNG")
    review.correct(0, drawn)
    writing, go_on = Event(), Event()

    def slowly(path: Path, mask: NDArray[np.bool_]) -> None:
        write_mask(path, mask)
        writing.set()
        go_on.wait(5)

    monkeypatch.setattr("dermseg.web.review.queue.write_mask", slowly)
    with ThreadPoolExecutor(2) as pool:
        corrected = pool.submit(review.correct, 0, drawn)
        assert writing.wait(5)
        rejected = pool.submit(review.decide, 0, "rejected")
        go_on.set()
        corrected.result()
        rejected.result()
    item = review.items[0]
    assert item.decision == "rejected"
    assert not (review.corrected / item.job.mask).exists()


def test_only_what_was_seen_is_decided_about(client: TestClient) -> None:
    seen = client.get("/v1/review").json()["items"]
    drawn = encoded(Image.fromarray(np.full((60, 80), 255, np.uint8)), "PNG")

    def send(number: int, version: str, content: bytes | None = None) -> int:
        headers, address = {"If-Match": f'"{version}"'}, f"/v1/review/{number}"
        if content is None:
            rejected = {"decision": "rejected"}
            return client.put(address, json=rejected, headers=headers).status_code
        return client.put(f"{address}/mask", content=content, headers=headers).status_code

    assert send(0, seen[1]["version"]) == 412
    assert send(0, seen[1]["version"], drawn) == 412
    assert client.get("/v1/review").json()["items"] == seen
    assert send(0, seen[0]["version"], drawn) == 200
    answer = client.put(
        "/v1/review/0", json={"decision": "rejected"}, headers={"If-Match": seen[0]["version"]}
    )
    assert (answer.status_code, answer.json()["type"]) == (412, "urn:dermseg:changed-meanwhile")
    corrected = client.get("/v1/review").json()["items"][0]
    assert corrected["decision"] == "corrected"
    assert send(0, corrected["version"]) == 200
    assert send(0, "*") == 412
    assert client.put("/v1/review/0", json={"decision": ""}, headers={"If-Match": "*"}).is_success


def test_a_table_that_a_spreadsheet_has_saved(
    client: TestClient, jobs: list[Job], masks: Path, segmenter: Segmenter
) -> None:
    client.put("/v1/review/0", json={"decision": "accepted"})
    table = masks / "decisions.csv"
    table.write_text(table.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert Review.load(jobs, masks, segmenter).items[0].decision == "accepted"


def test_a_decision_is_kept_though_the_page_is_closed(
    jobs: list[Job], masks: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = Review.load(jobs, masks, segmenter)
    app = create_app(segmenter, ServiceSettings(workers=1), review)
    begun, go_on = Event(), Event()

    def occupy() -> None:
        """Keep the only worker busy."""
        with app.state.service.places.take() as place:
            asyncio.run(place.run(lambda: (begun.set(), go_on.wait(20))))

    with listening(app) as address:
        Thread(target=occupy).start()
        assert begun.wait(5)
        host, port = address.removeprefix("http://").rstrip("/").split(":")
        body = b'{"decision": "accepted"}'
        head = f"PUT /v1/review/0 HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((host, int(port))) as client:
            client.sendall(head.encode() + body)
        for _ in range(100):
            if review.items[0].decision:
                break
            time.sleep(0.05)
        go_on.set()
    assert review.items[0].decision == "accepted"


def test_a_corrected_mask_that_is_gone(
    client: TestClient, jobs: list[Job], masks: Path, segmenter: Segmenter
) -> None:
    drawn = encoded(Image.fromarray(np.full((60, 80), 255, np.uint8)), "PNG")
    client.put("/v1/review/0/mask", content=drawn)
    for path in masks.with_name("masks-corrected").glob("*.png"):
        path.unlink()
    for address in ("/v1/review/0", "/v1/review/0/mask"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert str(masks) not in answer.text
    again = Review.load(jobs, masks, segmenter)
    assert (again.items[0].decision, again.reopened) == ("", 1)


def test_a_decision_is_bounded(client: TestClient) -> None:
    large = {"decision": "accepted", "more": "x" * 5000}
    assert client.put("/v1/review/0", json=large).status_code == 413
    answer = client.put("/v1/review/0", content=b"nonsense")
    assert answer.status_code == 422
    assert "'rejected'" in answer.json()["detail"]


def test_one_review_of_a_folder_at_a_time(
    jobs: list[Job], masks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with occupied(masks):
        assert main(["serve", "--review", str(masks), str(jobs[0].photograph.parent)]) == 2
    assert "another process is working here" in capsys.readouterr().err
    assert not (masks / "decisions.csv").exists()
    gone = str(masks / "gone")
    assert main(["serve", "--review", gone, str(jobs[0].photograph.parent)]) == 2
    assert "no such folder of masks" in capsys.readouterr().err


def test_opening_says_what_is_looked_at_again_and_what_is_not_shown(
    jobs: list[Job], masks: Path, segmenter: Segmenter, capsys: pytest.CaptureFixture[str]
) -> None:
    Review.load(jobs, masks, segmenter).decide(0, "accepted")
    photographs = [jobs[0].photograph.parent]
    with Review.open(photographs, masks, segmenter) as review:
        decided, *others = (item.job for item in review.items)
        with pytest.raises(UsageError, match="another process"), occupied(masks):
            pass
    assert capsys.readouterr().err == ""
    path = masks / decided.mask
    path.write_bytes(encoded(Image.fromarray(255 - read_mask(path)), "PNG"))
    (masks / others[0].mask).unlink()
    with Review.open(photographs, masks, segmenter) as review:
        assert len(review.items) == 2
    said = capsys.readouterr().err
    assert "1 decision about masks that have changed since: look again" in said
    assert "1 photograph without a mask that can be read: not shown" in said
    with occupied(masks):
        pass


def test_pages_elsewhere_decide_nothing(client: TestClient) -> None:
    headers = {"origin": "http://evil.example"}
    answer = client.put("/v1/review/0", json={"decision": "accepted"}, headers=headers)
    assert answer.status_code == 403


def test_a_photograph_without_a_mask(jobs: list[Job], masks: Path, segmenter: Segmenter) -> None:
    (masks / jobs[1].mask).unlink()
    damaged = (masks / jobs[2].mask).read_bytes()[:40]
    (masks / jobs[2].mask).write_bytes(damaged)
    review = Review.load(jobs, masks, segmenter)
    assert (len(review.items), review.without) == (1, 2)
    with pytest.raises(UsageError, match="segment first"):
        Review.load([jobs[1]], masks, segmenter)


def test_the_frame_that_was_segmented_is_shown(tmp_path: Path, segmenter: Segmenter) -> None:
    from dicom_files import second_frame  # which is skipped without the extra

    made, masks = second_frame(encoded(picture(), "JPEG")), tmp_path / "masks"
    (photograph := tmp_path / "two.dcm").write_bytes(made.content)
    segment_all([replace(job, frame=2) for job in find_jobs([photograph])], segmenter, masks)
    review = Review.load(find_jobs([photograph]), masks, segmenter)
    client = client_of(create_app(segmenter, review=review))
    assert client.get("/v1/review/0").status_code == 200
    shown = client.get("/v1/review/0/photograph").content
    assert np.array_equal(
        read_photograph(BytesIO(shown)).pixels,
        read_photograph(BytesIO(responses.picture(BytesIO(made.image)))).pixels,
    )
    again = client.get("/v1/review/0/mask?style=traced").content
    assert again == (masks / "two_segmentation.png").read_bytes()


@pytest.mark.parametrize(
    "table",
    [
        "a,b\n1,2\n",
        f"{HEAD}b.png,b,0,,,,,0.5,perhaps,,,\n",
        f"{HEAD}b.png,b,0,,,,,much,,,,\n",
        f"{HEAD}b.png,b,0,,high,,,0.5,,,,\n",
        f"{HEAD}b.png,b,0,,,,,0.5,accepted,me,,long\n",
    ],
)
def test_a_damaged_table_of_decisions_is_not_written_over(
    jobs: list[Job], masks: Path, segmenter: Segmenter, table: str
) -> None:
    (masks / "decisions.csv").write_text(table)
    with pytest.raises(DataError, match=r"decisions\.csv"):
        Review.load(jobs, masks, segmenter)
    assert (masks / "decisions.csv").read_text() == table


def test_how_unsure() -> None:
    probability = np.array([[0, 0.1, 0.3, 0.9]], np.float32)
    assert unsure_share(probability) == 0.5
    assert unsure_share(np.zeros((2, 2), np.float32)) == 1


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
def test_a_name_that_is_no_utf_8_is_exported(tmp_path: Path) -> None:
    path = tmp_path / "l\udce9_segmentation.png"
    path.write_bytes(encode_mask(np.ones((2, 2), np.bool_)))
    row = {"photograph": "l\udce9.jpg", "mask": path.name, "decision": "accepted"}
    row = {**dict.fromkeys(COLUMNS, ""), **row, "digest": digest_of(path)}
    write_table(tmp_path / "decisions.csv", COLUMNS, [row])
    with ZipFile(BytesIO(archive(Reader(tmp_path), "masks"))) as packed:
        assert packed.namelist() == ["l_udce9_segmentation.png"]
