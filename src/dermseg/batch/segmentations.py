"""DICOM segmentations beside the masks of a run."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from dermseg.batch.report import made_by
from dermseg.batch.run import Result
from dermseg.cores import parallel_map
from dermseg.errors import DermsegError, UsageError
from dermseg.formats.dicom_seg import Maker, write
from dermseg.imaging.containers import HEAD, holds_picture
from dermseg.imaging.mask_files import MASK_FOREGROUND, read_mask
from dermseg.inference.segmenter import Segmenter
from dermseg.progress import track
from dermseg.storage.files import written_whole
from dermseg.storage.journal import JOURNAL, Journal

FOLDER = "dicom-seg"


def write_segmentations(
    results: Sequence[Result], segmenter: Segmenter, output: Path
) -> tuple[int, list[str]]:
    """Write a segmentation for each DICOM photograph of a run, into OUTPUT/dicom-seg.

    Returns how many were written, and a line for each that failed. Raises UsageError if no
    photograph is DICOM, OutputError if a file cannot be written.
    """
    found = [result for result in results if not result.error and _is_dicom(result.job.photograph)]
    if not found:
        raise UsageError("--form dicom-seg: none of the photographs is DICOM")
    with Journal(output / JOURNAL) as journal:
        journal.begin(FOLDER)
    work = partial(_write, Maker.of(made_by(segmenter)), output)
    lines = list(track(parallel_map(work, found), "Writing segmentations", len(found)))
    failures = [line for line in lines if line]
    return len(found) - len(failures), failures


def _is_dicom(photograph: Path) -> bool:
    try:
        with photograph.open("rb") as file:
            return holds_picture(file.read(HEAD))
    except OSError:  # it was removed since
        return False


def _write(maker: Maker, output: Path, result: Result) -> str:
    """Write the segmentation of a photograph; return why not, or nothing."""
    job = result.job
    try:
        mask = read_mask(output / job.mask) > MASK_FOREGROUND
        content = write(job.photograph.read_bytes(), mask, maker, job.frame)
    except (DermsegError, OSError) as error:
        return f"{job.photograph}: {error}"
    path = output / FOLDER / job.name.with_name(job.name.stem + ".dcm")
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
    return ""
