"""Describe this machine: its processor, its system, and the installed versions."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dermseg import __version__
from dermseg.cores import processor_facts, processor_features, usable_cores

PACKAGES = ("numpy", "pillow", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "torch")
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "asimddp")
"""What a processor may have that makes networks faster."""


def describe_machine() -> dict[str, Any]:
    """Return versions, system and processor; the values are JSON's."""
    return {
        "dermseg": __version__,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "processor": _processor(),
        "cores": usable_cores(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
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
