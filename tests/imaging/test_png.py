"""Masks as PNG, read back by Pillow, by OpenCV and by the standard library alone."""

import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from dermseg.errors import OutputError
from dermseg.imaging.png import LONGEST_SIDE, SIGNATURE, encode_mask

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=70))


@given(MASKS, st.integers(1, 40), st.booleans())
def test_every_reader_has_the_mask_again(drawn: np.ndarray, times: int, turned: bool) -> None:
    """Runs of every length and rows of every width, of arrays that lie in memory in any order."""
    mask = np.kron(drawn, np.ones((1, times), np.bool_))
    mask = mask[::-1].T if turned else mask
    content, expected = encode_mask(mask), mask * np.uint8(255)
    with Image.open(BytesIO(content)) as image:
        assert image.mode == "L"
        image.load()
        np.testing.assert_array_equal(np.asarray(image), expected)
        image.close()
    read = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read, expected)


def test_the_file_holds_what_the_standard_asks_for() -> None:
    """Chunks, their checksums and Adler's sum, by the standard library's zlib."""
    mask = np.zeros((1500, 2000), np.bool_)
    mask[300:900, 500:1700] = True
    rest, kinds, pixels = encode_mask(mask).removeprefix(SIGNATURE), [], b""
    while rest:
        size = struct.unpack(">I", rest[:4])[0]
        kind, content, total = rest[4:8], rest[8 : 8 + size], rest[8 + size : 12 + size]
        assert struct.unpack(">I", total)[0] == zlib.crc32(kind + content)
        kinds.append(kind)
        pixels += content if kind == b"IDAT" else b""
        rest = rest[12 + size :]
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]
    rows = np.frombuffer(zlib.decompress(pixels), np.uint8).reshape(1500, 2001)
    assert not rows[:, 0].any()
    np.testing.assert_array_equal(rows[:, 1:], mask * np.uint8(255))
    assert len(pixels) < 13_000  # 3 megapixels as run lengths


@pytest.mark.parametrize("shape", [(1, LONGEST_SIDE + 1), (LONGEST_SIDE + 1, 1), (0, 3), (3, 0)])
def test_what_no_png_can_hold_is_said(shape: tuple[int, int]) -> None:
    with pytest.raises(OutputError, match=f"{shape[1]} x {shape[0]}"):
        encode_mask(np.zeros(shape, np.bool_))
