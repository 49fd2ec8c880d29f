"""Learn how sure a model may be of its masks, from images that its networks had not seen.

Each image is predicted by the member that held it out. An ensemble, a model trained on everything
and mirror averaging have no such predictions; they take the calibration of the folds. That is on
the safe side where they are better than one member, and an assumption where they are surer.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from itertools import compress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from dermseg.data.layouts import Pair, find_all_pairs
from dermseg.data.splits import Split, read_split
from dermseg.errors import DataError, UsageError
from dermseg.evaluation.maps import compare_all
from dermseg.imaging.images import Mask
from dermseg.inference.confidence import Calibration, Numbers, evidence_of, region
from dermseg.masks.metrics import score
from dermseg.masks.postprocess import Probability, binarise, choose_lesion
from dermseg.masks.style import STYLE_IDS, read_style
from dermseg.modelfile.card import ModelCard
from dermseg.settings import MaskFrame, Style, ThresholdSettings
from dermseg.training.run_folder import find_held_out, read_held_out

FAILURE = 0.65
"""The Jaccard index below which the challenge's organisers call a mask failed."""
RISK, CERTAINTY = 0.05, 0.9
"""At most this share of unflagged masks fails, with this certainty."""
TAIL = 0.05
"""Share of masks beyond either end of an interval, and of the true border beyond either level."""
IN_BIN = 100
"""Images that a quantile is taken of; fewer say little."""
FEWEST = 200
"""Images below which nothing is calibrated."""
POINTS = 100
"""Points along the true border at which the probability is read."""
ROUNDING = 1e-9
NEVER = 1e9
"""A threshold above all scores (JSON knows no infinity)."""
TRIED = 50
"""Thresholds at which all images are unflagged; those from a fifth of them on are tested."""
THRESHOLDS = tuple(ThresholdSettings(low=twentieths / 20) for twentieths in range(2, 16))
"""Border thresholds that are tried for a style, 0.1 to 0.75."""


@dataclass(frozen=True)
class HeldOut:
    """Out-of-fold predictions of n images, and what they came to; a table with a row an image.

    `fold_of` is the member that predicted. `maps` are its probabilities, (h, w), or (w, h) for
    portraits. `evidence` (n, 5) and `jaccard` (n,) belong to the masks made with `thresholds`.
    `border` (n, POINTS, 2) has points along the true border, x and y in pixels of the map; NaN
    without a lesion.
    """

    names: NDArray[np.str_]
    fold_of: NDArray[np.str_]
    maps: Sequence[NDArray[np.float16]]
    evidence: Numbers
    jaccard: Numbers
    border: NDArray[np.float32]
    thresholds: ThresholdSettings = ThresholdSettings()

    def where(self, chosen: NDArray[np.bool_]) -> "HeldOut":
        """Return those of the images that are `chosen`, (n,)."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        del columns["thresholds"]
        maps = list(compress(columns.pop("maps"), chosen))
        return replace(self, maps=maps, **{name: each[chosen] for name, each in columns.items()})


@dataclass(frozen=True)
class Examined:
    """An image with the style and border of its true mask, and its masks by each of THRESHOLDS.

    `evidence` (len(THRESHOLDS), 5) and `jaccard` (len(THRESHOLDS),) are the masks'.
    """

    style: Style | None
    evidence: Numbers
    jaccard: Numbers
    border: NDArray[np.float32]


def split_of(card: ModelCard, data: Path, mask_frame: MaskFrame | None = None) -> Split:
    """Return the split of the data: that of the trainings' `--splits` where it is of these data."""
    given = {str(member["settings"].get("splits", "")) for member in card.members}
    for splits in sorted(given - {""}):
        with suppress(UsageError, DataError):
            return read_split(data, splits, mask_frame)
    return read_split(data, mask_frame=mask_frame)


def gather(
    folders: Sequence[Path], data: Path, mask_frame: MaskFrame | None = None
) -> dict[Style, HeldOut]:
    """Return what the trainings in `folders` held out of `data`, which they were trained on.

    By the style of the true mask, each with the thresholds that are best for it. For a protocol's
    run that held nothing out its folds speak. Of several that held out one image, the first
    speaks for it: counted twice, it would make the calibration surer than it is. `mask_frame` is
    how a person says that the masks lie.

    Raises DataError if no style has 200 held-out images, or if they are not of `data`.
    """
    pairs = {pair.image_id: pair for pair in find_all_pairs(data, mask_frame)}
    maps: dict[str, Probability] = {}
    fold_of: dict[str, str] = {}
    for run in [run for folder in folders for run in find_held_out(folder)]:
        predicted = {k: v for k, v in read_held_out(run).items() if k not in maps}
        maps |= predicted
        fold_of |= dict.fromkeys(predicted, run.name)
    return sort_by_style(maps, fold_of, pairs)


def sort_by_style(
    maps: Mapping[str, Probability], fold_of: Mapping[str, str], pairs: Mapping[str, Pair]
) -> dict[Style, HeldOut]:
    """Return the images of each style, with the thresholds that are best for it.

    `maps` are probabilities that a network gave for images that it had not seen, `fold_of` names
    the network, and `pairs` have the true masks; all by image. Raises DataError as `gather` does.
    """
    examined = compare_all(maps, pairs, examine)
    found = {}
    for style in STYLE_IDS:
        own = {name: each for name, each in examined.items() if each.style == style}
        if len(own) >= FEWEST:
            found[style] = _held_out(own, maps, fold_of)
    if not found:
        raise DataError(
            f"{len(maps)} held-out images are too few to calibrate on; train with --fold or "
            f"--protocol on a data set of which {FEWEST} of one style are held out"
        )
    return found


