"""The challenge's official archives: where they are, what is in them, and unpacking them."""

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Literal, TypeAlias

from PIL import Image

from dermseg.cores import parallel_map
from dermseg.data.download import Patience, download
from dermseg.data.layouts import Part
from dermseg.errors import DataError, ImageError, UsageError
from dermseg.imaging.images import resize
from dermseg.imaging.mask_files import mask_stem
from dermseg.imaging.photographs import read_photograph
from dermseg.progress import track
from dermseg.storage.files import check_room, leads_out, occupied, write_bytes, write_text

Challenge: TypeAlias = Literal["isic2016", "isic2017", "isic2018"]
BASE = "https://isic-archive.s3.amazonaws.com/challenges"
"""Where the archives lie, in a folder for each year."""
FETCHED = ".fetched"
"""The file that says that a folder is complete, and what it holds."""
TABLE = ".csv"
LOCKED = 1
"""The flag of a member that needs a password."""
LARGEST_FILE = 2**28
"""Bytes of a file in an archive; the largest photograph has 2**24."""
THUMBNAIL_QUALITY = 95
LARGEST_THUMBNAIL = 4096
THUMBNAILS_SHARE = 0.1
"""Size of all thumbnails, as a share of their archive's, that is kept free for them."""


@dataclass(frozen=True)
class Archive:
    """One archive: its file's name, and its MD5 where somebody has published it."""

    name: str
    md5: str | None = None

    @property
    def folder(self) -> str:
        """The folder that it is unpacked into."""
        return self.name.removesuffix(".zip")


@dataclass(frozen=True)
class Split:
    """The photographs and masks of a part of a challenge, and how many there are of each."""

    count: int
    photographs: Archive
    masks: Archive


ARCHIVES: dict[Challenge, dict[Part, Split]] = {
    "isic2016": {
        "training": Split(
            900,
            Archive("ISBI2016_ISIC_Part1_Training_Data.zip", "2029f387e62dcc062b1370b1efc1f7fb"),
            Archive(
                "ISBI2016_ISIC_Part1_Training_GroundTruth.zip", "fbd77134298f3511479a37bac93109c7"
            ),
        ),
        "test": Split(
            379,
            Archive("ISBI2016_ISIC_Part1_Test_Data.zip", "efebcaeaae751007401a40a60d391f93"),
            Archive("ISBI2016_ISIC_Part1_Test_GroundTruth.zip", "492a7711a2e19b96114cab6c96bd1ad5"),
        ),
    },
    "isic2017": {
        "training": Split(
            2000,
            Archive("ISIC-2017_Training_Data.zip", "a14a7e622c67a358797ae59abb8a0b0c"),
            Archive("ISIC-2017_Training_Part1_GroundTruth.zip", "77fdbeb6fbec4139937224416b250f4c"),
        ),
        "validation": Split(
            150,
            Archive("ISIC-2017_Validation_Data.zip", "8d6419d942112f709894c0d82f6c9038"),
            Archive(
                "ISIC-2017_Validation_Part1_GroundTruth.zip", "64d3e68fa2deeb8a5e89aa8dec2efd44"
            ),
        ),
        "test": Split(
            600,
            Archive("ISIC-2017_Test_v2_Data.zip", "5f6a0b5e1f2972bd1f5ea02680489f09"),
            Archive("ISIC-2017_Test_v2_Part1_GroundTruth.zip", "b1742de6bd257faca3b2b21a4aa3b781"),
        ),
    },
    "isic2018": {
        "training": Split(
            2594,
            Archive("ISIC2018_Task1-2_Training_Input.zip", "8b5be801f37b58ccf533df2928a5906b"),
            Archive("ISIC2018_Task1_Training_GroundTruth.zip", "ee5e5db7771d48fa2613abc7cb5c24e2"),
        ),
        "validation": Split(
            100,
            Archive("ISIC2018_Task1-2_Validation_Input.zip", "d8f15a08981c8d6c0646b5e3228ef20d"),
            Archive(
                "ISIC2018_Task1_Validation_GroundTruth.zip", "2323d7ed9350de0a463d529ef45a62f4"
            ),
        ),
        "test": Split(
            1000,
            Archive("ISIC2018_Task1-2_Test_Input.zip", "0a9ba80e1aee58716fbfcdde7131c45a"),
            Archive("ISIC2018_Task1_Test_GroundTruth.zip"),
        ),
    },
}
"""The segmentation task of each challenge.

The challenge publishes no digests. Those of 2016 and 2017 agree in the code of several projects
that fetch the archives, such as google-deepmind/dm_nevis for the photographs of 2017; those of 2018
are in the code of one.
"""


@dataclass(frozen=True)
class Wanted:
    """What is taken out of an archive: `count` files that end in `suffix`, and tables.

    With `side` photographs become thumbnails, whose longest side it is.
    """

    suffix: str
    count: int
    side: int | None = None

    @property
    def said(self) -> str:
        """What the folder then holds."""
        return "whole files" if self.side is None else f"thumbnails of {self.side} pixels"


@dataclass(frozen=True)
class Fetching:
    """How archives are fetched.

    `thumbnails` is the longest side to which photographs are reduced, None for whole ones. `base`
    holds the years' folders.
    """

    output: Path
    thumbnails: int | None = None
    base: str = BASE
    patience: Patience = Patience()


