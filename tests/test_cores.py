"""Work spread over cores: in order, bounded, and ended when it should end."""

from collections.abc import Iterator
from contextlib import closing
from threading import Barrier, Event

import pytest

from dermseg import cores
from dermseg.cores import AHEAD, spread


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

    assert list(spread(work, range(5))) == [0, 1, 4, 9, 16]
    assert list(spread(work, [])) == []


def test_a_thread_for_each_core_works_at_once() -> None:
    together = Barrier(2, timeout=20)
    assert sorted(spread(lambda _: together.wait(), range(2))) == [0, 1]


def test_items_are_taken_only_a_few_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    with closing(spread(abs, items())) as results:
        next(results)
    assert len(taken) == 2 * AHEAD + 1


def test_what_work_raises_is_raised_and_ends_the_rest() -> None:
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(spread(work, range(10000)))
    assert len(begun) <= 2 * AHEAD + 1
