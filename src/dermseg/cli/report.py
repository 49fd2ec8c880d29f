"""Put experiments on one page."""

from pathlib import Path

from dermseg.cli.console import show


def report(folder: Path, /) -> int:
    """Put all experiments of a folder on one page: report.html and report.md.

    The HTML page needs no other file. It follows the light or dark mode of your system, and can be
    printed.

    Example: dermseg report results/

    Parameters
    ----------
    folder
        Folder that `dermseg experiment` filled.
    """
    from dermseg.experiments.page import write_page

    for file in write_page(folder):
        show(file)
    return 0
