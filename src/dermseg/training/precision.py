"""Which arithmetic is the faster here, bfloat16 or float32: measured, and remembered.

A processor that has bfloat16 may still be faster in float32: on an Intel Xeon with avx512_bf16 and
without AMX an epoch of cdnn29 took 537 s in bfloat16 and 364 s in float32.
"""

import json
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dermseg.data.datasets import Cache
from dermseg.errors import OutputError
from dermseg.progress import say
from dermseg.settings import Precision, TrainingSettings
from dermseg.storage.files import cache_folder, write_json
from dermseg.training import distributed
from dermseg.training.devices import Device, find_device
from dermseg.training.run_folder import read_settings
from dermseg.training.trainer import Trainer

CANDIDATES: tuple[Precision, ...] = ("float32", "bfloat16")
ROUNDS = 5
"""Most times that each is timed, in turns, after a round of warming up; the shortest counts."""
ENOUGH = 10.0
"""Seconds of timing after which FEWEST rounds suffice."""
FEWEST = 2
GAIN = 0.95
"""bfloat16 is taken where it needs less than this share of float32's time: who computes in float32
gets the same on every processor of a kind."""
STEPS_ON_GPU = 20
"""Steps of a round on a GPU, which compiles in the first ones; a processor makes one."""
FILE = "precision.json"


def decide(
    settings: TrainingSettings, device: str, known: Precision | None = None
) -> TrainingSettings:
    """Return `settings` with an arithmetic in place of "auto": the `known` one, or the faster.

    Where the hardware has bfloat16, some steps of each are timed, once for a machine, network,
    size and batch; the answer is kept in `answers()`. Raises as `find_device` does.
    """
    if settings.precision != "auto":
        return settings
    if known not in (None, "auto"):
        return replace(settings, precision=known)
    likely = find_device(device, "auto")
    if likely.precision == "float32":
        return replace(settings, precision="float32")
    # The first process knows; the others take the same way, whatever their machines remember.
    seconds = _recall(likely, settings) if distributed.leads() else {}
    remembered = bool(distributed.of_first(len(seconds)))
    if not remembered:
        if distributed.leads():
            say("Timing a few steps in float32 and bfloat16; --precision float32 skips it")
        seconds = measure(settings, likely)
    float32, bfloat16 = (distributed.of_first(seconds.get(each, 0.0)) for each in CANDIDATES)
    fastest = CANDIDATES[bfloat16 < GAIN * float32]
    if distributed.leads():
        kept = remembered or _remember(likely, settings, seconds)
        _say(settings, seconds, fastest, kept=kept)
    return replace(settings, precision=fastest)


def of_runs(runs: Iterable[Path]) -> Precision | None:
    """Return the arithmetic of the first of `runs`, folders, that has begun; None if none has."""
    found = (read_settings(run) for run in runs)
    return next((settings.precision for settings in found if settings is not None), None)


def measure(settings: TrainingSettings, device: Device) -> dict[Precision, float]:
    """Return the seconds that a step of training takes in each arithmetic, on made-up images."""
    steps = STEPS_ON_GPU if device.is_gpu else 1
    plain = replace(settings, early_epochs=0, ema_epochs=0.0)
    images = _made_up(plain)
    rows = np.resize(np.arange(len(images.image_ids)), steps * settings.batch_size)
    trainers = [
        Trainer(replace(plain, precision=each), replace(device, precision=each), images, rows)
        for each in CANDIDATES
    ]
    taken: list[list[float]] = []
    for _ in range(1 + ROUNDS):
        taken.append([_seconds(trainer) for trainer in trainers])
        if len(taken) > FEWEST and np.sum(taken[1:]) > ENOUGH:
            break
    best = np.min(taken[1:], axis=0) / steps
    return {each: float(f"{s:.4g}") for each, s in zip(CANDIDATES, best, strict=True)}


def _seconds(trainer: Trainer) -> float:
    """Return how long an epoch takes; the mean loss that it returns is there when all is done."""
    began = time.perf_counter()
    trainer.train_epoch(lambda _: None)
    return time.perf_counter() - began


def _made_up(settings: TrainingSettings) -> Cache:
    """Return as many images as a batch has: noise, whose masks are the left half."""
    count, height, width = settings.batch_size, settings.height, settings.width
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (count, 3, height, width), dtype=np.uint8)
    masks = np.zeros((count, height, width), np.uint8)
    masks[..., : width // 2] = 255
    names = [str(number) for number in range(count)]
    return Cache(names, images, masks, "", np.zeros(count, np.uint8), np.zeros(count, np.bool_))


def answers() -> Path:
    """Return the file in the user's cache folder that keeps what was measured on this machine."""
    return cache_folder() / FILE


def _question(device: Device, settings: TrainingSettings) -> str:
    """Return all that decides which arithmetic is the faster."""
    size = f"{settings.batch_size} x {settings.height} x {settings.width}"
    network = f"{settings.network}, {settings.channels}, {size}"
    together = f"{torch.get_num_threads()} threads, {distributed.size()} processes"
    return f"{network}; {device.name}, {together}; torch {torch.__version__}"


def _read() -> dict[str, Mapping[Precision, float]]:
    with suppress(OSError, ValueError):
        content = json.loads(answers().read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}


def _recall(device: Device, settings: TrainingSettings) -> Mapping[Precision, float]:
    """Return the seconds that were measured before; nothing if there are none."""
    seconds = _read().get(_question(device, settings), {})
    return seconds if isinstance(seconds, dict) and set(seconds) == set(CANDIDATES) else {}


def _remember(
    device: Device, settings: TrainingSettings, seconds: Mapping[Precision, float]
) -> bool:
    """Keep what was measured; say whether the file could be written."""
    try:
        write_json(answers(), {**_read(), _question(device, settings): seconds})
    except OutputError:
        return False
    return True


def _say(
    settings: TrainingSettings,
    seconds: Mapping[Precision, float],
    fastest: Precision,
    *,
    kept: bool,
) -> None:
    times = ", ".join(f"{value:.3g} s in {each}" for each, value in seconds.items())
    where = f" (kept in {answers()})" if kept else ""
    say(
        f"A step of {settings.network}, {settings.batch_size} images of {settings.height} x "
        f"{settings.width}, takes {times}{where}: training in {fastest}; --precision overrides it"
    )
