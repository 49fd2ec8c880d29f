"""The scripts that measure round trips and DICOM files measure what they say."""

from io import BytesIO
from pathlib import Path
from shutil import copyfile

import numpy as np
import pytest

from dermseg.storage.tables import read_table

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_masks_go_there_and_back() -> None:
    import measure_round_trips

    masks = sorted((EXAMPLES / "masks").glob("*.png"))[:2]
    (row,) = measure_round_trips.measure(masks, 3, [("yolo", "")])
    assert (row["form"], row["masks"], row["exact"], row["pixels_lost"]) == ("yolo", 3, 3, 0)
    assert row["write_seconds"] == ""
    assert set(row) == set(measure_round_trips.COLUMNS)


def test_what_was_measured_is_kept_when_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import measure_round_trips

    data, table = tmp_path / "data", tmp_path / "table.csv"
    (data / "ISIC-2017_Validation_Part1_GroundTruth").mkdir(parents=True)
    for mask in sorted((EXAMPLES / "masks").glob("*.png"))[:1]:
        copyfile(mask, data / "ISIC-2017_Validation_Part1_GroundTruth" / mask.name)
    monkeypatch.setattr(measure_round_trips, "WAYS", (("yolo", ""),))
    measure_round_trips.main(data, table=table)
    (kept,) = read_table(table)
    monkeypatch.setattr(measure_round_trips, "WAYS", (("yolo", ""), ("labelme", "")))
    measure_round_trips.main(data, table=table, many=2, resume=True)
    rows = read_table(table)
    assert rows[0] == kept
    assert [(row["form"], row["masks"]) for row in rows] == [
        ("yolo", "1"),
        ("labelme", "1"),
        ("yolo", "2"),
        ("labelme", "2"),
    ]
    assert [bool(row["write_seconds"]) for row in rows] == [False, False, True, True]


def test_a_pixel_that_is_lost_is_counted(tmp_path: Path) -> None:
    import measure_round_trips

    from dermseg.imaging.mask_files import write_mask

    mask = np.zeros((4, 5), np.bool_)
    write_mask(tmp_path / "a.png", mask)
    mask[1, 2] = True
    write_mask(tmp_path / "back" / "a.png", mask)
    assert measure_round_trips.differences(tmp_path / "a.png", tmp_path / "back") == 1


def test_a_jpeg_in_a_dicom_file_has_its_mask() -> None:
    measure_dicom = pytest.importorskip("measure_dicom")
    import dermseg

    jpeg = sorted((EXAMPLES / "photographs").glob("*.jpg"))[0].read_bytes()
    wrapped = measure_dicom.wrapped(jpeg, 512, 768)
    assert dermseg.segment(BytesIO(wrapped)) == dermseg.segment(jpeg)
