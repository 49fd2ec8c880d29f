"""What a review says and is told, field by field: the models behind its JSON and OpenAPI."""

from typing import Literal

from pydantic import BaseModel, Field

from dermseg.evaluation.agreement import Agreement
from dermseg.web.review.items import Decision
from dermseg.web.schema import Bounds, Pixel, Predicted

Choice = Literal["", "accepted", "rejected"]
"""The decisions that are sent by name; corrections are sent as masks."""


class Entry(BaseModel):
    """A mask in the queue; with `version` in If-Match only what was seen is decided about."""

    number: int
    version: str
    name: str
    flags: list[str]
    confidence: Predicted | None
    unsure: float
    decision: Decision
    reviewer: str
    note: str
    seconds: float


class Queue(BaseModel):
    """The whole queue, in order."""

    items: list[Entry]


class Shown(BaseModel):
    """What is drawn of a mask: its borders, in the photograph's stored pixels, and the band.

    The band is that of the model's mask, also where it was corrected; null where the service's
    model says nothing of it, or is not the one that made the mask.
    """

    height: int
    width: int
    orientation: int
    outlines: list[list[Pixel]]
    holes: list[list[Pixel]]
    band: Bounds | None


class Agreed(BaseModel):
    """How far two readers agree; the unnamed reader is "".

    `decided` counts the photographs that both decided about, `alike` those that both kept or both
    rejected, and `compared` those of which both kept a mask. `jaccard` and `kappa` are means over
    these, null where there is none.
    """

    first: str
    second: str
    decided: int
    alike: int
    kappa_of_decisions: float
    compared: int
    jaccard: float | None
    kappa: float | None

    @classmethod
    def of(cls, each: Agreement) -> "Agreed":
        """Return what is said of two readers."""
        return cls(
            first=each.first,
            second=each.second,
            decided=len(each.pairs),
            alike=each.alike,
            kappa_of_decisions=each.kappa_of_decisions,
            compared=len(each.compared),
            jaccard=each.jaccard,
            kappa=each.kappa,
        )


class Chosen(BaseModel):
    """A decision, and who made it; corrections are sent as masks.

    To accept a corrected mask keeps it. Without reviewer, note and seconds the last ones stay.
    """

    decision: Choice
    reviewer: str = Field("", max_length=100)
    note: str = Field("", max_length=500)
    seconds: float = Field(0, ge=0, allow_inf_nan=False)
