"""Write outlines in another tool's format."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import require, say
from dermseg.cli.options import FlatFlags
from dermseg.errors import UsageError
from dermseg.progress import counted
from dermseg.settings import Form, OutlineSettings, Written


def convert(
    source: Path,
    /,
    *,
    output: Annotated[Path, Parameter(alias="-o")],
    to: Written,
    from_: Annotated[Form | None, Parameter(name="--from")] = None,
    photographs: Path | None = None,
    accepted: Annotated[bool, Parameter(negative=())] = False,
    reader: str = "",
    frame: int | None = None,
    settings: Annotated[OutlineSettings, FlatFlags] = OutlineSettings(),
) -> int:
    """Write outlines in another tool's format, exact to the pixel unless an option says otherwise.

    Example: dermseg convert masks/ -o lesions.json --to coco

    Parameters
    ----------
    source
        File or folder with outlines: masks that `dermseg segment` wrote, or another tool's format.
    output
        The file or folder to write, which must not be there yet.
    to
        The format to write; dicom-seg writes a DICOM segmentation for each DICOM photograph.
    from_
        The format of SOURCE, where it is not recognised.
    photographs
        Folder of the photographs, for what a format does not say: their names, sizes and EXIF
        orientations.
    accepted
        SOURCE is a folder of masks that was reviewed with `dermseg serve --review`: write only the
        accepted masks and the corrected ones.
    reader
        With --accepted: the reader whose review counts, where there were several.
    frame
        With --to dicom-seg: the frame that was outlined, from 1, of DICOM files that have several.
        Of masks that `dermseg segment` wrote, report.csv says it.
    """
    from dermseg.formats.annotation import Photographs
    from dermseg.formats.conversion import Reading, convert, frame_told, tell_unlabelled
    from dermseg.storage.decisions import Reader

    if reader and not accepted:
        raise UsageError("--reader needs --accepted")
    if frame is not None and to != "dicom-seg":
        raise UsageError("--frame needs --to dicom-seg")
    kept_by = Reader(source, reader) if accepted else None
    if kept_by and not kept_by.table.is_file():
        raise UsageError(
            f"{kept_by.table}: no such file; --accepted takes a folder of masks after a review "
            "(dermseg serve --review)"
        )
    reading = Reading(source, from_, settings.label, Photographs(photographs), kept_by).resolved()
    if to == "dicom-seg":
        require("dicom", "highdicom")
        from dermseg.batch.dicom_segmentations import convert_segmentations

        done = convert_segmentations(reading, output, settings, frame)
    else:
        if line := frame_told(reading, to):
            say(line)
        done = convert(reading, output, to, settings)
    for failure in done.failures:
        say(f"failed: {failure}")
    if line := tell_unlabelled(len(done.unlabelled)):
        say(line)
    if done.lost:
        name = max(done.lost, key=lambda name: done.lost[name])
        total = sum(done.lost.values())
        say(f"{total} pixels differ, in {len(done.lost)} outlines; most, {done.lost[name]}, {name}")
    say(f"{counted(done.written, 'outline')} in {output}, {len(done.failures)} failed")
    return 1 if done.failures else 0
