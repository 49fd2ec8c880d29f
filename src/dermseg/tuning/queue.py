"""Who does what next: the trials of a search, dealt out by Optuna's journal.

A trial that is being made holds the lock of its folder, so that one whose process was killed is
known, and taken by another.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from dermseg.errors import DataError
from dermseg.settings import TuningSettings
from dermseg.storage.files import DAMAGE, is_special, writing
from dermseg.tuning.ranking import Point, Result
from dermseg.tuning.search import LOCK, Search, grid

JOURNAL = "journal.jsonl"
QUEUED = "point"
"""Under this attribute a trial in a grid's queue has its point, before its values are drawn."""
DIGITS = 3
"""Significant digits of the values that tpe draws: a trial's folder is named after them."""


def open_study(search: Search) -> optuna.Study:
    """Return the journal's study of this search, with every point of a grid in its queue.

    A queue and not Optuna's GridSampler, which may give one point to two processes.
    """
    path = str(search.output / JOURNAL)
    if is_special(search.output / JOURNAL):
        raise DataError(f"{path}: is no file; move it away")
    plan = hashlib.sha256(json.dumps(search.plan).encode()).hexdigest()
    # Whoever writes holds the search's lock, so that another's lock is one that was killed.
    lock = JournalFileOpenLock(path, grace_period=3)
    try:
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(path, lock)),
            study_name=f"{search.tuning.sampler}-{plan[:12]}",
            direction="maximize",
            load_if_exists=True,
        )
    except (*DAMAGE, AssertionError) as error:  # optuna asserts what it reads
        raise DataError(f"{path}: damaged; remove it, the trainings stay ({error})") from error
    if search.tuning.sampler == "grid":
        trials = [trial for trial in study.get_trials() if trial.state != TrialState.FAIL]
        known = {point_of(search, trial) for trial in trials}
        for point in grid(search.tuning):
            if point not in known:
                study.enqueue_trial(asdict(point), user_attrs={QUEUED: asdict(point)})
    return study


@dataclass(frozen=True)
class Task:
    """A trial that this process is to run; its lock is held, and tells others so."""

    number: int
    point: Point
    lock: FileLock


def take(search: Search, study: optuna.Study) -> Task | None:
    """Return a trial that a killed process left, or else a new one; None if there is none."""
    with search.locked():
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            point = point_of(search, trial)
            if point is None:  # killed while it was drawn
                study.tell(trial.number, state=TrialState.FAIL)
            elif (task := _claim(search, trial.number, point)) is not None:
                return task
        while _has_more(search, study):
            # All chance comes from (seed, number): a search that goes on draws what it would have.
            seed = search.training.seed + len(study.get_trials())
            study.sampler = optuna.samplers.TPESampler(seed=seed)
            new = study.ask(_distributions(search.tuning))
            point = point_of(search, study.get_trials()[new.number])
            if point is not None and (task := _claim(search, new.number, point)) is not None:
                return task
            study.tell(new.number, state=TrialState.FAIL)  # another process has just these values
    return None


def _has_more(search: Search, study: optuna.Study) -> bool:
    if search.tuning.sampler == "grid":
        return bool(study.get_trials(states=(TrialState.WAITING,)))
    begun = [trial for trial in study.get_trials() if trial.state != TrialState.FAIL]
    return len(begun) < search.trials


def _distributions(tuning: TuningSettings) -> dict[str, BaseDistribution]:
    """Return what values a point may have, by its fields' names."""
    lists = (tuning.learning_rates, tuning.dropouts, tuning.windows)
    names = [field.name for field in fields(Point)]
    if tuning.sampler == "grid":
        return {n: CategoricalDistribution(values) for n, values in zip(names, lists, strict=True)}
    return {
        name: FloatDistribution(min(values), max(values), log=name == "learning_rate")
        for name, values in zip(names, lists, strict=True)
    }


def point_of(search: Search, trial: FrozenTrial) -> Point | None:
    """Return a trial's point; None if not all of its values were drawn."""
    values: dict[str, float] = {**trial.params, **trial.user_attrs.get(QUEUED, {})}
    if len(values) < len(fields(Point)):
        return None
    if search.tuning.sampler == "tpe":
        values = {name: float(f"{value:.{DIGITS}g}") for name, value in values.items()}
    return Point(**values)


def _claim(search: Search, number: int, point: Point) -> Task | None:
    """Return the trial with its folder's lock, None if another process holds it."""
    folder = search.folder(point)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return Task(number, point, lock)


def tell(study: optuna.Study, number: int, result: Result | None) -> None:
    """Note how a trial came out; None means that its loss diverged."""
    if result is None:
        study.tell(number, state=TrialState.PRUNED)
    else:
        study.tell(number, result.jaccard.mean(0).max())
