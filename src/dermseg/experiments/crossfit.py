"""Methods with a few parameters, chosen and applied out of fold.

What a method finds lies in folders like those of trainings: each image's probability was found with
parameters that were chosen on other folds. Whatever reads a training's predictions reads these.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dermseg import __version__
from dermseg.data.datasets import Cache
from dermseg.errors import DataError
from dermseg.evaluation.maps import binariser
from dermseg.experiments.baselines.baseline import Baseline, Parameters
from dermseg.experiments.study import Study, Trained
from dermseg.imaging.images import Pixels
from dermseg.imaging.mask_files import MASK_FOREGROUND
from dermseg.masks.metrics import score
from dermseg.masks.postprocess import Probability
from dermseg.progress import track
from dermseg.settings import ThresholdSettings
from dermseg.storage.files import read_json, write_json
from dermseg.training.run_folder import (
    held_out_names,
    predicted_folds,
    read_held_out,
    write_held_out,
)

SEARCHED = 200
"""Images that every candidate is tried on: as many of each part, evenly spread over it."""
SEARCH = "search.json"
CHOICE = "choice.json"
Maps = Mapping[int, Mapping[str, Probability]]
"""Probabilities by seed, then by image."""


@dataclass(frozen=True)
class Method:
    """What there is to choose from, and how an image's probability is found.

    `predict` takes seed, image and parameters. `facts` say what else decides its predictions, such
    as the digest of those that it starts from.
    """

    name: str
    label: str
    source: str
    candidates: Sequence[Parameters]
    predict: Callable[[int, str, Parameters], Probability]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Images:
    """A data set at the network's size, by image, as the network sees it."""

    cache: Cache
    rows: Mapping[str, int]
    thresholds: ThresholdSettings

    @classmethod
    def of(cls, cache: Cache, thresholds: ThresholdSettings = ThresholdSettings()) -> "Images":
        """Index `cache` by image; `thresholds` make the masks that are scored."""
        rows = {image: row for row, image in enumerate(cache.image_ids)}
        return cls(cache, rows, thresholds)

    def pixels(self, image: str) -> Pixels:
        """Return an image as uint8 RGB (h, w, 3)."""
        return np.ascontiguousarray(self.cache.images[self.rows[image]].transpose(1, 2, 0))

    def turned(self, images: Sequence[str]) -> NDArray[np.bool_]:
        """Return which of `images` the network sees after a quarter turn."""
        return self.cache.turned[[self.rows[image] for image in images]]

    def jaccard(self, image: str, probability: Probability) -> float:
        """Return the Jaccard index of a probability's mask, at the network's size."""
        truth = self.cache.masks[self.rows[image]] > MASK_FOREGROUND
        found = binariser(self.thresholds)(probability, *truth.shape)
        return score(truth, found).jaccard


def crossfit(method: Method, reference: Trained, images: Images, output: Path) -> Trained:
    """Choose the parameters for each fold of `reference` on the other folds, and predict with them.

    Of a single fold each half is a part of its own. Leaves `output`/chosen/NAME/seed-S with what
    was tried, and in it a folder a part with the choice and held-out.npz. What is there already is
    left as it is.

    Raises DataError if there is only one image, which leaves none to choose by.
    """
    found = {}
    for seed, runs in reference.runs.items():
        held_out = _parts(runs)
        searched = [
            name for part in held_out.values() for name in _sampled_evenly(part, len(held_out))
        ]
        folder = output / "chosen" / method.name / f"seed-{seed}"
        found[seed] = [folder / name for name in held_out]
        facts = {
            "dermseg": __version__,
            "method": method.name,
            "data": images.cache.digest,
            "thresholds": asdict(images.thresholds),
            "candidates": [dict(each) for each in method.candidates],
            "folds": sha256(json.dumps(held_out).encode()).hexdigest(),
            "searched": sha256(json.dumps(searched).encode()).hexdigest(),
            **method.facts,
        }
        missing = [name for name in held_out if _read(folder / name / CHOICE, facts) is None]
        if not missing:
            continue
        tried = _search(method, seed, searched, images, folder, facts)
        for name in missing:
            outside = [image not in held_out[name] for image in searched]
            if not any(outside):
                raise DataError(
                    f"{runs[0].parent}: too few images were held out to choose parameters by"
                )
            best = int(tried[:, outside].mean(1).argmax())
            chosen = method.candidates[best]
            maps = [
                method.predict(seed, image, chosen)
                for image in track(held_out[name], f"{method.label}, {name}", len(held_out[name]))
            ]
            turned = images.turned(held_out[name])
            write_held_out(folder / name, held_out[name], np.stack(maps), turned)
            write_json(folder / name / CHOICE, {**facts, "chosen": dict(chosen)}, compact=True)
    return Trained(method.name, method.label, found, reference.given)


