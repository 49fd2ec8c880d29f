"""Mask files: their names, reading and checking them, writing them as the challenge wants them."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from dermseg.errors import ImageError, OutputError, UsageError
from dermseg.imaging.images import Mask, Pixels
from dermseg.imaging.photographs import File, read_with
from dermseg.storage.files import written_whole

MASK_SUFFIX = "_segmentation.png"
MASK_FOREGROUND = 128
"""A mask's pixel is lesion above this value, as in the official scorer."""
BINARY = np.isin(np.arange(256), (0, 255))
"""Whether each 8-bit value belongs in a mask."""
RUN_LENGTHS = (
    cv2.IMWRITE_PNG_FILTER,
    cv2.IMWRITE_PNG_FILTER_NONE,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
)
"""How masks are compressed: a quarter of the time that Pillow's defaults take, and smaller."""
LONGEST_SIDE = 10**6
"""Pixels of a mask's side, which libpng allows."""


def by_name(named: Iterable[tuple[str, Path]]) -> tuple[dict[str, Path], list[str]]:
    """Return files by name, and a line for each second file of a name."""
    found: dict[str, Path] = {}
    problems = []
    for name, path in named:
        if found.setdefault(name, path) != path:
            problems.append(f"{path}: means the same image as {found[name].name}")
    return found, problems


def mask_stem(path: Path) -> str:
    """Return the name of the photograph that a mask file belongs to, without a suffix."""
    stem = path.stem
    return stem[: -len("_segmentation")] if stem.lower().endswith("_segmentation") else stem


def find_mask(folder: Path, name: Path) -> Path:
    """Return the mask in `folder` of the photograph `name`; raise UsageError if there is none."""
    candidates = [name.with_name(name.stem + MASK_SUFFIX), name.with_suffix(".png")]
    for candidate in candidates:
        if (folder / candidate).is_file():
            return folder / candidate
    raise UsageError(f"{folder}: holds no {' or '.join(c.as_posix() for c in candidates)}")


def read_mask(path: str | Path) -> Pixels:
    """Read a mask file as stored: one channel of 8 bits, (H, W), lesion above MASK_FOREGROUND.

    Raises ImageError, naming the file, if it cannot be read or has several channels.
    """

    def decoded(file: File) -> Pixels:
        if file.image.mode not in ("L", "1"):
            mode = file.image.mode
            raise ImageError(f"{path}: a mask has one 8-bit channel, this image is {mode}")
        file.load()
        return np.asarray(file.image.convert("L"))

    return read_with(path, decoded)


def is_binary(mask: Pixels) -> bool:
    """Say whether a mask holds nothing but 0 and 255."""
    return bool(BINARY[mask].all())


def check_mask(path: Path, mask: Pixels) -> None:
    """Raise ImageError for a mask that marks its lesion by small numbers, such as 1.

    It would count as empty: lesion is above MASK_FOREGROUND.
    """
    highest = int(mask.max())
    if 0 < highest <= MASK_FOREGROUND:
        raise ImageError(f"{path}: a mask's lesion is 255; the highest value here is {highest}")


def write_mask(path: str | Path, mask: Mask) -> None:
    """Write a mask as `encode_mask` encodes it; raise OutputError if it cannot be written."""
    with written_whole(Path(path)) as temporary:
        temporary.write_bytes(encode_mask(mask))


def encode_mask(mask: Mask) -> bytes:
    """Return a mask as the challenge wants it: an 8-bit PNG of one channel, 0 or 255.

    What is not zero is lesion. Raises OutputError for a side of more than a million pixels.
    """
    grey = mask.astype(np.bool_, copy=False).view(np.uint8) * np.uint8(255)
    done, content = cv2.imencode(".png", grey, RUN_LENGTHS)
    if not done:
        height, width = grey.shape
        raise OutputError(f"no PNG of {width} x {height}: a side has {LONGEST_SIDE} pixels at most")
    return content.tobytes()
