"""Calibrate a finished model on one's own images, which its networks have not seen."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray

from dermseg.cores import parallel_map
from dermseg.data import datasets, folds
from dermseg.data.datasets import Cache
from dermseg.data.fingerprints import lists_all, read_fingerprints, seen_by
from dermseg.data.splits import Split
from dermseg.errors import DataError, UsageError
from dermseg.export.appearance import learn_appearance
from dermseg.export.calibration import HeldOut, gather, sort_by_style, split_of
from dermseg.export.rating import learn_styles
from dermseg.imaging.orientation import turn_back
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.postprocess import Probability
from dermseg.masks.style import STYLE_IDS, STYLE_NAMES
from dermseg.modelfile.card import ModelCard
from dermseg.modelfile.graph import input_shape, member_model, put_card, read_model
from dermseg.progress import counted, say, track
from dermseg.settings import DEFAULT_STYLE, MaskFrame, Style, TrainingSettings
from dermseg.storage.files import written_whole
from dermseg.training.loop import assign_folds
from dermseg.training.run_folder import fold_name
from dermseg.weights import find_model

Predictor = tuple[str, Segmenter, NDArray[np.intp]]
"""A name, a network, and the rows of the images that it has not seen."""
Unseen = NDArray[np.bool_]
"""Which members have not seen which images, (members, images)."""
WHOLE = -1
"""The index of all members together."""


def calibrate(
    model: str | Path,
    data: Path,
    file: Path,
    *,
    cache: Path,
    allow_resized: bool = False,
    mask_frame: MaskFrame | None = None,
    held_out_by: Sequence[Path] = (),
) -> ModelCard:
    """Write `model` to `file` with thresholds and calibrations that `data` teach, by style.

    A style of which the data have too few masks keeps what the model's file said of it.

    An image counts that a member of the model was not trained on; a line on the terminal says how
    many these are. What is new to all is predicted by the whole model, what one member held out by
    this one. Files of older trainings do not list their photographs: of the data that they were
    trained on folds count, and of other data all images. Given trainings that
    held out whole sources (`--folds-by source`), theirs count instead: networks of the same kind,
    on cameras that they had not seen, make what a model does on the next camera.

    Parameters
    ----------
    model
        A shipped model's name, or a model file.
    data
        A folder of photographs and masks, 200 or more of one style.
    file
        The model file to write.
    cache
        Folder for the decoded images.
    allow_resized
        Accept photographs whose size is not their mask's.
    mask_frame
        How masks lie on photographs that EXIF turns: along the pixels as stored, or upright.
    held_out_by
        Folders of trainings whose held-out predictions count, in place of the model's own.

    Returns
    -------
    ModelCard
        The card in the new file.

    Raises
    ------
    DataError
        If the data are too few, or were all seen by the networks.
    ModelError
        If there is no such model.
    """
    if file.suffix != ".onnx":
        raise UsageError(f"{file}: the name of a model ends in .onnx")
    proto, card = read_model(find_model(model))
    if held_out_by:
        held_out = gather(held_out_by, data, mask_frame)
    else:
        held_out = predict_unseen(
            model, data, cache=cache, allow_resized=allow_resized, mask_frame=mask_frame
        )
    learnt = learn_styles(held_out)
    kept = " and ".join(style for style in card.styles if style not in learnt)
    told = f"{kept}: as before the last calibration, whose data have too few such masks."
    new = replace(
        card,
        styles={**card.styles, **learnt},
        note=f"{card.note} {told}".strip() if kept else "",
        appearance=learn_appearance(split_of(card, data, mask_frame).training, input_shape(proto)),
    )
    put_card(proto, new)
    with written_whole(file) as temporary:
        onnx.save_model(proto, temporary)
    return new


def predict_unseen(
    model: str | Path,
    data: Path,
    *,
    cache: Path,
    allow_resized: bool = False,
    mask_frame: MaskFrame | None = None,
) -> dict[Style, HeldOut]:
    """Return what the model's networks predict for the images of `data` that they had not seen.

    By the style of the true mask, which networks that know styles are told. Raises as `calibrate`.
    """
    proto, card = read_model(find_model(model))
    height, width = input_shape(proto)
    split = split_of(card, data, mask_frame)
    images = datasets.open_cache(split.training, height, width, cache, allow_resized=allow_resized)
    maps: dict[str, Probability] = {}
    fold_of: dict[str, str] = {}
    for name, network, rows in _predictors(proto, card, data, split, images, cache):
        names = [images.image_ids[row] for row in rows]
        maps |= zip(names, _predict(network, images, rows), strict=True)
        fold_of |= dict.fromkeys(names, name)
    return sort_by_style(maps, fold_of, {pair.image_id: pair for pair in split.training})


def _predictors(
    proto: onnx.ModelProto, card: ModelCard, data: Path, split: Split, images: Cache, store: Path
) -> Iterator[Predictor]:
    """Yield the networks, and the images that each has not seen."""
    listed = all("seen" in member for member in card.members)
    if not listed and all(member["data"] == images.digest for member in card.members):
        unseen = _unseen_by_folds(card, data, split, images, store)
    elif not listed and any(member["settings"].get("splits") for member in card.members):
        raise DataError(
            f"{data}: the model was trained with --splits, on other data or on these before they "
            "changed, and its file does not list its photographs; train it again, or name the "
            "trainings with --held-out-by"
        )
    else:
        prints = read_fingerprints([pair.photograph for pair in split.training])
        known = [seen_by(member) for member in card.members]
        unseen = np.array([[each not in seen for each in prints] for seen in known])
        say(describe_unseen(unseen, card))
    yield from _by_network(proto, card, unseen)


def describe_unseen(unseen: Unseen, card: ModelCard) -> str:
    """Return a line for people: how many images count, and why."""
    count, new, some = unseen.shape[1], int(unseen.all(0).sum()), int(unseen.any(0).sum())
    line = (
        f"of {counted(count, 'image')}, {new} count as new to the model, {some - new} were held "
        f"out by a member, and {count - some} were seen by all and do not count"
    )
    if not all(lists_all(member) for member in card.members):
        line += "; its file does not list all photographs that it may have seen"
    return line


def _unseen_by_folds(
    card: ModelCard, data: Path, split: Split, images: Cache, store: Path
) -> Unseen:
    """Return what members of an older file have not seen of the data that they were trained on."""
    unseen = np.zeros((len(card.members), len(images.image_ids)), np.bool_)
    for index, member in enumerate(card.members):
        settings = TrainingSettings.from_dict(member["settings"])
        if settings.fold is None:
            continue
        if settings.splits and not Path(settings.splits).is_file():
            raise DataError(
                f"{data}: the model's members were trained with --splits {settings.splits}, "
                "which is not there; put it there, or name the trainings with --held-out-by"
            )
        fold_of = assign_folds(data, split, images, store, settings)
        digest = folds.digest(dict(zip(images.image_ids, fold_of, strict=True)))
        if member.get("folds", digest) != digest:
            raise DataError(f"{data}: the model's members were trained on other folds")
        unseen[index] = np.array(fold_of) == settings.fold
    return unseen


def _by_network(proto: onnx.ModelProto, card: ModelCard, unseen: Unseen) -> Iterator[Predictor]:
    """Yield the whole model for what is new to all members, and for the rest a member each."""
    member_of = np.where(unseen.all(0), WHOLE, unseen.argmax(0))
    with TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        for index in np.unique(member_of[unseen.any(0)]).tolist():
            rows = np.flatnonzero((member_of == index) & unseen.any(0))
            if index == WHOLE:
                name, network = "whole", proto
            else:
                name = fold_name(card.members[index]["settings"]["fold"])
                network = member_model(proto, index)
            onnx.save_model(network, file)
            yield name, Segmenter(file), rows


def _predict(network: Segmenter, images: Cache, rows: NDArray[np.intp]) -> list[Probability]:
    """Return the probability of the images `rows`, told the style of each mask."""

    def one(row: int) -> Probability:
        name = STYLE_NAMES[int(images.styles[row])]
        style: Style = name if name in STYLE_IDS else DEFAULT_STYLE
        seen = network.probability(images.images[row].transpose(1, 2, 0), style=style)
        return turn_back(seen) if images.turned[row] else seen

    return list(track(parallel_map(one, rows.tolist()), "Predicting", len(rows)))
