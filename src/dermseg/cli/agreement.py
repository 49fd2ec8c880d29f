"""Say how far the readers of a folder of masks agree."""

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
    """Say how far the readers of a folder of masks agree.

    For every two readers: what both kept or rejected, with Cohen's kappa; and of the masks that
    both kept the mean Jaccard index, and the mean of Cohen's kappa over a photograph's pixels.

    Example: dermseg agreement masks -o agreement.csv

    Parameters
    ----------
    masks
        Folder that several readers reviewed with `dermseg serve --review --reader`.
    output
        File for a table of every photograph.
    """
    from dermseg.evaluation.agreement import agreements, write

    if not masks.is_dir():
        raise UsageError(f"{masks}: no such folder of masks")
    found = agreements(masks)
    if not found:
        raise UsageError(
            f"{masks}: fewer than two readers decided there; another one reviews it with "
            f"dermseg serve --review {masks} --reader NAME PHOTOGRAPHS"
        )
    for each in found:
        show(each)
    if output is not None:
        write(found, output)
        say(f"{output}: {sum(len(each.pairs) for each in found)} rows")
    return 0
