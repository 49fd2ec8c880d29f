"""Do the work on one photograph: read it, segment it, and write its mask and pictures.

A worker keeps no books. It is given what was noted of a mask, and returns what to note, so that
threads share one, and another process or machine can have one of its own.
"""

import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from io import BytesIO
from traceback import format_exc

from zlib_ng.zlib_ng import crc32

from dermseg.batch.jobs import Job
from dermseg.batch.pictures import Pictures
from dermseg.batch.report import complete_row, failed_row, made_by, report_row
from dermseg.cores import cached_property
from dermseg.errors import ClusterError, DermsegError, ImageError, OutputError, StoreError
from dermseg.imaging.mask_files import find_mask
from dermseg.imaging.mask_frames import size_along
from dermseg.imaging.photographs import frame_of, is_whole_image, read_header
from dermseg.imaging.png import encode_mask
from dermseg.inference.segmentation import Segmentation
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import BatchSettings, ModelSettings, ThresholdSettings
from dermseg.storage.journal import Entry, Row, Sums, check_own, is_foreign, own_sums
from dermseg.storage.stores import File, Store

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
    output: Store
    settings: BatchSettings
    fingerprint: str

    def build(self) -> "Worker":
        """Return the worker; raise what `Segmenter` raises, ClusterError for another version."""
        segmenter = Segmenter(**vars(self.model), thresholds=self.thresholds)
        if segmenter.fingerprint != self.fingerprint:
            raise ClusterError(
                f"{platform.node()}: has another version of dermseg, or another model of that name"
            )
        return Worker(segmenter, self.output, self.settings)


