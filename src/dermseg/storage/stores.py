"""Where files come from and go to: a folder of this machine, or a store such as S3.

A store is spoken to through fsspec, which the extra "cloud" brings and which is imported when a
store is named. Threads share a store; forked processes must not.
"""

import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from base64 import b64decode
from binascii import Error as NoBase64
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import md5
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn, TypeGuard

from zlib_ng.zlib_ng import crc32

from dermseg.errors import (
    DermsegError,
    ImageError,
    MissingExtraError,
    OutputError,
    StoreError,
    UsageError,
)
from dermseg.storage.files import CHUNK, checksum, files_below, writing, written_whole

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")
"""How the address of a store begins; a drive of Windows has one letter."""
ARCHIVE = re.compile(r"(?P<kind>zip|tar)://(?P<inside>.*?)::(?P<file>.+)", re.DOTALL)
FILE = "file://"
BLOCK, BLOCKS = 4 * 2**20, 32
"""Bytes that are fetched at once of an archive in a store, and how many such blocks are kept:
threads ask for photographs a little out of order."""
PAGE = 1000
"""Files of a bucket that are listed at once, S3's most."""
TAGS = ("ETag", "etag", "md5Hash", "content_md5", "CRC", "chksum", "mtime", "LastModified")
TIMES = ("last_modified", "updated", "created")
"""What drivers call that which changes with a file's content, the surest first."""
Sum = int | None
"""What a file holds, as a number to compare; None where there is no file."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of a listing: its name within the store, its bytes, and what changes with them.

    `tag` is empty where a driver says nothing of the kind.
    """

    name: str
    size: int
    tag: str


class Store(ABC):
    """A folder of files, on this machine or elsewhere. Names have forward slashes."""

    def __str__(self) -> str:
        return self.address("")

    @abstractmethod
    def address(self, name: str) -> str:
        """Return what a person calls a file."""

    def key(self, name: str) -> str:
        """Return what a file is unique by."""
        return self.address(name)

    @abstractmethod
    def below(self, name: str) -> "Store":
        """Return a folder in it."""

    @abstractmethod
    def list_sums(self) -> None:
        """List what is there, if `is_as` would otherwise ask the network for each file."""

    @abstractmethod
    def files(self) -> Iterator[Listed]:
        """Yield the files below it; none where it is not there. Raises UsageError, StoreError."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return what a file holds. Raises ImageError if it cannot be read, StoreError."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all. Raises OutputError, StoreError."""

    @abstractmethod
    def fetch(self, name: str, target: Path) -> None:
        """Write what a file holds to a file of this machine; raise as `read` does."""

    @abstractmethod
    def written_whole(self, name: str) -> AbstractContextManager[Path]:
        """Yield a path of this machine to fill; the file becomes that at the end; as `write`."""

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Write a file and return True, or False if it is there; of two callers one may."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there. Raises OutputError, StoreError."""

    @abstractmethod
    def sum_of(self, content: bytes | Path) -> int:
        """Return the sum that a file of this content, or of that of a path, has here."""

    @abstractmethod
    def is_as(self, name: str, sums: Collection[Sum]) -> bool:
        """Say whether a file's sum is one of `sums`; None among them means that none is there."""


class LocalStore(Store):
    """A folder of this machine, which need not be there yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def address(self, name: str) -> str:
        """Return a file's path."""
        return str(self.folder / name)

    def key(self, name: str) -> str:
        """Return a file's path, links resolved."""
        return str((self.folder / name).resolve())

    def below(self, name: str) -> "LocalStore":
        """Return a folder in it."""
        return LocalStore(self.folder / name)

    def list_sums(self) -> None:
        """Do nothing: a file here is read."""

    def files(self) -> Iterator[Listed]:
        """Yield the files below it; links to folders are not followed."""
        for path in files_below(self.folder):
            with suppress(OSError):  # it has just gone
                found = path.stat()
                name = path.relative_to(self.folder).as_posix()
                yield Listed(name, found.st_size, str(found.st_mtime_ns))

    def read(self, name: str) -> bytes:
        """Return what a file holds."""
        try:
            return (self.folder / name).read_bytes()
        except OSError as error:
            raise ImageError(f"{self.folder / name}: cannot be read ({error.strerror})") from error

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        with written_whole(self.folder / name) as temporary:
            temporary.write_bytes(content)

    def fetch(self, name: str, target: Path) -> None:
        """Write what a file holds to another one."""
        try:
            shutil.copyfile(self.folder / name, target)
        except OSError as error:
            raise ImageError(f"{self.folder / name}: cannot be read ({error.strerror})") from error

    def written_whole(self, name: str) -> AbstractContextManager[Path]:
        """Yield a path to fill, beside the file that it becomes."""
        return written_whole(self.folder / name)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file, unless it is there."""
        path = self.folder / name
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("xb") as handle:
                    handle.write(content)
            except FileExistsError:
                return False
        return True

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with writing(self.folder / name):
            (self.folder / name).unlink(missing_ok=True)

    def sum_of(self, content: bytes | Path) -> int:
        """Return the sum that a file of this content has."""
        return (checksum(content) or 0) if isinstance(content, Path) else crc32(content)

    def is_as(self, name: str, sums: Collection[Sum]) -> bool:
        """Say whether a file's sum is one of `sums`."""
        return checksum(self.folder / name) in sums


