"""Learn a model's confidence and thresholds on one's own data."""

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
    """Learn a model's confidence and thresholds on your own photographs.

    It does so for each style of outline of which DATA has 200 masks or more. The weights stay, and
    so do the confidence and thresholds of other styles.

    Example: dermseg calibrate lite0 clinic/ -o lite0-clinic.onnx

    Parameters
    ----------
    model
        A shipped model's name, or an .onnx file written by `dermseg export`.
    data
        Folder laid out like the official archives, or with the folders images and masks. Only
        images count that a member of the model was not trained on.
    output
        The ONNX file to write.
    allow_resized
        Accept photographs whose size is not their mask's (thumbnails of the official ones).
    mask_frame
        How masks lie on photographs that EXIF turns: along the pixels as stored, or upright.
    held_out_by
        Folders of trainings on DATA whose held-out predictions are used instead of the model's own.
        Those of `dermseg train --folds-by source` show what happens with a new camera.
    cache
        Folder for the decoded images, to share between runs; a temporary one by default.
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
            line += f"; {failed:.1%} of the masks without the flag low-confidence fail"
            line += f" ({quality['images']} images)"
        say(line)
    if card.note:
        say(card.note)
    return 0
