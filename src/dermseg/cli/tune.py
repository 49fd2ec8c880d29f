"""Search for settings."""

from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import TRAINING, require, show
from dermseg.cli.options import Flat, FlatFlags, FlatLists, Plugins
from dermseg.settings import DataSettings, Protocol, TrainingSettings, TuningSettings


def tune(
    data: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    protocol: Protocol | None = None,
    tuning: Annotated[TuningSettings, FlatLists] = TuningSettings(),
    settings: Annotated[TrainingSettings, Flat] = TrainingSettings(),
    data_settings: Annotated[DataSettings, FlatFlags] = DataSettings(),
    cluster: str | None = None,
    plugin: Plugins = (),
) -> int:
    """Search for settings by their Jaccard index out of fold; needs dermseg[tune].

    It tries learning rates, dropouts, contrast windows and the two thresholds. Started again with
    the same options, it continues where it was stopped; several processes can share a search.

    Example: dermseg tune ISIC-2017/ -o search/ --protocol short --learning-rates 0.001 0.003

    Parameters
    ----------
    data
        Folder laid out like the official archives, or with the folders images and masks.
    output
        Folder for grid.json, with what is tried; trials.csv, with a row for each trial, the best
        first; thresholds.csv, with a row for each pair of thresholds; and the trials' trainings.
    protocol
        Settings that all trials have in common, as in `dermseg train`. Other options change them.
    cluster
        Train on a Ray cluster, one trial on each machine, or one on each GPU with --device cuda:
        auto, local or ray://HOST:PORT. All machines must see DATA and OUTPUT. Needs
        dermseg[cluster].
    plugin
        A module, or a file such as mine.py, that registers your own network or loss with
        `dermseg.register_network` or `dermseg.register_loss`.
    """
    require("tune", *TRAINING, "optuna", "filelock")
    from dermseg.training import plugins

    plugins.load(plugin)
    from dermseg.tuning.trials import tune

    if cluster is not None:
        from dermseg.training.on_cluster import same_everywhere, train_on_cluster

        alike = same_everywhere(settings)
        # Each takes what is next in the search, until nothing is left; there are enough for all.
        call = partial(tune, data, output, alike, tuning, data_settings, protocol=protocol)
        calls = [(f"worker {n}", call) for n in range(1, (tuning.trials or tuning.grid_size) + 1)]
        train_on_cluster(calls, output, cluster, device=data_settings.device, plugins=plugin)
    show(tune(data, output, settings, tuning, data_settings, protocol=protocol))
    return 0
