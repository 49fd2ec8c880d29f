"""Do the work on one photograph: read it, segment it, and write its mask and pictures.

A worker keeps no books. It is given what was noted of a mask, and returns what to note, so that
threads share one, and another process or machine can have one of its own.
"""

import time
from collections.abc import Callable, Sequence
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
from dermseg.batch.report import complete_row, failed_row, made_by, report_row
from dermseg.errors import DermsegError, ImageError
from dermseg.imaging.mask_files import encode_mask, find_mask
from dermseg.imaging.mask_frames import size_along
from dermseg.imaging.photographs import is_whole_image, read_orientation
from dermseg.inference.segmentation import Segmentation
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import BatchSettings, ModelSettings, ThresholdSettings
from dermseg.storage.files import checksum, writing, written_whole
from dermseg.storage.journal import Entry, Row, Sums, check_own, is_foreign

KEPT = 16
"""Checksums that are kept of a mask and its pictures."""
Begin = Callable[[str, Entry], object]
"""Told of a mask, and what to note of it, before its files are written."""


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


@dataclass(frozen=True)
class Outcome:
    """A job's result, and what to note of its mask: None if what was noted holds."""

    result: Result
    entry: Entry | None = None


@dataclass(frozen=True)
class WorkerPlan:
    """What a worker is made of; unlike the worker, it can be sent to another process.

    `fingerprint` is that of the segmenter here, by which the other end finds that its own differs.
    """

    model: ModelSettings
    thresholds: ThresholdSettings
    output: Path
    settings: BatchSettings
    fingerprint: str

    def build(self) -> "Worker":
        """Return the worker; raise what `Segmenter` raises."""
        segmenter = Segmenter(**vars(self.model), thresholds=self.thresholds)
        return Worker(segmenter, self.output, self.settings)


class Worker:
    """Segments one photograph after another into `output`; threads may share it."""

    def __init__(self, segmenter: Segmenter, output: Path, settings: BatchSettings) -> None:
        self.segmenter = segmenter
        self._output = output
        self._settings = settings
        self._pictures = Pictures(settings.pictures)

    @property
    def plan(self) -> WorkerPlan:
        """What this worker is made of."""
        used = self.segmenter
        model = ModelSettings(
            model=used.name, style=used.style, mirror=used.mirror, device=used.device
        )
        return WorkerPlan(model, used.thresholds, self._output, self._settings, used.fingerprint)

    def do(self, job: Job, noted: Entry | None, begin: Begin = lambda _, __: None) -> Outcome:
        """Do one job, unless what was `noted` of its mask says that it is done.

        An error costs the job's own row. If a run is killed between `begin` and the end, what
        `begin` was told makes the files known as dermseg's own, old ones or new.
        """
        began = time.perf_counter()
        outcome = _Task(self, job, noted, begin).do()
        took = round((time.perf_counter() - began) * 1000, 1)
        return replace(outcome, result=replace(outcome.result, milliseconds=took))

    @cached_property
    def made_by(self) -> Row:
        """The columns of the report that say what makes the masks."""
        return made_by(self.segmenter)

    def files(self, job: Job) -> dict[str, Path]:
        """Return the files that are written for a job, by how the journal calls them."""
        return {job.mask.as_posix(): self._output / job.mask, **self._pictures.files(job)}

    def fingerprint(self, job: Job, photograph: BytesIO, size: tuple[int, int] | None) -> str:
        """Return a digest of all that decides a job's mask.

        It finds a photograph that was changed, not one that was forged: a sum is enough, and
        takes a fifth of a hash's time.
        """
        content = photograph.getbuffer()
        settings = (job.name.as_posix(), self.segmenter.fingerprint, size, job.pixels_per_mm)
        known = repr((len(content), crc32(content), *settings)).encode(errors="surrogateescape")
        return blake2b(known, digest_size=16).hexdigest()

    def size(self, job: Job, photograph: BytesIO) -> tuple[int, int] | None:
        """Return the size to give a job's mask, None for the photograph's own."""
        folder = self._settings.size_from
        if folder is None:
            return None
        return size_along(photograph, find_mask(folder, job.name), self._settings.mask_frame)

    def draw(self, photograph: BytesIO, segmentation: Segmentation) -> list[bytes | None]:
        """Return what each of a job's `files` holds, None where there is to be none."""
        drawn = self._pictures.draw(photograph, segmentation)
        return [encode_mask(segmentation.mask), *drawn]


