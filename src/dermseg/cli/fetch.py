"""Fetch the challenge's official archives."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from dermseg.cli.console import say


def fetch(
    challenge: Literal["isic2016", "isic2017", "isic2018"],
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    split: Annotated[
        list[Literal["training", "validation", "test"]] | None, Parameter(negative=())
    ] = None,
    thumbnails: int | None = None,
    url: str | None = None,
) -> int:
    """Fetch photographs and masks of an ISIC challenge (CC-0), check and unpack them.

    Example: dermseg fetch isic2017 -o isic2017 --thumbnails 512

    What was stopped goes on when it is started again. Archives are removed once they are unpacked.

    Parameters
    ----------
    challenge
        Whose segmentation task.
    output
        The folder, which gets a folder for each archive, as `dermseg train` reads them.
    split
        Which part; may be given several times. The training part unless given. The challenge of
        2016 has no validation part.
    thumbnails
        Reduce photographs to this longest side, in pixels, one at a time. Masks stay whole;
        `dermseg train` then needs --allow-resized.
    url
        Where the archives lie, if not at the challenge's own address: a folder for each year.
    """
    from dermseg.data.archives import BASE, Fetching, fetch

    fetching = Fetching(output, thumbnails, url or BASE)
    for part in split or ["training"]:
        count = fetch(challenge, part, fetching)
        say(f"{count} photographs with their masks in {output} ({challenge}, {part})")
    return 0
