"""From finished trainings to one ONNX file: the contract between making and using a model.

The graph takes uint8 RGB (N, H, W, 3) and returns the probability of lesion, float32 (N, H, W).
Colour conversion and sigmoid are inside, the same modules that training used, and so are all the
members of an ensemble. Weights are stored in half precision, or in eight bits with a scale for each
output map, which makes the file two or four times smaller; the arithmetic stays float32.
"""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dermseg.errors import ModelError, UsageError
from dermseg.files import written_whole
from dermseg.images import Pixels, read_photograph, resize
from dermseg.segmenter import CARD
from dermseg.settings import CHANNEL_COUNT, Channels, Storage, TrainingSettings
from dermseg.training import checkpoints, networks
from dermseg.training.color import ColorChannels
from dermseg.training.runs import SAMPLES, WEIGHTS, find_members

TOLERANCE = 1e-4
"""Largest difference in probability between the written file and PyTorch."""
SHRUNK = 1024
"""Tensors with at least this many numbers are stored in fewer bits."""
STEPS = 127
"""Eight-bit weights are whole multiples, -127 to 127, of their output map's scale."""


@dataclass(frozen=True)
class Member:
    """A trained network with its settings, and the facts of its training."""

    network: nn.Module
    settings: TrainingSettings
    facts: dict[str, Any]


class EndToEnd(nn.Module):
    """Everything in one: uint8 RGB (N, H, W, 3) to the probability of lesion (N, H, W).

    Of several networks the probabilities are averaged (paper, section III-B: a bagging-type
    ensemble), each with its share of `shares`, which sum to one.
    """

    def __init__(
        self, networks: Sequence[nn.Module], channels: Sequence[Channels], shares: Sequence[float]
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.colors = nn.ModuleDict({name: ColorChannels(name) for name in channels})
        self.channels = list(channels)
        self.shares = list(shares)

    def forward(self, photographs: Tensor) -> Tensor:
        """Return the probability of lesion."""
        rgb = photographs.permute(0, 3, 1, 2).to(torch.float32) / 255
        inputs = {name: color(rgb) for name, color in self.colors.items()}
        probability: Tensor | None = None
        for network, channels, share in zip(self.networks, self.channels, self.shares, strict=True):
            part = network(inputs[channels]).sigmoid() * share
            probability = part if probability is None else probability + part
        assert probability is not None  # there is at least one network
        return probability


def load_run(run: Path, storage: Storage = "float16") -> Member:
    """Return the trained network of the folder `run`.

    Batch norms are folded into the convolutions before them, and large weights are then rounded to
    what `storage` can hold.
    """
    tensors, facts = checkpoints.load(run / WEIGHTS)
    settings = TrainingSettings.from_dict(facts["settings"])
    channels = CHANNEL_COUNT[settings.channels]
    network = networks.build(settings.network, channels, settings.dropout)
    network.load_state_dict(tensors)
    _fold_norms(network.eval())
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() >= SHRUNK:
                weights = parameter.numpy()
                if storage == "float16":
                    rounded = weights.astype(np.float16).astype(np.float32)
                else:
                    whole, scale = eight_bits(weights)
                    rounded = whole * scale
                parameter.copy_(torch.from_numpy(rounded))
    return Member(network.eval(), settings, facts)


def _fold_norms(module: nn.Module) -> None:
    """Fold each batch norm that directly follows a convolution into it.

    The exporter would do so too, but on weights that are already rounded.
    """
    previous: tuple[str, nn.Module] | None = None
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d) and previous and isinstance(previous[1], nn.Conv2d):
            setattr(module, previous[0], fuse_conv_bn_eval(previous[1], child))
            setattr(module, name, nn.Identity())
        else:
            _fold_norms(child)
        previous = name, child


