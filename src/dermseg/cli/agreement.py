"""Measure how well the readers of a folder of masks agree."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import say, show
from dermseg.errors import UsageError


def agreement(
    masks: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
) -> int:
    """Measure how well the readers of a folder of masks agree.

    For every two readers, it compares what they kept and rejected, with Cohen's kappa. For the
    masks that both kept, it prints the mean Jaccard index and the mean Cohen's kappa over pixels.

    Example: dermseg agreement masks -o agreement.csv

    Parameters
    ----------
    masks
        Folder that several readers reviewed with `dermseg serve --review --reader`.
    output
        CSV file for a table with a row for each photograph and two readers.
    """
    from dermseg.evaluation.agreement import agreements, write

    if not masks.is_dir():
        raise UsageError(f"{masks}: no such folder of masks")
    found = agreements(masks)
    if not found:
        raise UsageError(
            f"{masks}: needs the decisions of at least two readers; another reader reviews it with "
            f"dermseg serve --review {masks} --reader NAME PHOTOGRAPHS"
        )
    for each in found:
        show(each)
    if output is not None:
        write(found, output)
        say(f"{output}: {sum(len(each.pairs) for each in found)} rows")
    return 0
