#!/usr/bin/env python
"""Compare the forms that a training can be exported in, on the images that it held out.

    scripts/compare_exports.py RUN DATA results/NAME/exports.csv

RUN is a folder that `dermseg train --fold K` filled, DATA what it was trained on. Each form sees
the held-out photographs, one after the other in turn. The table has a row a form: the mean Jaccard
index, its change from float32 with a 95 % bootstrap interval, the images that change by more than
0.05, and the network's time, as a share of the shipped cdnn29's on the same photographs.
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dermseg.data.layouts import find_pairs
from dermseg.evaluation.scoring import evaluate_maps
from dermseg.export.exporter import export
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.metrics import bootstrap_interval
from dermseg.masks.postprocess import Probability
from dermseg.progress import track
from dermseg.settings import ThresholdSettings
from dermseg.storage.tables import write_table
from dermseg.training.run_folder import read_held_out

NAMED = 0.05
"""Change from which an image is named."""
FORMS: dict[str, dict[str, Any]] = {
    "float32": {},
    "int8": {"arithmetic": "int8"},
    "int8, coarse": {"arithmetic": "int8", "coarse": True},
    "float32, flips": {"flips": True},
    "int8, flips": {"arithmetic": "int8", "flips": True},
}
REFERENCE = "cdnn29"


def main(run: Path, data: Path, output: Path) -> None:
    """Write the comparison."""
    held_out = read_held_out(run)
    pairs = [pair for pair in find_pairs(data) if pair.image_id in held_out]
    masks = {pair.image_id: pair.mask for pair in pairs}
    segmenters = {REFERENCE: Segmenter(REFERENCE)}
    with TemporaryDirectory() as folder:
        for form, options in FORMS.items():
            file = Path(folder) / f"{form}.onnx"
            export([run], file, **options)
            segmenters[form] = Segmenter(file)
    maps: dict[str, dict[str, Probability]] = {form: {} for form in segmenters}
    seconds: dict[str, list[float]] = {form: [] for form in segmenters}
    for pair in track(pairs, "Segmenting", len(pairs)):
        pixels = read_photograph(pair.photograph).pixels
        for form, segmenter in segmenters.items():
            began = time.perf_counter()
            maps[form][pair.image_id] = segmenter.probability(pixels)
            seconds[form].append(time.perf_counter() - began)
    scores = {}
    for form in FORMS:
        found = evaluate_maps(maps[form], masks, ThresholdSettings()).images
        scores[form] = np.array([found[pair.image_id].jaccard for pair in pairs])
    rows = []
    for form in FORMS:
        change = scores[form] - scores["float32"]
        low, high = bootstrap_interval(change)
        far = [pair.image_id for pair, by in zip(pairs, change, strict=True) if abs(by) > NAMED]
        rows.append(
            {
                "form": form,
                "images": len(pairs),
                "jaccard": round(float(scores[form].mean()), 5),
                "change": round(float(change.mean()), 5),
                "change_95_low": round(float(low), 5),
                "change_95_high": round(float(high), 5),
                "time_of_cdnn29": round(float(np.median(ratio(seconds, form))), 3),
                "far": " ".join(far),
            }
        )
    write_table(output, list(rows[0]), rows)


def ratio(seconds: dict[str, list[float]], form: str) -> list[float]:
    """Return a form's time for each photograph, as a share of the reference's."""
    return [ours / theirs for ours, theirs in zip(seconds[form], seconds[REFERENCE], strict=True)]


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
