"""Segmentations are valid, refer to their photograph, and come back to the pixel."""

import logging
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import FORMS, PATIENT, Made, encapsulated, native, pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from round_trips import hard_masks

from dermseg.cli.main import main
from dermseg.errors import ImageError
from dermseg.imaging.mask_files import read_mask
from dermseg.storage.decisions import COLUMNS, Reader, digest_of
from dermseg.storage.tables import write_table

highdicom = pytest.importorskip("highdicom")
from dermseg.formats.dicom_seg import Maker, write  # noqa: E402

EXAMPLE = sorted((Path(__file__).parents[2] / "examples" / "photographs").glob("*.jpg"))[0]
MAKER = Maker("lite0", "sha256:0123456789ab", "0.2.0")
BY_HAND = replace(MAKER, by_hand=True)
TOLD = {
    "spacing": 0.02,
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientName": "Müller^Jörg",
    "StudyDate": "20240229",
    "StudyTime": "101112",
    "FrameOfReferenceUID": "1.2.3",
}
"""What a photograph may say of its patient, study and scale."""
SOURCE = "1.2.826.0.1.3680043.8.498.1"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
Mask = NDArray[np.bool_]


@pytest.fixture(scope="module")
def jpeg() -> bytes:
    return EXAMPLE.read_bytes()


@pytest.fixture(scope="module")
def mask() -> Mask:
    """Return a lesion with a hole and a second piece, of the example's size."""
    made = np.zeros((512, 768), np.bool_)
    made[100:300, 200:500] = True
    made[150:160, 250:260] = made[0, 0] = False
    made[400:410, 700:] = True
    return made


def photograph_for(mask: Mask) -> bytes:
    """Return a DICOM file of a mask's size."""
    buffer = BytesIO()
    Image.new("RGB", mask.shape[::-1]).save(buffer, "JPEG")
    return native(buffer.getvalue(), ExplicitVRLittleEndian).content


def read_back(content: bytes, frame: int | None = None) -> Mask:
    found = highdicom.seg.segread(BytesIO(content))
    if frame is None:
        pixels = found.get_pixels_by_source_instance([SOURCE])
    else:
        pixels = found.get_pixels_by_source_frame(SOURCE, [frame])
    return np.asarray(pixels[0, ..., 0] > 0)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_photograph_has_a_segmentation(form: str, jpeg: bytes, mask: Mask) -> None:
    made: Made = FORMS[form](jpeg)
    content = write(made.content, mask, MAKER, made.frame)
    np.testing.assert_array_equal(read_back(content, made.frame), mask)
    data = pydicom.dcmread(BytesIO(content))
    source = pydicom.dcmread(BytesIO(made.content))
    (item,) = data.SourceImageSequence
    assert item.ReferencedSOPInstanceUID == SOURCE
    assert item.ReferencedSOPClassUID == source.SOPClassUID
    assert data.StudyInstanceUID == source.StudyInstanceUID
    assert (data.PatientName, data.PatientID, data.PatientBirthDate) == (PATIENT, "4711", "")
    (segment,) = data.SegmentSequence
    codes = [
        segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue,
        segment.SegmentedPropertyTypeCodeSequence[0].CodeValue,
        segment.AnatomicRegionSequence[0].CodeValue,
    ]
    assert codes == ["49755003", "95324001", "39937001"]
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert data.SegmentationType == "BINARY"


def segmentation_of(case: str, jpeg: bytes, mask: Mask) -> bytes:
    """Return the segmentation of one of CASES."""
    if case in FORMS:
        made = FORMS[case](jpeg)
        return write(made.content, mask, MAKER, made.frame)
    if case in hard_masks():
        return write(photograph_for(hard_masks()[case]), hard_masks()[case], MAKER)
    if case == "by-hand":
        return write(encapsulated(jpeg).content, mask, BY_HAND)
    if case == "probability":
        return write(encapsulated(jpeg).content, mask * np.float32(0.5), MAKER)
    return write(encapsulated(jpeg, **TOLD).content, mask, MAKER)


GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
DEMANDED_GROUPS = {
    "DerivationImageSequence",
    "FrameContentSequence",
    "SegmentIdentificationSequence",
}
"""Those without which a frame is none, or refers to no photograph."""
CASES = (*FORMS, *hard_masks(), "by-hand", "probability", "told")
"""Photographs, masks and makers whose segmentations are validated."""


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy of dicom3tools")
@pytest.mark.parametrize("case", CASES)
def test_dciodvfy_finds_no_error(case: str, jpeg: bytes, mask: Mask, tmp_path: Path) -> None:
    path = tmp_path / "segmentation.dcm"
    path.write_bytes(segmentation_of(case, jpeg, mask))
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    said = (done.stdout + done.stderr).splitlines()
    assert "Segmentation" in said  # the standard's object that it was compared with
    assert [line for line in said if line.startswith("Error")] == []


@pytest.mark.parametrize("case", CASES)
def test_what_the_standard_requires_is_there(case: str, jpeg: bytes, mask: Mask) -> None:
    standard = pytest.importorskip("highdicom._standard_utils")
    data = pydicom.dcmread(BytesIO(segmentation_of(case, jpeg, mask)))
    modules = [
        module["key"]
        for module in standard.get_iod_module_map()["segmentation"]
        if module["usage"] == "M"
    ]
    assert len(modules) == 12
    trees = {module: standard.construct_module_tree(module) for module in modules}
    assert [gap for module in modules for gap in gaps(data, trees[module], module)] == []
    (shared,), (frame,) = (data[name].value for name in GROUPS)
    assert {each.keyword for each in (*shared, *frame)} >= DEMANDED_GROUPS
    del data.SegmentSequence[0].SegmentLabel, data.PatientBirthDate
    data.Manufacturer = ""
    found = {gap for module in modules for gap in gaps(data, trees[module], module)}
    assert found == {
        "patient PatientBirthDate",
        "enhanced-general-equipment Manufacturer",
        "segmentation-image SegmentSequence SegmentLabel",
    }


def gaps(data: Dataset, tree: dict[str, Any], place: str) -> Iterator[str]:
    """Yield what a part of the standard demands of a data set and its items, and is not there.

    What is of type 1 must have a value, what is of type 2 may be empty. Functional groups lie with
    all frames or with each; the standard lists them with both.
    """
    for name, wanted in tree["attributes"].items():
        kind, is_there = wanted["type"].value, name in data
        if not is_there and kind in ("1", "2"):
            if not place.endswith(GROUPS):
                yield f"{place} {name}"
        elif kind == "1" and data[name].is_empty:
            yield f"{place} {name}"
        elif is_there and "attributes" in wanted:
            for item in data[name].value:
                yield from gaps(item, wanted, f"{place} {name}")


@pytest.mark.parametrize("name", hard_masks())
def test_hard_masks_come_back(name: str) -> None:
    mask = hard_masks()[name]
    content = write(photograph_for(mask), mask, MAKER)
    np.testing.assert_array_equal(read_back(content), mask)


def test_the_same_is_always_the_same_file(jpeg: bytes, mask: Mask) -> None:
    photograph = encapsulated(jpeg).content
    first = write(photograph, mask, MAKER)
    assert write(photograph, mask, MAKER) == first
    others = [
        write(photograph, ~mask, MAKER),
        write(photograph, mask, Maker("lite0", "sha256:other", "0.2.0")),
        write(photograph, mask, BY_HAND),
    ]
    uids = {pydicom.dcmread(BytesIO(each)).SOPInstanceUID for each in (first, *others)}
    assert len(uids) == 4
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


def test_dates_names_and_spacing_are_the_photographs(jpeg: bytes, mask: Mask) -> None:
    content = write(encapsulated(jpeg, **TOLD).content, mask, MAKER)
    data = pydicom.dcmread(BytesIO(content))
    assert (data.ContentDate, data.ContentTime) == ("20240229", "101112")
    assert str(data.PatientName) == "Müller^Jörg"
    measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert list(measures.PixelSpacing) == [0.02, 0.02]
    np.testing.assert_array_equal(read_back(content), mask)
    plain = pydicom.dcmread(BytesIO(write(encapsulated(jpeg).content, mask, MAKER)))
    assert "PixelMeasuresSequence" not in plain.SharedFunctionalGroupsSequence[0]


def test_a_mask_drawn_by_hand_names_no_algorithm(jpeg: bytes, mask: Mask) -> None:
    content = write(encapsulated(jpeg).content, mask, BY_HAND)
    (segment,) = pydicom.dcmread(BytesIO(content)).SegmentSequence
    assert segment.SegmentAlgorithmType == "MANUAL"
    assert "SegmentAlgorithmName" not in segment


