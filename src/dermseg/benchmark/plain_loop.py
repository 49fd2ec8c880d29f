"""The loop that most people write to segment a folder: a yardstick, frozen, and never to be tuned.

Pillow decodes each photograph whole and shrinks it, PyTorch computes in float32 on all cores, one
photograph at a time, the probability is scaled up and binarised at a half, and Pillow writes the
PNG.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from dermseg.benchmark.segmenting import disc
from dermseg.cores import usable_cores
from dermseg.export.exporter import EndToEnd
from dermseg.modelfile.card import ModelCard
from dermseg.settings import CHANNEL_COUNT, TrainingSettings
from dermseg.training import networks


class PlainLoop:
    """The loop around the network, or the ensemble, that a model's card names.

    Its weights are random, since its time does not depend on them. The PNG's depends on the mask,
    so the probability is made to show a disc. Raises UsageError if there is no such network.
    """

    def __init__(self, card: ModelCard) -> None:
        members = [TrainingSettings.from_dict(member["settings"]) for member in card.members]
        for each in members:
            networks.check(each)
        built = [
            networks.build(each.network, CHANNEL_COUNT[each.channels], each.dropout)
            for each in members
        ]
        channels = [each.channels for each in members]
        self.model = EndToEnd(built, channels).eval()
        self.height, self.width = members[0].height, members[0].width
        self.disc = torch.from_numpy(disc(self.height, self.width).astype(np.float32))

    def __call__(self, photographs: Iterable[Path], output: Path) -> None:
        """Write a mask into `output` for each photograph."""
        torch.set_num_threads(usable_cores())
        for path in photographs:
            self._segment(path, output / f"{path.stem}.png")

    @torch.inference_mode()
    def _segment(self, path: Path, output: Path) -> None:
        with Image.open(path) as image:
            photograph = image.convert("RGB")
        small = photograph.resize((self.width, self.height), Image.Resampling.BILINEAR)
        probability = self.model(torch.from_numpy(np.array(small)).unsqueeze(0))
        probability = 0 * probability + self.disc
        size = photograph.height, photograph.width
        whole = functional.interpolate(probability.unsqueeze(0), size, mode="bilinear")
        mask = (whole[0, 0] > 0.5).numpy().astype(np.uint8) * 255
        Image.fromarray(mask).save(output)
