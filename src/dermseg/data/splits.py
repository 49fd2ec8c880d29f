"""Which images are trained on and which are held out: as the data say, or dealt by chance.

A person, a lesion and near-duplicates stay on one side. What people have decided themselves comes
from a file (`--splits`), from a column of the tables beside the data, or from folders, in this
order.
"""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dermseg.data.folds import grouped
from dermseg.data.layouts import PARTS, Pair, Part, find_all_pairs
from dermseg.data.metadata import (
    FOLD,
    GROUP_COLUMNS,
    SPLIT,
    Column,
    columns_of,
    image_key,
    read_columns,
)
from dermseg.errors import DataError, UsageError
from dermseg.formats.conversion import tell_unlabelled
from dermseg.progress import counted
from dermseg.settings import MaskFrame

Columns = Mapping[str, Mapping[str, str]]
"""Column to image key (`metadata.image_key`) to value."""


@dataclass(frozen=True)
class Split:
    """The images of a data set by what they are for.

    `fold_of` gives the fold of each training image where people have chosen folds, and is empty
    where they are dealt. `test` is neither trained on nor scored. Folds are counted from 0;
    `renumbered` is a line for people who have numbered them otherwise, or empty.
    """

    training: list[Pair]
    validation: list[Pair] = field(default_factory=list)
    test: list[Pair] = field(default_factory=list)
    fold_of: dict[str, int] = field(default_factory=dict)
    renumbered: str = ""

    @property
    def pairs(self) -> list[Pair]:
        """All of them."""
        return [*self.training, *self.validation, *self.test]

    @property
    def unlabelled(self) -> str:
        """A line for the photographs of which outlines say nothing, or empty."""
        return tell_unlabelled(sum(pair.unlabelled for pair in self.pairs))


def read_split(
    data: Path,
    splits: str = "",
    mask_frame: MaskFrame | None = None,
    alone: list[str] | None = None,
) -> Split:
    """Return the split of the data set in the folder `data`.

    `splits` is a table with a column `split` (training, validation or test) or `fold`, or nnU-Net's
    splits_final.json. Without it the tables beside the data may have such columns, and folders may
    say whether their images are for training, validation or test; what a file or table does not
    name is what its folder says. `mask_frame` is how a person says that the masks lie. What stands
    alone goes into the list `alone`, where there is one.

    Raises DataError as `find_all_pairs` does; for a training image without a value; for a value
    that is no part or no fold; and where nothing is left to train on. UsageError if there is no
    file `splits`.
    """
    pairs = find_all_pairs(data, mask_frame, alone)
    given: Columns
    given = _read_file(Path(splits)) if splits else _read_tables(data, pairs, (SPLIT, FOLD))
    source = splits or f"the tables in {data}"
    named = {column: _named(pairs, values, source) for column, values in given.items()}
    part_of: dict[str, Part] = {pair.image_id: pair.part for pair in pairs}
    if SPLIT in named:
        part_of |= {image: _part(value, source) for image, value in named[SPLIT].items()}
    elif splits:
        part_of |= dict.fromkeys(named[FOLD], "training")
    of_part: defaultdict[Part, list[Pair]] = defaultdict(list)
    for pair in pairs:
        of_part[part_of[pair.image_id]].append(pair)
    training = of_part["training"]
    if not training:
        raise DataError(
            f"{data}: all {len(pairs)} images are for validation or test, according to {source}; "
            "none is left to train on"
        )
    for column, values in named.items():
        _check_all(training, values, f"{source}: no {column}")
    own = {pair.image_id: named[FOLD][pair.image_id] for pair in training if FOLD in named}
    fold_of, renumbered = _renumbered(_number(own, source), source)
    return Split(training, of_part["validation"], of_part["test"], fold_of, renumbered)


def _read_file(file: Path) -> Columns:
    """Return what a file of splits says of each image."""
    if not file.is_file():
        raise UsageError(f"--splits {file}: no such file")
    try:
        if file.suffix.lower() == ".json":
            return _read_nnunet(file)
        columns = columns_of(file, (SPLIT, FOLD))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read as splits ({error})") from error
    if not columns:
        raise DataError(
            f"{file}: has no column {SPLIT} or {FOLD}, or no column that names images, such as "
            "image_id"
        )
    return columns


def _read_nnunet(file: Path) -> Columns:
    """Return nnU-Net's folds: a list with the names in `train` and `val` of each.

    A single one is a training set with its validation set.
    """
    folds: list[dict[str, list[str]]] = json.loads(file.read_text(encoding="utf-8"))
    if len(folds) == 1:
        sides = (("training", folds[0]["train"]), ("validation", folds[0]["val"]))
        return {SPLIT: {image_key(name): part for part, names in sides for name in names}}
    every = {name for fold in folds for side in ("train", "val") for name in fold[side]}
    fold_of: dict[str, str] = {}
    for number, fold in enumerate(folds):
        if set(fold["train"]) & set(fold["val"]) or set(fold["train"]) | set(fold["val"]) != every:
            raise ValueError(f"fold {number}: an image is in both of train and val, or in neither")
        for name in fold["val"]:
            if fold_of.setdefault(image_key(name), str(number)) != str(number):
                raise ValueError(f"{name}: held out by two folds")
    if len(fold_of) < len(every):
        raise ValueError(f"{len(every) - len(fold_of)} images are held out by no fold")
    return {FOLD: fold_of}


