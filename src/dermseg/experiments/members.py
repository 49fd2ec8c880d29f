"""Each member against the ensemble (paper, section III-B: bagging).

Not out of fold: every image there was seen by all members but one, so that an ensemble has nothing
to show. Only images held back from all members can tell.
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
    assert study.held_back is not None  # the registry says so
    rows: dict[str, dict[int, dict[str, Scores]]] = {AVERAGE: {}}
    for seed, found in arm.runs.items():
        name = arm.model(seed)
        alone = {
            run.name: study.scorer.held_back(f"{name}/{run.name}", [run], study.held_back)
            for run in found
        }
        for member, scores in alone.items():
            rows.setdefault(member, {})[seed] = scores
        rows[AVERAGE][seed] = average(list(alone.values()))
        together = study.scorer.held_back(name, found, study.held_back)
        rows.setdefault(ENSEMBLE, {})[seed] = together
    tables: dict[str, dict[str, Table]] = {
        OUT_OF_FOLD: {"each image by the member that had not seen it": study.out_of_fold(arm)},
        study.held_back.name: {**rows},
    }
    return Findings(tables, study.judge(tables))


def average(members: Sequence[dict[str, Scores]]) -> dict[str, Scores]:
    """Return each image's mean over the members."""
    return {image: mean([scores[image] for scores in members]) for image in members[0]}
