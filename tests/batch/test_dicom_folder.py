"""A study from a hospital is a folder of photographs like any other."""

import csv
from pathlib import Path

import pytest
from dicom_files import (
    DERMOSCOPIC,
    PATIENT,
    data_set,
    decoded,
    encapsulate,
    encapsulated,
    file_of,
    second_frame,
)
from pydicom.data import get_testdata_file
from pydicom.uid import JPEGBaseline8Bit

from dermseg.batch import jobs
from dermseg.batch.jobs import find_jobs, passed_over
from dermseg.cli.main import main
from dermseg.errors import UsageError
from dermseg.imaging import photographs

EXAMPLE = sorted((Path(__file__).parents[2] / "examples" / "photographs").glob("*.jpg"))[0]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a folder of a photograph in three forms, one of them without a suffix."""
    folder = tmp_path / "study"
    folder.mkdir()
    jpeg = EXAMPLE.read_bytes()
    (folder / "a.jpg").write_bytes(jpeg)
    (folder / "b.dcm").write_bytes(encapsulated(jpeg).content)
    (folder / "IM000001").write_bytes(encapsulated(jpeg).content)
    for name in ("liver_1frame.dcm", "reportsi.dcm"):
        content = Path(get_testdata_file(name, download=False)).read_bytes()
        (folder / name).write_bytes(content)
    (folder / "README").write_text("no photograph")
    return folder


def test_photographs_are_found_with_and_without_a_suffix(study: Path) -> None:
    assert [job.name.name for job in find_jobs([study])] == ["IM000001", "a.jpg", "b.dcm"]
    assert passed_over([study]) == [
        "2 .dcm without a photograph (liver_1frame.dcm and 1 more), DICOM by the first bytes",
        "1 without a suffix (README)",
    ]


def test_what_a_hospital_keeps_beside_photographs_is_passed_over(study: Path) -> None:
    for name in ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "rtdose.dcm", "waveform_ecg.dcm"):
        content = Path(get_testdata_file(name, download=False)).read_bytes()
        (study / name).write_bytes(content)
    assert [job.name.name for job in find_jobs([study])] == ["IM000001", "a.jpg", "b.dcm"]
    assert passed_over([study])[0].startswith("7 .dcm without a photograph (CT_small.dcm and 6")


def test_a_damaged_file_that_is_called_dicom_fails(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / "empty.dcm").touch()
    (study / "bare.dcm").write_bytes(encapsulated(EXAMPLE.read_bytes()).content[132:])
    (study / "other.dicom").write_bytes(b"no photograph")
    assert main(["segment", str(study), "-o", str(tmp_path / "masks")]) == 1
    said = capsys.readouterr().err
    assert "empty.dcm: an empty file; copy it again" in said
    assert "bare.dcm: DICOM without its first 132 bytes, which is not read; dcmconv" in said
    assert "other.dicom: not an image that can be read" in said
    assert "3 masks" in said


def test_a_file_that_is_called_by_its_uid_has_files_of_its_own(tmp_path: Path) -> None:
    study, output, maps = tmp_path / "study", tmp_path / "masks", tmp_path / "maps"
    study.mkdir()
    content = encapsulated(EXAMPLE.read_bytes()).content
    uids = [f"1.2.840.113619.2.55.3.498.{number}" for number in (1, 2)]
    for name in uids:
        (study / name).write_bytes(content)
    (study / "log.1").write_text("no photograph")
    assert passed_over([study]) == ["1 without a suffix (log.1)"]
    command = ["segment", str(study), "-o", str(output), "--probability", str(maps)]
    assert main([*command, "--form", "dicom-seg"]) == 0
    command = ["convert", str(output), "-o", str(tmp_path / "converted"), "--to", "dicom-seg"]
    assert main([*command, "--photographs", str(study)]) == 0
    for folder, ending in (
        (output, "_segmentation.png"),
        (maps, "_probability.png"),
        (output / "dicom-seg", ".dcm"),
        (output / "dicom-seg", "_probability.dcm"),
        (tmp_path / "converted", ".dcm"),
    ):
        names = {path.name for path in folder.iterdir()}
        assert names >= {f"{name}{ending}" for name in uids}, ending


def test_without_the_extra_they_are_named_with_the_remedy(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (study / "a.jpg").unlink()
    for module in (jobs, photographs):
        monkeypatch.setattr(module, "READS_DICOM", False)
        monkeypatch.setattr(module, "PHOTOGRAPH_SUFFIXES", frozenset({".jpg"}))
    with pytest.raises(UsageError, match=r"3 \.dcm .*DICOM .*\(read with the extra dicom: pip"):
        find_jobs([study])


def test_masks_are_those_of_the_jpeg(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "masks"
    assert main(["segment", str(study), "-o", str(output), "--overlay", str(tmp_path / "o")]) == 0
    for folder, ending in ((output, "_segmentation.png"), (tmp_path / "o", "_overlay.jpg")):
        files = [(folder / f"{name}{ending}").read_bytes() for name in ("a", "b", "IM000001")]
        assert files[0] == files[1] == files[2]
    said = capsys.readouterr().err + (output / "report.csv").read_text()
    assert PATIENT not in said
    assert "4711" not in said


@pytest.mark.parametrize(
    ("spacing", "scale"), [([0.02, 0.02], "50.0"), (None, ""), ([0.02, 0.04], ""), ([0, 0], "")]
)
def test_the_report_has_millimetres_where_the_file_says_its_scale(
    tmp_path: Path, spacing: list[float] | None, scale: str
) -> None:
    others = {} if spacing is None else {"PixelSpacing": spacing}
    made = encapsulated(EXAMPLE.read_bytes(), **others)
    (tmp_path / "a.dcm").write_bytes(made.content)
    assert main(["segment", str(tmp_path / "a.dcm"), "-o", str(tmp_path / "masks")]) == 0
    with (tmp_path / "masks" / "report.csv").open(encoding="utf-8", newline="") as handle:
        (row,) = csv.DictReader(handle)
    assert row["pixels_per_mm"] == scale
    if scale:
        assert float(row["area_mm2"]) == pytest.approx(int(row["area"]) / 2500, abs=0.001)
        assert float(row["diameter_mm"]) == pytest.approx(float(row["diameter"]) / 50, abs=0.01)
        assert float(row["perimeter_mm"]) == pytest.approx(float(row["perimeter"]) / 50, abs=0.01)
    else:
        assert row["area_mm2"] == row["diameter_mm"] == row["perimeter_mm"] == ""


def test_a_second_run_takes_what_has_changed_beside_the_pixels(tmp_path: Path) -> None:
    jpeg, output = EXAMPLE.read_bytes(), tmp_path / "masks"

    def row(*options: str) -> dict[str, str]:
        assert main(["segment", str(tmp_path / "a.dcm"), "-o", str(output), *options]) == 0
        with (output / "report.csv").open(encoding="utf-8", newline="") as handle:
            return next(csv.DictReader(handle))

    for spacing, scale in ((0.02, "50.0"), (0.04, "25.0")):
        made = encapsulated(jpeg, PixelSpacing=[spacing, spacing])
        (tmp_path / "a.dcm").write_bytes(made.content)
        assert row()["pixels_per_mm"] == scale
    alike = data_set(decoded(jpeg), DERMOSCOPIC, NumberOfFrames=2)
    content = file_of(alike, JPEGBaseline8Bit, encapsulate([jpeg, jpeg]))
    (tmp_path / "a.dcm").write_bytes(content)
    for frame in ("1", "2"):
        assert row("--frame", frame)["frame"] == frame


def test_a_frame_is_chosen(tmp_path: Path) -> None:
    made = second_frame(EXAMPLE.read_bytes())
    (tmp_path / "two.dcm").write_bytes(made.content)
    (tmp_path / "one.jpg").write_bytes(EXAMPLE.read_bytes())
    output = tmp_path / "masks"
    call = ["segment", str(tmp_path), "-o", str(output)]
    assert main(call) == 1
    with (output / "report.csv").open(encoding="utf-8", newline="") as handle:
        errors = [row["error"] for row in csv.DictReader(handle)]
    assert errors[0] == ""
    assert errors[1].endswith(
        "has 2 frames; choose one, from 1, with --frame of dermseg segment or convert (Python: "
        "segment what read_photograph(path, frame=1) returns)"
    )
    assert main([*call, "--frame", "2", "--review", "2"]) == 0
    with (output / "report.csv").open(encoding="utf-8", newline="") as handle:
        assert [row["frame"] for row in csv.DictReader(handle)] == ["", "2"]
    masks = [(output / f"{name}_segmentation.png").read_bytes() for name in ("one", "two")]
    assert masks[0] == masks[1]


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_the_outline_of_a_frame_goes_into_other_forms(tmp_path: Path, form: str) -> None:
    study, output = tmp_path / "study", tmp_path / "masks"
    study.mkdir()
    (study / "two.dcm").write_bytes(second_frame(EXAMPLE.read_bytes()).content)
    assert main(["segment", str(study), "-o", str(output), "--frame", "2"]) == 0
    target = tmp_path / ("x.json" if form == "coco" else "x")
    photographs = ["--photographs", str(study)]
    assert main(["convert", str(output), "-o", str(target), "--to", form, *photographs]) == 0
    back = ["convert", str(target), "-o", str(tmp_path / "back"), "--to", "masks"]
    assert main([*back, *photographs]) == 0
    name = "two_segmentation.png"
    assert (tmp_path / "back" / name).read_bytes() == (output / name).read_bytes()


def test_a_scale_that_is_given_holds_where_the_file_says_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jpg").write_bytes(EXAMPLE.read_bytes())
    (tmp_path / "b.dcm").write_bytes(
        encapsulated(EXAMPLE.read_bytes(), PixelSpacing=[0.02, 0.02]).content
    )
    command = ["segment", str(tmp_path / "a.jpg"), str(tmp_path / "b.dcm"), "-o"]
    command += [str(tmp_path / "masks"), "--pixels-per-mm"]
    for given in ("20", "25"):  # and an earlier run's millimetres are made again
        assert main([*command, given]) == 0
        with (tmp_path / "masks" / "report.csv").open(encoding="utf-8", newline="") as handle:
            first, second = csv.DictReader(handle)
        assert float(first["pixels_per_mm"]) == float(given)
        millimetres = int(first["area"]) / float(given) ** 2
        assert float(first["area_mm2"]) == pytest.approx(millimetres, abs=0.001)
        assert second["pixels_per_mm"] == "50.0"
    for wrong in ("0", "-3", "nan", "inf"):
        assert main([*command, wrong]) == 2
        assert "--pixels-per-mm" in capsys.readouterr().err
