"""Print what is installed."""

from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import show, show_json
from dermseg.settings import DEFAULT_MODEL


def info(*, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Print what is installed: versions, processor, devices, models.

    Example: dermseg info --json

    Parameters
    ----------
    json
        Print everything, with the models' cards, as JSON.
    """
    from dermseg.cli.models import describe_models
    from dermseg.inference.session import usable_devices
    from dermseg.machine import describe_machine

    described = {**describe_machine(), "devices": usable_devices(), "models": describe_models()}
    if json:
        show_json(described)
        return 0
    packages = ", ".join(f"{name} {found}" for name, found in described["packages"].items())
    processor = described["processor"]
    show(f"dermseg {described['dermseg']}, Python {described['python']}, {described['system']}")
    show(f"packages: {packages}")
    show(
        f"processor: {processor['name']}, {described['cores']} cores, "
        f"{' '.join(processor['features'])}"
    )
    show(f"models run on: {', '.join(described['devices'])}")
    show(f"models: {', '.join(described['models'])} (default {DEFAULT_MODEL})")
    return 0
