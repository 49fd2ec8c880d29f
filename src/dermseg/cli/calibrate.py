"""Learn a model's calibration and thresholds on one's own data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import TRAINING, require, say
from dermseg.cli.options import Lists
from dermseg.settings import MaskFrame


def calibrate(
    model: str,
    data: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    allow_resized: Annotated[bool, Parameter(negative=())] = False,
    mask_frame: MaskFrame | None = None,
    held_out_by: Annotated[Sequence[Path], Lists] = (),
    cache: Path | None = None,
) -> int:
    """Learn how sure a model's masks are, and its thresholds, on your own photographs.

    It learns them for each style of outline of which DATA have 200 masks or more. What the model
    says of another style stays, and so do the weights.

    Example: dermseg calibrate lite0 clinic/ -o lite0-clinic.onnx

    Parameters
    ----------
    model
        A shipped model's name, or an .onnx file written by `dermseg export`.
    data
        Folder laid out like the official archives, or with the folders images and masks. If the
        model was trained on it, each member of the ensemble predicts the fold that it held out.
    output
        The ONNX file to write.
    allow_resized
        Accept photographs whose size is not their mask's (thumbnails of the official ones).
    mask_frame
        How masks lie on photographs that EXIF turns: along the pixels as stored, or upright.
    held_out_by
        Folders of trainings on DATA whose held-out predictions count, in place of the model's own:
        those of `dermseg train --folds-by source` make what happens on the next camera.
    cache
        Folder for the decoded images, to share between runs; a temporary one unless given.
    """
    require("train", *TRAINING)
    from tempfile import TemporaryDirectory

    from dermseg.export.recalibration import calibrate

    with TemporaryDirectory() as folder:
        card = calibrate(
            model,
            data,
            output,
            cache=cache or Path(folder),
            allow_resized=allow_resized,
            mask_frame=mask_frame,
            held_out_by=held_out_by,
        )
    for style, facts in card.styles.items():
        quality = facts.confidence or {}
        line = f"{style}: threshold at the border {facts.thresholds['low']:g}"
        if (failed := quality.get("failed_unflagged")) is not None:
            line += f"; of the masks without a flag {failed:.1%} fail"
            line += f", of {quality['images']} images"
        say(line)
    if card.note:
        say(card.note)
    return 0
