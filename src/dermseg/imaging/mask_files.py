"""Mask files: their names, reading them in any unambiguous form, writing them for the challenge."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dermseg.errors import ImageError, UsageError
from dermseg.imaging.images import Mask, Pixels
from dermseg.imaging.orientation import exif_orientation, stored_pixels
from dermseg.imaging.photographs import (
    DICOM_SUFFIXES,
    PHOTOGRAPH_SUFFIXES,
    File,
    read_with,
    stem_of,
    with_ending,
)
from dermseg.imaging.png import encode_mask
from dermseg.storage.files import files_below, write_bytes

Values: TypeAlias = NDArray[np.integer[Any]]
MASK_SUFFIX = "_segmentation.png"
MASK_ENDINGS = ("_segmentation", "_mask")
"""What may follow the photograph's name in a mask's, in any case."""
OTHER_ENDINGS = ("_superpixels", "_overlay", "_crop", "_probability", "_sheet")
"""How the names of pictures end that are neither photographs nor masks."""
LOSSY = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp"})
"""Suffixes of masks only where they are named so, or where a folder holds no others."""
LOSSY_DIFFERENCE = 16
"""Grey levels by which a lossy file's channels may differ and still be grey."""
MASK_FOREGROUND = 128
"""A mask's pixel is lesion above this value, as in the official scorer."""
BINARY = np.isin(np.arange(256), (0, 255))
"""Whether each 8-bit value belongs in a mask."""


def composed(name: str) -> str:
    """Return a name as most systems write it: macOS writes accents as characters of their own."""
    return unicodedata.normalize("NFC", name)


def by_name(named: Iterable[tuple[str, Path]]) -> tuple[dict[str, Path], list[str]]:
    """Return files by `composed` name, and a line for each second file of a name."""
    found: dict[str, Path] = {}
    problems = []
    for name, path in named:
        if found.setdefault(composed(name), path) != path:
            problems.append(f"{path}: means the same image as {found[composed(name)].name}")
    return found, problems


def mask_stem(path: Path, endings: tuple[str, ...] = MASK_ENDINGS) -> str:
    """Return the name of the photograph that a mask file belongs to, without a suffix."""
    stem = stem_of(path)
    for ending in endings:
        if stem.lower().endswith(ending) and len(stem) > len(ending):
            return stem[: -len(ending)]
    return stem


def find_masks(folder: Path, *, below: bool = False) -> list[Path]:
    """Return the masks in a folder, and in its subfolders if `below`, sorted.

    They are images of any form that is read, without hidden files, overlays, contact sheets and
    superpixels. A JPEG or WebP file is a mask where its name ends like one, or where there are no
    others.
    """
    found = [
        path
        for path in sorted(files_below(folder) if below else folder.iterdir())
        if path.suffix.lower() in PHOTOGRAPH_SUFFIXES - DICOM_SUFFIXES
        and not path.name.startswith(".")
        and not path.stem.lower().endswith(OTHER_ENDINGS)
    ]
    sure = [
        path
        for path in found
        if path.suffix.lower() not in LOSSY or path.stem.lower().endswith(MASK_ENDINGS)
    ]
    return sure or found


def find_mask(folder: Path, name: Path) -> Path:
    """Return the mask in `folder` of the photograph `name`; raise UsageError if there is none."""
    candidates = [with_ending(name, MASK_SUFFIX), with_ending(name, ".png")]
    for candidate in candidates:
        if (folder / candidate).is_file():
            return folder / candidate
    place = folder / name.parent
    masks = _by_stem(place, place.stat().st_mtime_ns) if place.is_dir() else {}
    if (stem := _comparable(stem_of(name))) in masks:
        return masks[stem]
    raise UsageError(f"{folder}: holds no {' or '.join(c.as_posix() for c in candidates)}")


@lru_cache(maxsize=16)
def _by_stem(folder: Path, _changed: int) -> dict[str, Path]:
    """Return a folder's masks by the comparable names of their photographs, and by their own."""
    masks = find_masks(folder)
    named = {_comparable(mask_stem(path)): path for path in masks}
    return named | {_comparable(path.stem): path for path in masks}


def _comparable(name: str) -> str:
    return composed(name).casefold()


@dataclass(frozen=True)
class StoredMask:
    """A mask as its file stores it: 8 bits, (H, W), lesion above MASK_FOREGROUND.

    `officially` says how the official scorer reads the file, "" where it reads the same.
    `orientation` is the file's EXIF orientation.
    """

    pixels: Pixels
    officially: str = ""
    orientation: int = 1


