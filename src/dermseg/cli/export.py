"""Make an ONNX model of finished trainings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import TRAINING, require, say
from dermseg.cli.options import FlatFlags
from dermseg.settings import ExportSettings


def export(
    runs: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    settings: Annotated[ExportSettings, FlatFlags] = ExportSettings(),
    calibrate_on: Path | None = None,
    check_on: Annotated[Sequence[Path], Parameter(consume_multiple=True, negative=())] = (),
) -> int:
    """Write finished trainings as an ONNX model for `dermseg segment --model`.

    Several networks, those of a protocol's folder or of several folders, become one model that
    averages their probabilities.

    Example: dermseg export run/ -o model.onnx --check-on photographs/*.jpg

    Parameters
    ----------
    runs
        Folders that `dermseg train` filled, with or without --protocol.
    output
        The ONNX file.
    calibrate_on
        The data set that the folders were trained on: the model then says how sure its masks are,
        as its networks were on images that they had not seen.
    check_on
        More photographs on which a float32 file must equal PyTorch before it is kept; a few
        training images are always among them.
    """
    require("train", *TRAINING)
    from dermseg.export.exporter import export

    difference = export(runs, output, settings, photographs=check_on, data=calibrate_on)
    how = "by at most" if settings.arithmetic == "float32" else "on average by"
    say(f"{output}: differs from PyTorch {how} {difference:.1e} in probability")
    return 0
