"""The state of a training on disk: safetensors, never pickle, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor, nn

from dermseg.errors import ModelError
from dermseg.storage.files import DAMAGE, write_bytes

LENGTH = 8
"""Bytes at the beginning of a file that say how long its header, JSON, is."""


def save(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write `tensors` and the JSON-able `facts` to `path`."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Not save_file: it writes aside under a name of its own, which a kill would leave behind.
    content = serialize(contiguous, metadata={"dermseg": json.dumps(facts)})
    write_bytes(path, content)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and facts that `save` wrote; raise ModelError for any other file."""
    try:
        content = path.read_bytes()  # safe_open takes no path that is not UTF-8
        end = LENGTH + int.from_bytes(content[:LENGTH], "little")
        facts = json.loads(content[LENGTH:end])["__metadata__"]["dermseg"]
        return deserialize(content), json.loads(facts)
    except (*DAMAGE, SafetensorError) as error:
        raise ModelError(f"{path}: not a file that dermseg wrote ({error})") from error


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `tensors` with `prefix/` before each name."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return those of `tensors` that `prefixed` made with `prefix`, under their own names."""
    return {
        name.removeprefix(f"{prefix}/"): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}/")
    }


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state as named tensors: "<parameter>/<quantity>"."""
    return {
        f"{index}/{name}": value
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned, in each parameter's own memory layout."""
    parameters: list[nn.Parameter] = optimizer.param_groups[0]["params"]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split("/")
        like = parameters[int(index)]
        if value.shape == like.shape:
            value = torch.empty_like(like, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[name] = value.clone()
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
