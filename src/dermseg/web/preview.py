"""The outline while a slider moves: a probability map comes in, and its outline goes out."""

from dataclasses import replace
from io import BytesIO
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request

from dermseg.errors import TooManyPixelsError
from dermseg.imaging.photographs import read_photograph
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.postprocess import Probability
from dermseg.settings import ServiceSettings
from dermseg.web.errors import describe
from dermseg.web.limits import Places, bounded, unless_hung_up
from dermseg.web.query import PreviewQuery
from dermseg.web.schema import Other, Preview
from dermseg.web.uploads import check_pixels

WORKERS, QUEUE = 1, 4
"""Maps thresholded at once, and that may wait: a map is small, and a page sends one at a time."""
MAP_BYTES = 4 * 2**20
MAP_PIXELS = 2**20
"""The largest map that is read, by its file and by its pixels."""
MAP: dict[str, Any] = {
    "required": True,
    "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
}


def preview_places(settings: ServiceSettings) -> Places:
    """Return the places of previews, so that they do not wait behind photographs."""
    return Places(replace(settings, workers=WORKERS, queue=QUEUE))


def preview_routes(segmenter: Segmenter, places: Places, megapixels: int) -> APIRouter:
    """Return the route of previews of photographs of at most so many megapixels."""
    router = APIRouter(responses=describe(403, 408, 413, 429, 503))

    def work(content: bytes, query: PreviewQuery) -> Preview:
        if query.height * query.width > megapixels * 10**6:
            raise TooManyPixelsError(f"{megapixels} megapixels are the most")
        manner, size = query.manner(segmenter), (query.height, query.width)
        lesion = segmenter.find(
            read_map(content),
            size,
            style=manner.style,
            thresholds=manner.thresholds,
            at=query.at,
        )
        return Preview(
            outlines=[ring.tolist() for ring in lesion.outlines.pieces],
            holes=[ring.tolist() for ring in lesion.outlines.holes],
            candidates=[Other.of(candidate) for candidate in lesion.candidates],
        )

    @router.post("/v1/outline", openapi_extra={"requestBody": MAP})
    async def outline(request: Request, query: Annotated[PreviewQuery, Query()]) -> Preview:
        """Find the outline in a probability map, as `include=probability` gave it."""
        with places.take() as place:
            async with places.time_limit(request):
                parts = bounded(request, MAP_BYTES, place.hold)
                content = b"".join([part async for part in parts])
                return await unless_hung_up(request, place.run(lambda: work(content, query)))

    return router


def read_map(content: bytes) -> Probability:
    """Read a probability map, float32 (h, w) in 0..1, from a grey image.

    Raises ImageError if it is no image, TooManyPixelsError if it is larger than any map.
    """
    check_pixels(content, MAP_PIXELS)
    grey = read_photograph(BytesIO(content)).pixels[..., 0]
    probability: Probability = grey.astype(np.float32) / np.float32(255)
    return probability
