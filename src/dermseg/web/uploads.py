"""What a client sent: a photograph, and perhaps a mask drawn by hand. In memory, never on disk."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers

from dermseg.errors import ImageError, TooManyPixelsError
from dermseg.imaging.images import Mask
from dermseg.imaging.mask_files import MASK_FOREGROUND
from dermseg.imaging.photographs import image_size, read_photograph, unwrapped
from dermseg.imaging.png import LONGEST_SIDE
from dermseg.imaging.structure import check_parts
from dermseg.web.errors import ProblemError
from dermseg.web.limits import bounded, read_body

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

PARTS = ("photograph", "mask")
CURL = "(curl sends a file by -F name=@file)"
MOST_EDGES = 400_000
"""Sides of pixels between lesion and skin in a mask drawn by hand; a lesion that fills the largest
photographs has a tenth."""
MOST_COEFFICIENTS = 320 * 2**20
"""Bytes of a progressive JPEG's coefficients: a decoder needs all of them at once."""
MOST_WEBP = 24 * 10**6
"""Pixels of a WebP, whose decoder needs 15 bytes for each."""
RAW = ("", "application/octet-stream", "application/dicom", "application/x-www-form-urlencoded")
"""Types of a body that is the photograph, but for images' own; the last is curl's for anything."""
logging.getLogger("python_multipart").setLevel(logging.ERROR)  # clients are told what was wrong


@dataclass(frozen=True)
class Upload:
    """The files of a request, undecoded."""

    photograph: bytes
    mask: bytes | None = None


@dataclass
class _Form:
    """The files of a form, kept in memory while it arrives.

    Raises ProblemError for the first part that does not belong there, before its content.
    """

    parts: tuple[str, ...] = PARTS
    files: dict[str, bytearray] = field(default_factory=dict)
    whole: bool = False
    _content: bytearray = field(default_factory=bytearray)
    _header: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    _about: Message = field(default_factory=Message)

    def callbacks(self) -> "MultipartCallbacks":
        """Return what the parser is to call."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._open,
            "on_part_data": lambda data, start, end: self._content.extend(data[start:end]),
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._about = Message()

    def _end_header(self) -> None:
        name, value = (part.decode("latin-1").strip() for part in self._header)
        if name.lower() == "content-disposition":
            self._about[name] = value
        self._header = bytearray(), bytearray()

    def _open(self) -> None:
        name = self._about.get_param("name", None, "content-disposition")
        if not isinstance(name, str):
            raise ProblemError(400, "damaged-form", "a part of the form has no name")
        # get_filename knows filename*= too, which some clients send alone.
        file = self._about.get_filename()
        detail = self.refusal(name)
        if file is None:
            detail = f"{detail or 'a form has files'}, and no field {name[:80]!a} {CURL}"
        if detail:
            raise ProblemError(422, "unexpected-part", detail)
        self._content = self.add(name, file or "")

    def refusal(self, name: str) -> str:
        """Say why a part of this name does not belong here, "" if it does."""
        if name in self.parts and name not in self.files:
            return ""
        return "a form has " + ", perhaps ".join(f"one file {part!r}" for part in self.parts)

    def add(self, name: str, file: str) -> bytearray:  # noqa: ARG002
        """Return what the content of a part goes to."""
        return self.files.setdefault(name, bytearray())

    def _end(self) -> None:
        self.whole = True


@dataclass
class _Batch(_Form):
    """The photographs of a form of many, with the names of their files, in order."""

    most: int = 0
    photographs: list[tuple[str, bytearray]] = field(default_factory=list)

    def refusal(self, name: str) -> str:
        """Say why a part of this name does not belong here, "" if it does."""
        return "" if name == PARTS[0] else f"a batch has files {PARTS[0]!r} alone"

    def add(self, name: str, file: str) -> bytearray:  # noqa: ARG002
        """Return what the content of a part goes to; ProblemError if there are too many."""
        if len(self.photographs) == self.most:
            raise ProblemError(422, "too-many", f"a batch has {self.most} photographs at most")
        content = bytearray()
        # Browsers send UTF-8 in a header, which is read as Latin-1; filename*= is decoded already.
        with suppress(UnicodeError):
            file = file.encode("latin-1").decode()
        self.photographs.append((file, content))
        return content


async def read_batch(
    request: Request, limit: int, most: int, hold: Callable[[int], None]
) -> list[tuple[str, bytes]]:
    """Return the photographs of a form, each with its file's name, in the order of the form.

    Raises ProblemError as `read_upload` does; 422 also for more than `most` photographs, and 413
    for more than `limit` bytes of all together.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        detail = f"send multipart/form-data, not {kind[:80]!a}"
        raise ProblemError(415, "unsupported-type", detail)
    form = _Batch(most=most)
    await _read_form(form, bounded(request, limit, hold), request.headers)
    if not form.photographs:
        raise ProblemError(422, "no-photograph", "the request brings no photograph")
    return [(name, bytes(content)) for name, content in form.photographs]


