"""Score each image once and keep its score: out of fold, and on the validation or test set.

A file of scores is named by a digest of all that decides them: predictions or weights, data, and
the way in which masks are made.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np

from dermseg import __version__
from dermseg.batch.jobs import find_jobs
from dermseg.batch.run import segment_all
from dermseg.cores import parallel_map
from dermseg.data.datasets import digest
from dermseg.data.layouts import Pair
from dermseg.errors import DataError, ModelError
from dermseg.evaluation.maps import Binariser, binariser, check_known, read_styles, score_maps
from dermseg.evaluation.scoring import evaluate
from dermseg.experiments import ledger
from dermseg.experiments.registry import SetName
from dermseg.export.exporter import export_model
from dermseg.imaging.mask_files import MASK_FOREGROUND
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.metrics import Scores
from dermseg.masks.postprocess import Probability
from dermseg.settings import DEFAULT_STYLE, BatchSettings, ScoringSettings, ThresholdSettings
from dermseg.storage.files import read_json, write_json
from dermseg.training.run_folder import HELD_OUT, WEIGHTS, predicted_folds, read_held_out

ARCHIVES: dict[SetName, tuple[str, str]] = {
    "validation": ("Validation_Data", "Validation_Part1_GroundTruth"),
    "test": ("Test_v2_Data", "Test_v2_Part1_GroundTruth"),
}
"""How the names of the official folders of photographs and masks end."""
TRIVIAL_SHAPE = (48, 64)
"""Height and width at which masks are averaged for the trivial method."""
KEY = 16
"""Characters of a digest that name a file."""


@dataclass(frozen=True)
class ScoredSet:
    """A set that nothing is trained on: its name in the ledger, photographs and masks."""

    name: str
    photographs: Path
    truth: Path

    @property
    def files(self) -> list[Path]:
        """Every photograph and mask."""
        return [*(job.photograph for job in find_jobs([self.photographs])), *self.truths]

    @property
    def truths(self) -> list[Path]:
        """Every mask."""
        return sorted(self.truth.glob("*.png"))


def find_scored_set(data: Path, which: SetName) -> ScoredSet:
    """Return the challenge's set `which` in the folder `data`.

    Raises DataError with the remedy if its folders are not there.
    """
    endings = ARCHIVES[which]
    found = [[p for p in sorted(data.glob(f"*{ending}")) if p.is_dir()] for ending in endings]
    if any(len(folders) != 1 for folders in found):
        raise DataError(
            f"{data}: expected one folder *{endings[0]} and one *{endings[1]}; this experiment "
            f"scores the {which} images: unpack ISIC-2017_{endings[0]}.zip and "
            f"ISIC-2017_{endings[1]}.zip there, as `dermseg fetch isic2017 --split {which}` does"
        )
    ((photographs,), (truth,)) = found
    challenge = photographs.name.removesuffix(endings[0]).strip("-_").replace("-", "").lower()
    return ScoredSet(f"{challenge}-{which}".lstrip("-"), photographs, truth)


@dataclass(frozen=True)
class Scorer:
    """Scores runs, and keeps what it found under `output`.

    `pairs` are the images of the data with their true masks; `ledger` receives a line for each
    scoring of validation or test images. `scoring` says how masks are made, and which are scored.
    """

    output: Path
    pairs: Mapping[str, Pair]
    ledger: Path
    scoring: ScoringSettings = ScoringSettings()

    def out_of_fold(
        self, runs: Sequence[Path], binarisers: Mapping[str, Binariser]
    ) -> dict[str, dict[str, Scores]]:
        """Score every image that one of `runs` held out, by that run, binarised in each way.

        `binarisers` are known by their names, which must say all that decides their masks. Returns
        scores by the binariser's name, then by image. Raises DataError if there are no predictions,
        or if they are of images that the data lack.
        """
        folds = predicted_folds(runs)
        predicted = contents(run / HELD_OUT for run in folds)
        maps = {i: m for run in folds for i, m in read_held_out(run).items()}
        if not maps:
            raise DataError(
                f"{', '.join(map(str, runs))}: no held-out predictions; train with --fold or "
                "--protocol"
            )
        check_known(maps, self.pairs)
        truth = contents(self.pairs[image].mask for image in sorted(maps))
        places = {way: self._place("out-of-fold", way, predicted, truth) for way in binarisers}
        missing = {way: each for way, each in binarisers.items() if not places[way].is_file()}
        if missing:
            for way, scores in score_maps(maps, self.pairs, missing).items():
                _write(places[way], scores)
        known = {way: _read(place) for way, place in places.items()}
        if self.scoring.style is None:
            return known
        styles = self._styles(sorted(maps))
        chosen = [image for image in maps if styles[image] == self.scoring.style]
        if not chosen:
            raise DataError(f"no held-out mask is outlined in the style {self.scoring.style}")
        return {way: {i: found[i] for i in chosen} for way, found in known.items()}

    def _styles(self, images: Sequence[str]) -> dict[str, str]:
        """Return the style in which the mask of each of `images` is outlined."""
        pairs = {image: self.pairs[image] for image in images}
        said = [pair.style for pair in pairs.values()]
        place = self._place("styles", said, contents(pair.mask for pair in pairs.values()))
        if not place.is_file():
            write_json(place, read_styles(pairs), compact=True)
        styles: dict[str, str] = read_json(place)
        return styles

    def trivial(self, images: Iterable[str]) -> dict[str, Scores]:
        """Score the floor of training: one mask for all images, where half of theirs have lesion.

        Whoever scores no more than that has learned nothing of the photographs.
        """
        names = sorted(images)
        pairs = [self.pairs[image] for image in names]
        place = self._place("trivial", TRIVIAL_SHAPE, contents(pair.mask for pair in pairs))
        if not place.is_file():
            common: Probability = np.mean(list(parallel_map(_shrink, pairs)), axis=0)
            halved = {"": binariser(ThresholdSettings(high=0.5, low=0.5))}
            _write(place, score_maps(dict.fromkeys(names, common), self.pairs, halved)[""])
        return _read(place)

    def scored_set(self, name: str, runs: Sequence[Path], images: ScoredSet) -> dict[str, Scores]:
        """Score the set `images` by all `runs` together, as `dermseg segment` would.

        They are exported as one model, which averages their probabilities. A scoring that is not
        known yet is a line in the ledger, as `name`.

        Raises DataError if a photograph cannot be segmented, ModelError if a run left predictions
        and no weights, and as `export_model` does.
        """
        for run in runs:
            if not (run / WEIGHTS).is_file():
                raise ModelError(f"{run}: holds no {WEIGHTS}, which scoring {images.name} needs")
        weights = contents(run / WEIGHTS for run in runs)
        seen = digest(images.files, times=False), contents(images.truths)
        place = self._place(images.name, repr(self.scoring), weights, seen)
        if not place.is_file():
            _write(place, self._segment_and_score(name, runs, images, place.stem))
        return _read(place)

    def _segment_and_score(
        self, name: str, runs: Sequence[Path], images: ScoredSet, key: str
    ) -> dict[str, Scores]:
        model = self.output / "models" / f"{name.replace('/', '-')}-{key}.onnx"
        if not model.is_file():
            export_model(runs, model)
        masks = self.output / "masks" / key
        jobs = find_jobs([images.photographs])
        segmenter = Segmenter(
            model,
            style=self.scoring.style or DEFAULT_STYLE,
            thresholds=self.scoring.thresholds,
        )
        results = segment_all(jobs, segmenter, masks, BatchSettings(size_from=images.truth))
        if failed := [result.error for result in results if result.error]:
            raise DataError.listing(f"{images.photographs}: cannot be scored", failed)
        evaluation = evaluate(images.truth, masks)
        if self.scoring.style is not None:
            evaluation = evaluation.where("style", self.scoring.style)
        scores = evaluation.images
        if not scores:
            raise DataError(f"{images.truth}: no mask is of the style {self.scoring.style}")
        # Before the scores are kept: a scoring that is cut short here is told twice, never untold.
        label = f"{name} ({len(runs)} members, {key})"
        ledger.append(self.ledger, label, images.name, list(scores.values()))
        return scores

    def _place(self, *facts: object) -> Path:
        text = json.dumps([__version__, *facts])
        return self.output / "scores" / f"{sha256(text.encode()).hexdigest()[:KEY]}.json"


def _shrink(pair: Pair) -> Probability:
    """Return a true mask, as the share of lesion in each pixel, at TRIVIAL_SHAPE."""
    mask = (pair.read_mask() > MASK_FOREGROUND).astype(np.float32)
    small = cv2.resize(mask, TRIVIAL_SHAPE[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32)


def _write(place: Path, scores: Mapping[str, Scores]) -> None:
    write_json(place, {image: asdict(each) for image, each in scores.items()}, compact=True)


def _read(place: Path) -> dict[str, Scores]:
    return {image: Scores(**each) for image, each in read_json(place).items()}


def contents(files: Iterable[Path]) -> list[str]:
    """Return a digest of each file's content: a mask may change and keep its size (BMP)."""
    return [sha256(file.read_bytes()).hexdigest() for file in files]
