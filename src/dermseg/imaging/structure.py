"""How many parts an image file has: each costs its decoder time, however small it is.

A file of some hundred kilobytes can keep a decoder busy for a minute: with a thousand scans of a
JPEG, or a million empty chunks of a PNG. So parts are counted before anything is decoded. Files of
cameras, microscopes and browsers stay far below the bounds.

A file is followed as its decoder follows it, so that what is counted is what would be decoded.
`dermseg.imaging.containers` walks the same forms, but looks for pixels beyond damaged parts.
"""

import re
import struct
from collections.abc import Callable
from math import ceil

from dermseg.errors import ImageError

MOST_SCANS = 100
"""Scans of a JPEG. Encoders make 10, optimisers at most 64."""
MOST_SEGMENTS = 10_000
"""Segments of a JPEG: 64 kB each, so that 640 MB of metadata have room."""
MOST_CHUNKS = 100_000
"""Chunks of a PNG or WebP, of 8 kB or more each where they hold pixels."""
MOST_VALUES = 100_000
"""Numbers of a tag of a TIFF: it lists where each strip or tile of the picture lies."""
MOST_FILL = 2**16
"""Bytes of a JPEG that belong to no segment, in all or between two codes."""
MOST_RUNS = 2**22
"""Bytes of a BMP's run lengths, which Pillow decodes one by one in Python."""
FRAMES = frozenset({*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
SEGMENTS = FRAMES | {0xC4, 0xDA, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, *range(0xE0, 0xF0), 0xFE}
"""Markers that a length follows, which Pillow passes over as a whole."""
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
SCAN, END = 0xDA, 0xD9
MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
"""A marker inside a JPEG's data, but for restarts."""
LISTS = {3: "SHORT", 4: "LONG", 5: "RATIONAL", 8: "SSHORT", 9: "SLONG", 13: "IFD", 16: "LONG8"}
"""Types of a TIFF's tags of which Pillow makes a Python object for each number."""


def check_parts(content: bytes, name: str = "the image", most_coefficients: int = 2**40) -> None:
    """Raise ImageError, naming the file, if it has more parts than are decoded.

    `most_coefficients` are the bytes that a JPEG of several scans may need for its coefficients,
    all of which are in memory at once. What is damaged is left to the decoder.
    """
    checks: tuple[tuple[bytes, Callable[[bytes], str]], ...] = (
        (b"\xff\xd8", lambda content: _in_jpeg(content, most_coefficients)),
        (b"\x89PNG\r\n\x1a\n", lambda content: _in_chunks(content, 8, ">I4x", 12)),
        (b"RIFF", lambda content: _in_chunks(content, 12, "<4xI", 8)),
        (b"II", lambda content: _in_tiff(content, "<")),
        (b"MM", lambda content: _in_tiff(content, ">")),
        (b"BM", _in_bmp),
    )
    for beginning, count in checks:
        if content.startswith(beginning):
            try:
                excess = count(content)
            except (struct.error, IndexError):  # it ends too soon
                return
            if excess:
                raise ImageError(
                    f"{name}: {excess}; such files keep a decoder busy, and are not read"
                )


def _in_jpeg(content: bytes, most_coefficients: int) -> str:
    """Return which parts a JPEG has too many of; nothing for one that is decoded."""
    position, segments, fill, frame = 2, 0, 0, b""
    while True:
        mark = content.find(b"\xff", position)
        mark = len(content) if mark < 0 else mark
        fill += mark - position
        if fill > MOST_FILL or segments > MOST_SEGMENTS:
            return f"more than {MOST_SEGMENTS} segments, or {MOST_FILL} bytes between them"
        marker = content[mark + 1]
        if marker not in SEGMENTS:
            position, fill = mark + 1, fill + 1
            continue
        segments, position = segments + 1, mark + 2
        (length,) = struct.unpack_from(">H", content, position)
        if marker in FRAMES:
            frame = content[mark + 1 : position + length]
        position += length
        if marker == SCAN:
            break
    several = frame[:1] and (frame[0] in PROGRESSIVE or content[mark + 4] < frame[8])
    if several and (needed := _coefficients(frame)) > most_coefficients:
        return (
            f"{needed // 2**20} MB of coefficients, of which {most_coefficients // 2**20} are the "
            "most; save it as a baseline JPEG"
        )
    return _in_scans(content, position, bool(several))


def _coefficients(frame: bytes) -> int:
    """Return the bytes of all coefficients of a JPEG, whose frame header begins at its marker."""
    height, width, components = struct.unpack_from(">HHB", frame, 4)
    factors = [(frame[10 + 3 * n] >> 4, frame[10 + 3 * n] & 15) for n in range(components)]
    across, down = (max(1, *(factor[axis] for factor in factors)) for axis in (0, 1))
    units: int = ceil(width / (8 * across)) * ceil(height / (8 * down))
    return units * sum(a * b for a, b in factors) * 64 * 2


def _in_scans(content: bytes, start: int, several: bool) -> str:
    """Return what a JPEG has too much of from its first scan's data on."""
    fill = content.find(b"\xff" * MOST_FILL, start)
    many = several and content.count(bytes((0xFF, SCAN)), start) >= MOST_SCANS
    if fill < 0 and not many:
        return ""
    position, scans, end = start, 1, fill if fill >= 0 else len(content)
    while match := MARKER.search(content, position, end):
        marker = content[match.start() + 1]
        if marker == END:
            return ""  # what follows the picture is not read
        scans += marker == SCAN
        if scans > MOST_SCANS:
            return f"more than {MOST_SCANS} scans"
        position = match.end()
        if marker in SEGMENTS:
            position += struct.unpack_from(">H", content, position)[0]
    return f"{MOST_FILL} bytes of filling" if fill >= 0 else ""


def _in_chunks(content: bytes, position: int, head: str, overhead: int) -> str:
    """Say if there are too many chunks; `overhead` are a chunk's bytes beside its data."""
    for _ in range(MOST_CHUNKS):
        (length,) = struct.unpack_from(head, content, position)
        position += length + overhead
        if overhead == 8:
            position += length % 2
    return f"more than {MOST_CHUNKS} chunks"


def _in_tiff(content: bytes, order: str) -> str:
    """Say if a tag of the first picture lists too many numbers."""
    (version,) = struct.unpack_from(f"{order}H", content, 2)
    big = version == 43
    (directory,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", content, 8 if big else 4)
    (entries,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", content, directory)
    first, size = directory + (8 if big else 2), 20 if big else 12
    for entry in range(min(entries, MOST_VALUES)):
        place = first + size * entry
        tag, kind, count = struct.unpack_from(f"{order}HH{'Q' if big else 'I'}", content, place)
        if kind in LISTS and count > MOST_VALUES:
            return f"{count} numbers in tag {tag}"
    return ""


def _in_bmp(content: bytes) -> str:
    """Say if there are too many run lengths."""
    (compression,) = struct.unpack_from("<I", content, 30)
    if compression in (1, 2) and len(content) > MOST_RUNS:
        return f"{len(content)} bytes of run lengths"
    return ""
