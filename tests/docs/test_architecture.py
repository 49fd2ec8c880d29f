"""ARCHITECTURE.md against the code: its rooms, their order, and the files that it names."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "src" / "dermseg"
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (`.+?`) \|", re.MULTILINE)


def rooms() -> list[str]:
    """Return the rooms of the table, from the top."""
    names = [name for cell in ROW.findall(TEXT) for name in re.findall(r"`(.+?)`", cell)]
    return [name.removesuffix("/").removesuffix(".py") for name in names]


def test_every_room_is_in_the_table() -> None:
    folders = {each.name for each in PACKAGE.iterdir() if (each / "__init__.py").is_file()}
    modules = {each.stem for each in PACKAGE.glob("[!_]*.py")}
    assert set(rooms()) == folders | modules


def test_the_table_has_the_order_of_the_import_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]
    layers = [
        [name.strip().removeprefix("dermseg.") for name in layer.split("|")]
        for layer in contracts["contracts"][0]["layers"]
    ]
    level = {name: number for number, layer in enumerate(layers) for name in layer}
    assert [level[name] for name in rooms()] == sorted(level[name] for name in rooms())


def test_every_file_that_it_names_is_there() -> None:
    named = re.findall(r"`([\w/-]+\.(?:py|js|html|md))`", TEXT)
    missing = [
        name
        for name in named
        if "NAME" not in name and not ((PACKAGE / name).exists() or (ROOT / name).exists())
    ]
    assert len(named) > 10
    assert not missing


def test_every_module_that_it_names_is_there() -> None:
    named = re.findall(r"`([a-z]+)\.([a-z_]+)`", TEXT)
    missing = [
        f"{room}.{name}"
        for room, name in named
        if room != "weights"  # weights.safetensors, of a run
        and (PACKAGE / room).is_dir()
        and not list((PACKAGE / room).glob(f"{name}*"))
    ]
    assert not missing
