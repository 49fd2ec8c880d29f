"""The worst cases (paper, Figure 4)."""

from dermseg.experiments import arms
from dermseg.experiments.figures.contours import cases, first_scores, ranked
from dermseg.experiments.figures.drawing import draw_cases
from dermseg.experiments.findings import Findings
from dermseg.experiments.study import Study

COUNT, COLUMNS = 8, 4
NOTE = (
    "The images with the lowest Jaccard index, each predicted by the member that had not seen it. "
    "The true outline is dashed red, the predicted one solid yellow."
)


def measure(study: Study) -> Findings:
    """Score the arm, and draw what it fails at."""
    scored = arms.measure(study)
    scores = first_scores(study)
    worst = cases(study, ranked(scores)[:COUNT], scores)
    rows = [("", worst[start : start + COLUMNS]) for start in range(0, len(worst), COLUMNS)]
    figure = study.output / f"{study.name}.png"
    draw_cases(rows, figure)
    return Findings(scored.tables, scored.verdicts, [figure], [NOTE])
