"""The files that a training leaves in its folder, and how to read them.

A run is one network's folder. A protocol's folder holds a run for each fold, and one that was
trained on everything.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dermseg.errors import DataError, ModelError
from dermseg.imaging.orientation import turn_back
from dermseg.masks.postprocess import Probability
from dermseg.settings import TrainingSettings
from dermseg.storage.files import reading, written_whole
from dermseg.storage.tables import read_table

SETTINGS = "settings.json"
FOLDS = "folds.json"
LOG = "log.csv"
PAGE = "progress.html"
TENSORBOARD = "tensorboard"
CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
WEIGHTS = "weights.safetensors"
HELD_OUT = "held-out.npz"
SAMPLES = "samples.npy"
EVERYTHING = "all"
"""The run, in a protocol's folder, that held nothing out."""


def fold_name(fold: int | None) -> str:
    """Return what a protocol calls the run that holds out `fold`, None being no fold."""
    return EVERYTHING if fold is None else f"fold-{fold}"


def is_run(folder: Path) -> bool:
    """Say whether `folder` is one network's, begun or finished."""
    return (folder / SETTINGS).is_file()


def _is_one(folder: Path) -> bool:
    """Say whether `folder` is one network's and no protocol's, also where its weights alone lie."""
    return is_run(folder) or (folder / WEIGHTS).is_file()


def read_settings(run: Path) -> TrainingSettings | None:
    """Return a run's settings; None where it has not begun, or only its predictions were kept."""
    file = run / SETTINGS
    if not file.is_file():
        return None
    with reading(file):
        return TrainingSettings.from_dict(json.loads(file.read_text(encoding="utf-8"))["settings"])


def read_log(run: Path) -> list[dict[str, str]]:
    """Return the rows of a run's log, one an epoch; raise DataError if it is not there."""
    file = run / LOG
    if not file.is_file():
        raise DataError(f"{file}: missing; this log of the training is needed")
    with reading(file):
        return read_table(file)


def find_scored(folder: Path) -> list[Path]:
    """Return the runs in `folder`, a run's or a protocol's, that left predictions or weights.

    Raises DataError if there is none.
    """
    places = [folder, *sorted(folder.glob("fold-*")), folder / EVERYTHING]
    found = [run for run in places if any((run / each).is_file() for each in (HELD_OUT, WEIGHTS))]
    if not found:
        raise DataError(f"{folder}: holds no finished training")
    return found


def find_members(folder: Path) -> list[Path]:
    """Return the runs in a protocol's folder, folds first; of a single run, itself.

    Raises ModelError if there is none, or if one of them is not finished.
    """
    if _is_one(folder):
        found = [folder]
    else:
        found = sorted(path for path in folder.glob("fold-*") if is_run(path))
        found += [path for path in [folder / EVERYTHING] if is_run(path)]
    if not found:
        raise ModelError(f"{folder}: holds no finished training")
    for run in found:
        for name in (WEIGHTS, SAMPLES):
            if not (run / name).is_file():
                raise ModelError(
                    f"{run}: holds no finished training ({name} is missing); "
                    "`dermseg train` with the same options continues it"
                )
    return found


def not_begun(folder: Path, folds: int) -> list[str]:
    """Return the names of the members that a protocol of so many folds still lacks; of a run, none.

    A protocol that was stopped between two members looks like a smaller one.
    """
    if _is_one(folder):
        return []
    names = [fold_name(fold) for fold in (*range(folds), None)]
    return [name for name in names if not is_run(folder / name)]


def find_held_out(folder: Path) -> list[Path]:
    """Return the runs whose out-of-fold predictions stand for `folder`.

    These are the runs in `folder` that predicted images which they had not seen: a fold, or without
    one a validation set. For a protocol's run on everything they are the protocol's. Raises
    ModelError as `find_members` does.
    """
    alone = folder.name == EVERYTHING and is_run(folder)
    runs = find_members(folder.parent if alone else folder)
    return [run for run in runs if (run / HELD_OUT).is_file()]


def predicted_folds(runs: Iterable[Path]) -> list[Path]:
    """Return those of `runs` that left the predictions of a fold.

    What a protocol's run on everything has predicted, where it has, is a validation set.
    """
    return [run for run in runs if run.name != EVERYTHING and (run / HELD_OUT).is_file()]


def held_out_names(run: Path) -> list[str]:
    """Return the images that a run held out and predicted, in the order of its predictions."""
    # numpy leaves open what it opened itself, if that is no archive.
    with reading(run / HELD_OUT), (run / HELD_OUT).open("rb") as opened, np.load(opened) as stored:
        names: list[str] = stored["image_ids"].tolist()
    return names


def read_held_out(folder: Path, *, as_seen: bool = False) -> dict[str, Probability]:
    """Return the out-of-fold probabilities, float32 (h, w) by image, in a run's folder.

    Those of all folds in a protocol's folder. They lie as the photographs do; with `as_seen` as the
    network saw them, like the images of its cache. Raises DataError if there are none, or if an
    older dermseg left them.
    """
    maps: dict[str, Probability] = {}
    for file in [*folder.glob(HELD_OUT), *sorted(folder.glob(f"fold-*/{HELD_OUT}"))]:
        with reading(file), file.open("rb") as opened, np.load(opened) as stored:
            if "turned" not in stored:
                raise DataError(f"{file}: predictions of an older dermseg; train again")
            probability = stored["probability"].astype(np.float32)
            columns = stored["image_ids"].tolist(), probability, stored["turned"]
            rows = list(zip(*columns, strict=True))
        for image_id, seen, turned in rows:
            maps[image_id] = turn_back(seen) if turned and not as_seen else seen
    if not maps:
        raise DataError(f"{folder}: holds no predictions (train with --fold or --protocol)")
    return maps


def write_held_out(
    folder: Path,
    image_ids: Sequence[str],
    probability: NDArray[np.float32],
    turned: NDArray[np.bool_],
) -> None:
    """Keep a run's probabilities, (n, h, w), of the images that it held out, in half precision.

    They lie as the network saw the images, of which it saw those that are `turned`, (n,), after a
    quarter turn. Raises OutputError if they cannot be written.
    """
    with written_whole(folder / HELD_OUT) as temporary:
        np.savez_compressed(
            temporary,
            image_ids=np.array(image_ids),
            probability=probability.astype(np.float16),
            turned=turned,
        )
