"""Contours on photographs, by diagnosis (paper, Figure 3).

The paper shows "a few challenging examples". So that nobody chooses, ours are those at fixed places
in the order of the Jaccard index, each image predicted by the member that had not seen it.
"""

from collections.abc import Mapping, Sequence

from dermseg.data.layouts import find_pairs, read_facts
from dermseg.data.metadata import UNKNOWN
from dermseg.experiments import arms
from dermseg.experiments.figures.drawing import Case, draw_cases, make_case
from dermseg.experiments.findings import Findings
from dermseg.experiments.study import Study
from dermseg.masks.metrics import Scores
from dermseg.training.run_folder import predicted_folds, read_held_out

PLACES = (0.2, 0.4, 0.6, 0.8)
"""Fractions of a diagnosis's images that score below the ones drawn."""
ORDER = ("nevus", "seborrheic_keratosis", "melanoma")
"""The paper's order; other diagnoses follow."""
NOTE = (
    "The true outline is dashed red, the predicted one solid yellow. The images are those at the "
    "20th, 40th, 60th and 80th percentile of each diagnosis's Jaccard index, each predicted by the "
    "member that had not seen it."
)


def measure(study: Study) -> Findings:
    """Score the arm, and draw images of each diagnosis."""
    scored = arms.measure(study)
    scores = first_scores(study)
    groups = read_facts(study.data, find_pairs(study.data))
    parts: dict[str, list[str]] = {}
    for image in ranked(scores):
        diagnosis = groups.get(image, {}).get("diagnosis", UNKNOWN)
        parts.setdefault(diagnosis, []).append(image)
    order = [*(name for name in ORDER if name in parts), *sorted(parts.keys() - set(ORDER))]
    chosen = {
        name: [parts[name][int(place * len(parts[name]))] for place in PLACES] for name in order
    }
    figure = study.output / f"{study.name}.png"
    rows = [(name.replace("_", " "), cases(study, chosen[name], scores)) for name in order]
    draw_cases(rows, figure)
    return Findings(scored.tables, scored.verdicts, [figure], [NOTE])


def first_scores(study: Study) -> Mapping[str, Scores]:
    """Return the first arm's scores out of fold, of its first seed."""
    return next(iter(study.out_of_fold(study.arms[0]).values()))


def ranked(scores: Mapping[str, Scores]) -> list[str]:
    """Return the images from the lowest Jaccard index upwards."""
    return sorted(scores, key=lambda image: (scores[image].jaccard, image))


def cases(study: Study, images: Sequence[str], scores: Mapping[str, Scores]) -> list[Case]:
    """Return `images` as the first arm's first seed found them."""
    folds = predicted_folds(next(iter(study.arms[0].runs.values())))
    maps = {name: level for run in folds for name, level in read_held_out(run).items()}
    pairs = study.scorer.pairs
    return [
        make_case(
            pairs[image],
            maps[image],
            study.thresholds,
            f"{image}, JA {scores[image].jaccard:.2f}",
        )
        for image in images
    ]
