"""Score masks against the truth."""

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import say, show, tell
from dermseg.cli.options import Where
from dermseg.settings import MaskFrame


def evaluate(
    truth: Where,
    predictions: Where,
    other: Where | None = None,
    /,
    *,
    mask_frame: MaskFrame | None = None,
    subset: str = "",
    borders: Annotated[bool, Parameter(negative=())] = False,
    json: Path | None = None,
    csv: Path | None = None,
) -> int:
    """Score masks against true masks with the challenge's five metrics, and by their borders.

    It also prints tables by the style of the true outline, and by diagnosis, age and sex if the
    tables of the data set are beside the folder of true masks.

    Example: dermseg evaluate ISIC-2017_Validation_Part1_GroundTruth/ masks/

    Parameters
    ----------
    truth
        Folder of true masks, or their outlines in another format, such as COCO. Like the other
        folders, it may be in a store, such as s3://bucket/folder; it is then copied once into the
        cache folder.
    predictions
        Folder of masks to score, or their outlines.
    other
        A second folder of masks of the same images: its mean differences from the first are
        printed, with paired intervals.
    mask_frame
        How true masks lie on photographs that EXIF turns: along the pixels as stored, or upright.
        The report.csv of `dermseg segment` in PREDICTIONS says which photographs EXIF turns.
    subset
        Score only some images: a file that names them, one on each line or in a column such as
        image_id; or COLUMN=VALUE, such as diagnosis=melanoma, where COLUMN is diagnosis, age, sex,
        style, or a column of the tables beside the truth.
    borders
        Also score the border: boundary IoU, and 95 % Hausdorff distance and average symmetric
        surface distance in pixels. If only one of two masks is empty, the IoU is 0 and the
        distances are the photograph's diagonal.
    json
        JSON file for the means, the groups and every image's metrics; of two folders also the mean
        differences with their intervals.
    csv
        CSV file with a row for each image's metrics; of two folders also the differences.
    """
    from dermseg.evaluation.comparison import compare
    from dermseg.evaluation.scoring import evaluate
    from dermseg.storage.copies import local_copy

    score = partial(
        evaluate, local_copy(truth, tell), mask_frame=mask_frame, subset=subset, borders=borders
    )
    evaluation = score(local_copy(predictions, tell))
    evaluations = [evaluation]
    comparison = None
    if other is not None:
        evaluations.append(score(local_copy(other, tell)))
        comparison = compare(*evaluations)
    written = comparison or evaluation
    if json is not None:
        written.write_json(json)
    if csv is not None:
        written.write_csv(csv)
    for line in evaluation.passed_over:
        say(f"skipped: {line}")
    for path in dict.fromkeys(path for each in evaluations for path in each.grey):
        say(f"{path}: not binary; values above 128 count as lesion")
    unofficial = {path: read for each in evaluations for path, read in each.unofficial.items()}
    for path, officially in unofficial.items():
        say(f"{path}: the official scorer would read it {officially}")
    show(evaluation)
    if comparison is not None:
        show(f"\n{other} against {predictions}:\n{comparison}")
    return 0
