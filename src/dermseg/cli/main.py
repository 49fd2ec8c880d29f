"""The command line: it puts the commands together and turns errors into exit statuses.

A command has a file of its own, which is imported when the command is called or explained, and
imports what it needs when it runs. Exit status: 0 all done, 1 something failed, 2 the call was
wrong and nothing was tried, 130 interrupted.
"""

import re
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from cyclopts import App, CycloptsError, MissingArgumentError

from dermseg import __version__
from dermseg.cli import console
from dermseg.cli.console import DEBUG, close_streams, open_streams, say
from dermseg.cli.options import read_early
from dermseg.errors import DermsegError, UsageError
from dermseg.progress import repeating_nothing

FUNCTIONS = (
    "segment",
    "merge",
    "convert",
    "fetch",
    "evaluate",
    "agreement",
    "doctor",
    "train",
    "tune",
    "export",
    "calibrate",
    "report",
    "serve",
    "models",
    "info",
)
"""Commands that are one function, each in the module of its name."""

app = App(
    name="dermseg",
    config=read_early,
    version=__version__,
    help="Find the lesion in dermoscopic photographs. For research; not a medical device.",
    suppress_keyboard_interrupt=False,
    help_epilogue="--debug with any command shows the traceback of an error.",
)
for name in FUNCTIONS:
    app.command(f"dermseg.cli.{name}:{name}")
for name in ("benchmark", "experiment"):  # an App each
    app.command(f"dermseg.cli.{name}:app", name=name)
app.register_install_completion_command()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    console.debug = DEBUG in given
    console.be_quiet(False)
    # A lone hyphen is a path, and no option.
    words = ["./-" if word == "-" else word for word in given if word != DEBUG]
    if not words or words[0] in app.help_flags:
        app.resolved_commands()  # the list of commands quotes each one's first line
    try:
        with repeating_nothing(), warnings.catch_warnings():
            # Oddities in a photograph's metadata; pixels that cannot be read are errors.
            warnings.filterwarnings("ignore", module=r"(PIL|pydicom)\.")
            status = app(words, exit_on_error=False, result_action="return_value")
    except CycloptsError as error:  # cyclopts has said what was wrong
        if isinstance(error, MissingArgumentError) and (example := _example(words[0])):
            say(f"dermseg: for example: {example}")
        return 2
    except UsageError as error:
        say(f"dermseg: {error}", error)
        return 2
    except DermsegError as error:
        say(f"dermseg: {error}", error)
        return 1
    except KeyboardInterrupt:
        say("dermseg: interrupted; the same command continues where a long run was stopped")
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone
        return 1
    except Exception as error:  # a bug: one line for people, the traceback for those who mend it
        say(f"dermseg: {type(error).__name__}: {error} (a bug; {DEBUG} shows where)", error)
        return 1
    return status if isinstance(status, int) else 0


def _example(command: str) -> str:
    """Return the example in the help of a command that is one function; "" without one."""
    if command not in FUNCTIONS:
        return ""
    function = getattr(import_module(f"dermseg.cli.{command}"), command)
    found = re.search(r"Example: (.+)", function.__doc__ or "")
    return found[1] if found else ""


def run() -> None:
    """Run the command line as a program, which has the process to itself."""
    from dermseg.cores import keep_memory

    keep_memory()
    open_streams()
    status = main()
    sys.exit(status if close_streams() else status or 1)
