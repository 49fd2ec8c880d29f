"""One network in training: a step, an epoch, a prediction, and its whole state.

All chance comes from (seed, epoch): a training that was killed goes on from its last finished epoch
as if nothing had happened.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dermseg.data.datasets import Cache
from dermseg.errors import UsageError
from dermseg.masks.style import UNTOLD
from dermseg.settings import CHANNEL_COUNT, TrainingSettings
from dermseg.training import augment, checkpoints, distributed, networks
from dermseg.training.color import ColorChannels
from dermseg.training.devices import Device, Pixels
from dermseg.training.losses import LossFunction, find_loss

WARM_UP = 0.1
"""Share of a one-cycle training during which the learning rate rises."""
PREDICTED_AT_ONCE = 50
STEPS_UNSEEN = 50
"""Steps on a GPU between two readings of the loss. Each reading waits for all work in progress."""
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


def _seed(settings: TrainingSettings, purpose: str, epoch: int) -> int:
    return Random(f"{settings.seed}/{purpose}/{epoch}").getrandbits(63)


def _generator(settings: TrainingSettings, purpose: str, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(_seed(settings, purpose, epoch))


def prepare(
    color: nn.Module, images: Tensor, masks: Tensor, changes: augment.Draws, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return a batch as the network learns from it: channels (n, C, H, W) and targets (n, H, W).

    `images` is uint8 (n, 3, h, w), `masks` uint8 (n, h, w), `changes` has their n rows and `size`
    is (H, W). What is returned is in 0..1.
    """
    both = torch.cat((images, masks.unsqueeze(1)), 1).float() / 255
    warped = augment.warp(both, changes.affine, *size)
    rgb = warped[:, :3]
    if changes.sharpness is not None:
        rgb = augment.sharpen(rgb, changes.sharpness)
    if changes.color is not None:
        rgb = augment.recolor(rgb, changes.color)
    channels = augment.stretch_contrast(color(rgb), changes.low, changes.high)
    return channels, warped[:, 3]


def apply(network: nn.Module, device: Device, channels: Tensor, *style: Tensor) -> Tensor:
    """Return the logits, float32 (n, H, W), of `channels`, computed in the device's arithmetic.

    `style` is what else the network takes: nothing, or the style asked for (n,). Raises UsageError
    if a network of one's own returns another shape, which losses would not refuse.
    """
    with device.autocast():
        logits: Tensor = network(channels.contiguous(memory_format=torch.channels_last), *style)
    wanted = (len(channels), *channels.shape[2:])
    if logits.shape != wanted:  # a compiled step fails here, and the uncompiled one says why
        raise UsageError(f"the network returns {tuple(logits.shape)}, not logits {wanted}")
    return logits.float()