def test_what_cannot_be_referred_to_is_refused_without_a_word_of_the_patient(
    jpeg: bytes, mask: Mask, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ImageError, match="not a DICOM photograph"):
        write(jpeg, mask, MAKER)
    with pytest.raises(ImageError, match="has 512 x 768 pixels, its mask 2 x 2"):
        write(encapsulated(jpeg).content, mask[:2, :2], MAKER)
    for frame, said in ((None, "choose one"), (3, "no frame 3")):
        with pytest.raises(ImageError, match=f"has 2 frames.*{said}"):
            write(FORMS["second-frame"](jpeg).content, mask, MAKER, frame)
    caplog.set_level(logging.DEBUG)
    odd = encapsulated(jpeg, PatientName="Odd Name without caret", PatientSex="X?")
    write(odd.content, mask, MAKER)
    assert "Odd Name" not in caplog.text
    assert "X?" not in caplog.text
    for name, said in (
        ("SOPInstanceUID", "without SOPInstanceUID, to which a segmentation refers"),
        ("StudyInstanceUID", "without StudyInstanceUID, to which"),
        ("SeriesInstanceUID", "without SeriesInstanceUID, to which"),
        ("Rows", r"no segmentation can refer to it \(\w+\)"),
    ):
        made = pydicom.dcmread(BytesIO(encapsulated(jpeg).content))
        delattr(made, name)
        buffer = BytesIO()
        made.save_as(buffer)
        with pytest.raises(ImageError, match=said):
            write(buffer.getvalue(), mask, MAKER)


def test_an_odd_date_or_number_does_not_cost_the_segmentation(jpeg: bytes, mask: Mask) -> None:
    plain = encapsulated(jpeg, spacing=0.02, ContentDate="20240229", ContentTime="101112")
    plain = plain.content.replace(b"DS\x0a\x000.02\\0.02 ", b"DS\x0a\x00wide\\high ")
    for date, moment, told in (
        (b"DA\x0a\x002024.02.29", b"TM\x08\x0010:11:12", ("20240229", "101112")),
        (b"DA\x08\x0020240230", b"TM\x06\x00at ten", ("19000101", "000000")),
    ):
        odd = plain.replace(b"DA\x08\x0020240229", date).replace(b"TM\x06\x00101112", moment)
        content = write(odd, mask, MAKER)
        data = pydicom.dcmread(BytesIO(content))
        assert (data.ContentDate, data.ContentTime, data.InstanceNumber) == (*told, 1)
        assert "PixelMeasuresSequence" not in data.SharedFunctionalGroupsSequence[0]
        np.testing.assert_array_equal(read_back(content), mask)


def test_a_million_names_of_a_patient_are_not_taken_over(jpeg: bytes, mask: Mask) -> None:
    names = b"A\\" * 1_000_000
    head = struct.pack("<HHI", 0x0010, 0x1001, len(names))
    began = time.process_time()
    content = write(FORMS["implicit-planar"](jpeg).content + head + names, mask, MAKER)
    assert time.process_time() - began < 5
    np.testing.assert_array_equal(read_back(content), mask)
    assert "OtherPatientNames" not in pydicom.dcmread(BytesIO(content))