def predictions(arm: Trained) -> Maps:
    """Return an arm's probabilities out of fold, by seed, then by image, as the network saw it."""
    return {
        seed: {
            image: found
            for run in predicted_folds(runs)
            for image, found in read_held_out(run, as_seen=True).items()
        }
        for seed, runs in arm.runs.items()
    }


def open_images(study: Study, maps: Maps) -> Images:
    """Return the images at the size of `maps`; DataError if there are none."""
    shapes = {found.shape for each in maps.values() for found in each.values()}
    if len(shapes) != 1:
        raise DataError(
            f"{study.arms[0].label}: needs held-out predictions, all of one height and width"
        )
    ((height, width),) = shapes
    held_out = {image for each in maps.values() for image in each}
    return Images.of(study.open_images(held_out, height, width), study.thresholds)


def baseline_method(name: str, baseline: Baseline, images: Images) -> Method:
    """Return a baseline as a method to choose the parameters of."""

    def predict(_: int, image: str, parameters: Parameters) -> Probability:
        return baseline.segment(images.pixels(image), **parameters)

    return Method(name, baseline.label, baseline.source, baseline.candidates, predict)


def choices(found: Trained) -> list[Parameters]:
    """Return what was chosen for each seed and fold."""
    files = [run / CHOICE for runs in found.runs.values() for run in runs]
    return [read_json(file)["chosen"] for file in files]


def _parts(runs: Sequence[Path]) -> dict[str, list[str]]:
    """Return the images that get their parameters together, by the name of their part."""
    held_out = {run.name: held_out_names(run) for run in predicted_folds(runs)}
    if len(held_out) > 1:
        return held_out
    return {
        f"{fold}-half-{half}": images[half::2]
        for fold, images in held_out.items()
        for half in range(2)
    }


def _sampled_evenly(part: Sequence[str], parts: int) -> list[str]:
    """Return the images of a part that candidates are tried on, evenly spread over it."""
    names = sorted(part)
    count = min(max(1, SEARCHED // parts), len(names))
    return [names[place] for place in np.linspace(0, len(names) - 1, count).astype(int)]


def _search(
    method: Method,
    seed: int,
    searched: Sequence[str],
    images: Images,
    folder: Path,
    facts: Mapping[str, Any],
) -> NDArray[np.float64]:
    """Return each candidate's Jaccard index on each of the images `searched`."""
    if (known := _read(folder / SEARCH, facts)) is not None:
        return np.array(known["jaccard"])

    def score_all(image: str) -> list[float]:
        return [
            images.jaccard(image, method.predict(seed, image, parameters))
            for parameters in method.candidates
        ]

    progress = track(searched, f"{method.label}, search", len(searched))
    tried = np.array([score_all(image) for image in progress]).T.round(5)  # as they are kept
    means = [round(value, 5) for value in tried.mean(1).tolist()]
    result = {"images": list(searched), "mean": means, "jaccard": tried.tolist()}
    write_json(folder / SEARCH, {**facts, **result}, compact=True)
    return tried


def _read(file: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a file says, None if it is not there or of other facts."""
    if not file.is_file():
        return None
    content: dict[str, Any] = read_json(file)
    expected = json.loads(json.dumps(facts))
    return content if all(content.get(key) == value for key, value in expected.items()) else None
