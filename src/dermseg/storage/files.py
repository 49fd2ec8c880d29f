"""Files that appear whole or not at all, and folders walked however deep they are."""

import csv
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from secrets import token_hex
from stat import S_ISREG
from time import time
from typing import IO, Any, TextIO
from zipfile import BadZipFile

from zlib_ng.zlib_ng import crc32

from dermseg.errors import DataError, OutputError, UsageError

ASIDE = ".dermseg-"
"""How the name of a file begins while it is being written; where and by which process follows."""
LOCK = ".lock"
"""The file whose lock says that a folder is being worked in."""
FAR = 2**30
"""The byte of a file that is locked on Windows: beyond the file's end."""
JUNCTION = 0xA0000003
"""What Windows says of a folder that is a link to another, and no symbolic one."""
HERE = blake2b(platform.node().encode(), digest_size=4).hexdigest()
"""This machine, in such a name."""
DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    RecursionError,
    BadZipFile,
    csv.Error,
)
"""What readers of JSON, tables and arrays raise for other files than those they were made for."""
OTHER = -1
"""Where a sum would stand, for what is no file."""
CHUNK = 2**20
DAY = 24 * 60 * 60.0
"""Seconds after which another machine's half-written file counts as left behind."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the block's OSError into an OutputError that names `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError.about(path, error) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the block raises of a damaged file of dermseg's into a DataError that names it."""
    try:
        yield
    except DAMAGE as error:
        raise DataError(f"{path}: damaged, or not what dermseg wrote ({error})") from error


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to `path` at the end: whole or not at all.

    Raises OutputError, naming `path`, if the disk is full or the folder cannot be written.
    """
    temporary: Path | None = None
    try:
        with writing(path):
            make_folder(path.parent)
            aside = path.with_name(f"{aside_prefix()}{token_hex(8)}{path.suffix}")
            aside.touch(exist_ok=False)  # with the umask's permissions, and not over another's file
            temporary = aside
            yield temporary
            temporary.replace(path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; pathlib's way ends at a thousand."""
    missing: list[Path] = []
    for place in (folder, *folder.parents):
        if place.is_dir():
            break
        missing.append(place)
    for place in reversed(missing):
        place.mkdir(exist_ok=True)


