import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from round_trips import annotations, hard_masks

from dermseg.errors import DataError, UsageError
from dermseg.formats import elements
from dermseg.formats.annotation import Annotation, Photographs
from dermseg.formats.conversion import (
    FORMS,
    Reading,
    convert,
    frame_told,
    read_all,
)
from dermseg.formats.masks import write as write_masks
from dermseg.formats.recognition import recognise
from dermseg.imaging.orientation import as_filed, upright
from dermseg.imaging.png import encode_mask
from dermseg.settings import Form, OutlineSettings

ALL: tuple[Form, ...] = get_args(Form)
WRITING = OutlineSettings()


def written(folder: Path, names: tuple[str, ...] = ()) -> Path:
    """Write the hard masks, or some, and return their folder."""
    masks = hard_masks()
    write_masks(annotations({n: masks[n] for n in names or masks}), folder / "masks", WRITING)
    return folder / "masks"


def photographed(folder: Path, orientation: int = 1) -> Photographs:
    """Write a photograph for each hard mask, and return their folder."""
    exif = Image.Exif()
    exif[274] = orientation
    (folder / "photographs").mkdir()
    for name in hard_masks():
        Image.new("RGB", (30, 24)).save(folder / "photographs" / f"{name}.JPEG", exif=exif)
    return Photographs(folder / "photographs")


def target_of(form: Form, folder: Path, name: str = "out") -> Path:
    return folder / f"{name}{FORMS[form].FILE}"


@pytest.mark.parametrize("rle", [False, True])
@pytest.mark.parametrize("orientation", [1, 6, 7])
@pytest.mark.parametrize("form", ALL)
def test_every_form_gives_back_every_mask_to_the_byte(
    tmp_path: Path, form: Form, orientation: int, rle: bool
) -> None:
    source, photographs = written(tmp_path), photographed(tmp_path, orientation)
    there, back = target_of(form, tmp_path), tmp_path / "back"
    done = convert(Reading(source, photographs=photographs), there, form, OutlineSettings(rle=rle))
    assert (done.written, done.failures, done.lost) == (8, [], {})
    assert recognise(there) == form
    done = convert(Reading(there, photographs=photographs), back, "masks", WRITING)
    assert (done.written, done.failures) == (8, [])
    for path in source.rglob("*.png"):
        assert (back / path.relative_to(source)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("rle", [False, True])
@pytest.mark.parametrize("form", [form for form in ALL if FORMS[form].FILE])
def test_a_file_of_many_photographs_is_never_whole_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Form, rle: bool
) -> None:
    monkeypatch.setattr(elements, "CHUNK", 1 << 12)
    side = 32 if form == "label-studio" else 128  # whose brush strokes are four times as long
    mask = np.random.default_rng(0).random((side, side)) < 0.5
    if not rle:
        mask = np.zeros((4, 1000), np.bool_)
        mask[0] = mask[:, ::2] = True  # a comb: one piece with many corners
    target = target_of(form, tmp_path)

    def peak_and_size(count: int) -> NDArray[np.int64]:
        many = (Annotation(f"{number}.jpg", mask) for number in range(count))
        tracemalloc.start()
        try:
            FORMS[form].write(many, target, OutlineSettings(rle=rle))
            entries = FORMS[form].read(target, Photographs(), None)
            assert sum(np.array_equal(entry.load().mask, mask) for entry in entries) == count
            return np.array([tracemalloc.get_traced_memory()[1], target.stat().st_size])
        finally:
            tracemalloc.stop()

    more_memory, larger = peak_and_size(60) - peak_and_size(20)
    assert more_memory < larger / 2


@pytest.mark.parametrize("form", ALL)
def test_what_is_written_does_not_change_from_run_to_run(tmp_path: Path, form: Form) -> None:
    source = written(tmp_path)
    photographs = photographed(tmp_path)
    for name in ("one", "two"):
        reading = Reading(source, photographs=photographs)
        convert(reading, target_of(form, tmp_path, name), form, WRITING)
    one, two = (
        sorted(
            p for p in [target_of(form, tmp_path, n), *tmp_path.glob(f"{n}/**/*")] if p.is_file()
        )
        for n in ("one", "two")
    )
    assert one
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_back_undoes_turning_upright(orientation: int) -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert np.array_equal(as_filed(upright(pixels, orientation), orientation), pixels)


