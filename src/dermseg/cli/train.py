"""Train a network, or a protocol's six."""

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import TRAINING, require, tell
from dermseg.cli.options import Flat, FlatFlags, Plugins, Where
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
    data: Where,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    protocol: Protocol | None = None,
    settings: Annotated[TrainingSettings, Flat] = TrainingSettings(),
    data_settings: Annotated[DataSettings, FlatFlags] = DataSettings(),
    thresholds: Annotated[ThresholdSettings, Flat] = ThresholdSettings(),
    style: Style | None = None,
    cluster: str | None = None,
    plugin: Plugins = (),
) -> int:
    """Train a network on a folder of photographs and masks; needs dermseg[train].

    Started again with the same options, it continues where it was stopped. `dermseg export` makes a
    model file from the folder OUTPUT.

    Example: dermseg train mine/ -o run/ --network lite0 --channels rgb --epochs 10 --fold 0

    Parameters
    ----------
    data
        Folder with the folders images and masks, or with another layout of the guide's page
        "Train", such as the official archives. It may be in a store, such as s3://bucket/folder; it
        is then copied once into the cache folder.
    output
        Folder for log.csv, checkpoints and the trained weights. With --protocol it gets such a
        folder for each model, and members.csv.
    protocol
        Train six models as the paper did: five that each hold out a fold, and one on all images.
        "paper" has the paper's settings (192 x 256, 600 epochs), "short" fewer epochs (RGB, 96 x
        128, 46 epochs, one-cycle), and "pretrained" trains lite0 from ImageNet weights (22 epochs).
        Other options change these settings; --fold K trains only the model of that fold.
    style
        With --protocol: score only the masks of this style in members.csv. --rule, --high and --low
        set how the scored masks are made.
    cluster
        With --protocol: train the six models on a Ray cluster, one on each machine, or one on each
        GPU with --device cuda: auto, local or ray://HOST:PORT. All machines must see DATA and
        OUTPUT. Needs dermseg[cluster].
    plugin
        A module, or a file such as mine.py, that registers your own network or loss with
        `dermseg.register_network` or `dermseg.register_loss`.
    """
    require("train", *TRAINING)
    from dermseg.storage.copies import local_copy
    from dermseg.training import plugins

    plugins.load(plugin)
    from dermseg.training.distributed import leads
    from dermseg.training.loop import train
    from dermseg.training.protocol import train_protocol, train_protocol_on_cluster

    scoring, folder = ScoringSettings(thresholds, style), local_copy(data, tell)
    if cluster is not None:
        if protocol is None or settings.fold is not None:
            raise UsageError("--cluster: trains all members of a --protocol, without --fold")
        train_protocol_on_cluster(
            folder, output, settings, data_settings, address=cluster, plugins=plugin
        )
    if protocol is not None:
        train_protocol(folder, output, settings, data_settings, scoring=scoring)
    elif scoring != ScoringSettings():
        raise UsageError("--rule, --high, --low and --style are for --protocol")
    else:
        train(folder, output, settings, data_settings)
    if leads():
        command = ["dermseg", "export", str(output), "-o", "model.onnx", *plugins.loaded_options()]
        tell(f"trained; to make a model file: {shlex.join(command)}")
    return 0
