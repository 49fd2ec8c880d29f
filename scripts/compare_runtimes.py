#!/usr/bin/env python
"""Time ONNX Runtime against OpenVINO on the shipped models, one photograph on one thread.

    scripts/compare_runtimes.py results/benchmarks/runtimes-MACHINE.json

Needs `pip install openvino` beside dermseg. The two take turns, so that what else the machine does
slows both; milliseconds are medians. `difference` is the largest in probability.
"""

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from timeit import timeit
from typing import Any

import numpy as np
import openvino

from dermseg.imaging.images import resize
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.segmenter import open_session
from dermseg.machine import describe_machine
from dermseg.storage.files import write_json
from dermseg.weights import MODELS, find_model

PHOTOGRAPH = Path(__file__).parent.parent / "examples" / "photographs" / "ISIC_0003582.jpg"
ROUNDS = 40
OPTIONS = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}


def main(output: Path) -> None:
    """Time all models, and write the file."""
    machine = describe_machine()
    result = {
        "machine": f"{machine['processor']['name']}, {machine['cores']} cores",
        "onnxruntime": version("onnxruntime"),
        "openvino": version("openvino"),
        "models": {name: compare(find_model(name)) for name in MODELS},
    }
    write_json(output, result)
    print(json.dumps(result, indent=1))


def compare(model: Path) -> dict[str, Any]:
    """Return what both take to open a model, and for a photograph, in milliseconds."""
    began = time.perf_counter()
    session = open_session(model, "cpu")
    opened = time.perf_counter()
    compiled = openvino.Core().compile_model(model, "CPU", OPTIONS)
    ended = time.perf_counter()
    (entry,) = session.get_inputs()
    height, width = entry.shape[1:3]
    pixels = resize(read_photograph(PHOTOGRAPH).pixels, height, width)[np.newaxis]
    request = compiled.create_infer_request()
    ways: dict[str, Callable[[], Any]] = {
        "onnxruntime": lambda: session.run(None, {entry.name: pixels})[0],
        "openvino": lambda: request.infer([pixels])[0],
    }
    found = {name: way().copy() for name, way in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            times[name].append(timeit(way, number=1))
    return {
        "open": {"onnxruntime": 1000 * (opened - began), "openvino": 1000 * (ended - opened)},
        "photograph": {name: 1000 * median(each) for name, each in times.items()},
        "difference": float(np.abs(found["onnxruntime"] - found["openvino"]).max()),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