def test_what_is_lost_is_told_in_pixels(tmp_path: Path) -> None:
    source = Reading(written(tmp_path))
    masks = hard_masks()
    done = convert(source, tmp_path / "a.json", "coco", OutlineSettings(one="largest"))
    assert done.lost["folder/pieces.jpg"] == 7 * 6
    assert "folder/hole.jpg" not in done.lost
    back = {Path(e.photograph).stem: e.load().mask for e in read_all(Reading(tmp_path / "a.json"))}
    for name, mask in masks.items():
        lost = done.lost.get(f"folder/{name}.jpg", 0)
        assert np.count_nonzero(back[name] != mask) == lost
    joined = convert(source, tmp_path / "b.json", "coco", OutlineSettings(one="union"))
    assert joined.lost == {}
    outlines = json.loads((tmp_path / "b.json").read_text())["annotations"]
    assert {len(each["segmentation"]) for each in outlines} == {1}
    rough = convert(source, tmp_path / "c.json", "coco", OutlineSettings(tolerance=2))
    assert rough.lost


def test_a_bad_outline_costs_itself(tmp_path: Path) -> None:
    source = written(tmp_path, ("hole",))
    (source / "bad.png").write_bytes(b"no mask")
    done = convert(Reading(source), tmp_path / "a.json", "coco", WRITING)
    assert done.written == 1
    assert len(done.failures) == 1
    assert "bad.png" in done.failures[0]


def test_a_photograph_of_another_size_is_named(tmp_path: Path) -> None:
    photographs = photographed(tmp_path)
    Image.new("RGB", (24, 30)).save(tmp_path / "photographs/hole.JPEG")
    source = written(tmp_path, ("hole", "line"))
    done = convert(Reading(source, photographs=photographs), tmp_path / "a.json", "coco", WRITING)
    assert done.written == 1
    assert "hole.JPEG: 30 x 24, but its outline is of 24 x 30" in done.failures[0]


def test_photographs_are_there_and_of_one_name(tmp_path: Path) -> None:
    photographs = photographed(tmp_path)
    Image.new("RGB", (30, 24)).save(tmp_path / "photographs/hole.png")
    again = Photographs(photographs.folder)
    with pytest.raises(DataError, match="several photographs"):
        again.find("x/hole.jpg")
    assert again.find("x/hole.png") == tmp_path / "photographs/hole.png"
    with pytest.raises(DataError, match="no photograph"):
        again.find("mole.jpg")
    with pytest.raises(DataError, match="no such folder"):
        Photographs(tmp_path / "nowhere")


@pytest.mark.parametrize("form", ["geojson", "labelme", "masks", "yolo"])
def test_a_suffix_may_be_in_capitals_and_a_hidden_file_is_none(tmp_path: Path, form: Form) -> None:
    photographs, target = photographed(tmp_path), target_of(form, tmp_path)
    source = Reading(written(tmp_path, ("hole",)), photographs=photographs)
    convert(source, target, form, WRITING)
    (path,) = (path for path in target.rglob("hole*") if path.is_file())
    path.rename(path.with_suffix(path.suffix.upper()))
    path.with_name(f"._{path.name}").write_bytes(b"\xff\0")  # as macOS writes beside it
    (entry,) = read_all(Reading(target, photographs=photographs))
    assert entry.load().mask.any()


def test_an_outline_is_of_no_photograph_that_may_be_anothers(tmp_path: Path) -> None:
    mask = np.ones((4, 5), np.bool_)
    both = [Annotation(f"{folder}/a.jpg", mask) for folder in ("one", "two")]
    write_masks(both, tmp_path / "in", WRITING)
    (tmp_path / "all" / "two").mkdir(parents=True)
    Image.new("RGB", (5, 4)).save(tmp_path / "all" / "two" / "a.png")
    for folder, name in ((tmp_path / "all", "two/a.png"), (tmp_path, "all/two/a.png")):
        photographs = Photographs(folder)
        one, two = read_all(Reading(tmp_path / "in", photographs=photographs))
        with pytest.raises(DataError, match=r"one/a\.jpg: .* matches the name of another outline"):
            one.load()
        assert photographs.find(two.load().photograph) == folder / name
    for entry in read_all(Reading(tmp_path / "in", photographs=Photographs(tmp_path / "all/two"))):
        with pytest.raises(DataError, match="of another outline"):
            entry.load()


