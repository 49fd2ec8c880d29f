"""How many processor cores there are to work with, and work spread over them."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 8
"""Results for each core that may wait for an earlier one that takes longer."""


def usable_cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spread(work: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result]:
    """Yield what `work` returns for each of `items`, in their order; a thread a core does it.

    However many items there are, only a few are taken ahead. What `work` raises is raised here; it,
    and an iterator that is closed, end everything that has not begun.
    """
    cores = usable_cores()
    pool = ThreadPoolExecutor(cores, thread_name_prefix="dermseg")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > AHEAD * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
