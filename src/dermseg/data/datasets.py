"""The cache that training reads.

It holds the whole set at the network's size as two memory-mapped uint8 arrays, so that an
epoch neither decodes nor resizes anything.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from numpy.typing import NDArray

from dermseg.cores import parallel_map
from dermseg.data.layouts import Pair
from dermseg.errors import DataError, ImageError
from dermseg.imaging.images import resize
from dermseg.imaging.mask_files import MASK_FOREGROUND
from dermseg.imaging.orientation import as_seen, lies_across, shape_along
from dermseg.imaging.photographs import image_size, read_photograph
from dermseg.masks.style import STYLE_IDS, UNTOLD, read_style
from dermseg.progress import track
from dermseg.storage.files import (
    aside_prefix,
    reading,
    remove_leftovers,
    umask,
    writing,
    written_whole,
)

CACHE_FORMAT = 4
"""Raised when what a cache holds changes, so that old ones are rebuilt."""
DIGEST_FORMAT = 1
"""Not to be changed: model files name their data by such digests."""
IMAGES, MASKS, STYLES, TURNED = "images.npy", "masks.npy", "styles.npy", "turned.npy"
LISTED = 20
"""Unusable pairs that an error names."""
SIGNATURE_SIDE = 16
SIGNATURE_READ = 64
"""Height and width to which a photograph may be reduced before it is shrunk to its signature."""


@dataclass(frozen=True)
class Cache:
    """A data set at one size.

    `images` is uint8 (N, 3, H, W); `masks` is uint8 (N, H, W), 0 to 255, between the two where a
    border crosses the pixel. Both lie as the network sees them: `turned`, bool (N,), says which
    photographs lie across it and are turned (`imaging.orientation`). `digest` changes when a file's
    name or size does, or how the masks lie, and so is the same for a copy of the data. `styles`,
    uint8 (N,), are the ids of the masks' styles (`masks.style`), read at their full size unless a
    table says them.
    """

    image_ids: list[str]
    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    digest: str
    styles: NDArray[np.uint8]
    turned: NDArray[np.bool_]


def open_cache(
    pairs: Sequence[Pair],
    height: int,
    width: int,
    folder: Path,
    *,
    allow_resized: bool,
    identity: Sequence[Pair] | None = None,
) -> Cache:
    """Return the cache of `pairs` at `height` x `width`, building it in `folder` if it must.

    Its digest is that of the pairs `identity`, or of all.

    Raises DataError, naming the files, for photographs and masks that cannot be read, for masks of
    which it is not known how they lie on their photographs, and for pairs whose sizes differ unless
    `allow_resized` (sets of thumbnails with full-size masks).
    """
    files = _files(pairs)
    told = sorted({pair.mask_frame for pair in pairs if pair.mask_frame})
    version = digest(files, CACHE_FORMAT, height, width, allow_resized, *told)
    place = folder / f"{height}x{width}-{version[:16]}"
    if not place.is_dir():
        _build(pairs, height, width, place, allow_resized)
    with reading(place):
        images, masks = (np.load(place / name, mmap_mode="r") for name in (IMAGES, MASKS))
        styles, turned = (np.load(place / name) for name in (STYLES, TURNED))
    return Cache(
        image_ids=[pair.image_id for pair in pairs],
        images=images,
        masks=masks,
        digest=digest(
            _files(pairs if identity is None else identity),
            *(frame for frame in told if frame == "upright"),
            times=False,
        ),
        styles=_labelled(styles, pairs),
        turned=turned,
    )


def _labelled(styles: NDArray[np.uint8], pairs: Sequence[Pair]) -> NDArray[np.uint8]:
    """Return the styles read from masks, with a person's own labels in their place."""
    told = [styles[row] if p.style is None else STYLE_IDS[p.style] for row, p in enumerate(pairs)]
    return np.array(told, np.uint8)


def _files(pairs: Sequence[Pair]) -> list[Path]:
    return [file for pair in pairs for file in (pair.photograph, pair.mask)]


def read_signatures(photographs: Sequence[Path], folder: Path) -> NDArray[np.uint8]:
    """Return every photograph shrunk to 16 x 16, uint8 (N, 16, 16, 3), kept in `folder`.

    They depend on the photographs alone, not on the size that a network wants, and so do the
    groups of near-duplicates that are made from them.
    """
    place = folder / f"signatures-{digest(photographs)[:16]}.npy"
    if not place.is_file():
        results = parallel_map(_signature, photographs)
        signatures = list(track(results, "Comparing the data", len(photographs)))
        with written_whole(place) as temporary:
            np.save(temporary, np.stack(signatures))
    with reading(place):
        found: NDArray[np.uint8] = np.load(place)
    return found


