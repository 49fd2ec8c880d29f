"""A copy on this machine of a folder in a store, for what reads its files again and again."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from pathlib import Path

from dermseg.cores import parallel_map
from dermseg.errors import UsageError
from dermseg.progress import track
from dermseg.storage.files import (
    cache_folder,
    check_room,
    leads_out,
    make_folder,
    occupied,
    write_json,
    writing,
)
from dermseg.storage.stores import Listed, Store, is_address, local_path, open_store

INDEX = "copied.json"
"""Which version of each file a copy has: size and tag by name."""
FILES = "files"
WEB = ("http://", "https://")
THREADS = 4
"""Files that are fetched at a time, for each core."""


def local_copy(where: str | Path, tell: Callable[[str], object]) -> Path:
    """Return a path as it is, and for the address of a store the folder of its copy.

    The copy lies in the user's cache folder. Files whose size and tag are those of the copy are not
    fetched again, and those that are gone are removed. `tell` is told where it lies.

    Raises UsageError if the store holds nothing or another process copies it, StoreError if it does
    not answer, OutputError if there is no room.
    """
    if not is_address(where):
        return local_path(where)
    if where.startswith(WEB):
        raise UsageError(f"{where}: an address; download it: web servers do not list their files")
    store = open_store(where)
    folder = cache_folder() / "stores" / blake2b(where.encode(), digest_size=8).hexdigest()
    listed = {file.name: file for file in store.files() if file.name and not leads_out(file.name)}
    if not listed:
        raise UsageError(f"{where}: holds no files")
    with occupied(folder):
        known = _known(folder / INDEX)
        wanted = [file for file in listed.values() if not _is_here(file, folder, known)]
        remedy = "; choose another cache folder by XDG_CACHE_HOME"
        check_room(folder, sum(file.size for file in wanted), remedy)
        _remove(folder / FILES, known.keys() - listed.keys())
        try:
            fetched = parallel_map(partial(_fetch, store, folder), wanted, threads=THREADS)
            for file in track(fetched, "Copying", len(wanted)):
                known[file.name] = [file.size, file.tag]
        finally:
            write_json(folder / INDEX, {name: known[name] for name in known if name in listed})
    tell(f"{where}: {len(listed)} files, of which {len(wanted)} were copied to {folder / FILES}")
    return folder / FILES


def _known(index: Path) -> dict[str, list[object]]:
    try:
        found = json.loads(index.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_here(file: Listed, folder: Path, known: dict[str, list[object]]) -> bool:
    """Say whether a file was copied as it is listed; one without a tag is fetched again."""
    path = folder / FILES / file.name
    same = bool(file.tag) and known.get(file.name) == [file.size, file.tag]
    return same and path.is_file() and path.stat().st_size == file.size


def _fetch(store: Store, folder: Path, file: Listed) -> Listed:
    path = folder / FILES / file.name
    part = folder / f"{blake2b(file.name.encode(), digest_size=16).hexdigest()}.part"
    try:
        with writing(path):
            make_folder(path.parent)
            store.fetch(file.name, part)
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return file


def _remove(folder: Path, names: set[str]) -> None:
    """Remove files, and their folders where they hold nothing else."""
    for name in names:
        path = folder / name
        path.unlink(missing_ok=True)
        with suppress(OSError):  # it holds other files
            for _ in Path(name).parts[1:]:
                path = path.parent
                path.rmdir()
