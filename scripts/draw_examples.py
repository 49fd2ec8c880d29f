#!/usr/bin/env python
"""Draw the pictures of README and guide: what the default model finds in the examples.

scripts/draw_examples.py docs/

Writes examples.jpg, four outlines, and styles.jpg, one lesion outlined in both styles.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dermseg.imaging.images import Pixels, resize, write_image
from dermseg.imaging.overlay import draw_overlay
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import Style

EXAMPLES = Path(__file__).parent.parent / "examples" / "photographs"
HEIGHT, WIDTH, GAP = 300, 400, 8
STYLES: dict[Style, tuple[str, tuple[int, int, int]]] = {
    "traced": ("traced: by hand, smooth, with a little room", (255, 176, 0)),
    "semi-automatic": ("semi-automatic: a flood fill, tight", (0, 114, 178)),
}
SHOWN = "ISIC_0012660.jpg"
"""The example whose two outlines are drawn."""
MARGIN = 60
"""Pixels of the photograph that are shown around its lesion."""


def main(folder: Path) -> None:
    """Write both pictures."""
    segment = Segmenter().segment
    paths = sorted(EXAMPLES.glob("*.jpg"))[:4]
    pictures = [draw_overlay(read_photograph(path), segment(path).outline) for path in paths]
    write_image(folder / "examples.jpg", tiled([resize(each, HEIGHT, WIDTH) for each in pictures]))
    write_image(folder / "styles.jpg", both_styles(EXAMPLES / SHOWN))


def tiled(pictures: list[Pixels]) -> Pixels:
    """Return pictures of HEIGHT and WIDTH in rows of two."""
    lines = (len(pictures) + 1) // 2
    page = np.full((lines * (HEIGHT + GAP) - GAP, 2 * WIDTH + GAP, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // 2 * (HEIGHT + GAP), number % 2 * (WIDTH + GAP)
        page[top : top + HEIGHT, left : left + WIDTH] = picture
    return page


def both_styles(path: Path) -> Pixels:
    """Return the part of a photograph around its lesion, with both outlines and their names."""
    pixels = read_photograph(path).pixels
    segmenter = Segmenter()
    found = {style: segmenter.segment(path, style=style) for style in STYLES}
    x, y, width, height = found["traced"].bounding_box or (0, 0, *pixels.shape[1::-1])
    left, top = max(x - MARGIN, 0), max(y - MARGIN, 0)
    part = pixels[top : y + height + MARGIN, left : x + width + MARGIN]
    scale = 800 / part.shape[1]
    page = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    for style, (_, color) in STYLES.items():
        line = ((found[style].outline - (left, top) + 0.5) * scale * 16).astype(np.int32)
        cv2.polylines(page, [line], True, color, 3, cv2.LINE_AA, shift=4)
    drawn = Image.fromarray(page)
    pen = ImageDraw.Draw(drawn)
    for number, (text, color) in enumerate(STYLES.values()):
        place = (16, 12 + 34 * number)
        font = ImageFont.load_default(24)
        pen.rectangle((8, place[1] - 2, 24 + pen.textlength(text, font), place[1] + 32), "white")
        pen.text(place, text, color, font)
    return np.asarray(drawn)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
