"""What surrounds an image's pixels: its form by the first bytes, and files without metadata.

Lengths that lead astray are passed over, to find pixels that a decoder would miss.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator

HEAD = 512
"""First bytes of a file that tell its form."""
BARE_DICOM = "DICOM without its first 132 bytes"
BEGINNINGS: tuple[tuple[int, bytes, str], ...] = (
    (128, b"DICM", "DICOM"),  # whatever lies in the 128 bytes before, such as a TIFF's beginning
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"BM", "BMP"),
    (8, b"CR\x02\x00", "CR2"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"II+\x00", "BigTIFF"),
    (0, b"MM\x00+", "BigTIFF"),
    (8, b"WEBP", "WebP"),
    (0, b"GIF8", "GIF"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"ftypcrx ", "CR3"),
    (0, b"FUJIFILMCCD-RAW", "RAF"),
    (0, b"IIRO", "ORF"),
    (0, b"IIU\x00", "RW2"),
    (0, b"8BPS", "PSD"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"<", "HTML or XML"),
    *((0, bytes((2, 0, element, 0)), BARE_DICOM) for element in (0, 1, 2)),
    *((0, bytes((8, 0, element, 0)), BARE_DICOM) for element in (0, 1, 5, 8, 0x16)),
    *((0, b"P%d%c" % (number, blank), "PNM") for number in range(1, 8) for blank in b" \n\r\t"),
)
"""Place, bytes and form."""
DICOM_META, DICOM_CLASS, DICOM_SYNTAX = 132, 0x0002, 0x0010
"""Where a DICOM file says what it is, and the elements that say its class and its coding."""
NO_PICTURES = re.compile(
    r"1\.2\.840\.10008\.(1\.3\.10|5\.1\.4\.1\.1\.([124589]|1[0-4]|20|30|6[678]|7[89]|8[0128]|9[01]"
    r"|104|12[89]|13[01]|20[01]|481|501))(\.|$)"
)
"""Classes of DICOM files without a photograph: folders, X-rays, CT, MR, nuclear medicine and
radiotherapy, waveforms, presentation states, segmentations, measurements, reports and documents."""
MOST_PARTS = 100_000
"""Chunks, segments or tags of a file beyond which it is not looked through."""
MOST_SUMMED = 8
"""How many times a file's bytes are summed at most: damaged lengths lead over them again."""
LARGEST_PROFILE = 2**20
"""Bytes of a colour profile, uncompressed, that Pillow reads from a PNG."""
PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
PNG_FACTS = (b"sBIT", b"eXIf", b"iCCP")
"""Chunks that are kept where they are sound."""
WEBP_PIXELS = (b"VP8X", b"ALPH", b"VP8 ", b"VP8L", b"ANIM", b"ANMF")
WEBP_METADATA = 0x20 | 0x08 | 0x04
"""Flags of a VP8X chunk: colour profile, EXIF, XMP."""
JPEG_TABLES = (0xDB, 0xC4, 0xCC, 0xDD, *range(0xC0, 0xC4), *range(0xC5, 0xC8), 0xC9, 0xCA)
START_OF_SCAN = 0xDA
TIFF_PIXELS = frozenset(
    tag
    for first, last in (
        *((254, 259), (262, 262), (266, 266), (273, 274), (277, 279), (284, 284), (292, 293)),
        *((317, 317), (320, 320), (322, 325), (332, 336), (338, 347), (512, 521), (529, 532)),
    )
    for tag in range(first, last + 1)
)
"""Tags that say what the pixels are and where they lie."""


def form_of(head: bytes) -> str:
    """Return the name of the form that a file's first HEAD bytes tell; "" if none is known."""
    if head[4:8] == b"ftyp" and b"avif" in head[8:40]:
        return "AVIF"
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"mif1"):
        return "HEIC"
    return next((form for at, mark, form in BEGINNINGS if head[at:].startswith(mark)), "")


def dicom_facts(content: bytes) -> dict[int, str]:
    """Return what a DICOM file says of itself before its data set, by element of group 2."""
    facts: dict[int, str] = {}
    position = DICOM_META
    for _ in range(MOST_PARTS):
        if position + 12 > len(content):
            break
        group, element, kind, length = struct.unpack_from("<HH2sH", content, position)
        if group != 2:
            break
        position += 8
        if kind in (b"OB", b"UN"):
            (length,) = struct.unpack_from("<I", content, position)
            position += 4
        facts[element] = content[position : position + length].rstrip(b"\0 ").decode("latin-1")
        position += length
    return facts


def holds_picture(head: bytes) -> bool:
    """Say whether a file may be a photograph in DICOM, by its first HEAD bytes."""
    head = head[:HEAD]
    return form_of(head) == "DICOM" and not NO_PICTURES.match(
        dicom_facts(head).get(DICOM_CLASS, "")
    )


def without_metadata(content: bytes) -> bytes | None:
    """Return an image file with nothing but what decides its pixels, and facts that are sound.

    None for a form that is not known, or where nothing could be left out.
    """
    strip = STRIPPERS.get(form_of(content[:HEAD]))
    try:
        bare = strip(content) if strip else None
    except (struct.error, IndexError):
        return None
    return None if bare == content else bare


