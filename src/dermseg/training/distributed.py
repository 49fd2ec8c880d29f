"""Several processes that train one network together, as torchrun starts them.

Each takes its share of every batch; the gradients are averaged, so that all take the same step.
Order and changes of the images come from (seed, epoch) alone, and so do not depend on how many
processes there are. Batch norm sees the whole batch on GPUs (SyncBatchNorm); on processors, for
which PyTorch has no such thing, each process normalises its own share. The first process, which
leads, alone writes files and says how it goes.
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
    if size() > 1 or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield  # joined already, or alone
        return
    with _no_bug():
        dist.init_process_group(timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


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
    """Say whether this is the process that writes and speaks for all."""
    return rank() == 0


@contextmanager
def leader_first() -> Iterator[None]:
    """Let the first process go through the block alone, then the others: they find its files."""
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
    """Take a connection that fails for what it mostly is: the end of another process."""
    try:
        yield
    except RuntimeError as error:
        raise DermsegError(
            f"no connection to the other processes; if one stopped, it says why ({error})"
        ) from error


def check_batch(batch_size: int) -> None:
    """Raise UsageError unless `batch_size` images can be shared out evenly."""
    if batch_size % size():
        raise UsageError(
            f"--batch-size {batch_size} is that of all processes together; "
            f"choose a multiple of {size()}"
        )


def own_share(batch: Tensor) -> Tensor:
    """Return those of the images `batch` (n,) that are this process's."""
    share = len(batch) // size()
    return batch[rank() * share :][:share]


def mean(value: Tensor) -> Tensor:
    """Return the mean of `value` over the processes."""
    if size() > 1:
        dist.all_reduce(value)
    return value / size()


def synchronised(network: nn.Module, place: torch.device) -> nn.Module:
    """Return `network` with batch norms that see all processes' images, where there are such."""
    if size() > 1 and place.type == "cuda":
        convert = nn.SyncBatchNorm.convert_sync_batchnorm
        converted: nn.Module = convert(network)  # type: ignore[no-untyped-call]
        return converted
    return network


def averaging(network: nn.Module) -> nn.Module | None:
    """Return what computes like `network` and leaves in it gradients averaged over processes.

    None for a single process. Running statistics are the first process's.
    """
    return DistributedDataParallel(network) if size() > 1 else None
