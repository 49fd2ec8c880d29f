"""The search for settings (paper, section III-B: "experimentally determined via grid search").

Settings are chosen by the Jaccard index out of fold alone: each image is scored by the network
that had not seen it. A trial trains a network for each fold; the dual thresholds need no training,
so every pair is tried on each trial's probabilities, and the best pair's Jaccard index is the
trial's (`ranking.py` says how far that can be trusted).

The trainings in the folder are what a search has done; a trial's folder is named after its values.
Optuna's journal beside them says who does what next (`queue.py`), and can be removed without loss.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock
from optuna.trial import TrialState

from dermseg.data.layouts import find_all_pairs
from dermseg.errors import DataError, DivergedError, UsageError
from dermseg.evaluation.maps import read_styles, score_thresholds
from dermseg.progress import say
from dermseg.settings import (
    PROTOCOLS,
    DataSettings,
    Precision,
    Protocol,
    ThresholdSettings,
    TrainingSettings,
    TuningSettings,
    changed_options,
)
from dermseg.storage.files import (
    read_json,
    reading,
    remove_leftovers,
    write_json,
    writing,
    written_whole,
)
from dermseg.storage.tables import write_table
from dermseg.training import checkpoints, distributed, precision, run_folder
from dermseg.training.loop import check_folds, check_settings, train
from dermseg.training.plugins import loaded_options
from dermseg.tuning.queue import JOURNAL, open_study, point_of, take, tell
from dermseg.tuning.ranking import (
    Point,
    Result,
    Rows,
    cross_fitted,
    is_worse,
    pair_rows,
    rank,
    trial_rows,
    verdict,
)
from dermseg.tuning.search import LOCK, Search

PLAN = "grid.json"
TABLE = "trials.csv"
PAIRS = "thresholds.csv"
SCORES = "jaccard.npz"


def tune(
    data: Path,
    output: Path,
    training: TrainingSettings,
    tuning: TuningSettings,
    data_settings: DataSettings = DataSettings(),
    *,
    protocol: Protocol | None = None,
) -> str:
    """Try the settings of `tuning` on `data`, and return the conclusion, some lines of text.

    `training` holds the settings that all trials share; `protocol` is the one that they came
    from, if any. A second call goes on where the first was stopped, and several processes may
    share `output`, also from several machines. `output` receives grid.json, before anything is
    trained; a folder for each trial, in which a protocol can be completed; and after each trial
    trials.csv, a row a trial, best first, and thresholds.csv, a row a pair of thresholds.

    Raises UsageError if the settings contradict each other or `output` holds another search;
    otherwise as `loop.train` does, but a trial whose loss diverges costs that trial alone.
    """
    _check(training, tuning, PROTOCOLS[protocol or "paper"])
    check_settings(training, data_settings)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    shared = replace(data_settings, cache=data_settings.cache_below(output))
    with ExitStack() as stack:
        with writing(output):
            output.mkdir(parents=True, exist_ok=True)
            # One process reads the data, the others wait for it.
            stack.enter_context(FileLock(output / LOCK))
        folds = range(tuning.folds_used or training.folds)
        begun = (output / PLAN).exists()
        images = check_folds(data, training, shared, folds, begun=begun)
        training = precision.decide(training, data_settings.device, _planned(output))
        search = Search(
            data=data,
            output=output,
            training=training,
            tuning=tuning,
            data_settings=shared,
            digest=images.digest,
        )
        remove_leftovers(output, below=False)
        if not begun:
            _check_style(search)
        _write_plan(search)
        study = open_study(search)
    while (task := take(search, study)) is not None:
        try:
            say(f"Trial {task.number + 1} of {search.trials}: {task.point.name}")
            result = _run(search, task.point)
            with search.locked():
                tell(study, task.number, result)
                _report(search, study)
        finally:
            task.lock.release()
    with search.locked():
        return _conclude(search, protocol, *_report(search, study))


def _check(training: TrainingSettings, tuning: TuningSettings, usual: TrainingSettings) -> None:
    """Raise UsageError for settings that a search cannot take over; `usual` are the protocol's."""
    if distributed.started() > 1:  # they would average the gradients of different trials
        raise UsageError(
            "torchrun: a search is one process; start several without torchrun to share it"
        )
    for option, given, default in (
        ("learning-rate", training.learning_rate, usual.learning_rate),
        ("dropout", training.dropout, usual.dropout),
        ("augmentation.window", training.augmentation.window, usual.augmentation.window),
    ):
        if given != default:
            several = f"--{option.removeprefix('augmentation.')}s"
            raise UsageError(f"--{option} is what is searched: give {several}")
    if training.fold is not None:
        raise UsageError("--fold: a trial trains several folds; --folds-used says how many")
    if training.folds < 2:
        raise UsageError("--folds must be at least 2, so that there is something out of fold")
    if tuning.folds_used is not None and tuning.folds_used > training.folds:
        raise UsageError(f"--folds-used {tuning.folds_used}: there are {training.folds} folds")


