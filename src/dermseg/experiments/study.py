"""The trainings of an experiment, and their scores and verdicts."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dermseg.data.datasets import Cache, open_cache
from dermseg.errors import DataError, UsageError
from dermseg.evaluation.maps import binariser
from dermseg.experiments.findings import Computing, Verdict
from dermseg.experiments.registry import Arm, Claim, Experiment
from dermseg.experiments.scoring import ScoredSet, Scorer
from dermseg.experiments.statistics import (
    MINIMUM_SEEDS,
    Outcome,
    Table,
    decide,
    difference,
    of_networks,
    restrict,
)
from dermseg.masks.metrics import mean
from dermseg.settings import DataSettings, ExperimentSettings, ThresholdSettings, TrainingSettings
from dermseg.training import precision, run_folder
from dermseg.training.loop import check_folds, train

SEED = "seed-"
"""How the folders of one training with several seeds begin."""
QUANTITIES = {"jaccard": "Jaccard index", "sensitivity": "sensitivity"}
"""What verdicts call the metrics that claims are about."""


@dataclass(frozen=True)
class Trained:
    """One arm's finished runs, by seed; a single training that was `given` has seed 0."""

    name: str
    label: str
    runs: Mapping[int, Sequence[Path]]
    given: bool = False

    def model(self, seed: int) -> str:
        """Return what the ledger calls the runs of one seed, taken together."""
        alone = self.given and len(self.runs) == 1
        return self.name if alone else f"{self.name}/seed-{seed}"

    def logs(self) -> list[list[dict[str, str]]]:
        """Return the rows of each run's log; runs without a log are passed over."""
        runs = [run for found in self.runs.values() for run in found]
        return [run_folder.read_log(run) for run in runs if (run / run_folder.LOG).is_file()]


def computing(arms: Sequence[Trained]) -> Computing:
    """Return what the trainings of `arms` cost together."""
    return Computing.of([log for arm in arms for log in arm.logs()])


@dataclass(frozen=True, kw_only=True)
class Study:
    """An experiment with its finished trainings, for a module of this room to measure."""

    name: str
    experiment: Experiment
    output: Path
    arms: Sequence[Trained]
    scorer: Scorer
    scored_set: ScoredSet | None
    data: Path
    data_settings: DataSettings

    @property
    def thresholds(self) -> ThresholdSettings:
        """How masks are made of the predictions."""
        return self.scorer.scoring.thresholds

    def open_images(self, held_out: Container[str], height: int, width: int) -> Cache:
        """Return the training images at a network's size, with all that are `held_out`.

        These may lie in other folders, by a split of one's own. Raises DataError for unusable ones.
        """
        pairs = self.scorer.pairs.values()
        return open_cache(
            [pair for pair in pairs if pair.part == "training" or pair.image_id in held_out],
            height,
            width,
            self.data_settings.cache_below(self.output),
            allow_resized=self.data_settings.allow_resized,
        )

    def out_of_fold(self, arm: Trained) -> Table:
        """Score every image by the run that had not seen it, as `Segmenter` makes masks."""
        way = repr(self.thresholds)
        binarisers = {way: binariser(self.thresholds)}
        return {
            seed: self.scorer.out_of_fold(found, binarisers)[way]
            for seed, found in arm.runs.items()
        }

    def judge(
        self, tables: Mapping[str, Mapping[str, Table]], claims: Iterable[Claim]
    ) -> list[Verdict]:
        """Return the verdict on each claim, for each set with both its rows."""
        claims = list(claims)
        untrained = self.untrained() if claims else {}
        return [
            self._verdict(claim, name, rows[claim.better], rows[claim.worse], untrained)
            for name, rows in tables.items()
            for claim in claims
            if claim.better in rows and claim.worse in rows
        ]

    def untrained(self) -> dict[str, str]:
        """Return the arms below the floor of training, by label, and what to say of each."""
        found = {}
        for arm in self.arms:
            for seed, scores in self.out_of_fold(arm).items():
                reached = mean(list(scores.values())).jaccard
                floor = mean(list(self.scorer.trivial(scores).values())).jaccard
                if reached <= floor:
                    found[arm.label] = (
                        f"{arm.label} (seed {seed}) reaches {reached:.3f}, and one mask for all "
                        f"images {floor:.3f}: train longer"
                    )
        return found

    def _verdict(
        self, claim: Claim, name: str, better: Table, worse: Table, untrained: Mapping[str, str]
    ) -> Verdict:
        gain, here = difference(better, worse), of_networks(better, worse)
        value, low, high = gain.of(claim.metric)
        named = [arm for arm in self.arms if arm.label in (claim.better, claim.worse)]
        arms = named or self.arms
        why = "; ".join(untrained[arm.label] for arm in arms if arm.label in untrained)
        networks: Outcome = "undecided" if why else decide(*here.of(claim.metric)[1:])
        if not why and not claim.same_networks:
            why = too_few(gain.seeds)
        return Verdict(
            claim=claim.text,
            source=claim.source,
            set=name,
            outcome="undecided" if why else decide(low, high),
            networks=networks,
            why=why,
            quantity=QUANTITIES[claim.metric],
            difference=value,
            low=low,
            high=high,
            images=gain.images,
            seeds=gain.seeds,
            computing=computing(arms),
        )


