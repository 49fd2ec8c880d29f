"""The processor: what it is, how many cores it has, and a parallel map over them."""

import ctypes
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property as cached_property
else:
    from functools import cached_property as _locked

    class cached_property(_locked):
        """functools.cached_property without the lock, for which the threads of all objects wait."""

        def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
            """Return the value, which is kept from the first access on."""
            if instance is None:
                return self
            value = instance.__dict__[self.attrname] = self.func(instance)
            return value


Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 8
"""Results for each core that may wait for an earlier one that takes longer."""
GROUPS, PROCESS_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
"""Linux's control groups, by which containers bound processor time, and this process's own."""
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""From malloc.h: the free memory at the top of the heap, and the number of large arrays, beyond
which memory goes back to the system."""


def usable_cores() -> int:
    """Return the number of processors that this process may use.

    Those it may run on, or fewer where a container's quota allows less time than they have.
    """
    affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, quota())))


@cache
def quota() -> float:
    """Return how many processors' time Linux lets this process use; infinite without a bound."""
    memberships = PROCESS_GROUPS.read_text(encoding="utf-8") if PROCESS_GROUPS.is_file() else ""
    quotas = [math.inf]
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)
        root = GROUPS / controllers  # version 2 has no controllers' folders
        if not controllers or "cpu" in controllers.split(","):
            group = root / path.lstrip("/")
            outer = (folder for folder in group.parents if folder.is_relative_to(root))
            quotas += map(_quota_of, (group, *outer))
    return min(quotas)


def _quota_of(group: Path) -> float:
    """Return a control group's quota in processors, from the files of either version."""
    for files in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):
        with suppress(OSError, ValueError):  # there is no such file, or it says "max"
            allowed, period = " ".join(
                (group / name).read_text(encoding="utf-8") for name in files
            ).split()
            return int(allowed) / int(period) if int(allowed) > 0 else math.inf
    return math.inf


@cache
def processor_facts() -> dict[str, str]:
    """Return what Linux says of the first processor, by name; nothing on other systems."""
    listing = Path("/proc/cpuinfo")
    facts: dict[str, str] = {}
    for line in listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else ():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    return facts


def processor_features() -> frozenset[str]:
    """Return what the first processor can do, in Linux's words; nothing on other systems."""
    facts = processor_facts()
    return frozenset((facts.get("flags") or facts.get("Features") or "").split())


@cache
def keep_memory() -> None:
    """Let this process keep freed memory for its next arrays, where the C library is glibc.

    glibc would give each large array back to the system, which clears every page of the next one
    and halts all threads to do so: a tenth to a sixth of the time of a folder or of a training.

    The command line calls this when it starts. The library never does, since it is for the whole
    process: call it once, before the first photograph. A second call, and one on another system,
    does nothing.

    Examples
    --------
    >>> import dermseg
    >>> dermseg.keep_memory()
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is not None and hasattr(library, "gnu_get_libc_version"):
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def parallel_map(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int = 1,
    ahead: int = AHEAD,
) -> Generator[Result]:
    """Apply `work` to each of `items`, and yield the results in order.

    `threads` a core do the work, one unless it waits for a network. At most `ahead` items for each
    are taken in advance, so that memory is bounded. An exception of `work` is raised here. It
    cancels all items that have not begun, and so does closing the generator.
    """
    from concurrent.futures import ThreadPoolExecutor  # not for --help, which it slows by 4 ms

    cores = threads * usable_cores()
    pool = ThreadPoolExecutor(cores, thread_name_prefix="dermseg")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
