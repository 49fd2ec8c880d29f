"""How much each of several trainings should count in an ensemble, chosen out of fold.

Protocols that held out the same folds can be weighed against each other, for an image's prediction
comes from members that had not seen it. Members of one protocol cannot: no image was held out by
two of them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dermseg.data.datasets import find_pairs
from dermseg.errors import UsageError
from dermseg.evaluation.scoring import check_known
from dermseg.imaging.images import MASK_FOREGROUND, Mask, lies_across, read_mask, resize, turn
from dermseg.masks.postprocess import Probability
from dermseg.settings import ThresholdSettings
from dermseg.training.run_folder import read_held_out

STEPS = 10
"""Shares are whole tenths."""


def choose_shares(folders: Sequence[Path], data: Path) -> tuple[list[float], float, float]:
    """Return the shares with the highest mean Jaccard index out of fold, by grid.

    Also that Jaccard index, and the one of equal shares. They are taken at the networks' size, cut
    at the low threshold, which is what differs between shares. Of equals the evenest wins.

    Raises UsageError if the folders did not hold out the same images at the same size, DataError
    if these are not of `data`.
    """
    maps = [read_held_out(folder) for folder in folders]
    names = sorted(maps[0])
    shapes = {probability.shape for each in maps for probability in each.values()}
    if len(shapes) > 1 or any(sorted(each) != names for each in maps):
        raise UsageError("shares can only be chosen for trainings of one size and the same folds")
    masks = {pair.image_id: pair.mask for pair in find_pairs(data)}
    check_known(names, masks)
    height, width = shapes.pop()
    truths = np.stack([_truth(masks[name], height, width) for name in names])
    stacks = np.stack([[each[name] for name in names] for each in maps])
    low = ThresholdSettings().low
    equal = [1 / len(folders)] * len(folders)
    grid = sorted(_simplex(len(folders)), key=lambda shares: np.square(shares).sum())
    scores = [_jaccard(stacks, shares, truths, low) for shares in grid]
    best = int(np.argmax(scores))
    return list(grid[best]), scores[best], _jaccard(stacks, equal, truths, low)


def _truth(file: Path, height: int, width: int) -> Mask:
    """Return a mask at the networks' size, a portrait's turned as they saw it."""
    mask = read_mask(file)
    if lies_across(mask.shape, (height, width)):
        mask = turn(mask)
    truth: Mask = resize(mask, height, width) > MASK_FOREGROUND
    return truth


def _simplex(parts: int) -> Iterator[tuple[float, ...]]:
    """Yield every way to share a whole among `parts` in steps of a tenth."""

    def split(parts: int, left: int) -> Iterator[tuple[int, ...]]:
        if parts == 1:
            yield (left,)
            return
        for first in range(left + 1):
            for rest in split(parts - 1, left - first):
                yield (first, *rest)

    for shares in split(parts, STEPS):
        yield tuple(share / STEPS for share in shares)


def _jaccard(
    stacks: NDArray[np.float32], shares: Sequence[float], truths: NDArray[np.bool_], low: float
) -> float:
    """Return the mean Jaccard index of the mean of `stacks`, (k, n, h, w), cut at `low`."""
    mean: Probability = np.tensordot(np.asarray(shares, np.float32), stacks, 1)
    found = mean >= low
    both = np.count_nonzero(found & truths, (1, 2))
    either = np.count_nonzero(found | truths, (1, 2))
    return float(np.where(either > 0, both / np.maximum(either, 1), 1.0).mean())
