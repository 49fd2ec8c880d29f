"""Training, timed: dermseg's, and beside it the loop that most people write, and the floor.

The plain loop trains the same network on batches of the same size, with PyTorch's defaults:
float32, a DataLoader, Adam, and the same random changes, made one image at a time in the data set.
The floor is the network's own arithmetic, forwards and backwards, at the speed at which this
machine multiplies large matrices. Convolutions that compute less than is counted (Winograd) may
get below it.
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from dermseg.benchmark.segmenting import peak_megabytes
from dermseg.cores import usable_cores
from dermseg.data import datasets
from dermseg.data.datasets import Cache
from dermseg.data.splits import read_split
from dermseg.errors import UsageError
from dermseg.progress import counted
from dermseg.settings import (
    CHANNEL_COUNT,
    AugmentationSettings,
    Channels,
    DataSettings,
    TrainingSettings,
)
from dermseg.storage.files import write_json
from dermseg.training import augment, networks, precision
from dermseg.training.color import ColorChannels
from dermseg.training.devices import Device, find_device
from dermseg.training.losses import find_loss
from dermseg.training.trainer import Rows, Trainer, compiled, prepare

WARM_UP = 5
"""Steps before the clock starts, in which kernels are chosen, compiled and captured."""
LARGE = {False: 2048, True: 8192}
"""Sides of the matrices that a processor, and a GPU, is timed on."""
PRODUCTS = 8
"""How many products are timed; the fastest counts."""
WORKERS = 4
"""Processes that load images for a GPU in the plain loop."""


@dataclass(frozen=True)
class Timing:
    """What training took: `data_share` is the data path's share of a step, 0 to 1.

    `peak_megabytes` is of the GPU's memory, or else of the process's; None where it is not known.
    """

    seconds_per_epoch: float
    images_per_second: float
    data_share: float
    peak_megabytes: float | None


@dataclass(frozen=True)
class Floor:
    """What the network's arithmetic alone takes.

    `operations` are additions and multiplications of a training step for an image, and
    `operations_per_second` what a product of large matrices reaches, in dermseg's precision.
    """

    operations: float
    operations_per_second: float
    seconds_per_epoch: float


@dataclass(frozen=True, kw_only=True)
class TrainingTimes:
    """Two ways to train on `images` images of `height` x `width`, timed in one run, and the floor.

    `precision` is dermseg's; the plain loop computes in float32.
    """

    device: str
    precision: str
    network: str
    height: int
    width: int
    batch_size: int
    images: int
    steps: int
    dermseg: Timing
    plain: Timing
    floor: Floor

    @property
    def floor_ratio(self) -> float:
        """Seconds an epoch, ours over the floor's."""
        return self.dermseg.seconds_per_epoch / self.floor.seconds_per_epoch

    @property
    def speed_ratio(self) -> float:
        """Images a second, ours over the plain loop's."""
        return self.dermseg.images_per_second / self.plain.images_per_second

    @property
    def memory_ratio(self) -> float | None:
        """Peak memory, ours over the plain loop's."""
        ours, plain = self.dermseg.peak_megabytes, self.plain.peak_megabytes
        return ours / plain if ours and plain else None

    def write_json(self, path: Path) -> None:
        """Write everything to `path`."""
        ratios = {"speed": self.speed_ratio, "memory": self.memory_ratio, "floor": self.floor_ratio}
        write_json(path, {**asdict(self), "ratios": ratios})

    def __str__(self) -> str:
        """Return a table for people."""

        def line(name: str, ours: float | None, plain: float | None, digits: int) -> str:
            cells = ["-" if x is None else f"{x:.{digits}f}" for x in (ours, plain)]
            ratio = f"{ours / plain:.2f}" if ours is not None and plain else "-"
            return f"{name:24}{cells[0]:>12}{cells[1]:>12}{ratio:>8}"

        ours, plain, floor = self.dermseg, self.plain, self.floor
        return "\n".join(
            (
                f"{self.device}: {self.network} on {self.images} images of "
                f"{self.height} x {self.width}, batches of {self.batch_size}, "
                f"{counted(self.steps, 'step')} timed; dermseg in {self.precision}, "
                "the plain loop in float32",
                f"{'':24}{'dermseg':>12}{'plain loop':>12}{'ratio':>8}",
                line("seconds an epoch", ours.seconds_per_epoch, plain.seconds_per_epoch, 2),
                line("images a second", ours.images_per_second, plain.images_per_second, 1),
                line("data path, % of a step", 100 * ours.data_share, 100 * plain.data_share, 1),
                line("peak memory, MB", ours.peak_megabytes, plain.peak_megabytes, 0),
                f"floor: {floor.seconds_per_epoch:.2f} s an epoch, for "
                f"{floor.operations / 1e9:.1f} billion operations an image, of which this machine "
                f"does {floor.operations_per_second / 1e9:.0f} billion a second on matrices; "
                f"dermseg takes {self.floor_ratio:.2f} times as long",
            )
        )