def _named(pairs: Sequence[Pair], given: Mapping[str, str], source: str) -> dict[str, str]:
    """Return the values of those of `pairs` that have one; raise DataError if it may be another's.

    A file need not name the images of folders for validation or test.
    """
    _check_apart(pairs, given, source)
    return {
        pair.image_id: given[key] for pair in pairs if (key := image_key(pair.image_id)) in given
    }


def _check_all(training: Sequence[Pair], named: Container[str], lack: str) -> None:
    """Raise DataError, which says what they `lack`, unless all images of `training` are `named`."""
    if lost := [pair.image_id for pair in training if pair.image_id not in named]:
        raise DataError(
            f"{lack} for {counted(len(lost), 'training image')}, such as {lost[0]}; give each one"
        )


def _check_apart(pairs: Sequence[Pair], named: Container[str], source: str) -> None:
    """Raise DataError if two of `pairs` have one name, without folders, that is `named`."""
    known: dict[str, str] = {}
    for image in (pair.image_id for pair in pairs):
        key = image_key(image)
        if key in named and (other := known.setdefault(key, image)) != image:
            raise DataError(
                f"{source}: cannot tell {other} from {image}, since folders do not count; give "
                "each image a name of its own"
            )


def _part(value: str, source: str) -> Part:
    if value.lower() not in PARTS:
        raise DataError(
            f"{source}: {SPLIT} {value!r} is none of training, validation and test; correct it, or "
            "rename the column"
        )
    return PARTS[value.lower()]


def _number(fold_of: Mapping[str, str], source: str) -> dict[str, int]:
    """Return the folds' own numbers; raise DataError if one is not whole."""
    values: dict[str, int] = {}
    for image, text in fold_of.items():
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not number.is_integer():
            raise DataError(
                f"{source}: {FOLD} {text!r} is not a whole number; number the folds, such as 0 to 4"
            )
        values[image] = int(number)
    return values


def _renumbered(own: Mapping[str, int], source: str) -> tuple[dict[str, int], str]:
    """Return folds counted from 0 in the order of their own numbers, and a line if these differ."""
    order = sorted(set(own.values()))
    numbers = range(len(order))
    line = ""
    if order != list(numbers):
        theirs, ours = (", ".join(map(str, each)) for each in (order, numbers))
        line = f"folds {theirs} of {source} are folds {ours} here"
    return {image: order.index(number) for image, number in own.items()}, line


def _read_tables(data: Path, pairs: Sequence[Pair], columns: Collection[str]) -> dict[str, Column]:
    return read_columns(data, columns, [pair.photograph for pair in pairs])


def read_people(data: Path, pairs: Sequence[Pair], column: str = "") -> dict[str, Column]:
    """Return the columns that name persons or lesions: GROUP_COLUMNS and `column`.

    `pairs` are all of the data. Raises UsageError if no table beside them has `column`, DataError
    if a table's value may be one or another image's.
    """
    people = _read_tables(data, pairs, {*GROUP_COLUMNS, *([column] if column else [])})
    if column and column not in people:
        raise UsageError(f"--group {column}: no table in {data} has this column with values")
    for name, values in people.items():
        _check_apart(pairs, values, f"the tables' column {name}")
    return people


def describe_people(people: Mapping[str, Column], training: Sequence[Pair]) -> str:
    """Return a line for people: what dealt folds keep together, and which tables say so."""
    keys = {image_key(pair.image_id) for pair in training}
    parts = []
    for column, values in sorted(people.items()):
        count = len({values[key] for key in keys & values.keys()})
        noun = column.removesuffix("_id") if column in GROUP_COLUMNS else "group"
        parts.append(f"{counted(count, noun)} ({column} of {' and '.join(values.tables)})")
    return f"folds keep together the images of {' and '.join(parts)}"


def group(pairs: Sequence[Pair], near_duplicates: Sequence[int], people: Columns) -> list[int]:
    """Return a group number for each of `pairs`: what must not be in two folds has one number.

    These are near-duplicates, and images of one person or one lesion, transitively. `people` is
    what `read_people` returns.
    """
    return grouped(
        [("near-duplicate", duplicate), *_belongings(pair, people)]
        for pair, duplicate in zip(pairs, near_duplicates, strict=True)
    )


def _belongings(pair: Pair, people: Columns) -> list[tuple[str, object]]:
    """Return each column with the person or lesion that it names for an image."""
    key = image_key(pair.image_id)
    return [(column, values[key]) for column, values in sorted(people.items()) if key in values]


def find_leaks(
    split: Split, duplicates: Mapping[str, int], people: Columns
) -> list[tuple[str, str]]:
    """Return the images that a given split separates from their own kind, each with the reason.

    `duplicates` are groups of near-duplicates by image id. Where folds are dealt nothing leaks
    between them.
    """
    side_of = {pair.image_id: "the validation set" for pair in split.validation}
    side_of |= {pair.image_id: "the test set" for pair in split.test}
    for pair in split.training:
        fold = split.fold_of.get(pair.image_id)
        side_of[pair.image_id] = "the training set" if fold is None else f"fold {fold}"
    members: defaultdict[tuple[str, object], list[str]] = defaultdict(list)
    for pair in split.pairs:
        for key in _belongings(pair, people):
            members[key].append(pair.image_id)
        if pair.image_id in duplicates:
            members["near-duplicate", duplicates[pair.image_id]].append(pair.image_id)
    leaks = []
    for (kind, value), images in members.items():
        for image in images:
            others = [other for other in images if side_of[other] != side_of[image]]
            if others:
                what = kind if kind == "near-duplicate" else f"{kind} {value}"
                leaks.append((image, f"{what}: {others[0]} is in {side_of[others[0]]}"))
    return leaks
