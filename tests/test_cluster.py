"""The parallel map over a cluster, with a Ray that is none: its workers die when they are told."""

import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dermseg import cluster
from dermseg.cluster import ATTEMPTS, Cluster, Pool, Task, connected
from dermseg.errors import ClusterError, MissingExtraError, UsageError
from dermseg.settings import ClusterSettings


class DeathError(Exception):
    """Raised by work to let its process die."""


class RayError(Exception):
    """As Ray's: a worker or its node was lost."""


class RayTaskError(RayError):
    """As Ray's: the work raised `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Process:
    """An actor: what it is asked it does when the answer is fetched, in order, until it is dead."""

    def __init__(self, actor: Any, node: str) -> None:
        self._actor = actor
        self.node = node
        self.dead = False
        self.start = SimpleNamespace(remote=lambda: self._asked(self._actor.start))
        self.do = SimpleNamespace(remote=lambda items: self._asked(self._actor.do, items))

    def _asked(self, method: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
        def answer() -> Any:
            if self.dead:
                raise RayError("the actor is dead")
            try:
                return method(*arguments)
            except DeathError as error:
                self.dead = True
                raise RayError("the actor died") from error
            except Exception as error:
                raise RayTaskError(error) from error

        return answer


class FakeRay:
    """What of Ray's interface is used, in one process."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, cores: int = 3) -> None:
        self.cores = cores
        self.gpus = 0
        self.made: list[Process] = []
        self.options: list[dict[str, Any]] = []

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self.cores), "GPU": float(self.gpus)}

    def nodes(self) -> list[dict[str, Any]]:
        sizes = (0, 8, 16)
        return [{"Alive": True, "Resources": {"CPU": float(size)}} for size in sizes] + [
            {"Alive": False, "Resources": {}}
        ]

    available_resources = cluster_resources

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "here")

    def remote(self, actor: Any) -> Any:
        def options(**given: Any) -> Any:
            self.options.append(given)
            return SimpleNamespace(remote=lambda *arguments: self._make(actor(*arguments)))

        return SimpleNamespace(options=options)

    def _make(self, actor: Any) -> Process:
        self.made.append(Process(actor, "here"))
        return self.made[-1]

    def wait(self, asked: Sequence[Any], **_: Any) -> Any:
        random.Random(len(self.made)).shuffle(asked := list(asked))
        return asked[:1], asked[1:]

    def get(self, answer: Callable[[], Any]) -> Any:
        return answer()

    def kill(self, process: Process) -> None:
        process.dead = True


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    found = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", found)
    monkeypatch.setattr(cluster, "keep_memory", lambda: None)
    monkeypatch.setattr(cluster, "TICK", 0.01)
    return found


def mapped(ray: FakeRay, work: Callable[[int], Any], count: int = 100, chunk: int = 4) -> Any:
    """Return the result of each item, and how often each was yielded."""
    task = Task(lambda: work, lambda item, why: f"lost {item}: {why}")
    results, times = {}, Counter[int]()
    for index, result in Pool[int, Any](Cluster(ray, chunk), task).map(range(count)):
        results[index] = result
        times[index] += 1
    assert sorted(times) == list(range(count))
    assert set(times.values()) <= {1}
    return results


def test_every_item_has_its_result_once(ray: FakeRay) -> None:
    results = mapped(ray, lambda item: item**2)
    assert results == {item: item**2 for item in range(100)}
    assert len(ray.made) == 3
    assert all(process.dead for process in ray.made), "none goes on afterwards"
    assert ray.options[0] == {
        "num_cpus": 1,
        "num_gpus": 0.0,
        "max_restarts": 0,
        "max_task_retries": 0,
    }


@pytest.mark.parametrize("seed", range(10))
def test_workers_that_die_at_random_cost_nothing(ray: FakeRay, seed: int) -> None:
    chance = random.Random(seed)

    def work(item: int) -> int:
        if chance.random() < 0.03:
            raise DeathError
        return item

    assert mapped(ray, work) == {item: item for item in range(100)}
    assert len(ray.made) > 3


@pytest.mark.parametrize("chunk", [1, 7])
def test_an_item_that_kills_its_worker_is_lost_alone(ray: FakeRay, chunk: int) -> None:
    tried: Counter[int] = Counter()

    def work(item: int) -> int:
        tried[item] += 1
        if item == 13:
            raise DeathError
        return item

    results = mapped(ray, work, chunk=chunk)
    assert results.pop(13) == "lost 13: the actor died"
    assert all(index == result for index, result in results.items())
    assert tried[13] == (ATTEMPTS if chunk == 1 else 2 * ATTEMPTS)


