"""DICOM segmentations beside the masks of a run."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from dermseg import __version__
from dermseg.batch.pictures import PROBABILITY_SUFFIX
from dermseg.batch.report import made_by
from dermseg.batch.run import row_as_left
from dermseg.batch.worker import Result
from dermseg.cores import parallel_map
from dermseg.errors import DermsegError, ImageError, UsageError
from dermseg.formats.conversion import Conversion, Reading, read_all
from dermseg.formats.dicom_seg import CERTAIN, Maker, write
from dermseg.imaging.containers import holds_picture
from dermseg.imaging.images import Mask
from dermseg.imaging.mask_files import MASK_FOREGROUND, read_mask
from dermseg.imaging.photographs import head_of, read_photograph, with_ending
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.postprocess import Probability
from dermseg.progress import track
from dermseg.settings import OutlineSettings
from dermseg.storage.beside import written_beside
from dermseg.storage.files import write_bytes
from dermseg.storage.journal import JOURNAL, read_journal
from dermseg.storage.stores import LocalStore
from dermseg.storage.tables import undefused

FOLDER = "dicom-seg"
BY_HAND = Maker("convert", "none", __version__, by_hand=True)
"""What made an outline that no run of dermseg left so."""


def write_segmentations(
    results: Sequence[Result], segmenter: Segmenter, output: Path, maps: Path | None = None
) -> tuple[int, list[str]]:
    """Write a segmentation for each DICOM photograph of a run, into OUTPUT/dicom-seg.

    Where the run left probability maps in the folder `maps`, each becomes a segmentation too,
    `<name>_probability.dcm`.

    Returns how many were written, and a line for each that failed. Raises UsageError if no
    photograph is DICOM, OutputError if a file cannot be written.
    """
    found = [
        result
        for result in results
        if not result.error and holds_picture(head_of(result.job.photograph))
    ]
    if not found:
        raise UsageError("--form dicom-seg: none of the photographs is DICOM")
    work = partial(_write, Maker.of(made_by(segmenter)), output, maps)
    with written_beside(output, FOLDER):
        lines = list(track(parallel_map(work, found), "Writing segmentations", len(found)))
    failures = [line for line in lines if line]
    return len(found) - len(failures), failures


def _write(maker: Maker, output: Path, maps: Path | None, result: Result) -> str:
    """Write the segmentations of a photograph; return why not, or nothing."""
    job = result.job
    try:
        mask = read_mask(output / job.mask) > MASK_FOREGROUND
        contents = {job.name: _segmentation(job.photograph, mask, maker, job.frame)}
        if maps is not None:
            drawn = with_ending(job.name, PROBABILITY_SUFFIX)
            probability = _scaled(maps / drawn, mask.shape)
            contents[drawn] = _segmentation(job.photograph, probability, maker, job.frame)
    except DermsegError as error:
        return str(error)
    for name, content in contents.items():
        _keep(content, output / FOLDER, name)
    return ""


def _segmentation(
    photograph: Path, mask: Mask | Probability, maker: Maker, frame: int | None = None
) -> bytes:
    """Return a segmentation of a photograph; raise ImageError, naming it, where there is none."""
    try:
        return write(photograph.read_bytes(), mask, maker, frame)
    except OSError as error:
        raise ImageError(f"{photograph}: cannot be read ({error.strerror})") from error
    except ImageError as error:
        raise ImageError(f"{photograph}: {error}") from error


def _scaled(path: Path, shape: tuple[int, ...]) -> Probability:
    """Return the probability in a map's file at the photograph's size, as masks are made of it."""
    grey = read_photograph(path).pixels[..., 0].astype(np.float32)
    scaled = cv2.resize(grey, shape[1::-1], interpolation=cv2.INTER_LINEAR)
    probability: Probability = scaled.round() / np.float32(CERTAIN)
    return probability


def _keep(content: bytes, folder: Path, name: Path) -> None:
    write_bytes(folder / with_ending(name, ".dcm"), content)


def convert_segmentations(
    reading: Reading, target: Path, settings: OutlineSettings, frame: int | None = None
) -> Conversion:
    """Write the outlines of a source as segmentations of DICOM photographs.

    `frame` is the one that was outlined in files of several, where the source does not say it. A
    mask that is as `dermseg segment` left it names the model that made it. Any other outline names
    a person, also one that was corrected in a review. Raises UsageError without the photographs'
    folder, or if the target is in the way; DataError if the source is damaged; OutputError if a
    file cannot be written.
    """
    if reading.photographs.folder is None:
        raise UsageError("--to dicom-seg: refers to photographs; name their folder, --photographs")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: is there already; choose another name, or move it away")
    makers = _makers(reading) if reading.form == "masks" else {}
    entries = read_all(reading)
    done = Conversion(unlabelled=[entry.photograph for entry in entries if entry.unlabelled])
    for entry in track(entries, "Converting", len(entries)):
        try:
            annotation, lost = entry.load().reduced(settings)
            path = reading.photographs.require(annotation.photograph, "a segmentation refers to it")
            maker = makers.get(_stem(annotation.photograph), BY_HAND)
            content = _segmentation(path, annotation.mask, maker, annotation.frame or frame)
        except DermsegError as error:
            done.failures.append(str(error))
            continue
        _keep(content, target, Path(annotation.photograph))
        done.written += 1
        if lost:
            done.lost[annotation.photograph] = lost
    return done


def _makers(reading: Reading) -> dict[str, Maker]:
    """Return what made each mask that is as a run left it, by its photograph without a suffix."""
    store = LocalStore(reading.source)
    entries = read_journal(reading.source / JOURNAL).items()
    rows = [row for mask, entry in entries if (row := row_as_left(entry, store, mask))]
    makers = {_stem(row["photograph"]): Maker.of(row) for row in rows}
    decided = reading.kept_by.rows() if reading.kept_by else {}
    for photograph, decision in decided.items():
        if decision["decision"] == "corrected":
            makers.pop(_stem(undefused(photograph)), None)
    return makers


def _stem(photograph: str) -> str:
    return with_ending(Path(photograph), "").as_posix()
