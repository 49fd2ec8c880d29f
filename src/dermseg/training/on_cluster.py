"""Trainings on the machines of a cluster, one on each machine or on each GPU.

They share a folder, and each goes on where one before it was stopped, so that what a dying machine
had is simply done again.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dermseg.cluster import Pool, Task, connected
from dermseg.errors import ClusterError
from dermseg.progress import counted, say
from dermseg.settings import ClusterSettings, TrainingSettings
from dermseg.storage.files import writing
from dermseg.training import plugins

Training = tuple[str, Callable[[], object]]
"""What is trained, in words, and the function that does so: one of a module, with its arguments."""


@dataclass(frozen=True)
class _Build:
    """Prepares another process: the folder is there, and one's own networks are known."""

    folder: Path
    plugins: Sequence[str]

    def __call__(self) -> Callable[[Training], str]:
        if not self.folder.is_dir():
            raise ClusterError(
                f"{platform.node()}: cannot see {self.folder}; data and trainings must be on a "
                "disk that all machines of the cluster share, under the same path"
            )
        plugins.load(self.plugins)
        return _train


def _train(training: Training) -> str:
    training[1]()
    return ""


def same_everywhere(settings: TrainingSettings) -> TrainingSettings:
    """Return settings that mean the same on all machines: "auto" would time each machine."""
    return replace(settings, precision="float32") if settings.precision == "auto" else settings


def train_on_cluster(
    trainings: Sequence[Training],
    folder: Path,
    address: str,
    *,
    device: str = "auto",
    plugins: Sequence[str] = (),
) -> None:
    """Do all `trainings` on the cluster of that address; they write into `folder`.

    Raises ClusterError if the cluster cannot be had, or a training's worker dies each time; and
    what a training raises.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    task = Task[Training, str](
        _Build(folder, plugins),
        lambda training, why: f"{training[0]}: the worker died each time ({why})",
        gpus=1.0 if device == "cuda" else 0.0,
        whole=device != "cuda",
        depth=1,
    )
    with connected(ClusterSettings(cluster=address, chunk=1)) as cluster:
        pool = Pool[Training, str](cluster, task)
        for done, (index, lost) in enumerate(pool.map(trainings), 1):
            if lost:
                raise ClusterError(lost)
            state = f"{done} of {len(trainings)}, {counted(pool.nodes, 'node')}"
            say(f"{trainings[index][0]} done ({state})")
