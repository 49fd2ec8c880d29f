"""Choose the processor or GPU to train on, and its arithmetic."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dermseg.errors import UsageError
from dermseg.settings import Precision
from dermseg.training import distributed

Pixels = NDArray[np.uint8] | Tensor
"""Images as bytes: memory-mapped, or on the GPU."""
DATA_SHARE = 0.5
"""Share of a GPU's free memory that the images may fill; the network needs the rest."""


@dataclass(frozen=True)
class Device:
    """A processor or GPU, and the arithmetic of the network on it."""

    place: torch.device
    precision: Precision

    @property
    def is_gpu(self) -> bool:
        """Whether this is a GPU. It works asynchronously: steps must not wait for its results."""
        return self.place.type == "cuda"

    @property
    def name(self) -> str:
        """The device's name, for people and model cards."""
        if self.is_gpu:
            return torch.cuda.get_device_name(self.place)
        name = _processor().get("cpu_name") or platform.processor() or platform.machine()
        return f"{name}, {os.cpu_count()} cores"

    def autocast(self) -> torch.amp.autocast_mode.autocast:
        """Return the context in which the network runs."""
        reduced = self.precision == "bfloat16"
        return torch.amp.autocast_mode.autocast(self.place.type, torch.bfloat16, enabled=reduced)

    def hold(self, arrays: Sequence[NDArray[np.uint8]]) -> list[Pixels]:
        """Return `arrays` on the GPU if they fit into half of its free memory, else as they are.

        On a processor they stay memory-mapped.
        """
        size = sum(array.nbytes for array in arrays)
        if not self.is_gpu or size > DATA_SHARE * torch.cuda.mem_get_info(self.place)[0]:
            return list(arrays)
        return [torch.tensor(array, device=self.place) for array in arrays]


def find_device(name: str, precision: Precision) -> Device:
    """Return the device called `name` ("auto" takes a GPU if there is one).

    Of several processes on a machine each takes its own GPU. Raises UsageError for a device that
    is not there: nothing falls back silently.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UsageError(f"unknown device {name!r}; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine has no usable NVIDIA GPU")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(name)
    if name == "cuda" and distributed.size() > 1:
        place = torch.device(name, distributed.local_rank())
        if place.index >= torch.cuda.device_count():
            raise UsageError(
                f"more processes than GPUs: --nproc-per-node is at most {torch.cuda.device_count()}"
            )
        torch.cuda.set_device(place)
    if precision == "auto":
        precision = "bfloat16" if _has_bfloat16(place) else "float32"
    return Device(place, precision)


def _has_bfloat16(place: torch.device) -> bool:
    """Say whether bfloat16 is computed by the hardware: emulated, it is slower than float32."""
    if place.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features = _processor()
    return bool(features.get("avx512_bf16") or features.get("amx_bf16"))


def _processor() -> dict[str, Any]:
    """Return what PyTorch knows of the processor; older versions know nothing."""
    describe = getattr(torch.cpu, "get_capabilities", dict)
    found: dict[str, Any] = describe()
    return found
