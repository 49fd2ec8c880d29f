"""List the masks of a folder that most need a look, as a table and a contact sheet."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dermseg.batch.worker import Result
from dermseg.errors import ImageError, UsageError
from dermseg.imaging.contact_sheet import CELL_HEIGHT, CELL_WIDTH, contact_sheet
from dermseg.imaging.images import Pixels, encode_image, resize
from dermseg.imaging.orientation import exchanges_sides
from dermseg.imaging.overlay import draw_overlay
from dermseg.imaging.photographs import Photograph, read_photograph
from dermseg.inference.segmenter import Segmenter
from dermseg.progress import say
from dermseg.settings import DEFAULT_MODEL
from dermseg.storage.parts import open_journal
from dermseg.storage.stores import open_store
from dermseg.storage.tables import encode_table

TABLE = "review.csv"
SHEET = "review_sheet.jpg"
SHOWN = 100
"""Masks on the sheet; more would be too small to see, or the sheet too large to open."""
GREY = 200
FINE = 2
"""How much larger outlines are drawn, so that their lines are thin."""
COLUMNS = (
    "rank",
    "photograph",
    "mask",
    "predicted_jaccard",
    "jaccard_low",
    "jaccard_high",
    "confidence_score",
    "flags",
)


def check_says_how_sure(segmenter: Segmenter) -> None:
    """Raise UsageError if `segmenter` does not say how sure its masks are."""
    if segmenter.says_how_sure:
        return
    if segmenter.calibrated:
        raise UsageError(
            f"--review: {segmenter.name} says how sure its masks are with its default thresholds "
            "only"
        )
    raise UsageError(
        f"--review: {segmenter.name} does not say how sure its masks are; choose a model that "
        f"does, such as {DEFAULT_MODEL}, or write one by `dermseg export RUN -o MODEL.onnx "
        "--calibrate-on DATA`"
    )


def write_least_sure(
    results: Sequence[Result], count: int, segmenter: Segmenter, output: str | Path
) -> int:
    """Write review.csv and review_sheet.jpg: the `count` least sure masks, the least sure first.

    `results` are what `segment_all` made with `segmenter` in the folder `output`. The sheet shows
    the first SHOWN, each with its outline and its band; a photograph that can no longer be read
    leaves its cell empty. Returns how many are listed: failed photographs have no mask. Raises
    UsageError if another's table or sheet is there, OutputError if a file cannot be written.
    """
    chosen = least_sure(results, count)
    rows = [{"rank": rank, **result.row} for rank, result in enumerate(chosen, 1)]
    with open_journal(open_store(output)) as journal:
        journal.write(TABLE, encode_table(COLUMNS, rows))
        shown = chosen[:SHOWN]
        if shown:
            captions = [_caption(rank, result) for rank, result in enumerate(shown, 1)]
            sheet = contact_sheet([_cell(result, segmenter) for result in shown], captions)
            journal.write(SHEET, encode_image(sheet, "JPEG"))
        else:
            journal.remove(SHEET)
    return len(chosen)


def least_sure(results: Sequence[Result], count: int) -> list[Result]:
    """Return the `count` results, or all there are, whose masks are the least sure."""
    found = [result for result in results if not result.error]
    found.sort(key=lambda result: (result.row["confidence_score"], result.row["photograph"]))
    return found[:count]


def _caption(rank: int, result: Result) -> str:
    row = result.row
    sure = f"{row['predicted_jaccard']:.2f} ({row['jaccard_low']:.2f} to {row['jaccard_high']:.2f})"
    return f"{rank}: {row['photograph']}\n{sure} {row['flags']}"


def _cell(result: Result, segmenter: Segmenter) -> Pixels:
    """Return the picture of a cell, grey for a photograph that can no longer be read."""
    try:
        return _picture(result, segmenter)
    except ImageError as error:
        say(str(error))
        return np.full((CELL_HEIGHT, CELL_WIDTH, 3), GREY, np.uint8)


def _picture(result: Result, segmenter: Segmenter) -> Pixels:
    """Return the upright picture with outline and band, as large as fits into a cell."""
    content = result.job.open()
    photograph = read_photograph(content, at_least=(FINE * CELL_WIDTH,) * 2)
    turned = exchanges_sides(photograph.orientation)
    cell = (CELL_WIDTH, CELL_HEIGHT) if turned else (CELL_HEIGHT, CELL_WIDTH)
    size = result.row["height"], result.row["width"]
    scale = min(room / side for room, side in zip(cell, size, strict=True))
    height, width = (max(1, round(side * scale)) for side in size)
    fine = FINE * height, FINE * width
    lesion = segmenter.segment(content, size=fine)
    framed = Photograph(resize(photograph.pixels, *fine), *fine, photograph.orientation)
    picture = draw_overlay(framed, lesion.outline, lesion.band_contours)
    return resize(picture, *((width, height) if turned else (height, width)))
