#!/usr/bin/env python
"""Score a model on the 150 validation images of ISIC 2017 and add a line to the ledger.

    scripts/score_validation.py MODEL DATA MASKS

MODEL is a shipped model's name or an .onnx file, DATA the folder with the official archives and
MASKS a folder for the masks. The 150 images report; nothing is trained on them or chosen by them,
which the ledger, results/ledger.csv, lets anyone check: every scoring is a line.

A second line leaves out the images that resemble a training image (near-duplicates exist across
the two sets). Two more compare the photographs of DATA/full-resolution with their thumbnails.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dermseg.batch.jobs import find_jobs
from dermseg.batch.run import segment_all
from dermseg.data.datasets import read_signatures
from dermseg.data.folds import near_duplicates
from dermseg.data.layouts import find_pairs
from dermseg.evaluation.scoring import evaluate
from dermseg.experiments.ledger import append
from dermseg.imaging.mask_files import MASK_FOREGROUND, MASK_SUFFIX, read_mask
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.metrics import mean, score

LEDGER = Path(__file__).parent.parent / "results" / "ledger.csv"


def main(model: str, data: Path, masks: Path) -> None:
    """Segment, score, and write the ledger's lines."""
    photographs = data / "ISIC-2017_Validation_Data"
    truth = data / "ISIC-2017_Validation_Part1_GroundTruth"
    jobs = find_jobs([photographs])
    segmenter = Segmenter(model)
    results = segment_all(jobs, segmenter, masks, size_from=truth)
    if failed := [result.error for result in results if result.error]:
        sys.exit("\n".join(failed))
    evaluation = evaluate(truth, masks)
    validation = [job.photograph for job in jobs]
    training = [pair.photograph for pair in find_pairs(data)]
    repeated = resembling(validation, training)
    fresh = [scores for image_id, scores in evaluation.images.items() if image_id not in repeated]
    append(LEDGER, model, "isic2017-validation", list(evaluation.images.values()))
    append(LEDGER, model, "isic2017-validation-without-duplicates", fresh)
    print(evaluation)
    large, small = [], []
    for job in find_jobs([data / "full-resolution"]):
        image_id = job.photograph.stem
        lesion = read_mask(truth / f"{image_id}{MASK_SUFFIX}") > MASK_FOREGROUND
        large.append(score(lesion, segmenter.segment(job.photograph).mask))
        small.append(evaluation.images[image_id])
    append(LEDGER, model, "isic2017-full-resolution", large)
    append(LEDGER, model, "isic2017-full-resolution-as-thumbnails", small)
    print(
        f"Jaccard index of {len(large)} at full resolution: {mean(large).jaccard:.4f}, as ", end=""
    )
    print(f"thumbnails {mean(small).jaccard:.4f}")


def resembling(validation: list[Path], training: list[Path]) -> set[str]:
    """Return the ids of the validation images that nearly repeat a training image."""
    with TemporaryDirectory() as store:
        parts = [read_signatures(files, Path(store)) for files in (training, validation)]
    groups = near_duplicates(np.concatenate(parts))
    known = set(groups[: len(training)])
    return {
        photograph.stem
        for photograph, group in zip(validation, groups[len(training) :], strict=True)
        if group in known
    }


if __name__ == "__main__":
    main(sys.argv[1], *(Path(argument) for argument in sys.argv[2:]))
