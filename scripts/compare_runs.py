#!/usr/bin/env python
"""Compare training runs on the images that all of them held out.

    scripts/compare_runs.py DATA results/trials/comparison.csv RUN RUN...

Each row is a run: mean Jaccard index at the masks' own sizes, its 95 % bootstrap interval, and the
same of the difference to the first run, image by image.
"""

import csv
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from dermseg.images import MASK_FOREGROUND, read_mask
from dermseg.metrics import bootstrap_interval, score
from dermseg.postprocess import choose_lesion, cut
from dermseg.settings import ThresholdSettings
from dermseg.training.datasets import find_pairs

SETTINGS = ThresholdSettings()


def main(data: Path, output: Path, runs: list[Path]) -> None:
    """Write the comparison."""
    stored = [np.load(run / "held-out.npz") for run in runs]
    maps = [dict(zip(s["image_ids"].tolist(), s["probability"], strict=True)) for s in stored]
    masks = {pair.image_id: pair.mask for pair in find_pairs(data)}

    def scores(image_id: str) -> list[float]:
        truth = read_mask(masks[image_id]) > MASK_FOREGROUND
        found = []
        for probability in maps:
            lesion = choose_lesion(probability[image_id].astype(np.float32), SETTINGS)
            mask, _ = cut(lesion, truth.shape[0], truth.shape[1], SETTINGS)
            found.append(score(truth, mask).jaccard)
        return found

    shared = sorted(set.intersection(*(set(each) for each in maps)))
    with ThreadPoolExecutor(2) as pool:
        table = np.array(list(pool.map(scores, shared)))
    with output.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("run", "images", "jaccard", "interval_95", "gain", "gain_interval_95"))
        for column, run in enumerate(runs):
            jaccard, gain = table[:, column], table[:, column] - table[:, 0]
            cells = [run.name, len(shared)]
            for values in (jaccard, gain):
                cells.append(round(float(values.mean()), 5))
                cells.append(" to ".join(f"{end:.4f}" for end in bootstrap_interval(values)))
            writer.writerow(cells)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(argument) for argument in sys.argv[3:]])
