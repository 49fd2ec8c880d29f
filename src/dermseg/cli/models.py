"""List the shipped models."""

from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import print_json
from dermseg.settings import DEFAULT_MODEL


def models(*, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """List the models that come with dermseg.

    Example: dermseg models --json

    Parameters
    ----------
    json
        Print everything, with the models' cards, as JSON.
    """
    from dermseg.inference.about import describe_models

    described = describe_models()
    if json:
        print_json(described)
        return 0
    for name, model in described.items():
        default = ", the default" if name == DEFAULT_MODEL else ""
        size = f"{model['height']} x {model['width']}"
        print(f"{name}: {size}, {model['megabytes']} MB{default}")
    return 0
