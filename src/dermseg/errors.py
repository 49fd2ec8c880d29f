"""Everything that dermseg raises on purpose.

DermsegError
├── UsageError        the request makes no sense (exit status 2)
├── ImageError        a photograph or mask cannot be read, or has the wrong size
├── DataError         a data set is incomplete or inconsistent
├── ModelError        a model is unknown, or its file is not what dermseg writes
└── MissingExtraError a command needs packages that the base install leaves out

Any other exception that leaves the library is a bug.
"""

from collections.abc import Sequence


class DermsegError(Exception):
    """Base of all errors that dermseg raises on purpose; the message says the remedy."""


class UsageError(DermsegError):
    """The request makes no sense: an unknown option value, contradicting arguments."""


class ImageError(DermsegError):
    """A photograph or a mask cannot be read, or does not have the size it must have."""


class DataError(DermsegError):
    """A data set is incomplete or inconsistent; the message names the files."""

    @classmethod
    def listing(cls, title: str, problems: Sequence[str], shown: int = 20) -> "DataError":
        """Return an error whose message has a line for each problem, the first `shown` of them."""
        lines = [title, *problems[:shown]]
        if len(problems) > shown:
            lines.append(f"... and {len(problems) - shown} more")
        return cls("\n  ".join(lines))


class ModelError(DermsegError):
    """A model is unknown, or a model file is not one that dermseg wrote."""


class MissingExtraError(DermsegError):
    """A command needs packages that the base install leaves out."""
