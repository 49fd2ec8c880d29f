"""Show the progress of long work, as lines or bars on standard error.

Whatever becomes of standard error, closed, full or a broken pipe, it never costs the work.
"""

import re
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Advance = Callable[[str], None]


drawn = True
"""Whether bars are drawn where they can be; a command may clear it."""
UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What a terminal obeys and does not show: control characters, also those that turn the direction
of writing; and the bytes of names that are no UTF-8."""


_said: ContextVar[set[str] | None] = ContextVar("said", default=None)
"""What `say_once` has said; None where it may repeat itself."""


def printable(text: str) -> str:
    """Return `text`, in which there may be files' names, as every terminal can show it."""
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s where there are several, or none."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def say(message: str) -> None:
    """Print a line on standard error, now."""
    if sys.stderr is None:  # it was closed before we began
        return
    with suppress(OSError, ValueError):
        print(printable(message), file=sys.stderr, flush=True)


@contextmanager
def repeating_nothing() -> Iterator[None]:
    """Let `say_once` say each line once inside."""
    token = _said.set(set())
    try:
        yield
    finally:
        _said.reset(token)


def say_once(message: str) -> None:
    """Print a line on standard error, unless it was said before inside `repeating_nothing`."""
    said = _said.get()
    if said is None or message not in said:
        say(message)
    if said is not None:
        said.add(message)


def say_in_log(message: str) -> None:
    """Print a line on standard error where progress is wanted and no bar shows it."""
    if drawn and not _is_terminal():
        say(message)


def _is_terminal() -> bool:
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def _nothing(_: str) -> None:
    """Take a step that nobody sees."""


@contextmanager
def bar(description: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Draw a bar with the time left; calling what this yields takes it one step on.

    The call's argument replaces the description. Lines printed meanwhile appear above the bar.
    """
    if not drawn or not _is_terminal():
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, completed=done)
        yield lambda description: progress.update(task, advance=1, description=description)


def track(items: Iterable[T], description: str, total: int) -> Generator[T]:
    """Yield `items`, drawing a bar with the time left."""
    with bar(description, total) as advance:
        for item in items:
            yield item
            advance(description)
