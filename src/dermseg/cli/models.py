"""List the shipped models."""

from typing import Annotated, Any

from cyclopts import Parameter

from dermseg.cli.console import show, show_json
from dermseg.settings import DEFAULT_MODEL


def models(*, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """List the models that come with dermseg.

    Example: dermseg models --json

    Parameters
    ----------
    json
        Print everything, with the models' cards, as JSON.
    """
    described = describe_models()
    if json:
        show_json(described)
        return 0
    for name, model in described.items():
        default = ", the default" if name == DEFAULT_MODEL else ""
        size = f"{model['height']} x {model['width']}"
        show(f"{name}: {size}, {model['megabytes']} MB{default}")
    return 0


def describe_models() -> dict[str, dict[str, Any]]:
    """Return, for each shipped model: its size, file, digest and card."""
    from dermseg.weights import MODELS

    return {name: _describe_model(name) for name in MODELS}


def _describe_model(name: str) -> dict[str, Any]:
    from dermseg.inference.segmenter import Segmenter
    from dermseg.weights import find_model

    path = find_model(name)
    segmenter = Segmenter(name)
    return {
        "height": segmenter.height,
        "width": segmenter.width,
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "sha256": segmenter.sha256,
        "card": segmenter.card.to_dict(),
    }
