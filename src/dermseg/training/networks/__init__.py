"""The networks that dermseg can train, by name. One file each."""

from collections.abc import Callable

from torch import nn

from dermseg.errors import UsageError
from dermseg.training.networks.cdnn19 import CDNN19
from dermseg.training.networks.cdnn29 import CDNN29

NETWORKS: dict[str, Callable[[int, float], nn.Module]] = {"cdnn19": CDNN19, "cdnn29": CDNN29}
"""Name to constructor, called with (input channels, dropout probability).

A network takes (N, channels, H, W) in 0..1 and returns logits (N, H, W).
"""


def build(name: str, channels: int, dropout: float) -> nn.Module:
    """Return a freshly initialised network; raise UsageError for an unknown name."""
    if name not in NETWORKS:
        raise unknown(name)
    return NETWORKS[name](channels, dropout)


def unknown(name: str) -> UsageError:
    """Return the error for a network that there is not."""
    return UsageError(f"unknown network {name!r}; choose from {', '.join(sorted(NETWORKS))}")
