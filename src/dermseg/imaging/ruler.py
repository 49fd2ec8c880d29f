"""A ruler in a photograph: a dark line with ticks at equal distances.

It is looked for in three steps: thin dark lines (black-hat and Hough transform); along each, the
longest row of ticks at one distance, at several heights above the line; and whether every second
tick is a longer one, in which case two distances are a millimetre.
"""

from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Pixels, size_within

Row = NDArray[np.float32]

SIDE = 1024
"""Longest side at which a ruler is looked for, in pixels; all pixels below are at this size."""
WIDTHS = (7, 21)
"""Of what is taken for a thin line: sharp, and blurred ones."""
LINES = 40
"""Lines that are looked at, the most marked first."""
REACH = 36
"""How far from its line a tick may reach."""
LEAST = 10
"""Ticks in a row, below which there is no ruler."""
MOST = 60
"""Ticks in a row, above which they are texture."""
NEAREST, FARTHEST = 12.0, 128.0
"""Distances of ticks."""
STRAY = 0.06
"""How far a tick may lie from its place, as a share of the distance."""
BETWEEN = 2
"""Marks between the ticks that are none: hairs that cross the ruler."""
FAINTEST = 4
"""Grey values by which a tick is darker than what is around it."""
DRAWN = 0.8
"""Share of the line between the ticks that must be there."""
LONGER = 5.0
"""How much darker every second place is above the short ticks' ends, where ticks alternate."""


@dataclass(frozen=True)
class Ruler:
    """A ruler: the line from its first tick to its last, in the photograph's stored pixels."""

    start: tuple[float, float]
    """x and y of the first tick that was found."""
    end: tuple[float, float]
    millimetres: int
    """What the line covers, if the longest ticks are a millimetre apart."""

    @property
    def pixels_per_mm(self) -> float:
        """The scale that the ruler gives."""
        return float(np.hypot(*np.subtract(self.end, self.start))) / self.millimetres


@dataclass(frozen=True)
class _Ticks:
    """Ticks along a line, in pixels of a strip."""

    first: float
    distance: float
    count: int
    """Distances, one less than ticks."""

    @property
    def places(self) -> Row:
        """Where the ticks are."""
        return (self.first + self.distance * np.arange(self.count + 1)).astype(np.float32)

    @property
    def weight(self) -> float:
        """How much speaks for them: long ticks stand over short ones that are nearer each other."""
        return self.distance * min(self.count, 10)


