"""Scoring a folder of masks against the truth."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dermseg.errors import DataError
from dermseg.images import MASK_FOREGROUND, mask_stem, read_mask, written_whole
from dermseg.metrics import Scores, bootstrap_interval, mean, score
from dermseg.progress import track


@dataclass(frozen=True)
class Evaluation:
    """The metrics of each image by its id, in order, and what follows from them."""

    images: dict[str, Scores]

    @property
    def mean(self) -> Scores:
        """Each metric's mean over the images: the challenge's macro average."""
        return mean(list(self.images.values()))

    @property
    def jaccard_interval(self) -> tuple[float, float]:
        """The 95 % bootstrap interval of the mean Jaccard index over images."""
        return bootstrap_interval([scores.jaccard for scores in self.images.values()])

    def __str__(self) -> str:
        """Return the five means, one a line, and the interval of the Jaccard index."""
        low, high = self.jaccard_interval
        lines = [f"{name:<12} {value:.4f}" for name, value in asdict(self.mean).items()]
        return "\n".join(
            [*lines, f"{len(self.images)} images; 95 % interval of Jaccard {low:.4f} to {high:.4f}"]
        )

    def write_json(self, path: Path) -> None:
        """Write the means, the interval and every image's metrics."""
        text = json.dumps(
            {
                "count": len(self.images),
                "mean": asdict(self.mean),
                "jaccard_interval_95": self.jaccard_interval,
                "images": {image_id: asdict(scores) for image_id, scores in self.images.items()},
            },
            indent=1,
        )
        with written_whole(path) as temporary:
            temporary.write_text(text + "\n")


def evaluate(truth: Path, predictions: Path) -> Evaluation:
    """Score the masks in `predictions` against those in `truth`.

    Masks belong together when their names agree, with or without `_segmentation`. Raises DataError,
    listing every file, for missing or surplus predictions and for sizes that differ.
    """
    truths, found = _masks(truth), _masks(predictions)
    problems = [f"no prediction for {truths[k]}" for k in sorted(truths.keys() - found.keys())]
    problems += [f"no truth for {found[k]}" for k in sorted(found.keys() - truths.keys())]
    scores: dict[str, Scores] = {}
    for image_id in track(sorted(truths.keys() & found.keys()), "Scoring", len(truths)):
        expected, actual = read_mask(truths[image_id]), read_mask(found[image_id])
        if expected.shape != actual.shape:
            sizes = f"{_size(actual.shape)}, but its truth is {_size(expected.shape)}"
            problems.append(f"{found[image_id]}: {sizes}")
            continue
        scores[image_id] = score(expected > MASK_FOREGROUND, actual > MASK_FOREGROUND)
    if problems:
        raise DataError.listing(f"{predictions}: cannot be scored against {truth}", problems)
    return Evaluation(scores)


def _masks(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    masks = {mask_stem(path): path for path in sorted(folder.glob("*.png"))}
    if not masks:
        raise DataError(f"{folder}: holds no masks (*.png)")
    return masks


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"
