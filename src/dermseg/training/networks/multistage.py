"""A multi-stage fully convolutional network (paper, [16])."""

import torch
from torch import Tensor, nn

from dermseg.training.networks.cdnn29 import CDNN29

STAGES = 2


class Multistage(nn.Module):
    """CDNN-29 twice: the second sees the image and what the first found in it.

    After L. Bi, J. Kim, E. Ahn, A. Kumar, M. Fulham & D. Feng, Dermoscopic image segmentation via
    multistage fully convolutional networks, IEEE Trans. Biomedical Engineering 64, 2017: a coarse
    first stage, later ones that learn from the image and the probability before them, and all
    stages' results integrated. A free rendering: their stages are VGG-16 with ImageNet weights,
    trained one after the other and integrated by cellular automata; here they are CDNN-29, so that
    what differs from it is the stages, trained together, and the integration is the mean of their
    logits, through which the loss reaches each stage.

    Input: (N, `channels`, H, W), values in 0..1, H and W multiples of 16.
    Output: logits (N, H, W).
    """

    def __init__(self, channels: int = 7, dropout: float = 0.5) -> None:
        super().__init__()
        further = (CDNN29(channels + 1, dropout) for _ in range(STAGES - 1))
        self.stages = nn.ModuleList([CDNN29(channels, dropout), *further])

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of lesion, (N, H, W)."""
        found: list[Tensor] = []
        for stage in self.stages:
            seen = torch.cat((x, found[-1].sigmoid().unsqueeze(1)), 1) if found else x
            found.append(stage(seen))
        return torch.stack(found).mean(0)