class Worker:
    """Segments one photograph after another into `output`; threads may share it."""

    def __init__(self, segmenter: Segmenter, output: Store, settings: BatchSettings) -> None:
        self.segmenter = segmenter
        self._output = output
        self._settings = settings
        self._pictures = Pictures(settings.pictures)

    @property
    def stores(self) -> list[Store]:
        """The folders that are written to: the masks', then those of pictures."""
        return [self._output, *self._pictures.stores]

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

        An error costs the job's own row, but for a StoreError: all others would fail alike. If a
        run is killed between `begin` and the end, what `begin` was told makes the files known as
        dermseg's own, old ones or new.
        """
        began = time.perf_counter()
        outcome = _Task(self, job, noted, begin).do()
        took = round((time.perf_counter() - began) * 1000, 1)
        return replace(outcome, result=replace(outcome.result, milliseconds=took))

    @cached_property
    def made_by(self) -> Row:
        """The columns of the report that say what makes the masks."""
        return made_by(self.segmenter)

    def files(self, job: Job) -> dict[str, File]:
        """Return the files that are written for a job, by how the journal calls them."""
        mask = job.mask.as_posix()
        return {mask: File(self._output, mask), **self._pictures.files(job)}

    def fingerprint(self, job: Job, photograph: BytesIO, size: tuple[int, int] | None) -> str:
        """Return a digest of all that decides a job's mask, and what the report says of it.

        It finds a photograph that was changed, not one that was forged: a sum is enough, and
        takes a fifth of a hash's time.
        """
        content, frame = photograph.getbuffer(), frame_of(photograph)
        read = (len(content), crc32(content), *([frame] if frame else []))
        return self._digest(job, read, size, job.scale(photograph))

    def listed_fingerprint(self, job: Job) -> str:
        """Return such a digest of a store's listing; nothing where that does not tell enough.

        By it a photograph in a store is not read again.
        """
        file, folder = job.stored, self._settings.size_from
        if file is None or not file.tag:
            return ""
        sized = folder and (read_header(find_mask(folder, job.name)), self._settings.mask_frame)
        return self._digest(job, (file.size, file.tag, job.frame), sized, job.pixels_per_mm)

    def _digest(
        self, job: Job, content: tuple[object, ...], size: object, scale: float | None
    ) -> str:
        settings = (job.name.as_posix(), self.segmenter.fingerprint, size, scale)
        known = repr((*content, *settings)).encode(errors="surrogateescape")
        return blake2b(known, digest_size=16).hexdigest()

    def open(self, job: Job) -> tuple[BytesIO, tuple[int, int] | None]:
        """Return a photograph's file, and the size to give its mask, None for its own."""
        photograph, folder = job.open(), self._settings.size_from
        if folder is None:
            return photograph, None
        truth = find_mask(folder, job.name)
        return photograph, size_along(photograph, truth, self._settings.mask_frame)

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
        except StoreError:
            raise
        except DermsegError as error:
            text, bug = str(error), ""
        except Exception as error:  # a bug, which must not cost the other photographs
            text, bug = f"{job}: {type(error).__name__}: {error}", format_exc()
        if self._stale and (self._noted or self._begun):
            self._begun = self._remove_stale()
        return Outcome(Result(job, {**failed_row(job, text), **by}, bug=bug), self._begun)

    def _done(self) -> Outcome:
        job, worker, noted = self._job, self._worker, self._noted
        if job.refusal:
            raise ImageError(job.refusal)
        fingerprint, opened = worker.listed_fingerprint(job), None
        if not fingerprint:
            opened = worker.open(job)
            fingerprint = worker.fingerprint(job, *opened)
        known = noted if noted is not None and noted.fingerprint == fingerprint else None
        if known is not None and self._are_whole(known.files):
            return Outcome(Result(job, complete_row(known.row), reused=True))
        photograph, size = opened or worker.open(job)
        unknown = self._unknown(known)
        self._stale = known is None and not unknown
        segmentation = worker.segmenter.segment(photograph, size=size)
        contents = worker.draw(photograph, segmentation)
        self._check_own(unknown, contents)
        sums = self._write(contents)
        row = {**report_row(job, segmentation, photograph), **worker.made_by}
        entry = Entry(fingerprint, row, sums, own_sums(self._noted, *sums.values()))
        return Outcome(Result(job, row), entry)

    def _are_whole(self, noted: Sums) -> bool:
        """Say whether all that would be written is there, as it was written."""
        return all(
            name in noted and file.is_as([noted[name]]) for name, file in self._files.items()
        )

    def _unknown(self, known: Entry | None) -> list[File]:
        """Return the files of which nothing says that dermseg wrote them.

        A run on other machines may have been stopped before it noted them. Raises UsageError for
        one that was `known`, and changed since.
        """
        unknown = []
        for name, file in self._files.items():
            if is_foreign(file, self._noted) and _is_whole(file):
                if known is not None and name in known.files:
                    check_own(file, self._noted)
                unknown.append(file)
        return unknown

    def _check_own(self, unknown: Sequence[File], contents: Sequence[bytes | None]) -> None:
        """Raise UsageError if an unknown file is not what would be written in its place."""
        for file, content in zip(self._files.values(), contents, strict=True):
            if file in unknown and (content is None or not file.is_as([file.sum_of(content)])):
                check_own(file, self._noted)

    def _write(self, contents: Sequence[bytes | None]) -> Sums:
        """Write the files, each whole; return their checksums."""
        sums = {
            name: None if content is None else file.sum_of(content)
            for (name, file), content in zip(self._files.items(), contents, strict=True)
        }
        # A kill between here and the end leaves old files or new ones: both are known.
        self._begun = Entry(None, {}, {}, own_sums(self._noted, *sums.values()))
        self._begin(self._job.mask.as_posix(), self._begun)
        for file, content in zip(self._files.values(), contents, strict=True):
            if content is None:
                file.remove()
            else:
                file.write(content)
        return sums

    def _remove_stale(self) -> Entry:
        """Leave no mask of dermseg's own beside a row that says that there is none."""
        with suppress(OutputError):  # what cannot be removed could not be written either
            for file in self._files.values():
                file.remove()
        return self._begun or Entry(None, {}, {}, own_sums(self._noted))


def _is_whole(file: File) -> bool:
    """Say whether a file is a whole image."""
    try:
        return is_whole_image(BytesIO(file.read_bytes()))
    except ImageError:
        return False
