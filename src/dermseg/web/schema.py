"""What the service says of a lesion, field by field: the models behind its JSON and OpenAPI."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Field

from dermseg.inference.confidence import Band, Confidence
from dermseg.inference.segmentation import Candidate, Flag
from dermseg.settings import Rule, Style
from dermseg.web.errors import ProblemDocument

Include = Literal["mask", "probability", "overlay", "picture"]
StyleBy = Literal["network", "thresholds"]
"""What makes the styles of a model differ: a network that draws them, or a threshold for each."""
PNG_BODY: dict[str, Any] = {
    "required": True,
    "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
}
"""What OpenAPI says of a body that is one PNG file."""
Pixel: TypeAlias = Annotated[list[int], Field(min_length=2, max_length=2)]
"""Column and row of a pixel."""


class Box(BaseModel):
    """The smallest upright box around the mask."""

    x: int
    y: int
    width: int
    height: int


class Point(BaseModel):
    """A place in the photograph's stored pixels: x to the right, y down, from 0."""

    x: float
    y: float


class Thresholds(BaseModel):
    """How the mask was made of the probability."""

    rule: Rule
    high: float
    low: float


class Predicted(BaseModel):
    """A mask's predicted Jaccard index, 0 to 1, with the ends of its 90 % interval."""

    jaccard: float
    low: float
    high: float

    @classmethod
    def of(cls, confidence: Confidence | None) -> "Predicted | None":
        """Return what a model says of its mask."""
        if confidence is None:
            return None
        return cls(jaccard=confidence.jaccard, low=confidence.low, high=confidence.high)


class Bounds(BaseModel):
    """Contours between which the border may lie, in pixels of the photograph as it is stored."""

    inner: list[list[tuple[float, float]]]
    outer: list[list[tuple[float, float]]]

    @classmethod
    def of(cls, band: Band | None) -> "Bounds | None":
        """Return what a model says of the border, to a tenth of a pixel."""
        if band is None:
            return None
        return cls(
            inner=[contour.round(1).tolist() for contour in band.inner],
            outer=[contour.round(1).tolist() for contour in band.outer],
        )


class Other(BaseModel):
    """A region that could be the lesion too; its place, given as x and y, makes it the lesion."""

    outline: list[Pixel]
    x: float
    y: float

    @classmethod
    def of(cls, candidate: Candidate) -> "Other":
        """Return what the service says of a candidate."""
        x, y = candidate.place
        return cls(outline=candidate.outline.tolist(), x=x, y=y)


class Answer(BaseModel):
    """Where the lesion is, in pixels of the photograph as it is stored.

    All measures count every piece of the mask, and its holes. `outlines` run around the pieces, the
    largest first, which `outline` repeats, and `holes` around the holes. `candidates` are what else
    could be the lesion. `style`
    says how the lesion is outlined, and `style_by` whether the network draws that style or
    thresholds make it; both are null for a mask drawn by hand.
    `confidence` is null where the model does not say how sure it is of this mask, `band` where it
    says nothing of the border. `orientation` is the EXIF orientation, 1 to 8, to show the picture
    upright by. `report` is the row of report.csv. The images are in base64, and null unless they
    were asked for.
    """

    model: str
    style: Style | None
    style_by: StyleBy | None
    thresholds: Thresholds
    by_hand: bool
    height: int
    width: int
    orientation: int
    area: int
    bounding_box: Box | None
    centroid: Point | None
    perimeter: float
    diameter: float
    flags: list[Flag]
    confidence: Predicted | None
    outline: list[Pixel]
    outlines: list[list[Pixel]]
    holes: list[list[Pixel]]
    candidates: list[Other]
    band: Bounds | None
    report: dict[str, str | int | float]
    mask: str | None = None
    probability: str | None = None
    overlay: str | None = None
    picture: str | None = None


class Line(BaseModel):
    """A photograph of a batch, by its file's name: what was found, or why nothing was."""

    name: str
    answer: Answer | None = None
    problem: ProblemDocument | None = None


class Preview(BaseModel):
    """What thresholds give, in pixels of the photograph as it is stored; the fields of `Answer`."""

    outlines: list[list[Pixel]]
    holes: list[list[Pixel]]
    candidates: list[Other]


class Drawn(BaseModel):
    """A mask drawn by hand, in its own pixels; `mask` is null unless it was asked for."""

    height: int
    width: int
    outlines: list[list[Pixel]]
    holes: list[list[Pixel]]
    mask: str | None = None
