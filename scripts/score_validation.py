#!/usr/bin/env python
"""Score a model on the 150 validation images of ISIC 2017 and add its lines to the ledger.

    scripts/score_validation.py MODEL DATA MASKS [--style STYLE] [--mirror] [--low 0.5]
                                [--own-style] [--json results/NAME/validation.json]

MODEL is a shipped model's name or an .onnx file, DATA the folder with the official archives and
MASKS a folder for the masks. The 150 images report; nothing is trained on them or chosen by them,
which the ledger, results/ledger.csv, lets anyone check: every scoring is a line.

A second line leaves out the images that resemble a training image (near-duplicates exist across
the two sets). Two more compare the photographs of DATA/full-resolution with their thumbnails. With
--own-style one line alone: each image by the style of its true mask, which no user can know.

--json writes the metrics, and beside them, in validation-confidence.json, how well a calibrated
model knew its mistakes: what `scripts/rate_confidence.py` says out of fold, but for the band.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from cyclopts import run
from rate_confidence import intervals

from dermseg.batch.jobs import Job, find_jobs
from dermseg.batch.report import REPORT
from dermseg.batch.run import segment_all
from dermseg.data.datasets import read_signatures
from dermseg.data.folds import near_duplicates
from dermseg.data.layouts import find_pairs
from dermseg.evaluation.scoring import Evaluation, evaluate
from dermseg.experiments.ledger import append
from dermseg.export.rating import Judged, Quality
from dermseg.imaging.mask_files import MASK_FOREGROUND, MASK_SUFFIX, read_mask
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.metrics import Scores, mean, score
from dermseg.masks.style import STYLE_IDS, read_style
from dermseg.settings import DEFAULT_STYLE, BatchSettings, Style, ThresholdSettings
from dermseg.storage.files import write_json
from dermseg.storage.tables import read_table

VALIDATION = "isic2017-validation"
LEDGER = Path(__file__).parent.parent / "results" / "ledger.csv"


def main(
    model: str,
    data: Path,
    masks: Path,
    /,
    *,
    mirror: bool | None = None,
    low: float | None = None,
    style: Style = DEFAULT_STYLE,
    own_style: bool = False,
    json: Path | None = None,
) -> None:
    """Segment, score, and write the ledger's lines."""
    truth = data / "ISIC-2017_Validation_Part1_GroundTruth"
    jobs = find_jobs([data / "ISIC-2017_Validation_Data"])
    thresholds = None if low is None else ThresholdSettings(low=low)
    name = model + " --mirror" * bool(mirror) + ("" if low is None else f" --low {low:g}")
    name += "" if style == DEFAULT_STYLE else f" --style {style}"
    if own_style:
        for each in STYLE_IDS:
            segmenter = Segmenter(model, style=each, mirror=mirror, thresholds=thresholds)
            segment(jobs, segmenter, masks / each, truth)
        append(LEDGER, f"{name}, own style", VALIDATION, best_told(jobs, masks, truth))
        return
    segmenter = Segmenter(model, style=style, mirror=mirror, thresholds=thresholds)
    segment(jobs, segmenter, masks, truth)
    evaluation = evaluate(truth, masks)
    validation = [job.photograph for job in jobs]
    training = [pair.photograph for pair in find_pairs(data)]
    repeated = resembling(validation, training)
    fresh = [scores for image_id, scores in evaluation.images.items() if image_id not in repeated]
    append(LEDGER, name, VALIDATION, list(evaluation.images.values()))
    append(LEDGER, name, "isic2017-validation-without-duplicates", fresh)
    print(evaluation)
    if json is not None:
        evaluation.write_json(json)
        if segmenter.says_how_sure:
            rating = rate(masks / REPORT, evaluation)
            write_json(json.with_name(f"{json.stem}-confidence.json"), rating)
    large, small = [], []
    for job in find_jobs([data / "full-resolution"]):
        image_id = job.photograph.stem
        lesion = read_mask(truth / f"{image_id}{MASK_SUFFIX}") > MASK_FOREGROUND
        large.append(score(lesion, segmenter.segment(job.photograph).mask))
        small.append(evaluation.images[image_id])
    append(LEDGER, name, "isic2017-full-resolution", large)
    append(LEDGER, name, "isic2017-full-resolution-as-thumbnails", small)
    print(
        f"Jaccard index of {len(large)} at full resolution: {mean(large).jaccard:.4f}, as ", end=""
    )
    print(f"thumbnails {mean(small).jaccard:.4f}")


def segment(jobs: list[Job], segmenter: Segmenter, masks: Path, truth: Path) -> None:
    """Write the masks at the true masks' sizes; stop if one fails."""
    results = segment_all(jobs, segmenter, masks, BatchSettings(size_from=truth))
    if failed := [result.error for result in results if result.error]:
        sys.exit("\n".join(failed))


def rate(report: Path, evaluation: Evaluation) -> dict[str, object]:
    """Say how well the confidence in a report fits the metrics of the same masks."""
    rows = {Path(row["photograph"]).stem: row for row in read_table(report)}
    names = sorted(evaluation.images)

    def column(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([float(rows[image][name]) for image in names])

    nothing = np.full(len(names), np.nan)
    judged = Judged(
        names=np.array(names),
        fold_of=np.full(len(names), "validation"),
        jaccard=np.array([evaluation.images[image].jaccard for image in names]),
        score=column("confidence_score"),
        predicted=column("predicted_jaccard"),
        low=column("jaccard_low"),
        high=column("jaccard_high"),
        flagged=np.array(["low-confidence" in rows[image]["flags"].split() for image in names]),
        within=nothing,
        width=nothing,
    )
    quality = Quality.of(judged).to_dict()
    ends = {name: pair for name, pair in intervals(judged).items() if quality[name] is not None}
    return {"quality": quality, "intervals": ends}


def best_told(jobs: list[Job], masks: Path, truth: Path) -> list[Scores]:
    """Return the metrics of each image's mask in the style of its true mask."""
    found = []
    for job in jobs:
        file = f"{job.photograph.stem}{MASK_SUFFIX}"
        lesion = read_mask(truth / file) > MASK_FOREGROUND
        style = read_style(lesion).style or DEFAULT_STYLE
        found.append(score(lesion, read_mask(masks / style / file) > MASK_FOREGROUND))
    print(f"each by its own style: Jaccard index {mean(found).jaccard:.4f}")
    return found


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
    run(main)
