#!/usr/bin/env python
"""Compare ways to show a portrait photograph to a network that is wider than high.

    scripts/compare_turning.py RUN MODEL DATA results/trials/NAME/turning.csv

RUN is a folder that `dermseg train --fold K` filled and MODEL what `dermseg export` made of it. The
held-out photographs are stood on end, so that there are hundreds of portraits, and segmented twice:
squeezed into the network's shape, and turned so that the long side lies level. Each row is a way:
mean Jaccard index, its 95 % bootstrap interval, and the same of the difference to the first row.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np

from dermseg.data.layouts import find_pairs
from dermseg.imaging.images import resize
from dermseg.imaging.mask_files import MASK_FOREGROUND, read_mask
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.metrics import bootstrap_interval, score
from dermseg.masks.postprocess import binarise, choose_lesion

SIDE = 768
"""Longest side at which masks are compared."""


def main(run: Path, model: Path, data: Path, output: Path) -> None:
    """Write the comparison."""
    segmenter = Segmenter(model)
    fold = json.loads((run / "settings.json").read_text())["settings"]["fold"]
    fold_of = json.loads((run / "folds.json").read_text())
    scores = []
    for pair in find_pairs(data):
        if fold_of[pair.image_id] != fold:
            continue
        stored = read_mask(pair.mask)
        scale = SIDE / max(stored.shape)
        height, width = (round(side * scale) for side in stored.shape)
        truth = np.rot90(resize(stored, height, width) > MASK_FOREGROUND)
        # Thumbnails are square: at the mask's shape they are what the camera saw.
        seen = resize(read_photograph(pair.photograph).pixels, height, width)
        upright = np.ascontiguousarray(np.rot90(seen))
        squeezed = resize(upright, segmenter.height, segmenter.width)
        ways = (segmenter.probability(squeezed), segmenter.probability(upright))
        row = []
        for probability in ways:
            lesion = choose_lesion(np.ascontiguousarray(probability), segmenter.thresholds)
            mask, _ = binarise(lesion, truth.shape[0], truth.shape[1], segmenter.thresholds)
            row.append(score(truth, mask).jaccard)
        scores.append(row)
    table = np.array(scores)
    with output.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("way", "images", "jaccard", "interval_95", "gain", "gain_interval_95"))
        for column, way in enumerate(("squeezed", "turned")):
            jaccard, gain = table[:, column], table[:, column] - table[:, 0]
            cells = [way, len(table)]
            for values in (jaccard, gain):
                cells.append(round(float(values.mean()), 5))
                cells.append(" to ".join(f"{end:.4f}" for end in bootstrap_interval(values)))
            writer.writerow(cells)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
