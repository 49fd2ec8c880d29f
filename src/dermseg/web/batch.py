"""The route that segments many photographs: a line of JSON for each, as soon as it is done."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from dermseg.errors import DermsegError
from dermseg.inference.segmenter import Segmenter
from dermseg.progress import printable
from dermseg.web.dependencies import Service, TheService
from dermseg.web.errors import describe, problem_of
from dermseg.web.limits import LARGEST_UPLOADS, Place
from dermseg.web.query import BatchQuery
from dermseg.web.responses import Found
from dermseg.web.schema import Answer, Line
from dermseg.web.segmenting import BINARY, opened, row_of
from dermseg.web.uploads import read_batch

MEDIA_TYPE = "application/x-ndjson"
MOST = 256
"""Photographs of a batch."""
LARGEST = LARGEST_UPLOADS // 2
"""How many uploads of the largest size a batch may be as large as: half of the memory for all."""
FORM: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["photograph"],
                "properties": {
                    "photograph": {"type": "array", "items": BINARY, "maxItems": MOST},
                },
            }
        },
    },
}

router = APIRouter(responses=describe(400, 403, 408, 413, 429, 503))


@router.post(
    "/v1/batch",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {"schema": Line.model_json_schema()}}}},
    openapi_extra={"requestBody": FORM},
)
async def batch(
    request: Request, query: Annotated[BatchQuery, Query()], service: TheService
) -> Response:
    """Find the lesion in each of many photographs; a line of JSON for each, in their order.

    A photograph that cannot be read costs its own line. A batch has one place, and one of its
    photographs is worked on at a time.
    """
    return _Lines(request, query, service)


class _Lines(Response):
    """The lines of a batch. It keeps its place until the last line is sent or the client goes."""

    def __init__(self, request: Request, query: BatchQuery, service: Service) -> None:
        super().__init__(media_type=MEDIA_TYPE)
        self._request, self._query, self._service = request, query, service

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        """Read the photographs, then send a line as soon as it is there."""
        service = self._service
        with service.places.take() as place:
            async with service.places.time_limit(self._request):
                segmenter = await service.model(self._query.model, place)
                self._query.manner(segmenter)
                limit = LARGEST * service.settings.megabytes * 2**20
                photographs = await read_batch(self._request, limit, MOST, place.hold)
            del self.headers["content-length"]
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            async with aclosing(self._lines(place, segmenter, photographs)) as lines:
                async for line in lines:
                    body = {"body": line, "more_body": True}
                    await send({"type": "http.response.body", **body})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _lines(
        self, place: Place, segmenter: Segmenter, photographs: list[tuple[str, bytes]]
    ) -> AsyncGenerator[bytes, None]:
        """Yield a line for each photograph; stop when the client has gone."""
        photographs.reverse()
        while photographs and not await self._request.is_disconnected():
            name, content = photographs.pop()
            line = Line(name=printable(name))
            try:
                async with self._service.places.time_limit(self._request):
                    line.answer = await place.run(partial(self._answer, segmenter, content))
            except DermsegError as error:
                line.problem = problem_of(error).document()
            yield line.model_dump_json().encode() + b"\n"

    def _answer(self, segmenter: Segmenter, content: bytes) -> Answer:
        """Segment one photograph; runs in a thread."""
        query, service = self._query, self._service
        manner = query.manner(segmenter)
        photograph, _ = opened(service, content)
        found = segmenter.segment(photograph, style=manner.style, thresholds=manner.thresholds)
        row = row_of(segmenter, manner)
        made = Found(found, photograph, manner, by_hand=False, sent=content, made_by=row)
        return made.answer(frozenset(query.include))