def test_few_items_are_divided_among_all(ray: FakeRay) -> None:
    done: Counter[int] = Counter()

    def work(item: int) -> int:
        done[item] += 1
        return item

    mapped(ray, work, count=9, chunk=16)
    assert len(ray.made) == 3


def test_cores_that_come_later_are_used(ray: FakeRay) -> None:
    def work(item: int) -> int:
        time.sleep(0.005)
        ray.cores = 6
        return item

    mapped(ray, work)
    assert len(ray.made) == 6


def test_a_worker_can_take_a_whole_node_and_a_gpu(ray: FakeRay) -> None:
    ray.cores, ray.gpus = 24, 2
    task = Task[int, int](lambda: int, lambda item, _: item, gpus=1.0, whole=True, depth=1)
    assert dict(Pool[int, int](Cluster(ray, 1), task).map(range(5))) == {n: n for n in range(5)}
    assert len(ray.made) == 2, "as many as there are GPUs"
    assert (ray.options[0]["num_cpus"], ray.options[0]["num_gpus"]) == (8, 1.0)


def test_no_core_is_said_and_then_an_error(
    ray: FakeRay, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ray.cores = 0
    monkeypatch.setattr(cluster, "SPEAK", 0.05)
    monkeypatch.setattr(cluster, "PATIENCE", 0.2)
    with pytest.raises(ClusterError, match=r"no worker began in 0\.2 seconds: the cluster has 0"):
        mapped(ray, lambda item: item)
    assert capsys.readouterr().err.count("waiting for a worker to begin") == 1


def test_what_building_raises_ends_the_map(ray: FakeRay) -> None:
    def raising(error: Exception) -> Callable[[], Any]:
        def build() -> Any:
            raise error

        return build

    def run(error: Exception) -> None:
        list(Pool[int, Any](Cluster(ray, 4), Task(raising(error), lambda *_: None)).map(range(9)))

    with pytest.raises(UsageError, match="no such model"):
        run(UsageError("no such model"))
    with pytest.raises(ClusterError, match="has not this version of dermseg"):
        run(ModuleNotFoundError("No module named 'dermseg.cluster'"))
    with pytest.raises(ClusterError, match="ZeroDivisionError: by nothing"):
        run(ZeroDivisionError("by nothing"))
    with pytest.raises(ClusterError, match="workers die when they start"):
        run(DeathError())


def reached(address: str) -> AbstractContextManager[Cluster]:
    return connected(ClusterSettings(cluster=address))


class TestConnecting:
    @pytest.mark.parametrize(
        "address", ["", "here", "ray://", "ray://host", "host:1234567", "a b:1"]
    )
    def test_what_is_no_address(self, address: str) -> None:
        with (
            pytest.raises(UsageError, match="choose auto, local"),
            reached(address),
        ):
            pass

    @pytest.mark.parametrize("form", ["ray://127.0.0.1:{}", "127.0.0.1:{}", "localhost:{}"])
    def test_an_address_where_nothing_answers(self, form: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = form.format(free.getsockname()[1])
        with (
            pytest.raises(ClusterError, match="nothing answers there"),
            reached(address),
        ):
            pass

    def test_a_cluster_of_this_machine_that_has_ended(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
        with pytest.raises(ClusterError, match="ray start --head"), reached("auto"):
            pass

    def test_without_ray(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        with (
            pytest.raises(MissingExtraError, match=r"needs ray; .*\[cluster\]"),
            reached("local"),
        ):
            pass

    @pytest.mark.parametrize(
        ("address", "error", "said"),
        [
            (
                "local",
                RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.50.0"),
                r"another version of Ray or Python than this machine, Version .* Ray: 2\.5",
            ),
            (
                "auto",
                ConnectionError("Could not find any Ray"),
                "ray start --head",
            ),
            ("local", ValueError("odd"), "odd"),
        ],
    )
    def test_what_ray_refuses(
        self,
        ray: FakeRay,
        monkeypatch: pytest.MonkeyPatch,
        address: str,
        error: Exception,
        said: str,
    ) -> None:
        def refuse(*_: Any, **options: Any) -> None:
            assert options["log_to_driver"] is False
            raise error

        monkeypatch.setattr(ray, "init", refuse, raising=False)
        monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
        with pytest.raises(ClusterError, match=said), reached(address):
            pass
