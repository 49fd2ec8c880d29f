"""Each member against the ensemble (paper, section III-B: bagging).

Not out of fold: every image there was seen by all members but one, so that an ensemble has nothing
to show. Only validation or test images from all members can tell.
"""

from collections.abc import Sequence

from dermseg.experiments.findings import OUT_OF_FOLD, Findings
from dermseg.experiments.registry import AVERAGE, ENSEMBLE
from dermseg.experiments.statistics import Table
from dermseg.experiments.study import Study
from dermseg.masks.metrics import Scores, mean


def measure(study: Study) -> Findings:
    """Score the members, all of them together, and what the members reach on average."""
    (arm,) = study.arms
    assert study.scored_set is not None  # the registry says so
    rows: dict[str, dict[int, dict[str, Scores]]] = {AVERAGE: {}}
    for seed, found in arm.runs.items():
        name = arm.model(seed)
        alone = {
            run.name: study.scorer.scored_set(f"{name}/{run.name}", [run], study.scored_set)
            for run in found
        }
        for member, scores in alone.items():
            rows.setdefault(member, {})[seed] = scores
        rows[AVERAGE][seed] = average(list(alone.values()))
        together = study.scorer.scored_set(name, found, study.scored_set)
        rows.setdefault(ENSEMBLE, {})[seed] = together
    tables: dict[str, dict[str, Table]] = {
        OUT_OF_FOLD: {"each image by the member that had not seen it": study.out_of_fold(arm)},
        study.scored_set.name: {**rows},
    }
    return Findings(tables, study.judge(tables, study.experiment.claims))


def average(members: Sequence[dict[str, Scores]]) -> dict[str, Scores]:
    """Return each image's mean over the members."""
    return {image: mean([scores[image] for scores in members]) for image in members[0]}
