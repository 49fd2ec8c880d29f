"""Compare trainings with each other, out of fold and on the validation or test set."""

from dermseg.experiments.findings import OUT_OF_FOLD, Findings
from dermseg.experiments.statistics import Table
from dermseg.experiments.study import Study, shared


def measure(study: Study) -> Findings:
    """Score every arm; of one seed its members are one model on the set validation or test."""
    tables: dict[str, dict[str, Table]] = {
        OUT_OF_FOLD: shared({arm.label: study.out_of_fold(arm) for arm in study.arms})
    }
    if study.scored_set is not None:
        images = study.scored_set
        tables[images.name] = {
            arm.label: {
                seed: study.scorer.scored_set(arm.model(seed), found, images)
                for seed, found in arm.runs.items()
            }
            for arm in study.arms
        }
    return Findings(tables, study.judge(tables, study.experiment.claims))
