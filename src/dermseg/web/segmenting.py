"""The route that segments a photograph."""

from io import BytesIO
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from dermseg.batch.report import made_by
from dermseg.inference.segmentation import drawn_by_hand
from dermseg.inference.segmenter import Segmenter
from dermseg.storage.journal import Row
from dermseg.web.dependencies import Service, TheService
from dermseg.web.errors import ProblemError, describe
from dermseg.web.limits import unless_hung_up
from dermseg.web.query import Manner, SegmentQuery
from dermseg.web.responses import FORMS, Found, choose_form
from dermseg.web.schema import Answer
from dermseg.web.uploads import Upload, check_pixels, image_file, read_drawn, read_upload

BINARY = {"type": "string", "format": "binary"}
PHOTOGRAPH = {
    **BINARY,
    "description": "JPEG, MPO, PNG, BMP, TIFF, WebP or AVIF; HEIC and DICOM where the service has "
    "the extras heic and dicom",
}
MASK = {
    **BINARY,
    "description": "A mask drawn by hand, of the photograph's size, to be described in place of "
    "the model's",
}


def upload_of(**parts: dict[str, str]) -> dict[str, Any]:
    """Return what OpenAPI says of a body: a photograph, or a form of it and other parts.

    The body is read by hand to keep it bounded and off the disk.
    """
    form = {
        "type": "object",
        "required": ["photograph"],
        "properties": {"photograph": PHOTOGRAPH, **parts},
    }
    raw = ("image/*", "application/octet-stream", "application/dicom")
    content = {kind: {"schema": BINARY} for kind in raw}
    return {"required": True, "content": {**content, "multipart/form-data": {"schema": form}}}


router = APIRouter()


@router.post(
    "/v1/segment",
    response_model=Answer,
    responses={
        200: {
            "description": "The lesion, in the form that Accept asks for",
            "content": {form: {"schema": BINARY} for form in list(FORMS)[1:]},
        },
        **describe(400, 403, 406, 408, 413, 429, 503),
    },
    openapi_extra={"requestBody": upload_of(mask=MASK)},
)
async def segment(
    request: Request, query: Annotated[SegmentQuery, Query()], service: TheService
) -> Response:
    """Find the lesion in one photograph; or, with a mask, describe a lesion drawn by hand."""
    form = choose_form(request.headers.get("accept", ""))
    if form is None:
        raise ProblemError(406, "no-such-form", f"there are {', '.join(FORMS)}")
    async with service.place(request) as place:
        segmenter = await service.model(query.model, place)
        query.manner(segmenter)  # impossible thresholds are refused before the upload
        upload = await read_upload(request, service.settings.megabytes * 2**20, place.hold)
        done = place.run(lambda: _content(service, segmenter, upload, query, form))
        content = await unless_hung_up(request, done)
    return Response(content, media_type=form, headers={"Vary": "Accept"})


def _content(
    service: Service, segmenter: Segmenter, upload: Upload, query: SegmentQuery, form: str
) -> bytes:
    """Do all that takes a processor; runs in a thread."""
    manner = query.manner(segmenter)
    photograph, size = opened(service, upload.photograph)
    if upload.mask is not None:
        segmentation = drawn_by_hand(read_drawn(upload.mask, size), photograph)
    else:
        segmentation = segmenter.segment(
            photograph,
            style=manner.style,
            thresholds=manner.thresholds,
            at=query.at,
        )
    if query.edit is not None:
        segmentation = drawn_by_hand(query.changed(segmentation.mask), photograph)
    by_hand = upload.mask is not None or query.edit is not None
    row = row_of(segmenter, manner)
    found = Found(segmentation, photograph, manner, by_hand, upload.photograph, row)
    if form == "application/json":
        return found.json(frozenset(query.include))
    return FORMS[form](found)


def opened(service: Service, content: bytes) -> tuple[BytesIO, tuple[int, int]]:
    """Return a photograph's image file and its (height, width), within the service's bounds."""
    most = service.settings.megapixels * 10**6
    photograph = image_file(content, most)
    return photograph, check_pixels(photograph.getvalue(), most)


def row_of(segmenter: Segmenter, manner: Manner) -> Row:
    """Return the report's columns that say what makes a mask."""
    return {**made_by(segmenter), "style": manner.style, **vars(manner.thresholds)}
