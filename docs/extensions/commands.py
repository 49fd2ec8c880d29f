"""Pages of the command line, made from the command line itself.

Before the pages are read, each command receives one in reference/commands/: what it does, how it is
called, and its arguments and options with their defaults. Nothing is run.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclopts import App
from sphinx.application import Sphinx

from dermseg.cli.main import app as command_line

EXAMPLE = "Example: "
"""How the paragraph of a docstring begins that shows a call."""


def commands(app: App, prefix: str = "dermseg") -> Iterator[tuple[str, App]]:
    """Yield every command that can be called, after its full name."""
    for name in sorted(app):
        if name.startswith("-"):
            continue
        command = app[name]
        if command.default_command is None:
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def page(name: str, command: App) -> str:
    """Return a command's page, as Markdown."""
    words = inspect.cleandoc(command.help or "").partition("\nParameters\n---")[0].strip()
    paragraphs = words.split("\n\n")
    example = [each for each in paragraphs if each.startswith(EXAMPLE)]
    text = [each for each in paragraphs if not each.startswith(EXAMPLE)]
    known = command.assemble_argument_collection(parse_docstring=True)
    arguments = [each for each in known if each.show]
    given = [each for each in arguments if each.index is not None]
    options = [each for each in arguments if each.index is None]
    usage = " ".join([name, *(_metavar(each) for each in given), "[options]" if options else ""])
    parts = [f"# {name}", *text, f"```text\n{usage}\n```"]
    if example:
        parts.append(f"Example:\n\n```sh\n{example[0].removeprefix(EXAMPLE)}\n```")
    for title, listed in (("Arguments", given), ("Options", options)):
        if listed:
            parts.append(f"## {title}\n\n" + "\n\n".join(_described(each) for each in listed))
    if command.help_epilogue and command.help_epilogue != command_line.help_epilogue:
        parts.append(_epilogue(str(command.help_epilogue)))
    return "\n\n".join(parts) + "\n"


def _metavar(argument: Any) -> str:
    many = "..." if argument.is_var_positional() or "list" in str(argument.hint) else ""
    name = str(argument.names[0]).upper().lstrip("-") + many
    return name if argument.required else f"[{name}]"


def _described(argument: Any) -> str:
    """Return an argument or option as an entry of a definition list."""
    names = argument.names if argument.index is None else [_metavar(argument).strip("[]")]
    shown = ", ".join(f"`{name}`" for name in sorted(names, key=len))
    words = " ".join(inspect.cleandoc(argument.parameter.help or "").split())
    notes = []
    if choices := argument.get_choices():
        notes.append("One of " + ", ".join(f"`{each}`" for each in choices) + ".")
    default = argument.field_info.default
    if argument.required:
        notes.append("Required.")
    elif default not in (None, False, argument.field_info.empty, (), ""):
        given = default if isinstance(default, tuple) else [default]
        notes.append(f"Default: `{' '.join(str(each) for each in given)}`.")
    return f"{shown}\n: {' '.join([words, *notes])}"


def _epilogue(text: str) -> str:
    title, _, body = text.partition("\n\n")
    return f"## {title.rstrip(':')}\n\n{body}"


def write_pages(sphinx: Sphinx) -> None:
    """Write a page for each command, and the list of them."""
    folder = Path(sphinx.srcdir) / "reference" / "commands"
    folder.mkdir(parents=True, exist_ok=True)
    pages = {name.replace(" ", "-"): (name, command) for name, command in commands(command_line)}
    wanted = {f"{stem}.md": page(*each) for stem, each in pages.items()}
    rows = [
        f"| [`{name}`]({stem}.md) | {inspect.cleandoc(command.help or '').splitlines()[0]} |"
        for stem, (name, command) in pages.items()
    ]
    wanted["index.md"] = INDEX.format(rows="\n".join(rows), stems="\n".join(pages))
    for stale in {each.name for each in folder.glob("*.md")} - set(wanted):
        (folder / stale).unlink()
    for file, text in wanted.items():
        path = folder / file
        if not path.is_file() or path.read_text() != text:  # a page that stays is not read again
            path.write_text(text)


INDEX = """# Commands

| command | what it does |
| --- | --- |
{rows}

Every command shows its options with `--help`. Exit status: 0 all done, 1 something failed, 2 wrong
usage, 130 interrupted. `--debug` with any command shows the traceback of an error.
`dermseg --install-completion` makes the shell complete commands and options.

```{{toctree}}
:hidden:

{stems}
```
"""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}