def eight_bits(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return `weights`, (outputs, ...), as int8 of that shape and the scale of each output map.

    Their product is within half a scale of the weights.
    """
    largest = np.abs(weights).max(tuple(range(1, weights.ndim)), keepdims=True)
    scale = np.where(largest > 0, largest / STEPS, 1).astype(np.float32)
    return (weights / scale).round().clip(-STEPS, STEPS).astype(np.int8), scale


def export(
    folders: Sequence[Path],
    file: Path,
    *,
    storage: Storage = "float16",
    shares: Sequence[float] = (),
    photographs: Sequence[Path] = (),
) -> float:
    """Write what was trained in `folders`, runs or protocols, as one model: the ONNX `file`.

    Several networks become an ensemble; `shares` weigh the folders, equally unless given, and
    within a folder all networks weigh the same. The file is checked against PyTorch on training
    images that the runs kept, on random pixels and on `photographs` before it takes its name.

    Returns the largest difference in probability that was seen. Raises ModelError if it exceeds
    TOLERANCE, if a training is not finished or if the networks' sizes differ.
    """
    if file.suffix != ".onnx":
        raise UsageError(f"{file}: the name of a model ends in .onnx")
    runs = [find_members(folder) for folder in folders]
    members = [load_run(run, storage) for found in runs for run in found]
    parts = _normalised(shares or [1.0] * len(folders), len(folders))
    each = [part / len(found) for part, found in zip(parts, runs, strict=True) for _ in found]
    sizes = {(member.settings.height, member.settings.width) for member in members}
    if len(sizes) > 1:
        listed = ", ".join(f"{height} x {width}" for height, width in sorted(sizes))
        raise ModelError(f"{file}: the networks of an ensemble have one size, not {listed}")
    ((height, width),) = sizes
    model = EndToEnd(
        [member.network for member in members],
        [member.settings.channels for member in members],
        each,
    ).eval()
    kept: Pixels = np.load(runs[0][0] / SAMPLES)
    samples = np.concatenate([kept, _samples(photographs, height, width)])
    proto = _to_onnx(model, samples[:2])
    _shrink_weights(proto, storage)
    with written_whole(file) as temporary:
        entry = proto.metadata_props.add()
        entry.key, entry.value = CARD, json.dumps(_card(members, each, storage))
        onnx.checker.check_model(proto)
        onnx.save_model(proto, temporary)
        difference = _difference(model, temporary, samples)
        if not difference <= TOLERANCE:  # which is also so if it is no number
            raise ModelError(
                f"{file}: not written, since it differs from PyTorch by {difference:.2g} "
                f"in probability (at most {TOLERANCE:g} is allowed)"
            )
    return difference


def _normalised(shares: Sequence[float], folders: int) -> list[float]:
    if len(shares) != folders:
        raise UsageError(f"{len(shares)} shares for {folders} folders: give one for each")
    total = sum(shares)
    if min(shares) < 0 or not 0 < total < float("inf"):
        raise UsageError("shares cannot be negative, and one of them must be above 0")
    return [share / total for share in shares]


def _card(members: Sequence[Member], shares: Sequence[float], storage: Storage) -> dict[str, Any]:
    """Return what the file says of itself: the facts of its training, or of each member's."""
    if len(members) == 1:
        return {**members[0].facts, "storage": storage}
    parts = [
        {**member.facts, "share": round(share, 6)}
        for member, share in zip(members, shares, strict=True)
    ]
    hours = round(sum(part.get("hours", 0) for part in parts), 3)
    return {"members": parts, "hours": hours, "storage": storage}


def _to_onnx(model: nn.Module, example: Pixels) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch's exporter uses its own old names
        program = torch.onnx.export(
            model,
            (torch.from_numpy(example),),
            input_names=["photographs"],
            output_names=["probability"],
            dynamic_shapes={"photographs": {0: torch.export.Dim("N")}},
            dynamo=True,
            optimize=False,  # the runtime does so when it loads the file
            verbose=False,
        )
    assert program is not None  # it is None only when a file is given
    proto: onnx.ModelProto = program.model_proto
    return proto


def _samples(photographs: Sequence[Path], height: int, width: int) -> Pixels:
    """Return uint8 (n, height, width, 3): two pictures of random pixels, and the photographs."""
    random = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    real = [
        resize(read_photograph(p, at_least=(height, width)).pixels, height, width)
        for p in photographs
    ]
    return np.stack([*random, *real])


def _shrink_weights(proto: onnx.ModelProto, storage: Storage) -> None:
    """Store large float32 weights in fewer bits, with nodes that the runtime folds away.

    Not DequantizeLinear for eight bits: the runtime would keep it, and run it for each photograph.
    """
    graph = proto.graph
    nodes = []
    for tensor in [t for t in graph.initializer if _is_large(t)]:
        name, weights = tensor.name, onnx.numpy_helper.to_array(tensor)
        small = f"{name}.{storage}"
        if storage == "float16":
            tensor.CopyFrom(onnx.numpy_helper.from_array(weights.astype(np.float16), small))
            nodes.append(_to_float(small, name))
            continue
        whole, scale = eight_bits(weights)
        tensor.CopyFrom(onnx.numpy_helper.from_array(whole, small))
        graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}.scale"))
        nodes.append(_to_float(small, f"{name}.whole"))
        nodes.append(onnx.helper.make_node("Mul", [f"{name}.whole", f"{name}.scale"], [name]))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)


def _is_large(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == onnx.TensorProto.FLOAT and int(np.prod(tensor.dims)) >= SHRUNK


def _to_float(before: str, after: str) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [before], [after], to=onnx.TensorProto.FLOAT)


def _difference(model: nn.Module, file: Path, samples: NDArray[np.uint8]) -> float:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    differences = []
    for sample in samples:
        (found,) = session.run(None, {session.get_inputs()[0].name: sample[np.newaxis]})
        with torch.inference_mode():
            expected = model(torch.from_numpy(sample[np.newaxis])).numpy()
        differences.append(np.abs(found - expected).max())
    return float(np.max(differences))  # no number, if any probability was none
