"""A scripted hand that corrects an outline on the page, and counts what it does.

It knows what a person sees: the outline on the screen, and where the border should run. It plans
the shortest line that should do, draws it with a tremor, looks, and goes on.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from browsing import EXACT
from numpy.typing import NDArray

from dermseg.imaging.images import Mask
from dermseg.masks.polygons import Ring, fill
from dermseg.masks.redraw import redraw

SIDE = 256
"""Pixels of the longer side at which lines are planned."""
STEP = 6.0
"""Pixels of the screen between two points of a line, and within which it is smooth."""
STARTS = 24
"""Places on the true border where a line may begin, and lengths that it may have."""
SURE = 0.93
"""Jaccard index that a plan should reach: the hand trembles, and the eye is not exact."""
LOOK = 300
WAIT = 30_000
"""Milliseconds that an outline stands still to be seen, and that it may take to come."""


def jaccard(truth: Mask, mask: Mask) -> float:
    """Return the Jaccard index of two masks."""
    return int(np.count_nonzero(truth & mask)) / max(1, int(np.count_nonzero(truth | mask)))


class Hand:
    """A pointer and a keyboard on the page; every press to its release is an action.

    Parameters
    ----------
    page
        The page, with a photograph on its stage.
    tremor
        Standard deviation of the hand from its line, in pixels of the screen.
    """

    def __init__(self, page: Any, tremor: float, seed: int) -> None:
        self.page, self.tremor = page, tremor
        self.actions, self.length, self.did = 0, 0.0, list[str]()
        self._random = np.random.default_rng(seed)
        box = page.locator("#stage").bounding_box()
        self.at = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        view = page.evaluate(
            """() => {
              const box = document.getElementById("stage");
              const { left, top } = box.getBoundingClientRect();
              const matrix = new DOMMatrix(getComputedStyle(box.querySelector(".frame")).transform);
              return [matrix.a, left + box.clientLeft + matrix.e, top + box.clientTop + matrix.f];
            }"""
        )
        self.scale, self.corner = view[0], np.array(view[1:])

    def key(self, key: str) -> None:
        """Press a key."""
        self.page.keyboard.press(key)
        self.actions += 1
        self.did.append(key)

    def click(self, place: tuple[float, float]) -> None:
        """Click a place of the photograph."""
        self._move(*(np.array(place) * self.scale + self.corner))
        self.page.mouse.down()
        self.page.mouse.up()
        self.actions += 1
        self.did.append("click")

    def draw(self, line: Ring) -> None:
        """Drag along a line, in pixels of the photograph; a closed one ends where it began."""
        closed = np.array_equal(line[0], line[-1])
        points = line * self.scale + self.corner
        noise = self._random.normal(0, self.tremor * math.sqrt(3), points.shape)
        if len(points) > 3:  # what shakes is the line's course, not each of its points
            noise = cv2.blur(noise, (1, 3), borderType=cv2.BORDER_REFLECT)
        points = points + noise
        if closed:
            points[-1] = points[0]
        before = self.seen()
        self._move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self._move(*point)
        self.page.mouse.up()
        self.actions += 1
        self.did.append("line")
        self.changed(before)

    def slide(self, slider: str, truth: Mask) -> None:
        """Drag a slider to its ends and back to where the outline fits best."""
        handle = self.page.locator(f"#{slider}")
        handle.scroll_into_view_if_needed()
        box = handle.bounding_box()
        now, least, most = (
            float(handle.evaluate(f"one => one.{name}")) for name in ("value", "min", "max")
        )

        def place(value: float) -> tuple[float, float]:
            part = (value - least) / (most - least)
            return box["x"] + 8 + part * (box["width"] - 16), box["y"] + box["height"] / 2

        self._move(*place(now))
        self.page.mouse.down()
        fits = {}
        for value in [*np.arange(now, least, -0.05), *np.arange(now, most, 0.05)]:
            self._move(*place(float(value)))
            self._settled()
            fits[float(value)] = jaccard(truth, self.mask(truth.shape))
        self._move(*place(max(fits, key=lambda value: fits[value])))
        self.page.mouse.up()
        self.page.wait_for_selector(EXACT)
        self.actions += 1
        self.did.append(slider)

    def _move(self, x: float, y: float) -> None:
        self.page.mouse.move(x, y)
        self.length += math.dist(self.at, (x, y))
        self.at = (x, y)

    def seen(self) -> str:
        """Return the outline on the screen, as SVG has it."""
        return str(self.page.get_attribute("path.outline", "d"))

    def _settled(self) -> None:
        """Wait until the outline stands still, as the eye does."""
        before = ""
        while before != (now := self.seen()):
            before = now
            self.page.wait_for_timeout(LOOK)

    def changed(self, before: str) -> None:
        """Wait until the outline is another."""
        self.page.wait_for_function(
            "d => document.querySelector('path.outline').getAttribute('d') !== d",
            arg=before,
            timeout=WAIT,
        )
        self.page.wait_for_selector(EXACT)

    def mask(self, shape: tuple[int, ...]) -> Mask:
        """Return what the outline on the screen encloses."""
        drawn = np.zeros(shape, np.uint8)
        rings = [
            np.array(re.findall(r"[\d.]+", ring), float).reshape(-1, 2) - 0.5
            for ring in self.seen().split("Z")[:-1]
        ]
        if rings:
            cv2.fillPoly(drawn, [ring.astype(np.int32) for ring in rings], 1)
        return drawn.astype(np.bool_)


@dataclass(frozen=True)
class Plan:
    """A line for a tool, in the photograph's pixels, and the Jaccard index that it should reach."""

    tool: str
    line: Ring
    jaccard: float
    length: float


