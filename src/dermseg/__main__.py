"""`python -m dermseg`."""

from dermseg.cli.main import run

run()