async def read_upload(
    request: Request, limit: int, hold: Callable[[int], None], parts: tuple[str, ...] = PARTS
) -> Upload:
    """Return what a request brings: the photograph as its body, or the `parts` of a form.

    `hold` is called with the size of what arrives.

    Raises ProblemError: 400 for a damaged form, 413 for more than `limit` bytes, 415 for another
    type, 422 for a form without a photograph.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        form = _Form(parts)
        await _read_form(form, bounded(request, limit, hold), request.headers)
        mask = form.files.get("mask")
        return _checked(
            bytes(form.files.get("photograph", b"")), None if mask is None else bytes(mask)
        )
    if kind not in RAW and not kind.startswith("image/"):
        detail = f"send image bytes, or multipart/form-data, not {kind[:80]!a}"
        raise ProblemError(415, "unsupported-type", detail)
    return _checked(await read_body(request, limit, hold), None)


async def _read_form(form: _Form, body: AsyncIterator[bytes], headers: Headers) -> None:
    damaged = ProblemError(400, "damaged-form", "this is no multipart/form-data")
    boundary = parse_options_header(headers["content-type"])[1].get(b"boundary")
    if not boundary:
        raise damaged
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async for chunk in body:
            parser.write(chunk)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise damaged from error
    if not form.whole:
        raise damaged


def _checked(photograph: bytes, mask: bytes | None) -> Upload:
    if not photograph:
        raise ProblemError(422, "no-photograph", "the request brings no photograph")
    return Upload(photograph, mask)


def image_file(photograph: bytes, most: int) -> BytesIO:
    """Return the image file in a DICOM file, other files as they are, open.

    Raises TooManyPixelsError for more than `most` pixels, ImageError if it cannot be read.
    """
    source = BytesIO(photograph)
    source.name = "the photograph"
    return unwrapped(source, most=most)


def check_pixels(photograph: bytes, most: int, name: str = "the photograph") -> tuple[int, int]:
    """Return an image's (height, width), read without decoding it.

    Raises TooManyPixelsError if it has more than `most` pixels, or a side that no mask can have,
    ImageError if it is no image, or one that would keep a decoder busy or fill the memory.
    """
    check_parts(photograph, name, MOST_COEFFICIENTS)
    height, width = image_size(BytesIO(photograph))
    if max(height, width) > LONGEST_SIDE:
        detail = f"{name}'s longest side has {max(height, width)} pixels; masks have "
        raise TooManyPixelsError(f"{detail}{LONGEST_SIDE} at most")
    if photograph[8:12] == b"WEBP":
        most = min(most, MOST_WEBP)
    if height * width > most:
        detail = f"{name} has {height * width:,} pixels, of {most:,} at most"
        raise TooManyPixelsError(detail)
    return height, width


def read_drawn(mask: bytes, size: tuple[int, int]) -> Mask:
    """Return a mask drawn by hand, boolean (height, width), from an image of that very size.

    Browsers draw in colours: green is looked at. Raises ImageError for another size,
    ProblemError for a border that nobody would draw: answers with it would fill the memory.
    """
    source = BytesIO(mask)
    source.name = "the mask"
    check_parts(mask, source.name, MOST_COEFFICIENTS)
    found = image_size(source)
    if found != size:
        raise ImageError(
            f"the mask is {found[0]} x {found[1]} pixels, its photograph {size[0]} x {size[1]}"
        )
    drawn: Mask = np.ascontiguousarray(read_photograph(source).pixels[..., 1] > MASK_FOREGROUND)
    edges = np.count_nonzero(drawn[1:] != drawn[:-1])
    edges += np.count_nonzero(drawn[:, 1:] != drawn[:, :-1])
    if edges > MOST_EDGES:
        detail = f"the mask's border is {edges} pixels long; {MOST_EDGES} are the most"
        raise ProblemError(422, "too-ragged", detail)
    return drawn
