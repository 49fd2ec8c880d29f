"""A parallel map over the machines of a Ray cluster, which loses nothing when one of them dies.

Ray's actors each take a core, build the work once, and get chunks of items: paths go in, rows come
out. Ray runs them again itself when a process dies, but not when a node does. So this module puts a
chunk back that was lost, wherever it was lost, and Ray's own retries are off.
"""

import logging
import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import gettempdir
from typing import Any, Generic, TypeVar

from dermseg.cores import keep_memory, usable_cores
from dermseg.errors import ClusterError, DermsegError, MissingExtraError, UsageError
from dermseg.progress import counted, say
from dermseg.settings import ClusterSettings

Item = TypeVar("Item")
Result = TypeVar("Result")
ADDRESS = re.compile(r"(?P<client>ray://)?(?P<host>\[[\da-fA-F:]+\]|[^\s:/]+):(?P<port>\d+)")
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Ray counts its users unless told not to; the other silences a warning."""
ANSWER = 5.0
"""Seconds in which an address must answer."""
SPEAK, PATIENCE = 15.0, 180.0
"""Seconds without any worker after which that is said, and after which the work ends."""
TICK = 2.0
"""Seconds between looks at the cluster's size."""
ATTEMPTS = 3
"""How often a chunk may be lost before it is taken apart; an item alone has as many attempts."""
STARTS = 8
"""Actors in a row that may die before they are ready."""
STORE = 80 * 2**20
"""Bytes of the object store of `local`: it holds rows alone."""


@dataclass(frozen=True)
class Task(Generic[Item, Result]):
    """What is done with each item.

    `build` is sent to every actor, where it returns the work; what it raises ends the map. `lost`
    returns the result of an item whose worker died each time, with the reason. An actor takes a
    core, or with `whole` all cores of a node like the smallest, and `gpus`, which may be a part of
    one. It has `depth` chunks at once, so that it need not wait for the next.
    """

    build: Callable[[], Callable[[Item], Result]]
    lost: Callable[[Item, str], Result]
    gpus: float = 0.0
    whole: bool = False
    depth: int = 2


@dataclass
class _Chunk:
    """Items by their indices, and how often they were lost."""

    indices: Sequence[int]
    losses: int = 0


@dataclass
class _Seat:
    """An actor, the node that it is on once it is ready, and the chunks that it has."""

    actor: Any
    starting: Any
    node: str = ""
    given: deque[tuple[Any, _Chunk]] = field(default_factory=deque)

    @property
    def next(self) -> Any:
        """What it will answer next; None if nothing."""
        if self.starting is not None:
            return self.starting
        return self.given[0][0] if self.given else None


