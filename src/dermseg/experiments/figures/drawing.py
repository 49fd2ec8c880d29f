"""What the figures share: how they are saved, and contours on photographs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dermseg.data.layouts import Pair
from dermseg.evaluation.maps import binariser
from dermseg.imaging.images import Mask, Pixels, resize, size_within
from dermseg.imaging.mask_files import MASK_FOREGROUND
from dermseg.imaging.photographs import read_photograph
from dermseg.masks.postprocess import Probability
from dermseg.settings import ThresholdSettings
from dermseg.storage.files import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRUTH: dict[str, Any] = {"colors": "red", "linestyles": "dashed", "linewidths": 1.1}
RESULT: dict[str, Any] = {"colors": "yellow", "linestyles": "solid", "linewidths": 1.1}
"""As in the paper's Figures 3 and 4."""
SIDE = 480
"""Longest side, in pixels, of a photograph in a figure."""
WIDTH, HEIGHT = 2.1, 1.75
"""Inches of a photograph with its title."""


@dataclass(frozen=True)
class Case:
    """A photograph (h, w, 3) with its true mask and the one that was found, boolean (h, w)."""

    pixels: Pixels
    truth: Mask
    found: Mask
    title: str


def save(figure: "Figure", file: Path) -> None:
    """Write a figure, in the format of the file's suffix; raise OutputError if it cannot be.

    Without a date, and with names that do not change, the same figure gives the same file.
    """
    from matplotlib import rc_context

    metadata = {"Date": None} if file.suffix == ".svg" else {}
    with written_whole(file) as temporary, rc_context({"svg.hashsalt": "dermseg"}):
        figure.savefig(temporary, dpi=160, metadata=metadata)


def make_case(
    pair: Pair, probability: Probability, thresholds: ThresholdSettings, title: str
) -> Case:
    """Return a photograph at its mask's shape, reduced, with both masks."""
    truth = pair.read_mask()
    height, width = size_within(truth.shape, SIDE)
    photograph = read_photograph(pair.photograph, at_least=(height, width))
    pixels = resize(photograph.pixels, height, width)
    reduced = resize(truth, height, width) > MASK_FOREGROUND
    found = binariser(thresholds)(probability, height, width)
    return Case(pixels, reduced, found, title)


def draw_cases(rows: Sequence[tuple[str, Sequence[Case]]], file: Path) -> None:
    """Draw rows of cases, each row with its name: truth dashed red, result solid yellow."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = max(len(cases) for _, cases in rows)
    size = (0.35 + columns * WIDTH, len(rows) * HEIGHT + 0.35)
    figure = Figure(figsize=size, layout="constrained")
    places = figure.subplots(len(rows), columns, squeeze=False)
    for (name, cases), axes in zip(rows, places, strict=True):
        for number, place in enumerate(axes):
            place.set(xticks=[], yticks=[])
            place.spines[:].set_visible(False)
            if number < len(cases):
                _draw_case(place, cases[number])
        axes[0].set_ylabel(name, fontsize=9)
    lines = [
        Line2D([], [], color="red", linestyle="dashed", label="truth"),
        Line2D([], [], color="gold", label="result"),
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    save(figure, file)


def _draw_case(axes: "Axes", case: Case) -> None:
    axes.imshow(case.pixels)
    axes.set_title(case.title, fontsize=7, pad=3)
    # Yellow on light skin is lost without an edge; the dashes lie on top, that they stay dashes.
    edge = {"colors": "black", "linewidths": 1.9, "alpha": 0.45}
    _draw_contour(axes, case.found, edge)
    _draw_contour(axes, case.found, RESULT)
    _draw_contour(axes, case.truth, TRUTH)


def _draw_contour(axes: "Axes", mask: Mask, style: dict[str, Any]) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask.astype(np.float32), [0.5], **style)
