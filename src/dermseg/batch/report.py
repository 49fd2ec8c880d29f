"""The report of a folder: a row for each photograph, with measures or an error."""

from pathlib import PurePath

from dermseg import __version__
from dermseg.batch.jobs import Job
from dermseg.imaging.photographs import Source, frame_of
from dermseg.inference.segmentation import Segmentation
from dermseg.inference.segmenter import Segmenter
from dermseg.storage.journal import Row

REPORT = "report.csv"
TIMINGS = "timings.csv"
TIMED = ("photograph", "milliseconds")
"""The columns of the timings."""
MADE_BY = ("model", "weights", "style", "mirror", "rule", "high", "low", "version")
"""What made a mask: the model, the first digits of its file's SHA-256, the settings that decide a
mask, and the version of dermseg."""
COLUMNS = (
    "photograph",
    "mask",
    "height",
    "width",
    "orientation",
    "frame",
    "area",
    "box_x",
    "box_y",
    "box_width",
    "box_height",
    "centroid_x",
    "centroid_y",
    "perimeter",
    "diameter",
    "pixels_per_mm",
    "area_mm2",
    "perimeter_mm",
    "diameter_mm",
    "predicted_jaccard",
    "jaccard_low",
    "jaccard_high",
    "confidence_score",
    "flags",
    "error",
    *MADE_BY,
)
"""The report's columns. Lengths are in pixels of the mask as stored, areas in square pixels, and in
millimetres too where the scale is known: a DICOM file says it (Pixel Spacing), or the user. The
orientation is the photograph's in EXIF, 1 to 8. The frame is empty unless a DICOM file has several.
The predicted Jaccard index, with its 90 %
interval, says how sure the mask is, and the score orders masks by it (see
`dermseg.inference.confidence`)."""


def made_by(segmenter: Segmenter) -> Row:
    """Return the columns that say what makes a segmenter's masks.

    Of a model's path only the file's name is told: a report is passed on.
    """
    thresholds = segmenter.thresholds
    return {
        "model": PurePath(segmenter.name).name,
        "weights": f"sha256:{segmenter.sha256[:12]}",  # which no spreadsheet takes for a number
        "style": segmenter.style,
        "mirror": "yes" if segmenter.mirror else "no",
        "rule": thresholds.rule,
        "high": thresholds.high,
        "low": thresholds.low,
        "version": __version__,
    }


def report_row(job: Job, segmentation: Segmentation, photograph: Source = "") -> Row:
    """Return a job's row of the report, but for what made it.

    Names have forward slashes everywhere. `photograph` is what was segmented: the file in a DICOM
    file tells its scale and its frame.
    """
    row: Row = dict.fromkeys(COLUMNS, "")
    row["photograph"], row["mask"] = job.name.as_posix(), job.mask.as_posix()
    row["height"], row["width"] = segmentation.mask.shape
    row["orientation"], row["area"] = segmentation.orientation, segmentation.area
    row["frame"] = frame_of(photograph) or ""
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
        row["perimeter"] = round(segmentation.perimeter, 1)
        row["diameter"] = round(segmentation.diameter, 1)
    scale = job.scale(photograph)
    if scale is not None:
        row["pixels_per_mm"] = round(scale, 4)
        row["area_mm2"] = round(segmentation.area / scale**2, 3)
        row["perimeter_mm"] = round(segmentation.perimeter / scale, 3)
        row["diameter_mm"] = round(segmentation.diameter / scale, 3)
    return row


def complete_row(row: Row) -> Row:
    """Return a noted row with all of today's columns, empty where an earlier version had none."""
    return {column: row.get(column, "") for column in COLUMNS}


def failed_row(job: Job, error: str) -> Row:
    """Return the row of a job that failed, which says why."""
    return {**dict.fromkeys(COLUMNS, ""), "photograph": job.name.as_posix(), "error": error}
