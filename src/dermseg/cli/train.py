"""Train a network, or a protocol's six."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import TRAINING, require
from dermseg.cli.options import Flat, FlatFlags, Plugins
from dermseg.errors import UsageError
from dermseg.settings import (
    DataSettings,
    Protocol,
    ScoringSettings,
    Style,
    ThresholdSettings,
    TrainingSettings,
)


def train(
    data: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    protocol: Protocol | None = None,
    settings: Annotated[TrainingSettings, Flat] = TrainingSettings(),
    data_settings: Annotated[DataSettings, FlatFlags] = DataSettings(),
    thresholds: Annotated[ThresholdSettings, Flat] = ThresholdSettings(),
    style: Style | None = None,
    plugin: Plugins = (),
) -> int:
    """Train a network on a folder of photographs and masks; needs dermseg[train].

    Started again with the same options, it goes on where it was stopped.

    Example: dermseg train ISIC-2017/ -o runs/ --protocol short

    Parameters
    ----------
    data
        Folder laid out like the official archives, or with the folders images and masks.
    output
        Folder for log.csv, checkpoints and the trained weights; with --protocol for one such
        folder a model, and members.csv.
    protocol
        Train the paper's six models, a fold held out from each of five and nothing from the
        sixth: with its settings (192 x 256, 600 epochs), with short ones (RGB, 96 x 128, 46
        epochs, one-cycle), or lite0 from ImageNet weights (22 epochs). Other options change the
        settings; --fold K trains that fold's model alone.
    style
        Score the masks outlined in this style alone. This and the thresholds say how members.csv
        scores a protocol's members.
    plugin
        A module, or a file such as mine.py, that registers a network or a loss of one's own with
        `dermseg.register_network` or `dermseg.register_loss`.
    """
    require("train", *TRAINING)
    from dermseg.training import plugins

    plugins.load(plugin)
    from dermseg.training.loop import train
    from dermseg.training.protocol import train_protocol

    scoring = ScoringSettings(thresholds, style)
    if protocol is not None:
        train_protocol(data, output, settings, data_settings, scoring=scoring)
    elif scoring != ScoringSettings():
        raise UsageError("--rule, --high, --low and --style score a protocol's members: --protocol")
    else:
        train(data, output, settings, data_settings)
    return 0
