"""The route that looks for a ruler in a photograph."""

from fastapi import APIRouter, Request
from pydantic import BaseModel

from dermseg.imaging.photographs import read_photograph
from dermseg.imaging.ruler import SIDE, find_ruler
from dermseg.web.dependencies import Service, TheService
from dermseg.web.errors import describe
from dermseg.web.limits import unless_hung_up
from dermseg.web.schema import Point
from dermseg.web.segmenting import opened, upload_of
from dermseg.web.uploads import read_upload


class Offer(BaseModel):
    """A ruler that may lie in the photograph, in its stored pixels; for a person to confirm.

    The line from `start` to `end` covers so many millimetres if the ruler's long ticks are a
    millimetre apart.
    """

    start: Point
    end: Point
    millimetres: int
    pixels_per_mm: float


class Looked(BaseModel):
    """What was found: a ruler, or null."""

    ruler: Offer | None


router = APIRouter(responses=describe(400, 403, 408, 413, 429, 503))


@router.post("/v1/ruler", openapi_extra={"requestBody": upload_of()})
async def ruler(request: Request, service: TheService) -> Looked:
    """Look for a ruler in one photograph: a dark line with ticks at equal distances."""
    async with service.place(request) as place:
        limit = service.settings.megabytes * 2**20
        upload = await read_upload(request, limit, place.hold, parts=("photograph",))
        done = place.run(lambda: _look(service, upload.photograph))
        return await unless_hung_up(request, done)


def _look(service: Service, content: bytes) -> Looked:
    """Read a photograph as small as suffices; runs in a thread."""
    file, _ = opened(service, content)
    photograph = read_photograph(file, at_least=(SIDE, SIDE))
    found = find_ruler(photograph.pixels)
    if found is None:
        return Looked(ruler=None)
    factor = photograph.width / photograph.pixels.shape[1]
    (x, y), (right, down) = found.start, found.end
    return Looked(
        ruler=Offer(
            start=Point(x=x * factor, y=y * factor),
            end=Point(x=right * factor, y=down * factor),
            millimetres=found.millimetres,
            pixels_per_mm=found.pixels_per_mm * factor,
        )
    )