def test_the_command_writes_them_beside_the_masks(
    tmp_path: Path, jpeg: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    study, output = tmp_path / "study", tmp_path / "masks"
    (study / "eye").mkdir(parents=True)
    (study / "eye" / "a.dcm").write_bytes(encapsulated(jpeg).content)
    (study / "b.jpg").write_bytes(jpeg)
    (study / "two").write_bytes(FORMS["second-frame"](jpeg).content)
    call = ["segment", str(study), "-o", str(output), "--form", "dicom-seg", "--frame", "2"]
    assert main(call) == 0
    assert f"2 segmentations in {output / 'dicom-seg'}" in capsys.readouterr().err
    found = read_back((output / "dicom-seg" / "eye" / "a.dcm").read_bytes())
    np.testing.assert_array_equal(found, read_mask(output / "eye" / "a_segmentation.png") > 128)
    np.testing.assert_array_equal(
        read_back((output / "dicom-seg" / "two.dcm").read_bytes(), 2), found
    )
    assert main(call) == 0  # over what an earlier run has written
    assert main([*call[:-2], "--form", "coco"]) == 1  # of two frames none is named


def test_probabilities_become_fractional_segmentations(tmp_path: Path, jpeg: bytes) -> None:
    study, output = tmp_path / "study", tmp_path / "masks"
    study.mkdir()
    for name in ("a.dcm", "b.dcm"):
        (study / name).write_bytes(encapsulated(jpeg).content)
    call = ["segment", str(study), "-o", str(output), "--form", "dicom-seg"]
    for _ in range(2):  # the second run takes the maps of the first
        assert main([*call, "--probability", str(tmp_path / "maps")]) == 0
        content = (output / "dicom-seg" / "a_probability.dcm").read_bytes()
        found = highdicom.seg.segread(BytesIO(content))
        pixels = found.get_pixels_by_source_instance([SOURCE])[0, ..., 0]
        with Image.open(tmp_path / "maps" / "a_probability.png") as image:
            size = (pixels.shape[1], pixels.shape[0])
            grey = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float64)
        assert np.abs(pixels * 255 - grey).max() <= 1.5
        mask = read_back((output / "dicom-seg" / "a.dcm").read_bytes())
        assert np.mean((pixels >= 0.5) == mask) > 0.99
    data = pydicom.dcmread(BytesIO(content))
    other = pydicom.dcmread(output / "dicom-seg" / "a.dcm")
    assert (data.SegmentationType, data.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    assert data.MaximumFractionalValue == 255
    assert data.SeriesInstanceUID != other.SeriesInstanceUID
    assert sorted(path.name for path in (output / "dicom-seg").iterdir()) == [
        "a.dcm",
        "a_probability.dcm",
        "b.dcm",
        "b_probability.dcm",
    ]


def test_a_folder_of_a_person_is_not_written_into(
    tmp_path: Path, jpeg: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph, output = tmp_path / "a.dcm", tmp_path / "masks"
    photograph.write_bytes(encapsulated(jpeg).content)
    (output / "dicom-seg").mkdir(parents=True)
    assert main(["segment", str(photograph), "-o", str(output), "--form", "dicom-seg"]) == 2
    assert "dicom-seg: was not made by dermseg there" in capsys.readouterr().err


def test_a_segmentation_that_someone_has_changed_is_not_written_over(
    tmp_path: Path, jpeg: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph, output = tmp_path / "a.dcm", tmp_path / "masks"
    photograph.write_bytes(encapsulated(jpeg).content)
    call = ["segment", str(photograph), "-o", str(output), "--form", "dicom-seg"]
    assert [main(call), main(call)] == [0, 0]
    changed = output / "dicom-seg" / "a.dcm"
    changed.write_bytes(changed.read_bytes() + b" ")
    assert main(call) == 2
    assert f"{changed}: was changed since dermseg made it" in capsys.readouterr().err


def test_a_folder_without_dicom_is_a_wrong_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["segment", str(EXAMPLE), "-o", str(tmp_path / "masks"), "--form", "dicom-seg"]
    assert main(call) == 2
    assert "none of the photographs is DICOM" in capsys.readouterr().err


class TestConvert:
    @pytest.fixture
    def masks(self, tmp_path: Path, jpeg: bytes) -> Path:
        """Return masks of two DICOM photographs, the second drawn by hand."""
        study = tmp_path / "study"
        study.mkdir()
        for name in ("a.dcm", "IM0001"):
            (study / name).write_bytes(encapsulated(jpeg).content)
        assert main(["segment", str(study), "-o", str(tmp_path / "masks")]) == 0
        drawn = np.zeros((512, 768), np.uint8)
        drawn[10:50, 20:70] = 255
        Image.fromarray(drawn).save(tmp_path / "masks" / "IM0001_segmentation.png")
        return tmp_path / "masks"

    def test_reviewed_masks_become_segmentations(self, masks: Path, tmp_path: Path) -> None:
        options = ["--to", "dicom-seg", "--photographs", str(tmp_path / "study")]
        assert main(["convert", str(masks), "-o", str(tmp_path / "seg"), *options]) == 0
        types = {}
        for name in ("a", "IM0001"):
            content = (tmp_path / "seg" / f"{name}.dcm").read_bytes()
            mask = read_mask(masks / f"{name}_segmentation.png") > 128
            np.testing.assert_array_equal(read_back(content), mask)
            (segment,) = pydicom.dcmread(BytesIO(content)).SegmentSequence
            types[name] = (segment.SegmentAlgorithmType, segment.get("SegmentAlgorithmName"))
        assert types == {"a": ("AUTOMATIC", "dermseg lite0"), "IM0001": ("MANUAL", None)}

    def test_other_forms_do_too(self, masks: Path, tmp_path: Path) -> None:
        photographs = ["--photographs", str(tmp_path / "study")]
        coco = tmp_path / "x.json"
        assert main(["convert", str(masks), "-o", str(coco), "--to", "coco", *photographs]) == 0
        call = ["convert", str(coco), "-o", str(tmp_path / "seg"), "--to", "dicom-seg"]
        assert main([*call, *photographs]) == 0
        found = read_back((tmp_path / "seg" / "a.dcm").read_bytes())
        np.testing.assert_array_equal(found, read_mask(masks / "a_segmentation.png") > 128)
        assert main([*call, *photographs]) == 2  # what is there is not written over

    def test_the_photographs_are_needed(
        self, masks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        call = ["convert", str(masks), "-o", str(tmp_path / "seg"), "--to", "dicom-seg"]
        assert main(call) == 2
        assert "name their folder, --photographs" in capsys.readouterr().err

    def test_the_frame_is_that_of_the_mask(
        self, tmp_path: Path, jpeg: bytes, capsys: pytest.CaptureFixture[str]
    ) -> None:
        study, masks, coco = tmp_path / "study", tmp_path / "masks", tmp_path / "x.json"
        study.mkdir()
        (study / "two.dcm").write_bytes(FORMS["second-frame"](jpeg).content)
        (study / "one.dcm").write_bytes(encapsulated(jpeg).content)
        assert main(["segment", str(study), "-o", str(masks), "--frame", "2"]) == 0
        photographs = ["--photographs", str(study)]
        assert main(["convert", str(masks), "-o", str(coco), "--to", "coco", *photographs]) == 0
        call = ["--to", "dicom-seg", *photographs]
        assert main(["convert", str(coco), "-o", str(tmp_path / "no"), *call]) == 1
        said = capsys.readouterr().err
        assert (
            f"failed: {study / 'two.dcm'}: has 2 frames; choose one, from 1, with --frame" in said
        )
        for source, options in ((masks, []), (masks, ["--frame", "1"]), (coco, ["--frame", "2"])):
            target = tmp_path / f"seg-{source.stem}-{len(options)}"
            assert main(["convert", str(source), "-o", str(target), *call, *options]) == 0
            for name, frame in (("two", 2), ("one", None)):
                mask = read_mask(masks / f"{name}_segmentation.png") > 128
                content = (target / f"{name}.dcm").read_bytes()
                np.testing.assert_array_equal(read_back(content, frame), mask)
        geojson = ["convert", str(masks), "-o", str(tmp_path / "y"), "--to", "geojson"]
        assert main([*geojson, "--frame", "2"]) == 2
        assert "--frame needs --to dicom-seg" in capsys.readouterr().err

    def test_a_failure_names_its_photograph_once(
        self, masks: Path, tmp_path: Path, jpeg: bytes, capsys: pytest.CaptureFixture[str]
    ) -> None:
        study = tmp_path / "study"
        (study / "a.dcm").unlink()
        (study / "IM0001").unlink()
        (study / "IM0001.jpg").write_bytes(jpeg)
        options = ["--to", "dicom-seg", "--photographs", str(study)]
        assert main(["convert", str(masks), "-o", str(tmp_path / "seg"), *options]) == 1
        said = capsys.readouterr().err
        assert f"failed: a.dcm: no photograph of this name in {study}" in said
        assert f"failed: {study / 'IM0001.jpg'}: not a DICOM photograph" in said

    @pytest.mark.parametrize(
        ("decision", "kind"), [("accepted", "AUTOMATIC"), ("corrected", "MANUAL")]
    )
    def test_a_corrected_outline_is_a_persons(
        self, masks: Path, tmp_path: Path, decision: str, kind: str
    ) -> None:
        reader, mask = Reader(masks), "a_segmentation.png"
        told = {"photograph": "a.dcm", "mask": mask, "decision": decision}
        row = {**dict.fromkeys(COLUMNS, ""), **told, "digest": digest_of(masks / mask)}
        write_table(reader.table, COLUMNS, [row])
        reader.corrected.mkdir()
        shutil.copy(masks / mask, reader.corrected / mask)
        options = ["--to", "dicom-seg", "--photographs", str(tmp_path / "study"), "--accepted"]
        assert main(["convert", str(masks), "-o", str(tmp_path / "seg"), *options]) == 0
        (segment,) = pydicom.dcmread(tmp_path / "seg" / "a.dcm").SegmentSequence
        assert segment.SegmentAlgorithmType == kind
