"""Download the official archives of the challenge."""

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
    """Download photographs and masks of an ISIC challenge (CC-0), check and unpack them.

    Example: dermseg fetch isic2017 -o isic2017 --thumbnails 512

    A stopped download continues when you start it again. An archive is removed after it is
    unpacked.

    Parameters
    ----------
    challenge
        The challenge whose segmentation task to download.
    output
        Folder that gets a folder for each archive, as `dermseg train` reads them.
    split
        The part to download, training by default; may be given several times. The challenge of
        2016 has no validation part.
    thumbnails
        Reduce photographs to this longest side, in pixels, one at a time. Masks keep their size;
        `dermseg train` then needs --allow-resized.
    url
        Another address of the archives than the challenge's own; it has a folder for each year.
    """
    from dermseg.data.archives import BASE, Fetching, fetch

    fetching = Fetching(output, thumbnails, url or BASE)
    for part in split or ["training"]:
        count = fetch(challenge, part, fetching)
        say(f"{count} photographs with their masks in {output} ({challenge}, {part})")
    return 0