def time_training(
    data: Path,
    settings: TrainingSettings,
    data_settings: DataSettings = DataSettings(),
    *,
    steps: int = 20,
) -> TrainingTimes:
    """Time `steps` steps of training on `data`, ours and the plain loop's, and find the floor.

    Without a folder for the decoded images they are decoded for this run alone.
    An epoch is all images at full size, extrapolated from the steps.

    Raises UsageError for fewer than one step, DataError if the data are unusable or do not fill a
    batch, and as `networks.check` and `find_loss` do.
    """
    if steps < 1:
        raise UsageError(f"--steps {steps}: must be at least 1")
    networks.check(settings)
    find_loss(settings.loss)
    settings = precision.decide(replace(settings, early_epochs=0), data_settings.device)
    where = find_device(data_settings.device, settings.precision)
    height, width = settings.height, settings.width
    pairs = read_split(data, settings.splits, data_settings.mask_frame).training
    with TemporaryDirectory() as folder:
        store = data_settings.cache_below(Path(folder))
        images = datasets.open_cache(
            pairs, height, width, store, allow_resized=data_settings.allow_resized
        )
        datasets.check_fills(len(pairs), settings.batch_size)
        ours = time_dermseg(settings, where, images, steps)
        plain = time_plain(settings, where, images, steps)
    floor = find_floor(settings, where, len(pairs))
    return TrainingTimes(
        device=where.name,
        precision=where.precision,
        network=settings.network,
        height=height,
        width=width,
        batch_size=settings.batch_size,
        images=len(pairs),
        steps=steps,
        dermseg=ours,
        plain=plain,
        floor=floor,
    )


def time_dermseg(settings: TrainingSettings, device: Device, cache: Cache, steps: int) -> Timing:
    """Time `steps` steps of our training, and their data path alone."""
    _forget_peak(device)
    rows, batch = _rows(settings, cache, steps), settings.batch_size
    trainer = Trainer(settings, device, cache, rows[: WARM_UP * batch])
    trainer.train_epoch(_ignore)
    trainer.chosen = rows[WARM_UP * batch :]
    whole = _seconds(device, lambda: trainer.train_epoch(_ignore))
    peak = _peak(device)
    make = compiled(prepare) if device.is_gpu else prepare
    _feed(trainer, make)
    data = _seconds(device, lambda: _feed(trainer, make))
    return _timing(settings, cache, whole / steps, data / whole, peak)


def _feed(trainer: Trainer, make: Callable[..., Any]) -> None:
    """Do what an epoch does before the network comes in."""
    batches, draws = trainer.draw_epoch()
    for rows in batches:
        make(*trainer.load(rows, draws))


