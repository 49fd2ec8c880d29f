#!/usr/bin/env python
"""Draw the README's picture: the examples with the outlines that the default model finds.

scripts/draw_examples.py docs/examples.jpg
"""

import sys
from pathlib import Path

import numpy as np

from dermseg.imaging.images import resize, write_image
from dermseg.imaging.overlay import draw_overlay
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.segmenter import segment

EXAMPLES = Path(__file__).parent.parent / "examples" / "photographs"
HEIGHT, WIDTH, GAP = 300, 400, 8


def main(output: Path) -> None:
    """Draw two rows of two."""
    pictures = []
    for path in sorted(EXAMPLES.glob("*.jpg"))[:4]:
        picture = draw_overlay(read_photograph(path), segment(path).outline)
        pictures.append(resize(picture, HEIGHT, WIDTH))
    page = np.full((2 * HEIGHT + GAP, 2 * WIDTH + GAP, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // 2 * (HEIGHT + GAP), number % 2 * (WIDTH + GAP)
        page[top : top + HEIGHT, left : left + WIDTH] = picture
    write_image(output, page)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
