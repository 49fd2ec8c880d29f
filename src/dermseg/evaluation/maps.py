"""Score probability maps: each is binarised, in one way or several, and compared with its truth."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import TypeVar

from dermseg.cores import parallel_map
from dermseg.data.layouts import Pair
from dermseg.data.metadata import Groups
from dermseg.errors import DataError
from dermseg.evaluation.scoring import Evaluation
from dermseg.evaluation.subsets import style_of, with_style
from dermseg.imaging.images import Mask
from dermseg.imaging.mask_files import MASK_FOREGROUND
from dermseg.masks.metrics import Scores, score
from dermseg.masks.postprocess import Probability, binarise, choose_lesion
from dermseg.progress import track
from dermseg.settings import ThresholdSettings

T = TypeVar("T")
Binariser = Callable[[Probability, int, int], Mask]
"""From a probability, float32 (h, w), to a mask, boolean (H, W), of the given height and width."""


def binariser(thresholds: ThresholdSettings) -> Binariser:
    """Return a function that makes masks as `Segmenter` does."""

    def mask(probability: Probability, height: int, width: int) -> Mask:
        return binarise(choose_lesion(probability, thresholds), height, width, thresholds)[0]

    return mask


def score_maps(
    maps: Mapping[str, Probability], pairs: Mapping[str, Pair], binarisers: Mapping[str, Binariser]
) -> dict[str, dict[str, Scores]]:
    """Binarise probabilities in each way, and score the masks at the true masks' sizes.

    `maps` and `pairs` belong together by their keys; `pairs` may hold more. Returns scores by the
    binariser's name, then by image. Raises ImageError if a mask cannot be read.
    """

    def compare(probability: Probability, truth: Mask) -> list[Scores]:
        height, width = truth.shape
        return [score(truth, way(probability, height, width)) for way in binarisers.values()]

    found = compare_all(maps, pairs, compare)
    return {
        way: {name: row[column] for name, row in found.items()}
        for column, way in enumerate(binarisers)
    }


def evaluate_maps(
    maps: Mapping[str, Probability],
    pairs: Mapping[str, Pair],
    thresholds: ThresholdSettings,
    groups: Groups | None = None,
) -> Evaluation:
    """Binarise probabilities by `thresholds` and score the masks, as `score_maps` does.

    With `groups`, what is known of the images, the true masks' styles are known too.
    """
    make = binariser(thresholds)

    def compare(probability: Probability, truth: Mask) -> tuple[Scores, str]:
        scores = score(truth, make(probability, *truth.shape))
        return scores, "" if groups is None else style_of(truth)

    found = compare_all(maps, pairs, compare)
    known = (
        {}
        if groups is None
        else {
            image_id: with_style(groups.get(image_id, {}), style)
            for image_id, (_, style) in found.items()
        }
    )
    return Evaluation({image_id: scores for image_id, (scores, _) in found.items()}, known)


def score_thresholds(
    maps: Mapping[str, Probability],
    pairs: Mapping[str, Pair],
    choices: Sequence[ThresholdSettings],
) -> dict[str, list[Scores]]:
    """Return each image's metrics by each of `choices`, images in order of their ids.

    As `score_maps` with a binariser for each, but faster where many choices come to the same mask.
    """

    def compare(probability: Probability, truth: Mask) -> list[Scores]:
        known: dict[object, Scores] = {}
        found = []
        for thresholds in choices:
            lesion = choose_lesion(probability, thresholds)
            # The region's surest pixel says which region it is, and so what the mask will be:
            # most pairs of thresholds choose the same, and binarising it is the slow part.
            key = (thresholds.rule, thresholds.low, lesion.core)
            if key not in known:
                mask, _ = binarise(lesion, truth.shape[0], truth.shape[1], thresholds)
                known[key] = score(truth, mask)
            found.append(known[key])
        return found

    return compare_all(maps, pairs, compare)


def compare_all(
    maps: Mapping[str, Probability],
    pairs: Mapping[str, Pair],
    compare: Callable[[Probability, Mask], T],
) -> dict[str, T]:
    """Return what `compare` makes of each probability and its true mask, in order of their ids.

    `maps` and `pairs` belong together by their keys; `pairs` may hold more. Maps lie as the
    photographs do. Raises DataError if an image has no mask, ImageError if a mask cannot be read.
    """
    check_known(maps, pairs)

    def one(image_id: str) -> T:
        return compare(maps[image_id], pairs[image_id].read_mask() > MASK_FOREGROUND)

    names = sorted(maps)
    found = list(track(parallel_map(one, names), "Scoring", len(names)))
    return dict(zip(names, found, strict=True))


def check_known(maps: Iterable[str], masks: Container[str]) -> None:
    """Raise DataError if one of `maps`, image ids, is none of `masks`."""
    if unknown := sorted(image_id for image_id in maps if image_id not in masks):
        raise DataError(
            f"{len(unknown)} predictions are of images that the data lack, such as {unknown[0]}; "
            "give the data of the training"
        )


def read_styles(pairs: Mapping[str, Pair]) -> dict[str, str]:
    """Return the style in which each true mask is outlined: a table's, or as read from the mask."""

    def one(pair: Pair) -> str:
        return pair.style or style_of(pair.read_mask() > MASK_FOREGROUND)

    return dict(zip(pairs, parallel_map(one, list(pairs.values())), strict=True))
