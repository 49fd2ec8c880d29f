"""The null experiment: one training repeated with other seeds, so that no difference is real.

How often one is called real all the same says how far verdicts can be trusted.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from dermseg.errors import UsageError
from dermseg.experiments.findings import OUT_OF_FOLD, Findings
from dermseg.experiments.statistics import MINIMUM_SEEDS, Table, decide, difference
from dermseg.experiments.study import Study, shared
from dermseg.storage.tables import write_table

COLUMNS = ("first", "second", "jaccard_difference", "low", "high", "called_real")


def measure(study: Study) -> Findings:
    """Compare each two seeds, and each two groups of seeds that suffice for a verdict."""
    (arm,) = study.arms
    table = study.out_of_fold(arm)
    if len(table) < 2:
        raise UsageError("the null experiment compares seeds: give trainings of at least 2")
    by_seed = shared({f"seed {seed}": {0: table[seed]} for seed in table})
    rows = list(compare(table))
    beside = study.output / f"{study.name}-pairs.csv"
    write_table(beside, COLUMNS, rows)
    return Findings({OUT_OF_FOLD: by_seed}, [], notes=[tell(rows)], beside=[beside])


def compare(table: Table) -> Iterator[dict[str, object]]:
    """Yield a row for each comparison of some seeds with others."""
    for groups in groupings(sorted(table)):
        ours, theirs = ({n: table[seed] for n, seed in enumerate(group)} for group in groups)
        mean, low, high = difference(ours, theirs).of("jaccard")
        named = [" ".join(map(str, group)) for group in groups]
        values = (round(value, 5) for value in (mean, low, high))
        real = "no" if decide(low, high) == "undecided" else "yes"
        yield dict(zip(COLUMNS, (*named, *values, real), strict=True))


def groupings(seeds: Sequence[int]) -> Iterator[tuple[Sequence[int], Sequence[int]]]:
    """Yield every two seeds, then every two groups, without a common seed, that can be judged."""
    for one, other in combinations(seeds, 2):
        yield [one], [other]
    for ours in combinations(seeds, MINIMUM_SEEDS):
        rest = [seed for seed in seeds if seed > ours[0] and seed not in ours]
        for theirs in combinations(rest, MINIMUM_SEEDS):
            yield ours, theirs


def tell(rows: Sequence[Mapping[str, object]]) -> str:
    """Return how often a difference was called real, of one seed each and of several."""
    parts = []
    for count, seeds in ((1, "one seed"), (MINIMUM_SEEDS, f"{MINIMUM_SEEDS} seeds")):
        found = [row for row in rows if len(str(row["first"]).split()) == count]
        if found:
            real = sum(row["called_real"] == "yes" for row in found)
            parts.append(f"{real} of {len(found)} with {seeds} each")
    return (
        "The trainings differ only in their seeds. The interval of a difference still excludes 0 "
        f"in {', and in '.join(parts)}. The comparisons use the same trainings again."
    )
