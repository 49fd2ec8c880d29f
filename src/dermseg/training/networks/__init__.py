"""The networks that dermseg can train, by name. One file each."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dermseg.errors import UsageError
from dermseg.settings import TrainingSettings
from dermseg.training import plugins
from dermseg.training.networks.cdnn19 import CDNN19
from dermseg.training.networks.cdnn29 import CDNN29
from dermseg.training.networks.crf import CDNN29CRF
from dermseg.training.networks.fcrn import FCRN
from dermseg.training.networks.lite0 import Lite0
from dermseg.training.networks.multistage import Multistage
from dermseg.training.networks.unet import UNet

NETWORKS: dict[str, Callable[[int, float], nn.Module]] = {
    "cdnn19": CDNN19,
    "cdnn29": CDNN29,
    "cdnn29-crf": CDNN29CRF,
    "fcrn": FCRN,
    "lite0": Lite0,
    "multistage": Multistage,
    "unet": UNet,
}
"""Name to constructor, called with (input channels, dropout probability).

A network takes (N, channels, H, W) in 0..1 and returns logits (N, H, W).
"""
BUILT_IN = frozenset(NETWORKS)
"""Names that no network of one's own may have."""
STYLED = frozenset({"lite0"})
"""Networks that also take a style of outline for each image, (N,), as ids of `masks.style`.

Without it they draw as for no style in particular."""
STRIDES = {"fcrn": 32, "lite0": 32}
"""Networks that need height and width to be multiples of more than the settings ask for."""


def register_network(
    name: str, constructor: Callable[[int, float], nn.Module], *, stride: int = 16
) -> None:
    """Let trainings use your own network, in place of an earlier one that you gave this name.

    Parameters
    ----------
    name
        Its name in `TrainingSettings.network` and `--network`.
    constructor
        Called with the number of input channels (3 or 7) and the dropout probability. Returns a
        module from images, float (N, channels, H, W) in 0 to 1, to logits (N, H, W).
    stride
        Height and width must be multiples of this number of pixels.

    Raises
    ------
    UsageError
        If a network of dermseg's own has the name.

    Examples
    --------
    >>> import dermseg
    >>> from torch import nn
    >>> class Plain(nn.Module):
    ...     def __init__(self, channels, dropout):
    ...         super().__init__()
    ...         self.last = nn.Conv2d(channels, 1, 5, padding=2)
    ...     def forward(self, x):
    ...         return self.last(x)[:, 0]
    >>> dermseg.register_network("plain", Plain)
    """
    if name in BUILT_IN:
        raise UsageError(f"network {name!r}: the name of a built-in network; choose another")
    NETWORKS[name] = constructor
    STRIDES[name] = stride
    plugins.REGISTERED.append(name)


def check(settings: TrainingSettings) -> None:
    """Raise UsageError if there is no such network, or if it cannot take images of that size."""
    if settings.network not in NETWORKS:
        plugins.load_installed()
    if settings.network not in NETWORKS:
        known = ", ".join(sorted(NETWORKS))
        raise UsageError(
            f"unknown network {settings.network!r}; choose from {known}, or name the module "
            "that registers it with --plugin"
        )
    stride = STRIDES.get(settings.network, 1)
    sizes = [(settings.height, settings.width), (settings.early_height, settings.early_width)]
    for height, width in sizes[: 1 + bool(settings.early_epochs)]:
        if height % stride or width % stride:
            raise UsageError(
                f"size {height} x {width}: {settings.network} needs multiples of {stride}"
            )


def build(name: str, channels: int, dropout: float) -> nn.Module:
    """Return a freshly initialised network, one of NETWORKS."""
    return NETWORKS[name](channels, dropout)


def begin(name: str, channels: int, dropout: float) -> nn.Module:
    """Return a network as its training begins: from ImageNet weights where it has such.

    Raises MissingExtraError if they are not installed.
    """
    network = build(name, channels, dropout)
    if isinstance(network, Lite0):
        network.load_imagenet()
    return network


def take_over(network: nn.Module, tensors: dict[str, Tensor]) -> list[str]:
    """Put those of another training's `tensors` that fit into `network`.

    The first convolution takes the first channels of one that has more: red, green and blue lead.
    Returns the names of the newly initialised tensors. Raises UsageError if they are more than half
    of the network's.
    """
    own = network.state_dict()
    first = next(name for name, tensor in own.items() if tensor.ndim == 4)
    fresh = []
    with torch.no_grad():
        for name, tensor in own.items():
            given = tensors.get(name)
            if given is not None and name == first:
                given = given[:, : tensor.shape[1]]
            if given is None or given.shape != tensor.shape:
                fresh.append(name)
            else:
                tensor.copy_(given)
    if 2 * len(fresh) > len(own):
        raise UsageError("--fine-tune-from: these weights are another network's; change --network")
    return fresh