class Planner:
    """Plans lines for one lesion, whose true mask is boolean (H, W).

    `scale` is the screen's pixels on one of the photograph's.
    """

    def __init__(self, truth: Mask, scale: float) -> None:
        self._shrunk = SIDE / max(truth.shape)
        self.truth = self._small(truth)
        contours, _ = cv2.findContours(
            truth.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        self.border = _smooth(max(contours, key=cv2.contourArea)[:, 0] + 0.5, STEP / scale)

    def _small(self, mask: Mask) -> Mask:
        small = cv2.resize(
            mask.view(np.uint8) * np.uint8(255),
            None,
            fx=self._shrunk,
            fy=self._shrunk,
            interpolation=cv2.INTER_AREA,
        )
        result: Mask = small > 127
        return result

    def best(self, mask: Mask, tools: tuple[str, ...]) -> Plan:
        """Return the shortest line that should do, or the one that does most."""
        small = self._small(mask)
        plans = [plan for tool in tools for plan in self._plans(small, tool)]
        enough = [plan for plan in plans if plan.jaccard >= SURE]
        if enough:
            return min(enough, key=lambda plan: plan.length)
        return max(plans, key=lambda plan: plan.jaccard)

    def _plans(self, mask: Mask, tool: str) -> Iterator[Plan]:
        for arc in self._arcs():
            line = self._around(arc, mask) if tool == "lasso-erase" else arc
            moved = line * self._shrunk
            if tool == "redraw":
                drawn = redraw(mask, moved)
            elif tool == "lasso-add":
                drawn = mask | fill([moved], mask.shape)
            else:
                drawn = mask & ~fill([moved], mask.shape)
            length = float(np.hypot(*np.diff(line, axis=0).T).sum())
            yield Plan(tool, line, jaccard(self.truth, drawn), length)

    def _arcs(self) -> Iterator[Ring]:
        """Yield parts of the true border, and all of it from several places."""
        count = len(self.border)
        for start in {count * step // STARTS for step in range(STARTS)}:
            turned = np.roll(self.border, -start, axis=0)
            for end in sorted({max(3, count * step // STARTS) for step in range(1, STARTS)}):
                yield turned[:end]
            yield np.concatenate([turned, turned[:1]])

    def _around(self, arc: Ring, mask: Mask) -> Ring:
        """Return a line that goes back outside of the mask, for a lasso that erases beyond."""
        middle = self.border.mean(0)
        corners = np.argwhere(mask)[:, ::-1] / self._shrunk
        reach = np.hypot(*(corners - middle).T).max() + 10 if len(corners) else 10.0
        away = arc - middle
        beyond = (
            middle
            + away * np.maximum(1.0, reach / np.maximum(1e-6, np.hypot(*away.T)))[:, np.newaxis]
        )
        return np.concatenate([arc, beyond[::-1]])


def _smooth(outline: NDArray[Any], step: float) -> Ring:
    """Return a closed outline with points every `step` pixels, smoothed as much."""
    closed = np.concatenate([outline, outline[:1]]).astype(np.float64)
    along = np.concatenate([[0], np.hypot(*np.diff(closed, axis=0).T).cumsum()])
    count = max(8, int(along[-1] / step))
    places = np.linspace(0, along[-1], count, endpoint=False)
    points = np.stack([np.interp(places, along, axis) for axis in closed.T], axis=1)
    smooth: Ring = (np.roll(points, 1, axis=0) + 2 * points + np.roll(points, -1, axis=0)) / 4
    return smooth
