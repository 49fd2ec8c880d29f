"""Some of the images: by a list of their names, or by what a table says of them."""

import csv
from collections.abc import Mapping
from pathlib import Path

from dermseg.data.metadata import (
    IDS,
    KINDS,
    UNKNOWN,
    Facts,
    Groups,
    columns_of,
    image_key,
    read_columns,
)
from dermseg.errors import DataError, UsageError
from dermseg.imaging.images import Mask
from dermseg.imaging.mask_files import MASK_FOREGROUND, read_mask
from dermseg.masks.style import STYLE_NAMES, UNTOLD, read_style

SHOWN = 8
"""Values of a column that a message names."""


def style_of(truth: Mask) -> str:
    """Return the style of a true mask, or what a mask without one is called."""
    return read_style(truth).style or STYLE_NAMES[UNTOLD]


def with_style(facts: Facts, read: str) -> Facts:
    """Return what is known of an image, with the style that was `read` unless a person said it."""
    return facts if facts.get("style", UNKNOWN) != UNKNOWN else {**facts, "style": read}


def choose(
    subset: str, truths: Mapping[str, Path], folder: Path, groups: Groups
) -> tuple[set[str], list[str]]:
    """Return those of `truths`, masks by image, that `subset` means, and a line on other names.

    It is a file that names images, a line each or in a table's column such as image_id; or
    COLUMN=VALUE, where COLUMN is diagnosis, age, sex or style as in `groups`, or a column of the
    tables in `folder`. A style that no table says is read from the mask.

    Raises UsageError if it is neither, DataError if it means no image.
    """
    column, equals, value = subset.partition("=")
    if not equals or Path(subset).is_file():
        keys = _named(Path(subset))
        chosen = {image for image in truths if image_key(image) in keys}
        if not chosen:
            raise DataError(f"--subset {subset}: names none of these images")
        others = sorted(keys - set(map(image_key, truths)))
        line = f"{len(others)} of the {len(keys)} names in {subset}: of no true mask"
        return chosen, [f"{line}, such as {others[0]}"] if others else []
    known = _values(column.strip(), truths, folder, groups)
    if not known:
        raise DataError(
            f"--subset {subset}: no table in {folder} has a column {column.strip()} with values "
            "for these images"
        )
    wanted = value.strip().casefold()
    chosen = {image for image, text in known.items() if text.casefold() == wanted}
    if not chosen:
        values = ", ".join(sorted(set(known.values()))[:SHOWN])
        raise DataError(f"--subset {subset}: no image has this value; known values: {values}")
    return chosen, []


def _values(
    column: str, truths: Mapping[str, Path], folder: Path, groups: Groups
) -> dict[str, str]:
    """Return what is known of each image in a column."""
    kind = column.casefold()
    if kind not in KINDS:
        by_key: Facts = read_columns(folder, (column,)).get(column, {})
        return {image: by_key[key] for image in truths if (key := image_key(image)) in by_key}
    known = {image: groups.get(image, {}).get(kind, UNKNOWN) for image in truths}
    if kind == "style":
        for image, value in known.items():
            if value == UNKNOWN:
                known[image] = style_of(read_mask(truths[image]) > MASK_FOREGROUND)
    return known


def _named(file: Path) -> set[str]:
    """Return the images that a file names, as `image_key` compares them."""
    if not file.is_file():
        raise UsageError(f"--subset {file}: no such file, and not COLUMN=VALUE")
    try:
        for column in IDS:
            if found := columns_of(file, (column,)):
                return set(found[column])
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"--subset {file}: cannot be read ({error})") from error
    return {image_key(line.strip()) for line in lines if line.strip()}