def batch_loss(
    loss: LossFunction, network: nn.Module, device: Device, style: Sequence[Tensor], *batch: Any
) -> Tensor:
    """Return the loss, a scalar, on what `prepare` makes of `batch`: all tensor work of a step."""
    channels, targets = prepare(*batch)
    return loss(apply(network, device, channels, *style), targets)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` as fused kernels in one CUDA graph, compiled at its first call.

    "reduce-overhead" leaves the choice of convolutions to cuDNN's benchmark; "max-autotune" takes
    minutes over it, as long as hundreds of epochs.
    """
    return torch.compile(function, fullgraph=True, dynamic=False, mode="reduce-overhead")


class Average(AveragedModel):
    """The exponential average of a network's weights and statistics.

    PyTorch's own update waits for the GPU in each step.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Let `model` have its share, 1 - decay; the first is taken over whole."""
        pairs = list(zip(_tensors(self.module), _tensors(model), strict=True))
        if self.n_averaged == 0:  # a count on the processor
            for mean, tensor in pairs:
                mean.copy_(tensor)
        else:
            floats = [pair for pair in pairs if pair[0].is_floating_point()]
            means, tensors = [mean for mean, _ in floats], [tensor for _, tensor in floats]
            torch._foreach_lerp_(means, tensors, 1 - self.decay)
            for mean, tensor in pairs:
                if not mean.is_floating_point():
                    mean.copy_(mean * self.decay + tensor * (1 - self.decay))
        self.n_averaged += 1


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


class Trainer:
    """A network with its optimiser, its averaged weights and the epochs behind it.

    `cache` holds the images, and `chosen` says which of its rows are trained on.
    """

    def __init__(
        self, settings: TrainingSettings, device: Device, cache: Cache, chosen: Rows
    ) -> None:
        self.settings = settings
        self.device = device
        self.cache = cache
        self.chosen = chosen
        self.images, self.masks = device.hold((cache.images, cache.masks))
        self.styles = torch.from_numpy(cache.styles).long().to(device.place)
        self.epochs_done = 0
        self.rate = settings.learning_rate
        torch.manual_seed(_seed(settings, "weights", 0))
        channels = CHANNEL_COUNT[settings.channels]
        self.color = ColorChannels(settings.channels)
        network = networks.begin(settings.network, channels, settings.dropout)
        network = distributed.synchronised(network, device.place)
        # channels-last is the layout that convolutions are fast in, on processors and on GPUs.
        self.network: nn.Module = network.to(  # type: ignore[call-overload]
            device.place, memory_format=torch.channels_last
        )
        self._together = distributed.averaging(self.network)
        self._distance = find_loss(settings.loss)
        self.loss: Callable[..., Tensor] = batch_loss
        rate: float | Tensor = settings.learning_rate
        if device.is_gpu:
            # Convolutions in float32 use TF32 already; the affine maps need all their digits.
            torch.backends.cudnn.benchmark = True
            if self._together is None:  # what the processes exchange cannot be part of one graph
                self.loss = compiled(batch_loss)
            rate = torch.tensor(rate, device=device.place)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(),
            lr=rate,
            weight_decay=settings.weight_decay,
            decoupled_weight_decay=True,
            fused=True,
            capturable=device.is_gpu,
        )
        self.average: Average | None = None
        if settings.ema_epochs > 0:
            decay = 1 - 1 / max(1.0, settings.ema_epochs * self.steps_per_epoch)
            self.average = Average(self.network, decay)

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch."""
        return len(self.chosen) // self.settings.batch_size

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) at which the present epoch trains."""
        if self.epochs_done < self.settings.early_epochs:
            return self.settings.early_height, self.settings.early_width
        return self.settings.height, self.settings.width

    @property
    def result(self) -> nn.Module:
        """The network that the training is for: the averaged one where there is one."""
        if self.average is None:
            return self.network
        module: nn.Module = self.average.module
        return module

    def train_epoch(self, each_step: Callable[[float], None]) -> float:
        """Train on every chosen image once, but for an incomplete last batch.

        `each_step` is called with the mean loss so far; on a GPU, with one up to 50 steps old.
        Returns the epoch's mean loss. Of several processes, each trains on its share.
        """
        dropout = "dropout" if distributed.leads() else f"dropout of {distributed.rank()}"
        torch.manual_seed(_seed(self.settings, dropout, self.epochs_done))
        batches, draws = self.draw_epoch()
        self.network.train()
        unseen = STEPS_UNSEEN if self.device.is_gpu else 1
        total = torch.zeros((), dtype=torch.float64, device=self.device.place)
        for step, rows in enumerate(batches):
            total += self.train_step(rows, draws, step)
            if step % unseen == 0:
                mean = total.item() / (step + 1)
            each_step(mean)
        self.epochs_done += 1
        return distributed.mean(total).item() / self.steps_per_epoch

    def draw_epoch(self) -> tuple[Sequence[Tensor], augment.Draws]:
        """Return this process's share of the epoch's batches, as rows of the cache, and changes."""
        settings, epoch = self.settings, self.epochs_done
        order = torch.randperm(len(self.chosen), generator=_generator(settings, "order", epoch))
        draws = augment.draw(
            settings.augmentation,
            len(self.cache.image_ids),
            CHANNEL_COUNT[settings.channels],
            settings.width / settings.height,
            _generator(settings, "augmentation", epoch),
        )
        told = torch.rand(len(self.styles), generator=_generator(settings, "style", epoch))
        draws = replace(draws, told=told >= settings.style_dropout)
        rows = torch.from_numpy(self.chosen)[order].to(self.device.place)
        batch = settings.batch_size
        batches = [rows[step * batch :][:batch] for step in range(self.steps_per_epoch)]
        return [distributed.own_share(rows) for rows in batches], draws.to(self.device.place)

    def load(self, rows: Tensor, draws: augment.Draws) -> tuple[Any, ...]:
        """Return the arguments of `prepare` for the images `rows`."""
        images, masks = self._load(self.images, rows), self._load(self.masks, rows)
        return self.color, images, masks, draws.rows(rows), self.size

    def train_step(self, rows: Tensor, draws: augment.Draws, step: int) -> Tensor:
        """Train on one batch and return its loss, a scalar, by the share of this process."""
        done = (self.epochs_done + step / self.steps_per_epoch) / self.settings.epochs
        self._set_rate(learning_rate(self.settings, done))
        batch = self._style(rows, draws.told), *self.load(rows, draws)
        weight = distributed.weight(len(rows), self.settings.batch_size)
        try:
            loss = self._gradients(batch, weight)
        except Exception as error:  # compilers fail in many ways; a fault of ours comes again
            if self.loss is batch_loss:
                raise
            warnings.warn(
                f"PyTorch could not compile the training step; it runs uncompiled, and slower: "
                f"{type(error).__name__}: {error}",
                stacklevel=2,
            )
            self.loss = batch_loss
            loss = self._gradients(batch, weight)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return loss

    def _set_rate(self, rate: float) -> None:
        self.rate = rate
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _gradients(self, batch: tuple[Any, ...], weight: float) -> Tensor:
        """Put the gradients of the weighted loss on `batch` in their place, and return the loss."""
        self.optimizer.zero_grad()  # before the loss: a CUDA graph writes over its last gradients
        network = self.network if self._together is None else self._together
        loss = self.loss(self._distance, network, self.device, *batch)
        if weight != 1:
            loss = loss * weight
        torch.autograd.backward(loss)
        return loss.detach()

    def _load(self, pixels: Pixels, rows: Tensor) -> Tensor:
        if isinstance(pixels, Tensor):
            return pixels[rows]
        return torch.from_numpy(pixels[rows.cpu().numpy()]).to(self.device.place)

    def _style(self, rows: Tensor, told: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return what the network takes besides the channels of the images `rows`."""
        if self.settings.network not in networks.STYLED:
            return ()
        styles = self.styles[rows]
        return (styles if told is None else torch.where(told[rows], styles, UNTOLD),)

    def predict(self, rows: Rows) -> NDArray[np.float32]:
        """Return the probability, float32 (n, H, W), of the images `rows`, by the result so far.

        A network that takes a style is told the masks' own.
        """
        return np.concatenate([logits.sigmoid().cpu().numpy() for logits, _ in self._see(rows)])

    def evaluate(self, rows: Rows) -> tuple[float, NDArray[np.float32]]:
        """Return the mean loss on the images `rows`, unchanged, and what `predict` returns."""
        losses, found = 0.0, []
        for logits, targets in self._see(rows):
            losses += len(logits) * self._distance(logits, targets).item()
            found.append(logits.sigmoid().cpu().numpy())
        return losses / len(rows), np.concatenate(found)

    def _see(self, rows: Rows) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield logits and targets, (n, H, W) in 0..1, of some of the images `rows` at a time."""
        self.result.eval()
        with torch.inference_mode():
            for start in range(0, len(rows), PREDICTED_AT_ONCE):
                some = torch.from_numpy(rows[start : start + PREDICTED_AT_ONCE])
                some = some.to(self.device.place)
                channels = self.color(self._load(self.images, some).float() / 255)
                logits = apply(self.result, self.device, channels, *self._style(some))
                yield logits, self._load(self.masks, some).float() / 255

    def take_over(self, tensors: dict[str, Tensor]) -> list[str]:
        """Start from another training's weights (see `networks.take_over`)."""
        return networks.take_over(self.network, tensors)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that a resumed training needs, by name."""
        tensors = checkpoints.prefixed("network", self.network.state_dict())
        tensors |= checkpoints.prefixed("optimizer", checkpoints.optimizer_tensors(self.optimizer))
        if self.average is not None:
            tensors |= checkpoints.prefixed("average", self.average.state_dict())
        return tensors

    def restore(self, tensors: dict[str, Tensor], epochs_done: int) -> None:
        """Continue from what `tensors` returned after `epochs_done` epochs."""
        self.network.load_state_dict(checkpoints.under("network", tensors))
        checkpoints.restore_optimizer(self.optimizer, checkpoints.under("optimizer", tensors))
        if self.average is not None:
            self.average.load_state_dict(checkpoints.under("average", tensors))
        self.epochs_done = epochs_done
