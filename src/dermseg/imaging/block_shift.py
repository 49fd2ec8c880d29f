"""The trace that damage leaves in a JPEG's pixels: blocks that are lighter or darker from a place.

A block stores its mean as the difference from the block before it. A wrong one shifts all that
follow, row by row: the rest of its row of blocks, and every row below.
"""

import cv2
import numpy as np

from dermseg.imaging.images import Pixels

SHIFT = 12.0
"""Grey levels from which a shift counts. The 154 sound photographs that were looked at came to 6
at most; of pictures that 3 to 16 damaged bytes had visibly spoilt, most came to 19 and more."""
LARGEST = 40.0
"""Grey levels to which a difference between neighbours is cut, lest an edge outweigh the rest."""
FEWEST_ROWS, FEWEST_COLUMNS = 3, 5


def shows_shift(pixels: Pixels, unit: tuple[int, int]) -> bool:
    """Say whether a decoded JPEG, uint8 (H, W, 3), is shifted from some block on.

    `unit` is the height and width of the blocks that are stored together, in these pixels.
    """
    height, width = unit
    rows, columns = pixels.shape[0] // height, pixels.shape[1] // width
    if rows < FEWEST_ROWS or columns < FEWEST_COLUMNS:
        return False
    within = pixels[: rows * height, : columns * width]
    steps = cv2.subtract(within[height::height], within[height - 1 : -1 : height], dtype=cv2.CV_16S)
    jumps = cv2.resize(steps, (columns, rows - 1), interpolation=cv2.INTER_AREA)
    # A shift makes a row and the row below jump in as many columns, together, as one row has.
    loud = cv2.reduce(abs(jumps), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)[:, 0]
    above = np.flatnonzero((loud[:-1] + loud[1:] >= SHIFT * columns).any(1))
    if not len(above):
        return False
    near = np.union1d(above, above + 1)  # most photographs have no such row, others a few
    steps = jumps[near].astype(np.float32).clip(-LARGEST, LARGEST)
    sums = np.pad(steps, ((0, 0), (1, 0), (0, 0))).cumsum(1)
    before = np.arange(2, columns - 1, dtype=np.float32)[:, np.newaxis]
    left = sums[:, 2:-2] / before
    right = (sums[:, -1:] - sums[:, 2:-2]) / (columns - before)
    # A shift from a block on: the row above jumps to its right, and it jumps to the row below
    # on its left, by as much; the other two halves do not jump.
    first = np.searchsorted(near, above)
    here, below = right[first], left[first + 1]
    quiet = np.maximum(abs(left[first]), abs(right[first + 1]))
    shift = np.minimum(abs(here), abs(below)) - 2 * quiet - abs(here - below) / 2
    # Noise: the standard error of the mean over the fewer of the columns to either side.
    squares = np.square(steps).sum(1, keepdims=True)
    spread = squares - left**2 * before - right**2 * (columns - before)
    error = np.sqrt(spread.clip(0) / columns / np.minimum(before, columns - before))
    return bool((shift - 2 * np.maximum(error[first], error[first + 1])).max() >= SHIFT)
