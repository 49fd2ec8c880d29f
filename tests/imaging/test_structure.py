"""Files that keep a decoder busy, made here by repeating parts; and whole ones that pass."""

import struct
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hostile import HEIGHT, WIDTH, busy_files, encoded, good_files, picture, with_scans
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dermseg.batch.jobs import find_jobs
from dermseg.batch.run import segment_all
from dermseg.errors import ImageError
from dermseg.imaging import photographs
from dermseg.imaging.photographs import read_photograph
from dermseg.imaging.structure import MOST_SCANS, check_parts
from dermseg.inference.segmenter import Segmenter

JPEG = encoded(picture(), "JPEG")
PROGRESSIVE = encoded(picture(), "JPEG", progressive=True)
MANY = 200_000
BUSY = busy_files()


@pytest.mark.parametrize("name", BUSY)
def test_a_file_that_keeps_a_decoder_busy_is_refused_at_once(name: str) -> None:
    content = BUSY[name]
    began = time.process_time()
    with pytest.raises(ImageError, match=r"the upload: .* keep a decoder busy"):
        check_parts(content, "the upload")
    assert time.process_time() - began < 5


def test_whole_files_pass() -> None:
    for name, content in good_files().items():
        check_parts(content, name)


@pytest.mark.parametrize("count", [20, MOST_SCANS])
def test_many_scans_are_fewer_than_too_many(count: int) -> None:
    check_parts(with_scans(PROGRESSIVE, count))


def test_what_follows_a_picture_is_not_counted() -> None:
    check_parts(JPEG + b"\xff" * MANY)  # as flash memory that was erased
    check_parts(PROGRESSIVE + b"\xff\xda" * MANY)


@pytest.mark.parametrize(("subsampling", "needed"), [(0, 3 * 128 * 10 * 8), (2, 6 * 128 * 5 * 4)])
def test_coefficients_are_counted(subsampling: int, needed: int) -> None:
    content = encoded(picture(), "JPEG", progressive=True, subsampling=subsampling)
    check_parts(content, most_coefficients=needed)
    with pytest.raises(ImageError, match="save it as a baseline JPEG"):
        check_parts(content, most_coefficients=needed - 1)
    check_parts(encoded(picture(), "JPEG", subsampling=subsampling), most_coefficients=1)


def test_such_a_file_costs_its_own_row(segmenter: Segmenter, tmp_path: Path) -> None:
    for name in ("scans", "segments", "chunks"):
        (tmp_path / f"{name}.jpg").write_bytes(BUSY[name])
    (tmp_path / "good.jpg").write_bytes(JPEG)
    results = segment_all(find_jobs([tmp_path]), segmenter, tmp_path / "masks")
    errors = {result.job.photograph.stem: result.error for result in results}
    assert not errors.pop("good")
    assert all("keep a decoder busy" in str(error) for error in errors.values())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I", "I;16"])
def test_large_images_are_converted_in_bands_alike(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(0)
    if mode.startswith("I"):
        values = chance.integers(0, 2**16, (203, 301)).astype(
            np.int32 if mode == "I" else np.uint16
        )
        image = Image.fromarray(values)
    else:
        image = Image.fromarray(chance.integers(0, 256, (203, 301, 3), np.uint8)).convert(mode)
    content = encoded(image, "TIFF")
    whole = read_photograph(BytesIO(content)).pixels
    monkeypatch.setattr(photographs, "LARGE", 1)
    monkeypatch.setattr(photographs, "BAND", 2000)
    np.testing.assert_array_equal(read_photograph(BytesIO(content)).pixels, whole)
    reduced = read_photograph(BytesIO(content), at_least=(50, 75))
    assert (reduced.height, reduced.width) == (203, 301)
    expected = np.asarray(Image.fromarray(whole).reduce(4))
    np.testing.assert_array_equal(reduced.pixels, expected)
    long = read_photograph(BytesIO(content), at_least=(50, 300))  # each side as far as it can be
    np.testing.assert_array_equal(long.pixels, np.asarray(Image.fromarray(whole).reduce((1, 4))))


@settings(max_examples=60, deadline=None)
@given(
    more=st.tuples(st.integers(0, 300), st.integers(0, 300)),
    compression=st.sampled_from([None, "tiff_lzw", "tiff_deflate"]),
)
def test_a_tiff_is_refused_if_its_strips_do_not_cover_it(
    more: tuple[int, int], compression: str | None
) -> None:
    content = bytearray(encoded(picture(), "TIFF", compression=compression))
    for tag, side, by in zip((257, 256), (HEIGHT, WIDTH), more, strict=True):
        for kind in (3, 4):  # 16 or 32 bits
            entry = struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", side)
            larger = struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", side + by)
            content = content.replace(entry, larger)
    if more == (0, 0):
        pixels = read_photograph(BytesIO(content)).pixels
        np.testing.assert_array_equal(pixels, np.asarray(picture()))
    else:
        with pytest.raises(ImageError, match="cannot be read"):
            read_photograph(BytesIO(content))


MEASURE = """
import sys
from io import BytesIO
from resource import RUSAGE_SELF, getrusage
import numpy as np
from dermseg.inference.segmenter import Segmenter
segmenter, content = Segmenter(), BytesIO(open(sys.argv[1], "rb").read())
segmenter.segment(np.zeros((96, 128, 3), np.uint8))
before = getrusage(RUSAGE_SELF).ru_maxrss
segmenter.read(content)
print((getrusage(RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in kB here")
@pytest.mark.parametrize("form", ["baseline.jpg", "rgb.png", "rgba.png", "grey16.png", "int32.tif"])
def test_64_megapixels_take_less_than_400_megabytes(form: str, tmp_path: Path) -> None:
    size, path = (8000, 8000), tmp_path / form
    if form == "grey16.png":
        image = Image.fromarray(np.full(size, 30_000, np.uint16))
    elif form == "int32.tif":
        image = Image.fromarray(np.full(size, 30_000, np.int32))
    else:
        image = Image.new("RGBA" if form == "rgba.png" else "RGB", size, (200, 150, 140))
    image.save(path, **({"compress_level": 1} if path.suffix == ".png" else {}))
    command = [sys.executable, "-c", MEASURE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 400
