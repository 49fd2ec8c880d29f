"""Work spread over cores: in order, bounded, and ended when it should end."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from threading import Barrier, Event

import pytest

from dermseg import cores
from dermseg.cores import AHEAD, parallel_map


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)


def test_results_come_in_the_items_order() -> None:
    second = Event()

    def work(item: int) -> int:
        if item == 0:
            assert second.wait(20)  # the first item is done last
        else:
            second.set()
        return item * item

    assert list(parallel_map(work, range(5))) == [0, 1, 4, 9, 16]
    assert list(parallel_map(work, [])) == []


def test_a_thread_for_each_core_works_at_once() -> None:
    together = Barrier(2, timeout=20)
    assert sorted(parallel_map(lambda _: together.wait(), range(2))) == [0, 1]


def test_items_are_taken_only_a_few_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    with closing(parallel_map(abs, items())) as results:
        next(results)
    assert len(taken) == 2 * AHEAD + 1


def test_what_work_raises_is_raised_and_ends_the_rest() -> None:
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(parallel_map(work, range(10000)))
    assert len(begun) <= 2 * AHEAD + 1


CHILD = """
import sys
import numpy as np
from pathlib import Path
from dermseg.cores import keep_memory

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096

if sys.argv[1] == "keep":
    keep_memory()
for _ in range(3):
    array = np.ones(40_000_000, np.uint8)
    del array
print(resident() // 1_000_000)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="glibc's own affair"
)
def test_freed_memory_is_kept_for_the_next_array() -> None:
    kept, given_back = (
        int(
            subprocess.run(
                [sys.executable, "-c", CHILD, word], capture_output=True, text=True, check=True
            ).stdout
        )
        for word in ("keep", "not")
    )
    assert 35 < kept - given_back < 60, "one array's memory, and not three"
