"""Write outlines in another tool's form."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import say
from dermseg.settings import Form, One


def convert(
    source: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    to: Form,
    from_: Annotated[Form | None, Parameter(name="--from")] = None,
    photographs: Path | None = None,
    label: str | None = None,
    rle: Annotated[bool, Parameter(negative=())] = False,
    tolerance: float = 0.0,
    one: One | None = None,
) -> int:
    """Write outlines in another tool's form, exact to the pixel unless told otherwise.

    Example: dermseg convert masks/ -o lesions.json --to coco

    Parameters
    ----------
    source
        File or folder with outlines: masks, such as `dermseg segment` wrote, or another form's.
    output
        The file or folder to write, which must not be there yet.
    to
        The form to write.
    from_
        The form of SOURCE, where it is not recognised.
    photographs
        Folder of the photographs, for what a form does not say: their names, sizes and EXIF
        orientations.
    label
        What a lesion is called: in SOURCE, if it has several labels, and in OUTPUT; "lesion" there
        unless given.
    rle
        Write run lengths in place of polygons, where the form knows both.
    tolerance
        How far a polygon's line may lie from the mask's edge, in pixels; 0 is exact.
    one
        Make several pieces one: "largest" keeps the largest alone, "union" joins all by bridges
        without width. All stay as they are unless given.
    """
    from dermseg.formats.annotation import LABEL, Photographs, Writing
    from dermseg.formats.conversion import Reading, convert, frame_told

    reading = Reading(source, from_, label, Photographs(photographs)).resolved()
    if line := frame_told(reading, to):
        say(line)
    writing = Writing(label or LABEL, rle)
    done = convert(reading, output, to, writing=writing, tolerance=tolerance, one=one)
    for failure in done.failures:
        say(f"failed: {failure}")
    if done.lost:
        name = max(done.lost, key=lambda name: done.lost[name])
        total = sum(done.lost.values())
        say(f"{total} pixels differ, in {len(done.lost)} outlines; most, {done.lost[name]}, {name}")
    say(f"{done.written} outlines in {output}, {len(done.failures)} failed")
    return 1 if done.failures else 0
