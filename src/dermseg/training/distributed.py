"""Several processes that train one network together, as torchrun starts them.

Each process takes a part of every batch. The gradients are averaged over the images: all take the
same step. Order and augmentation of the images come from (seed, epoch) alone, for any number of
processes. On GPUs batch norm sees the whole batch (SyncBatchNorm); on processors, where PyTorch
lacks this, each process normalises its own part. Only the first process writes files and messages.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dermseg.errors import DermsegError, UsageError

PATIENCE = timedelta(hours=12)
"""How long processes wait for the first, which may have a large data set to read."""


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun started, if it did, for the length of the block.

    PyTorch takes gloo for what lies on processors and NCCL for what lies on GPUs.
    """
    if size() > 1 or started() == 1:
        yield  # joined already, or alone
        return
    with _no_bug():
        dist.init_process_group(timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def started() -> int:
    """Return the number of processes that torchrun says it started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def size() -> int:
    """Return the number of processes that train together, 1 outside `joined`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number, from 0."""
    return dist.get_rank() if size() > 1 else 0


def local_rank() -> int:
    """Return this process's number on its machine, from 0: which GPU it takes."""
    return int(os.environ["LOCAL_RANK"]) if size() > 1 else 0


def leads() -> bool:
    """Say whether this is the first process, the only one that writes files and messages."""
    return rank() == 0


@contextmanager
def leader_first() -> Iterator[None]:
    """Run the block in the first process, then in the others, which find its files."""
    if not leads():
        _wait()
    yield
    if leads():
        _wait()


def _wait() -> None:
    """Wait until every process is here."""
    if size() > 1:
        with _no_bug():
            dist.all_reduce(torch.zeros(1))


@contextmanager
def _no_bug() -> Iterator[None]:
    """Turn a failed connection into a DermsegError: most often another process has ended."""
    try:
        yield
    except (RuntimeError, ValueError) as error:  # the latter where only WORLD_SIZE is set
        raise DermsegError(
            f"no connection to the other processes; if one stopped, its error says why ({error})"
        ) from error


def check_batch(batch_size: int) -> None:
    """Raise UsageError unless every process gets one of `batch_size` images."""
    if batch_size < size():
        raise UsageError(
            f"--batch-size {batch_size} is for all processes together, and they are {size()}; give "
            "at least one image for each"
        )


def own_share(batch: Tensor) -> Tensor:
    """Return this process's part of `batch`, the row numbers (n,) of images.

    Where the batch does not divide, the first processes have an image more.
    """
    return batch.tensor_split(size())[rank()]


def weight(images: int, batch_size: int) -> float:
    """Return what the mean over this process's images counts in the mean over all processes.

    It makes that the mean over the batch.
    """
    return images * size() / batch_size


def mean(value: Tensor) -> Tensor:
    """Return the mean of `value` over the processes."""
    if size() > 1:
        dist.all_reduce(value)
    return value / size()


def of_first(value: float) -> float:
    """Return the first process's `value`, in all of them."""
    if size() == 1:
        return value
    found = torch.tensor(value, dtype=torch.float64)
    with _no_bug():
        dist.broadcast(found, 0)
    return found.item()


def synchronised(network: nn.Module, place: torch.device) -> nn.Module:
    """Return `network` with batch norms that see all processes' images, where there are such."""
    if size() > 1 and place.type == "cuda":
        convert = nn.SyncBatchNorm.convert_sync_batchnorm
        converted: nn.Module = convert(network)  # type: ignore[no-untyped-call]
        return converted
    return network


def averaging(network: nn.Module) -> nn.Module | None:
    """Wrap `network` so that its gradients are averaged over the processes; None for one process.

    Batch norm's running statistics are those of the first process.
    """
    return DistributedDataParallel(network) if size() > 1 else None
