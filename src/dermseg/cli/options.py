"""What all commands do with their options: fields of settings as options, paths, --protocol."""

from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Annotated

from cyclopts import App, ArgumentCollection, Parameter, Token

from dermseg.errors import UsageError
from dermseg.settings import PROTOCOLS, TrainingSettings, changed_options

Flat = Parameter(name="*")
"""A dataclass whose fields are options."""
FlatFlags = Parameter(name="*", negative=())
"""The same, whose flags have no --no-."""


def as_typed(default: object) -> str:
    """Return a default as a user would type it: the values of a list, with spaces between them."""
    values = default if isinstance(default, tuple) else () if default is None else (default,)
    return " ".join(map(str, values)) or "none"


Lists = Parameter(consume_multiple=True, negative=(), show_default=as_typed)
"""An option that takes several values."""
FlatLists = Parameter(name="*", consume_multiple=True, negative=(), show_default=as_typed)
"""A dataclass whose fields are options, where an option takes several values."""

Plugins = Annotated[Sequence[str], Parameter(name="--plugin", negative=())]
"""Modules, or files, that register networks and losses."""
Where = str | Path
"""A path, or the address of a store, such as s3://bucket/folder."""


def read_early(_: App, __: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Check paths and apply --protocol before a command sees its options' values."""
    _check_paths(arguments)
    _expand_patterns(arguments)
    _apply_protocol(arguments)


def _check_paths(arguments: ArgumentCollection) -> None:
    """Raise UsageError for a path without a name, which would be the present folder.

    Also for an address, but where a store can be named.
    """
    for argument in arguments:
        hint = str(argument.hint)
        if "Path" not in hint:
            continue
        for token in argument.tokens:
            if not token.value:
                raise UsageError(f"{argument.name} is empty: name a file or a folder")
            if "str" not in hint and _is_address(token.value):
                raise UsageError(
                    f"{token.value}: an address, which {argument.name} does not take; download it "
                    "and name the file"
                )


def _is_address(value: str) -> bool:
    if ":" not in value:  # and nothing need be imported
        return False
    from dermseg.storage.stores import is_address

    return is_address(value)


def as_place(value: Where) -> Where:
    """Return the address of a store as it is, and anything else as a path."""
    if isinstance(value, Path) or _is_address(value):
        return value
    if ":" not in value:
        return Path(value)
    from dermseg.storage.stores import local_path

    return local_path(value)


def _expand_patterns(arguments: ArgumentCollection) -> None:
    """Put the files in place of a pattern such as *.jpg, which shells of Windows hand over."""
    for argument in arguments:
        hint = str(argument.hint)
        if "Path" not in hint or not hint.lower().startswith(("list", "collections.abc.sequence")):
            continue
        expanded: list[Token] = []
        for token in argument.tokens:
            for value in [token.value] if _is_address(token.value) else _matching(token.value):
                expanded.append(token.evolve(value=value, index=len(expanded)))
        argument.tokens[:] = expanded


def _matching(value: str) -> list[str]:
    """Return the files and folders that a pattern means, or the value itself if it is none."""
    if not has_magic(value) or Path(value).exists():
        return [value]
    return sorted(glob(value, recursive=True)) or [value]  # noqa: PTH207 - it may be absolute


def _apply_protocol(arguments: ArgumentCollection) -> None:
    """Let --protocol set what the command line does not set itself.

    Here and not in the command, which could not tell a default from a choice.
    """
    chosen = arguments.get("--protocol", None)
    name = chosen.tokens[0].value if chosen is not None and chosen.tokens else None
    if name not in PROTOCOLS:
        return  # none was asked for, or cyclopts is about to say which ones there are
    for option, value in changed_options(PROTOCOLS[name], TrainingSettings()).items():
        if not arguments[option].tokens:
            arguments[option].append(Token(keyword=option, value=str(value), source="protocol"))
