"""A contact sheet: many small pictures with captions."""

from collections.abc import Sequence
from math import ceil, sqrt
from unicodedata import combining, normalize

import numpy as np
from PIL import Image, ImageDraw

from dermseg.imaging.images import Pixels
from dermseg.progress import printable

CELL_HEIGHT, CELL_WIDTH = 240, 320
LINE = 13
"""Height of a line of a caption, in pixels."""
GAP = 4
TALLER = 0.75
"""Columns for each row: with it a sheet of wide cells is about square."""


def contact_sheet(pictures: Sequence[Pixels], captions: Sequence[str]) -> Pixels:
    """Return a sheet, RGB (H, W, 3), of at least one picture, row by row.

    Each picture is RGB, at most CELL_HEIGHT x CELL_WIDTH, and stands above its caption, of which
    each line is cut off where the cell ends.
    """
    columns = min(len(pictures), max(4, ceil(sqrt(len(pictures) * TALLER))))
    rows = ceil(len(pictures) / columns)
    lines = max(caption.count("\n") + 1 for caption in captions)
    width, height = CELL_WIDTH + GAP, CELL_HEIGHT + lines * LINE + 2 * GAP
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        cell = Image.new("RGB", (CELL_WIDTH, height - GAP), "white")
        left, top = (CELL_WIDTH - picture.shape[1]) // 2, (CELL_HEIGHT - picture.shape[0]) // 2
        cell.paste(Image.fromarray(picture), (left, top))
        draw = ImageDraw.Draw(cell)
        for row, line in enumerate(caption.split("\n")):
            draw.text((2, CELL_HEIGHT + 2 + row * LINE), _drawable(line), "black")
        sheet.paste(cell, (number % columns * width, number // columns * height))
    return np.asarray(sheet)


def _drawable(text: str) -> str:
    """Return text in ASCII, which is all that the font has: accents go, other letters become ?."""
    letters = (each for each in normalize("NFKD", printable(text)) if not combining(each))
    return "".join(letters).encode("ascii", "replace").decode()
