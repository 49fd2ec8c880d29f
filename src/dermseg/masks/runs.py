"""Masks as run lengths: how many pixels are background, then lesion, then background, and so on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Mask


def run_lengths(flat: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the lengths of the runs of a flat mask, (n,); the first is of background, maybe 0."""
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    begins = [0] if flat.size and flat[0] else []
    return np.diff(np.concatenate([begins, [0], changes, [flat.size]])).astype(np.int64)


def from_run_lengths(lengths: Sequence[int] | NDArray[np.int64], size: int) -> Mask:
    """Return the flat mask, boolean (size,), of its run lengths.

    Raises ValueError if they are negative or do not add up to `size`.
    """
    runs = np.asarray(lengths, dtype=np.int64)
    # None is longer than all, so that their sum cannot wrap around.
    if runs.ndim != 1 or ((runs < 0) | (runs > size)).any() or int(runs.sum()) != size:
        raise ValueError(f"the run lengths do not add up to {size} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs)