def _check_style(search: Search) -> None:
    """Raise DataError if no mask can be scored, for none is of the style."""
    found = find_all_pairs(search.data, search.data_settings.mask_frame)
    pairs = {pair.image_id: pair for pair in found}
    if search.tuning.style is not None and search.tuning.style not in read_styles(pairs).values():
        raise DataError(f"{search.data}: no mask is outlined in the style {search.tuning.style}")


def _write_plan(search: Search) -> None:
    """Write down what is searched, unless it is; raise UsageError if it was something else."""
    path = search.output / PLAN
    if not path.exists():
        write_json(path, search.plan)
    elif read_json(path) != search.plan:
        raise UsageError(
            f"{search.output} holds another search (see its {PLAN}); give its options again to go "
            f"on with it, choose another folder, or remove {PLAN} to make use of its trainings"
        )


def _planned(output: Path) -> Precision | None:
    """Return the arithmetic of the search in `output`, None if it has not begun."""
    plan = output / PLAN
    precision: Precision | None = (
        read_json(plan)["training"]["precision"] if plan.exists() else None
    )
    return precision


def _run(search: Search, point: Point) -> Result | None:
    """Train a trial's folds, as far as they are not, and score them; None if the loss diverges."""
    folder = search.folder(point)
    remove_leftovers(folder)
    if (folder / SCORES).is_file() and (known := _load(search, point)) is not None:
        return known
    try:
        for fold in search.folds:
            train(
                search.data,
                folder / run_folder.fold_name(fold),
                replace(point.settings(search.training), fold=fold),
                search.data_settings,
            )
    except DivergedError as error:
        say(f"{point.name}: {error}")
        return None
    _score(search, point)
    return _load(search, point)


def _identity(search: Search, point: Point) -> str:
    """Return what must agree for a trial's scores to be those of this search."""
    training = asdict(point.settings(search.training))
    choices = [asdict(pair) for pair in search.tuning.thresholds]
    return json.dumps([search.digest, training, len(search.folds), choices, search.tuning.style])


def _score(search: Search, point: Point) -> None:
    """Write the Jaccard index of every image, out of fold, by every pair of thresholds."""
    found = find_all_pairs(search.data, search.data_settings.mask_frame)
    pairs = {pair.image_id: pair for pair in found}
    styles = read_styles(pairs) if search.tuning.style else {}
    images: list[str] = []
    fold_of: list[int] = []
    jaccard: list[list[float]] = []
    hours = 0.0
    for fold in search.folds:
        run = search.folder(point) / run_folder.fold_name(fold)
        hours += checkpoints.load(run / run_folder.WEIGHTS)[1]["hours"]
        maps = run_folder.read_held_out(run)
        if styles:
            maps = {image: m for image, m in maps.items() if styles[image] == search.tuning.style}
        scores = score_thresholds(maps, pairs, search.tuning.thresholds)
        images += scores
        fold_of += [fold] * len(scores)
        jaccard += [[each.jaccard for each in found] for found in scores.values()]
    if not images:
        raise DataError(f"{search.data}: no mask is outlined in the style {search.tuning.style}")
    with written_whole(search.folder(point) / SCORES) as temporary:
        np.savez_compressed(
            temporary,
            identity=np.array(_identity(search, point)),
            images=np.array(images),
            fold_of=np.array(fold_of, np.intp),
            jaccard=np.array(jaccard, np.float64),
            hours=np.array(hours),
        )


def _load(search: Search, point: Point) -> Result | None:
    """Return what `_score` wrote, None if it was for another search."""
    file = search.folder(point) / SCORES
    with reading(file), np.load(file) as stored:
        if str(stored["identity"]) != _identity(search, point):
            return None
        images: list[str] = stored["images"].tolist()
        hours = float(stored["hours"])
        return Result(point, images, stored["fold_of"], stored["jaccard"], hours)


