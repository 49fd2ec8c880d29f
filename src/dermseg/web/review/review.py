"""A folder's masks looked at by a person, the least sure first; decisions kept beside the masks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal, TypeVar, get_args

import numpy as np
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from dermseg.batch.jobs import Job
from dermseg.batch.run import JOURNAL, row_as_left
from dermseg.errors import DataError, ImageError, UsageError
from dermseg.imaging.images import Mask
from dermseg.imaging.mask_files import MASK_FOREGROUND, read_mask, write_mask
from dermseg.imaging.photographs import image_size, read_orientation
from dermseg.inference.segmenter import Segmenter, drawn_by_hand
from dermseg.masks.postprocess import Probability, outline_of
from dermseg.settings import ServiceSettings
from dermseg.storage.files import writing
from dermseg.storage.journal import Row, read_journal
from dermseg.storage.tables import read_table, write_table
from dermseg.web.errors import ProblemError, describe
from dermseg.web.limits import Places, bounded, time_limit, unless_hung_up
from dermseg.web.responses import Bounds, Predicted, picture
from dermseg.web.uploads import read_drawn

DECISIONS = "decisions.csv"
PREDICTED = ("predicted_jaccard", "jaccard_low", "jaccard_high")
COLUMNS = ("photograph", "mask", "digest", "flags", *PREDICTED, "unsure", "decision")
UNSURE = (0.2, 0.8)
"""Probabilities between these count as unsure."""
PNG: dict[str, Any] = {
    "required": True,
    "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
}
T = TypeVar("T")
Decision = Literal["", "accepted", "corrected", "rejected"]
Choice = Literal["", "accepted", "rejected"]
Seen = Annotated[str | None, Header()]
DECISION_BYTES = 4096
CHOSEN: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["decision"],
                "properties": {"decision": {"type": "string", "enum": list(get_args(Choice))}},
            }
        }
    },
}
"""What OpenAPI says of a decision, which is read by hand to keep it bounded."""


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

    @classmethod
    def of(cls, job: Job, masks: Path, row: Row | None, segmenter: Segmenter) -> "Item":
        """Return what there is to say of a job's mask.

        `row` is what the run reported that made the mask, None if it is no longer that mask. Of a
        mask that is another than its own the review's `segmenter` cannot say how sure it is.
        """
        digest = _digest(masks, job)
        if row and row["confidence_score"] != "":
            predicted = _predicted([float(row[name]) for name in PREDICTED])
            return cls(job, digest, row["flags"], _unsure(row["confidence_score"]), "", predicted)
        mask = mask_of(masks / job.mask)
        found = segmenter.segment(job.photograph, size=mask.shape)
        if not np.array_equal(found.mask, mask):
            flags = row["flags"] if row else " ".join(drawn_by_hand(mask).flags)
            return cls(job, digest, flags, round(unsure_share(found.probability), 4))
        flags, sure = " ".join(found.flags), found.confidence
        if sure is None:
            return cls(job, digest, flags, round(unsure_share(found.probability), 4))
        return cls(job, digest, flags, _unsure(sure.score), "", Predicted.of(sure))

    @property
    def order(self) -> tuple[int, float, str]:
        """What comes first: the most unsure, then by name.

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


