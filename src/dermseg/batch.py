"""Many photographs: which files, what becomes of each, and the report."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from dermseg.errors import DermsegError, UsageError
from dermseg.images import (
    MASK_SUFFIX,
    PHOTOGRAPH_SUFFIXES,
    Photograph,
    image_size,
    read_photograph,
    write_image,
    write_mask,
    written_whole,
)
from dermseg.overlay import draw_overlay
from dermseg.segmenter import Segmentation, Segmenter
from dermseg.settings import OVERLAY_SIDE

REPORT = "report.csv"
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
    "flags",
    "error",
)
"""The report's columns. Lengths are in pixels of the mask, areas in square pixels."""


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


def find_jobs(paths: Sequence[Path]) -> list[Job]:
    """Return a job for each photograph in `paths`: files, or folders with their subfolders.

    In folders, masks and superpixel pictures of the official archives are passed over.

    Raises UsageError if a path does not exist, if a folder holds no photographs, or if two
    photographs would share one mask.
    """
    jobs: list[Job] = []
    for path in paths:
        if path.is_dir():
            found = [Job(p, p.relative_to(path)) for p in sorted(path.rglob("*")) if _is_input(p)]
            if not found:
                raise UsageError(f"{path}: holds no photographs ({_suffixes()})")
            jobs += found
        elif path.is_file():
            jobs.append(Job(path, Path(path.name)))
        else:
            raise UsageError(f"{path}: no such file or folder")
    first: dict[Path, Job] = {}
    for job in jobs:
        other = first.setdefault(job.mask, job)
        if other is not job:
            raise UsageError(
                f"{other.photograph} and {job.photograph} would both write {job.mask}; "
                "segment them into different folders"
            )
    return jobs


def _is_input(path: Path) -> bool:
    stem = path.stem.lower()
    return (
        path.suffix.lower() in PHOTOGRAPH_SUFFIXES
        and not stem.endswith(("_segmentation", "_superpixels"))
        and path.is_file()
    )


def _suffixes() -> str:
    return ", ".join(sorted(PHOTOGRAPH_SUFFIXES))


@dataclass(frozen=True)
class Result:
    """What became of a job: a segmentation, or the error that stands in its place."""

    job: Job
    segmentation: Segmentation | None
    error: str = ""

    def row(self) -> dict[str, object]:
        """Return the report's row; names are written with forward slashes everywhere."""
        row: dict[str, object] = dict.fromkeys(COLUMNS, "")
        row["photograph"] = self.job.name.as_posix()
        row["error"] = self.error
        if self.segmentation is None:
            return row
        row["mask"] = self.job.mask.as_posix()
        row["height"], row["width"] = self.segmentation.mask.shape
        row["area"] = self.segmentation.area
        row["flags"] = " ".join(self.segmentation.flags)
        if self.segmentation.bounding_box and self.segmentation.centroid:
            box, centroid = self.segmentation.bounding_box, self.segmentation.centroid
            row["box_x"], row["box_y"], row["box_width"], row["box_height"] = box
            row["centroid_x"], row["centroid_y"] = (round(place, 2) for place in centroid)
        return row


def segment_all(
    jobs: Iterable[Job],
    segmenter: Segmenter,
    output: Path,
    *,
    overlay: Path | None = None,
    size_from: Path | None = None,
) -> list[Result]:
    """Segment every job; write its mask under `output`, then report.csv.

    `overlay` is a folder for pictures with the outline. `size_from` is a folder of masks whose
    sizes are taken instead of the photographs' (for thumbnails). A photograph that fails costs
    its own row and nothing else.
    """
    results = []
    for job in jobs:
        try:
            segmentation = _segment_one(job, segmenter, output, overlay, size_from)
            results.append(Result(job, segmentation))
        except DermsegError as error:
            results.append(Result(job, None, str(error)))
    _write_report(output / REPORT, results)
    return results


def _segment_one(
    job: Job, segmenter: Segmenter, output: Path, overlay: Path | None, size_from: Path | None
) -> Segmentation:
    size = image_size(find_mask(size_from, job.name)) if size_from else None
    segmentation = segmenter.segment(job.photograph, size=size)
    write_mask(output / job.mask, segmentation.mask)
    if overlay is not None:
        height, width = segmentation.mask.shape
        picture = read_photograph(job.photograph, at_least=(OVERLAY_SIDE, OVERLAY_SIDE))
        framed = Photograph(picture.pixels, height, width, picture.orientation)
        write_image(overlay / job.overlay, draw_overlay(framed, segmentation.outline))
    return segmentation


def find_mask(folder: Path, name: Path) -> Path:
    """Return the mask in `folder` of the photograph `name`; raise UsageError if there is none."""
    candidates = [name.with_name(name.stem + MASK_SUFFIX), name.with_suffix(".png")]
    for candidate in candidates:
        if (folder / candidate).is_file():
            return folder / candidate
    raise UsageError(f"{folder}: holds no {' or '.join(c.as_posix() for c in candidates)}")


def _write_report(path: Path, results: Sequence[Result]) -> None:
    text = StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(result.row() for result in results)
    with written_whole(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