class _Actor:
    """Lives in a process of the cluster, and does one chunk after another."""

    def __init__(self, build: Callable[[], Callable[[Any], Any]], folder: Path) -> None:
        self._build = build
        self._folder = folder

    def start(self) -> str:
        """Build the work, and return the node."""
        keep_memory()
        with suppress(OSError):  # relative paths mean the same, where the folder is shared
            os.chdir(self._folder)
        self._work = self._build()
        node: str = import_module("ray").get_runtime_context().get_node_id()
        return node

    def do(self, items: Sequence[Any]) -> list[Any]:
        """Return the results of a chunk."""
        return [self._work(item) for item in items]


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to, and how many items its actors get at once."""

    ray: Any
    chunk: int = 16


class Pool(Generic[Item, Result]):
    """The actors of a cluster, as many as it has cores; nodes that come later get theirs."""

    def __init__(self, cluster: Cluster, task: Task[Item, Result]) -> None:
        self._ray = cluster.ray
        self._task = task
        self._chunk = cluster.chunk
        self._seats: list[_Seat] = []
        self._looked = self._seen = time.monotonic()
        self._spoken = False
        self._died = 0
        self._cores = self._of_smallest() if task.whole else 1
        self._size = self._room()

    @property
    def nodes(self) -> int:
        """How many nodes are working."""
        return len({seat.node for seat in self._seats if seat.node})

    def map(self, items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Yield each item's index and result, as they come.

        An item is sent when its turn comes, and again if its worker dies. Raises ClusterError if no
        worker can be had, and what the task's `build` raises.
        """
        # The last chunks shall end at about the same time.
        size = max(1, min(self._chunk, len(items) // (4 * max(1, self._size))))
        indices = range(len(items))
        waiting = deque(_Chunk(indices[at : at + size]) for at in range(0, len(items), size))
        try:
            while waiting or any(seat.given for seat in self._seats):
                self._fill_seats(waiting)
                self._give(items, waiting)
                for seat in self._answered():
                    yield from self._take(seat, items, waiting)
                self._check_patience()
        finally:
            for seat in self._seats:
                with suppress(Exception):  # the cluster may be gone
                    self._ray.kill(seat.actor)

    def _of_smallest(self) -> int:
        """Return how many cores the smallest node has that has any."""
        cores = [node["Resources"].get("CPU", 0) for node in self._ray.nodes() if node["Alive"]]
        return max(1, int(min((each for each in cores if each), default=1)))

    def _room(self) -> int:
        """Return how many actors the cluster has room for."""
        found = self._ray.cluster_resources()
        room = int(found.get("CPU", 0) / self._cores)
        return min(room, int(found.get("GPU", 0) / self._task.gpus)) if self._task.gpus else room

    def _fill_seats(self, waiting: Sequence[_Chunk]) -> None:
        """Start actors on cores that have none, as long as chunks wait."""
        now = time.monotonic()
        if now - self._looked > TICK:
            self._looked, self._size = now, self._room()
        busy = sum(bool(seat.given) for seat in self._seats)
        for _ in range(len(self._seats), min(self._size, busy + len(waiting))):
            needs = {"num_cpus": self._cores, "num_gpus": self._task.gpus}
            made = self._ray.remote(_Actor).options(**needs, max_restarts=0, max_task_retries=0)
            actor = made.remote(self._task.build, Path.cwd())
            self._seats.append(_Seat(actor, actor.start.remote()))

    def _give(self, items: Sequence[Item], waiting: deque[_Chunk]) -> None:
        """Give chunks to actors that are ready: each has one before any has the next."""
        for depth in range(self._task.depth):
            for seat in self._seats:
                if waiting and seat.node and len(seat.given) == depth:
                    chunk = waiting.popleft()
                    sent = [items[index] for index in chunk.indices]
                    seat.given.append((seat.actor.do.remote(sent), chunk))

    def _answered(self) -> list[_Seat]:
        """Return the actors that have answered, after waiting a little for one."""
        asked = {seat.next: seat for seat in self._seats if seat.next is not None}
        if not asked:
            time.sleep(TICK / 4)  # there is no core at all
            return []
        answered, _ = self._ray.wait(list(asked), num_returns=1, timeout=TICK)
        if answered:
            answered, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=0)
        return [asked[each] for each in answered]

    def _take(
        self, seat: _Seat, items: Sequence[Item], waiting: deque[_Chunk]
    ) -> Iterator[tuple[int, Result]]:
        """Take an actor's answer: yield the results of a chunk, or put back what it had."""
        errors = self._ray.exceptions
        try:
            answer = self._ray.get(seat.next)
        except errors.RayTaskError as error:
            raise _ours(error) from error
        except errors.RayError as error:
            self._died += not seat.node
            if self._died > STARTS:
                raise ClusterError(f"--cluster: workers die when they start ({error})") from error
            reason = str(error).partition("\n")[0]
            for index in self._put_back(seat, waiting):
                yield index, self._task.lost(items[index], reason)
        else:
            if seat.starting is None:
                _, chunk = seat.given.popleft()
                yield from zip(chunk.indices, answer, strict=True)
            else:
                seat.starting, seat.node = None, answer
                self._died = 0

    def _put_back(self, seat: _Seat, waiting: deque[_Chunk]) -> list[int]:
        """Put the chunks of a lost actor back; return the items for which there is no more hope.

        It was doing the first chunk. One that is lost too often is taken apart, since one of its
        items may be what kills the workers.
        """
        self._seats.remove(seat)
        with suppress(Exception):  # it may be out of reach, and still alive
            self._ray.kill(seat.actor)
        chunks = [chunk for _, chunk in seat.given]
        hopeless: list[int] = []
        if chunks:
            first = chunks.pop(0)
            first.losses += 1
            if first.losses < ATTEMPTS:
                chunks.insert(0, first)
            elif len(first.indices) > 1:
                chunks[:0] = [_Chunk([index]) for index in first.indices]
            else:
                hopeless = list(first.indices)
        waiting.extendleft(reversed(chunks))
        return hopeless

    def _check_patience(self) -> None:
        """Say that there is no worker, and after PATIENCE raise ClusterError."""
        now = time.monotonic()
        if self.nodes:
            self._seen, self._spoken = now, False
            return
        free = self._ray.available_resources().get("CPU", 0)
        state = f"the cluster has {counted(self._room(), 'place')} for workers, {free:g} cores free"
        if now - self._seen > PATIENCE:
            raise ClusterError(f"--cluster: no worker began in {PATIENCE:g} seconds: {state}")
        if now - self._seen > SPEAK and not self._spoken:
            self._spoken = True
            say(f"waiting for a worker to begin: {state}")


def _ours(error: Any) -> DermsegError:
    """Return what an actor raised, as an error of dermseg's."""
    if isinstance(error.cause, DermsegError):
        return error.cause
    if isinstance(error.cause, ImportError) or "failed to import" in str(error):
        text = "a node has not this version of dermseg; install the same one on all"
        return ClusterError(f"--cluster: {text} ({error.cause})")
    return ClusterError(f"--cluster: {type(error.cause).__name__}: {error.cause}")


@contextmanager
def connected(settings: ClusterSettings) -> Iterator[Cluster]:
    """Connect to a cluster for the length of the block.

    Its address is "local", which starts one here and ends it, "auto" for the one that this machine
    belongs to, HOST:PORT, or ray://HOST:PORT. Raises MissingExtraError without Ray, UsageError for
    what is no address, ClusterError if the cluster cannot be reached or has another version.
    """
    address = "auto" if settings.cluster is None else settings.cluster
    _check_address(address)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        ray = import_module("ray")
        if address.startswith("ray://"):
            import_module("grpc")
    except ImportError as error:
        raise MissingExtraError.naming("cluster", f"--cluster needs {error.name}") from error
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {"num_cpus": usable_cores(), "object_store_memory": STORE}
        options["include_dashboard"] = False
    try:
        ray.init(address, **options)
    except Exception as error:  # Ray raises bare ones, too
        raise ClusterError(f"--cluster {address}: {_refused(address, str(error))}") from error
    try:
        yield Cluster(ray, settings.chunk)
    except ConnectionError as error:
        raise ClusterError(f"--cluster {address}: the connection was lost ({error})") from error
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise UsageError for what is no address, ClusterError if nothing answers there."""
    here = Path(os.environ.get("RAY_TMPDIR", gettempdir()), "ray", "ray_current_cluster")
    asked = address
    if address == "auto" and "RAY_ADDRESS" not in os.environ and here.is_file():
        asked = here.read_text(encoding="utf-8").strip()  # left behind; Ray would wait for minutes
    if asked in ("auto", "local"):
        return
    named = ADDRESS.fullmatch(asked)
    if named is None or int(named["port"]) > 65535:
        raise UsageError(f"--cluster {address}: choose auto, local, or ray://HOST:PORT")
    try:
        socket.create_connection((named["host"].strip("[]"), int(named["port"])), ANSWER).close()
    except OSError as error:
        why = _refused(address, f"nothing answers there ({error})")
        raise ClusterError(f"--cluster {address}: {why}") from error


def _refused(address: str, message: str) -> str:
    """Return why Ray refused, and what helps."""
    line = " ".join(message.split())
    if "ersion" in line and "match" in line:
        return f"has another version of Ray or Python than this machine, {line}"
    if address == "auto":
        return "no Ray cluster runs on this machine; start one by `ray start --head`, or use local"
    if "timed out" in line:
        return f"Ray did not start in time; try again when the machine has less to do ({line})"
    if "connect" in line:
        return f"{line}; if it asks for a token, set RAY_AUTH_MODE=token, and copy its ~/.ray here"
    return line