class Review:
    """The queue: every mask of a folder that `dermseg segment` filled, and what became of it.

    Decisions stand in decisions.csv beside the masks, whole after each, so that a review stops
    and goes on at any time; those about other photographs, `others`, stay as they are. One that was
    about another mask, since made again, holds no longer; `reopened` counts these. Corrected masks
    go to a folder of their own, named like the masks' with `-corrected`: the model's stay as they
    are, and segmenting again does not undo a person's work. `without` counts photographs that
    have no mask, or one that cannot be read.

    Raises UsageError if no photograph has a mask.
    """

    def __init__(
        self,
        items: Iterable[Item],
        masks: Path,
        others: Sequence[Mapping[str, str]] = (),
        reopened: int = 0,
        without: int = 0,
    ) -> None:
        self.masks = masks
        self.reopened = reopened
        self.without = without
        self.corrected = _corrected(masks)
        self.items = sorted(items, key=lambda item: item.order)
        self._others = others
        self._lock = Lock()

    @classmethod
    def open(cls, jobs: Iterable[Job], masks: Path, segmenter: Segmenter) -> "Review":
        """Return the review of `jobs`, gone on with where an earlier one stopped."""
        masks = masks.resolve()
        known = {row["photograph"]: row for row in _read_decisions(masks / DECISIONS)}
        noted = read_journal(masks / JOURNAL)
        items, reopened, without = [], 0, 0
        for job in jobs:
            if not (masks / job.mask).is_file():
                without += 1
                continue
            name = job.name.as_posix()
            defused = name if name in known else f"'{name}"  # as tables do to what begins with =
            row = known.pop(defused, None)
            item = None if row is None else _item(job, row, masks / DECISIONS)
            decision: Decision = "" if item is None else item.decision
            current = item is not None and item.digest == _digest(masks, job)
            stands = current
            if decision == "corrected":  # which stays right when the model's mask is made again
                stands = (_corrected(masks) / job.mask).is_file()
            if decision and not stands:
                decision, reopened = "", reopened + 1
            if item is None or not current:
                mask = job.mask.as_posix()
                try:
                    item = Item.of(job, masks, row_as_left(noted.get(mask), masks, mask), segmenter)
                except ImageError:
                    without += 1
                    if row is not None:
                        known[defused] = row
                    continue
            items.append(replace(item, decision=decision))
        if not items:
            raise UsageError(f"{masks}: holds no mask of these photographs; segment first")
        review = cls(items, masks, list(known.values()), reopened, without)
        review._write()
        return review

    def version(self, number: int) -> str:
        """Return what changes with the mask that counts, its photograph, and its decision."""
        item, corrected = self.items[number], 0
        if item.decision == "corrected":
            with suppress(OSError):
                corrected = self.mask_path(item).stat().st_mtime_ns
        facts = (item.job.name.as_posix(), item.digest, item.decision, corrected)
        known = repr(facts).encode(errors="surrogateescape")
        return blake2b(known, digest_size=8).hexdigest()

    def _check_seen(self, number: int, seen: str | None) -> None:
        """Raise ProblemError if a person has `seen` another version than the one that is there."""
        if seen is not None and seen != self.version(number):
            detail = "this mask or its decision has changed since it was shown: reload the page"
            raise ProblemError(412, "changed-meanwhile", detail)

    def decide(self, number: int, decision: Decision, seen: str | None = None) -> None:
        """Write down a decision; "" takes it back. Raises OutputError if it cannot be written.

        To accept a corrected mask is to leave it; any other decision throws the correction away.
        Raises ProblemError if the person has `seen` another version of it, unless that is None.
        """
        with self._lock:
            self._check_seen(number, seen)
            before = self.items[number]
            if before.decision == "corrected" and decision == "accepted":
                return
            self._decide(number, decision)
            if before.decision == "corrected":
                path = self.corrected / before.job.mask
                with writing(path):
                    path.unlink(missing_ok=True)

    def _decide(self, number: int, decision: Decision) -> None:
        before = self.items[number]
        self.items[number] = replace(before, decision=decision)
        try:
            self._write()
        except BaseException:
            self.items[number] = before
            raise

    def correct(self, number: int, mask: bytes, seen: str | None = None) -> None:
        """Write a corrected mask, an image of the mask's size, and the decision.

        Raises ImageError for another size, OutputError if it cannot be written, and ProblemError as
        `decide` does.
        """
        item = self.items[number]
        drawn = read_drawn(mask, image_size(self.masks / item.job.mask))
        with self._lock:
            self._check_seen(number, seen)
            write_mask(self.corrected / item.job.mask, drawn)
            self._decide(number, "corrected")

    def mask_path(self, item: Item) -> Path:
        """Return the file of the mask that counts."""
        folder = self.corrected if item.decision == "corrected" else self.masks
        return folder / item.job.mask

    def _write(self) -> None:
        rows = [
            {
                "photograph": item.job.name.as_posix(),
                "mask": item.job.mask.as_posix(),
                "digest": item.digest,
                "flags": item.flags,
                **_cells(item.predicted),
                "unsure": item.unsure,
                "decision": item.decision,
            }
            for item in self.items
        ]
        write_table(self.masks / DECISIONS, COLUMNS, [*rows, *self._others])


def _corrected(masks: Path) -> Path:
    """Return the folder of the corrected masks."""
    return masks.with_name(masks.name + "-corrected")


def _digest(masks: Path, job: Job) -> str:
    """Return a digest of a job's mask as it is now."""
    return blake2b((masks / job.mask).read_bytes(), digest_size=8).hexdigest()


def mask_of(path: Path) -> Mask:
    """Return the mask in a file, boolean (H, W)."""
    return read_mask(path) > MASK_FOREGROUND


