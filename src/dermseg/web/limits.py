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

from dermseg.cores import keep_memory
from dermseg.web.errors import ProblemError

Answer = TypeVar("Answer")
UPLOADING = "uploading"
"""What a request's state says while its body is read."""
RETRY_SECONDS = 1
"""How soon a client that found no place may come back."""


class Places:
    """A few threads, and a queue of known length before them.

    A request takes a place before its body is read, so that what waits in memory is bounded. It
    leaves the place when it ends, for whatever reason; one whose work has begun leaves it when
    the work is done, since a thread cannot be stopped.
    """

    def __init__(self, workers: int, queue: int) -> None:
        self._workers = workers
        self._lock = Lock()
        self.open()
        self.count = workers + queue
        self.taken = 0

    def open(self) -> None:
        """Have threads, again after `close`; they start with the first work."""
        keep_memory()
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="dermseg")

    @property
    def full(self) -> bool:
        """Say whether the next request will be refused."""
        return self.taken >= self.count

    @contextmanager
    def take(self) -> Iterator["Place"]:
        """Take a place; raise ProblemError 429 if there is none."""
        with self._lock:
            if self.full:
                detail = f"all {self.count} places are taken; come back after Retry-After seconds"
                raise ProblemError(429, "busy", detail, {"Retry-After": str(RETRY_SECONDS)})
            self.taken += 1
        place = Place(self._pool)
        try:
            yield place
        finally:
            place.leave(self._give_back)

    def _give_back(self) -> None:
        with self._lock:
            self.taken -= 1

    def close(self) -> None:
        """Begin no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Place:
    """A request's claim to a thread."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._work: Future[object] | None = None

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """Return what `work` returns, when a thread has done it."""
        future = self._pool.submit(work)
        self._work = future  # type: ignore[assignment]
        return await asyncio.wrap_future(future)

    def leave(self, give_back: Callable[[], None]) -> None:
        """Call `give_back` as soon as no thread works on the request."""
        if self._work is None:
            give_back()
        else:
            self._work.cancel()
            self._work.add_done_callback(lambda _: give_back())


@asynccontextmanager
async def time_limit(request: Request, seconds: float) -> AsyncIterator[None]:
    """Stop what takes longer: ProblemError 408 where its upload does, else 503."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        if getattr(request.state, UPLOADING, False):
            detail = f"the upload did not arrive within {seconds:g} seconds"
            raise ProblemError(408, "slow-upload", detail) from error
        headers = {"Retry-After": str(math.ceil(seconds))}
        detail = f"not done within {seconds:g} seconds, the upload included"
        raise ProblemError(503, "too-slow", detail, headers) from error


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


async def bounded(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """Yield the request's body; raise ProblemError 413 once it is larger than `limit` bytes."""
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
        yield chunk
    setattr(request.state, UPLOADING, False)
