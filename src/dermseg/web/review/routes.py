"""A review over HTTP: photographs are named by their number in the queue."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import Response
from pydantic import ValidationError

from dermseg.evaluation.agreement import agreements
from dermseg.imaging.photographs import image_size, read_orientation
from dermseg.imaging.png import encode_mask
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.outlines import outlines_of
from dermseg.progress import printable
from dermseg.settings import Form, Style
from dermseg.web.dependencies import TheReview, TheService
from dermseg.web.errors import ProblemError, describe
from dermseg.web.limits import read_body, unless_hung_up
from dermseg.web.responses import picture
from dermseg.web.review.export import archive
from dermseg.web.review.items import Item, Remark, mask_of
from dermseg.web.review.queue import Review
from dermseg.web.review.schema import Agreed, Choice, Chosen, Entry, Queue, Shown
from dermseg.web.schema import PNG_BODY, Bounds

Seen = Annotated[str | None, Header()]
DECISION_BYTES = 4096
CHOSEN: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": Chosen.model_json_schema()}},
}
"""What OpenAPI says of a decision, which is read by hand to keep it bounded."""


router = APIRouter(
    prefix="/v1/review", responses=describe(403, 404, 408, 409, 412, 413, 429, 503, 507)
)


async def known_number(number: int, review: TheReview) -> int:
    """Return the number of a mask in the queue; raise ProblemError 404 if there is no such mask."""
    if not 0 <= number < len(review.items):
        raise ProblemError(404, "not-found", f"the queue has {len(review.items)} masks, from 0")
    return number


Number = Annotated[int, Depends(known_number)]


@router.get("")
async def queue(review: TheReview) -> Queue:
    """Return the queue."""
    return Queue(items=[_entry(review, number) for number in range(len(review.items))])


@router.get("/agreement")
async def agreement(request: Request, review: TheReview, service: TheService) -> list[Agreed]:
    """Compare every two readers of the masks."""
    async with service.place(request) as place:
        done = place.run(lambda: agreements(review.masks))
        return [Agreed.of(each) for each in await unless_hung_up(request, done)]


@router.get("/accepted", response_class=Response)
async def accepted(
    request: Request, review: TheReview, service: TheService, form: Form = "masks"
) -> Response:
    """Return the masks that were accepted or corrected, in a form of `dermseg convert`: a ZIP."""
    if not any(item.decision in ("accepted", "corrected") for item in review.items):
        raise ProblemError(409, "nothing-accepted", "no mask is accepted or corrected yet")
    async with service.place(request) as place:
        content = await unless_hung_up(request, place.run(lambda: archive(review.reader, form)))
    disposition = {"Content-Disposition": f'attachment; filename="accepted-{form}.zip"'}
    return Response(content, media_type="application/zip", headers=disposition)


@router.get("/{number}")
async def shown(number: Number, request: Request, review: TheReview, service: TheService) -> Shown:
    """Return what is drawn of a mask."""
    item = review.items[number]
    async with service.place(request) as place:
        done = place.run(lambda: _shown(review, item, service.segmenter))
        return await unless_hung_up(request, done)


@router.get("/{number}/photograph", response_class=Response)
async def photograph(
    number: Number, request: Request, review: TheReview, service: TheService
) -> Response:
    """Return the photograph as stored, as a JPEG that every browser can show."""
    item = review.items[number]
    async with service.place(request) as place:
        content = await unless_hung_up(request, place.run(lambda: picture(item.job.open())))
    return Response(content, media_type="image/jpeg")


@router.get("/{number}/mask", response_class=Response)
async def mask(
    number: Number,
    request: Request,
    review: TheReview,
    service: TheService,
    style: Style | None = None,
) -> Response:
    """Return the mask that counts; or with a style what the service's model makes in it."""
    item = review.items[number]

    def read() -> bytes:
        path = _present(review.mask_path(item))
        if style is None:
            return path.read_bytes()
        found = service.segmenter.segment(item.job.open(), size=image_size(path), style=style)
        return encode_mask(found.mask)

    async with service.place(request) as place:
        content = await unless_hung_up(request, place.run(read))
    return Response(content, media_type="image/png")


@router.put("/{number}", openapi_extra={"requestBody": CHOSEN})
async def decide(
    number: Number,
    request: Request,
    review: TheReview,
    service: TheService,
    if_match: Seen = None,
) -> Entry:
    """Accept or reject a mask, or take a decision back."""
    async with service.places.time_limit(request):  # needs no place: it is small
        content = await read_body(request, DECISION_BYTES, lambda _: None)
    try:
        chosen = Chosen.model_validate_json(content)
    except ValidationError as error:
        raise ProblemError(422, "invalid-settings", _wrong(error)) from error
    remarked = chosen.model_fields_set - {"decision"}
    remark = Remark(chosen.reviewer, chosen.note, chosen.seconds) if remarked else None
    await _kept(lambda: review.decide(number, chosen.decision, _seen(if_match), remark))
    return _entry(review, number)


@router.put("/{number}/mask", openapi_extra={"requestBody": PNG_BODY})
async def correct(
    number: Number,
    request: Request,
    review: TheReview,
    service: TheService,
    if_match: Seen = None,
) -> Entry:
    """Put a corrected mask, an image of the mask's size, in place of the model's."""
    async with service.place(request) as place:
        drawn = await read_body(request, service.settings.megabytes * 2**20, place.hold)
        await _kept(lambda: review.correct(number, drawn, _seen(if_match)))
    return _entry(review, number)


def _entry(review: Review, number: int) -> Entry:
    item = review.items[number]
    return Entry(
        number=number,
        version=review.version(number),
        name=printable(item.job.name.as_posix()),
        flags=item.flags.split(),
        confidence=item.predicted,
        unsure=item.unsure,
        decision=item.decision,
        reviewer=item.remark.reviewer,
        note=item.remark.note,
        seconds=item.remark.seconds,
    )


def _shown(review: Review, item: Item, segmenter: Segmenter) -> Shown:
    """Read a mask's outline, and segment its photograph for the band; runs in a thread."""
    mask = mask_of(_present(review.mask_path(item)))
    height, width = mask.shape
    band = None
    if segmenter.says_how_sure:
        found = segmenter.segment(item.job.open(), size=(height, width))
        own = mask_of(review.masks / item.job.mask)
        band = found.band if np.array_equal(found.mask, own) else None
    borders = outlines_of(mask)
    return Shown(
        height=height,
        width=width,
        orientation=read_orientation(item.job.open()),
        outlines=[piece.tolist() for piece in borders.pieces],
        holes=[hole.tolist() for hole in borders.holes],
        band=Bounds.of(band),
    )


def _wrong(error: ValidationError) -> str:
    """Return what is wrong with a decision that was sent."""
    first = error.errors()[0]
    if first["loc"][:1] in ((), ("decision",)):
        return "decision: send " + " or ".join(map(repr, get_args(Choice)))
    return f"{first['loc'][0]}: {first['msg']}"


def _seen(if_match: str | None) -> str | None:
    return None if if_match in (None, "*") else if_match.strip('"')


def _present(mask: Path) -> Path:
    if not mask.is_file():
        raise ProblemError(404, "not-found", "the mask's file is gone; start the review again")
    return mask


async def _kept(work: Callable[[], None]) -> None:
    """Do what a person has decided, in a thread, also if the page is closed meanwhile."""
    await asyncio.shield(asyncio.to_thread(work))