def _signature(photograph: Path) -> NDArray[np.uint8]:
    pixels = read_photograph(photograph, at_least=(SIGNATURE_READ, SIGNATURE_READ)).pixels
    return resize(pixels, SIGNATURE_SIDE, SIGNATURE_SIDE)


def digest(files: Sequence[Path], *settings: object, times: bool = True) -> str:
    """Return a digest that changes when a file's name or size does, or its time, or a setting.

    Without `times` a copy of the files has the same digest. Raises DataError for a file that cannot
    be looked at, such as a link that leads nowhere.
    """
    stats = [(file, _stat(file)) for file in files]
    facts = [(file.name, s.st_size, s.st_mtime_ns if times else 0) for file, s in stats]
    text = json.dumps([DIGEST_FORMAT, settings, facts])
    return hashlib.sha256(text.encode()).hexdigest()


def _stat(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error


def check_fills(images: int, batch_size: int) -> None:
    """Raise DataError if there are fewer images to train on than a batch has."""
    if images < batch_size:
        raise DataError(
            f"{images} training images do not fill a batch of {batch_size}; "
            "choose a smaller --batch-size"
        )


def _build(
    pairs: Sequence[Pair], height: int, width: int, place: Path, allow_resized: bool
) -> None:
    """Write a cache aside and rename it, so that a build cut short leaves nothing behind."""
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(place.parent)
        aside = Path(mkdtemp(prefix=aside_prefix(), dir=place.parent))
        try:
            _fill(pairs, height, width, aside, allow_resized)
            aside.chmod(0o777 & ~umask())
            _rename(aside, place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _fill(
    pairs: Sequence[Pair], height: int, width: int, folder: Path, allow_resized: bool
) -> None:
    """Write a cache's arrays into `folder`, and close them: Windows renames no folder in use."""
    count, shape = len(pairs), (height, width)
    images = np.lib.format.open_memmap(folder / IMAGES, "w+", np.uint8, (count, 3, height, width))
    masks = np.lib.format.open_memmap(folder / MASKS, "w+", np.uint8, (count, height, width))
    styles, turned = np.full(count, UNTOLD, np.uint8), np.zeros(count, np.bool_)
    for file in folder.iterdir():
        _take_room(file)

    def load(row: int) -> str | None:
        pair = pairs[row]
        try:
            mask = pair.read_mask()
            size = image_size(pair.photograph)
            if not allow_resized and size != mask.shape:
                return (
                    f"{pair.photograph}: has the size {_size(size)}, but its mask "
                    f"{_size(mask.shape)} (--allow-resized accepts thumbnails)"
                )
            if (style := read_style(mask > MASK_FOREGROUND).style) is not None:
                styles[row] = STYLE_IDS[style]
            needed = shape_along(shape, mask.shape)
            pixels = read_photograph(pair.photograph, at_least=needed).pixels
            seen, truth = (as_seen(each, mask.shape, shape) for each in (pixels, mask))
            images[row] = resize(seen, height, width).transpose(2, 0, 1)
            masks[row] = resize(truth, height, width)
            turned[row] = lies_across(mask.shape, shape)
        except ImageError as error:
            return str(error)
        return None

    results = track(parallel_map(load, range(count)), "Reading the data", count)
    problems = [problem for problem in results if problem is not None]
    if problems:
        rest = len(problems) - LISTED
        more = [f"and {rest} more; dermseg doctor lists and counts all of them"] * (rest > 0)
        title = f"{len(problems)} of {count} pairs are unusable"
        raise DataError.listing(title, [*problems[:LISTED], *more])
    images.flush()
    masks.flush()
    np.save(folder / STYLES, styles)
    np.save(folder / TURNED, turned)


def _take_room(file: Path) -> None:
    """Take a file's room on the disk, where that can be done beforehand.

    A map's file has none until its pages are written, and a page that finds no room kills Python.
    """
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, file.stat().st_size)


def _rename(aside: Path, place: Path) -> None:
    """Give a finished cache its name, unless another training has just built the same."""
    try:
        aside.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"
