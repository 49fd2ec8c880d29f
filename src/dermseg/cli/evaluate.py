"""Score masks against the truth."""

from pathlib import Path

from dermseg.cli.console import say, show
from dermseg.settings import MaskFrame


def evaluate(
    truth: Path,
    predictions: Path,
    other: Path | None = None,
    /,
    *,
    mask_frame: MaskFrame | None = None,
    json: Path | None = None,
    csv: Path | None = None,
) -> int:
    """Score masks against the truth with the challenge's five metrics.

    Also by the style in which the truth is outlined, and by diagnosis, age and sex, where the
    tables of the data set lie beside the truth.

    Example: dermseg evaluate ISIC-2017_Validation_Part1_GroundTruth/ masks/

    Parameters
    ----------
    truth
        Folder of true masks, or their outlines in another form, such as COCO's.
    predictions
        Folder of masks to score, or their outlines.
    other
        A second folder of masks of the same images: its differences to the first are printed, with
        intervals that pair each image with itself.
    mask_frame
        How true masks lie on photographs that EXIF turns: along the pixels as stored, or upright.
        Which photographs it turns is told by the report.csv of `dermseg segment` in PREDICTIONS.
    json
        File for the means, the groups and every image's metrics.
    csv
        File for a table of every image's metrics.
    """
    from dermseg.evaluation.comparison import compare
    from dermseg.evaluation.scoring import evaluate

    evaluation = evaluate(truth, predictions, mask_frame=mask_frame)
    if json is not None:
        evaluation.write_json(json)
    if csv is not None:
        evaluation.write_csv(csv)
    for line in evaluation.passed_over:
        say(f"passed over: {line}")
    for path in evaluation.grey:
        say(f"{path}: not binary; its values above 128 count as lesion")
    for path, officially in evaluation.unofficial.items():
        say(f"{path}: the official scorer would read it {officially}")
    show(evaluation)
    if other is not None:
        second = evaluate(truth, other, mask_frame=mask_frame)
        show(f"\n{other} against {predictions}:\n{compare(evaluation, second)}")
    return 0
