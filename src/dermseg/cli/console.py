"""What all commands say and need: lines on standard error, tracebacks, the extras."""

import json
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from time import time

from dermseg import progress
from dermseg.errors import MissingExtraError, OutputError

DEBUG = "--debug"
TRAINING = ("onnx", "onnxscript", "safetensors", "scipy", "torch")
"""What the extra "train" brings."""
WEB = ("fastapi", "python_multipart", "prometheus_client", "uvicorn")
"""What the extra "web" brings."""

quiet = False
"""Whether only failures are said; set by `be_quiet`."""
debug = False
"""Whether tracebacks are shown; set by `main`, once."""


def say(message: str, error: BaseException | None = None) -> None:
    """Print one line to standard error, and the traceback of `error` under --debug."""
    progress.say(message.replace("\n", "\n  "))
    if error is not None:
        _tell_launcher(message)
    if debug and error is not None:
        import traceback

        progress.say("".join(traceback.format_exception(error)).rstrip())


def _tell_launcher(message: str) -> None:
    """Leave `message` where torchrun, if it started this process, looks for what went wrong.

    Its last lines then say that, after the traceback of its own.
    """
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        content = json.dumps({"message": message, "timestamp": int(time())})
        with suppress(OSError):
            Path(file).write_text(content, encoding="utf-8")


def tell(message: str) -> None:
    """Print one line to standard error, unless only failures are to be said."""
    if not quiet:
        say(message)


def be_quiet(wanted: bool) -> None:
    """Say failures alone from here on, and draw no bars; or all again."""
    global quiet
    quiet, progress.drawn = wanted, not wanted


def show(text: object) -> None:
    """Print a command's result to standard output.

    Raises OutputError if that is full; a reader that has gone is a BrokenPipeError.
    """
    try:
        print(progress.printable(str(text)), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError.about("standard output", error) from error


def show_bytes(content: bytes) -> None:
    """Write a command's result to standard output; raise as `show` does."""
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError.about("standard output", error) from error


def open_streams() -> None:
    """Let standard output and error take every character, as an escape if need be."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def close_streams() -> bool:
    """Write what waits in standard output and error; return whether all of the output is out.

    What could not be written is thrown away, or Python would complain of it after the last line.
    """
    whole = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            whole = whole and stream is sys.stderr
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return whole


def show_json(value: object) -> None:
    """Print `value` as JSON to standard output; raise as `show` does."""
    show(json.dumps(value, indent=1))


def require(extra: str, *packages: str) -> None:
    """Raise MissingExtraError, with the remedy, if one of `packages` cannot be imported."""
    from importlib import import_module

    try:
        for package in packages:
            import_module(package)
    except ImportError as error:
        raise MissingExtraError.naming(extra, f"this command needs {error.name}") from error
