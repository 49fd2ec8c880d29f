"""Many photographs: which files, what becomes of each, and the report."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from stat import S_ISREG
from traceback import format_exc
from zlib import crc32

from dermseg.cores import parallel_map
from dermseg.errors import DermsegError, ImageError, UsageError
from dermseg.imaging.images import write_image
from dermseg.imaging.mask_files import MASK_SUFFIX, encode_mask, find_mask
from dermseg.imaging.overlay import draw_overlay
from dermseg.imaging.photographs import (
    PHOTOGRAPH_SUFFIXES,
    UNREAD_SUFFIXES,
    Photograph,
    image_size,
    is_whole_image,
    read_photograph,
)
from dermseg.inference.segmenter import Segmentation, Segmenter
from dermseg.progress import track
from dermseg.settings import OVERLAY_SIDE
from dermseg.storage.files import remove_leftovers, writing, written_whole
from dermseg.storage.journal import Entry, Journal, Row, Sums, read_journal
from dermseg.storage.tables import write_table

REPORT = "report.csv"
TIMINGS = "timings.csv"
JOURNAL = "journal.jsonl"
COLUMNS = (
    "photograph",
    "mask",
    "height",
    "width",
    "area",
    "box_x",
    "box_y",
    "box_width",
    "box_height",
    "centroid_x",
    "centroid_y",
    "predicted_jaccard",
    "jaccard_low",
    "jaccard_high",
    "confidence_score",
    "flags",
    "error",
)
"""The report's columns. Lengths are in pixels of the mask, areas in square pixels; the predicted
Jaccard index, with its 90 % interval, says how sure the mask is, and the score orders masks by it
(see `dermseg.inference.confidence`)."""


@dataclass(frozen=True)
class Job:
    """One photograph to segment. `name` is its path within what the user named."""

    photograph: Path
    name: Path

    @property
    def mask(self) -> Path:
        """Where the mask goes, within the output folder."""
        return self.name.with_name(self.name.stem + MASK_SUFFIX)

    @property
    def overlay(self) -> Path:
        """Where the overlay goes, within its folder."""
        return self.name.with_name(self.name.stem + "_overlay.jpg")


def find_jobs(paths: Sequence[Path], *, without: Sequence[Path | None] = ()) -> list[Job]:
    """Return a job for each photograph in `paths`: files, or folders with their subfolders.

    In folders, what is hidden, masks, overlays, contact sheets and the official archives'
    superpixels are passed over, and so is what lies in the folders `without` (those that will be
    written to).

    A photograph that is found twice under one name counts once. Raises UsageError if a path does
    not exist, if a folder cannot be read or holds no photographs, or if two photographs would share
    one mask.
    """
    jobs: list[Job] = []
    for path in paths:
        if path.is_dir():
            # Photographs may lie in the very folder that is written to, or below it.
            outputs = {folder.resolve() for folder in without if folder is not None}
            written = {folder for folder in outputs if path.resolve() in folder.parents}
            found = [
                Job(file, file.relative_to(path))
                for file in sorted(_files_below(path))
                if _is_photograph(file) and written.isdisjoint(_real(file).parents)
            ]
            if not found:
                raise UsageError(f"{path}: holds no photographs ({_suffixes()})")
            jobs += found
        elif path.is_file():
            jobs.append(Job(path, Path(path.name)))
        else:
            raise UsageError(f"{path}: no such file or folder")
    first: dict[str, Job] = {}
    for job in jobs:
        # Some file systems take A and a for the same name.
        other = first.setdefault(str(job.mask).casefold(), job)
        if _real(other.photograph) != _real(job.photograph):
            raise UsageError(
                f"{other.photograph} and {job.photograph} would both write {job.mask}; "
                "segment them into different folders"
            )
    return list(first.values())


def passed_over(paths: Sequence[Path]) -> list[str]:
    """Return a line for each form of images that is not read, and folder that cannot be, below."""
    closed: list[OSError] = []
    below = (file for path in paths if path.is_dir() for file in _files_below(path, closed.append))
    suffixes = Counter(file.suffix.lower() for file in below)
    forms = sorted(UNREAD_SUFFIXES & suffixes.keys())
    lines = [
        f"{suffixes[form]} {form}, which is not read; JPEG, PNG and TIFF are" for form in forms
    ]
    return lines + [f"{error.filename}, a folder ({error.strerror})" for error in closed]


def _files_below(
    folder: Path, closed: Callable[[OSError], object] = lambda _: None
) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders, but for what is hidden.

    `closed` is told of subfolders that cannot be read; UsageError if the folder itself cannot.
    """

    def tell(error: OSError) -> None:
        if error.filename == str(folder):
            raise UsageError(f"{folder}: cannot be read ({error.strerror})") from error
        closed(error)

    for place, folders, names in os.walk(folder, onerror=tell):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _is_photograph(path: Path) -> bool:
    return (
        path.suffix.lower() in PHOTOGRAPH_SUFFIXES
        and not path.stem.lower().endswith(("_segmentation", "_superpixels", "_overlay", "_sheet"))
        and _may_be_opened(path)
    )