def find_ruler(pixels: Pixels) -> Ruler | None:
    """Look for a ruler whose longest ticks are a millimetre apart, as dermoscopes have.

    Parameters
    ----------
    pixels
        The photograph, uint8 RGB, (H, W, 3).

    Returns
    -------
    Ruler or None
        The ruler, to be confirmed by a person: another one, of inches say, looks the same.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    factor = max(1.0, max(grey.shape) / SIDE)
    size = size_within(grey.shape, SIDE)
    small = cv2.resize(grey, size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
    best, found = 0.0, None
    for strip, matrix in _strips(small):
        for side in (strip[REACH:], strip[REACH::-1]):
            ticks, at = _longest(side)
            if ticks is not None and ticks.weight > best and _is_drawn(side, ticks):
                best, found = ticks.weight, (ticks, side, at, matrix)
    if found is None:
        return None
    ticks, side, at, matrix = found
    millimetres, first, last = _millimetres(ticks, side, at)
    ends = np.array([[first, REACH, 1], [last, REACH, 1]]) @ matrix.T * factor
    (x, y), (right, down) = ends.tolist()
    return Ruler((x, y), (right, down), millimetres)


def _strips(grey: Pixels) -> Iterator[tuple[Row, NDArray[np.float64]]]:
    """Yield a strip along each line, (2 REACH + 1, length), and the matrix from it to `grey`.

    Values say how much darker a pixel is than what is around it.
    """
    height, width = grey.shape
    length = int(np.hypot(height, width))
    for thickness in WIDTHS:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (thickness, thickness))
        dark = cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, kernel).astype(np.uint8)
        for distance, angle in _lines(dark):
            across = np.array([np.cos(angle), np.sin(angle)])
            along = np.array([-across[1], across[0]])
            middle = np.array([width / 2, height / 2])
            foot = middle - (middle @ across - distance) * across
            corner = foot - length / 2 * along - REACH * across
            matrix = np.column_stack([along, across, corner])
            strip = cv2.warpAffine(
                dark,
                matrix,
                (length, 2 * REACH + 1),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            )
            yield strip.astype(np.float32), matrix


def _lines(dark: Pixels) -> Iterator[tuple[float, float]]:
    """Yield the distance from the origin, and the angle of the normal, of the most marked lines."""
    marked = (dark > max(6.0, float(np.percentile(dark, 96)))).astype(np.uint8)
    found = cv2.HoughLines(marked, 1, np.pi / 720, 100)
    if found is None:
        return
    left = found[:3000, 0].astype(np.float64)
    for _ in range(LINES):
        if not len(left):
            return
        distance, angle = left[0]
        yield float(distance), float(angle)
        turned = np.abs(left[:, 1] - angle)
        same = (np.abs(left[:, 0] - distance) < 6) & (turned < 0.02)
        # Angles run from 0 to pi: the same line may stand at both ends.
        same |= (np.abs(left[:, 0] + distance) < 6) & (np.abs(turned - np.pi) < 0.02)
        left = left[~same]


def _longest(side: Row) -> tuple[_Ticks | None, int]:
    """Return the weightiest ticks on one side of a line, and how far from it they were seen."""
    best, at = None, 0
    for height in range(3, REACH - 1, 2):
        row = side[height - 1 : height + 2].mean(0)
        marks = _marks(row)
        if not LEAST <= len(marks) <= MOST:
            continue
        ticks = _ticks(marks, max(NEAREST, 1.5 * height))
        if ticks is not None and (best is None or ticks.weight > best.weight):
            best, at = ticks, height
    return best, at


def _is_drawn(side: Row, ticks: _Ticks) -> bool:
    """Say whether there is a line for the ticks to stand on."""
    first, last = (round(float(ticks.places[end])) for end in (0, -1))
    return float((side[:3, first:last].max(0) > FAINTEST).mean()) >= DRAWN


def _marks(row: Row) -> NDArray[np.int64]:
    """Return where a row has marks, about as dark as its ten darkest."""
    inner = row[1:-1]
    top = (inner >= row[:-2]) & (inner > row[2:]) & (inner > FAINTEST)
    marks: NDArray[np.int64] = np.nonzero(top)[0] + 1
    if len(marks) < LEAST:
        return marks
    tenth = np.partition(row[marks], -LEAST)[-LEAST]
    dark: NDArray[np.int64] = marks[row[marks] > 0.45 * tenth]
    return dark


def _ticks(marks: NDArray[np.int64], nearest: float) -> _Ticks | None:
    """Return the longest row of marks at one distance, None if it is too short."""
    best = None
    places = marks.tolist()
    for number in range(len(places) - LEAST + 1):
        first = places[number]
        for second in places[number + 1 : number + 3]:
            if not nearest <= second - first <= FARTHEST:
                continue
            ticks, last = _follow(places, number, second - first)
            between = bisect(places, last) - number - ticks.count - 1
            if ticks.count + 1 < LEAST or between > BETWEEN:
                continue
            if best is None or ticks.count > best.count:
                best = ticks
    return best


def _follow(places: list[int], number: int, distance: float) -> tuple[_Ticks, int]:
    """Go from mark to mark as long as the next one is where it belongs; return the last too."""
    first, count, last = places[number], 1, places[number] + round(distance)
    while True:
        wanted = first + (count + 1) * distance
        after = bisect(places, wanted)
        nearest = min(places[after - 1 : after + 1], key=lambda place: abs(place - wanted))
        if abs(nearest - wanted) > max(1.5, STRAY * distance):
            return _Ticks(first, distance, count), last
        count, last = count + 1, nearest
        distance = (nearest - first) / count


def _millimetres(ticks: _Ticks, side: Row, at: int) -> tuple[int, float, float]:
    """Return how many millimetres lie from which tick to which: every second if ticks alternate."""
    even, odd = 0.0, 0.0
    for height in range(at + 2, REACH - 1, 2):
        row = side[height - 1 : height + 2].mean(0)
        places = ticks.places.round().astype(np.int64)
        values = [float(row[max(0, place - 2) : place + 3].max(initial=0)) for place in places]
        medians = float(np.median(values[::2])), float(np.median(values[1::2]))
        if max(medians) > FAINTEST and max(medians) > LONGER * max(1.0, min(medians)):
            even, odd = max(even, medians[0]), max(odd, medians[1])
    if even == odd:
        return ticks.count, float(ticks.places[0]), float(ticks.places[-1])
    long = ticks.places[0 if even > odd else 1 :: 2]
    return len(long) - 1, float(long[0]), float(long[-1])
