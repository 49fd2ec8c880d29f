"""Write finished trainings as an ONNX model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import TRAINING, require, say
from dermseg.cli.options import FlatFlags, Lists, Plugins
from dermseg.settings import ExportSettings, MaskFrame


def export(
    runs: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    settings: Annotated[ExportSettings, FlatFlags] = ExportSettings(),
    calibrate_on: Path | None = None,
    mask_frame: MaskFrame | None = None,
    check_on: Annotated[Sequence[Path], Lists] = (),
    plugin: Plugins = (),
) -> int:
    """Write finished trainings as an ONNX model for `dermseg segment --model`.

    Several networks, of a protocol's folder or of several folders, become one model that averages
    their probabilities.

    Example: dermseg export run/ -o model.onnx --check-on photographs/*.jpg

    Parameters
    ----------
    runs
        Folders that `dermseg train` filled, with or without --protocol.
    output
        The ONNX file.
    calibrate_on
        The data set that the networks were trained on. The model then predicts the confidence of
        its masks, learned on the images that each network had not seen.
    mask_frame
        How its masks lie on photographs that EXIF turns: along the pixels as stored, or upright.
    check_on
        More photographs on which a float32 file must equal PyTorch to be kept; a few training
        images are always checked.
    plugin
        A module, or a file such as mine.py, that registers your own network or loss with
        `dermseg.register_network` or `dermseg.register_loss`.
    """
    require("train", *TRAINING)
    from dermseg.export.exporter import export_model
    from dermseg.training import plugins

    plugins.load(plugin)
    say("Converting to ONNX and comparing with PyTorch: about a minute, more for an ensemble")
    difference = export_model(
        runs, output, settings, photographs=check_on, data=calibrate_on, mask_frame=mask_frame
    )
    how = "by at most" if settings.arithmetic == "float32" else "on average by"
    say(f"{output}: differs from PyTorch {how} {difference:.1e} in probability")
    return 0
