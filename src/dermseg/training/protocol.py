"""The paper's protocol (section III-B): five folds, and a sixth model that holds nothing out.

The folds say how good the settings are, out of fold; the sixth model takes their settings and
epochs, since nothing is left to choose by. All six together are the ensemble.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from dermseg.data.layouts import find_all_pairs, read_facts
from dermseg.errors import DataError
from dermseg.evaluation.maps import evaluate_maps
from dermseg.evaluation.scoring import Evaluation, Summary
from dermseg.masks.metrics import METRICS
from dermseg.masks.style import STYLE_IDS
from dermseg.settings import DataSettings, MaskFrame, ScoringSettings, TrainingSettings
from dermseg.storage.tables import write_table
from dermseg.training import checkpoints, distributed, precision, run_folder
from dermseg.training.loop import check_folds, train
from dermseg.training.on_cluster import Training, same_everywhere, train_on_cluster

TABLE = "members.csv"
SCORES = "out-of-fold"
"""Name of the files with the metrics of every image by the member that had not seen it."""


@distributed.joined()
def train_protocol(
    data: Path,
    output: Path,
    settings: TrainingSettings,
    data_settings: DataSettings = DataSettings(),
    *,
    scoring: ScoringSettings = ScoringSettings(),
) -> None:
    """Train every fold's model and the one on everything, each in a folder of its own.

    A second call goes on where the first was stopped. Members compute in the first one's
    arithmetic. `settings.fold` picks one member, so that
    several machines can share the work; the tables are written once all are there: members.csv, a
    row a member, one for all folds together and one for each style of outline among them, and
    out-of-fold.csv and .json, image by image; `scoring` says by which masks.

    Raises as `loop.train` does.
    """
    members = [*range(settings.folds), None]
    chosen = members if settings.fold is None else [settings.fold]
    shared = _check(data, output, settings, data_settings, chosen)
    runs = [output / run_folder.fold_name(fold) for fold in members]
    settings = precision.decide(settings, data_settings.device, precision.of_runs(runs))
    for fold in chosen:
        train(data, output / run_folder.fold_name(fold), replace(settings, fold=fold), shared)
    finished = all((run / run_folder.WEIGHTS).is_file() for run in runs)
    if finished and distributed.leads():
        report(data, output, scoring, data_settings.mask_frame)


def train_protocol_on_cluster(
    data: Path,
    output: Path,
    settings: TrainingSettings,
    data_settings: DataSettings = DataSettings(),
    *,
    address: str,
    plugins: Sequence[str] = (),
) -> None:
    """Train a protocol's members on the machines of a cluster, which all see both folders.

    `train_protocol` then writes the tables. "auto" is float32 here, as machines may differ. Raises
    as `train_on_cluster` does.
    """
    settings = same_everywhere(settings)
    folds = [*range(settings.folds), None]
    shared = _check(data, output, settings, data_settings, folds)
    members: list[Training] = []
    for fold in folds:
        name = run_folder.fold_name(fold)
        call = partial(train, data, output / name, replace(settings, fold=fold), shared)
        members.append((name, call))
    device = data_settings.device
    train_on_cluster(members, output, address, device=device, plugins=plugins)


def _check(
    data: Path,
    output: Path,
    settings: TrainingSettings,
    data_settings: DataSettings,
    folds: Sequence[int | None],
) -> DataSettings:
    """Refuse what one of `folds` cannot be trained with, before the first is trained.

    Returns the settings of the data that all share.
    """
    shared = replace(data_settings, cache=data_settings.cache_below(output))
    runs = [output / run_folder.fold_name(fold) for fold in folds]
    begun = any((run / run_folder.CHECKPOINT).is_file() for run in runs)
    check_folds(data, settings, shared, folds, begun=begun)
    return shared


def report(
    data: Path, output: Path, scoring: ScoringSettings, mask_frame: MaskFrame | None = None
) -> None:
    """Write the tables of a finished protocol; DataError if there is no mask of the style."""
    maps = run_folder.read_held_out(output)
    pairs = {pair.image_id: pair for pair in find_all_pairs(data, mask_frame)}
    evaluation = evaluate_maps(
        maps, pairs, scoring.thresholds, read_facts(data, list(pairs.values()))
    )
    if scoring.style is not None:
        evaluation = evaluation.where("style", scoring.style)
        if not evaluation.images:
            raise DataError(f"{data}: no mask is outlined in the style {scoring.style}")
    rows = []
    for run in run_folder.find_members(output):
        _, facts = checkpoints.load(run / run_folder.WEIGHTS)
        row = {"member": run.name, "epochs": facts["epochs"], "hours": facts["hours"]}
        held_out = (
            [] if run.name == run_folder.EVERYTHING else sorted(run_folder.read_held_out(run))
        )
        rows.append({**row, **_metrics(evaluation, held_out)})
    hours = round(sum(row["hours"] for row in rows), 3)
    total = {"member": "out of fold", "epochs": "", "hours": hours}
    rows.append({**total, **_metrics(evaluation, sorted(maps))})
    for style in STYLE_IDS:
        named = {"member": f"out of fold, {style}", "epochs": "", "hours": ""}
        rows.append({**named, **_metrics(evaluation.where("style", style), sorted(maps))})
    write_table(output / TABLE, list(rows[0]), rows)
    evaluation.write_csv(output / f"{SCORES}.csv")
    evaluation.write_json(output / f"{SCORES}.json")


def _metrics(evaluation: Evaluation, images: list[str]) -> dict[str, object]:
    """Return a row's cells: the means over those of `images` that were scored; empty for none."""
    columns = ("images", *METRICS, "jaccard_95_low", "jaccard_95_high")
    scores = [evaluation.images[image] for image in images if image in evaluation.images]
    if not scores:
        return dict.fromkeys(columns, "")
    summary = Summary.of(scores)
    means = [round(getattr(summary.mean, name), 5) for name in METRICS]
    interval = [round(end, 4) for end in summary.interval["jaccard"]]
    return dict(zip(columns, [len(scores), *means, *interval], strict=True))
