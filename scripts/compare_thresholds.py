#!/usr/bin/env python
"""Compare the dual thresholds' rules on the images that a training run held out.

    scripts/compare_thresholds.py RUN DATA results/trials/NAME/thresholds.csv

RUN is a folder that `dermseg train --fold K` filled, DATA what it was trained on. Each row is a
rule with its thresholds: mean Jaccard index over the held-out images at their masks' own sizes,
its 95 % bootstrap interval, the difference to the first row with its own, and the images left
without a mask.
"""

import csv
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dermseg.images import MASK_FOREGROUND, read_mask
from dermseg.metrics import bootstrap_interval, score
from dermseg.postprocess import choose_lesion, cut
from dermseg.settings import ThresholdSettings
from dermseg.training.datasets import find_pairs

VARIANTS = (
    ThresholdSettings("paper", 0.8, 0.5),
    ThresholdSettings("complete", 0.8, 0.5),
    ThresholdSettings("complete", 0.5, 0.5),  # one threshold: the region of the largest mass
    ThresholdSettings("complete", 0.7, 0.5),
    ThresholdSettings("complete", 0.9, 0.5),
    ThresholdSettings("complete", 0.8, 0.3),
    ThresholdSettings("complete", 0.8, 0.4),
    ThresholdSettings("complete", 0.8, 0.6),
)


def main(run: Path, data: Path, output: Path) -> None:
    """Write the comparison."""
    stored = np.load(run / "held-out.npz")
    masks = {pair.image_id: pair.mask for pair in find_pairs(data)}

    def scores(item: tuple[str, np.ndarray]) -> list[tuple[float, bool]]:
        image_id, probability = item
        truth = read_mask(masks[image_id]) > MASK_FOREGROUND
        found = []
        for variant in VARIANTS:
            lesion = choose_lesion(probability.astype(np.float32), variant)
            mask, _ = cut(lesion, truth.shape[0], truth.shape[1], variant)
            found.append((score(truth, mask).jaccard, not mask.any()))
        return found

    items = zip(stored["image_ids"].tolist(), stored["probability"], strict=True)
    with ThreadPoolExecutor(2) as pool:
        table = np.array(list(pool.map(scores, items)))
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(next(rows(table))), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(table))


def rows(table: np.ndarray) -> Iterator[dict[str, object]]:
    """Yield the report's rows from jaccard and emptiness, (images, variants, 2)."""
    for column, variant in enumerate(VARIANTS):
        jaccard = table[:, column, 0]
        gain = jaccard - table[:, 0, 0]
        yield {
            "rule": variant.rule,
            "high": variant.high,
            "low": variant.low,
            "images": len(jaccard),
            "jaccard": round(float(jaccard.mean()), 5),
            "interval_95": " to ".join(f"{end:.4f}" for end in bootstrap_interval(jaccard)),
            "gain": round(float(gain.mean()), 5),
            "gain_interval_95": " to ".join(f"{end:.4f}" for end in bootstrap_interval(gain)),
            "empty": int(table[:, column, 1].sum()),
        }


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
