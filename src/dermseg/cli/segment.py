"""Write masks of photographs."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from json import dumps
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dermseg.cli import console
from dermseg.cli.console import be_quiet, require, say, show, show_bytes, tell
from dermseg.cli.options import Flat, Where, as_place
from dermseg.errors import UsageError
from dermseg.progress import counted
from dermseg.settings import (
    BatchSettings,
    ClusterSettings,
    DivisionSettings,
    Form,
    MaskFrame,
    ModelSettings,
    PictureSettings,
    ThresholdSettings,
    Written,
)

if TYPE_CHECKING:
    from dermseg.batch.books import Shard
    from dermseg.batch.estimate import Estimate
    from dermseg.batch.jobs import Job
    from dermseg.batch.worker import Result
    from dermseg.inference.segmenter import Segmenter
    from dermseg.storage.journal import Row

STREAM = Path("-")
"""Standard input, or output."""
STREAMED = "dermseg segment - -o - < photograph.jpg > mask.png"
"""How they are used."""


def segment(
    photographs: Annotated[list[Where], Parameter(negative=())],
    /,
    *,
    output: Annotated[Where, Parameter(alias="-o")],
    pictures: Annotated[PictureSettings, Flat] = PictureSettings(),
    form: Annotated[list[Written] | None, Parameter(negative=())] = None,
    review: int | None = None,
    settings: Annotated[ModelSettings, Flat] = ModelSettings(),
    size_from: Path | None = None,
    mask_frame: MaskFrame | None = None,
    frame: int | None = None,
    pixels_per_mm: float | None = None,
    thresholds: Annotated[ThresholdSettings | None, Flat] = None,
    division: Annotated[DivisionSettings, Flat] = DivisionSettings(),
    machines: Annotated[ClusterSettings, Flat] = ClusterSettings(),
    json: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter(negative=(), alias="-q")] = False,
) -> int:
    """Write a mask for each photograph, and report.csv.

    By default the thresholds are those in the model's card for the style. If you give one of
    --rule, --high and --low, the others have the defaults below.

    Example: dermseg segment photographs/ -o masks/ --overlay pictures/

    Parameters
    ----------
    photographs
        Files, or folders with their subfolders; or - for one photograph from standard input. Also
        addresses of a store, such as s3://bucket/folder, or of an archive, such as
        zip://::photographs.zip or zip://::s3://bucket/photographs.zip.
    output
        Folder for the masks, `<name>_segmentation.png`, and report.csv, here or in a store. The
        mask of standard input goes to standard output: `-o -`.
    form
        Also write the outlines in this format, as OUTPUT/coco.json, OUTPUT/yolo and so on; may be
        given several times. `dermseg convert` has more options. dicom-seg writes a DICOM
        segmentation for each DICOM photograph, `OUTPUT/dicom-seg/<name>.dcm`, and with
        --probability a second one of type FRACTIONAL with the probability.
    review
        List this many masks, the least sure first, in OUTPUT/review.csv, with a contact sheet,
        OUTPUT/review_sheet.jpg; needs a model that says how sure it is.
    size_from
        Folder of masks; each new mask gets the size of the one for its photograph (for
        thumbnails).
    mask_frame
        How the masks of --size-from lie on photographs that EXIF turns: along the pixels as stored,
        or upright.
    frame
        The frame to segment, from 1, of DICOM files that have several.
    pixels_per_mm
        Scale of all photographs whose files do not give it: pixels of the mask for each millimetre
        of skin. The report then has millimetres.
    json
        Also print the report to standard output, as JSON, one line for each photograph.
    quiet
        Print only failures.
    """
    from dermseg.batch.estimate import estimate
    from dermseg.batch.jobs import Job, find_jobs, passed_over
    from dermseg.batch.run import segment_each
    from dermseg.inference.segmenter import Segmenter

    be_quiet(quiet)
    _check_numbers(review, pixels_per_mm)
    named, output = [as_place(each) for each in photographs], as_place(output)
    if STREAM in (*named, output):
        used = form, review, size_from, mask_frame, machines.cluster, division.shard
        if named != [output] or pictures != PictureSettings() or division.dry_run or any(used):
            raise UsageError(f"- reads one photograph and writes only its mask: {STREAMED}")
        job = Job(STREAM, STREAM, frame, pixels_per_mm=pixels_per_mm)
        return _segment_input(job, Segmenter(**vars(settings), thresholds=thresholds), json)
    _check_folder(output)
    _check_sizes(size_from, mask_frame)
    _check_forms(form or (), named, output, pictures)
    shard = _shard_of(division, output, needs_all=bool(form or review))
    written = (output, *pictures.folders)
    unused: list[str] = []
    jobs = find_jobs(named, without=written, unused=unused)
    if frame is not None or pixels_per_mm is not None:
        jobs = [replace(job, frame=frame, pixels_per_mm=pixels_per_mm) for job in jobs]
    segmenter = Segmenter(**vars(settings), thresholds=thresholds)
    _check_review(review, segmenter, output)
    part = f", shard {shard} of them" if shard else ""
    tell(f"{segmenter.description}: {counted(len(jobs), 'photograph')}{part}")
    for line in (*unused, *passed_over(named, without=written)):
        tell(f"skipped: {line}")
    batch = BatchSettings(pictures=pictures, size_from=size_from, mask_frame=mask_frame)
    if division.dry_run:
        return _show_estimate(estimate(jobs, segmenter, output, batch, shard=shard))
    tally = _Tally(review, everything="dicom-seg" in (form or ()), json=json)
    cluster = None if machines.cluster is None else machines
    for result in segment_each(jobs, segmenter, output, batch, shard=shard, cluster=cluster):
        tally.add(result)
    tally.tell(output)
    if isinstance(output, Path):
        tally.failed += _write_forms(form or (), tally.kept, segmenter, output, pictures)
    _write_review(review, tally, segmenter, output)
    return 1 if tally.failed else 0


class _Tally:
    """Counts results, says which failed, prints their rows with `json`, and keeps some.

    Those are what is needed for the list of the least sure, or `everything`.
    """

    def __init__(self, review: int | None, *, everything: bool, json: bool) -> None:
        self.done = self.reused = self.failed = 0
        self.kept: list[Result] = []
        self._review = review
        self._everything = everything
        self._json = json

    def add(self, result: "Result") -> None:
        """Add the next result."""
        from dermseg.batch.least_sure import least_sure

        if self._json:
            _show_row(result.row)
        self.failed += bool(result.error)
        self.done += not result.error
        self.reused += result.reused
        if result.error:
            say(f"failed: {result.error}")
            if console.debug and result.bug:
                say(result.bug)
        elif self._everything or self._review:
            self.kept.append(result)
            if not self._everything and len(self.kept) > 2 * (self._review or 0) + 1000:
                self.kept = least_sure(self.kept, self._review or 0)

    def tell(self, output: str | Path) -> None:
        """Say how many masks there are."""
        tell(
            f"{counted(self.done, 'mask')} in {output} ({self.reused} from an earlier run), "
            f"{self.failed} failed"
        )


def _shard_of(division: DivisionSettings, output: str | Path, *, needs_all: bool) -> "Shard | None":
    """Return the shard that is to be done, None for all; UsageError if all masks are needed."""
    from dermseg.batch.books import Shard

    if division.shard is None:
        return None
    if needs_all:
        raise UsageError("--shard: --form and --review need all masks; merge the shards first")
    if isinstance(output, str):
        raise UsageError("--shard: needs a folder, not a store; or give each shard its own OUTPUT")
    return Shard.parse(division.shard)


def _check_review(review: int | None, segmenter: "Segmenter", output: str | Path) -> None:
    """Raise UsageError for a list of the least sure masks that cannot be made, or written."""
    from dermseg.batch.least_sure import SHEET, TABLE, check_says_how_sure
    from dermseg.batch.run import check_tables

    if review is not None:
        check_says_how_sure(segmenter)
        check_tables(output, (TABLE, SHEET))


def _write_review(
    review: int | None, tally: _Tally, segmenter: "Segmenter", output: str | Path
) -> None:
    """Write the list of the least sure masks, or say that there is an older one."""
    from dermseg.batch.least_sure import TABLE, write_least_sure

    if review is not None:
        listed = write_least_sure(tally.kept, review, segmenter, output)
        tell(f"{output}: review.csv and review_sheet.jpg have the {listed} least sure")
    elif isinstance(output, Path) and (output / TABLE).exists() and tally.done > tally.reused:
        tell(f"{output / TABLE} is from an earlier run; --review writes it again")


def _show_estimate(found: "Estimate") -> int:
    """Print what a run would have to do."""
    size, unit = float(found.bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size >= 1000:
            size, unit = size / 1000, larger
    left = found.photographs - found.done
    show(f"{counted(found.photographs, 'photograph')}, {size:.4g} {unit}")
    show(f"{found.done} done, {left} to do")
    time = timedelta(seconds=round(found.seconds))
    show(f"{time} on this machine (hours:minutes:seconds), by {found.timed} that were timed")
    return 0


def _check_sizes(size_from: Path | None, mask_frame: MaskFrame | None) -> None:
    """Raise UsageError for a frame of masks that are not named."""
    if mask_frame is not None and size_from is None:
        raise UsageError("--mask-frame: is for the masks of --size-from; give --size-from too")


def _check_forms(
    forms: Sequence[Written],
    photographs: Sequence[Where],
    output: str | Path,
    pictures: PictureSettings,
) -> None:
    """Raise UsageError for a form that is written anyway, or cannot be written there.

    Raises MissingExtraError for one whose library is not installed.
    """
    if "masks" in forms:
        raise UsageError("--form masks: masks are always written")
    if "dicom-seg" in forms:
        require("dicom", "highdicom")
    if forms:
        from dermseg.formats.conversion import name_beside
        from dermseg.storage.beside import check_beside
        from dermseg.storage.stores import is_address

        if isinstance(output, str) or ("dicom-seg" in forms and is_address(pictures.probability)):
            raise UsageError("--form: needs folders on this machine, not a store")
        if "dicom-seg" in forms and any(map(is_address, photographs)):
            raise UsageError("--form dicom-seg: refers to files of this machine; download them")
        for form in forms:
            check_beside(output, name_beside(form))


def _check_numbers(review: int | None, pixels_per_mm: float | None) -> None:
    """Raise UsageError for numbers that there cannot be."""
    if review is not None and review < 1:
        raise UsageError(f"--review {review}: must be at least 1")
    if pixels_per_mm is not None and not 0 < pixels_per_mm < inf:
        raise UsageError(f"--pixels-per-mm {pixels_per_mm:g}: must be a number above 0")


def _segment_input(job: "Job", segmenter: "Segmenter", json: bool) -> int:
    """Write the mask of standard input, or with `json` its row, to standard output."""
    from dermseg.batch.report import made_by, report_row
    from dermseg.imaging.photographs import unwrapped
    from dermseg.imaging.png import encode_mask

    if not json and sys.stdout.isatty():
        raise UsageError("the mask is a PNG; write it to a file: dermseg segment - -o - > mask.png")
    if sys.stdin.isatty():
        raise UsageError(f"standard input has no photograph: {STREAMED}")
    source = BytesIO(sys.stdin.buffer.read())
    source.name = "standard input"
    photograph = unwrapped(source, job.frame)
    found = segmenter.segment(photograph)
    if json:
        row = report_row(job, found, photograph)
        _show_row({**row, "mask": "", **made_by(segmenter)})
    else:
        show_bytes(encode_mask(found.mask))
    return 0


def _show_row(row: "Row") -> None:
    """Print a row of the report as a line of JSON, null where it has nothing."""
    show(dumps({name: None if value == "" else value for name, value in row.items()}))


def _write_forms(
    forms: Sequence[Written],
    results: "list[Result]",
    segmenter: "Segmenter",
    output: Path,
    pictures: PictureSettings,
) -> int:
    """Write the outlines beside the masks; return the number of failures."""
    failed = sum(_write_form(output, each) for each in forms if each != "dicom-seg")
    if "dicom-seg" in forms:
        failed += _write_segmentations(results, segmenter, output, pictures.probability)
    return failed


def _check_folder(output: str | Path) -> None:
    """Raise UsageError for an output named like a picture, which would become a folder."""
    from dermseg.imaging.photographs import PHOTOGRAPH_SUFFIXES

    if isinstance(output, str) or output.is_dir():
        return
    if output.suffix.lower() in PHOTOGRAPH_SUFFIXES:
        raise UsageError(f"{output}: masks go into a folder; name one without {output.suffix}")


def _write_form(output: Path, form: Form) -> int:
    """Write the masks of a folder in another form; return the number of failures."""
    from dermseg.formats.conversion import write_beside

    target, done = write_beside(output, form)
    for failure in done.failures:
        say(f"failed: {failure}")
    tell(f"{counted(done.written, 'outline')} in {target}")
    return len(done.failures)


def _write_segmentations(
    results: "list[Result]", segmenter: "Segmenter", output: Path, maps: str | Path | None
) -> int:
    """Write DICOM segmentations beside the masks; return the number of failures."""
    from dermseg.batch.dicom_segmentations import FOLDER, write_segmentations
    from dermseg.storage.stores import local_path

    folder = None if maps is None else local_path(maps)
    written, failures = write_segmentations(results, segmenter, output, folder)
    for failure in failures:
        say(f"failed: {failure}")
    tell(f"{counted(written, 'segmentation')} in {output / FOLDER}")
    return len(failures)
