"""From a finished training to one ONNX file: the contract between making and using a model.

The graph takes uint8 RGB (N, H, W, 3) and returns the probability of lesion, float32 (N, H, W).
Colour conversion and sigmoid are inside, the same modules that training used. Weights are stored
in half precision, which halves the file; the arithmetic stays float32.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dermseg.errors import ModelError, UsageError
from dermseg.files import written_whole
from dermseg.images import Pixels, read_photograph, resize
from dermseg.segmenter import CARD
from dermseg.settings import CHANNEL_COUNT, TrainingSettings
from dermseg.training import checkpoints, networks
from dermseg.training.color import ColorChannels
from dermseg.training.loop import SAMPLES, WEIGHTS

TOLERANCE = 1e-4
"""Largest difference in probability between the written file and PyTorch."""
HALVED = 1024
"""Tensors with at least this many numbers are stored in half precision."""


class EndToEnd(nn.Module):
    """Colour, network and sigmoid in one: uint8 RGB (N, H, W, 3) to probability (N, H, W)."""

    def __init__(self, color: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.color = color
        self.network = network

    def forward(self, photographs: Tensor) -> Tensor:
        """Return the probability of lesion."""
        rgb = photographs.permute(0, 3, 1, 2).to(torch.float32) / 255
        probability: Tensor = self.network(self.color(rgb)).sigmoid()
        return probability


def load_run(run: Path) -> tuple[EndToEnd, TrainingSettings, dict[str, Any]]:
    """Return the trained model of the folder `run`, its settings, and the facts of its training.

    Large weights are rounded to half precision, as they will be stored.
    """
    for name in (WEIGHTS, SAMPLES):
        if not (run / name).is_file():
            raise ModelError(f"{run}: holds no finished training ({name} is missing)")
    tensors, facts = checkpoints.load(run / WEIGHTS)
    settings = TrainingSettings.from_dict(facts["settings"])
    channels = CHANNEL_COUNT[settings.channels]
    network = networks.build(settings.network, channels, settings.dropout)
    network.load_state_dict(tensors)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() >= HALVED:
                parameter.copy_(parameter.half().float())
    return EndToEnd(ColorChannels(settings.channels), network).eval(), settings, facts


def export(run: Path, file: Path, photographs: Sequence[Path] = ()) -> float:
    """Write the model of the folder `run` to the ONNX `file`.

    The file is checked against PyTorch on training images that the run kept, on random pixels and
    on `photographs` before it takes its name. Returns the largest difference in probability that
    was seen; raises ModelError if it exceeds TOLERANCE.
    """
    if file.suffix != ".onnx":
        raise UsageError(f"{file}: the name of a model ends in .onnx")
    model, settings, facts = load_run(run)
    kept: Pixels = np.load(run / SAMPLES)
    samples = np.concatenate([kept, _samples(photographs, settings.height, settings.width)])
    proto = _to_onnx(model, samples[:2])
    with written_whole(file) as temporary:
        entry = proto.metadata_props.add()
        entry.key, entry.value = CARD, json.dumps(facts)
        onnx.checker.check_model(proto)
        onnx.save_model(proto, temporary)
        difference = _difference(model, temporary, samples)
        if not difference <= TOLERANCE:  # which is also so if it is no number
            raise ModelError(
                f"{file}: not written, since it differs from PyTorch by {difference:.2g} "
                f"in probability (at most {TOLERANCE:g} is allowed)"
            )
    return difference


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
            optimize=False,  # it would fold batch norms into weights that are already rounded
            verbose=False,
        )
    assert program is not None  # it is None only when a file is given
    proto: onnx.ModelProto = program.model_proto
    _halve_weights(proto)
    return proto


def _samples(photographs: Sequence[Path], height: int, width: int) -> Pixels:
    """Return uint8 (n, height, width, 3): two pictures of random pixels, and the photographs."""
    random = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    real = [
        resize(read_photograph(p, at_least=(height, width)).pixels, height, width)
        for p in photographs
    ]
    return np.stack([*random, *real])


def _halve_weights(proto: onnx.ModelProto) -> None:
    """Store large float32 weights as float16, each with a cast that the runtime folds away."""
    graph = proto.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < HALVED:
            continue
        name = tensor.name
        half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}.half"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)


def _difference(model: nn.Module, file: Path, samples: NDArray[np.uint8]) -> float:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    differences = []
    for sample in samples:
        (found,) = session.run(None, {session.get_inputs()[0].name: sample[np.newaxis]})
        with torch.inference_mode():
            expected = model(torch.from_numpy(sample[np.newaxis])).numpy()
        differences.append(np.abs(found - expected).max())
    return float(np.max(differences))  # no number, if any probability was none
