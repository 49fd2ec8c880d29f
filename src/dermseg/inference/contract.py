"""What a model's graph takes and returns; a graph that does otherwise is no model of dermseg's.

A graph takes uint8 RGB, N x H x W x 3, and perhaps a style, int64 (1,). It returns the probability
of lesion, float32, N x H x W, 0 to 1.
"""

from dataclasses import dataclass

import numpy as np
import onnxruntime

from dermseg.errors import ModelError
from dermseg.masks.postprocess import Probability

STYLE_INPUT = "style"
"""The input of a graph whose network knows styles: one of STYLE_IDS."""
TOLERANCE = 1e-5
"""By which the mean of several networks may be above 1."""


@dataclass(frozen=True)
class Contract:
    """The names of a graph's inputs, and the size that it works at; `style` is "" without one."""

    photographs: str
    style: str
    height: int
    width: int

    @classmethod
    def of(cls, session: onnxruntime.InferenceSession) -> "Contract":
        """Read a graph's inputs and outputs; raise ValueError, which says what is wrong."""
        (first, *others), outputs = session.get_inputs(), session.get_outputs()
        height, width = _size(first)
        for other in others:
            if (other.name, other.type, other.shape) != (STYLE_INPUT, "tensor(int64)", [1]):
                raise ValueError(f"its input {other.name} is none that is known")
        if len(outputs) != 1:
            raise ValueError(f"it has {len(outputs)} outputs")
        (output,) = outputs
        fixed = [side for side in output.shape if isinstance(side, int)]
        if output.type != "tensor(float)" or len(output.shape) != 3 or fixed != [height, width]:
            raise ValueError(f"its output is {output.type} of {output.shape}")
        return cls(first.name, others[0].name if others else "", height, width)


def _size(entry: onnxruntime.NodeArg) -> tuple[int, int]:
    """Return the (height, width) of photographs that a graph takes."""
    sides = [side for side in entry.shape if isinstance(side, int)]
    fits = len(entry.shape) == 4 and len(sides) == 3 and entry.shape[-1] == 3 and min(sides) > 0
    if not fits or entry.type != "tensor(uint8)":
        raise ValueError(f"its input is {entry.type} of {entry.shape}")
    return sides[0], sides[1]


def run(
    session: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray], shape: tuple[int, ...]
) -> Probability:
    """Return the probability, float32 (n, h, w) of `shape`, that a graph gives.

    Raises ModelError, without the model's name, if it gives anything else or fails.
    """
    try:
        (maps,) = session.run(None, inputs)
    except Exception as error:  # onnxruntime's errors have no common base but this
        if type(error).__module__.startswith("onnxruntime"):
            raise ModelError(f"cannot be computed ({error})") from error
        raise
    if maps.shape != shape:
        raise ModelError(f"gives {maps.shape} in place of {shape}")
    if not (maps.min() >= 0 and maps.max() <= 1 + TOLERANCE):  # nor is it NaN
        raise ModelError("gives values that are no probabilities, 0 to 1")
    probability: Probability = maps
    return probability