def _report(search: Search, study: optuna.Study) -> tuple[list[Result], Rows]:
    """Write the tables of the trials so far; return the results, best first, and their rows."""
    found: dict[Point, Result] = {}
    diverged: dict[Point, None] = {}
    for trial in study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED)):
        point = point_of(search, trial)
        if point is None:
            continue
        if trial.state == TrialState.PRUNED:
            diverged[point] = None
            continue
        path = search.folder(point) / SCORES
        result = _load(search, point) if path.is_file() else None
        if result is None:
            raise DataError(f"{path}: gone; remove {search.output / JOURNAL} to make it again")
        found[point] = result
    if not found:
        return [], []
    ranked, thresholds = rank(list(found.values())), search.tuning.thresholds
    rows = trial_rows(ranked, thresholds)
    shared = {"epochs": search.training.epochs, "note": ""}
    table = [{**row, **shared} for row in rows]
    empty = dict.fromkeys(table[0], "")
    for point in diverged:
        table.append({**empty, "trial": point.name, **asdict(point), "note": "diverged"})
    write_table(search.output / TABLE, list(table[0]), table)
    pairs = pair_rows(ranked, thresholds)
    write_table(search.output / PAIRS, list(pairs[0]), pairs)
    return ranked, rows


def _conclude(
    search: Search, protocol: Protocol | None, ranked: Sequence[Result], rows: Rows
) -> str:
    """Return the search's conclusion, for people to read."""
    if not rows:
        raise DataError(f"{search.output}: no trial came to an end; try lower --learning-rates")
    best = rows[0]
    lines = [
        f"{len(rows)} of {search.trials} trials; {best['images']} images, each scored by a "
        "network that had not seen it",
        f"best: {best['trial']} with high {best['high']} and low {best['low']}: "
        f"Jaccard {best['jaccard']:.4f} "
        f"({best['jaccard_95_low']:.4f} to {best['jaccard_95_high']:.4f})",
    ]
    if best["cross_fitted"] != "":
        everything = np.concatenate([result.jaccard for result in ranked], 1)
        honest = cross_fitted(everything, ranked[0].fold_of).mean()
        lines.append(
            f"with thresholds chosen on the other folds {best['cross_fitted']:.4f}; "
            f"with everything chosen on them {honest:.4f}"
        )
    if len(rows) > 1:
        lines.append(f"runner-up: {rows[1]['trial']}, {verdict(rows[1])}")
        alike = sum(not is_worse(row) for row in rows[1:])
        lines.append(f"no difference shown between the best and {alike} of {len(rows) - 1} others")
    commands = _commands(search, protocol, ranked[0].point, best)
    return "\n".join([*lines, "to make and use the best settings' models:", *commands])


def _commands(
    search: Search, protocol: Protocol | None, point: Point, best: dict[str, Any]
) -> Iterator[str]:
    """Yield the command lines that go on from the best trial, whose folds are trained already."""
    folder = str(search.folder(point))
    options = training_options(point.settings(search.training), protocol or "paper")
    options += ["--cache", str(search.data_settings.cache)]
    if search.data_settings.device != "auto":
        options += ["--device", search.data_settings.device]
    if search.data_settings.allow_resized:
        options.append("--allow-resized")
    if search.data_settings.mask_frame is not None:
        options += ["--mask-frame", search.data_settings.mask_frame]
    thresholds = ["--high", str(best["high"]), "--low", str(best["low"])]
    if search.tuning.rule != ThresholdSettings().rule:
        thresholds += ["--rule", search.tuning.rule]
    if search.tuning.style is not None:
        thresholds += ["--style", search.tuning.style]
    for command in (
        ["train", str(search.data), "-o", folder, *options, *loaded_options()],
        ["export", folder, "-o", "MODEL.onnx", *loaded_options()],
        ["segment", "PHOTOGRAPHS", "-o", "MASKS", "--model", "MODEL.onnx", *thresholds],
    ):
        yield f"  {shlex.join(['dermseg', *command])}"


def training_options(settings: TrainingSettings, protocol: Protocol) -> list[str]:
    """Return the options of `dermseg train` that give `settings`."""
    options = ["--protocol", protocol]
    for option, value in changed_options(settings, PROTOCOLS[protocol]).items():
        if isinstance(value, bool):
            group, dot, name = option.rpartition(".")
            options.append(option if value else f"{group}{dot}no-{name}")
        else:
            options += [option, str(value)]
    return options
