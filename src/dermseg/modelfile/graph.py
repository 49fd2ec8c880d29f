"""The ONNX graph in a model's file: its weights, and each member of an ensemble, read back.

No PyTorch: what `dermseg.export` writes and `dermseg.training.fine_tuning` reads is defined here.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from dermseg.errors import ModelError
from dermseg.modelfile.card import KEY, ModelCard

HALVED = 1024
"""Tensors with at least this many numbers are stored in half precision."""
HALF = ".half"
"""Ends the name of such a tensor."""
Tensors = dict[str, NDArray[np.float32]]


def read_model(file: Path) -> tuple[onnx.ModelProto, ModelCard]:
    """Return a model file's graph and card; ModelError if `dermseg export` did not write it."""
    try:
        proto = onnx.load(file)
        text = next(entry.value for entry in proto.metadata_props if entry.key == KEY)
    except Exception as error:  # protobuf's own errors are of no common kind
        raise ModelError(f"{file}: no model that `dermseg export` wrote") from error
    return proto, ModelCard.from_json(text, file)


def input_shape(proto: onnx.ModelProto) -> tuple[int, int]:
    """Return the (height, width) that a model's networks see."""
    height, width = proto.graph.input[0].type.tensor_type.shape.dim[1:3]
    return int(height.dim_value), int(width.dim_value)


def put_card(proto: onnx.ModelProto, card: ModelCard) -> None:
    """Give a graph its card, in place of the one that it may have."""
    others = [entry for entry in proto.metadata_props if entry.key != KEY]
    del proto.metadata_props[:]
    proto.metadata_props.extend(others)
    entry = proto.metadata_props.add()
    entry.key, entry.value = KEY, card.to_json()


def halve_weights(proto: onnx.ModelProto) -> None:
    """Store large float32 weights as float16, each with a cast that the runtime folds away."""
    graph = proto.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or np.prod(tensor.dims) < HALVED:
            continue
        name = tensor.name
        half = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, name + HALF))
        casts.append(helper.make_node("Cast", [name + HALF], [name], to=onnx.TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)


def member_tensors(proto: onnx.ModelProto, index: int) -> Tensors:
    """Return the weights of a graph's network `index`, by their names in it, as float32."""
    prefix = _prefix(index)
    stored = {
        tensor.name.removeprefix(prefix): numpy_helper.to_array(tensor)
        for tensor in proto.graph.initializer
        if tensor.name.startswith(prefix)
    }
    return dict(_decoded(stored))


def _prefix(index: int) -> str:
    return f"networks.{index}."


def _decoded(stored: dict[str, NDArray[np.generic]]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Undo how weights are stored: in half precision, or in 8 and 32 bits with a scale a map."""
    for name, array in stored.items():
        values = array.astype(np.float64)
        own = name.removesuffix(HALF)
        if name.endswith("_quantized"):
            own = name.removesuffix("_quantized")
            scaled = name if f"{name}_scale" in stored else own
            along = (-1, *[1] * (array.ndim - 1))
            zero = stored[f"{scaled}_zero_point"].astype(np.float64).reshape(along)
            scale = stored[f"{scaled}_scale"].astype(np.float64).reshape(along)
            values = (values - zero) * scale
        elif name.endswith(("_scale", "_zero_point")):
            of = name.removesuffix("_zero_point").removesuffix("_scale").removesuffix("_quantized")
            if f"{of}_quantized" in stored:  # else a network's own, called so
                continue
        yield own, values.astype(np.float32)


def member_model(proto: onnx.ModelProto, index: int) -> onnx.ModelProto:
    """Return the model of an ensemble's network `index` alone, with the same inputs and output."""
    graph = proto.graph
    producers = {name: node for node in graph.node for name in node.output}
    # A network may have sigmoids inside, too; what it puts out comes after them.
    for last in reversed([node for node in graph.node if node.op_type == "Sigmoid"]):
        nodes, read = _ancestors(last, producers)
        if any(name.startswith(_prefix(index)) for name in read):
            break
    else:
        raise ModelError(f"the graph has no network {index}")
    alone = onnx.ModelProto()
    alone.CopyFrom(proto)
    del alone.graph.node[:], alone.graph.initializer[:], alone.graph.value_info[:]
    (output,) = graph.output
    alone.graph.node.extend(node for node in graph.node if id(node) in nodes)
    alone.graph.node.append(helper.make_node("Identity", [last.output[0]], [output.name]))
    alone.graph.initializer.extend(each for each in graph.initializer if each.name in read)
    return alone


def _ancestors(
    last: onnx.NodeProto, producers: dict[str, onnx.NodeProto]
) -> tuple[set[int], set[str]]:
    """Return the ids of the nodes that `last` depends on, itself too, and all that they read."""
    nodes, read, waiting = {id(last)}, set[str](), [*last.input]
    while waiting:
        name = waiting.pop()
        read.add(name)
        node = producers.get(name)
        if node is not None and id(node) not in nodes:
            nodes.add(id(node))
            waiting.extend(node.input)
    return nodes, read
