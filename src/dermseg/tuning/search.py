"""What a search is: what it tries, on what, and where it leaves everything."""

import json
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from filelock import FileLock

from dermseg.settings import DataSettings, TrainingSettings, TuningSettings
from dermseg.tuning.ranking import Point

TRIALS = "trials"
LOCK = "lock"


def grid(tuning: TuningSettings) -> list[Point]:
    """Return every combination of what must be trained."""
    values = product(tuning.learning_rates, tuning.dropouts, tuning.windows)
    return [Point(*each) for each in values]


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search: what it tries, on what, and where it leaves everything.

    `training` holds the settings that all trials share, `data_settings` the folder of the decoded
    images, which they share too; `digest` identifies the data.
    """

    data: Path
    output: Path
    training: TrainingSettings
    tuning: TuningSettings
    data_settings: DataSettings
    digest: str

    @property
    def folds(self) -> range:
        """The folds that each trial trains."""
        return range(self.tuning.folds_used or self.training.folds)

    @property
    def trials(self) -> int:
        """How many trials there will be."""
        return self.tuning.trials or self.tuning.grid_size

    @property
    def plan(self) -> dict[str, Any]:
        """What is searched, as JSON gives it back; how many trials tpe makes may change."""
        tried = {k: v for k, v in asdict(self.tuning).items() if k != "trials"}
        plan: dict[str, Any] = {"data": self.digest, "training": asdict(self.training)}
        plan["tuning"] = tried
        if self.tuning.sampler == "grid":
            plan["trials"] = [asdict(point) for point in grid(self.tuning)]
        back: dict[str, Any] = json.loads(json.dumps(plan))
        return back

    def folder(self, point: Point) -> Path:
        """Return the folder of a trial, which is laid out like a protocol's."""
        return self.output / TRIALS / point.name

    def locked(self) -> FileLock:
        """Return the lock without which nobody writes to the search's own files."""
        return FileLock(self.output / LOCK)
