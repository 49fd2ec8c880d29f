"""The route that describes a mask drawn by hand, and changes it as a whole."""

from base64 import b64encode
from typing import Annotated

from fastapi import APIRouter, Query, Request

from dermseg.imaging.png import encode_mask
from dermseg.masks.outlines import outlines_of
from dermseg.web.dependencies import Service, TheService
from dermseg.web.errors import describe
from dermseg.web.limits import read_body, unless_hung_up
from dermseg.web.query import MaskQuery
from dermseg.web.schema import PNG_BODY, Drawn
from dermseg.web.uploads import check_pixels, read_drawn

router = APIRouter(responses=describe(403, 408, 413, 429, 503))


@router.post("/v1/mask", openapi_extra={"requestBody": PNG_BODY})
async def mask(
    request: Request, query: Annotated[MaskQuery, Query()], service: TheService
) -> Drawn:
    """Find the outlines of a mask drawn by hand, changed as a whole if `edit` says so."""
    async with service.place(request) as place:
        limit = service.settings.megabytes * 2**20
        content = await read_body(request, limit, place.hold)
        done = place.run(lambda: _drawn(service, content, query))
        return await unless_hung_up(request, done)


def _drawn(service: Service, content: bytes, query: MaskQuery) -> Drawn:
    """Read, change and trace a mask; runs in a thread."""
    size = check_pixels(content, service.settings.megapixels * 10**6, "the mask")
    drawn = query.changed(read_drawn(content, size))
    borders = outlines_of(drawn)
    return Drawn(
        height=size[0],
        width=size[1],
        outlines=[ring.tolist() for ring in borders.pieces],
        holes=[ring.tolist() for ring in borders.holes],
        mask=b64encode(encode_mask(drawn)).decode() if "mask" in query.include else None,
    )
