"""What a client sent: a photograph, and perhaps a mask drawn by hand. In memory, never on disk."""

import logging
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from dermseg.errors import ImageError, TooManyPixelsError
from dermseg.imaging.images import Mask
from dermseg.imaging.mask_files import LONGEST_SIDE, MASK_FOREGROUND
from dermseg.imaging.photographs import image_size, read_photograph
from dermseg.web.errors import ProblemError
from dermseg.web.limits import bounded

PARTS = ("photograph", "mask")
MOST_FIELDS = 8
"""Fields of a form that are read to tell that they do not belong there."""
MOST_EDGES = 400_000
"""Sides of pixels between lesion and skin in a mask drawn by hand; a lesion that fills the largest
photographs has a tenth."""
RAW = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""Types of a body that is the photograph, but for images' own; the last is curl's for anything."""
logging.getLogger("python_multipart").setLevel(logging.ERROR)  # clients are told what was wrong


@dataclass(frozen=True)
class Upload:
    """The files of a request, undecoded."""

    photograph: bytes
    mask: bytes | None = None


class _InMemory(MultiPartParser):
    """Starlette's parser writes what is larger than this to disk; `bounded` keeps it smaller."""

    spool_max_size = 2**62

    def close(self) -> None:
        """Close all files, those of parts that never ended too."""
        for file in self._files_to_close_on_error:
            file.close()


async def read_upload(request: Request, limit: int) -> Upload:
    """Return what a request brings: the photograph as its body, or the parts of a form.

    Raises ProblemError: 400 for a damaged form, 413 for more than `limit` bytes, 415 for another
    type, 422 for a form without a photograph.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_form(request, limit)
    if kind not in RAW and not kind.startswith("image/"):
        detail = f"send image bytes, or multipart/form-data, not {kind[:80]!a}"
        raise ProblemError(415, "unsupported-type", detail)
    return _checked(b"".join([chunk async for chunk in bounded(request, limit)]), None)


async def _read_form(request: Request, limit: int) -> Upload:
    body = bounded(request, limit)
    parser = _InMemory(request.headers, body, max_files=len(PARTS), max_fields=MOST_FIELDS)
    try:
        try:
            form = await parser.parse()
        except MultiPartException as error:
            raise ProblemError(400, "damaged-form", str(error.message)) from error
        except (ValueError, KeyError, AssertionError) as error:
            raise ProblemError(400, "damaged-form", "this is no multipart/form-data") from error
        files: dict[str, bytes] = {}
        for name, part in form.multi_items():
            if name not in PARTS or name in files or not isinstance(part, UploadFile):
                detail = f"a form has one file {PARTS[0]!r}, perhaps one file {PARTS[1]!r}"
                if not isinstance(part, UploadFile):
                    detail += f", and no field {name[:80]!a} (curl sends a file by -F name=@file)"
                raise ProblemError(422, "unexpected-part", detail)
            files[name] = await part.read()
        return _checked(files.get("photograph", b""), files.get("mask"))
    finally:
        parser.close()


def _checked(photograph: bytes, mask: bytes | None) -> Upload:
    if not photograph:
        raise ProblemError(422, "no-photograph", "the request brings no photograph")
    return Upload(photograph, mask)


def check_pixels(photograph: bytes, most: int) -> tuple[int, int]:
    """Return an image's (height, width), read without decoding it.

    Raises TooManyPixelsError if it has more than `most` pixels, or a side that no mask can have,
    ImageError if it is no image.
    """
    height, width = image_size(BytesIO(photograph))
    if max(height, width) > LONGEST_SIDE:
        detail = f"the photograph's longest side has {max(height, width)} pixels; masks have "
        raise TooManyPixelsError(f"{detail}{LONGEST_SIDE} at most")
    if height * width > most:
        detail = f"the photograph has {height * width} pixels; {most} are the most that are read"
        raise TooManyPixelsError(detail)
    return height, width


def read_drawn(mask: bytes, size: tuple[int, int]) -> Mask:
    """Return a mask drawn by hand, boolean (height, width), from an image of that very size.

    Browsers draw in colours: green is looked at. Raises ImageError for another size,
    ProblemError for a border that nobody would draw: answers with it would fill the memory.
    """
    source = BytesIO(mask)
    source.name = "the mask"
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
