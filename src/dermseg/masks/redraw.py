"""A part of a mask's border drawn again: a line takes the place of the border beside it."""

import math

import cv2
import numpy as np

from dermseg.imaging.images import Mask
from dermseg.masks.polygons import Polygon, Ring, fill, trace

AWAY = 0.5
"""Distance of a line's end from the border, as a share of the length up to its crossing, from which
the end leads away and is cut off."""


def redraw(mask: Mask, line: Ring) -> Mask:
    """Put a line in the place of the border between its ends.

    The ends are joined to the nearest places of the border, which parts the border in two; the part
    goes whose loss leaves the larger mask. An end that leads across the border and away from it is
    cut off where it crosses. Where the line runs outside the mask it adds, where it runs inside it
    takes away. Without a border, or where it ends on its first point, a line encloses the whole
    mask.

    Parameters
    ----------
    mask
        Lesion or not, boolean (H, W).
    line
        x and y along the line, float64 (n, 2), in pixels: the corner of pixel (0, 0) is the origin.

    Returns
    -------
    Mask
        A new mask of the same shape. Only the piece next to the line changes.

    Examples
    --------
    >>> mask = np.zeros((10, 10), np.bool_)
    >>> mask[2:8, 2:8] = True
    >>> line = np.array([(8.0, 3.0), (6.0, 3.0), (6.0, 7.0), (8.0, 7.0)])
    >>> int(mask.sum() - redraw(mask, line).sum())
    8
    """
    polygons = trace(mask)
    if not polygons or np.array_equal(line[0], line[-1]):
        return fill([line], mask.shape)
    ring = _nearest(polygons, line)
    left, top = np.floor(np.minimum(ring.min(0), line.min(0))).clip(0).astype(int)
    right, bottom = np.ceil(np.maximum(ring.max(0), line.max(0))).astype(int)
    part = mask[top:bottom, left:right]
    ring, line = ring - (left, top), line - (left, top)
    within = fill([ring], part.shape)
    line = _trimmed(_trimmed(line, ring, within)[::-1], ring, within)[::-1]
    redrawn = [np.where(fill([loop], part.shape), ~within, part) for loop in _loops(ring, line)]
    result = mask.copy()
    result[top:bottom, left:right] = max(redrawn, key=np.count_nonzero)
    return result


def _nearest(polygons: tuple[Polygon, ...], line: Ring) -> Ring:
    """Return the outer ring that lies nearest to a line's ends."""

    def distance(polygon: Polygon) -> float:
        corners = polygon.outer.astype(np.float32)
        return sum(
            abs(cv2.pointPolygonTest(corners, (float(x), float(y)), measureDist=True))
            for x, y in line[[0, -1]]
        )

    return min(polygons, key=distance).outer


def _trimmed(line: Ring, ring: Ring, within: Mask) -> Ring:
    """Cut a line's beginning off where it crosses the border, if it comes from farther away."""
    along = np.concatenate([[0], np.hypot(*np.diff(line, axis=0).T).cumsum()])
    places = np.linspace(0, along[-1], 2 * math.ceil(along[-1]) + 1)
    points = np.stack([np.interp(places, along, axis) for axis in line.T], axis=1)
    x, y = np.floor(points).astype(np.intp).T
    inside = (x >= 0) & (y >= 0) & (x < within.shape[1]) & (y < within.shape[0])
    inside[inside] = within[y[inside], x[inside]]
    crossed = np.flatnonzero(inside != inside[0])
    if not len(crossed) or math.dist(line[0], _foot(ring, line[0])[1]) < AWAY * places[crossed[0]]:
        return line
    first = crossed[0]
    return np.concatenate([points[first : first + 1], line[along > places[first]]])


def _loops(ring: Ring, line: Ring) -> tuple[Ring, Ring]:
    """Return the loops that a line makes with either part of a ring between its ends."""
    (first, start), (last, end) = (_foot(ring, point) for point in line[[0, -1]])
    # Corners of the ring, in its order, from the line's end to its start and from start to end.
    on = np.roll(ring, -last - 1, axis=0)[: (first - last) % len(ring)]
    back = np.roll(ring, -first - 1, axis=0)[: (last - first) % len(ring)]
    if first == last:  # between places on one side lie no corners, or all
        every = np.roll(ring, -first - 1, axis=0)
        ahead = math.dist(ring[first], end) > math.dist(ring[first], start)
        on, back = (every, every[:0]) if ahead else (every[:0], every)
    return (
        np.concatenate([[start], line, [end], on]),
        np.concatenate([[start], line, [end], back[::-1]]),
    )


def _foot(ring: Ring, point: Ring) -> tuple[int, Ring]:
    """Return the number of the side of a ring that lies nearest to a point, and where on it."""
    sides = np.roll(ring, -1, axis=0) - ring
    along = ((point - ring) * sides).sum(1) / (sides**2).sum(1)
    feet = ring + sides * along.clip(0, 1)[:, np.newaxis]
    nearest = int(((feet - point) ** 2).sum(1).argmin())
    return nearest, feet[nearest]
