"""The report of a folder: a row for each mask with its measures, or with what went wrong."""

from dermseg.batch.jobs import Job
from dermseg.inference.segmenter import Segmentation
from dermseg.storage.journal import Row

REPORT = "report.csv"
TIMINGS = "timings.csv"
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


def failed_row(job: Job, error: str) -> Row:
    """Return the row of a job that failed, which says why."""
    return {**dict.fromkeys(COLUMNS, ""), "photograph": job.name.as_posix(), "error": error}
