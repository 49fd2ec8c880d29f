"""One network in training: a step, a pass, a prediction, and its whole state.

All chance comes from (seed, pass): a training that was killed goes on from its last finished pass
as if nothing had happened.
"""

import math
from collections.abc import Callable
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dermseg.settings import CHANNEL_COUNT, TrainingSettings
from dermseg.training import augment, checkpoints, networks
from dermseg.training.color import ColorChannels
from dermseg.training.datasets import Cache
from dermseg.training.devices import Device
from dermseg.training.losses import jaccard_distance

WARM_UP = 0.1
"""Share of a one-cycle training during which the learning rate rises."""
PREDICTED_AT_ONCE = 50
Rows = NDArray[np.intp]


def learning_rate(settings: TrainingSettings, done: float) -> float:
    """Return the learning rate when the share `done` (0..1) of the training is over.

    "constant" is the paper's; "one-cycle" rises in a straight line over the first tenth and falls
    to zero along a cosine (Smith & Topin 2018).
    """
    if settings.schedule == "constant":
        return settings.learning_rate
    if done < WARM_UP:
        return settings.learning_rate * (0.04 + 0.96 * done / WARM_UP)
    return settings.learning_rate * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2


def _seed(settings: TrainingSettings, purpose: str, pass_: int) -> int:
    return Random(f"{settings.seed}/{purpose}/{pass_}").getrandbits(63)


def _generator(settings: TrainingSettings, purpose: str, pass_: int) -> torch.Generator:
    return torch.Generator().manual_seed(_seed(settings, purpose, pass_))


class Trainer:
    """A network with its optimiser, its averaged weights and the passes behind it.

    `cache` holds the images, and `chosen` says which of its rows are trained on.
    """

    def __init__(
        self, settings: TrainingSettings, device: Device, cache: Cache, chosen: Rows
    ) -> None:
        self.settings = settings
        self.device = device
        self.cache = cache
        self.chosen = chosen
        self.steps_per_pass = len(chosen) // settings.batch_size
        self.passes_done = 0
        torch.manual_seed(_seed(settings, "weights", 0))
        channels = CHANNEL_COUNT[settings.channels]
        self.color = ColorChannels(settings.channels)
        network = networks.build(settings.network, channels, settings.dropout)
        # channels-last is the layout that convolutions are fast in, on processors and on cards.
        self.network: nn.Module = network.to(  # type: ignore[call-overload]
            device.place, memory_format=torch.channels_last
        )
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=settings.learning_rate, fused=True
        )
        self.average: AveragedModel | None = None
        if settings.average_passes > 0:
            decay = 1 - 1 / max(1.0, settings.average_passes * self.steps_per_pass)
            average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)

    @property
    def result(self) -> nn.Module:
        """The network that the training is for: the averaged one where there is one."""
        if self.average is None:
            return self.network
        module: nn.Module = self.average.module
        return module

    def train_pass(self, each_step: Callable[[float], None]) -> float:
        """Train on every chosen image once, but for an incomplete last batch.

        `each_step` is called with the mean loss so far. Returns the pass's mean loss.
        """
        settings, pass_ = self.settings, self.passes_done
        torch.manual_seed(_seed(settings, "dropout", pass_))
        order = torch.randperm(len(self.chosen), generator=_generator(settings, "order", pass_))
        draws = augment.draw(
            settings.augmentation,
            len(self.cache.image_ids),
            CHANNEL_COUNT[settings.channels],
            settings.width / settings.height,
            _generator(settings, "augmentation", pass_),
        )
        self.network.train()
        total = 0.0
        for step in range(self.steps_per_pass):
            batch = order[step * settings.batch_size :][: settings.batch_size]
            total += self._train_step(self.chosen[batch.numpy()], draws, step)
            each_step(total / (step + 1))
        self.passes_done += 1
        return total / self.steps_per_pass

    def _train_step(self, rows: Rows, draws: augment.Draws, step: int) -> float:
        """Train on one batch and return its loss."""
        images, masks = self._load(self.cache.images, rows), self._load(self.cache.masks, rows)
        changes = draws.rows(torch.from_numpy(rows), self.device.place)
        both = torch.cat((images, masks.unsqueeze(1)), 1).float() / 255
        warped = augment.warp(both, changes.affine, *self._size())
        channels = augment.stretch_contrast(self.color(warped[:, :3]), changes.low, changes.high)
        done = (self.passes_done + step / self.steps_per_pass) / self.settings.passes
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, done)
        logits = self._logits(self.network, channels)
        loss = jaccard_distance(logits.float().sigmoid(), warped[:, 3])
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return loss.item()

    def _size(self) -> tuple[int, int]:
        """Return the (height, width) at which the present pass trains."""
        if self.passes_done < self.settings.early_passes:
            return self.settings.early_height, self.settings.early_width
        return self.settings.height, self.settings.width

    def _load(self, array: NDArray[np.uint8], rows: Rows) -> Tensor:
        return torch.from_numpy(array[rows]).to(self.device.place)

    def _logits(self, network: nn.Module, channels: Tensor) -> Tensor:
        with self.device.autocast():
            logits: Tensor = network(channels.contiguous(memory_format=torch.channels_last))
        return logits

    def predict(self, rows: Rows) -> NDArray[np.float32]:
        """Return the probability, float32 (n, H, W), of the images `rows`, by the result so far."""
        self.result.eval()
        found = []
        with torch.inference_mode():
            for start in range(0, len(rows), PREDICTED_AT_ONCE):
                images = self._load(self.cache.images, rows[start : start + PREDICTED_AT_ONCE])
                logits = self._logits(self.result, self.color(images.float() / 255))
                found.append(logits.float().sigmoid().cpu().numpy())
        return np.concatenate(found)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that a resumed training needs, by name."""
        tensors = checkpoints.prefixed("network", self.network.state_dict())
        tensors |= checkpoints.prefixed("optimizer", checkpoints.optimizer_tensors(self.optimizer))
        if self.average is not None:
            tensors |= checkpoints.prefixed("average", self.average.state_dict())
        return tensors

    def restore(self, tensors: dict[str, Tensor], passes_done: int) -> None:
        """Continue from what `tensors` returned after `passes_done` passes."""
        self.network.load_state_dict(checkpoints.under("network", tensors))
        checkpoints.restore_optimizer(self.optimizer, checkpoints.under("optimizer", tensors))
        if self.average is not None:
            self.average.load_state_dict(checkpoints.under("average", tensors))
        self.passes_done = passes_done
