"""From probability to mask: the paper's dual thresholds (section III-A).

A high threshold finds the lesion's core and so decides which region is the lesion; a low one says
how far it reaches. Two rules:

"paper" does what the text says and no more. The candidates are the regions at or above the high
threshold; the centre is the centroid of the one with the largest mass (the sum of its
probability). The map is dilated by one pixel, which closes small holes, and binarised at the low
threshold; the region that embraces the centre is the mask. Where nothing reaches the high
threshold, or the centroid lies outside every region, there is no mask.

"complete" says what happens there too. The lesion is the region at the low threshold that holds
the core of the largest mass, wherever that core's centroid lies (it is outside a crescent); where
nothing reaches the high threshold, the region of the largest mass; and holes of any size are
filled, since the challenge's masks are contiguous and without holes.

Regions are chosen at the network's size. The border is then the low threshold of the bilinearly
scaled probability, so that masks are smooth at the photograph's size.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Mask
from dermseg.settings import ThresholdSettings

Probability = NDArray[np.float32]
MOST_CANDIDATES = 20
"""Candidates that are listed, the heaviest: the others are dust."""
STRIP = 64
"""Rows that are scaled at a time: few enough for a processor's cache."""


@dataclass(frozen=True)
class Lesion:
    """The region that was chosen, at the network's size.

    `probability` (h, w) is the map with all other regions removed and, as the rule says, holes
    filled: binarised at the low threshold, at any scale, it is the mask. `core` is the row and
    column of its surest pixel, None where there is no lesion. `candidates` counts the regions that
    there were to choose from.
    """

    probability: Probability
    core: tuple[int, int] | None
    candidates: int


def choose_lesion(
    probability: Probability, settings: ThresholdSettings, at: tuple[float, float] | None = None
) -> Lesion:
    """Choose the lesion in `probability`, float32 (h, w) in 0..1.

    `at`, a row and a column, is where a person says that the lesion is: the candidate that holds
    this place is chosen in place of the largest, and none if none does.
    """
    if settings.rule == "paper":
        return _choose_by_paper(probability, settings, at)
    return _choose_completely(probability, settings, at)


def _regions(mask: Mask) -> tuple[int, NDArray[np.int32]]:
    """Return the number of 4-connected regions and their labels, 1 upwards; 0 is background."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    return count - 1, labels.astype(np.int32, copy=False)


def _heaviest(probability: Probability, labels: NDArray[np.int32], count: int) -> int:
    """Return the label of the region with the largest mass, the sum of its probability."""
    if count == 1:
        return 1
    sums = np.bincount(labels.ravel(), probability.ravel().astype(np.float64), count + 1)
    return 1 + int(sums[1:].argmax())


def _around(picture: NDArray[Any], at: tuple[float, float]) -> NDArray[Any]:
    """Return the four pixels between whose centres a row and a column lie."""
    rows, columns = picture.shape
    top, left = (
        min(max(math.floor(place), 0), side - 2)
        for place, side in zip(at, (rows, columns), strict=True)
    )
    return picture[max(0, top) : top + 2, max(0, left) : left + 2]


def _label_at(labels: NDArray[np.int32], at: tuple[float, float]) -> int:
    """Return the label of the region that holds a row and a column, 0 if none does."""
    row, column = (
        min(max(round(place), 0), side - 1) for place, side in zip(at, labels.shape, strict=True)
    )
    return int(labels[row, column]) or int(_around(labels, at).max())


def holds(lesion: Lesion, at: tuple[float, float], low: float) -> bool:
    """Say whether the mask of `lesion` at the threshold `low` holds a row and a column."""
    return lesion.core is not None and bool((_around(lesion.probability, at) >= low).any())


def candidate_cores(probability: Probability, settings: ThresholdSettings) -> list[tuple[int, int]]:
    """Return the row and column of each candidate's surest pixel, the heaviest candidate first."""
    level = settings.high if settings.rule == "paper" else settings.low
    count, labels = _regions(probability >= level)
    if not count:
        return []
    sums = np.bincount(labels.ravel(), probability.ravel().astype(np.float64), count + 1)
    order = 1 + np.argsort(-sums[1:], kind="stable")[:MOST_CANDIDATES]
    return [_surest(probability, labels == label) for label in order]


def _choose_by_paper(
    probability: Probability, settings: ThresholdSettings, at: tuple[float, float] | None
) -> Lesion:
    candidates, cores = _regions(probability >= settings.high)
    if candidates == 0:
        return _nothing(probability, 0)
    dilated = cv2.dilate(probability, np.ones((3, 3), np.uint8)).astype(np.float32, copy=False)
    _, regions = _regions(dilated >= settings.low)
    if at:
        label = _label_at(regions, at)
        held = np.where(regions == label, cores, 0) if label else regions * 0
        if not held.any():
            return _nothing(probability, candidates)
        core = _heaviest(probability, held, int(held.max()) + 1)
    else:
        core = _heaviest(probability, cores, candidates)
    row, column = (int(axis.mean().round()) for axis in np.nonzero(cores == core))
    chosen = regions[row, column]
    if chosen == 0:
        return _nothing(probability, candidates)
    alone = _without_others(dilated, regions, chosen)
    return Lesion(alone, _surest(alone, regions == chosen), candidates)


