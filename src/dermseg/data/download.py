"""Fetch one large file: again from where it stopped, and never a wrong one."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from dermseg import __version__
from dermseg.errors import DataError, OutputError, UsageError
from dermseg.progress import bar
from dermseg.storage.files import check_room, write_json, writing

PART, STATE = ".part", ".part.json"
"""What follows a file's name while it is fetched: its bytes, and which version they are of."""
MEBIBYTE = 2**20
ZIP = b"PK\x03\x04"
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers of a server that may be others in a moment."""


@dataclass(frozen=True)
class Patience:
    """When a server is given up."""

    attempts: int = 6
    """Attempts one after the other that bring no byte."""
    silence: float = 60.0
    """Seconds without a byte that end an attempt."""
    pause: float = 2.0
    """Seconds before the second attempt; before each further one they double."""
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class _Version:
    """Which version of a file a server has: its length, and the validator for If-Range."""

    size: int
    validator: str

    @classmethod
    def of(cls, response: HTTPResponse, url: str) -> "_Version":
        etag = response.headers.get("ETag", "")
        validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        total = response.headers.get("Content-Length", "")
        if response.status == 206:
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
        if not total.isdecimal():
            raise DataError(f"{url}: the server does not say how long the file is")
        return cls(int(total), validator)

    @classmethod
    def left(cls, path: Path) -> "_Version | None":
        """Return the version that an earlier attempt left beside `path`."""
        try:
            known = cls(**json.loads(path.with_name(path.name + STATE).read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        fits = isinstance(known.size, int) and isinstance(known.validator, str)
        return known if fits else None


def download(
    url: str,
    path: Path,
    md5: str | None = None,
    *,
    unpacked: float = 0.0,
    patience: Patience = Patience(),
) -> None:
    """Fetch a ZIP archive into `path`, going on where an earlier attempt stopped.

    What is there already stands beside it, `<path>.part`, and is kept where it fails. It is taken
    up only if the server says that the file is still the same one.

    Parameters
    ----------
    url
        An http or https address.
    path
        The file, which appears when it is whole.
    md5
        Its digest, where it is known.
    unpacked
        How many times its size must be free beside it, for what is unpacked.
    patience
        When the server is given up.

    Raises
    ------
    UsageError
        The address is not http or https.
    DataError
        The server has no such file, or sent another than it said.
    OutputError
        There is too little room, or it cannot be written.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"{url}: not an http or https address")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + PART)
    failures = 0
    while True:
        before = _size(part)
        try:
            if _attempt(url, path, unpacked, patience):
                break
            why = "the connection ended early"
        except HTTPError as error:
            if error.code not in PASSING:
                raise DataError(
                    f"{url}: the server answers {error.code} {error.reason}; --url names another "
                    "address with the same folders"
                ) from error
            why = f"the server answers {error.code}"
        except OutputError:
            raise
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            why = f"no connection ({reason or type(reason).__name__})"
        failures = 1 if _size(part) > before else failures + 1
        if failures >= patience.attempts:
            raise DataError(f"{url}: {why}; {_remedy(_size(part))}")
        patience.sleep(patience.pause * 2 ** (failures - 1))
    _check(part, path, url, md5)


def _remedy(size: int) -> str:
    if size:
        return f"start again to continue from {size} bytes"
    return "set HTTPS_PROXY for a proxy, or --url for another address"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _attempt(url: str, path: Path, unpacked: float, patience: Patience) -> bool:
    """Fetch as much as comes; return whether the file is complete."""
    part, state = (path.with_name(path.name + suffix) for suffix in (PART, STATE))
    known, have = _Version.left(path), _size(part)
    if known is None or not known.validator or have > known.size:
        have = 0
    elif have == known.size:
        return True
    headers = {"User-Agent": f"dermseg/{__version__}", "Accept-Encoding": "identity"}
    if have and known is not None:
        headers |= {"Range": f"bytes={have}-", "If-Range": known.validator}
    request = Request(url, headers=headers)
    with urlopen(request, timeout=patience.silence) as response:
        version = _Version.of(response, url)
        begins = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status == 206 and not (have and version == known and begins):
            _forget(part, state)  # another part, or a part of another file
            raise ConnectionError("the server sent another part than was asked for")
        if response.status != 206:
            have = 0
            _check_kind(response, url)
        check_room(path.parent, version.size - have + round(unpacked * version.size))
        write_json(state, asdict(version), compact=True)
        return _receive(response, part, have, version.size, url)


def _receive(response: HTTPResponse, part: Path, have: int, size: int, url: str) -> bool:
    total = -(-size // MEBIBYTE)
    name = urlsplit(url).path.rpartition("/")[2]
    with writing(part), part.open("r+b" if have else "wb") as file:
        file.seek(have)
        file.truncate()
        with bar(f"{name} (MB)", total, have // MEBIBYTE) as advance:
            while have < size:
                try:
                    chunk = response.read1(min(MEBIBYTE, size - have))
                except (OSError, HTTPException):
                    return False
                if not chunk:
                    return False
                if have == 0 and not chunk.startswith(ZIP[: len(chunk)]):
                    raise DataError(f"{url}: the server sent something that is not a ZIP archive")
                file.write(chunk)
                for _ in range((have + len(chunk)) // MEBIBYTE - have // MEBIBYTE):
                    advance(f"{name} (MB)")
                have += len(chunk)
    return True


def _check_kind(response: HTTPResponse, url: str) -> None:
    if response.headers.get_content_type() == "text/html":
        raise DataError(f"{url}: the server sent a web page in place of the archive")


def _forget(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _check(part: Path, path: Path, url: str, md5: str | None) -> None:
    """Give the complete file its name if it is the right one, else remove it and raise."""
    state = path.with_name(path.name + STATE)
    if md5 is not None:
        with part.open("rb") as file:
            found = hashlib.file_digest(
                file, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
        if found != md5:
            _forget(part, state)
            raise DataError(
                f"{url}: has the MD5 {found} instead of {md5}; it was removed; start again"
            )
    with writing(path):
        part.replace(path)
        _forget(state)