@pytest.mark.parametrize("form", ALL)
def test_photographs_that_are_called_by_their_uids_are_told_apart(
    tmp_path: Path, form: Form
) -> None:
    from dicom_files import ExplicitVRLittleEndian, native

    (tmp_path / "photographs").mkdir()
    Image.new("RGB", (5, 4)).save(tmp_path / "a.jpg")
    content = native((tmp_path / "a.jpg").read_bytes(), ExplicitVRLittleEndian).content
    masks = {f"1.2.{number}": np.eye(4, 5, number, np.bool_) for number in (1, 2, 3)}
    for name in masks:
        (tmp_path / "photographs" / name).write_bytes(content)
    photographs = Photographs(tmp_path / "photographs")
    assert photographs.find("x/1.2.3.jpg") == tmp_path / "photographs" / "1.2.3"
    with pytest.raises(DataError, match="no photograph"):
        photographs.find("1.2")
    write_masks([Annotation(name, mask) for name, mask in masks.items()], tmp_path / "in", WRITING)
    target = target_of(form, tmp_path)
    convert(Reading(tmp_path / "in", photographs=photographs), target, form, WRITING)
    if form == "yolo":  # whose photographs without labels count as well
        photographs = Photographs((tmp_path / "photographs").rename(target / "images"))
    for told in [photographs] if form == "yolo" else [photographs, Photographs()]:
        loaded = [entry.load() for entry in read_all(Reading(target, form, photographs=told))]
        back = {each.photograph.removesuffix(".jpg"): each.mask for each in loaded}
        assert back.keys() == masks.keys()
        assert all(np.array_equal(back[name], mask) for name, mask in masks.items())


@pytest.mark.parametrize("names", [("a.jpg", "A.png"), ("\xe9.jpg", "e\u0301.jpg")])
def test_two_outlines_are_not_one_file(tmp_path: Path, names: tuple[str, str]) -> None:
    images = [{"id": n, "file_name": name, "height": 2, "width": 2} for n, name in enumerate(names)]
    (tmp_path / "coco.json").write_text(json.dumps({"images": images, "annotations": []}))
    with pytest.raises(DataError, match=f"{names[0]} and {names[1]} would be one file"):
        read_all(Reading(tmp_path / "coco.json"))


UNKNOWN_TO_LINUX = pytest.param(
    "\ud800.jpg", marks=pytest.mark.skipif(sys.platform == "win32", reason="a name there")
)


@pytest.mark.parametrize("name", ["", ".", "/", "a/..", "a\0.jpg", UNKNOWN_TO_LINUX])
def test_a_photograph_has_a_name(tmp_path: Path, name: str) -> None:
    images = [{"id": 1, "file_name": name, "height": 2, "width": 2}]
    (tmp_path / "coco.json").write_text(json.dumps({"images": images, "annotations": []}))
    with pytest.raises(DataError, match=r"names a photograph .* no path inside a folder"):
        read_all(Reading(tmp_path / "coco.json"))


def test_a_report_leads_to_no_other_folder(tmp_path: Path) -> None:
    source = written(tmp_path, ("hole",))
    rows = "photograph,mask,orientation\n../../hole.jpg,folder/hole_segmentation.png,1\n"
    (source / "report.csv").write_text(rows)
    with pytest.raises(DataError, match="no path inside a folder"):
        convert(Reading(source), tmp_path / "out", "labelme", WRITING)


def test_a_target_is_not_written_over(tmp_path: Path) -> None:
    source = Reading(written(tmp_path))

    def attempt(target: Path, form: Form, **options: Any) -> None:
        convert(source, target, form, OutlineSettings(**options))

    (tmp_path / "a.json").touch()
    with pytest.raises(UsageError, match="is there already"):
        attempt(tmp_path / "a.json", "coco")
    with pytest.raises(UsageError, match="is there already"):
        attempt(tmp_path / "masks", "masks")
    with pytest.raises(UsageError, match=r"one file; give a name that ends in \.json"):
        attempt(tmp_path / "coco", "coco")
    with pytest.raises(UsageError, match="must not be negative"):
        attempt(tmp_path / "b.json", "coco", tolerance=-1)
    for tolerance in (float("nan"), 1e31):
        with pytest.raises(UsageError, match="a million pixels are the most"):
            attempt(tmp_path / "b.json", "coco", tolerance=tolerance)
    with pytest.raises(UsageError, match=r"--label .mole\\udce4.: is not valid UTF-8"):
        attempt(tmp_path / "yolo", "yolo", label="mole\udce4")
    (tmp_path / "empty").mkdir()
    attempt(tmp_path / "empty", "geojson")


@pytest.mark.parametrize("name", ["nowhere", "a.txt", "."])
def test_a_source_is_there_and_known(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(UsageError):
        Reading(tmp_path / name).resolved()


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.json: cannot be read"):
        recognise(tmp_path / "gone.json")


def test_a_mask_of_a_report_brings_its_orientation(tmp_path: Path) -> None:
    source = written(tmp_path, ("hole",))
    assert frame_told(Reading(source, "masks"), "coco") == ""
    rows = "photograph,mask,orientation\nhole.jpg,folder/hole_segmentation.png,6\n"
    (source / "report.csv").write_text(rows)
    (entry,) = read_all(Reading(source))
    assert entry.load().orientation == 6
    assert encode_mask(entry.load().mask) == (source / "folder/hole_segmentation.png").read_bytes()
