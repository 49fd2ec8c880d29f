"""Segment a folder of photographs, continue an earlier run, and write the report."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from traceback import format_exc
from zlib import crc32

from dermseg.batch.jobs import Job
from dermseg.batch.pictures import Pictures
from dermseg.batch.report import (
    COLUMNS,
    REPORT,
    TIMINGS,
    complete_row,
    failed_row,
    made_by,
    report_row,
)
from dermseg.cores import parallel_map
from dermseg.errors import DermsegError, ImageError, UsageError
from dermseg.imaging.mask_files import encode_mask, find_mask
from dermseg.imaging.mask_frames import size_along
from dermseg.imaging.photographs import is_whole_image, read_orientation
from dermseg.inference.segmentation import Segmentation
from dermseg.inference.segmenter import Segmenter
from dermseg.progress import track
from dermseg.settings import MaskFrame, PictureSettings
from dermseg.storage.files import remove_leftovers, writing, written_whole
from dermseg.storage.journal import (
    JOURNAL,
    Entry,
    Journal,
    Row,
    Sums,
    check_own,
    checksum,
    is_foreign,
    read_journal,
)
from dermseg.storage.tables import encode_table

KEPT = 16
"""Checksums that are kept of a mask and its pictures."""


@dataclass(frozen=True)
class Result:
    """What became of a job: its row of the report, with the error if it failed.

    `reused` says that the mask was there from an earlier run; `bug` is the traceback of an error
    that is no DermsegError. `milliseconds` is what it took, from the file to the mask's.
    """

    job: Job
    row: Row
    reused: bool = False
    bug: str = ""
    milliseconds: float = 0.0

    @property
    def error(self) -> str:
        """What went wrong; empty if nothing did."""
        return str(self.row["error"])


def segment_all(
    jobs: Sequence[Job],
    segmenter: Segmenter,
    output: Path,
    *,
    pictures: PictureSettings = PictureSettings(),
    size_from: Path | None = None,
    mask_frame: MaskFrame | None = None,
) -> list[Result]:
    """Segment every job; write its mask under `output`, and report.csv at the end.

    The report begins with these jobs, and goes on with the masks that earlier runs left there.

    `pictures` are made beside the masks. `size_from` is a folder of masks whose
    sizes are taken instead of the photographs' (for thumbnails); `mask_frame` is how they lie on
    photographs that EXIF turns.

    Each core works on a photograph of its own, from reading it to writing its mask, so that
    reading, the network and writing overlap; what waits in memory is a few rows.

    A photograph that fails costs its own row and nothing else; one that cannot even be opened keeps
    the mask of an earlier run, and a mask that someone has changed or drawn is not written over.
    What an earlier run left in `output` is kept if photograph, model and settings are the same; how
    long the others took is in timings.csv. Raises UsageError if a folder is none, if another
    process works in `output`, or if masks, pictures or tables are there that no run has made;
    OutputError if journal or report cannot be written, or a folder cannot be made.
    """
    if size_from is not None and not size_from.is_dir():
        raise UsageError(f"{size_from}: no such folder, to take the masks' sizes from")
    results: list[Result] = []
    drawn = Pictures(pictures)
    for folder in (output, *drawn.folders):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: a file, where a folder is to be written")
        remove_leftovers(folder)
    check_tables(output, (REPORT, TIMINGS))
    masks = [job.mask.as_posix() for job in jobs]
    if not read_journal(output / JOURNAL):
        _check_free([output / job.mask for job in jobs])
        _check_free([path for job in jobs for path in drawn.files(job)])
    for folder in drawn.folders:
        with writing(folder):  # now, and not once for each photograph
            folder.mkdir(parents=True, exist_ok=True)
    with Journal(output / JOURNAL) as journal:
        work = _Work(segmenter, output, drawn, size_from, mask_frame, journal)
        results += track(parallel_map(work.do, jobs), "Segmenting", len(jobs))
        others = sorted(journal.masks().difference(masks))
        earlier = [row_as_left(journal.last(mask), output, mask) for mask in others]
        rows = [*(result.row for result in results), *(row for row in earlier if row)]
        journal.write(output / REPORT, encode_table(COLUMNS, rows))
        timings = [
            {"photograph": result.job.name.as_posix(), "milliseconds": result.milliseconds}
            for result in results
            if not result.reused
        ]
        journal.write(output / TIMINGS, encode_table(("photograph", "milliseconds"), timings))
    return results


def check_tables(output: Path, names: Sequence[str]) -> None:
    """Raise UsageError if files of these names are in `output` that dermseg has not made."""
    known = read_journal(output / JOURNAL)
    for name in names:
        check_own(output / name, known.get(name))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, which costs its photograph and not the run
        return False


def _check_free(paths: Sequence[Path]) -> None:
    """Raise UsageError if one of `paths`, none of which a run has made, is there."""
    if foreign := [path for path in paths if _is_there(path)]:
        more = f" (and {len(foreign) - 1} more)" if len(foreign) > 1 else ""
        raise UsageError(
            f"{foreign[0]}{more}: was not made by dermseg there, and would be written over; choose "
            "another folder, or move it away"
        )


@dataclass(frozen=True)
class _Work:
    """What is the same for every job of a run; threads share it."""

    segmenter: Segmenter
    output: Path
    pictures: Pictures
    size_from: Path | None
    mask_frame: MaskFrame | None
    journal: Journal

    @cached_property
    def _by(self) -> Row:
        return made_by(self.segmenter)

    def do(self, job: Job) -> Result:
        """Do one job, unless the journal knows that it is done."""
        began = time.perf_counter()
        result = self._do(job)
        return replace(result, milliseconds=round((time.perf_counter() - began) * 1000, 1))

    def _do(self, job: Job) -> Result:
        mask = job.mask.as_posix()
        stale = False  # whether an earlier run's mask is of another photograph, model or setting
        try:
            if job.refusal:
                raise ImageError(job.refusal)
            truth = find_mask(self.size_from, job.name) if self.size_from else None
            photograph = job.open()
            size = size_along(photograph, truth, self.mask_frame) if truth else None
            fingerprint = self._fingerprint(job, photograph, size)
            known = self.journal.find(mask, fingerprint)
            if known is not None and self._are_whole(job, known.files):
                return Result(job, complete_row(known.row), reused=True)
            self._check_own(job)
            stale = known is None
            segmentation = self._segment(job, photograph, size)
            orientation, scale = read_orientation(photograph), job.scale(photograph)
            row = {**report_row(job, segmentation, orientation, scale), **self._by}
        except DermsegError as error:
            text, bug = str(error), ""
        except Exception as error:  # a bug, which must not cost the other photographs
            text, bug = f"{job.photograph}: {type(error).__name__}: {error}", format_exc()
        else:
            files = {name: checksum(path) for name, path in self._files(job).items()}
            own = (*files.values(), *self._own(job))
            self.journal.note(mask, Entry(fingerprint, row, files, _latest(own)))
            return Result(job, row)
        if stale:
            self._remove_stale(job)
        return Result(job, {**failed_row(job, text), **self._by}, bug=bug)

    def _fingerprint(self, job: Job, photograph: BytesIO, size: tuple[int, int] | None) -> str:
        # It finds a photograph that was changed, not one that was forged: a sum is enough, and
        # takes a fifth of a hash's time.
        content = photograph.getbuffer()
        settings = (job.name.as_posix(), self.segmenter.fingerprint, size, job.pixels_per_mm)
        known = repr((len(content), crc32(content), *settings)).encode(errors="surrogateescape")
        return blake2b(known, digest_size=16).hexdigest()

    def _files(self, job: Job) -> dict[str, Path]:
        """Return the files that this run writes for a job, by how the journal calls them."""
        files = {job.mask.as_posix(): self.output / job.mask}
        drawn = [path.resolve() for path in self.pictures.files(job)]
        return {**files, **{str(path): path for path in drawn}}

    def _are_whole(self, job: Job, noted: Sums) -> bool:
        """Say whether all that this run would write is there, as it was written."""
        wanted = self._files(job)
        return all(name in noted and noted[name] == checksum(wanted[name]) for name in wanted)

    def _own(self, job: Job) -> tuple[int | None, ...]:
        """Return the checksums by which a job's mask and pictures are dermseg's own."""
        known = self.journal.last(job.mask.as_posix())
        return known.own if known else ()

    def _check_own(self, job: Job) -> None:
        """Raise UsageError for a mask or a picture that someone has drawn, or changed since."""
        for path in self._files(job).values():
            known = self.journal.last(job.mask.as_posix())
            if is_foreign(path, known) and is_whole_image(path):
                check_own(path, known)

    def _remove_stale(self, job: Job) -> None:
        """Leave no mask of dermseg's own beside a row that says that there is none."""
        if self.journal.last(job.mask.as_posix()) is None:
            return
        with suppress(OSError):  # what cannot be removed could not be written either
            (self.output / job.mask).unlink(missing_ok=True)
            for path in self.pictures.files(job):
                path.unlink(missing_ok=True)
        self.journal.begin(job.mask.as_posix(), self._own(job))

    def _segment(self, job: Job, photograph: BytesIO, size: tuple[int, int] | None) -> Segmentation:
        segmentation = self.segmenter.segment(photograph, size=size)
        contents: dict[Path, bytes | None] = {
            self.output / job.mask: encode_mask(segmentation.mask),
            **self.pictures.draw(job, photograph, segmentation),
        }
        # A kill between here and the end leaves old files or new ones: both are known.
        new = (crc32(content) for content in contents.values() if content is not None)
        self.journal.begin(job.mask.as_posix(), _latest((*new, *self._own(job))))
        for path, content in contents.items():
            if content is None:
                with writing(path):
                    path.unlink(missing_ok=True)
                continue
            with written_whole(path) as temporary:
                temporary.write_bytes(content)
        return segmentation


def _latest(own: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Return the last few checksums: of a mask, and of its pictures in some folders."""
    return tuple(dict.fromkeys(own))[:KEPT]


def row_as_left(entry: Entry | None, output: Path, mask: str) -> Row | None:
    """Return the report's row of a mask in `output`, None if it is not as the run left it."""
    if entry is None or entry.fingerprint is None:
        return None
    return complete_row(entry.row) if entry.files.get(mask) == checksum(output / mask) else None