class RemoteStore(Store):
    """A folder that fsspec reads and writes: of a bucket, a web server, an archive.

    What it holds is listed at most once, for the sums of files that were not written here: then
    they are not read.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") if not url.endswith("::") else url
        self._sums: dict[str, Sum] | None = None  # by name; None where a file does not tell
        try:
            self._fs, self._root, self._archive_tag, self._is_near = _opened(self._url)
        except DermsegError:
            raise
        except Exception as error:
            self._refuse(error)
        alone = isinstance(self._fs, _archives())
        # Threads share the position in an archive's file.
        self._lock: AbstractContextManager[object] = Lock() if alone else nullcontext()

    def __reduce__(self) -> tuple[Callable[[str], "RemoteStore"], tuple[str]]:
        return _opened_again, (self._url,)

    def address(self, name: str) -> str:
        """Return a file's address."""
        if found := ARCHIVE.fullmatch(self._url):
            inside = "/".join(filter(None, (found["inside"], name)))
            return f"{found['kind']}://{inside}::{found['file']}"
        return f"{self._url}/{name}" if name else self._url

    def below(self, name: str) -> "RemoteStore":
        """Return a folder in it."""
        return RemoteStore(self.address(name))

    def files(self) -> Iterator[Listed]:
        """Yield the files below it, in order; those of an archive as they lie in it."""
        listed = self._pages() if hasattr(self._fs, "call_s3") else self._found()
        prefix = self._root.rstrip("/") + "/" if self._root.strip("/") else self._root
        try:
            for path, info in listed:
                name = path.removeprefix(prefix).lstrip("/") if path != self._root else ""
                size = info.get("size") or info.get("Size") or 0
                yield Listed(name, size, _tag(info) + self._archive_tag)
        except DermsegError:
            raise
        except Exception as error:
            self._refuse(error)

    def _found(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield each file's path with what its driver says of it."""
        with self._lock:
            listed = self._fs.find(self._root, detail=True)
        for path in list(listed):
            yield path, listed.pop(path)

    def _pages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the same of S3, a page at a time; s3fs would hold a million, which take 1 GB."""
        bucket, key, _ = self._fs.split_path(self._root)
        asked = {"Bucket": bucket, "Prefix": f"{key}/" if key else "", "MaxKeys": PAGE}
        count, more = 0, True
        while more:
            page = self._fs.call_s3("list_objects_v2", **asked)
            for info in page.get("Contents", ()):
                count += 1
                if not info["Key"].endswith("/"):  # which stands for a folder
                    yield f"{bucket}/{info['Key']}", info
            more = page.get("IsTruncated", False)
            asked["ContinuationToken"] = page.get("NextContinuationToken", "")
        if key and not count:
            with suppress(FileNotFoundError):
                info = self._fs.info(self._root)
                if info["type"] == "file":
                    yield self._root, info

    def read(self, name: str) -> bytes:
        """Return what a file holds."""
        try:
            with self._lock:
                return bytes(self._fs.cat_file(self._path(name)))
        except Exception as error:
            raise self._about(name, "read", error, ImageError) from error

    def head(self, name: str, size: int) -> bytes | None:
        """Return a file's first bytes, none where it cannot be read; None if that is a request."""
        if not self._is_near:
            return None
        try:
            with self._lock, self._fs.open(self._path(name), "rb") as handle:
                return bytes(handle.read(size))
        except Exception:
            return b""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        try:
            self._fs.pipe_file(self._path(name), content)
        except Exception as error:
            raise self._about(name, "written", error, OutputError) from error
        self._know(name, self.sum_of(content))

    def fetch(self, name: str, target: Path) -> None:
        """Write what a file holds to a file of this machine."""
        try:
            with self._lock:
                self._fs.get_file(self._path(name), str(target))
        except Exception as error:
            raise self._about(name, "read", error, ImageError) from error

    @contextmanager
    def written_whole(self, name: str) -> Iterator[Path]:
        """Yield a path of this machine to fill; the file becomes that at the end."""
        with tempfile.TemporaryDirectory(prefix="dermseg-") as folder:
            path = Path(folder) / "file"
            yield path
            try:
                self._fs.put_file(str(path), self._path(name))
            except Exception as error:
                raise self._about(name, "written", error, OutputError) from error
            self._know(name, self.sum_of(path))

    def create(self, name: str, content: bytes) -> bool:
        """Write a file, unless it is there; stores decide this themselves, where they can."""
        try:
            self._fs.pipe_file(self._path(name), content, mode="create")
        except FileExistsError:
            return False
        except Exception as error:
            raise self._about(name, "written", error, OutputError) from error
        return True

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        try:
            self._fs.rm_file(self._path(name))
        except FileNotFoundError:
            pass
        except Exception as error:
            raise self._about(name, "removed", error, OutputError) from error
        self._know(name, None)

    def sum_of(self, content: bytes | Path) -> int:
        """Return the sum that a file of this content has: digits of its MD5, which stores tell."""
        found = md5(content if isinstance(content, bytes) else b"", usedforsecurity=False)
        if isinstance(content, Path):
            with content.open("rb") as handle:
                while chunk := handle.read(CHUNK):
                    found.update(chunk)
        return int(found.hexdigest()[:12], 16)

    def list_sums(self) -> None:
        """List what is there, so that `is_as` asks for no single file."""
        self._sums = {file.name: _sum(file.tag) for file in self.files()}

    def is_as(self, name: str, sums: Collection[Sum]) -> bool:
        """Say whether a file's sum is one of `sums`.

        Where its tag does not say so, which may be no MD5 (of an encrypted bucket), it is read.
        """
        is_there, told = self._told(name)
        if not is_there:
            return None in sums
        if told in sums and told is not None:
            return True
        if all(each is None for each in sums):
            return False
        actual = self.sum_of(self.read(name))
        self._know(name, actual)
        return actual in sums

    def _told(self, name: str) -> tuple[bool, int | None]:
        """Return whether a file is there, and its sum where the store tells it."""
        if self._sums is not None:
            return name in self._sums, self._sums.get(name)
        try:
            with self._lock:
                return True, _sum(_tag(self._fs.info(self._path(name))))
        except FileNotFoundError:
            return False, None
        except Exception as error:
            raise self._about(name, "read", error, ImageError) from error

    def _know(self, name: str, value: int | None) -> None:
        """Keep the sum of a file that was written, read or removed here."""
        if self._sums is None:
            return
        if value is None:
            self._sums.pop(name, None)
        else:
            self._sums[name] = value

    def _path(self, name: str) -> str:
        return "/".join(filter(None, (self._root, name)))

    def _about(
        self, name: str, done: str, error: Exception, alone: type[ImageError] | type[OutputError]
    ) -> DermsegError:
        """Return our error for a driver's: of one file, if the store answers, or of the store."""
        address = self.address(name)
        if isinstance(error, FileNotFoundError):
            return alone(f"{address}: no such bucket or file")
        if self._is_open():
            return alone(f"{address}: cannot be {done} ({_why(error)})")
        if isinstance(error, PermissionError):
            return StoreError(f"{self}: refused ({_why(error)}); renew the credentials")
        return StoreError(f"{self}: does not answer ({_why(error)}); try again when it does")

    def _is_open(self) -> bool:
        """Say whether the store answers and lets us in."""
        try:
            with self._lock:
                self._fs.info(self._root)
        except FileNotFoundError:
            return True
        except Exception:
            return False
        return True

    def _refuse(self, error: Exception) -> NoReturn:
        """Raise our error for a store that cannot be opened or listed."""
        address = str(self)
        if isinstance(error, ImportError):
            raise MissingExtraError(
                f"{address}: {error}; install the driver (pip install '.[cloud]' in the clone of "
                "dermseg for s3:// and http://, pip install gcsfs for gs://, adlfs for az://)"
            ) from error
        if isinstance(error, ValueError) and "not known" in str(error):
            raise UsageError(
                f"{address}: no store that is known; s3://, gs://, az://, http://, zip:// and "
                "tar:// are"
            ) from error
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise UsageError(f"{address}: no such bucket, folder or file") from error
        if isinstance(error, PermissionError) or "Credentials" in type(error).__name__:
            raise StoreError(
                f"{address}: refused ({_why(error)}); give credentials as its driver wants them "
                "(for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
            ) from error
        if type(error).__name__ in ("BadZipFile", "ReadError"):
            raise UsageError(f"{address}: no archive of this kind ({error})") from error
        raise StoreError(f"{address}: does not answer ({_why(error)})") from error


@dataclass(frozen=True, slots=True)
class File:
    """A file of a store, whether it is there or not; `size` and `tag` as it was listed."""

    store: Store
    name: str
    size: int = 0
    tag: str = ""

    def __str__(self) -> str:
        return self.store.address(self.name)

    def read_bytes(self) -> bytes:
        """Return what it holds; raise as `Store.read` does."""
        return self.store.read(self.name)

    def write(self, content: bytes) -> None:
        """Write it, whole or not at all; raise as `Store.write` does."""
        self.store.write(self.name, content)

    def remove(self) -> None:
        """Remove it, if it is there; raise as `Store.remove` does."""
        self.store.remove(self.name)

    def sum_of(self, content: bytes) -> int:
        """Return the sum that it has if it holds this."""
        return self.store.sum_of(content)

    def is_as(self, sums: Collection[Sum]) -> bool:
        """Say whether its sum is one of `sums`; None among them means that it is not there."""
        return self.store.is_as(self.name, sums)


def is_address(where: object) -> TypeGuard[str]:
    """Say whether the address of a store is meant, and no path."""
    return isinstance(where, str) and bool(ADDRESS.match(where)) and not where.startswith(FILE)


def open_store(where: str | Path) -> Store:
    """Return the store of an address, such as s3://bucket/folder, or the folder of a path.

    Raises MissingExtraError without fsspec or its driver, UsageError for an address of no kind that
    is known or of no archive, StoreError if a store does not answer.
    """
    if is_address(where):
        return RemoteStore(where)
    return LocalStore(local_path(where))


def local_path(where: str | Path) -> Path:
    """Return the path of what is no address; file:///PATH is one, in which %20 is a space."""
    if isinstance(where, str) and where.startswith(FILE):
        from urllib.request import url2pathname  # which imports a lot

        return Path(url2pathname(where.removeprefix(FILE)))
    return Path(where)


@lru_cache(maxsize=16)
def _opened_again(url: str) -> RemoteStore:
    """Return the store that another process sent; once, though each job names it."""
    return RemoteStore(url)


def _opened(url: str) -> tuple[Any, str, str, bool]:
    """Return fsspec's file system of an address, the path within, and what to add to tags.

    Also whether it is an archive on this machine.
    """
    try:
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem
    except ImportError as error:
        raise MissingExtraError.naming("cloud", f"{url}: a store needs fsspec") from error

    # Listings are not kept: another machine may write there, and a million take a gigabyte.
    found = ARCHIVE.fullmatch(url)
    outer, path = url_to_fs(found["file"] if found else url, use_listings_cache=False)
    if hasattr(outer, "max_concurrency"):
        outer.max_concurrency = 1  # s3fs asks for a file's length first, to read it in parts
    if not found:
        return outer, str(path), "", False
    handle = outer.open(
        path, "rb", block_size=BLOCK, cache_type="blockcache", cache_options={"maxblocks": BLOCKS}
    )
    kinds = dict(zip(("zip", "tar"), _archives(), strict=True))
    # A TAR has no sums: of two with the same names, sizes and times only the archive's tag differs.
    added = f" in {_tag(outer.info(path))}" if found["kind"] == "tar" else ""
    is_near = isinstance(outer, LocalFileSystem)
    return kinds[found["kind"]](handle), found["inside"].strip("/"), added, is_near


def _archives() -> tuple[type[Any], type[Any]]:
    from fsspec.implementations.tar import TarFileSystem
    from fsspec.implementations.zip import ZipFileSystem

    return ZipFileSystem, TarFileSystem


def _tag(info: dict[str, Any]) -> str:
    """Return what changes with a file's content, as its driver says it; "" if it says nothing."""
    settings = info.get("content_settings") or {}
    said = {**info, "content_md5": settings.get("content_md5")} if settings else info
    for name in (*TAGS, *TIMES):
        if value := said.get(name):
            return value.hex() if isinstance(value, bytes | bytearray) else str(value).strip('"')
    return ""


def _sum(tag: str) -> int | None:
    """Return the sum in a tag that is an MD5, by its 16 bytes in base 16 or 64; None in others."""
    with suppress(ValueError, NoBase64):
        digits = tag if len(tag) == 32 else b64decode(tag, validate=True).hex()
        if len(digits) == 32:
            return int(digits[:12], 16)
    return None


def _why(error: BaseException) -> str:
    """Return what a driver says, on one line, or else the kind of its error."""
    return " ".join(str(error).split()) or type(error).__name__
