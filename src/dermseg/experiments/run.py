"""Run an experiment, from its name to its files."""

from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from dermseg.data.datasets import digest
from dermseg.data.layouts import find_all_pairs
from dermseg.errors import UsageError
from dermseg.experiments.findings import Findings
from dermseg.experiments.registry import Experiment, find_experiment
from dermseg.experiments.report import write_report
from dermseg.experiments.scoring import ScoredSet, Scorer, find_scored_set
from dermseg.experiments.study import (
    Study,
    Trained,
    adopt,
    computing,
    train_arms,
)
from dermseg.machine import describe_machine
from dermseg.settings import DataSettings, ExperimentSettings, ScoringSettings, TrainingSettings
from dermseg.storage.files import remove_leftovers
from dermseg.training import distributed, networks
from dermseg.training.provenance import commit
from dermseg.training.run_folder import read_settings

LEDGER = "ledger.csv"


def run_experiment(
    name: str,
    data: Path,
    output: Path,
    base: TrainingSettings,
    settings: ExperimentSettings,
    data_settings: DataSettings,
    *,
    scoring: ScoringSettings = ScoringSettings(),
) -> Path:
    """Train what the experiment `name` lacks, score it, and write its files into `output`.

    Experiments in one folder share their trainings and scores. A second call trains and scores
    nothing again; one after a kill goes on. `base` holds the settings that all arms share.

    Returns the report, NAME.md. Raises UsageError if the settings do not fit the experiment,
    DataError if the data are unusable or lack the set that it scores, and as
    `training.loop.train` and `export.exporter.export_model` do.
    """
    experiment = find_experiment(name)
    _check(name, experiment, base, settings)
    scored_set = find_scored_set(data, experiment.scored_set) if experiment.scored_set else None
    pairs = {pair.image_id: pair for pair in find_all_pairs(data, data_settings.mask_frame)}
    remove_leftovers(output)
    if settings.runs:
        arms = adopt(experiment.arms, settings.runs)
    else:
        arms = train_arms(experiment, data, output, base, settings, data_settings)
    scorer = Scorer(output, pairs, settings.ledger or output / LEDGER, scoring)
    study = Study(
        name=name,
        experiment=experiment,
        output=output,
        arms=arms,
        scorer=scorer,
        scored_set=scored_set,
        data=data,
        data_settings=data_settings,
    )
    measure: Callable[[Study], Findings] = import_module(
        f"dermseg.experiments.{experiment.measure}"
    ).measure
    findings = measure(study)
    return write_report(name, experiment, findings, _facts(study, scored_set), output)


def _check(
    name: str, experiment: Experiment, base: TrainingSettings, settings: ExperimentSettings
) -> None:
    if distributed.started() > 1:
        raise UsageError(
            "an experiment runs in one process; train with torchrun first, then name the folders "
            "with --runs"
        )
    if base.fold is not None:
        raise UsageError("--fold: an experiment trains the first folds; --folds-used says how many")
    if not settings.runs and settings.seeds < experiment.fewest_seeds:
        raise UsageError(f"{name} compares seeds: give --seeds 6, or at least 2")
    if settings.folds_used is not None and not 1 <= settings.folds_used <= base.folds:
        raise UsageError(f"--folds-used {settings.folds_used}: choose from 1 to {base.folds}")
    if experiment.needs_trainings and not experiment.arms and not settings.runs:
        raise UsageError(f"{name} compares trainings that exist: name their folders with --runs")
    if not settings.runs:
        _check_arms(experiment, base)


def _check_arms(experiment: Experiment, base: TrainingSettings) -> None:
    """Refuse settings that an arm cannot be trained with, before the first one is."""
    known: dict[TrainingSettings, str] = {}
    for arm in experiment.arms:
        settings = arm.settings(base)
        networks.check(settings)
        other = known.setdefault(settings, arm.label)
        if other != arm.label:
            raise UsageError(
                f"with these options {other!r} and {arm.label!r} are the same training: there is "
                "nothing to compare"
            )


def _facts(study: Study, scored_set: ScoredSet | None) -> dict[str, Any]:
    """Return what the JSON file says of how the findings came about."""
    every = list(study.scorer.pairs.values())
    pairs = [pair for pair in every if pair.part == "training"] or every
    files = [file for pair in pairs for file in (pair.photograph, pair.mask)]
    return {
        "commit": commit(),
        "machine": describe_machine(),
        "data": digest(files, times=False),
        "scored_set": scored_set and scored_set.name,
        "scored_set_data": scored_set and digest(scored_set.files, times=False),
        "scoring": asdict(study.scorer.scoring),
        "members": min(
            (len(found) for arm in study.arms for found in arm.runs.values()), default=0
        ),
        "arms": [_describe(arm) for arm in study.arms],
    }


def _describe(arm: Trained) -> dict[str, Any]:
    """Return an arm's settings, but for seed and fold, and what it cost."""
    found = [read_settings(run) for each in arm.runs.values() for run in each]
    settings = next((asdict(each) for each in found if each is not None), {})
    return {
        "name": arm.name,
        "label": arm.label,
        "settings": {key: v for key, v in settings.items() if key not in ("seed", "fold")},
        "seeds": None if arm.given else list(arm.runs),
        "runs": {arm.model(seed): [run.name for run in each] for seed, each in arm.runs.items()},
        "computing": asdict(computing([arm])),
    }
