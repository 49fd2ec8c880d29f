"""The channels that the network sees, their contrast normalised (paper, Figure 1)."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dermseg.data.layouts import Pair, find_pairs, read_facts
from dermseg.experiments.figures.drawing import save
from dermseg.experiments.findings import Findings
from dermseg.experiments.study import Study
from dermseg.imaging.images import Pixels, resize
from dermseg.imaging.photographs import image_size, read_photograph
from dermseg.training.color import ColorChannels

NAMES = ("red", "green", "blue", "hue", "saturation", "value", "lightness")
WINDOW = (5, 95)
"""Percentiles that become black and white."""
SIDE = 320
"""Longest side of each picture, in pixels; its shape is the mask's."""


def measure(study: Study) -> Findings:
    """Draw the first melanoma's photograph, or the first one's where no diagnosis is known."""
    pair = _choose(study.data)
    figure = study.output / f"{study.name}.png"
    height, width = image_size(pair.mask)
    scale = SIDE / max(height, width)
    size = round(height * scale), round(width * scale)
    photograph = read_photograph(pair.photograph, at_least=size)
    draw(resize(photograph.pixels, *size), figure)
    note = (
        f"{pair.image_id}: the photograph, and its seven channels, each with its 5th to 95th "
        "percentile stretched from black to white. Hue is a circle cut at red, where skin lies."
    )
    return Findings({}, [], [figure], [note])


def _choose(data: Path) -> Pair:
    pairs = find_pairs(data)
    groups = read_facts(data, pairs)
    melanomas = (p for p in pairs if groups.get(p.image_id, {}).get("diagnosis") == "melanoma")
    return next(melanomas, pairs[0])


def normalised(pixels: Pixels) -> NDArray[np.float32]:
    """Return the channels of uint8 RGB (h, w, 3), float32 (7, h, w), stretched to 0..1."""
    rgb = torch.from_numpy(pixels.transpose(2, 0, 1)[np.newaxis].copy()).float() / 255
    found = ColorChannels("rgb-hsv-l")(rgb)[0].numpy()
    low, high = np.percentile(found, WINDOW, axis=(1, 2), keepdims=True)
    stretched: NDArray[np.float32] = (found - low) / np.maximum(high - low, 1e-6)
    return stretched.clip(0, 1).astype(np.float32)


def draw(pixels: Pixels, file: Path) -> None:
    """Draw a photograph and its channels, two rows of four."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.7), layout="constrained")
    places = figure.subplots(2, 4).ravel()
    places[0].imshow(pixels)
    places[0].set_title("photograph", fontsize=10)
    for axes, name, channel in zip(places[1:], NAMES, normalised(pixels), strict=True):
        axes.imshow(channel, cmap="gray", vmin=0, vmax=1)
        axes.set_title(name, fontsize=10)
    for axes in places:
        axes.set(xticks=[], yticks=[])
    save(figure, file)
