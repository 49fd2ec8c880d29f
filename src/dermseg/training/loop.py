"""Training as a run: a folder that fills up epoch by epoch and can be gone on with at any time."""

import json
import math
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dermseg import __version__
from dermseg.data import datasets, folds, sources
from dermseg.data.fingerprints import encoded, read_fingerprints
from dermseg.data.layouts import Pair, read_facts
from dermseg.data.metadata import UNKNOWN
from dermseg.data.splits import (
    Split,
    describe_people,
    find_leaks,
    group,
    read_people,
    read_split,
)
from dermseg.errors import DataError, DivergedError, UsageError
from dermseg.imaging.mask_files import MASK_FOREGROUND
from dermseg.imaging.photographs import image_size
from dermseg.masks.metrics import mean, score
from dermseg.masks.style import STYLE_NAMES
from dermseg.progress import Advance, bar, counted, say, say_once
from dermseg.settings import DataSettings, TrainingSettings
from dermseg.storage.files import occupied, reading, remove_leftovers, write_json, written_whole
from dermseg.training import checkpoints, distributed, fine_tuning, networks, precision
from dermseg.training.devices import find_device
from dermseg.training.following import Callback, followed, write_log
from dermseg.training.losses import find_loss
from dermseg.training.provenance import commit
from dermseg.training.run_folder import (
    BEST,
    CHECKPOINT,
    FOLDS,
    HELD_OUT,
    SAMPLES,
    SETTINGS,
    WEIGHTS,
    write_held_out,
)
from dermseg.training.trainer import Rows, Trainer

SAMPLE_COUNT = 64
"""Enough to calibrate 8-bit arithmetic on, and to check an exported file."""
Log = list[dict[str, Any]]


