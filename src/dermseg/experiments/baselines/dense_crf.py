"""A dense CRF after a network (paper, section V: tried, and discarded)."""

from functools import lru_cache

import numpy as np
import torch

from dermseg.experiments.baselines.baseline import Parameters
from dermseg.imaging.images import Pixels
from dermseg.masks.postprocess import Probability
from dermseg.training.networks.crf import DenseCRF

CERTAIN = 1e-4
"""Probabilities are kept this far from 0 and 1, whose logits are endless."""
SOURCE = "Kraehenbuehl & Koltun 2011; the paper, section V"
CANDIDATES: list[Parameters] = [
    {"place": place, "color": color, "bilateral": bilateral}
    for place in (0.1, 0.3)
    for color in (0.05, 0.1)
    for bilateral in (0.3, 1.0, 3.0)
]
"""What is tried: widths of the bilateral kernel in place and colour, and its weight in logits."""


def refine(
    pixels: Pixels, probability: Probability, *, place: float, color: float, bilateral: float
) -> Probability:
    """Return a network's `probability` (h, w) after `DenseCRF` on uint8 RGB `pixels` (h, w, 3)."""
    clipped = torch.from_numpy(probability.clip(CERTAIN, 1 - CERTAIN))
    rgb = torch.from_numpy(pixels.transpose(2, 0, 1)).float() / 255
    with torch.inference_mode():
        logits = _field(place, color, bilateral)(clipped.logit()[np.newaxis], rgb[np.newaxis])
    found: Probability = logits[0].sigmoid().numpy()
    return found


@lru_cache(maxsize=len(CANDIDATES))
def _field(place: float, color: float, bilateral: float) -> DenseCRF:
    return DenseCRF(place=place, color=color, bilateral=bilateral)
