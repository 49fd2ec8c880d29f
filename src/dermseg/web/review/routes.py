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


def review_routes(
    review: Review, segmenter: Segmenter, places: Places, settings: ServiceSettings
) -> APIRouter:
    """Return the routes of a review: photographs are named by their number in the queue."""
    router = APIRouter(
        prefix="/v1/review", responses=describe(403, 404, 408, 412, 413, 429, 503, 507)
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
    async def working(request: Request) -> AsyncIterator[Place]:
        """Take a place for a limited time."""
        with places.take() as place:
            async with places.time_limit(request):
                yield place

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

        async with working(request) as place:
            return await unless_hung_up(request, place.run(work))

    @router.get("/{number}/photograph", response_class=Response)
    async def photograph(number: int, request: Request) -> Response:
        """Return the photograph as stored, as a JPEG that every browser can show."""
        item = checked(number)
        async with working(request) as place:
            content = await unless_hung_up(request, place.run(lambda: picture(item.job.photograph)))
        return Response(content, media_type="image/jpeg")

    @router.get("/{number}/mask", response_class=Response)
    async def mask(number: int, request: Request) -> Response:
        """Return the mask that counts."""
        item = checked(number)
        async with working(request) as place:
            work = place.run(lambda: present(review.mask_path(item)).read_bytes())
            content = await unless_hung_up(request, work)
        return Response(content, media_type="image/png")

    async def kept(work: Callable[[], None]) -> None:
        """Do what a person has decided, in a thread, also if the page is closed meanwhile."""
        await asyncio.shield(asyncio.to_thread(work))

    async def body(request: Request, limit: int, hold: Callable[[int], None]) -> bytes:
        return b"".join([chunk async for chunk in bounded(request, limit, hold)])

    @router.put("/{number}", openapi_extra={"requestBody": CHOSEN})
    async def decide(number: int, request: Request, if_match: Seen = None) -> Entry:
        """Accept or reject a mask, or take a decision back."""
        checked(number)
        async with places.time_limit(request):  # needs no place: it is small
            content = await body(request, DECISION_BYTES, lambda _: None)
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
        async with working(request) as place:
            drawn = await body(request, settings.megabytes * 2**20, place.hold)
            await kept(lambda: review.correct(number, drawn, seen(if_match)))
        return entry(number)

    return router