def _real(path: Path) -> Path:
    """Return where a path leads, however far that is known: links may lead in circles."""
    return Path(os.path.realpath(path))


def _may_be_opened(path: Path) -> bool:
    """Say whether to open a path tells what is wrong with it, rather than waiting for a pipe."""
    try:
        return S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def _suffixes() -> str:
    return ", ".join(sorted(PHOTOGRAPH_SUFFIXES))


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
    overlay: Path | None = None,
    size_from: Path | None = None,
) -> list[Result]:
    """Segment every job; write its mask under `output`, and report.csv at the end.

    The report begins with these jobs, and goes on with the masks that earlier runs left there.

    `overlay` is a folder for pictures with the outline. `size_from` is a folder of masks whose
    sizes are taken instead of the photographs' (for thumbnails).

    Each core works on a photograph of its own, from reading it to writing its mask, so that
    reading, the network and writing overlap; what waits in memory is a few rows.

    A photograph that fails costs its own row and nothing else; one that cannot even be opened keeps
    the mask of an earlier run, and a mask that someone has changed or drawn is not written over.
    What an earlier run left in `output` is kept if photograph, model and settings are the same; how
    long the others took is in timings.csv. Raises UsageError if a folder is none, if another
    process works in `output` or if masks or a report are there that no run has made, OutputError if
    journal or report cannot be written, or `overlay` cannot be made.
    """
    if size_from is not None and not size_from.is_dir():
        raise UsageError(f"{size_from}: no such folder, to take the masks' sizes from")
    results: list[Result] = []
    for folder in (output, overlay):
        if folder is not None:
            if folder.exists() and not folder.is_dir():
                raise UsageError(f"{folder}: a file, where a folder is to be written")
            remove_leftovers(folder)
    if (output / REPORT).exists() and not (output / JOURNAL).exists():
        raise _foreign(output, [REPORT])
    masks = [job.mask.as_posix() for job in jobs]
    first = not read_journal(output / JOURNAL)
    if first and (foreign := [mask for mask in masks if _is_there(output / mask)]):
        raise _foreign(output, foreign)
    if overlay is not None:
        with writing(overlay):  # now, and not once for each photograph
            overlay.mkdir(parents=True, exist_ok=True)
    with Journal(output / JOURNAL) as journal:
        work = _Work(segmenter, output, overlay, size_from, journal)
        results += track(parallel_map(work.do, jobs), "Segmenting", len(jobs))
        others = sorted(journal.masks().difference(masks))
        earlier = [row_as_left(journal.last(mask), output, mask) for mask in others]
    rows = [*(result.row for result in results), *(row for row in earlier if row)]
    write_table(output / REPORT, COLUMNS, rows)
    timings = [
        {"photograph": result.job.name.as_posix(), "milliseconds": result.milliseconds}
        for result in results
        if not result.reused
    ]
    write_table(output / TIMINGS, ("photograph", "milliseconds"), timings)
    return results


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, which costs its photograph and not the run
        return False


def _foreign(output: Path, names: Sequence[str]) -> UsageError:
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return UsageError(
        f"{output / names[0]}{more}: was not made by dermseg there, and would be written over; "
        "choose another folder for the masks, or move it away"
    )


