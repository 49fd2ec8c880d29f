"""Progress on long work, on standard error: lines, and bars where that is a terminal."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
Advance = Callable[[str], None]


def say(message: str) -> None:
    """Print a line on standard error, now."""
    print(message, file=sys.stderr, flush=True)


def _nothing(_: str) -> None:
    """Take a step that nobody sees."""


@contextmanager
def bar(description: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Draw a bar with the time left; calling what this yields takes it one step on.

    The call's argument replaces the description. Lines printed meanwhile appear above the bar.
    """
    if not sys.stderr.isatty():
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


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """Yield `items`, drawing a bar with the time left."""
    with bar(description, total) as advance:
        for item in items:
            yield item
            advance(description)
