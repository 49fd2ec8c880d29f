"""One mask of a review, and how unsure it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from dermseg.batch.jobs import Job
from dermseg.imaging.images import Mask
from dermseg.imaging.mask_files import MASK_FOREGROUND, read_mask
from dermseg.inference.segmentation import drawn_by_hand
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.postprocess import Probability
from dermseg.storage.decisions import digest_of
from dermseg.storage.journal import Row
from dermseg.web.schema import Predicted

Decision = Literal["", "accepted", "corrected", "rejected"]
UNSURE = (0.2, 0.8)
"""Probabilities between these count as unsure."""


@dataclass(frozen=True)
class Remark:
    """Who decided last about a mask, what they noted, and the seconds that all looked at it."""

    reviewer: str = ""
    note: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Item:
    """A mask to look at, of the content `digest`.

    `predicted` is its Jaccard index with the ends of the interval, where the model that made it
    says how sure it is; `unsure` is then one less the confidence's score, and elsewhere the
    pixels of which the review's model is unsure, as a share of the lesion and them together.
    """

    job: Job
    digest: str
    flags: str
    unsure: float
    decision: Decision = ""
    predicted: Predicted | None = None
    remark: Remark = Remark()

    @classmethod
    def of(cls, job: Job, masks: Path, row: Row | None, segmenter: Segmenter) -> "Item":
        """Return the item of a job's mask.

        `row` is the report's row of the run that made the mask, None if the mask has changed since.
        Then `segmenter` makes the mask again; if its own differs, its confidence does not apply.
        """
        digest = digest_of(masks / job.mask)
        if row and row["confidence_score"] != "":
            jaccard, low, high = (
                float(row[name]) for name in ("predicted_jaccard", "jaccard_low", "jaccard_high")
            )
            predicted = Predicted(jaccard=jaccard, low=low, high=high)
            return cls(job, digest, row["flags"], _unsure(row["confidence_score"]), "", predicted)
        mask = mask_of(masks / job.mask)
        found = segmenter.segment(job.open(), size=mask.shape)
        if not np.array_equal(found.mask, mask):
            flags = row["flags"] if row else " ".join(drawn_by_hand(mask).flags)
            return cls(job, digest, flags, round(unsure_share(found.probability), 4))
        flags, sure = " ".join(found.flags), found.confidence
        if sure is None:
            return cls(job, digest, flags, round(unsure_share(found.probability), 4))
        return cls(job, digest, flags, _unsure(sure.score), "", Predicted.of(sure))

    @property
    def order(self) -> tuple[int, float, str]:
        """The order of a review: the least sure first, then by name.

        Before that the most flags, unless the model says itself how sure it is.
        """
        flags = 0 if self.predicted else len(self.flags.split())
        return -flags, -self.unsure, self.job.name.as_posix()


def _unsure(score: float) -> float:
    return round(1 - score, 4)


def unsure_share(probability: Probability) -> float:
    """Return the unsure pixels' share of all that are not surely skin, 0..1."""
    low, high = UNSURE
    lesion = np.count_nonzero(probability > low)
    return np.count_nonzero((probability > low) & (probability < high)) / lesion if lesion else 1.0


def mask_of(path: Path) -> Mask:
    """Return the mask in a file, boolean (H, W)."""
    return read_mask(path) > MASK_FOREGROUND