def _read_decisions(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    rows = read_table(path)
    if rows and set(rows[0]) != set(COLUMNS):
        raise DataError(f"{path}: not a table of decisions; move it away")
    return rows


def _item(job: Job, row: dict[str, str], path: Path) -> Item:
    decision = row["decision"]
    if decision not in get_args(Decision):
        raise DataError(f"{path}: {decision!r} is no decision")
    try:
        unsure = float(row["unsure"])
        ends = [float(row[name]) for name in PREDICTED if row[name]]
    except ValueError as error:
        raise DataError(f"{path}: what should be a number is none ({error})") from error
    predicted = None
    if len(ends) == len(PREDICTED):
        predicted = _predicted(ends)
    return Item(job, row["digest"], row["flags"], unsure, decision, predicted)  # type: ignore[arg-type]


def _predicted(ends: Sequence[float]) -> Predicted:
    return Predicted(jaccard=ends[0], low=ends[1], high=ends[2])


def _cells(predicted: Predicted | None) -> dict[str, object]:
    if predicted is None:
        return dict.fromkeys(PREDICTED, "")
    values = (predicted.jaccard, predicted.low, predicted.high)
    return {name: round(value, 3) for name, value in zip(PREDICTED, values, strict=True)}


class Entry(BaseModel):
    """A mask in the queue; with `version` in If-Match only what was seen is decided about."""

    number: int
    version: str
    name: str
    flags: list[str]
    confidence: Predicted | None
    unsure: float
    decision: Decision


class Queue(BaseModel):
    """The whole queue, in order."""

    items: list[Entry]


class Shown(BaseModel):
    """What is drawn of a mask: its outline, in the photograph's stored pixels, and the band.

    The band is that of the model's mask, also where it was corrected; null where the service's
    model says nothing of it, or is not the one that made the mask.
    """

    height: int
    width: int
    orientation: int
    outline: list[tuple[int, int]]
    band: Bounds | None


class Chosen(BaseModel):
    """A decision; corrections are sent as masks."""

    decision: Choice


def review_routes(
    review: Review, segmenter: Segmenter, places: Places, settings: ServiceSettings
) -> APIRouter:
    """Return the routes of a review: photographs are named by their number in the queue."""
    router = APIRouter(
        prefix="/v1/review", responses=describe(403, 404, 408, 412, 413, 421, 422, 429, 503, 507)
    )

    def entry(number: int) -> Entry:
        item = review.items[number]
        return Entry(
            number=number,
            version=review.version(number),
            name=item.job.name.as_posix(),
            flags=item.flags.split(),
            confidence=item.predicted,
            unsure=item.unsure,
            decision=item.decision,
        )

    def seen(if_match: str | None) -> str | None:
        return None if if_match in (None, "*") else if_match.strip('"')

    def checked(number: int) -> Item:
        if not 0 <= number < len(review.items):
            raise ProblemError(404, "not-found", f"the queue has {len(review.items)} masks, from 0")
        return review.items[number]

    def present(mask: Path) -> Path:
        if not mask.is_file():
            raise ProblemError(404, "not-found", "the mask's file is gone; start the review again")
        return mask

    @asynccontextmanager
    async def working(request: Request) -> AsyncIterator[Callable[[Callable[[], T]], Awaitable[T]]]:
        """Take a place, and yield what runs work there."""
        with places.take() as place:
            async with time_limit(request, settings.seconds):
                yield lambda work: unless_hung_up(request, place.run(work))

    @router.get("")
    async def queue() -> Queue:
        """Return the queue."""
        return Queue(items=[entry(number) for number in range(len(review.items))])

    @router.get("/{number}")
    async def shown(number: int, request: Request) -> Shown:
        """Return what is drawn of a mask."""
        item = checked(number)

        def work() -> Shown:
            mask = mask_of(present(review.mask_path(item)))
            height, width = mask.shape
            band = None
            if segmenter.says_how_sure:
                found = segmenter.segment(item.job.photograph, size=(height, width))
                own = mask_of(review.masks / item.job.mask)
                band = found.band if np.array_equal(found.mask, own) else None
            return Shown(
                height=height,
                width=width,
                orientation=read_orientation(item.job.photograph),
                outline=outline_of(mask)[0].tolist(),
                band=Bounds.of(band),
            )

        async with working(request) as run:
            return await run(work)

    @router.get("/{number}/photograph", response_class=Response)
    async def photograph(number: int, request: Request) -> Response:
        """Return the photograph as stored, as a JPEG that every browser can show."""
        item = checked(number)
        async with working(request) as run:
            content = await run(lambda: picture(item.job.photograph))
        return Response(content, media_type="image/jpeg")

    @router.get("/{number}/mask", response_class=Response)
    async def mask(number: int, request: Request) -> Response:
        """Return the mask that counts."""
        item = checked(number)
        async with working(request) as run:
            content = await run(lambda: present(review.mask_path(item)).read_bytes())
        return Response(content, media_type="image/png")

    async def kept(work: Callable[[], None]) -> None:
        """Do what a person has decided, in a thread, also if the page is closed meanwhile."""
        await asyncio.shield(asyncio.to_thread(work))

    async def body(request: Request, limit: int) -> bytes:
        return b"".join([chunk async for chunk in bounded(request, limit)])

    @router.put("/{number}", openapi_extra={"requestBody": CHOSEN})
    async def decide(number: int, request: Request, if_match: Seen = None) -> Entry:
        """Accept or reject a mask, or take a decision back."""
        checked(number)
        async with time_limit(request, settings.seconds):
            content = await body(request, DECISION_BYTES)
        try:
            chosen = Chosen.model_validate_json(content)
        except ValidationError as error:
            detail = "decision: send " + " or ".join(map(repr, get_args(Choice)))
            raise ProblemError(422, "invalid-settings", detail) from error
        await kept(lambda: review.decide(number, chosen.decision, seen(if_match)))
        return entry(number)

    @router.put("/{number}/mask", openapi_extra={"requestBody": PNG})
    async def correct(number: int, request: Request, if_match: Seen = None) -> Entry:
        """Put a corrected mask, an image of the mask's size, in place of the model's."""
        checked(number)
        async with working(request):
            drawn = await body(request, settings.megabytes * 2**20)
            await kept(lambda: review.correct(number, drawn, seen(if_match)))
        return entry(number)

    return router
