"""Learn what photographs look like, so that a model can say which pictures are unlike them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dermseg.cores import parallel_map
from dermseg.data.layouts import Pair
from dermseg.export.calibration import FEWEST
from dermseg.imaging.images import resize
from dermseg.imaging.orientation import Size, as_seen, shape_along
from dermseg.imaging.photographs import image_size, read_photograph
from dermseg.inference.appearance import Appearance, Numbers, describe
from dermseg.progress import track

ALARMS = 0.01
"""Share of photographs like the known ones that are called unlike them."""
PARTS = 5
"""Parts for cross-fitting the limit."""
SHRINKAGE = 0.02
"""Added to the variances, as a share of them: a covariance of few photographs is too narrow."""
LEAST = 1e-4
"""The least variance: a number may be the same for all photographs, such as where none has grey."""


def learn_appearance(pairs: Sequence[Pair], shape: Size) -> dict[str, Any] | None:
    """Return what a card says of the photographs of `pairs`; None if they are few.

    `shape` is the (height, width) of the network's input.
    """
    if len(pairs) < FEWEST:
        return None
    return fit_appearance(describe_all([pair.photograph for pair in pairs], shape)).to_dict()


def describe_all(photographs: Sequence[Path], shape: Size) -> Numbers:
    """Return the numbers of photographs as a network of `shape` sees them, (n, 11)."""

    def one(path: Path) -> Numbers:
        size = image_size(path)
        pixels = read_photograph(path, at_least=shape_along(shape, size)).pixels
        return describe(resize(as_seen(pixels, size, shape), *shape))

    described = parallel_map(one, photographs)
    return np.stack(list(track(described, "Describing the photographs", len(photographs))))


def fit_appearance(descriptions: Numbers) -> Appearance:
    """Return the appearance of photographs by their numbers, (n, 11).

    The limit is cross-fitted: each fifth is measured against the others, as a new photograph is.
    """
    count = len(descriptions)
    part = np.arange(count) % PARTS
    distances = np.concatenate(
        [
            _gaussian(descriptions[part != each]).distances(descriptions[part == each])
            for each in range(PARTS)
        ]
    )
    level = min(1.0, (1 - ALARMS) * (1 + 1 / count))
    return _gaussian(descriptions, float(np.quantile(distances, level, method="higher")))


def _gaussian(descriptions: Numbers, limit: float = np.inf) -> Appearance:
    """Return the mean and the whitening of some numbers, with a limit."""
    covariance = np.cov(descriptions.T)
    variances = np.diag(covariance)
    covariance += np.diag(np.maximum(SHRINKAGE * variances, LEAST - variances))
    whitening = np.linalg.cholesky(np.linalg.inv(covariance))
    return Appearance(
        mean=tuple(descriptions.mean(0).tolist()),
        whitening=tuple(tuple(row) for row in whitening.tolist()),
        limit=limit,
        images=len(descriptions),
        alarms=ALARMS,
    )