class PlainSet(Dataset[tuple[Tensor, Tensor]]):
    """Images float32 (C, H, W) and masks (1, H, W), in 0..1, loaded and changed one by one."""

    def __init__(
        self,
        cache: Cache,
        rows: Rows,
        settings: AugmentationSettings,
        channels: Channels = "rgb",
    ) -> None:
        self.cache = cache
        self.rows = rows
        self.settings = settings
        self.channels = channels
        self.color = ColorChannels(channels)

    def __len__(self) -> int:
        """Return the number of images, with repetitions."""
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image and its mask, changed at random."""
        row = self.rows[index]
        image, mask = (torch.tensor(a[row]) for a in (self.cache.images, self.cache.masks))
        height, width = mask.shape
        count, generator = CHANNEL_COUNT[self.channels], torch.default_generator
        draws = augment.draw(self.settings, 1, count, width / height, generator)
        pair = image.unsqueeze(0), mask.unsqueeze(0)
        channels, target = prepare(self.color, *pair, draws, (height, width))
        return channels[0], target


def time_plain(settings: TrainingSettings, device: Device, cache: Cache, steps: int) -> Timing:
    """Time `steps` steps of the plain loop; its data path is what it waits for the loader.

    On a GPU the loader's processes are ahead when the clock starts, which flatters it.
    """
    _forget_peak(device)
    torch.backends.cudnn.benchmark = False  # PyTorch's default, which our training changes
    torch.manual_seed(settings.seed)
    channels = CHANNEL_COUNT[settings.channels]
    network = networks.begin(settings.network, channels, settings.dropout).to(device.place)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    distance = find_loss(settings.loss)
    workers = min(WORKERS, usable_cores()) if device.is_gpu else 0
    rows = _rows(settings, cache, steps)
    images = PlainSet(cache, rows, settings.augmentation, settings.channels)
    loader = DataLoader(
        images,
        settings.batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=device.is_gpu,
    )
    batches = iter(loader)
    began = waited = 0.0
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            began, waited = time.perf_counter(), 0.0
        asked = time.perf_counter()
        pixels, masks = next(batches)
        waited += time.perf_counter() - asked
        pixels, masks = pixels.to(device.place), masks.to(device.place)
        loss = distance(network(pixels), masks[:, 0])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        loss.item()  # as people do, to show it; it waits for the GPU
    whole = time.perf_counter() - began
    return _timing(settings, cache, whole / steps, waited / whole, _peak(device))


def find_floor(settings: TrainingSettings, device: Device, images: int) -> Floor:
    """Count a training step's operations, and time a product of large matrices.

    Backwards there are twice as many as forwards: for the gradients of values and of weights.
    """
    network = networks.build(settings.network, CHANNEL_COUNT[settings.channels], settings.dropout)
    one = torch.rand(1, CHANNEL_COUNT[settings.channels], settings.height, settings.width)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(one)
    # PyTorch counts the gradients of grouped convolutions as those of whole ones.
    operations = 3.0 * counter.get_total_flops()
    speed = _matrix_speed(device)
    trained = images // settings.batch_size * settings.batch_size
    return Floor(operations, speed, trained * operations / speed)


def _matrix_speed(device: Device) -> float:
    """Return the operations a second of the best of some products of large matrices."""
    side = LARGE[device.is_gpu]
    kind = torch.bfloat16 if device.precision == "bfloat16" else torch.float32
    one, other = (torch.rand(side, side, device=device.place).to(kind) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32  # as convolutions do
    taken = [_seconds(device, lambda: one @ other) for _ in range(PRODUCTS)]
    torch.backends.cuda.matmul.allow_tf32 = before
    return float(2 * side**3 / min(taken))


def _rows(settings: TrainingSettings, cache: Cache, steps: int) -> Rows:
    """Return the rows for warm-up and timing, over and over where the images are too few."""
    return np.resize(np.arange(len(cache.image_ids)), (WARM_UP + steps) * settings.batch_size)


def _timing(
    settings: TrainingSettings, cache: Cache, step: float, share: float, peak: float | None
) -> Timing:
    steps_per_epoch = len(cache.image_ids) // settings.batch_size
    return Timing(step * steps_per_epoch, settings.batch_size / step, share, peak)


def _ignore(_mean: float) -> None:
    """Be told of a step, and do nothing."""


def _seconds(device: Device, work: Callable[[], object]) -> float:
    """Return how long `work` takes, until the device has finished too."""
    _finish(device)
    began = time.perf_counter()
    work()
    _finish(device)
    return time.perf_counter() - began


def _finish(device: Device) -> None:
    if device.is_gpu:
        torch.cuda.synchronize(device.place)


def _forget_peak(device: Device) -> None:
    """Let the peak of memory be counted from here: on a processor, where Linux can."""
    if device.is_gpu:
        torch.cuda.reset_peak_memory_stats(device.place)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _peak(device: Device) -> float | None:
    """Return the peak of memory in megabytes, of the GPU or else of the process."""
    if device.is_gpu:
        return torch.cuda.max_memory_allocated(device.place) / 1e6
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return peak_megabytes()
