"""Merge the shards of a folder."""

from pathlib import Path

from dermseg.cli.console import say
from dermseg.progress import counted


def merge(output: Path, /) -> int:
    """Merge what `dermseg segment --shard` left in a folder into one report.csv and one journal.

    The report is the same as that of one process, to the byte. While shards are missing, running or
    unfinished, the command names them and writes nothing. The shards' own files stay, so that you
    can run a shard again and merge again.

    Example: dermseg merge masks/

    Parameters
    ----------
    output
        Folder that the shards wrote to.
    """
    from dermseg.batch.merge import merge

    photographs, failed = merge(output)
    say(f"{output / 'report.csv'}: {counted(photographs, 'photograph')}, {failed} failed")
    return 1 if failed else 0
