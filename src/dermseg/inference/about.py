"""What is installed here: versions, the machine, and the shipped models with their cards."""

import platform
import sys
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dermseg import __version__
from dermseg.cores import processor_facts, processor_features, usable_cores
from dermseg.inference.segmenter import Segmenter, usable_devices
from dermseg.weights import MODELS, find_model

PACKAGES = ("numpy", "pillow", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "torch")
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp")
"""What a processor may have that makes networks faster."""


def describe_models() -> dict[str, dict[str, Any]]:
    """Return, for each shipped model: its size, file, digest and card."""
    return {name: _describe_model(name) for name in MODELS}


def _describe_model(name: str) -> dict[str, Any]:
    path = find_model(name)
    segmenter = Segmenter(name)
    return {
        "height": segmenter.height,
        "width": segmenter.width,
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "sha256": sha256(path.read_bytes()).hexdigest(),
        "card": segmenter.card.to_dict(),
    }


def describe_machine() -> dict[str, Any]:
    """Return what computes here: versions, system and processor."""
    return {
        "dermseg": __version__,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "processor": _processor(),
        "cores": usable_cores(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def describe_installation() -> dict[str, Any]:
    """Return versions, processor, the devices that models can run on, and the models."""
    return {
        **describe_machine(),
        "devices": usable_devices(),
        "models": describe_models(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> dict[str, Any]:
    """Return the processor's name and those of FEATURES that it has, where the system says."""
    name = processor_facts().get("model name") or platform.processor() or platform.machine()
    return {"name": name, "features": [each for each in FEATURES if each in processor_features()]}
