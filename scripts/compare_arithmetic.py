#!/usr/bin/env python
"""Compare 8-bit with float32 arithmetic on the images that a training held out.

    scripts/compare_arithmetic.py RUN DATA results/NAME/arithmetic.csv

RUN is a folder that `dermseg train --fold K` filled, DATA what it was trained on. Both models are
exported and segment the held-out photographs at their masks' own sizes. The table has the mean
Jaccard index of both, the difference with its 95 % bootstrap interval, and a row for each image
that differs by more than 0.05.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dermseg.evaluation import evaluate_maps
from dermseg.images import read_photograph
from dermseg.metrics import bootstrap_interval
from dermseg.progress import track
from dermseg.segmenter import Segmenter
from dermseg.settings import Arithmetic, ThresholdSettings
from dermseg.tables import write_table
from dermseg.training.datasets import find_pairs
from dermseg.training.export import export
from dermseg.training.runs import read_held_out

NAMED = 0.05
"""Difference from which an image has a row of its own."""
KINDS: tuple[Arithmetic, ...] = ("float32", "int8")


def main(run: Path, data: Path, output: Path) -> None:
    """Write the comparison."""
    held_out = read_held_out(run)
    pairs = [pair for pair in find_pairs(data) if pair.image_id in held_out]
    masks = {pair.image_id: pair.mask for pair in pairs}
    scores = {}
    for kind in KINDS:
        with TemporaryDirectory() as folder:
            export([run], Path(folder) / "model.onnx", arithmetic=kind)
            segmenter = Segmenter(Path(folder) / "model.onnx")
        maps = {
            pair.image_id: segmenter.probability(read_photograph(pair.photograph).pixels)
            for pair in track(pairs, f"Segmenting in {kind}", len(pairs))
        }
        scores[kind] = evaluate_maps(maps, masks, ThresholdSettings()).images
    exact, small = (
        np.array([scores[kind][name].jaccard for name in scores[kind]]) for kind in KINDS
    )
    change = small - exact
    low, high = bootstrap_interval(change)
    rows = [
        {
            "image": f"mean of {len(pairs)}",
            "float32": round(float(exact.mean()), 5),
            "int8": round(float(small.mean()), 5),
            "change": round(float(change.mean()), 5),
            "low_95": round(float(low), 5),
            "high_95": round(float(high), 5),
        }
    ]
    for name, before, after in zip(scores["int8"], exact, small, strict=True):
        if abs(after - before) > NAMED:
            cells = {"float32": before, "int8": after, "change": after - before}
            rounded = {key: round(float(value), 5) for key, value in cells.items()}
            rows.append({"image": name, **rounded, "low_95": "", "high_95": ""})
    write_table(output, list(rows[0]), rows)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