def too_few(seeds: int) -> str:
    """Return why so many seeds say nothing of a method; nothing if they do."""
    if seeds >= MINIMUM_SEEDS:
        return ""
    return f"a verdict about methods takes {MINIMUM_SEEDS} seeds"


def shared(rows: Mapping[str, Table]) -> dict[str, Table]:
    """Return `rows` with the images, of each seed, that all hold; DataError if there are none."""
    found = restrict(rows)
    if not any(scores for scores in next(iter(found.values())).values()):
        raise DataError(
            f"{', '.join(rows)}: no image was held out by all of them; train the same folds of each"
        )
    return found


def train_arms(
    experiment: Experiment,
    data: Path,
    output: Path,
    base: TrainingSettings,
    settings: ExperimentSettings,
    data_settings: DataSettings,
) -> list[Trained]:
    """Train each arm for each seed and fold, in `output`/arms/ARM/seed-S/fold-K.

    An experiment that needs the paper's sixth member trains it too, on everything, unless only some
    folds are used.

    What is finished already, by this experiment or another in the same folder, is left as it is;
    what was stopped is gone on with. Raises as `training.loop.train` does.
    """
    data_settings = replace(data_settings, cache=data_settings.cache_below(output))
    folds: list[int | None] = [*range(settings.folds_used or base.folds)]
    if experiment.sixth and settings.folds_used is None:
        folds.append(None)
    arms = experiment.arms
    runs = sorted(output.glob("arms/*/seed-*/fold-*"))
    begun = any((run / run_folder.CHECKPOINT).is_file() for run in runs)
    for arm in arms:
        check_folds(data, arm.settings(base), data_settings, folds, begun=begun)
    first = arms[0].settings(base) if arms else base
    decided = precision.decide(first, data_settings.device, precision.of_runs(runs))
    base = replace(base, precision=decided.precision)  # one for all that is compared
    trained = []
    for arm in arms:
        found = {}
        for seed in range(base.seed, base.seed + settings.seeds):
            folder = output / "arms" / arm.name / f"{SEED}{seed}"
            found[seed] = [folder / run_folder.fold_name(fold) for fold in folds]
            for fold, run in zip(folds, found[seed], strict=True):
                train(
                    data,
                    run,
                    replace(arm.settings(base), seed=seed, fold=fold),
                    data_settings,
                )
        trained.append(Trained(arm.name, arm.label, found))
    return trained


def adopt(arms: Sequence[Arm], folders: Sequence[Path]) -> list[Trained]:
    """Return trainings that exist already, one folder an arm: a run, a protocol, or its seeds.

    Several `arms` must be what the folders hold, in their order. One arm may be any training, and
    without arms all may be: they are called by their folders' names.

    Raises UsageError if the folders do not fit the arms, DataError if one holds no training.
    """
    listed = "; ".join(arm.label for arm in arms)
    if len(arms) < 2:
        names = [folder.resolve().name for folder in folders]
        if len(set(names)) < len(names):
            names = [str(folder) for folder in folders]
        named = [Arm(name, name) for name in names]
        arms = named[: len(arms)] or named
    if len(folders) != len(arms):
        counts = f"{len(folders)} for an experiment that compares {len(arms)}"
        raise UsageError(f"--runs: give a folder for each training ({listed}); here are {counts}")
    found = [_by_seed(folder) for folder in folders]
    for arm, seeds in zip(arms, found, strict=True):
        for member in (run for members in seeds.values() for run in members):
            settings = run_folder.read_settings(member)
            if settings is not None and arm.settings(settings) != settings:
                raise UsageError(
                    f"--runs: the settings of {member} are not those of {arm.label}; give the "
                    f"folders in this order: {listed}"
                )
    pairs = zip(arms, found, strict=True)
    return [Trained(arm.name, arm.label, seeds, given=True) for arm, seeds in pairs]


def _by_seed(folder: Path) -> dict[int, list[Path]]:
    """Return the runs in `folder`, or in its folders seed-0, seed-1 and so on, by seed."""
    numbers = {each.name.removeprefix(SEED): each for each in folder.glob(f"{SEED}*")}
    seeds = {int(number): each for number, each in numbers.items() if number.isdecimal()}
    found = {seed: run_folder.find_scored(seeds[seed]) for seed in sorted(seeds)}
    return found or {0: run_folder.find_scored(folder)}
