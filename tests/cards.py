"""The default model with another card."""

import json
from pathlib import Path

import pytest

from dermseg.modelfile.card import KEY
from dermseg.settings import DEFAULT_MODEL
from dermseg.weights import find_model


def with_card(path: Path, changes: dict[str, object]) -> Path:
    """Write the default model with another card to `path`."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(find_model(DEFAULT_MODEL))
    (entry,) = (entry for entry in model.metadata_props if entry.key == KEY)
    entry.value = json.dumps({**json.loads(entry.value), **changes})
    onnx.save(model, path)
    return path
