"""How a mask lies on its photograph: along the pixels as stored, or as EXIF shows them.

dermseg's own masks lie along the stored pixels, and so do most data sets'. A mask that was drawn in
a program that obeys EXIF lies along the upright picture. Where EXIF turns a photograph by half, or
a square one, sizes do not tell; nothing is guessed then, and a person has to say it.
"""

from pathlib import Path
from typing import get_args

from dermseg.errors import ImageError
from dermseg.imaging.images import Pixels
from dermseg.imaging.mask_files import read_mask
from dermseg.imaging.orientation import Size, as_filed, exchanges_sides, upright
from dermseg.imaging.photographs import Header, Source, read_header
from dermseg.settings import MaskFrame


def frame_problem(photograph: Header, mask: Header, told: MaskFrame | None) -> str:
    """Return why it is not known how a mask lies on its photograph; "" where it is.

    `told` is what a person says of it. Where it is known, a mask lies as `told`, or as stored.
    """
    fitting = fitting_frames(photograph, mask)
    sizes = f"{_text(mask.size)} on {_text(photograph.size)} as stored"
    turned = f"EXIF turns its photograph (orientation {photograph.orientation})"
    if photograph.orientation == mask.orientation:  # which turns both alike
        return "" if fitting else f"lies across its photograph, {sizes}"
    if told:
        return "" if told in fitting else f"lies across its photograph, {sizes}, if {told}"
    if fitting == ["stored"]:
        return ""
    if fitting == ["upright"]:
        return f"lies across its photograph, {sizes}, but along it upright (--mask-frame upright)"
    if not fitting:
        return f"lies across its photograph, {sizes}"
    return f"{turned}, and its size does not tell how it lies: --mask-frame stored or upright"


def fitting_frames(photograph: Header, mask: Header) -> list[MaskFrame]:
    """Return in which frames a mask does not lie across its photograph."""
    return [
        frame
        for frame in get_args(MaskFrame)
        if not _crosses(photograph.size, _size(photograph, mask, frame))
    ]


def check_frame(photograph: Path, mask: Path, told: MaskFrame | None) -> None:
    """Raise ImageError, naming the mask, unless it is known how it lies on its photograph."""
    if problem := frame_problem(read_header(photograph), read_header(mask), told):
        raise ImageError(f"{mask}: {problem}")


def read_along(photograph: Path, mask: Path, told: MaskFrame | None) -> Pixels:
    """Return a mask's pixels along those of its photograph as stored.

    Raises ImageError as `read_mask` does; whether it is known how it lies, `check_frame` says.
    """
    pixels = read_mask(mask)
    if told != "upright":
        return pixels
    return along_stored(pixels, read_header(photograph).orientation, read_header(mask).orientation)


def along_stored(mask: Pixels, photograph_turn: int, mask_turn: int = 1) -> Pixels:
    """Return an upright mask along the stored pixels; both turns are EXIF orientations."""
    return as_filed(upright(mask, mask_turn), photograph_turn)


def size_along(photograph: Source, mask: Path, told: MaskFrame | None) -> Size:
    """Return the size that a mask gives its photograph, (height, width) as stored.

    Raises ImageError, naming the mask, where it lies across or it is not known how it lies.
    """
    headers = read_header(photograph), read_header(mask)
    sizes = {_size(*headers, frame) for frame in get_args(MaskFrame)}
    alike = len(sizes) == 1  # then it does not matter how it lies
    if problem := frame_problem(*headers, "stored" if alike else told):
        raise ImageError(f"{mask}: {problem}")
    return _size(*headers, told or "stored")


def _size(photograph: Header, mask: Header, frame: MaskFrame) -> Size:
    """Return a mask's size along its photograph's stored pixels, if it lies in `frame`."""
    orientations = photograph.orientation, mask.orientation
    turns = frame == "upright" and len({exchanges_sides(each) for each in orientations}) > 1
    return mask.size[::-1] if turns else mask.size


def _crosses(one: Size, other: Size) -> bool:
    """Say whether one is a portrait and the other a landscape."""
    return (one[0] - one[1]) * (other[0] - other[1]) < 0


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
