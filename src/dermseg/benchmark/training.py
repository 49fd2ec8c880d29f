"""Training, timed: dermseg's, and beside it the loop that most people write.

The plain loop is MONAI's U-Net and Dice loss, fed by PyTorch's DataLoader with the same images and
the same random changes, made one image at a time in the data set, in the same arithmetic. It is
not the same network: the ratios say what a machine gives to each, not which is better.
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
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from dermseg.benchmark.segmenting import peak_megabytes
from dermseg.cores import usable_cores
from dermseg.data import datasets
from dermseg.data.datasets import Cache
from dermseg.data.splits import read_split
from dermseg.errors import MissingExtraError, UsageError
from dermseg.settings import AugmentationSettings, DataSettings, TrainingSettings
from dermseg.storage.files import write_json
from dermseg.training import augment
from dermseg.training.color import ColorChannels
from dermseg.training.devices import Device, find_device
from dermseg.training.trainer import Rows, Trainer, compiled, prepare

WARM_UP = 5
"""Steps before the clock starts, in which kernels are chosen, compiled and captured."""
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


@dataclass(frozen=True, kw_only=True)
class TrainingTimes:
    """Two ways to train on `images` images of `height` x `width`, timed in one run."""

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
        ratios = {"speed": self.speed_ratio, "memory": self.memory_ratio}
        write_json(path, {**asdict(self), "ratios": ratios})

    def __str__(self) -> str:
        """Return a table for people."""

        def line(name: str, ours: float | None, plain: float | None, digits: int) -> str:
            cells = ["-" if x is None else f"{x:.{digits}f}" for x in (ours, plain)]
            ratio = f"{ours / plain:.2f}" if ours is not None and plain else "-"
            return f"{name:24}{cells[0]:>12}{cells[1]:>12}{ratio:>8}"

        ours, plain = self.dermseg, self.plain
        return "\n".join(
            (
                f"{self.device}, in {self.precision}: {self.images} images of "
                f"{self.height} x {self.width}, batches of {self.batch_size}, "
                f"{self.steps} steps timed",
                f"{'':24}{self.network:>12}{'plain U-Net':>12}{'ratio':>8}",
                line("seconds an epoch", ours.seconds_per_epoch, plain.seconds_per_epoch, 2),
                line("images a second", ours.images_per_second, plain.images_per_second, 1),
                line("data path, % of a step", 100 * ours.data_share, 100 * plain.data_share, 1),
                line("peak memory, MB", ours.peak_megabytes, plain.peak_megabytes, 0),
            )
        )


def time_training(
    data: Path,
    settings: TrainingSettings,
    data_settings: DataSettings = DataSettings(),
    *,
    steps: int = 20,
) -> TrainingTimes:
    """Time `steps` steps of training on `data`, ours and the plain loop's.

    Without a folder for the decoded images they are decoded for this run alone.
    An epoch is all images at full size, extrapolated from the steps.

    Raises UsageError for fewer than one step, DataError if the data are unusable or do not fill a
    batch, and MissingExtraError without MONAI.
    """
    if steps < 1:
        raise UsageError(f"--steps {steps}: must be at least 1")
    try:
        import monai.networks.nets  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "the plain loop needs monai; install it with: pip install monai"
        ) from error
    settings = replace(settings, early_epochs=0)
    where = find_device(data_settings.device, settings.precision)
    height, width = settings.height, settings.width
    pairs = read_split(data, mask_frame=data_settings.mask_frame).training
    with TemporaryDirectory() as folder:
        store = data_settings.cache_below(Path(folder))
        images = datasets.open_cache(
            pairs, height, width, store, allow_resized=data_settings.allow_resized
        )
        datasets.check_fills(len(pairs), settings.batch_size)
        ours = time_dermseg(settings, where, images, steps)
        plain = time_plain(settings, where, images, steps)
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
    """Images float32 (3, H, W) and masks (1, H, W), in 0..1, loaded and changed one by one."""

    def __init__(self, cache: Cache, rows: Rows, settings: AugmentationSettings) -> None:
        self.cache = cache
        self.rows = rows
        self.settings = settings

    def __len__(self) -> int:
        """Return the number of images, with repetitions."""
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image and its mask, changed at random."""
        row = self.rows[index]
        image, mask = (torch.tensor(a[row]) for a in (self.cache.images, self.cache.masks))
        height, width = mask.shape
        draws = augment.draw(self.settings, 1, 3, width / height, torch.default_generator)
        pair = image.unsqueeze(0), mask.unsqueeze(0)
        channels, target = prepare(ColorChannels("rgb"), *pair, draws, (height, width))
        return channels[0], target


def time_plain(settings: TrainingSettings, device: Device, cache: Cache, steps: int) -> Timing:
    """Time `steps` steps of the plain loop; its data path is what it waits for the loader.

    On a GPU the loader's processes are ahead when the clock starts, which flatters it.
    """
    from monai.losses.dice import DiceLoss
    from monai.networks.nets.unet import UNet

    _forget_peak(device)
    torch.manual_seed(settings.seed)
    features, halvings = (16, 32, 64, 128, 256), (2, 2, 2, 2)
    network: nn.Module = UNet(2, 3, 1, features, halvings, num_res_units=2).to(device.place)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    distance = DiceLoss(sigmoid=True)
    workers = min(WORKERS, usable_cores()) if device.is_gpu else 0
    images = PlainSet(cache, _rows(settings, cache, steps), settings.augmentation)
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
        with device.autocast():
            logits = network(pixels)
        loss = distance(logits.float(), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # as people do, to show it; it waits for the GPU
    whole = time.perf_counter() - began
    return _timing(settings, cache, whole / steps, waited / whole, _peak(device))


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
        Path("/proc/self/clear_refs").write_text("5")


def _peak(device: Device) -> float | None:
    """Return the peak of memory in megabytes, of the GPU or else of the process."""
    if device.is_gpu:
        return torch.cuda.max_memory_allocated(device.place) / 1e6
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return peak_megabytes()
