"""Time segmenting and training on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from dermseg.cli.console import TRAINING, require, say, show
from dermseg.cli.options import Flat, FlatFlags, Plugins
from dermseg.errors import MissingExtraError, UsageError
from dermseg.settings import DEFAULT_MODEL, DataSettings, TrainingSettings

if TYPE_CHECKING:
    from dermseg.benchmark.plain_loop import PlainLoop
    from dermseg.modelfile.card import ModelCard

app = App(
    name="benchmark",
    help="Time dermseg on this machine.\n\nExample: dermseg benchmark segment --json segment.json",
)


@app.command
def segment(
    photographs: Annotated[list[Path] | None, Parameter(negative=())] = None,
    /,
    *,
    model: str = DEFAULT_MODEL,
    mirror: bool | None = None,
    json: Path | None = None,
    device: str = "cpu",
    plugin: Plugins = (),
) -> int:
    """Time segmenting: one photograph, and a folder.

    It also times decoding and encoding alone and, with dermseg[train], a plain loop as most people
    write it: Pillow, and the model's network in PyTorch.

    Example: dermseg benchmark segment --json segment.json

    Parameters
    ----------
    photographs
        Files or folders; without them, photographs of four sizes are made from an example.
    model
        A shipped model's name, or an .onnx file written by `dermseg export`.
    mirror
        Average the probability over the photograph and its three mirror images: four times the
        network's work. The default is in the model's card.
    json
        JSON file for the numbers.
    device
        cpu, or cuda with onnxruntime-gpu installed.
    plugin
        A module, or a file such as mine.py, that registers the model's network, if it is your own:
        the plain loop needs it.
    """
    from dermseg.benchmark.segmenting import time_segmenting
    from dermseg.inference.segmenter import Segmenter

    segmenter = Segmenter(model, mirror=mirror, device=device)
    plain = _plain_loop(segmenter.card, plugin)
    result = time_segmenting(segmenter, photographs or (), plain)
    if json is not None:
        result.write_json(json)
    show(result)
    return 0


def _plain_loop(card: "ModelCard", plugin: Plugins) -> "PlainLoop | None":
    """Return the loop that a model is compared with; None where it cannot be had, which is said."""
    try:
        require("train", *TRAINING)
        from dermseg.benchmark.plain_loop import PlainLoop
        from dermseg.training import plugins

        plugins.load(plugin)
        return PlainLoop(card)
    except (MissingExtraError, UsageError) as error:
        say(f"no plain loop: {error}")
        return None


@app.command
def train(
    data: Path,
    /,
    *,
    settings: Annotated[TrainingSettings, Flat] = TrainingSettings(),
    steps: int = 20,
    json: Path | None = None,
    data_settings: Annotated[DataSettings, FlatFlags] = DataSettings(),
    plugin: Plugins = (),
) -> int:
    """Time training, the same network in a plain PyTorch loop, and the floor of both.

    The plain loop has PyTorch's defaults: a DataLoader, float32, Adam. The floor is the time of the
    network's own arithmetic, at the speed at which this machine multiplies matrices.

    Example: dermseg benchmark train ISIC-2017/ --height 96 --width 128

    Parameters
    ----------
    data
        Folder laid out like the official archives, or with the folders images and masks.
    steps
        Steps to time; an epoch is extrapolated from them.
    json
        JSON file for the numbers.
    plugin
        A module, or a file such as mine.py, that registers your own network or loss with
        `dermseg.register_network` or `dermseg.register_loss`.
    """
    require("train", *TRAINING)
    from dermseg.training import plugins

    plugins.load(plugin)
    from dermseg.benchmark.training import time_training

    result = time_training(data, settings, data_settings, steps=steps)
    if json is not None:
        result.write_json(json)
    show(result)
    return 0
