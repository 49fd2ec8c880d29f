"""The commit of the code that trained a model."""

import subprocess
from pathlib import Path


def commit() -> str | None:
    """Return the git commit of this source tree, with "+" if the tree was changed since.

    None for an installed package: it is not under version control.
    """
    here = Path(__file__)
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    head = _git(here.parent, "rev-parse", "HEAD")
    changed = _git(here.parent, "status", "--porcelain", "--untracked-files=no", "--", "..")
    return f"{head}+" if head and changed else head


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints, or None where it fails or cannot be run."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:  # there is none, or none that may be run
        return None
    return done.stdout.strip() if done.returncode == 0 else None
