"""The outline while a slider moves: a probability map comes in, and its outline goes out."""

from io import BytesIO
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request

from dermseg.errors import TooManyPixelsError
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.postprocess import Probability
from dermseg.web.dependencies import Service, TheService
from dermseg.web.errors import describe
from dermseg.web.limits import read_body, unless_hung_up
from dermseg.web.query import PreviewQuery
from dermseg.web.schema import PNG_BODY, Other, Preview
from dermseg.web.uploads import check_pixels

MAP_BYTES = 4 * 2**20
MAP_PIXELS = 2**20
"""The largest map that is read, by its file and by its pixels."""


router = APIRouter(responses=describe(403, 408, 413, 429, 503))


@router.post("/v1/outline", openapi_extra={"requestBody": PNG_BODY})
async def outline(
    request: Request, query: Annotated[PreviewQuery, Query()], service: TheService
) -> Preview:
    """Find the outline in a probability map, as `include=probability` gave it."""
    with service.previews.take() as place:
        async with service.previews.time_limit(request):
            content = await read_body(request, MAP_BYTES, place.hold)
            segmenter = await service.model(query.model, place)
            done = place.run(lambda: _preview(service, segmenter, content, query))
            return await unless_hung_up(request, done)


def _preview(
    service: Service, segmenter: Segmenter, content: bytes, query: PreviewQuery
) -> Preview:
    """Threshold a map at the photograph's size; runs in a thread."""
    megapixels, size = service.settings.megapixels, (query.height, query.width)
    if query.height * query.width > megapixels * 10**6:
        raise TooManyPixelsError(f"{megapixels} megapixels are the most")
    manner = query.manner(segmenter)
    lesion = segmenter.find(
        read_map(content), size, style=manner.style, thresholds=manner.thresholds, at=query.at
    )
    return Preview(
        outlines=[ring.tolist() for ring in lesion.outlines.pieces],
        holes=[ring.tolist() for ring in lesion.outlines.holes],
        candidates=[Other.of(candidate) for candidate in lesion.candidates],
    )


def read_map(content: bytes) -> Probability:
    """Read a probability map, float32 (h, w) in 0..1, from a grey image.

    Raises ImageError if it is no image, TooManyPixelsError if it is larger than any map.
    """
    check_pixels(content, MAP_PIXELS)
    grey = read_photograph(BytesIO(content)).pixels[..., 0]
    probability: Probability = grey.astype(np.float32) / np.float32(255)
    return probability
