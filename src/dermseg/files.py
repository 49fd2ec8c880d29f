"""Files that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from dermseg.errors import OutputError

ASIDE = ".dermseg-"
"""How the name of a file begins while it is being written; the writer's process number follows."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise OutputError, naming `path`, for what the system refuses in the block."""
    try:
        yield
    except OSError as error:
        raise OutputError.about(path, error) from error


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to `path` at the end: whole or not at all.

    Raises OutputError, naming `path`, if the disk is full or the folder cannot be written.
    """
    temporary: Path | None = None
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f"{aside_prefix()}{token_hex(8)}{path.suffix}")
            aside.touch(exist_ok=False)  # with the umask's permissions, and not over another's file
            temporary = aside
            yield temporary
            temporary.replace(path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path, *, below: bool = True) -> None:
    """Remove what killed processes had half written in `folder` and, unless told not, below it."""
    for path in list(folder.rglob(f"{ASIDE}*") if below else folder.glob(f"{ASIDE}*")):
        process = path.name.removeprefix(ASIDE).split("-")[0]
        if process.isdecimal() and not _is_running(int(process)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def aside_prefix() -> str:
    """Return how a name begins that this process uses while it writes."""
    return f"{ASIDE}{os.getpid()}-"


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it runs, but is not ours to signal
    return True


def umask() -> int:
    """Return the process's file mode creation mask; for one thread, since it sets it meanwhile."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
