"""A review over HTTP: photographs are named by their number in the queue."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from pydantic import ValidationError

from dermseg.imaging.photographs import read_orientation
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.postprocess import outline_of
from dermseg.progress import printable
from dermseg.settings import ServiceSettings
from dermseg.web.errors import ProblemError, describe
from dermseg.web.limits import Place, Places, bounded, unless_hung_up
from dermseg.web.responses import picture
from dermseg.web.review.items import Item, mask_of
from dermseg.web.review.queue import Review
from dermseg.web.review.schema import Choice, Chosen, Entry, Queue, Shown
from dermseg.web.schema import Bounds

Seen = Annotated[str | None, Header()]
DECISION_BYTES = 4096
PNG: dict[str, Any] = {
    "required": True,
    "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
}
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


class _Routes:
    """What the routes of a review do."""

    def __init__(
        self, review: Review, segmenter: Segmenter, places: Places, settings: ServiceSettings
    ) -> None:
        self._review, self._segmenter = review, segmenter
        self._places, self._settings = places, settings

    def _entry(self, number: int) -> Entry:
        item = self._review.items[number]
        return Entry(
            number=number,
            version=self._review.version(number),
            name=printable(item.job.name.as_posix()),
            flags=item.flags.split(),
            confidence=item.predicted,
            unsure=item.unsure,
            decision=item.decision,
        )

    def _checked(self, number: int) -> Item:
        if not 0 <= number < len(self._review.items):
            detail = f"the queue has {len(self._review.items)} masks, from 0"
            raise ProblemError(404, "not-found", detail)
        return self._review.items[number]

    @asynccontextmanager
    async def _working(self, request: Request) -> AsyncIterator[Place]:
        """Take a place for a limited time."""
        with self._places.take() as place:
            async with self._places.time_limit(request):
                yield place

    async def queue(self) -> Queue:
        """Return the queue."""
        return Queue(items=[self._entry(number) for number in range(len(self._review.items))])

    async def shown(self, number: int, request: Request) -> Shown:
        """Return what is drawn of a mask."""
        item = self._checked(number)

        def work() -> Shown:
            mask = mask_of(_present(self._review.mask_path(item)))
            height, width = mask.shape
            band = None
            if self._segmenter.says_how_sure:
                found = self._segmenter.segment(item.job.photograph, size=(height, width))
                own = mask_of(self._review.masks / item.job.mask)
                band = found.band if np.array_equal(found.mask, own) else None
            return Shown(
                height=height,
                width=width,
                orientation=read_orientation(item.job.photograph),
                outline=outline_of(mask)[0].tolist(),
                band=Bounds.of(band),
            )

        async with self._working(request) as place:
            return await unless_hung_up(request, place.run(work))

    async def photograph(self, number: int, request: Request) -> Response:
        """Return the photograph as stored, as a JPEG that every browser can show."""
        item = self._checked(number)
        async with self._working(request) as place:
            content = await unless_hung_up(request, place.run(lambda: picture(item.job.photograph)))
        return Response(content, media_type="image/jpeg")

    async def mask(self, number: int, request: Request) -> Response:
        """Return the mask that counts."""
        item = self._checked(number)
        async with self._working(request) as place:
            work = place.run(lambda: _present(self._review.mask_path(item)).read_bytes())
            content = await unless_hung_up(request, work)
        return Response(content, media_type="image/png")

    async def decide(self, number: int, request: Request, if_match: Seen = None) -> Entry:
        """Accept or reject a mask, or take a decision back."""
        self._checked(number)
        async with self._places.time_limit(request):  # needs no place: it is small
            content = await _body(request, DECISION_BYTES, lambda _: None)
        try:
            chosen = Chosen.model_validate_json(content)
        except ValidationError as error:
            detail = "decision: send " + " or ".join(map(repr, get_args(Choice)))
            raise ProblemError(422, "invalid-settings", detail) from error
        await _kept(lambda: self._review.decide(number, chosen.decision, _seen(if_match)))
        return self._entry(number)

    async def correct(self, number: int, request: Request, if_match: Seen = None) -> Entry:
        """Put a corrected mask, an image of the mask's size, in place of the model's."""
        self._checked(number)
        async with self._working(request) as place:
            drawn = await _body(request, self._settings.megabytes * 2**20, place.hold)
            await _kept(lambda: self._review.correct(number, drawn, _seen(if_match)))
        return self._entry(number)


def _seen(if_match: str | None) -> str | None:
    return None if if_match in (None, "*") else if_match.strip('"')


def _present(mask: Path) -> Path:
    if not mask.is_file():
        raise ProblemError(404, "not-found", "the mask's file is gone; start the review again")
    return mask


async def _kept(work: Callable[[], None]) -> None:
    """Do what a person has decided, in a thread, also if the page is closed meanwhile."""
    await asyncio.shield(asyncio.to_thread(work))


async def _body(request: Request, limit: int, hold: Callable[[int], None]) -> bytes:
    return b"".join([chunk async for chunk in bounded(request, limit, hold)])


def review_routes(
    review: Review, segmenter: Segmenter, places: Places, settings: ServiceSettings
) -> APIRouter:
    """Return the routes of a review: photographs are named by their number in the queue."""
    routes = _Routes(review, segmenter, places, settings)
    router = APIRouter(
        prefix="/v1/review", responses=describe(403, 404, 408, 412, 413, 429, 503, 507)
    )
    router.get("")(routes.queue)
    router.get("/{number}")(routes.shown)
    router.get("/{number}/photograph", response_class=Response)(routes.photograph)
    router.get("/{number}/mask", response_class=Response)(routes.mask)
    router.put("/{number}", openapi_extra={"requestBody": CHOSEN})(routes.decide)
    router.put("/{number}/mask", openapi_extra={"requestBody": PNG})(routes.correct)
    return router
