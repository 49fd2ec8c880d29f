"""Everything that dermseg raises on purpose.

DermsegError
├── UsageError        the request makes no sense (exit status 2)
├── ImageError        a photograph or mask cannot be read, or has the wrong size
│   ├── MissingFileError    the file is not there; also a FileNotFoundError
│   └── TooManyPixelsError  more pixels than are decoded
├── DataError         a data set is incomplete or inconsistent
│   ├── MissingFolderError  a folder that was named is not there (exit status 2)
│   ├── UnsaidError   outlines leave open what an option of `dermseg convert` says
│   └── DivergedError a training's loss is no longer a number
├── ModelError        a model's file is not what dermseg writes
│   └── UnknownModelError   a model that was named is not there (exit status 2)
├── OutputError       a file cannot be written: disk full, folder not writable
├── ClusterError      a cluster cannot be reached, has no free core, or its machines differ
├── StoreError        a store such as S3 does not answer, or refuses
└── MissingExtraError a command needs packages that the base install leaves out

Any other exception that leaves the library is a bug, but for ValueError and TypeError: a function
was called with arguments that its docstring does not allow.
"""

from collections.abc import Sequence


class DermsegError(Exception):
    """Base of all errors that dermseg raises on purpose; the message says the remedy.

    Examples
    --------
    >>> try:
    ...     dermseg.segment("missing.jpg")
    ... except dermseg.DermsegError as error:
    ...     print(error)
    missing.jpg: no such file
    """


class UsageError(DermsegError):
    """The request makes no sense: an unknown option value, contradicting arguments."""


class ImageError(DermsegError):
    """A photograph or a mask cannot be read, or does not have the size it must have."""


class MissingFileError(ImageError, FileNotFoundError):
    """A photograph or a mask is not there."""


class TooManyPixelsError(ImageError):
    """An image has more pixels than are decoded, lest a forged file fill the memory."""


class DataError(DermsegError):
    """A data set is incomplete or inconsistent; the message names the files."""

    @classmethod
    def listing(cls, title: str, problems: Sequence[str]) -> "DataError":
        """Return an error whose message has a line for each problem."""
        return cls("\n  ".join([title, *problems]))


class UnsaidError(DataError):
    """Outlines leave open what an option of `dermseg convert` says; the message names it."""

    option = ""

    @classmethod
    def about(cls, option: str, message: str) -> "UnsaidError":
        """Return an error with the option that says what is open."""
        error = cls(message)
        error.option = option
        return error


class DivergedError(DataError):
    """A training's loss is no longer a number."""


class MissingFolderError(DataError, UsageError):
    """A folder was named that is not there."""


class ModelError(DermsegError):
    """A model is unknown, or a model file is not one that dermseg wrote."""


class UnknownModelError(ModelError, UsageError):
    """A model was named that does not come with dermseg, or a file that is not there."""


class OutputError(DermsegError):
    """A file cannot be written: the disk is full, or the folder is not writable."""

    @classmethod
    def about(cls, path: object, error: OSError) -> "OutputError":
        """Return the error for a file that the system refused to write."""
        return cls(f"{path}: cannot be written ({error.strerror or error})")


class StoreError(DermsegError):
    """A store such as S3 does not answer, or refuses; it ends a run, which can be gone on with."""


class ClusterError(DermsegError):
    """A cluster cannot be reached, has no free core, or its machines differ."""


class MissingExtraError(DermsegError):
    """A command needs packages that the base install leaves out."""

    @classmethod
    def naming(cls, extra: str, needs: str) -> "MissingExtraError":
        """Return the error for what `needs` says, which the extra of that name brings.

        dermseg is in no package index yet, so that the remedy is one for a clone.
        """
        return cls(f"{needs}; install it in the clone of dermseg with: pip install '.[{extra}]'")