class _Marks:
    """Where one of some marks comes next; each byte is looked at once, however often one asks."""

    def __init__(self, content: bytes, marks: Iterable[bytes]) -> None:
        self._content = content
        self._places = dict.fromkeys(marks, -1)

    def after(self, position: int) -> int:
        """Return the first place from a position on, or the end; positions grow."""
        for mark, place in self._places.items():
            if place < position:
                found = self._content.find(mark, position)
                self._places[mark] = found if found >= 0 else len(self._content)
        return min(self._places.values())


def png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int, bool]]:
    """Yield each chunk's kind, its first byte and the end, and whether its checksum is right.

    Lengths that lead astray are passed over: the next chunk with pixels is looked for. The
    checksums of chunks with pixels are not computed.
    """
    position, left = 8, MOST_SUMMED * len(content)
    marks = _Marks(content, (b"PLTE", b"IDAT"))
    for _ in range(MOST_PARTS):
        if position + 8 > len(content):
            return
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        sound = kind in PNG_PIXELS
        if not sound and end <= len(content) and length <= left:
            left -= length
            sound = _has_checksum(content[position + 4 : end])
        if sound or (kind.isalpha() and content[end + 4 : end + 8].isalpha()):
            yield kind, position, end, sound
            position = end
        else:
            position = marks.after(position + 8) - 4


def _has_checksum(part: bytes) -> bool:
    return len(part) >= 4 and zlib.crc32(part[:-4]) == int.from_bytes(part[-4:], "big")


def _bare_png(content: bytes) -> bytes:
    parts = [content[:8]]
    for kind, start, end, sound in png_chunks(content):
        kept = kind in PNG_PIXELS or (kind in PNG_FACTS and sound)
        if kept and (kind != b"iCCP" or _fits(content[start + 8 : end - 4])):
            parts.append(content[start:end])
        if kind == b"IEND":
            break
    return b"".join(parts)


def _fits(profile: bytes) -> bool:
    """Say whether the compressed profile of an iCCP chunk can be read, and is not too large."""
    _, _, packed = profile.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed[1:], LARGEST_PROFILE)
    except zlib.error:
        return False
    return unpacker.eof


def _bare_webp(content: bytes) -> bytes:
    parts: list[bytes] = []
    position = 12
    while position + 8 <= len(content) and len(parts) < MOST_PARTS:
        kind, length = struct.unpack_from("<4sI", content, position)
        end = position + 8 + length + length % 2
        if kind == b"VP8X":
            flags = content[position + 8] & ~WEBP_METADATA
            parts.append(content[position : position + 8] + bytes([flags]))
            parts.append(content[position + 9 : end])
        elif kind in WEBP_PIXELS:
            parts.append(content[position:end])
        elif end > len(content):  # a damaged length: pixels may follow
            end = max(content.find(b"VP8", position + 8), 0) or len(content)
        position = end
    chunks = b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def jpeg_segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, first byte and end of each segment up to the first scan, that included.

    A length that leads astray is passed over: the next table is looked for, but where it may be
    that of a smaller picture in the metadata.
    """
    position = 2
    alone = content.find(b"\xff\xd8\xff", 2, MOST_PARTS) < 0
    marks = _Marks(content, [bytes((0xFF, table)) for table in (0xDB, 0xC4, 0xC0)])
    for _ in range(MOST_PARTS):
        if position + 4 > len(content):
            return
        fill, marker, length = struct.unpack_from(">BBH", content, position)
        if fill == 0xFF and marker == 0xFF:
            position += 1
            continue
        if fill != 0xFF:
            if not alone:
                return
            position = marks.after(position)
            continue
        end = position + 2 + length
        astray = marker != START_OF_SCAN and content[end : end + 1] != b"\xff"
        if astray and marker not in JPEG_TABLES:
            position += 3  # to where the next table is looked for
            continue
        yield marker, position, end
        if marker == START_OF_SCAN:
            return
        position = end


def _bare_jpeg(content: bytes) -> bytes:
    parts = [content[:2]]
    for marker, start, end in jpeg_segments(content):
        body = content[start + 4 : end]
        if marker == START_OF_SCAN:
            return b"".join([*parts, content[start:]])
        facts = marker == 0xE1 and body.startswith(b"Exif\0\0")
        facts |= marker == 0xE2 and body.startswith(b"ICC_PROFILE\0")
        facts |= marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12
        if facts or marker in JPEG_TABLES:
            parts.append(content[start:end])
    return content


def _bare_tiff(content: bytes) -> bytes:
    order = "<" if content[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, directory)
    places = [directory + 2 + 12 * entry for entry in range(count)]
    kept = [
        content[place : place + 12]
        for place in places
        if struct.unpack_from(f"{order}H", content, place)[0] in TIFF_PIXELS
    ]
    bare = bytearray(content)
    entries = b"".join([struct.pack(f"{order}H", len(kept)), *kept, bytes(4)])
    bare[directory : directory + len(entries)] = entries
    return bytes(bare)


STRIPPERS: dict[str, Callable[[bytes], bytes]] = {
    "PNG": _bare_png,
    "WebP": _bare_webp,
    "JPEG": _bare_jpeg,
    "TIFF": _bare_tiff,
}