@distributed.joined()
def train(
    data: str | Path,
    run: str | Path,
    settings: TrainingSettings = TrainingSettings(),
    data_settings: DataSettings = DataSettings(),
    *,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Train a network on a data set and leave it in the folder `run`.

    A second call with the same settings continues where the first was stopped. One with more
    `epochs` continues from the end of the first. Processes that torchrun started train one network
    together; their number may change from one call to the next.

    Parameters
    ----------
    data
        Folder of photographs and masks, in a layout of `dermseg.data.layouts`.
    run
        Folder for settings.json, folds.json, log.csv (a row an epoch), progress.html (its curves),
        tensorboard (the same, where TensorBoard is installed), checkpoint.safetensors, and
        at the end weights.safetensors; samples.npy, training images for `export_model` to calibrate
        and check its work on; and held-out.npz, the probabilities of the held-out fold or, without
        one, of the validation set, if the data have one.
    settings
        What is trained, and how. The defaults are the paper's.
    data_settings
        Where it computes, and how it reads its data.
    callbacks
        Functions that are called after each epoch, when its checkpoint is saved, with the epoch's
        row of log.csv as a dictionary: epoch, learning_rate, loss, seconds, and held_out_loss,
        held_out_jaccard and held_out_dice where images are held out. An exception in one ends the
        training; a second call continues it. Of several processes the first calls them.

    Raises
    ------
    UsageError
        If `run` holds a training with other settings or of other data, or one that runs; or if
        there is no such network, loss or device.
    DataError
        If the data are unusable.
    DivergedError
        If the loss is no longer a number.

    Examples
    --------
    >>> import dermseg
    >>> settings = dermseg.TrainingSettings(network="lite0", channels="rgb", epochs=22, fold=0)
    >>> dermseg.train("mine", "run", settings)  # doctest: +SKIP
    >>> dermseg.export_model("run", "mine.onnx")  # doctest: +SKIP
    """
    data, run = Path(data), Path(run)
    check_settings(settings, data_settings)
    if distributed.leads():
        remove_leftovers(run)
    check_keep(data, settings, data_settings)
    store = data_settings.cache_below(run)
    split, images, fold_of = _read_images(data, settings, data_settings, store)
    if distributed.leads():
        _say_split(data, split, store, settings)
    chosen, held_out = _divide(data, images, fold_of, settings)
    # Its steps are timed only when the data are known to be usable.
    settings = precision.decide(settings, data_settings.device, precision.of_runs([run]))
    where = find_device(data_settings.device, settings.precision)
    trainer = Trainer(settings, where, images, chosen)
    with occupied(run) if distributed.leads() else nullcontext():
        fold_by_id = dict(zip(images.image_ids, fold_of, strict=False))
        photographs = [pair.photograph for pair in (*split.training, *split.validation)]
        _fit(run, trainer, held_out, fold_by_id, photographs, callbacks)


def _fit(
    run: Path,
    trainer: Trainer,
    held_out: Rows,
    fold_of: dict[str, int],
    photographs: Sequence[Path],
    callbacks: Sequence[Callback],
) -> None:
    """Train to the end from where `run` was stopped, and leave there what `train` promises.

    `photographs` are those of the images, in their order.
    """
    settings, images = trainer.settings, trainer.cache
    log, history = _begin(run, trainer, fold_of)
    if settings.fine_tune_from and not log:
        scored = {images.image_ids[row]: photographs[row] for row in held_out}
        known = history["fine_tuned_from"] = fine_tuning.start(trainer, fold_of, scored)
        if distributed.leads():
            _say_start(settings.fine_tune_from, known, scored=bool(scored))
    if len(log) == settings.epochs and (run / WEIGHTS).is_file():
        if distributed.leads():
            say(f"{run}: finished already")
        return
    if not distributed.leads():
        while trainer.epochs_done < settings.epochs:
            _run_epoch(trainer, held_out[:0], log, lambda _: None)
        return
    write_json(run / SETTINGS, _identity(trainer))  # nothing is refused from here on
    write_json(run / FOLDS, fold_of)
    _save_samples(run / SAMPLES, trainer)
    seen = encoded(read_fingerprints([photographs[row] for row in trainer.chosen]))
    if (code := commit()) not in history["commits"]:
        history["commits"].append(code)
    together = f", {distributed.size()} processes" if distributed.size() > 1 else ""
    say(
        f"Training {settings.network} on {len(trainer.chosen)} images, {len(held_out)} held out, "
        f"{settings.height} x {settings.width}, on {trainer.device.name}, "
        f"in {trainer.device.precision}"
        f"{together}"
    )
    steps = trainer.steps_per_epoch
    with (
        followed(run, settings, trainer.epochs_done, callbacks) as tell,
        bar("Training", settings.epochs * steps, trainer.epochs_done * steps) as advance,
    ):
        while trainer.epochs_done < settings.epochs:
            _run_epoch(trainer, held_out, log, advance)
            if settings.keep == "best" and _best(log) is log[-1]:
                checkpoints.save(run / BEST, dict(trainer.result.state_dict()), log[-1])
            facts: dict[str, Any] = {"log": log, **history, **_identity(trainer)}
            facts["validation"] = _validation(trainer, fold_of)
            checkpoints.save(run / CHECKPOINT, trainer.tensors(), facts)
            say(_progress(log, settings.epochs))
            tell(log)
    kept = _best(log) if settings.keep == "best" else log[-1]
    if settings.keep == "best":
        trainer.result.load_state_dict(checkpoints.load(run / BEST)[0])
        history["kept_epoch"] = kept["epoch"]
    if len(held_out):
        held_out_ids = [images.image_ids[row] for row in held_out]
        write_held_out(run, held_out_ids, trainer.predict(held_out), images.turned[held_out])
    facts = {**_identity(trainer), **_provenance(trainer, log, kept), **history}
    facts |= {"folds": folds.digest(fold_of), "seen": seen}
    checkpoints.save(run / WEIGHTS, dict(trainer.result.state_dict()), facts)


def check_settings(settings: TrainingSettings, data_settings: DataSettings) -> None:
    """Raise UsageError for a network, a loss, a size, a batch or a device that there cannot be."""
    networks.check(settings)
    find_loss(settings.loss)
    distributed.check_batch(settings.batch_size)
    find_device(data_settings.device, settings.precision)


def check_folds(
    data: Path,
    settings: TrainingSettings,
    data_settings: DataSettings,
    folds: Iterable[int | None],
    *,
    begun: bool,
) -> datasets.Cache:
    """Raise what `train` would for one of `folds`, before the first is trained.

    What the trainings start from is left unchecked where they have `begun`: it may be gone since.
    Returns the images that they read; the settings of the data say where these are decoded.
    """
    assert data_settings.cache is not None  # they share it
    check_settings(settings, data_settings)
    trainings = [replace(settings, fold=fold) for fold in folds]
    for each in trainings:
        check_keep(data, each, data_settings)
    split, images, fold_of = _read_images(data, settings, data_settings, data_settings.cache)
    pairs = [*split.training, *split.validation]
    device = find_device(data_settings.device, settings.precision)
    for each in trainings:
        chosen, held_out = _divide(data, images, fold_of, each)
        if settings.fine_tune_from and not begun:
            by_id = dict(zip(images.image_ids, fold_of, strict=False))
            scored = {pairs[row].image_id: pairs[row].photograph for row in held_out}
            fine_tuning.start(Trainer(each, device, images, chosen), by_id, scored)
    return images


def check_keep(data: Path, settings: TrainingSettings, data_settings: DataSettings) -> None:
    """Raise UsageError if the best epoch is to be kept, and there is nothing to choose it by."""
    if settings.keep == "best" and settings.fold is None:
        split = read_split(data, settings.splits, data_settings.mask_frame)
        if not split.validation:
            raise UsageError("--keep best needs --fold, or data with a validation set")


def _read_images(
    data: Path, settings: TrainingSettings, data_settings: DataSettings, store: Path
) -> tuple[Split, datasets.Cache, list[int]]:
    """Return the split, its images for training and validation, and the fold of each of the first.

    `store` is the folder of the decoded images.
    """
    split = read_split(data, settings.splits, data_settings.mask_frame)
    with distributed.leader_first():
        images = datasets.open_cache(
            [*split.training, *split.validation],
            settings.height,
            settings.width,
            store,
            allow_resized=data_settings.allow_resized,
            identity=split.training,
        )
        return split, images, assign_folds(data, split, images, store, settings)


def _divide(
    data: Path, images: datasets.Cache, fold_of: list[int], settings: TrainingSettings
) -> tuple[Rows, Rows]:
    """Return the rows of the images that are trained on, and of those that are held out.

    Raises DataError if there are too few of either.
    """
    inside = np.array([settings.fold is None or fold != settings.fold for fold in fold_of])
    chosen, held_out = np.flatnonzero(inside), np.flatnonzero(~inside)
    if settings.fold is None:
        held_out = np.arange(len(fold_of), len(images.image_ids))
    elif len(held_out) == 0:
        raise DataError(
            f"{data}: too few distinct images to fill {settings.folds} folds; give fewer --folds"
        )
    if len(chosen) == 0:
        raise DataError(
            f"{data}: all {len(fold_of)} images share fold {settings.fold}, since they are "
            "near-duplicates, or of one patient or lesion; nothing is left to train on"
        )
    datasets.check_fills(len(chosen), settings.batch_size)
    return chosen, held_out


def assign_folds(
    data: Path, split: Split, images: datasets.Cache, store: Path, settings: TrainingSettings
) -> list[int]:
    """Return the fold of each training image of `data`, as trainings with these settings do.

    `split` is that of the data, `store` the folder of the decoded images. Raises UsageError if
    people have chosen another number of folds than the settings, or if no table has their column.
    """
    pairs = split.training
    people = read_people(data, split.pairs, settings.group)
    if split.fold_of:
        if (given := len(set(split.fold_of.values()))) != settings.folds:
            source = settings.splits or data
            raise UsageError(f"{source} has {given} folds: give --folds {given}")
        return [split.fold_of[pair.image_id] for pair in pairs]
    duplicates = folds.near_duplicates(_signatures(split, store)[: len(pairs)])
    groups = group(pairs, duplicates, people)
    if settings.folds_by == "source":
        styles = [STYLE_NAMES[number] for number in images.styles.tolist()[: len(pairs)]]
        return _assign_sources(pairs, groups, styles, settings)
    groups_of = read_facts(data, pairs)
    strata = [groups_of.get(pair.image_id, {}).get("diagnosis", UNKNOWN) for pair in pairs]
    return folds.assign(groups, strata, settings.folds, settings.fold_seed)


def _signatures(split: Split, store: Path) -> NDArray[np.uint8]:
    """Return the signatures of the images for training, then of those for validation."""
    read = [*split.training, *split.validation]
    return datasets.read_signatures([pair.photograph for pair in read], store)


def _say_split(data: Path, split: Split, store: Path, settings: TrainingSettings) -> None:
    """Say how a split's folds are numbered, whose images dealt folds keep together, and what leaks.

    Of dealt folds it says nothing where a validation set is scored in place of one. Before, it says
    how many photographs count as without a lesion since outlines leave them out.
    Near-duplicates among the test images are left to `dermseg doctor`: a training reads none of
    these.
    """
    people = read_people(data, split.pairs, settings.group)
    for line in filter(None, (split.unlabelled, split.renumbered)):
        say_once(line)
    deals = settings.fold is not None or not split.validation
    if people and deals and not split.fold_of:
        say_once(describe_people(people, split.training))
    if not (split.fold_of or split.validation or split.test):
        return
    twins = folds.near_duplicates(_signatures(split, store))
    ids = [pair.image_id for pair in (*split.training, *split.validation)]
    if leaks := find_leaks(split, dict(zip(ids, twins, strict=True)), people):
        image, reason = leaks[0]
        say_once(
            f"this split separates {counted(len(dict(leaks)), 'image')} from a near-duplicate, or "
            f"from an image of the same patient or lesion, such as {image} ({reason}); scores may "
            "be too high; dermseg doctor lists all"
        )


def _assign_sources(
    pairs: list[Pair], groups: list[int], styles: list[str], settings: TrainingSettings
) -> list[int]:
    """Deal whole sources to the folds, and say what each fold holds."""
    # A thumbnail's mask has the size of its photograph.
    source_of = sources.find_sources([image_size(pair.mask) for pair in pairs])
    parts = sources.merge(source_of, groups)
    fold_of = sources.assign_parts(parts, styles, settings.folds, settings.fold_seed)
    if distributed.leads():
        say_once(sources.describe(fold_of, styles, source_of))
    return fold_of


def _identity(trainer: Trainer) -> dict[str, Any]:
    """Return what must agree for a run to be gone on with, as JSON would give it back."""
    identity: dict[str, Any] = json.loads(
        json.dumps({"settings": asdict(trainer.settings), "data": trainer.cache.digest})
    )
    return identity


def _validation(trainer: Trainer, fold_of: dict[str, int]) -> list[str]:
    """Return the images that epochs are scored on and that are in no fold."""
    if trainer.settings.fold is not None:
        return []
    return [image for image in trainer.cache.image_ids if image not in fold_of]


def _provenance(trainer: Trainer, log: Log, kept: dict[str, Any]) -> dict[str, Any]:
    """Return what a model card says of how the weights came about; `kept` is their epoch's row."""
    return {
        "images": len(trainer.chosen),
        "epochs": len(log),
        "hours": round(sum(row["seconds"] for row in log) / 3600, 3),
        "final_loss": kept["loss"],
        "held_out_jaccard": kept.get("held_out_jaccard"),
        "precision": trainer.device.precision,
        "device": trainer.device.name,
        "dermseg": __version__,
        "torch": torch.__version__,
    }


def _best(log: Log) -> dict[str, Any]:
    """Return the first row with the highest Jaccard index."""
    return max(log, key=lambda row: row["held_out_jaccard"])


def _check_longer(begun: TrainingSettings, now: TrainingSettings, run: Path) -> None:
    """Raise UsageError unless a run with the settings `begun` can go on with those of `now`."""
    if replace(begun, epochs=now.epochs) != now:
        ours, theirs = asdict(now), asdict(begun)
        changed = ", ".join(name for name in ours if ours[name] != theirs[name])
        raise UsageError(
            f"{run} holds a training with other settings ({changed}; see its {SETTINGS}); "
            "give the same settings to continue it, or choose another folder"
        )
    if now.epochs < begun.epochs:
        raise UsageError(
            f"{run} holds a training of {begun.epochs} --epochs, more than asked for; choose "
            "another folder"
        )
    if now.epochs > begun.epochs and now.schedule == "one-cycle":
        raise UsageError(
            f"{run}: its one-cycle rate falls to zero in epoch {begun.epochs}, so that it cannot "
            "continue; choose another folder, and --fine-tune-from this one"
        )


def _say_start(given: str, known: dict[str, Any], *, scored: bool) -> None:
    fresh = ", ".join(known["newly_initialised"]) or "nothing"
    say(f"Fine-tuning from {given}; newly initialised: {fresh}")
    if scored and not known["apart"]:
        say(
            f"{given} may have been trained on images that are held out here, which its file does "
            "not say; their scores may be too high"
        )


def _begin(run: Path, trainer: Trainer, fold_of: dict[str, int]) -> tuple[Log, dict[str, Any]]:
    """Start `run`, or put `trainer` where it was stopped.

    Returns the log so far and its history: the commits of the code that trained the epochs in it,
    and what they started from, if from another training.
    """
    identity = _identity(trainer)
    if not (run / CHECKPOINT).exists():
        return [], {"commits": []}
    tensors, facts = checkpoints.load(run / CHECKPOINT)
    log: Log = facts.pop("log", [])
    history = {"commits": facts.get("commits", [])}
    if "fine_tuned_from" in facts:
        history["fine_tuned_from"] = facts["fine_tuned_from"]
    # Settings that came after the run began had their default then.
    with reading(run / CHECKPOINT):
        begun, data = TrainingSettings.from_dict(facts["settings"]), facts["data"]
    _check_longer(begun, trainer.settings, run)
    if data != identity["data"]:
        raise UsageError(
            f"{run} holds a training of other data (see its {SETTINGS}); give the same data to "
            "continue it, or choose another folder"
        )
    with reading(run / FOLDS):
        theirs = (
            json.loads((run / FOLDS).read_text(encoding="utf-8"))
            if (run / FOLDS).is_file()
            else fold_of
        )
    if theirs != fold_of:
        raise UsageError(
            f"{run}: its images are in other folds now (see its {FOLDS}), perhaps because the "
            "tables beside the data have changed; restore them to continue, or choose another "
            "folder"
        )
    validation = _validation(trainer, fold_of)
    if facts.get("validation", validation) != validation:
        raise UsageError(
            f"{run}: the data have another validation set now, and epochs could not be compared; "
            "restore the earlier one to continue, or choose another folder"
        )
    trainer.restore(tensors, len(log))
    if distributed.leads():
        if begun.epochs < trainer.settings.epochs:  # these files are of fewer epochs
            for name in (WEIGHTS, HELD_OUT):
                (run / name).unlink(missing_ok=True)
        write_log(run, log)  # the last run may have been killed before it could
    return log, history


def _run_epoch(trainer: Trainer, held_out: Rows, log: Log, advance: Advance) -> None:
    """Train for one epoch, score it on the held-out images, and add its row to `log`."""
    began = time.perf_counter()
    number = trainer.epochs_done + 1
    loss = trainer.train_epoch(lambda mean: advance(f"Epoch {number}, loss {mean:.4f}"))
    if not math.isfinite(loss):
        raise DivergedError(
            f"the loss is no longer a number in epoch {number}; try a lower --learning-rate"
        )
    row: dict[str, Any] = {
        "epoch": number,
        "learning_rate": float(f"{trainer.rate:.6g}"),
        "loss": round(loss, 5),
    }
    if len(held_out):
        row |= {f"held_out_{name}": value for name, value in _score(trainer, held_out).items()}
    row["seconds"] = round(time.perf_counter() - began, 2)
    log.append(row)


def _score(trainer: Trainer, rows: Rows) -> dict[str, float]:
    """Return loss, Jaccard index and Dice coefficient over `rows`, at the network's size.

    Masks have the probabilities of one half and more.
    """
    loss, probability = trainer.evaluate(rows)
    found, truth = probability >= 0.5, trainer.cache.masks[rows] > MASK_FOREGROUND
    means = mean([score(*pair) for pair in zip(truth, found, strict=True)])
    values = {"loss": loss, "jaccard": means.jaccard, "dice": means.dice}
    return {name: round(value, 5) for name, value in values.items()}


def _save_samples(path: Path, trainer: Trainer) -> None:
    """Keep some of the images trained on, uint8 (n, H, W, 3), for export; none that is held out."""
    chosen = trainer.chosen
    count = min(SAMPLE_COUNT, len(chosen))
    rows = chosen[np.linspace(0, len(chosen) - 1, count).astype(np.intp)]
    with written_whole(path) as temporary:
        np.save(temporary, trainer.cache.images[rows].transpose(0, 2, 3, 1))


def _progress(log: Log, epochs: int) -> str:
    row, recent = log[-1], [entry["seconds"] for entry in log[-5:]]
    parts = [f"epoch {row['epoch']}/{epochs}", f"loss {row['loss']:.4f}"]
    if "held_out_jaccard" in row:
        parts.append(f"held-out Jaccard {row['held_out_jaccard']:.4f}")
    left = sum(recent) / len(recent) * (epochs - row["epoch"])
    return "  ".join([*parts, f"{row['seconds']:.0f} s", f"{left / 60:.0f} min left"])
