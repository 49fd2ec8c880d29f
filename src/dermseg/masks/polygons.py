"""Masks as polygons along the edges of their pixels, and back, without a pixel's difference.

A corner lies between pixels: the pixel in row 0 and column 0 has the corners (0, 0) and (1, 1), and
its centre is (0.5, 0.5). So polygons of whole numbers enclose exactly the lesion's pixels, where
polygons through the centres of border pixels lose half a pixel all around.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from dermseg.imaging.images import Mask
from dermseg.masks.runs import from_run_lengths

Ring: TypeAlias = NDArray[np.float64]
"""x and y of a closed line's corners, float64 (n, 2); the last is joined to the first."""
MOST_CROSSINGS = 2**25
"""Rows that all lines of a polygon cross at most: each takes some hundred bytes while it is filled.
A lesion takes thousands. A forged polygon of a megabyte could fill any memory."""


@dataclass(frozen=True)
class Polygon:
    """One piece of a lesion: its outer ring, and a ring around each of its holes."""

    outer: Ring
    holes: tuple[Ring, ...] = ()


def trace(mask: Mask) -> tuple[Polygon, ...]:
    """Return the polygons along the pixel edges of a mask, largest first.

    Parameters
    ----------
    mask
        Lesion or not, boolean (H, W).

    Returns
    -------
    tuple of Polygon
        A polygon for each 8-connected piece; whole numbers, from 0 to W and from 0 to H. Corners
        are where the line turns. `fill` makes the same mask of them.

    Examples
    --------
    >>> mask = np.zeros((4, 5), np.bool_)
    >>> mask[1, 1:4] = True
    >>> trace(mask)[0].outer.tolist()
    [[1.0, 1.0], [1.0, 2.0], [4.0, 2.0], [4.0, 1.0]]
    """
    grey = mask.view(np.uint8)
    left, top, width, height = cv2.boundingRect(grey)
    if not width:
        return ()
    # Each pixel doubled, a contour through centres visits 2x at a left edge and 2x + 1 at a right
    # one: halved upwards, the corners x and x + 1.
    crop = grey[top : top + height, left : left + width]
    doubled = cv2.resize(crop, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST_EXACT)
    contours, tree = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [
        _turns((each[:, 0].astype(np.int32, copy=False) + 1) // 2) + np.array((left, top))
        for each in contours
    ]
    holes: dict[int, list[Ring]] = {}
    for ring, (_, _, _, parent) in zip(rings, tree[0], strict=True):
        holes.setdefault(int(parent), []).append(ring.astype(np.float64))
    outer = [number for number, (_, _, _, parent) in enumerate(tree[0]) if parent < 0]
    found = [
        Polygon(rings[number].astype(np.float64), tuple(holes.get(number, ()))) for number in outer
    ]
    return tuple(sorted(found, key=lambda polygon: -_area(polygon)))


def _turns(points: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the points of a rectilinear ring at which it turns."""
    moved = np.any(points != np.roll(points, 1, axis=0), axis=1)
    points = points[moved]
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    straight = before[:, 0] * after[:, 1] == before[:, 1] * after[:, 0]
    ahead = (before * after).sum(axis=1) > 0
    kept: NDArray[np.int32] = points[~(straight & ahead)]
    return kept


def _area(polygon: Polygon) -> float:
    return abs(signed_area(polygon.outer)) - sum(abs(signed_area(hole)) for hole in polygon.holes)


def signed_area(ring: Ring) -> float:
    """Return the area that a ring encloses, negative where it runs the other way around."""
    x, y = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def fill(rings: Iterable[Ring], size: tuple[int, int]) -> Mask:
    """Return the mask that rings enclose, by the even-odd rule at the centres of pixels.

    Parameters
    ----------
    rings
        Closed lines in any order, holes among them. Parts outside the frame are left out.
    size
        The mask's (height, width) in pixels.

    Returns
    -------
    Mask
        Boolean (height, width): the pixels whose centre lies within an odd number of rings.

    Raises
    ------
    ValueError
        A coordinate is no finite number, or lines cross more than MOST_CROSSINGS rows in all.
    """
    height, width = size
    kept = [ring for ring in rings if len(ring) > 2]
    if not kept:
        return np.zeros(size, np.bool_)
    start = np.concatenate(kept)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in kept])
    if not np.isfinite(start).all():
        raise ValueError("a coordinate is no finite number")
    # Downwards, so that a bridge crosses each row at one place in both directions.
    upwards = (start[:, 1] > end[:, 1])[:, np.newaxis]
    start, end = np.where(upwards, end, start), np.where(upwards, start, end)
    first, last = np.ceil([start[:, 1] - 0.5, end[:, 1] - 0.5]).clip(0, height)
    rows_crossed = (last - first).astype(np.intp)
    if (crossings := int(rows_crossed.sum())) > MOST_CROSSINGS:
        raise ValueError(f"its lines cross {crossings} rows, of {MOST_CROSSINGS} at most")
    edge = np.repeat(np.arange(len(start)), rows_crossed)
    within = np.arange(len(edge)) - np.repeat(np.cumsum(rows_crossed) - rows_crossed, rows_crossed)
    rows = within + first[edge].astype(np.intp)
    (x, y), (x_end, y_end) = start[edge].T, end[edge].T
    crossings = x + (rows + 0.5 - y) * (x_end - x) / (y_end - y)
    columns = np.ceil(crossings - 0.5).clip(0, width).astype(np.intp)
    # A row is crossed an even number of times: lesion begins at one crossing and ends at the next.
    places = np.sort(rows * width + columns)
    runs = np.diff(places, prepend=0, append=height * width)
    return from_run_lengths(runs, height * width).reshape(size)


def rings_of(polygons: Iterable[Polygon]) -> list[Ring]:
    """Return all rings of polygons, for `fill`."""
    return [ring for polygon in polygons for ring in (polygon.outer, *polygon.holes)]


def simplify(polygons: Iterable[Polygon], tolerance: float) -> tuple[Polygon, ...]:
    """Return polygons with fewer corners, none farther than `tolerance` pixels from the old line.

    Rings that would keep fewer than three corners stay as they are.
    """
    return tuple(
        Polygon(
            _simplified(polygon.outer, tolerance),
            tuple(_simplified(hole, tolerance) for hole in polygon.holes),
        )
        for polygon in polygons
    )


def _simplified(ring: Ring, tolerance: float) -> Ring:
    fewer = cv2.approxPolyDP(ring.astype(np.float32), tolerance, closed=True)[:, 0]
    return fewer.astype(np.float64) if len(fewer) > 2 else ring


def one_ring(polygon: Polygon) -> Ring:
    """Return a polygon as a single ring: a bridge without width leads to each hole and back.

    The even-odd rule fills it as it fills the polygon, and so does COCO's own rasteriser. Bridges
    run along rows where they can, since no fill that goes by rows sees them there.
    """
    ring = polygon.outer
    for hole in sorted(polygon.holes, key=lambda hole: float(hole[:, 0].min())):
        ring = _bridged(_with_corner_left_of(ring, hole), hole)
    return ring


def _with_corner_left_of(ring: Ring, hole: Ring) -> Ring:
    """Return `ring` with a corner in the row of the hole's leftmost corner, nearest to its left."""
    x, y = hole[hole[:, 0].argmin()]
    ends = np.roll(ring, -1, axis=0)
    (left, begin), end = ring.T, ends[:, 1]
    crossing = (left == ends[:, 0]) & (left <= x)
    crossing &= (np.minimum(begin, end) <= y) & (y <= np.maximum(begin, end))
    if not crossing.any():
        return ring
    edge = int(np.where(crossing, left, -np.inf).argmax())
    return np.insert(ring, edge + 1, (left[edge], y), axis=0)


def join(rings: Sequence[Ring]) -> Ring:
    """Return several pieces as a single ring, with bridges without width between them."""
    joined = rings[0]
    for ring in rings[1:]:
        joined = _bridged(joined, ring)
    return joined


def _bridged(ring: Ring, other: Ring) -> Ring:
    """Lead `ring` from its corner nearest to the leftmost corner of `other` around that and back.

    A corner in the same row is preferred. Both rings are met a second time where the bridge ends,
    so that what they enclose stays.
    """
    begin = int(other[:, 0].argmin())
    steps = np.abs(ring - other[begin])
    level = (steps[:, 1] == 0) & (ring[:, 0] <= other[begin, 0])
    distances = np.where(level, steps[:, 0], np.inf) if level.any() else steps.sum(axis=1)
    near = int(distances.argmin())
    around = np.roll(other, -begin, axis=0)
    return np.concatenate([ring[: near + 1], around, around[:1], ring[near:]])
