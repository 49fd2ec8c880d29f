"""Decode an image's pixels, and tell whether some of them were lost inside the file.

libjpeg goes on over damaged data, and Pillow keeps its warnings to itself. But damage leaves the
decoder too early or too late at the end: its codes come to more or fewer blocks than the picture
has. So a JPEG's data are handed over in pieces, and the piece that completes the picture tells.
That is not seen within a restart interval or in a progressive file.
"""

import struct
from dataclasses import dataclass
from io import BytesIO
from math import ceil

import numpy as np
from PIL import Image

from dermseg.imaging.containers import START_OF_SCAN, jpeg_segments
from dermseg.imaging.orientation import stored_size

END = b"\xff\xd9"
FILLER = b"\xff\x00" * 8
"""What a decoder may look ahead to: 64 bits of the code that no table has."""
EARLY, LATE = 1, 4
"""Pieces after which a decoder is done too early and too late."""
BASELINE = (0xC0, 0xC1)


class Pieces(BytesIO):
    """A JPEG file that is read as usual until `hand_over`, then in pieces of our choice."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self._pieces: list[bytes] | None = None
        self.given = 0

    def hand_over(self, pieces: list[bytes]) -> None:
        """Let further readings return `pieces`, one at a time."""
        self._pieces = pieces

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next piece, or bytes of the file."""
        if self._pieces is None:
            return super().read(size)
        self.given += 1
        return self._pieces[self.given - 1] if self.given <= len(self._pieces) else b""


@dataclass(frozen=True)
class _Scan:
    """The data of a JPEG: where they start, and how they are coded."""

    start: int
    watched: bool
    """Whether it is one baseline scan, so that its decoder shows where it was done."""
    restarts: int
    """Restart markers that a sound file has."""
    unit: tuple[int, int]
    """Height and width of the blocks that are stored together."""

    @classmethod
    def of(cls, content: bytes) -> "_Scan":
        frame, interval = b"", 0
        coding = 0
        for marker, start, end in jpeg_segments(content):
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                coding, frame = marker, content[start + 4 : end]
            elif marker == 0xDD:
                (interval,) = struct.unpack_from(">H", content, start + 4)
            elif marker == START_OF_SCAN and frame:
                watched = coding in BASELINE and content[start + 4] == frame[5]
                unit = _unit(frame)
                restarts = _restarts(frame, unit, interval) if watched else 0
                return cls(end, watched, restarts, unit)
        raise OSError("no picture follows its header")


def _unit(frame: bytes) -> tuple[int, int]:
    """Return the height and width of the blocks that a JPEG stores together."""
    factors = [frame[7 + 3 * component] for component in range(frame[5])]
    if len(factors) == 1:
        return 8, 8
    down, across = max(factor & 15 for factor in factors), max(factor >> 4 for factor in factors)
    return 8 * (down or 1), 8 * (across or 1)  # 0 is damage, of which the decoder tells


def _restarts(frame: bytes, unit: tuple[int, int], interval: int) -> int:
    """Return the number of restart markers of a baseline scan."""
    height, width = struct.unpack_from(">HH", frame, 1)
    blocks = ceil(height / unit[0]) * ceil(width / unit[1])
    return (blocks - 1) // interval if interval else 0


@dataclass(frozen=True)
class Loaded:
    """What was seen while pixels were decoded.

    `damaged` says that some were lost inside the file. `unit` is the height and width of a JPEG's
    blocks that are stored together, None for other forms.
    """

    damaged: bool = False
    unit: tuple[int, int] | None = None


def load(image: Image.Image, stream: Pieces | None) -> Loaded:
    """Decode an opened image, and say what was seen.

    `stream` is what a JPEG was opened from. Raises what Pillow raises for lost pixels, and OSError
    if the file's parts do not cover the picture, whose rest Pillow leaves black.
    """
    ends = [tile.extents[2:] for tile in getattr(image, "tile", ()) if tile.extents]
    if ends and tuple(map(max, zip(*ends, strict=True)))[::-1] != stored_size(image):
        raise OSError("image file is truncated")
    if stream is None or image.format not in ("JPEG", "MPO"):
        image.load()
        return Loaded()
    content = stream.getvalue()
    scan = _Scan.of(content)
    read = _load_scan if scan.watched else _load_scans
    return Loaded(read(image, stream, scan), scan.unit)


def _load_scan(image: Image.Image, stream: Pieces, scan: _Scan) -> bool:
    """Decode a JPEG of one baseline scan; say whether it is damaged."""
    content = stream.getvalue()
    end = content.rfind(END, scan.start)
    whole = end >= 0
    if not whole:
        end = len(content)
    done = _watch(image, stream, scan.start, end)
    if done == EARLY and (first := content.find(END, scan.start)) != end:
        # Something follows the picture, such as another one: where is the first one done?
        end = first
        again = Pieces(content)
        with Image.open(again, formats=("JPEG",)) as other:
            done = _watch(other, again, scan.start, end)
    if done >= LATE and not whole:
        raise OSError("image file is truncated")
    return done in (EARLY, LATE) or not _has_restarts(content, scan, end)


def _watch(image: Image.Image, stream: Pieces, start: int, end: int) -> int:
    """Decode the only scan of a JPEG, whose data end at `end`; return how many pieces it took."""
    content = stream.getvalue()
    end = _without(b"\xff", content, start, end)
    # A sound decoder needs the last byte, but for zeros that some encoders fill up with.
    last = max(_without(b"\0", content, start, end) - 1, start)
    pieces = [content[:last], content[last:end] or FILLER[:2], FILLER, END]
    stream.hand_over(pieces)
    image.load()
    return stream.given


def _without(byte: bytes, content: bytes, start: int, end: int) -> int:
    """Return where the content from `start` to `end` ends without such bytes at its end."""
    while end > start:  # in steps, since a copy of all takes a millisecond
        step = max(start, end - 64)
        kept = len(content[step:end].rstrip(byte))
        end = step + kept
        if kept:
            break
    return end


def _has_restarts(content: bytes, scan: _Scan, end: int) -> bool:
    """Say whether the restart markers, where a scan has some, are all there and in order."""
    if not scan.restarts:
        return True
    data = np.frombuffer(content, np.uint8)[scan.start : end]
    marked = data[1:][data[:-1] == 0xFF]
    found = marked[(marked >= 0xD0) & (marked <= 0xD7)]
    expected = 0xD0 + np.arange(scan.restarts) % 8
    return np.array_equal(found, expected)


def _load_scans(image: Image.Image, stream: Pieces, scan: _Scan) -> bool:
    """Decode a JPEG of several scans; one cut off after the first is whole, but coarse."""
    content = stream.getvalue()
    whole = content.rfind(END, scan.start) >= 0
    if not whole and content.find(bytes((0xFF, START_OF_SCAN)), scan.start) < 0:
        raise OSError("image file is truncated")
    stream.hand_over([content] if whole else [content, END])
    image.load()
    return not whole
