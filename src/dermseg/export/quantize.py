"""8-bit arithmetic for a finished graph: smaller files, and several times faster on a processor.

Static quantisation: what ranges the activations have is seen on training images, once; weights get
a scale for each output map. Colour, the first normalisation and the sigmoid stay in floating
point, for a hue or a probability of 256 levels would show.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from dermseg.imaging.images import Pixels
from dermseg.masks.style import STYLE_IDS

QUANTISED = ("Clip", "Conv", "MaxPool", "Resize", "Pad", "Relu")
"""Operators that compute in 8 bits; what stands between two of them hands 8 bits on."""
COARSE_STEP = 16
"""Coarse weights are multiples of this, which leaves four of their eight bits."""
COARSE_FROM = 2**16
"""A layer's weights, in number, from which they may be coarse. In cdnn29 such layers hold 98 % of
all weights; of the others two, near the photograph, would each shift probabilities by more than all
large ones together."""


class _Samples(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is not typed
    """Hands images to the calibration one by one."""

    def __init__(self, names: Sequence[str], images: Pixels) -> None:
        styles = [np.array([style]) for style in STYLE_IDS.values()]
        self._given: Iterator[dict[str, NDArray[Any]]] = iter(
            [
                dict(zip(names, (image[np.newaxis], style), strict=False))
                for image in images
                for style in (styles if len(names) > 1 else styles[:1])
            ]
        )

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next image, in the next style, as the graph's inputs."""
        return next(self._given, None)


@contextmanager
def _quietly() -> Iterator[None]:
    """Hush the advice to prepare the graph first, which has been done."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def quantize(proto: onnx.ModelProto, images: Pixels, *, coarse: bool = False) -> onnx.ModelProto:
    """Return `proto`, which takes uint8 RGB (N, H, W, 3), computing in 8 bits.

    `images`, uint8 (n, H, W, 3), are like those that the model will see. With `coarse` the weights
    of large layers keep four bits of information, for files that are compressed.

    Processors without VNNI instructions add two products in 16 bits, which full weights can
    overflow (onnxruntime issue 5849). Seven bits would not, but cost lite0 its borders;
    `dermseg.inference.session` asks the runtime for arithmetic without overflow instead.
    """
    with TemporaryDirectory() as folder:
        plain, folded, small = (Path(folder) / name for name in ("plain", "folded", "small"))
        onnx.save_model(proto, plain)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            plain, options, providers=["CPUExecutionProvider"]
        )  # writes the graph with its constants folded, which quantisation needs
        with _quietly():
            quantize_static(
                folded,
                small,
                _Samples([entry.name for entry in session.get_inputs()], images),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        quantised = onnx.load(small)
        if coarse:
            _coarsen(quantised)
        return quantised


def _coarsen(proto: onnx.ModelProto) -> None:
    """Round the 8-bit weights of large layers, in place."""
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and np.prod(tensor.dims) >= COARSE_FROM:
            weights = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            rounded = np.rint(weights / COARSE_STEP) * COARSE_STEP
            whole = rounded.clip(-127, 127).astype(np.int8)
            tensor.CopyFrom(onnx.numpy_helper.from_array(whole, tensor.name))
