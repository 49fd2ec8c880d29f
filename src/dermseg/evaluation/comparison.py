"""Two folders of masks compared on the same images: which is better, and how sure that is."""

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from dermseg.errors import DataError
from dermseg.evaluation.scoring import Evaluation
from dermseg.masks.borders import BORDER_METRICS
from dermseg.masks.metrics import METRICS, bootstrap_interval


@dataclass(frozen=True)
class Comparison:
    """Mean differences, second less first, of each metric over the images that both have.

    `intervals` are 95 % bootstrap intervals of these means over the images, each image paired with
    itself. `better` and `worse` count the images by the sign of their difference in Jaccard index.
    """

    images: int
    differences: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    better: int
    worse: int

    def __str__(self) -> str:
        """Return a table of the differences."""
        lines = [f"{self.images} images; second minus first, means with 95 % paired intervals"]
        for name, value in self.differences.items():
            low, high = self.intervals[name]
            lines.append(f"{name:<12} {value:+.4f}  ({low:+.4f} to {high:+.4f})")
        lines.append(f"Jaccard index higher on {self.better} images, lower on {self.worse}")
        return "\n".join(lines)


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Compare the scores of two folders of masks; raise DataError if their images differ."""
    if first.images.keys() != second.images.keys():
        raise DataError("the two folders have masks of different images; give both the same images")
    gains = _table(second) - _table(first)
    names = (*METRICS, *BORDER_METRICS)[: gains.shape[1]]
    lows, highs = bootstrap_interval(gains)
    jaccard = gains[:, METRICS.index("jaccard")]
    return Comparison(
        len(gains),
        dict(zip(names, gains.mean(0).tolist(), strict=True)),
        dict(zip(names, zip(lows.tolist(), highs.tolist(), strict=True), strict=True)),
        int((jaccard > 0).sum()),
        int((jaccard < 0).sum()),
    )


def _table(evaluation: Evaluation) -> NDArray[np.float64]:
    """Return the metrics, (images, 5), or 8 with the border's, in order of the images' ids."""
    parts = [part for part in (evaluation.images, evaluation.borders) if part]
    images = sorted(evaluation.images)
    return np.array([[v for part in parts for v in astuple(part[image])] for image in images])