@dataclass(frozen=True)
class _Work:
    """What is the same for every job of a run; threads share it."""

    segmenter: Segmenter
    output: Path
    overlay: Path | None
    size_from: Path | None
    journal: Journal

    def do(self, job: Job) -> Result:
        """Do one job, unless the journal knows that it is done."""
        began = time.perf_counter()
        result = self._do(job)
        return replace(result, milliseconds=round((time.perf_counter() - began) * 1000, 1))

    def _do(self, job: Job) -> Result:
        mask = job.mask.as_posix()
        stale = False  # whether an earlier run's mask is of another photograph, model or setting
        try:
            size = image_size(find_mask(self.size_from, job.name)) if self.size_from else None
            photograph = _open(job.photograph)
            fingerprint = self._fingerprint(job, photograph, size)
            known = self.journal.find(mask, fingerprint)
            if known is not None and self._are_whole(job, known.files):
                return Result(job, known.row, reused=True)
            self._check_own(job)
            stale = known is None
            row = report_row(job, self._segment(job, photograph, size))
        except DermsegError as error:
            text, bug = str(error), ""
        except Exception as error:  # a bug, which must not cost the other photographs
            text, bug = f"{job.photograph}: {type(error).__name__}: {error}", format_exc()
        else:
            files = {name: _checksum(path) for name, path in self._files(job).items()}
            self.journal.note(mask, Entry(fingerprint, row, files, (files[mask],)))
            return Result(job, row)
        if stale:
            self._remove_stale(job)
        return Result(job, _failed(job, text), bug=bug)

    def _fingerprint(self, job: Job, photograph: BytesIO, size: tuple[int, int] | None) -> str:
        # It finds a photograph that was changed, not one that was forged: a sum is enough, and
        # takes a fifth of a hash's time.
        content = photograph.getbuffer()
        settings = (job.name.as_posix(), self.segmenter.fingerprint, size, COLUMNS)
        known = repr((len(content), crc32(content), *settings)).encode(errors="surrogateescape")
        return blake2b(known, digest_size=16).hexdigest()

    def _files(self, job: Job) -> dict[str, Path]:
        """Return the files that this run writes for a job, by how the journal calls them."""
        files = {job.mask.as_posix(): self.output / job.mask}
        if self.overlay is not None:
            drawn = self.overlay.resolve() / job.overlay
            files[str(drawn)] = drawn
        return files

    def _are_whole(self, job: Job, noted: Sums) -> bool:
        """Say whether all that this run would write is there, as it was written."""
        wanted = self._files(job)
        return all(name in noted and noted[name] == _checksum(wanted[name]) for name in wanted)

    def _own(self, job: Job) -> tuple[int | None, ...]:
        """Return the checksums by which a job's mask is dermseg's own."""
        known = self.journal.last(job.mask.as_posix())
        return known.own if known else ()

    def _check_own(self, job: Job) -> None:
        """Raise UsageError for a mask that someone has drawn, or changed since it was made."""
        path = self.output / job.mask
        if _checksum(path) not in (*self._own(job), None) and is_whole_image(path):
            raise UsageError(
                f"{path}: was changed since dermseg made it, or is another's; move it away, and it "
                "is made again"
            )

    def _remove_stale(self, job: Job) -> None:
        """Leave no mask of dermseg's own beside a row that says that there is none."""
        if self.journal.last(job.mask.as_posix()) is None:
            return
        with suppress(OSError):  # what cannot be removed could not be written either
            (self.output / job.mask).unlink(missing_ok=True)
            if self.overlay is not None:
                (self.overlay / job.overlay).unlink(missing_ok=True)
        self.journal.begin(job.mask.as_posix())

    def _segment(self, job: Job, photograph: BytesIO, size: tuple[int, int] | None) -> Segmentation:
        segmentation = self.segmenter.segment(photograph, size=size)
        content = encode_mask(segmentation.mask)
        # A kill between the two leaves the old mask or the new one: both are known.
        self.journal.begin(job.mask.as_posix(), (*self._own(job), crc32(content)))
        with written_whole(self.output / job.mask) as temporary:
            temporary.write_bytes(content)
        if self.overlay is not None:
            height, width = segmentation.mask.shape
            picture = read_photograph(photograph, at_least=(OVERLAY_SIDE, OVERLAY_SIDE))
            framed = Photograph(picture.pixels, height, width, picture.orientation)
            drawn = draw_overlay(framed, segmentation.outline, segmentation.band_contours)
            write_image(self.overlay / job.overlay, drawn)
        return segmentation


def row_as_left(entry: Entry | None, output: Path, mask: str) -> Row | None:
    """Return the report's row of a mask in `output`, None if it is not as the run left it."""
    if entry is None or entry.row.keys() != set(COLUMNS):
        return None
    return entry.row if entry.files[mask] == _checksum(output / mask) else None


def _checksum(path: Path) -> int | None:
    """Return a sum that finds a file that was damaged; None where it cannot be read."""
    try:
        return crc32(path.read_bytes())
    except OSError:
        return None


def _open(photograph: Path) -> BytesIO:
    """Return a file's content, read once for the fingerprint and the pixels, under its name."""
    try:
        content = BytesIO(photograph.read_bytes())
    except OSError as error:
        raise ImageError(f"{photograph}: cannot be read ({error.strerror})") from error
    content.name = str(photograph)
    return content


def report_row(job: Job, segmentation: Segmentation) -> Row:
    """Return a job's row of the report; names have forward slashes everywhere."""
    row: Row = dict.fromkeys(COLUMNS, "")
    row["photograph"], row["mask"] = job.name.as_posix(), job.mask.as_posix()
    row["height"], row["width"] = segmentation.mask.shape
    row["area"] = segmentation.area
    row["flags"] = " ".join(segmentation.flags)
    if segmentation.confidence is not None:
        sure = segmentation.confidence
        row["predicted_jaccard"] = round(sure.jaccard, 3)
        row["jaccard_low"], row["jaccard_high"] = round(sure.low, 3), round(sure.high, 3)
        row["confidence_score"] = round(sure.score, 4)
    box, centroid = segmentation.bounding_box, segmentation.centroid
    if box and centroid:
        row["box_x"], row["box_y"], row["box_width"], row["box_height"] = box
        row["centroid_x"], row["centroid_y"] = (round(place, 2) for place in centroid)
    return row


def _failed(job: Job, error: str) -> Row:
    return {**dict.fromkeys(COLUMNS, ""), "photograph": job.name.as_posix(), "error": error}
