"""All methods side by side (paper, Table VI): networks, baselines without training, CRF, ensembles.

The first arm is what all are compared with. What is not trained is chosen and applied out of fold
like it (see `crossfit`), on the same images at the same size.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

import numpy as np
import torch

from dermseg.experiments.baselines import BASELINES, dense_crf
from dermseg.experiments.baselines.baseline import Parameters
from dermseg.experiments.crossfit import (
    Images,
    Maps,
    Method,
    baseline_method,
    choices,
    crossfit,
    open_images,
    predictions,
)
from dermseg.experiments.figures import scatter
from dermseg.experiments.findings import OUT_OF_FOLD, Findings
from dermseg.experiments.registry import CROSS_ENTROPY, UNET, Claim
from dermseg.experiments.scoring import contents
from dermseg.experiments.statistics import Table, correlation, wilcoxon
from dermseg.experiments.study import Study, Trained, shared
from dermseg.export.exporter import load_run
from dermseg.masks.postprocess import Probability
from dermseg.storage.files import read_json, write_json
from dermseg.storage.tables import write_table
from dermseg.training.color import ColorChannels
from dermseg.training.run_folder import HELD_OUT, WEIGHTS, predicted_folds

ENSEMBLE_WEIGHTS = tuple(tenths / 10 for tenths in range(11))
"""Weights of the second method that are tried in an ensemble."""
TIMED = 5
"""Images that the methods are timed on, in turns; the median counts."""
REFINED = (UNET.name, CROSS_ENTROPY.name)
"""Arms, other than the first, that a CRF is put after."""
COLUMNS = (
    "method",
    "source",
    "combinations_tried",
    "chosen",
    "r",
    "r_95_low",
    "r_95_high",
    "wilcoxon_p",
    "seconds_an_image",
    "times_the_first",
)
NOTES = (
    "The networks have the same epochs, augmentation and settings; the JSON file lists what "
    "differs. The images are split into parts: the folds, or the two halves of the fold where only "
    "one was trained. The parameters of the other methods are chosen for each part on the other "
    "parts, by the Jaccard index at the networks' size on 200 images, equally many of each part.",
    "r is the correlation of the images' Jaccard indices with the first row's, with a bootstrap "
    "interval over images. p is that of Wilcoxon's signed-rank test against the first row, "
    "two-sided. Seconds are for one photograph at the networks' size on the processor, with the "
    "parameters of the first part, without reading the photograph or making its mask: the median "
    "of 5 photographs, all methods in turns in one process.",
    "The table has no row for human readers, since the data have one mask an image. Two annotators "
    "of one image have a mean Jaccard index of about 0.72 (379 of the test images, IMA++ data "
    "set).",
)


Work = Callable[[str], object]
"""What a method does to find an image's probability."""


@dataclass(frozen=True)
class Row:
    """A method with its predictions, and what the table says of it.

    `steps` are what it does, one after the other, by names that say all that decides their time;
    without any it left nothing but predictions.
    """

    found: Trained
    source: str
    tried: int
    chosen: str
    steps: Mapping[str, Work]


def measure(study: Study) -> Findings:
    """Find, choose, score and time every method; draw the first against each of its baselines."""
    rows = collect(study)
    tables = shared({row.found.label: study.out_of_fold(row.found) for row in rows})
    beside = study.output / f"{study.name}-methods.csv"
    write_table(beside, COLUMNS, _lines(rows, tables, _seconds(study, rows)))
    first = rows[0].found
    ensembles = {_together(first.label, row.found.label) for row in rows}
    drawn = [row.found.label for row in rows[1:] if row.found.label not in ensembles]
    figures = scatter.write(study, tables, first.label, drawn)
    verdicts = study.judge({OUT_OF_FOLD: tables}, list(_claims(study)))
    return Findings({OUT_OF_FOLD: tables}, verdicts, figures, NOTES, [beside])


def collect(study: Study) -> list[Row]:
    """Return a row for each network, CRF, baseline and ensemble; the first arm's is the first."""
    first = study.arms[0]
    maps = {arm.name: predictions(arm) for arm in study.arms}
    images = open_images(study, maps[first.name])
    networks = [Row(arm, "trained", 0, "", _network(arm, images)) for arm in study.arms]
    fit = partial(crossfit, reference=first, images=images, output=study.output)
    refined = []
    for row in networks:
        if row.found is first or row.found.name in REFINED:
            method = _refinement(row.found, maps[row.found.name], images)
            refined.append(_row(fit(method), method, row))
    untrained = []
    for name, baseline in BASELINES.items():
        method = baseline_method(name, baseline, images)
        untrained.append(_row(fit(method), method))
    together = []
    for row in [*networks[1:], *untrained]:
        other = maps.get(row.found.name) or predictions(row.found)
        method = _pair(first, row.found, maps[first.name], other)
        together.append(_row(fit(method), method, networks[0], row))
    return [*networks, *refined, *untrained, *together]


def _refinement(arm: Trained, maps: Maps, images: Images) -> Method:
    def predict(seed: int, image: str, parameters: Parameters) -> Probability:
        return dense_crf.refine(images.pixels(image), maps[seed][image], **parameters)

    return Method(
        f"{arm.name}+crf",
        f"{arm.label} + CRF",
        dense_crf.SOURCE,
        dense_crf.CANDIDATES,
        predict,
        {"after": _digest(arm)},
    )