class _Task:
    """One job of a worker."""

    def __init__(self, worker: Worker, job: Job, noted: Entry | None, begin: Begin) -> None:
        self._worker = worker
        self._job = job
        self._noted = noted
        self._begin = begin
        self._begun: Entry | None = None
        self._files = worker.files(job)
        self._stale = False
        """Whether an earlier run's mask is of another photograph, model or setting."""

    def do(self) -> Outcome:
        job, by = self._job, self._worker.made_by
        try:
            return self._done()
        except DermsegError as error:
            text, bug = str(error), ""
        except Exception as error:  # a bug, which must not cost the other photographs
            text, bug = f"{job.photograph}: {type(error).__name__}: {error}", format_exc()
        if self._stale and (self._noted or self._begun):
            self._begun = self._remove_stale()
        return Outcome(Result(job, {**failed_row(job, text), **by}, bug=bug), self._begun)

    def _done(self) -> Outcome:
        job, worker, noted = self._job, self._worker, self._noted
        if job.refusal:
            raise ImageError(job.refusal)
        photograph = job.open()
        size = worker.size(job, photograph)
        fingerprint = worker.fingerprint(job, photograph, size)
        known = noted if noted is not None and noted.fingerprint == fingerprint else None
        if known is not None and self._are_whole(known.files):
            return Outcome(Result(job, complete_row(known.row), reused=True))
        unknown = self._unknown(known)
        self._stale = known is None and not unknown
        segmentation = worker.segmenter.segment(photograph, size=size)
        contents = worker.draw(photograph, segmentation)
        self._check_own(unknown, contents)
        sums = self._write(contents)
        orientation, scale = read_orientation(photograph), job.scale(photograph)
        row = {**report_row(job, segmentation, orientation, scale), **worker.made_by}
        return Outcome(Result(job, row), Entry(fingerprint, row, sums, self._own(sums)))

    def _are_whole(self, noted: Sums) -> bool:
        """Say whether all that would be written is there, as it was written."""
        return all(
            name in noted and noted[name] == checksum(path) for name, path in self._files.items()
        )

    def _own(self, new: Sums) -> tuple[int | None, ...]:
        """Return the checksums by which the files are dermseg's own: new ones, then older ones."""
        present = (value for value in new.values() if value is not None)
        noted = self._noted.own if self._noted else ()
        return tuple(dict.fromkeys((*present, *noted)))[:KEPT]

    def _unknown(self, known: Entry | None) -> list[Path]:
        """Return the files of which nothing says that dermseg wrote them.

        A run on other machines may have been stopped before it noted them. Raises UsageError for
        one that was `known`, and changed since.
        """
        unknown = []
        for name, path in self._files.items():
            if is_foreign(path, self._noted) and is_whole_image(path):
                if known is not None and name in known.files:
                    check_own(path, self._noted)
                unknown.append(path)
        return unknown

    def _check_own(self, unknown: Sequence[Path], contents: Sequence[bytes | None]) -> None:
        """Raise UsageError if an unknown file is not what would be written in its place."""
        for path, content in zip(self._files.values(), contents, strict=True):
            if path in unknown and (content is None or crc32(content) != checksum(path)):
                check_own(path, self._noted)

    def _write(self, contents: Sequence[bytes | None]) -> Sums:
        """Write the files, each whole; return their checksums."""
        sums = {
            name: None if content is None else crc32(content)
            for name, content in zip(self._files, contents, strict=True)
        }
        # A kill between here and the end leaves old files or new ones: both are known.
        self._begun = Entry(None, {}, {}, self._own(sums))
        self._begin(self._job.mask.as_posix(), self._begun)
        for path, content in zip(self._files.values(), contents, strict=True):
            if content is None:
                with writing(path):
                    path.unlink(missing_ok=True)
                continue
            with written_whole(path) as temporary:
                temporary.write_bytes(content)
        return sums

    def _remove_stale(self) -> Entry:
        """Leave no mask of dermseg's own beside a row that says that there is none."""
        with suppress(OSError):  # what cannot be removed could not be written either
            for path in self._files.values():
                path.unlink(missing_ok=True)
        return self._begun or Entry(None, {}, {}, self._own({}))