def _held_out(
    examined: Mapping[str, Examined], maps: Mapping[str, Probability], fold_of: Mapping[str, str]
) -> HeldOut:
    """Return the images of `examined`, whose masks are made with the best of THRESHOLDS.

    Each network that predicted has the same say in which is best, whatever it held out: by the
    images one large source would decide for all others.
    """
    jaccard = np.array([each.jaccard for each in examined.values()])
    networks = np.array([fold_of[name] for name in examined])
    means = [jaccard[networks == network].mean(0) for network in np.unique(networks)]
    best = int(np.mean(means, 0).argmax())
    return HeldOut(
        names=np.array(list(examined)),
        fold_of=networks,
        maps=[maps[name].astype(np.float16) for name in examined],
        evidence=np.array([each.evidence[best] for each in examined.values()]),
        jaccard=jaccard[:, best],
        border=np.array([each.border for each in examined.values()]),
        thresholds=THRESHOLDS[best],
    )


def examine(probability: Probability, truth: Mask) -> Examined:
    """Return what an image's true mask says of its masks by each of THRESHOLDS."""
    height, width = truth.shape
    lesions = [(choose_lesion(probability, each), each) for each in THRESHOLDS]
    return Examined(
        read_style(truth).style,
        np.array([evidence_of(probability, region(lesion, each.low)) for lesion, each in lesions]),
        np.array(
            [
                score(truth, binarise(lesion, height, width, each)[0]).jaccard
                for lesion, each in lesions
            ]
        ),
        border_of(truth, probability.shape),
    )


def border_of(truth: Mask, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return places along a true mask's border, (POINTS, 2), in pixels of a map of `shape`.

    NaN where there is no border. The photograph's edge is not one, though a mask may end there.
    """
    contours, _ = cv2.findContours(truth.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    size = np.array(truth.shape[::-1])
    found = np.concatenate([np.zeros((0, 2), np.int32), *(each[:, 0] for each in contours)])
    found = found[((found > 0) & (found < size - 1)).all(1)]
    if not len(found):
        return np.full((POINTS, 2), np.nan, np.float32)
    chosen = found[np.linspace(0, len(found) - 1, POINTS).round().astype(np.intp)]
    places: NDArray[np.float32] = (chosen + 0.5) * (np.array(shape[::-1]) / size) - 0.5
    return places.astype(np.float32)


def read_along(probability: Probability, border: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `probability`, (h, w), at the places `border`, (POINTS, 2), interpolated as masks."""
    if np.isnan(border).any():
        return np.full(len(border), np.nan, np.float32)
    x, y = border.T[:, np.newaxis]
    values = cv2.remap(probability, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values[0], np.float32)


def fit(held: HeldOut) -> Calibration:
    """Return the calibration that these images give."""
    jaccard = held.jaccard
    design = np.column_stack([np.ones(len(jaccard)), held.evidence])
    weights, *_ = np.linalg.lstsq(design, jaccard, rcond=None)
    scores = design @ weights
    order = np.argsort(scores, kind="stable")
    bins = np.array_split(order, max(1, len(order) // IN_BIN))
    knots = [float(scores[each].mean()) for each in bins]
    parts = [jaccard[each] for each in bins]
    means = np.array([part.mean() for part in parts])
    lows = np.array([np.quantile(part, TAIL, method="lower") for part in parts])
    highs = np.array([np.quantile(part, 1 - TAIL, method="higher") for part in parts])
    # A surer mask is never said to be worse, and no interval is made narrower for that.
    mean, high = np.maximum.accumulate(means), np.maximum.accumulate(highs)
    low = np.minimum.accumulate(lows[::-1])[::-1]
    flag_below, unflagged = _flag_below(scores, jaccard < FAILURE)
    inner, outer = _levels(held)
    return Calibration(
        weights=tuple(weights.tolist()),
        scores=tuple(knots),
        jaccard=tuple(mean.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        flag_below=flag_below,
        failure=FAILURE,
        risk=RISK,
        certainty=CERTAINTY,
        unflagged=unflagged,
        images=len(jaccard),
        inner=inner,
        outer=outer,
        within=1 - 2 * TAIL,
    )


def _levels(held: HeldOut) -> tuple[float, float]:
    """Return the levels of probability that leave TAIL of the true border inside and outside.

    On average over new images, if they are exchangeable with these: conformal risk control
    (Angelopoulos et al. 2022, theorem 1), once for either level. The usual threshold lies between
    them.
    """
    values = np.stack(
        [
            read_along(probability.astype(np.float32), border)
            for probability, border in zip(held.maps, held.border, strict=True)
        ]
    )
    values = values[~np.isnan(values[:, 0])]
    if not len(values):
        return 1.0, 0.0
    tail = max(0.0, TAIL - (1 - TAIL) / len(values))
    outer = float(np.quantile(values, tail, method="lower"))
    inner = float(np.quantile(values, 1 - tail, method="higher"))
    return max(inner, held.thresholds.low), min(outer, held.thresholds.low)


def _flag_below(scores: Numbers, failed: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the lowest threshold that keeps the risk, and the share of images at or above it.

    Thresholds are tested one by one, from the one that leaves the surest fifth unflagged, each at
    the full level, until the first that cannot be shown to keep the risk: fixed-sequence testing
    (Angelopoulos et al. 2021, Learn then Test) of the selective risk of Geifman & El-Yaniv 2017.
    If none can, all are flagged.
    """
    order = np.argsort(-scores, kind="stable")
    found, kept = NEVER, 0
    for step in range(TRIED // 5, TRIED + 1):
        count = len(scores) * step // TRIED
        failures = int(failed[order[:count]].sum())
        if binom.cdf(failures, count, RISK) > 1 - CERTAINTY:
            break
        found, kept = float(scores[order[count - 1]]) - ROUNDING, count
    return found, kept / len(scores)
