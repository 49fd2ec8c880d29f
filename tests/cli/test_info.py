"""What `models` and `info` say."""

import json

import pytest

from dermseg import __version__
from dermseg.cli.main import main
from dermseg.settings import DEFAULT_MODEL
from dermseg.weights import MODELS


def test_models_are_listed_with_their_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(MODELS)
    assert sum(line.endswith(", the default") for line in lines) == 1


def test_models_as_json_hold_digest_and_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    model = json.loads(capsys.readouterr().out)[DEFAULT_MODEL]
    assert len(model["sha256"]) == 64
    assert model["card"]["members"][0]["settings"]["height"] == model["height"]


def test_info_names_version_processor_and_devices(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"dermseg {__version__},")
    assert "models run on: cpu" in text


def test_info_as_json_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["cores"] >= 1
    assert "cpu" in found["devices"]
    assert found["packages"]["onnxruntime"]
    assert found["models"].keys() == MODELS.keys()
