"""Divide images into folds for cross-validation (paper, section III-B)."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

DUPLICATE_CORRELATION = 0.96
"""Found by looking at the pairs of ISIC 2017 in order of correlation: from 0.96 on most show
one lesion twice, often in other colours; below, they are lesions of like shape and size."""


COMPARED_AT_ONCE = 1000


def digest(fold_of: Mapping[str, int]) -> str:
    """Return a digest of which image is in which fold."""
    return hashlib.sha256(json.dumps(sorted(fold_of.items())).encode()).hexdigest()


def near_duplicates(signatures: NDArray[np.uint8]) -> list[int]:
    """Return a group number for each image, the same for images that nearly repeat each other.

    `signatures` is (N, h, w, 3): each image shrunk to a few pixels, always in the same way. Two
    images belong together when their signatures, less the mean of each channel, correlate at 0.96
    or more; groups join transitively.
    """
    centred = signatures - signatures.mean((1, 2), keepdims=True, dtype=np.float32)
    flat = centred.reshape(len(signatures), -1)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return join(len(flat), _similar_pairs(flat))


def _similar_pairs(flat: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    """Yield the rows of `flat`, (N, d) and of length 1, whose product is large, by pairs."""
    for start in range(0, len(flat), COMPARED_AT_ONCE):
        similar = flat[start : start + COMPARED_AT_ONCE] @ flat[start:].T >= DUPLICATE_CORRELATION
        for one, other in np.argwhere(similar) + start:
            yield int(one), int(other)


def join(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return a group number for each of `count` rows: those of a pair share one, transitively."""
    group = list(range(count))

    def root(item: int) -> int:
        while group[item] != item:
            group[item] = group[group[item]]
            item = group[item]
        return item

    for one, other in pairs:
        group[root(other)] = root(one)
    return [root(item) for item in range(count)]


def grouped(belongings: Iterable[Iterable[Hashable]]) -> list[int]:
    """Return a group number for each row: rows with something in common share one, transitively."""
    rows = list(belongings)
    first: dict[Hashable, int] = {}
    links = ((first.setdefault(key, row), row) for row, keys in enumerate(rows) for key in keys)
    return join(len(rows), links)


def dealt(groups: Sequence[int], seed: int) -> list[list[int]]:
    """Return the images of each group, in the order in which groups are dealt to folds.

    Which is random, the largest first.
    """
    members: defaultdict[int, list[int]] = defaultdict(list)
    for image, group in enumerate(groups):
        members[group].append(image)
    order = list(members.values())
    Random(seed).shuffle(order)
    order.sort(key=len, reverse=True)
    return order


def assign(groups: Sequence[int], strata: Sequence[str], folds: int, seed: int) -> list[int]:
    """Return the fold of each image, 0 to `folds` - 1.

    Images of one group (near-duplicates) share a fold; each stratum (diagnosis) is spread evenly.
    Groups are dealt in random order, largest first, each to the fold that has fewest images of
    the group's commonest stratum, then fewest images.
    """
    in_stratum: Counter[tuple[int, str]] = Counter()
    in_fold: Counter[int] = Counter()
    fold_of = [0] * len(groups)
    for images in dealt(groups, seed):
        stratum = Counter(strata[i] for i in images).most_common(1)[0][0]
        fold = min(range(folds), key=lambda f: (in_stratum[f, stratum], in_fold[f]))
        for image in images:
            fold_of[image] = fold
            in_stratum[fold, strata[image]] += 1
            in_fold[fold] += 1
    return fold_of
