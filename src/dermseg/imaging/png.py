"""Write masks as PNG, which takes a large part of a photograph's time.

A mask is long runs of equal pixels. They are told by run lengths alone, without row filters, and
compressed by zlib-ng, which finds and sums them with vector instructions.
"""

import struct

import numpy as np
from zlib_ng.zlib_ng import DEF_MEM_LEVEL, DEFLATED, MAX_WBITS, Z_RLE, compressobj, crc32

from dermseg.errors import OutputError
from dermseg.imaging.images import Mask

LONGEST_SIDE = 10**6
"""Pixels of a side, which libpng reads."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
EIGHT_BIT_GREY = bytes((8, 0, 0, 0, 0))
"""Bits, kind of colour, and the only compression, filters and order without interlacing."""
FASTEST = 1


def encode_mask(mask: Mask) -> bytes:
    """Return a mask as the challenge wants it: an 8-bit PNG of one channel, 0 or 255.

    What is not zero is lesion. Raises OutputError for a side of no pixels, or of more than a
    million.
    """
    height, width = mask.shape
    if not (height and width and max(height, width) <= LONGEST_SIDE):
        raise OutputError(f"no PNG of {width} x {height}: a side has 1 to {LONGEST_SIDE} pixels")
    lesion = mask.astype(np.bool_, copy=False).view(np.uint8)
    rows = np.zeros((height, 1 + width), np.uint8)  # each begins with its filter: 0, none
    np.negative(lesion, out=rows[:, 1:])  # 1 becomes 255
    deflate = compressobj(FASTEST, DEFLATED, MAX_WBITS, DEF_MEM_LEVEL, Z_RLE)
    header = struct.pack(">II", width, height) + EIGHT_BIT_GREY
    pixels = deflate.compress(rows) + deflate.flush()
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    """Return a part of a PNG file: its length, its kind, its content and their checksum."""
    named = kind + content
    return struct.pack(">I", len(content)) + named + struct.pack(">I", crc32(named))