def walk(
    folder: Path,
    onerror: Callable[[OSError], object] = lambda _: None,
    *,
    followlinks: bool = False,
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Walk a folder as os.walk does, which ends at a thousand subfolders in Python 3.11.

    Yields each folder with the names of its subfolders, of which those that the caller removes are
    not entered, and of its files; both in order. A link to a folder that it lies in is not
    followed.
    """
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            onerror(error)
            continue
        links = {entry.name for entry in entries if is_link(entry)}
        folders = [entry.name for entry in entries if _is_folder(entry)]
        inside = set(folders)
        yield place, folders, [entry.name for entry in entries if entry.name not in inside]
        entered = (place / name for name in reversed(folders) if followlinks or name not in links)
        waiting += [each for each in entered if each.name not in links or not _leads_back(each)]


def _leads_back(link: Path) -> bool:
    """Say whether a link leads to a folder that it lies in."""
    here = Path(os.path.realpath(link.parent))
    return Path(os.path.realpath(link)) in (here, *here.parents)


def is_link(entry: os.DirEntry[str] | Path) -> bool:
    """Say whether something is a link, symbolic or one of Windows' junctions."""
    if entry.is_symlink():
        return True
    if sys.platform != "win32":
        return False
    try:
        return entry.stat(follow_symlinks=False).st_reparse_tag == JUNCTION
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in circles
        return False


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders; links to folders are not followed."""
    for place, _, names in walk(folder):
        yield from (place / name for name in names)


def leads_out(name: str) -> bool:
    """Say whether a file of this name, as a store or an archive has it, lies outside its folder.

    On Windows a colon follows the name of a drive, or of the file that a stream belongs to.
    """
    path = PurePosixPath(name)
    colon = sys.platform == "win32" and ":" in name
    return colon or path.is_absolute() or ".." in path.parts or "\\" in name


def is_special(path: Path) -> bool:
    """Say whether something is there that is no file: a folder, or a pipe that may never answer."""
    try:
        return not S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def checksum(path: Path) -> int | None:
    """Return a sum that finds a file that was changed; None where none is or can be read.

    Of what is no file, a folder or a pipe, it is OTHER.
    """
    found = 0
    try:
        if is_special(path):
            return OTHER
        with path.open("rb") as handle:
            while chunk := handle.read(CHUNK):
                found = crc32(chunk, found)
    except (OSError, ValueError):  # it is no name of a file
        return None
    return found


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole; raise OutputError if it cannot be written."""
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def text_written_whole(path: Path) -> Iterator[TextIO]:
    """Yield a text to write, in UTF-8 and with one kind of line ends; else as `written_whole`."""
    with (
        written_whole(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        yield file


def write_text(path: Path, text: str) -> None:
    """Write a text, whole, in UTF-8 and with one kind of line ends; raise as `write_bytes`."""
    with text_written_whole(path) as file:
        file.write(text)


def write_json(path: Path, value: object, *, compact: bool = False) -> None:
    """Write `value` as JSON, whole; for people to read, or `compact` on one line.

    Raises OutputError if it cannot be written.
    """
    text = json.dumps(value, separators=(",", ":")) if compact else json.dumps(value, indent=1)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Return what `write_json` wrote of a result that is made again where it is missing.

    Raises DataError, with the remedy, if the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: damaged ({error}); remove it") from error


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Keep other processes out of `folder`, which is made if need be, for the length of the block.

    The lock ends with its process, however that ends. Raises UsageError if another holds it,
    OutputError if the folder cannot be written.
    """
    with ExitStack() as stack:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            handle = stack.enter_context((folder / LOCK).open("ab"))
        lock(handle, folder)
        yield


def lock(handle: IO[Any], folder: Path) -> None:
    """Lock an open file until it is closed.

    Raises UsageError, naming `folder`, if another process holds the lock. Does nothing where the
    file system has no locks.
    """
    if not _locked(handle):
        raise UsageError(
            f"{folder}: another process is working here; let it end, or choose another folder"
        )


def _locked(handle: IO[Any]) -> bool:
    """Lock an open file, and say whether no other process had."""
    try:
        if sys.platform == "win32":
            import msvcrt

            handle.seek(FAR)  # others may read what is there
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


def remove_leftovers(folder: Path, *, below: bool = True) -> None:
    """Remove half-written files of killed processes in `folder`, and with `below` in subfolders."""
    for path in [path for path in _entries(folder, below=below) if path.name.startswith(ASIDE)]:
        machine, process, *_ = [*path.name.removeprefix(ASIDE).split("-"), ""]
        if process.isdecimal() and _is_left(path, machine, int(process)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _entries(folder: Path, *, below: bool) -> Iterator[Path]:
    """Yield the entries of a folder, and with `below` those of its subfolders."""
    for place, folders, names in walk(folder):
        yield from (place / name for name in (*folders, *names))
        if not below:
            return


def aside_prefix() -> str:
    """Return how a name begins that this process uses while it writes."""
    return f"{ASIDE}{HERE}-{os.getpid()}-"


def _is_left(path: Path, machine: str, process: int) -> bool:
    """Say whether the process that was writing `path` has ended.

    For another machine's process, and on Windows, this cannot be asked: the file's age decides.
    """
    if machine == HERE and os.name != "nt":
        return not is_running(process)
    try:
        return time() - path.stat().st_mtime > DAY
    except OSError:
        return False  # its writer has just renamed it


def is_running(process: int) -> bool:
    """Say whether a process of this number runs on this machine; not to be asked on Windows."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # no process can have such a number
        return False
    except OSError:
        return True  # it runs, but is not ours to signal
    return True


def check_room(folder: Path, needed: int, remedy: str = "") -> None:
    """Raise OutputError, which ends in `remedy`, if fewer than `needed` bytes are free there."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{folder}: {free / 1e9:.1f} GB are free, and {needed / 1e9:.1f} GB are needed{remedy}"
        )


def cache_folder() -> Path:
    """Return the folder in the user's own for what can be fetched or measured again."""
    home = Path.home()
    usual = {"win32": home / "AppData" / "Local", "darwin": home / "Library" / "Caches"}
    folder = os.environ.get("XDG_CACHE_HOME") or usual.get(sys.platform, home / ".cache")
    return Path(folder) / "dermseg"


def umask() -> int:
    """Return the process's file mode creation mask; for one thread, since it sets it meanwhile."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
