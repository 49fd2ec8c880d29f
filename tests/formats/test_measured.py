"""The scripts that measure round trips and DICOM files measure what they say."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_masks_go_there_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import measure_round_trips

    masks = sorted((EXAMPLES / "masks").glob("*.png"))[:2]
    monkeypatch.setattr(measure_round_trips, "WAYS", (("yolo", ""),))
    (row,) = measure_round_trips.measure(masks, 3)
    assert (row["form"], row["masks"], row["exact"], row["pixels_lost"]) == ("yolo", 3, 3, 0)
    assert row["write_seconds"] == ""
    assert set(row) == set(measure_round_trips.COLUMNS)


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
