"""Models for `torch.hub.load`: each entry returns a `dermseg.Segmenter`, ready to segment.

    segmenter = torch.hub.load("PATH/OF/dermseg", "lite0", source="local")
    mask = segmenter.segment("photograph.jpg").mask

Options of `dermseg.Segmenter` are passed on. It runs on ONNX Runtime; torch only fetches it.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent / "src"))  # unless dermseg is installed

import dermseg

dependencies = ["cv2", "numpy", "onnxruntime", "PIL"]


def lite0(**settings: Any) -> "dermseg.Segmenter":
    """Return the default model: an EfficientNet-Lite0 that started from ImageNet."""
    return dermseg.Segmenter("lite0", **settings)


def lite0_ensemble(**settings: Any) -> "dermseg.Segmenter":
    """Return six networks like lite0, with mirror averaging."""
    return dermseg.Segmenter("lite0-ensemble", **settings)


def cdnn29(**settings: Any) -> "dermseg.Segmenter":
    """Return the paper's network."""
    return dermseg.Segmenter("cdnn29", **settings)


def cdnn29_ensemble(**settings: Any) -> "dermseg.Segmenter":
    """Return six of the paper's networks."""
    return dermseg.Segmenter("cdnn29-ensemble", **settings)
