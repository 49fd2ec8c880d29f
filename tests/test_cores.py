"""Work spread over cores: in order, bounded, and ended when it should end."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Barrier, Event

import pytest

from dermseg import cores
from dermseg.cores import AHEAD, cached_property, parallel_map


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


def test_threads_compute_properties_of_their_objects_at_once() -> None:
    together = Barrier(2, timeout=20)

    class Object:
        @cached_property
        def value(self) -> int:
            return together.wait()

    objects = [Object(), Object()]
    assert sorted(parallel_map(lambda each: each.value, objects)) == [0, 1]
    assert sorted(each.value for each in objects) == [0, 1]  # kept: no one waits again
    assert isinstance(Object.value, cached_property)


def test_a_thread_for_each_core_works_at_once() -> None:
    together = Barrier(2, timeout=20)
    assert sorted(parallel_map(lambda _: together.wait(), range(2))) == [0, 1]


@pytest.mark.parametrize("ahead", [1, AHEAD])
def test_items_are_taken_only_a_few_ahead(ahead: int) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    with closing(parallel_map(abs, items(), ahead=ahead)) as results:
        next(results)
    assert len(taken) == 2 * ahead + 1


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


class TestQuota:
    @pytest.fixture(autouse=True)
    def _eight_cores(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.undo()
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
        monkeypatch.setattr(cores, "GROUPS", tmp_path)
        monkeypatch.setattr(cores, "PROCESS_GROUPS", tmp_path / "own")
        cores.quota.cache_clear()
        yield
        cores.quota.cache_clear()

    @pytest.mark.parametrize(
        ("own", "files", "expected"),
        [
            ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
            ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
            ("0::/\n", {"cpu.max": "10000 100000\n"}, 1),
            ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
            ("0::/\n", {"cpu.max": "3200000 100000\n"}, 8),
            ("0::/a/b\n", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
            ("0::/docker/gone\n", {"cpu.max": "400000 100000\n"}, 4),
            (
                "3:cpu,cpuacct:/x\n1:memory:/x\n",
                {
                    "cpu,cpuacct/x/cpu.cfs_quota_us": "500000\n",
                    "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
                },
                5,
            ),
            (
                "1:cpu:/\n",
                {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
                8,
            ),
            ("0::/\n", {"cpu.max": "nonsense"}, 8),
            ("0::/\n", {}, 8),
            ("", {}, 8),
        ],
    )
    def test_a_containers_quota_bounds_the_cores(
        self, tmp_path: Path, own: str, files: dict[str, str], expected: int
    ) -> None:
        (tmp_path / "own").write_text(own)
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        assert cores.usable_cores() == expected

    def test_other_systems_have_none(self) -> None:
        assert cores.usable_cores() == 8
