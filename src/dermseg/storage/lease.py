"""A lease on a folder of a store, which has no locks: one process works there at a time.

A lease is a file that stores create for one caller alone, and that its holder writes again every
few seconds. Who finds one that stays as it is takes the next number.
"""

import json
import os
import platform
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex
from time import monotonic, sleep, time

from dermseg.errors import DermsegError, ImageError, StoreError, UsageError
from dermseg.storage.files import is_running
from dermseg.storage.stores import Store

PREFIX = "lease-"
THIS_PROCESS = token_hex(8)


@dataclass(frozen=True)
class Rhythm:
    """Seconds between what is done again and again."""

    beat: float = 20.0
    """Until a lease is written again."""
    expiry: float = 90.0
    """After which a lease that was not written again counts as left."""
    flush: float = 10.0
    """Until new lines of a journal are written."""


USUAL = Rhythm()


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, and when it was last written, by its holder's clock."""

    host: str
    machine: str
    process: int
    run: str
    beat: float

    @classmethod
    def here(cls) -> "Holder":
        """Return this process, now."""
        return cls(platform.node(), machine(), os.getpid(), THIS_PROCESS, time())


def machine() -> str:
    """Return a digest of where a process number means one process: container, machine, start."""
    said = [platform.node()]
    if sys.platform == "linux":
        with suppress(OSError):
            said += [Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")]
            said += [str(Path("/proc/self/ns/pid").readlink())]
    return blake2b("".join(said).encode(), digest_size=8).hexdigest()


class Lease:
    """A lease of this process. `beat` must be called again and again, `check` before writing."""

    def __init__(self, store: Store, rhythm: Rhythm) -> None:
        """Take the lease on a store; raise UsageError, naming the holder, if another has it."""
        self._store = store
        self._rhythm = rhythm
        self._lost = ""
        earlier = _leases(store)
        for name in earlier:
            _check_left(store, name, rhythm)
        self._name = f"{PREFIX}{_number(earlier[-1]) + 1 if earlier else 1:06}.json"
        if not store.create(self._name, _content()):
            _check_left(store, self._name, rhythm)
            raise UsageError(f"{store}: another process has just begun here; try again")
        self._last = monotonic()
        if max(_leases(store), default="") != self._name:  # who waited longer than others worked
            self.release()
            raise UsageError(f"{store}: another process has just begun here; try again")
        for name in earlier:
            store.remove(name)

    def beat(self) -> None:
        """Write the lease again, if it is time; a store that does not answer is asked later."""
        if self._lost or monotonic() - self._last < self._rhythm.beat:
            return
        try:
            holder = _read(self._store, self._name)
            if (
                holder is None
                or holder.run != THIS_PROCESS
                or max(_leases(self._store), default="") > self._name
            ):
                self.lose("another process has taken over")
                return
            self._store.write(self._name, _content())
            self._last = monotonic()
        except DermsegError as error:
            if monotonic() - self._last > self._rhythm.expiry:
                self.lose(str(error))

    def lose(self, why: str) -> None:
        """Say that the lease is lost, which `check` then raises."""
        self._lost = why

    def check(self) -> None:
        """Raise StoreError if the lease is lost."""
        if self._lost:
            raise StoreError(
                f"{self._store}: the lease on it is lost ({self._lost}); start again to go on"
            )

    def release(self) -> None:
        """Give the lease up; where the store does not answer it expires."""
        if not self._lost:
            with suppress(DermsegError):
                self._store.remove(self._name)


def _content() -> bytes:
    return json.dumps(asdict(Holder.here())).encode()


def _leases(store: Store) -> list[str]:
    """Return the names of all leases, the latest last."""
    return sorted(file.name for file in store.files() if file.name.startswith(PREFIX))


def _number(name: str) -> int:
    digits = name.removeprefix(PREFIX).removesuffix(".json")
    return int(digits) if digits.isdecimal() else 0


def _read(store: Store, name: str) -> Holder | None:
    """Return who holds a lease; None if it is gone or no lease."""
    try:
        return Holder(**json.loads(store.read(name)))
    except (ImageError, ValueError, TypeError):
        return None


def _check_left(store: Store, name: str, rhythm: Rhythm) -> None:
    """Raise UsageError if the holder of a lease still works.

    An old lease is watched for two beats, since clocks differ.
    """
    holder = _read(store, name)
    if holder is None or holder.run == THIS_PROCESS:
        return
    if holder.machine == machine() and os.name == "posix" and not is_running(holder.process):
        return
    age = time() - holder.beat
    if abs(age) > rhythm.expiry:
        sleep(2 * rhythm.beat)
        again = _read(store, name)
        if again is None or again.beat == holder.beat:
            return
    raise UsageError(
        f"{store}: {holder.host} (process {holder.process}) works here, and said so "
        f"{max(0, round(age))} s ago; let it end, or choose another folder"
    )