def _choose_completely(
    probability: Probability, settings: ThresholdSettings, at: tuple[float, float] | None
) -> Lesion:
    candidates, regions = _regions(probability >= settings.low)
    if candidates == 0:
        return _nothing(probability, 0)
    count, cores = _regions((probability >= settings.high) & (regions > 0))
    if at:
        chosen = _label_at(regions, at)
        if chosen == 0:
            return _nothing(probability, candidates)
    elif count:
        chosen = int(regions[cores == _heaviest(probability, cores, count)][0])
    else:
        chosen = _heaviest(probability, regions, candidates)
    alone = _without_others(probability, regions, chosen)
    filled = np.where(_holes(regions == chosen), np.float32(1), alone)
    return Lesion(filled, _surest(alone, regions == chosen), candidates)


def _nothing(probability: Probability, candidates: int) -> Lesion:
    return Lesion(np.zeros_like(probability), None, candidates)


def _surest(probability: Probability, region: Mask) -> tuple[int, int]:
    row, column = divmod(int(np.where(region, probability, -1).argmax()), region.shape[1])
    return row, column


def _without_others(
    probability: Probability, regions: NDArray[np.int32], chosen: int
) -> Probability:
    """Return `probability` with zero in all regions but the one that was chosen."""
    return np.where((regions == 0) | (regions == chosen), probability, np.float32(0))


def _holes(mask: Mask) -> Mask:
    """Return what the region encloses: background that is not 8-connected to the frame."""
    outside = cv2.copyMakeBorder((~mask).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, labels = cv2.connectedComponents(outside, connectivity=8)
    enclosed: Mask = ~mask & (labels[1:-1, 1:-1] != labels[0, 0])
    return enclosed


def binarise(
    lesion: Lesion, height: int, width: int, settings: ThresholdSettings
) -> tuple[Mask, NDArray[np.int32]]:
    """Return the mask, boolean (`height`, `width`), and its outline.

    The outline is (n, 2): x and y of the border's pixels in order, or of their corners where they
    run straight; (0, 2) for an empty mask. The mask is what the outline encloses: one region
    and, by the rule "complete", without holes.
    """
    mask = np.zeros((height, width), np.bool_)
    if lesion.core is None:
        return mask, np.zeros((0, 2), np.int32)
    found, place = threshold_scaled(lesion.probability, height, width, settings.low)
    contours, _ = cv2.findContours(
        found.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=place
    )
    if not contours:
        return mask, np.zeros((0, 2), np.int32)
    # A bridge of one pixel can break when it is scaled: the part with the core stays.
    x, y = (
        (place + 0.5) * after / before - 0.5
        for place, after, before in zip(
            lesion.core[::-1], (width, height), lesion.probability.shape[::-1], strict=True
        )
    )

    def nearness(contour: cv2.typing.MatLike) -> tuple[float, float]:
        return min(0.0, cv2.pointPolygonTest(contour, (x, y), True)), cv2.contourArea(contour)

    outline = max(contours, key=nearness)
    cv2.drawContours(mask.view(np.uint8), [outline], -1, 1, cv2.FILLED)
    if settings.rule == "paper":
        left, top = place
        mask[top : top + found.shape[0], left : left + found.shape[1]] &= found
    return mask, outline[:, 0].astype(np.int32, copy=False)


def threshold_scaled(
    probability: Probability, height: int, width: int, low: float
) -> tuple[Mask, tuple[int, int]]:
    """Return where the probability, scaled bilinearly to `height` x `width`, is at least `low`.

    That is boolean, and covers only the part of the picture in which it can be so, whose left and
    top edge is returned too. Row by row, since photographs may have 100 megapixels.
    """
    x, y, w, h = cv2.boundingRect((probability >= low).view(np.uint8))
    rows, columns = probability.shape
    left, right = _reach(x, w, columns, width)
    top, bottom = _reach(y, h, rows, height)
    # Rows beyond these cannot be reached.
    first, last = max(0, y - 1), min(rows, y + h + 1)
    wide = cv2.resize(
        probability[first:last], (width, last - first), interpolation=cv2.INTER_LINEAR
    )
    wide = np.ascontiguousarray(wide[:, left:right])
    steps = np.diff(wide, axis=0, append=wide[-1:])
    # Pixel centres lie at half-integers; beyond the first and the last one nothing changes.
    places = ((np.arange(top, bottom) + 0.5) * rows / height - 0.5).clip(first, last - 1) - first
    above = places.astype(np.intp)
    weight = (places - above).astype(np.float32)[:, np.newaxis]
    found = np.empty((bottom - top, right - left), np.bool_)
    for start in range(0, len(found), STRIP):
        strip = slice(start, start + STRIP)
        values = steps[above[strip]]
        values *= weight[strip]
        values += wide[above[strip]]
        np.greater_equal(values, low, out=found[strip])
    return found, (left, top)


def _reach(first: int, count: int, before: int, after: int) -> tuple[int, int]:
    """Return where, of `after` pixels, those begin and end that `count` of `before` touch."""
    scale = after / before
    begin, end = (first - 0.5) * scale - 0.5, (first + count + 0.5) * scale - 0.5
    return max(0, math.floor(begin)), min(after, math.ceil(end) + 1)
