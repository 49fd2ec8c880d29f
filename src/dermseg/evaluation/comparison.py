"""Two folders of masks compared on the same images: which is better, and how sure that is."""

from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dermseg.errors import DataError
from dermseg.evaluation.scoring import Evaluation
from dermseg.masks.metrics import METRICS, bootstrap_interval
from dermseg.storage.files import write_json
from dermseg.storage.tables import write_table

SECOND = "second"
DIFFERENCE = "difference"
"""What precedes a metric's name in the columns of the second folder, and of second less first."""


@dataclass(frozen=True)
class Comparison:
    """Mean differences, second less first, of each metric over the images that both have.

    `first` and `second` are the scores of the folders themselves. `intervals` are 95 % bootstrap
    intervals of the mean differences over the images, each image paired with itself. `better` and
    `worse` count the images by the sign of their difference in Jaccard index.
    """

    first: Evaluation
    second: Evaluation
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

    def write_json(self, path: Path) -> None:
        """Write what one folder's file holds of the first, then the same of the second, as JSON.

        The last part is the differences with their intervals.
        """
        difference = {
            "count": self.images,
            "mean": self.differences,
            "interval": self.intervals,
            "better": self.better,
            "worse": self.worse,
        }
        content = {SECOND: self.second.content(), DIFFERENCE: difference}
        write_json(path, {**self.first.content(), **content})

    def write_csv(self, path: Path) -> None:
        """Write a CSV file with a row for each image: first, second, and second less first."""
        metrics, seconds = self.first.metrics, dict(self.second.rows())
        others = [f"{each}_{metric}" for each in (SECOND, DIFFERENCE) for metric in metrics]
        columns = ("image", *metrics, *others)
        rows = []
        for image, first in self.first.rows():
            second = seconds[image]
            gains = [second[metric] - first[metric] for metric in metrics]
            values = (image, *first.values(), *second.values(), *gains)
            rows.append(dict(zip(columns, values, strict=True)))
        write_table(path, columns, rows)


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """Compare the scores of two folders of masks; raise DataError if their images differ."""
    if first.images.keys() != second.images.keys():
        raise DataError("the two folders have masks of different images; give both the same images")
    gains = _table(second) - _table(first)
    names = first.metrics
    lows, highs = bootstrap_interval(gains)
    jaccard = gains[:, METRICS.index("jaccard")]
    return Comparison(
        first,
        second,
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
