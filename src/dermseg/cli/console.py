"""What all commands say and need: lines on standard error, tracebacks, the extras."""

import sys

from dermseg.errors import MissingExtraError

DEBUG = "--debug"
TRAINING = ("onnx", "onnxscript", "safetensors", "scipy", "torch")
"""What the extra "train" brings."""
WEB = ("fastapi", "python_multipart", "prometheus_client", "uvicorn")
"""What the extra "web" brings."""

debug = False
"""Whether tracebacks are shown; set by `main`, once."""


def say(message: str, error: BaseException | None = None) -> None:
    """Print one line to standard error, and the traceback of `error` under --debug."""
    print(message.replace("\n", "\n  "), file=sys.stderr)
    if debug and error is not None:
        import traceback

        traceback.print_exception(error)


def print_json(value: object) -> None:
    """Print `value` as JSON to standard output."""
    from json import dumps

    print(dumps(value, indent=1))


def require(extra: str, *packages: str) -> None:
    """Raise MissingExtraError, with the remedy, if one of `packages` cannot be imported."""
    from importlib import import_module

    try:
        for package in packages:
            import_module(package)
    except ImportError as error:
        raise MissingExtraError.naming(extra, f"this command needs {error.name}") from error
