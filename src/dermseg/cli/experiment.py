"""Make one of the paper's comparisons again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from dermseg.cli.console import TRAINING, require, show
from dermseg.cli.options import Flat, FlatFlags
from dermseg.experiments.registry import EXPERIMENTS
from dermseg.settings import DataSettings, Protocol, TrainingSettings

app = App(
    name="experiment",
    help_epilogue="Experiments:\n\n"
    + "\n".join(f"- {name}: {found.summary}" for name, found in EXPERIMENTS.items()),
)


@app.default
def experiment(
    name: str,
    data: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    protocol: Protocol | None = None,  # noqa: ARG001 - `options.read_early` has read it
    seeds: int = 1,
    folds_used: int | None = None,
    runs: Annotated[Sequence[Path], Parameter(consume_multiple=True, negative=())] = (),
    ledger: Path | None = None,
    settings: Annotated[TrainingSettings, Flat] = TrainingSettings(),
    data_settings: Annotated[DataSettings, FlatFlags] = DataSettings(),
) -> int:
    """Make one of the paper's comparisons again; needs dermseg[experiments].

    Trains what the comparison lacks, scores it, and says of each claim whether the data support
    it. Started again with the same options, it goes on where it was stopped.

    Example: dermseg experiment table-4 ISIC-2017/ -o results/ --protocol short --seeds 3

    Parameters
    ----------
    name
        One of the experiments below.
    data
        Folder laid out like the official archives, with the set that the experiment scores.
    output
        Folder for NAME.csv, NAME.json and NAME.md, and for the trainings, which experiments with
        the same settings share.
    protocol
        Settings of the trainings, as in `dermseg train`. Other options change them; what an
        experiment compares it sets itself.
    seeds
        Train everything this often, with seeds counted from --seed.
    folds_used
        Train the first folds only, to spare computing; all unless given.
    runs
        Folders that `dermseg train` filled, instead of training: one for each training that the
        experiment compares.
    ledger
        File that receives a line for each scoring of validation or test images;
        OUTPUT/ledger.csv unless given.
    """
    require("experiments", *TRAINING, "matplotlib", "skimage")
    from dermseg.experiments.run import run_experiment
    from dermseg.experiments.study import Options

    options = Options(
        seeds=seeds, folds_used=folds_used, runs=runs, ledger=ledger, data=data_settings
    )
    show(run_experiment(name, data, output, settings, options).read_text(encoding="utf-8"))
    return 0