def _pair(first: Trained, other: Trained, ours: Maps, theirs: Maps) -> Method:
    def predict(seed: int, image: str, parameters: Parameters) -> Probability:
        share = np.float32(parameters["share"])
        return (1 - share) * ours[seed][image] + share * theirs[seed][image]

    return Method(
        f"{first.name}+{other.name}",
        _together(first.label, other.label),
        "the paper, section V",
        [{"share": share} for share in ENSEMBLE_WEIGHTS],
        predict,
        {"of": [_digest(first), _digest(other)]},
    )


def _together(first: str, other: str) -> str:
    return f"{first} with {other}"


def _digest(arm: Trained) -> str:
    folds = [run for runs in arm.runs.values() for run in predicted_folds(runs)]
    parts = contents(run / HELD_OUT for run in folds)
    return sha256(" ".join(parts).encode()).hexdigest()


def _row(found: Trained, method: Method, *before: Row) -> Row:
    """Return a chosen method's row; `before` are those whose predictions it starts from."""
    made = choices(found)
    texts = [", ".join(f"{key} {value}" for key, value in each.items()) for each in made]
    chosen = "; ".join(
        f"{text} ({count} of {len(made)} parts)" for text, count in Counter(texts).items()
    )
    steps: dict[str, Work] = {}
    if all(row.steps for row in before):
        seed = next(iter(found.runs))

        def own(image: str) -> Probability:
            return method.predict(seed, image, made[0])

        steps = {name: work for row in before for name, work in row.steps.items()}
        steps[f"{method.name}: {texts[0]}"] = own
    return Row(found, method.source, len(method.candidates), chosen, steps)


def _network(arm: Trained, images: Images) -> dict[str, Work]:
    """Return a network's step; none where only predictions are left."""
    run = next(iter(arm.runs.values()))[0]
    if not (run / WEIGHTS).is_file():
        return {}
    member = load_run(run)
    color = ColorChannels(member.settings.channels)

    def work(image: str) -> None:
        rgb = torch.from_numpy(images.pixels(image)).permute(2, 0, 1).unsqueeze(0).float() / 255
        with torch.inference_mode():
            member.network(color(rgb)).sigmoid()

    return {sha256((run / WEIGHTS).read_bytes()).hexdigest(): work}


def _seconds(study: Study, rows: Sequence[Row]) -> dict[str, float]:
    """Return what each step of `rows` takes for an image, measured once, all in turns."""
    steps = {name: work for row in rows for name, work in row.steps.items()}
    file = study.output / f"{study.name}-seconds.json"
    known: dict[str, float] = read_json(file) if file.is_file() else {}
    if known.keys() == steps.keys():
        return known
    taken: dict[str, list[float]] = {name: [] for name in steps}
    images = [image for found in predictions(rows[0].found).values() for image in found]
    for image in images[: TIMED + 1]:
        for name, work in steps.items():
            began = time.perf_counter()
            work(image)
            taken[name].append(time.perf_counter() - began)
    # The first image makes ready what the others find.
    found = {name: round(float(np.median(each[1:] or each)), 5) for name, each in taken.items()}
    write_json(file, found)
    return found


def _lines(
    rows: Sequence[Row], tables: Mapping[str, Table], seconds: Mapping[str, float]
) -> Iterator[dict[str, object]]:
    first = tables[rows[0].found.label]
    own = sum(seconds[step] for step in rows[0].steps)
    for row in rows:
        took = sum(seconds[step] for step in row.steps)
        table = tables[row.found.label]
        compared: dict[str, object] = dict.fromkeys(COLUMNS[4:8], "")
        if table is not first:
            r, low, high = correlation(first, table)
            compared = {
                "r": round(r, 3),
                "r_95_low": round(low, 3),
                "r_95_high": round(high, 3),
                "wilcoxon_p": f"{wilcoxon(first, table):.2g}",
            }
        yield {
            "method": row.found.label,
            "source": row.source,
            "combinations_tried": row.tried or "",
            "chosen": row.chosen,
            **compared,
            "seconds_an_image": f"{took:.4f}" if row.steps else "",
            "times_the_first": f"{took / own:.3g}" if row.steps and own else "",
        }


def _claims(study: Study) -> Iterator[Claim]:
    """Yield what is claimed of the methods; those without both rows are not judged."""
    yield from study.experiment.claims
    first = study.arms[0].label
    text = "a CRF after the network lowers the Jaccard index"
    yield Claim(text, "section V", first, f"{first} + CRF", same_networks=True)
    contour, otsu = BASELINES["active-contour"].label, BASELINES["otsu"].label
    yield Claim(
        "in an ensemble a less correlated partner (active contour) helps more than U-Net",
        "section V",
        _together(first, contour),
        _together(first, UNET.label),
    )
    for partner in (*(arm.label for arm in study.arms[1:]), contour):
        together = _together(first, partner)
        yield Claim(f"an ensemble with {partner} beats {first} alone", "section V", together, first)
    for arm in study.arms:
        yield Claim(f"{arm.label} beats Otsu's threshold", "section IV-D", arm.label, otsu)
    for name, baseline in BASELINES.items():
        if name != "otsu":
            text = f"{baseline.label} beats Otsu's threshold"
            yield Claim(text, "ours", baseline.label, otsu, same_networks=True)