def fetch(challenge: Challenge, part: Part, fetching: Fetching) -> int:
    """Fetch a part of a challenge, check it and unpack it.

    Parameters
    ----------
    challenge
        Which challenge's segmentation task.
    part
        Which part; that of 2016 has no validation set.
    fetching
        Where to and how. What is there already, whole, is kept.

    Returns
    -------
    int
        The number of photographs, each with its mask.

    Raises
    ------
    UsageError
        There is no such part, or a folder holds photographs of another size.
    DataError
        An archive cannot be fetched, is damaged, or does not hold what it should.
    OutputError
        There is too little room, or a file cannot be written.
    """
    split = ARCHIVES[challenge].get(part)
    if split is None:
        raise UsageError(f"{challenge} has no {part} set; it has {', '.join(ARCHIVES[challenge])}")
    if fetching.thumbnails is not None and not 1 <= fetching.thumbnails <= LARGEST_THUMBNAIL:
        raise UsageError(f"--thumbnails {fetching.thumbnails}: must be 1 to {LARGEST_THUMBNAIL}")
    year = challenge.removeprefix("isic")
    with occupied(fetching.output):
        masks = _fetch(split.masks, Wanted(".png", split.count), year, fetching)
        wanted = Wanted(".jpg", split.count, fetching.thumbnails)
        photographs = _fetch(split.photographs, wanted, year, fetching)
    if odd := sorted(masks ^ photographs):
        raise DataError(
            f"{fetching.output}: {len(odd)} images of {challenge}, {part}, lack a photograph or a "
            f"mask, such as {odd[0]}; remove both folders and start again"
        )
    return len(masks)


def _fetch(archive: Archive, wanted: Wanted, year: str, fetching: Fetching) -> set[str]:
    """Fetch and unpack an archive, unless its folder is complete; return its images' names."""
    folder, path = fetching.output / archive.folder, fetching.output / archive.name
    mark = folder / FETCHED
    if mark.exists() and (holds := mark.read_text(encoding="utf-8").strip()) != wanted.said:
        raise UsageError(f"{folder}: holds {holds}; choose another folder")
    if not mark.exists():
        if not path.exists():
            url = f"{fetching.base.rstrip('/')}/{year}/{archive.name}"
            unpacked = 1.0 if wanted.side is None else THUMBNAILS_SHARE
            download(url, path, archive.md5, unpacked=unpacked, patience=fetching.patience)
        unpack(path, folder, wanted)
        path.unlink()
    return {mask_stem(file).upper() for file in folder.glob(f"*{wanted.suffix}")}


def unpack(path: Path, folder: Path, wanted: Wanted) -> None:
    """Unpack an archive into a folder, and mark it as complete.

    Folders in the archive are left out, so that no name leads elsewhere. Thumbnails are made one
    photograph at a time. The checksum of each file is verified. Raises DataError, having removed
    the archive, if it is damaged or does not hold what is wanted.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = list(_members(archive, path, wanted))
            if wanted.side is None:
                check_room(path.parent, sum(each.file_size for each in members))
            work = partial(_write, archive, folder, wanted.side)
            for _ in track(parallel_map(work, members), f"Unpacking {folder.name}", len(members)):
                pass
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ImageError) as error:
        path.unlink(missing_ok=True)
        raise DataError(f"{path}: is damaged and was removed ({error}); start again") from error
    except DataError:
        path.unlink(missing_ok=True)
        raise
    write_text(folder / FETCHED, wanted.said + "\n")


def _members(archive: zipfile.ZipFile, path: Path, wanted: Wanted) -> Iterator[zipfile.ZipInfo]:
    """Yield the members that are wanted, by their names without folders.

    Raises DataError if there are too few or too many, or one that no such archive has.
    """
    names: set[str] = set()
    images = 0
    for member in archive.infolist():
        name = PurePosixPath(member.filename.replace("\\", "/")).name
        kind = PurePosixPath(name).suffix.lower()
        if (
            member.is_dir()
            or kind not in (wanted.suffix, TABLE)
            or name.startswith(".")
            or "superpixels" in name
            or leads_out(name)
        ):
            continue
        if member.file_size > LARGEST_FILE or member.flag_bits & LOCKED:
            raise DataError(
                f"{path}: {name} has {member.file_size} bytes, or a password; the archive is not "
                "the challenge's"
            )
        if name.casefold() in names:
            raise DataError(f"{path}: holds {name} twice")
        names.add(name.casefold())
        images += kind == wanted.suffix
        member.filename = name
        yield member
    if images != wanted.count:
        raise DataError(f"{path}: has {images} *{wanted.suffix} files instead of {wanted.count}")


def _write(
    archive: zipfile.ZipFile, folder: Path, side: int | None, member: zipfile.ZipInfo
) -> None:
    """Write one file, unless it is there."""
    path = folder / member.filename
    if side is None and path.exists() and _is_same(path, member):
        return
    with archive.open(member) as file:
        content = file.read(member.file_size)  # and no byte more, whatever it unpacks to
    if side is not None and path.suffix.lower() == ".jpg":
        content = thumbnail(content, side, member.filename)
    write_bytes(path, content)


def _is_same(path: Path, member: zipfile.ZipInfo) -> bool:
    content = path.read_bytes()
    return len(content) == member.file_size and zlib.crc32(content) == member.CRC


def thumbnail(content: bytes, side: int, name: str) -> bytes:
    """Return a photograph as a JPEG whose longest side is `side`; a smaller one as it is."""
    source = BytesIO(content)
    source.name = name
    photograph = read_photograph(source, at_least=(side, side))
    size = photograph.height, photograph.width
    if max(size) <= side:
        return content
    height, width = (max(1, round(length * side / max(size))) for length in size)
    buffer = BytesIO()
    image = Image.fromarray(resize(photograph.pixels, height, width))
    image.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()
