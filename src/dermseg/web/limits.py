"""What keeps the service bounded: places, sizes, time."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from threading import Lock
from typing import TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from dermseg.settings import ServiceSettings
from dermseg.web.errors import ProblemError

Answer = TypeVar("Answer")
UPLOADING = "uploading"
"""What a request's state says while its body is read."""
RETRY_SECONDS = 1
"""How soon a client that found no place may come back."""
LARGEST_UPLOADS = 8
"""How many uploads of the largest size are kept in memory, in work or waiting."""


def stopping() -> ProblemError:
    """Return the error for a request that a service that stops cannot do any more."""
    return ProblemError(503, "stopping", "the service stops", {"Retry-After": "10"})


def busy(why: str) -> ProblemError:
    """Return the error for a client that is to come back."""
    detail = f"{why}; come back after Retry-After seconds"
    return ProblemError(429, "busy", detail, {"Retry-After": str(RETRY_SECONDS)})


class Places:
    """A few threads, and a queue of known length and weight before them.

    A request takes a place before its body is read, so that what waits in memory is bounded: in
    number, and in bytes. It leaves the place when it ends, for whatever reason; one whose work has
    begun leaves it when the work is done, since a thread cannot be stopped.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._workers, self._seconds = settings.workers, settings.seconds
        self._most_bytes = LARGEST_UPLOADS * settings.megabytes * 2**20
        self._lock = Lock()
        self._limits: set[asyncio.Timeout] = set()
        self.open()
        self.count = settings.workers + settings.queue
        self.taken = self.held = 0

    def open(self) -> None:
        """Have threads, again after `close`; they start with the first work."""
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="dermseg")
        self._stopping = False

    @property
    def full(self) -> bool:
        """Say whether the next request will be refused."""
        return self._stopping or self.taken >= self.count

    @contextmanager
    def take(self) -> Iterator["Place"]:
        """Take a place; raise ProblemError 429 if there is none, 503 if the service stops."""
        with self._lock:
            if self._stopping:
                raise stopping()
            if self.full:
                raise busy(f"all {self.count} places are taken")
            self.taken += 1
        place = Place(self._pool, self._hold)
        try:
            yield place
        finally:
            place.leave(self._give_back)

    def _hold(self, size: int) -> None:
        """Count bytes that arrived; raise ProblemError 429 if there are too many."""
        with self._lock:
            if self.held + size > self._most_bytes:
                raise busy(f"other uploads fill the {self._most_bytes // 2**20} megabytes for them")
            self.held += size

    def _give_back(self, size: int) -> None:
        with self._lock:
            self.taken -= 1
            self.held -= size

    @asynccontextmanager
    async def time_limit(self, request: Request) -> AsyncIterator[None]:
        """Stop what takes longer: ProblemError 408 where its upload does, else 503."""
        try:
            async with asyncio.timeout(self._seconds) as limit:
                self._limits.add(limit)
                try:
                    yield
                finally:
                    self._limits.discard(limit)
        except TimeoutError as error:
            if self._stopping:
                raise stopping() from error
            if getattr(request.state, UPLOADING, False):
                detail = f"the upload did not arrive within {self._seconds:g} seconds"
                raise ProblemError(408, "slow-upload", detail) from error
            headers = {"Retry-After": str(math.ceil(self._seconds))}
            detail = f"not done within {self._seconds:g} seconds, the upload included"
            raise ProblemError(503, "too-slow", detail, headers) from error

    def drain(self, seconds: float) -> None:
        """Begin nothing more, and give what has begun so many seconds."""
        self._stopping = True
        self.close()
        end = asyncio.get_running_loop().time() + seconds
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(min(limit.when() or end, end))

    def close(self) -> None:
        """Begin no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Place:
    """A request's claim to a thread, and to memory for its upload."""

    def __init__(self, pool: ThreadPoolExecutor, hold: Callable[[int], None]) -> None:
        self._pool, self._hold = pool, hold
        self._held = 0
        self._work: Future[object] | None = None

    def hold(self, size: int) -> None:
        """Count bytes of the upload; raise ProblemError 429 if all uploads are too large."""
        self._hold(size)
        self._held += size

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Return what `work` returns, when a thread has done it.

        Raises ProblemError 503 if the service stops before it has begun.
        """
        try:
            future = self._pool.submit(work)
        except RuntimeError as error:  # there are no threads any more
            raise stopping() from error
        self._work = future  # type: ignore[assignment]
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # the request was cancelled, not its work
            raise stopping() from None

    def leave(self, give_back: Callable[[int], None]) -> None:
        """Call `give_back` with the bytes held, as soon as no thread works on the request."""
        if self._work is None:
            give_back(self._held)
        else:
            self._work.cancel()
            self._work.add_done_callback(lambda _: give_back(self._held))


async def unless_hung_up(request: Request, work: Awaitable[Answer]) -> Answer:
    """Return what `work` returns; cancel it and raise ClientDisconnect if the client goes.

    To be called when the body has been read, or will not be.
    """

    async def end() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    done, gone = asyncio.ensure_future(work), asyncio.ensure_future(end())
    try:
        await asyncio.wait((done, gone), return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise ClientDisconnect
        return done.result()
    finally:
        done.cancel()
        gone.cancel()


async def bounded(
    request: Request, limit: int, hold: Callable[[int], None]
) -> AsyncGenerator[bytes, None]:
    """Yield the request's body; raise ProblemError 413 once it is larger than `limit` bytes.

    `hold` is called with the size of each part before it is kept.
    """
    too_large = ProblemError(
        413, "too-large", f"uploads may have {limit / 2**20:g} megabytes at most"
    )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise too_large
    size = 0
    setattr(request.state, UPLOADING, True)
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large
        hold(len(chunk))
        yield chunk
    setattr(request.state, UPLOADING, False)


async def read_body(request: Request, limit: int, hold: Callable[[int], None]) -> bytes:
    """Return the request's body; raise and call `hold` as `bounded` does."""
    return b"".join([chunk async for chunk in bounded(request, limit, hold)])
