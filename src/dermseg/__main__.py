"""`python -m dermseg`."""

from dermseg.cli import run

run()
