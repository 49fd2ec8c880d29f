"""The program `dermseg`, and `python -m dermseg`."""

import sys


def run() -> None:
    """Run the command line; an interruption is one line from the first import on."""
    try:
        from dermseg.cli import main

        main.run()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("dermseg: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    run()