def read_mask(path: str | Path) -> Pixels:
    """Read a mask file.

    Parameters
    ----------
    path
        An image of any form whose marks are unambiguous: 0 and 255, 0 and 1, one bit, a palette.

    Returns
    -------
    numpy.ndarray
        uint8, (H, W), as stored. Lesion is above 128, as in the challenge's official scorer.

    Raises
    ------
    ImageError
        If the file cannot be read or what it marks is ambiguous; the message names it.

    Examples
    --------
    >>> truth = dermseg.read_mask("examples/masks/ISIC_0003582_segmentation.png") > 128
    >>> truth.shape
    (512, 768)
    """
    return read_stored_mask(path).pixels


def read_stored_mask(path: str | Path) -> StoredMask:
    """Read a mask file of any form that is read, with what there is to say of it.

    Grey values, one bit, a palette, equal channels of colour, 16 bits, and black with one other
    value or colour are unambiguous. Raises ImageError, naming the file and the way out, for others.
    """

    def decoded(file: File) -> StoredMask:
        image, orientation = file.image, exif_orientation(file.image)
        file.load()
        officially = "" if image.mode in ("L", "1") else "as no mask"
        grey = _grey(image, path)
        pixels = _eight_bits(grey, path)
        if not officially and pixels is not grey and pixels.any():
            officially = "as empty"
        return StoredMask(stored_pixels(pixels, image, orientation), officially, orientation)

    return read_with(path, decoded)


def _grey(image: Image.Image, path: str | Path) -> Values:
    """Return the values of a mask's only channel."""
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode == "L" or image.mode.startswith("I"):
        return np.asarray(image)
    opaque = np.asarray(image.convert("RGBA"))
    colours, alpha = opaque[..., :3], opaque[..., 3]
    if alpha.min() != alpha.max() and ((colours[..., 1] > MASK_FOREGROUND) != (alpha > 127)).any():
        raise _ambiguous(path, "it is transparent in places")
    spread = colours.max(2).astype(np.int16) - colours.min(2)
    lossy = image.format in ("JPEG", "MPO", "WEBP")
    if spread.max() <= (LOSSY_DIFFERENCE if lossy else 0):
        return np.asarray(colours[..., 1])
    marked = colours.any(2)
    if (colours[marked] == colours[marked][0]).all() and not marked.all():
        return _marked(marked)
    raise _ambiguous(path, "it has several colours")


def _eight_bits(grey: Values, path: str | Path) -> Pixels:
    """Return values 0 to 255; black and one other value become 0 and 255."""
    highest, lowest = int(grey.max()), int(grey.min())
    if lowest >= 0 and (highest == 0 or MASK_FOREGROUND < highest <= 255):
        return grey.astype(np.uint8, copy=False)
    values = np.unique(grey)
    if values.tolist() in ([0, highest], [1]):
        return _marked(grey == highest)
    if lowest >= 0 and 2**15 <= highest < 2**16:
        return np.asarray(grey >> 8, np.uint8)
    listed = ", ".join(map(str, values[:4])) + (", ..." if len(values) > 4 else "")
    raise _ambiguous(path, f"its values are {listed}")


def _marked(lesion: NDArray[np.bool_] | np.bool_) -> Pixels:
    return np.asarray(lesion).astype(np.uint8) * np.uint8(255)


def _ambiguous(path: str | Path, why: str) -> ImageError:
    return ImageError(
        f"{path}: ambiguous as a mask, since {why}; write lesion as 255 and skin as 0 (as "
        "`dermseg doctor DATA --fix OUT` does with all masks that can be read)"
    )


def is_binary(mask: Pixels) -> bool:
    """Say whether a mask holds nothing but 0 and 255."""
    return bool(BINARY[mask].all())


def write_mask(path: str | Path, mask: Mask) -> None:
    """Write a mask as the challenge wants it: an 8-bit PNG of one channel, 0 or 255.

    Parameters
    ----------
    path
        The file to write. It appears whole or not at all.
    mask
        (H, W), boolean or of numbers; what is not zero is lesion.

    Raises
    ------
    OutputError
        If the file cannot be written, or a side has more than a million pixels.

    Examples
    --------
    >>> lesion = dermseg.segment("examples/photographs/ISIC_0003582.jpg")
    >>> dermseg.write_mask(folder / "ISIC_0003582_segmentation.png", lesion.mask)
    """
    write_bytes(Path(path), encode_mask(mask))
