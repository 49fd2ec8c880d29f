"""Image files with sound pixels and spoilt surroundings, made by chance."""

import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
from hostile import encoded, png_chunk
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
PNG_KINDS = b"tEXt zTXt iTXt iCCP eXIf tIME pHYs gAMA cHRM sRGB".split()
JPEG_LABELS = (b"", b"Exif\0\0", b"Adobe", b"ICC_PROFILE\0", b"MPF\0", b"Photoshop 3.0\0")


def scene(seed: int, height: int = 48, width: int = 64) -> Pixels:
    """Return colours that change smoothly, so that JPEG keeps them."""
    chance = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin((a * y + b * x) / 20 + c) for a, b, c in chance.uniform(-2, 2, (3, 3))]
    return (np.stack(waves, 2) * 80 + 128).astype(np.uint8)


def _junk(chance: random.Random) -> bytes:
    kind = chance.randrange(5)
    if kind == 0:
        return b""
    if kind == 1:
        return chance.randbytes(chance.randrange(1, 200))
    if kind == 2:
        return b"key\0\0" + zlib.compress(b"x" * chance.choice((10, 2_000_000)))
    if kind == 3:
        return b"Exif\0\0" + chance.choice((b"II*\0", b"MM\0*", b"")) + chance.randbytes(40)
    return repr(b"Exif\0\0II*\0" + chance.randbytes(20)).encode()


def spoilt_png(chance: random.Random, image: Image.Image) -> bytes:
    """Insert chunks of junk before and after the pixels, some with wrong checksums."""
    data = encoded(image, "PNG")
    first, last = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    parts = [data[:first], data[first:last], data[last:]]
    for place in (1, 0):
        for _ in range(chance.randrange(3)):
            chunk = bytearray(png_chunk(chance.choice(PNG_KINDS), _junk(chance)))
            if chance.random() < 0.5:
                chunk[-1] ^= 255
            parts[place] += bytes(chunk)
    return b"".join(parts)


def spoilt_jpeg(chance: random.Random, image: Image.Image) -> bytes:
    """Insert segments of junk before the tables; perhaps lose the end marker."""
    data = encoded(image, "JPEG", quality=95)
    parts = [data[:2]]
    for _ in range(chance.randrange(1, 4)):
        marker = chance.choice((0xFE, *range(0xE0, 0xF0)))
        body = chance.choice(JPEG_LABELS) + _junk(chance)[:60_000]
        parts.append(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body)
    end = chance.choice((len(data), len(data) - 1, len(data) - 2))
    return b"".join([*parts, data[2:end]])


def spoilt_webp(chance: random.Random, image: Image.Image) -> bytes:
    """Append metadata of junk to a file whose header promises some."""
    data = encoded(image, "WEBP", lossless=True, exif=b"Exif\0\0" + bytes(20), xmp=b"<x/>")
    start = data.index(b"EXIF")
    chunks = []
    for kind in chance.sample((b"EXIF", b"XMP ", b"JUNK", b"ABCD"), chance.randrange(1, 4)):
        body = _junk(chance)
        chunks.append(kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2))
    body = data[12:start] + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def spoilt_tiff(chance: random.Random, image: Image.Image) -> bytes:
    """Add tags of junk to the directory, which is moved to the end."""
    data = encoded(image, "TIFF")
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    entries = [data[directory + 2 + 12 * n : directory + 14 + 12 * n] for n in range(count)]
    tags = (270, 305, 306, 315, 700, 33723, 34377, 34665, 34675, 34853, 50341, 65000)
    for tag in chance.sample(tags, chance.randrange(1, 5)):
        kind, length = chance.randrange(20), chance.choice((0, 1, 7, 2**31))
        entries.append(struct.pack("<HHII", tag, kind, length, chance.randrange(2**32)))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    moved = b"".join([struct.pack("<H", len(entries)), *entries, bytes(4)])
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + moved


SPOILERS: dict[str, Callable[[random.Random, Image.Image], bytes]] = {
    "png": spoilt_png,
    "jpg": spoilt_jpeg,
    "webp": spoilt_webp,
    "tif": spoilt_tiff,
}
"""By suffix: what makes a file with sound pixels."""
