"""Repeat one of the comparisons of the paper."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from dermseg.cli.console import TRAINING, require, show
from dermseg.cli.options import Flat, FlatFlags, FlatLists, Plugins
from dermseg.experiments.registry import EXPERIMENTS, Experiment
from dermseg.settings import (
    DataSettings,
    ExperimentSettings,
    Protocol,
    ScoringSettings,
    Style,
    ThresholdSettings,
    TrainingSettings,
)


def _explain(found: Experiment) -> str:
    """Return what an experiment compares, and the order of the folders that it takes."""
    order = "; ".join(arm.label for arm in found.arms)
    return f"{found.summary} (--runs: {order})" if len(found.arms) > 1 else found.summary


app = App(
    name="experiment",
    help_epilogue="Experiments, and the order of the trainings in --runs:\n\n"
    + "\n".join(f"- {name}: {_explain(found)}" for name, found in EXPERIMENTS.items()),
)


@app.default
def experiment(
    name: str,
    data: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    protocol: Protocol | None = None,  # noqa: ARG001 - `options.read_early` has read it
    experiment_settings: Annotated[ExperimentSettings, FlatLists] = ExperimentSettings(),
    settings: Annotated[TrainingSettings, Flat] = TrainingSettings(),
    data_settings: Annotated[DataSettings, FlatFlags] = DataSettings(),
    thresholds: Annotated[ThresholdSettings, Flat] = ThresholdSettings(),
    style: Style | None = None,
    plugin: Plugins = (),
) -> int:
    """Repeat one of the paper's comparisons; needs dermseg[experiments].

    It trains the networks that are missing, scores them, and gives a verdict on each claim. Started
    again with the same options, it continues where it was stopped.

    Example: dermseg experiment table-4 ISIC-2017/ -o results/ --protocol short --seeds 3

    Parameters
    ----------
    name
        One of the experiments below.
    data
        Folder laid out like the official archives, with the set that the experiment scores.
    output
        Folder for NAME.csv, NAME.json and NAME.md, and for the trainings. Experiments with the same
        settings use the same trainings.
    protocol
        Settings of the trainings, as in `dermseg train`. Other options change them, but not what
        the experiment compares.
    style
        Score only the masks of this style.
    plugin
        A module, or a file such as mine.py, that registers your own network or loss: that of the
        trainings of --runs.
    """
    require("experiments", *TRAINING, "matplotlib", "skimage")
    from dermseg.training import plugins

    plugins.load(plugin)
    from dermseg.experiments.run import run_experiment

    scoring = ScoringSettings(thresholds, style)
    report = run_experiment(
        name, data, output, settings, experiment_settings, data_settings, scoring=scoring
    )
    show(report.read_text(encoding="utf-8"))
    return 0
