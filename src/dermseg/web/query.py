"""What a client may ask for in an address: how a photograph is segmented."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from dermseg.imaging.images import Mask
from dermseg.imaging.png import LONGEST_SIDE
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.edit import FARTHEST, Edit, edit_mask
from dermseg.masks.redraw import redraw
from dermseg.settings import Rule, Style, ThresholdSettings
from dermseg.web.errors import ProblemError
from dermseg.web.schema import Include, StyleBy


@dataclass(frozen=True)
class Manner:
    """How a mask is made: by which model, in which style, with which thresholds."""

    model: str
    style: Style
    style_by: StyleBy
    thresholds: ThresholdSettings


class MannerQuery(BaseModel):
    """How masks are made; the app refuses names that are not in a query's class."""

    model: str | None = Field(
        None, description="One of /v1/models; unless given, the first that the server was told"
    )
    style: Style | None = Field(
        None,
        description="How the lesion is outlined: traced, as an expert draws, or semi-automatic, as "
        "a flood fill does; unless given, as the server was told",
    )
    rule: Rule | None = Field(None, description="How the mask is made of the probability")
    high: float | None = Field(None, gt=0, le=1, description="Marks the core")
    low: float | None = Field(
        None, gt=0, le=1, description="Marks the border; thresholds not given are the style's"
    )

    def manner(self, segmenter: Segmenter) -> Manner:
        """Return how `segmenter` is to make the mask; UsageError for impossible thresholds."""
        style = self.style or segmenter.style
        own = segmenter.thresholds_for(style)
        thresholds = ThresholdSettings(
            self.rule or own.rule, self.high or own.high, self.low or own.low
        )
        return Manner(segmenter.name, style, style_by(segmenter), thresholds)


class OutlineQuery(MannerQuery):
    """The query of a request for an outline."""

    x: float | None = Field(None, ge=0, le=10**6, description="With y: a place in the lesion")
    y: float | None = Field(None, ge=0, le=10**6, description="With x")

    @property
    def at(self) -> tuple[float, float] | None:
        """The place that was clicked, None without one; ProblemError for half of one."""
        if (self.x is None) != (self.y is None):
            raise ProblemError(422, "invalid-settings", "x and y go together")
        return None if self.x is None or self.y is None else (self.x, self.y)


LONGEST_LINE = 24_000
"""Characters of a line: a thousand points in the largest photographs."""
AROUND = 20
"""Length of a line at most, in the mask's height and width: longer ones would fill the memory."""


class EditQuery(BaseModel):
    """How a mask is changed."""

    edit: Edit | Literal["redraw"] | None = Field(
        None, description="Changes the mask as a whole, or its border, before it is described"
    )
    by: int = Field(
        1, ge=1, le=FARTHEST, description="With edit: pixels to grow, shrink or smooth by"
    )
    line: str = Field(
        "",
        max_length=LONGEST_LINE,
        pattern=r"^[0-9. -]*$",
        description="With edit=redraw: x and y of two points and more, a space between numbers. "
        "The line takes the place of the border between its ends; closed, of the whole mask",
    )

    def changed(self, mask: Mask) -> Mask:
        """Return `mask` as it is to be changed; ProblemError for a line that is none."""
        if self.edit != "redraw":
            return mask if self.edit is None else edit_mask(mask, self.edit, self.by)
        try:
            line = np.array(self.line.split(), np.float64).reshape(-1, 2)
        except ValueError:
            line = np.zeros((0, 2))
        length = np.hypot(*np.diff(line, axis=0).T).sum()
        if len(line) < 2 or np.abs(line).max() > LONGEST_SIDE or length > AROUND * sum(mask.shape):
            detail = "line: send x and y of two points and more, in pixels, with spaces between"
            raise ProblemError(422, "invalid-settings", detail)
        return redraw(mask, line)


class SegmentQuery(EditQuery, OutlineQuery):
    """The query of a request to segment a photograph."""

    include: list[Include] = Field([], description="Images to put into the JSON, in base64")


class MaskQuery(EditQuery):
    """The query of a request about a mask drawn by hand."""

    include: list[Literal["mask"]] = Field([], description="Images to put in, in base64")


class BatchQuery(MannerQuery):
    """The query of a request about many photographs."""

    include: list[Include] = Field([], description="Images to put into each line, in base64")


class PreviewQuery(OutlineQuery):
    """The query of a request for the outline in a probability map."""

    height: int = Field(ge=1, le=LONGEST_SIDE, description="The photograph's, in pixels")
    width: int = Field(ge=1, le=LONGEST_SIDE, description="The photograph's, in pixels")


def style_by(segmenter: Segmenter) -> StyleBy:
    """Say what makes a model's styles differ."""
    return "network" if segmenter.draws_styles else "thresholds"
