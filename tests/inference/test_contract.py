"""Models that keep no contract: refused when they are loaded, or at the first photograph."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dermseg.batch.jobs import find_jobs
from dermseg.batch.run import segment_all
from dermseg.cli.main import main
from dermseg.errors import ModelError
from dermseg.inference.segmenter import Segmenter
from dermseg.modelfile.card import KEY
from dermseg.settings import ThresholdSettings

onnx = pytest.importorskip("onnx")
helper, T = onnx.helper, onnx.TensorProto
SIZE = (16, 32)
GOOD = {
    "input": (T.UINT8, ["N", *SIZE, 3]),
    "output": (T.FLOAT, ["N", *SIZE]),
    "extra": (),
    "twice": False,
    "value": 0.25,
    "card": {},
}


def model(folder: Path, **changes: Any) -> Path:
    """Write a model that gives one value everywhere; `changes` are what it does otherwise."""
    how = {**GOOD, **changes}
    (kind, shape), (out_kind, out_shape) = how["input"], how["output"]
    given = np.array(how["value"], np.float32)
    nodes = [
        helper.make_node("Cast", ["photographs"], ["numbers"], to=T.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["grey"], axes=[-1], keepdims=0),
        helper.make_node("Mul", ["grey", "nothing"], ["black"]),
        helper.make_node("Add", ["black", "value"], ["probability"]),
    ]
    outputs = [helper.make_tensor_value_info("probability", out_kind, out_shape)]
    if len(out_shape) == 4:
        nodes[1] = helper.make_node("Identity", ["numbers"], ["grey"])
    if out_kind != T.FLOAT:
        nodes[3] = helper.make_node("Add", ["black", "value"], ["sum"])
        nodes.append(helper.make_node("Cast", ["sum"], ["probability"], to=out_kind))
    if how["twice"]:
        nodes.append(helper.make_node("Identity", ["probability"], ["more"]))
        outputs.append(helper.make_tensor_value_info("more", T.FLOAT, out_shape))
    inputs = [helper.make_tensor_value_info("photographs", kind, shape)]
    inputs += [helper.make_tensor_value_info(*each) for each in how["extra"]]
    constants = {"nothing": np.array(0, np.float32), "value": given}
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    entry = proto.metadata_props.add()
    card = {"format": 2, "members": [{}], "hours": 0.0, "styles": {}, **how["card"]}
    entry.key, entry.value = KEY, json.dumps(card)
    onnx.save(proto, folder / "made.onnx")
    return folder / "made.onnx"


def test_the_model_itself_is_taken(tmp_path: Path) -> None:
    made = Segmenter(model(tmp_path))
    assert (made.height, made.width) == SIZE
    assert made.probability(np.zeros((48, 64, 3), np.uint8)) == pytest.approx(0.25)


WRONG: dict[str, dict[str, Any]] = {
    "takes float32": {"input": (T.FLOAT, ["N", *SIZE, 3])},
    "takes int32": {"input": (T.INT32, ["N", *SIZE, 3])},
    "takes channels first": {"input": (T.UINT8, ["N", 3, *SIZE]), "output": (T.FLOAT, [*"NCH"])},
    "takes four channels": {"input": (T.UINT8, ["N", *SIZE, 4])},
    "takes a single photograph": {"input": (T.UINT8, [1, *SIZE, 3])},
    "takes any size": {"input": (T.UINT8, ["N", "H", "W", 3]), "output": (T.FLOAT, [*"NHW"])},
    "takes grey": {"input": (T.UINT8, ["N", *SIZE]), "output": (T.FLOAT, ["N", 16])},
    "returns four axes": {"output": (T.FLOAT, ["N", *SIZE, 3])},
    "returns another size": {"output": (T.FLOAT, ["N", 32, 16])},
    "returns float64": {"output": (T.DOUBLE, ["N", *SIZE])},
    "returns float16": {"output": (T.FLOAT16, ["N", *SIZE])},
    "returns two": {"twice": True},
    "takes more": {"extra": [("age", T.INT64, [1])]},
    "takes another style": {"extra": [("style", T.FLOAT, [1])]},
    "takes many styles": {"extra": [("style", T.INT64, [2])]},
}


@pytest.mark.parametrize("how", WRONG)
def test_another_graph_is_refused_when_it_is_loaded(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model(tmp_path, **WRONG[how])
    with pytest.raises(ModelError, match=r"made\.onnx"):
        Segmenter(path)
    photograph = str(Path(__file__).parent.parent.parent / "examples" / "photographs")
    assert main(["segment", photograph, "-o", str(tmp_path / "out"), "--model", str(path)]) == 1
    assert "bug" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.01, 1.01, 255.0])
def test_what_is_no_probability_is_an_error_at_the_first_photograph(
    tmp_path: Path, photograph: Callable[..., Path], value: float
) -> None:
    segmenter = Segmenter(model(tmp_path, value=value))
    with pytest.raises(ModelError, match=r"made\.onnx: gives values that are no probabilities"):
        segmenter.segment(photograph("a.png"))
    (result,) = segment_all(find_jobs([tmp_path / "in"]), segmenter, tmp_path / "out")
    assert "no probabilities" in result.error
    assert not result.bug
    assert not (tmp_path / "out" / "a_segmentation.png").exists()


CALIBRATION: dict[str, Any] = {
    "weights": [0.0] * 6,
    **{name: [0.0, 1.0] for name in ("scores", "jaccard", "low", "high")},
    **dict.fromkeys(("flag_below", "failure", "risk", "certainty", "unflagged"), 0.5),
    **{"images": 300, "inner": 0.9, "outer": 0.1, "within": 0.9},
}
FACTS = {"thresholds": asdict(ThresholdSettings()), "calibration": CALIBRATION, "confidence": None}


def facts(**changes: Any) -> dict[str, Any]:
    return {"styles": {"traced": {**FACTS, **changes}}}


def calibration(**changes: Any) -> dict[str, Any]:
    return facts(calibration={**CALIBRATION, **changes})


CARDS: list[dict[str, Any]] = [
    *({"members": value} for value in ([], {}, None, "x", 3, ["x"], [None], {"a": 1})),
    *({"hours": value} for value in ("x", None, [], {})),
    *({"styles": value} for value in ([], None, "x", 3, {"traced": 3}, {"traced": {"other": 1}})),
    *({"mirror": value} for value in (1, "yes", None, [])),
    *({"arithmetic": value} for value in ("int4", None, [], 8)),
    *({"note": value} for value in (None, 3, [])),
    {"more": 1},
    *(facts(thresholds=value) for value in (None, 3, [], {"high": 3.0}, {"high": "x"}, {"x": 1})),
    *(facts(calibration=value) for value in (3, [], {}, "x")),
    *(calibration(weights=value) for value in ([], [0.0] * 5, None, 3, ["x"] * 6, ["0.5"] * 6)),
    *(calibration(scores=value) for value in ([], [0.0], [0.0, 1.0, 2.0], None)),
    *(calibration(flag_below=value) for value in (None, "x", [], [0.5], float("nan"))),
]


@pytest.mark.parametrize("changes", CARDS)
def test_a_card_of_another_shape_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"made\.onnx"):
        Segmenter(model(tmp_path, card=changes))


def test_the_facts_themselves_are_taken(tmp_path: Path) -> None:
    assert Segmenter(model(tmp_path, card=facts())).says_how_sure


@pytest.mark.parametrize("text", ["", "3", "[]", "null", "[" * 99_999, '{"format": 2}', "{"])
def test_what_is_no_card_is_refused(tmp_path: Path, text: str) -> None:
    proto = onnx.load(model(tmp_path))
    proto.metadata_props[0].value = text
    onnx.save(proto, tmp_path / "made.onnx")
    with pytest.raises(ModelError, match=r"made\.onnx"):
        Segmenter(tmp_path / "made.onnx")
