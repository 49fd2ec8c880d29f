"""The HTTP service: the app and its routes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import BaseModel

from dermseg import __version__
from dermseg.inference.segmenter import Segmenter, drawn_by_hand
from dermseg.masks.edit import edit_mask
from dermseg.masks.style import STYLE_IDS
from dermseg.settings import ServiceSettings
from dermseg.web.errors import ProblemDocument, ProblemError, describe, install
from dermseg.web.limits import Places, unless_hung_up
from dermseg.web.middleware import RequestChecks
from dermseg.web.preview import preview_places, preview_routes
from dermseg.web.query import Manner, SegmentQuery, style_by
from dermseg.web.responses import FORMS, Found, choose_form
from dermseg.web.review.queue import Review
from dermseg.web.review.routes import review_routes
from dermseg.web.schema import Answer
from dermseg.web.uploads import Upload, check_pixels, read_drawn, read_upload

STATIC = Path(__file__).parent / "static"
BINARY = {"type": "string", "format": "binary"}
UPLOAD: dict[str, Any] = {
    "required": True,
    "content": {
        "image/*": {"schema": BINARY},
        "application/octet-stream": {"schema": BINARY},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["photograph"],
                "properties": {
                    "photograph": {**BINARY, "description": "JPEG, PNG, BMP, TIFF or WebP"},
                    "mask": {
                        **BINARY,
                        "description": "A mask drawn by hand, of the photograph's size, "
                        "to be described in place of the model's",
                    },
                },
            }
        },
    },
}
"""What OpenAPI says of the body, which is read by hand to keep it bounded and off the disk."""


class Model(BaseModel):
    """A model that photographs are segmented with."""

    name: str
    height: int
    width: int
    card: dict[str, Any]


class State(BaseModel):
    """Whether the service lives, or is ready."""

    status: str


def create_app(
    segmenter: Segmenter,
    settings: ServiceSettings | None = None,
    review: Review | None = None,
    token: str = "",
) -> FastAPI:
    """Return the service around one loaded model, with a review queue if there is one.

    With a `token`, whoever does not bring it is refused.
    """
    settings = settings or ServiceSettings()
    places, previews = Places(settings), preview_places(settings)
    registry = CollectorRegistry()
    taken = Gauge("dermseg_places_taken", "Photographs in work or waiting.", registry=registry)
    taken.set_function(lambda: places.taken)
    held = Gauge("dermseg_upload_bytes", "Bytes of uploads in memory.", registry=registry)
    held.set_function(lambda: places.held)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        places.open()
        previews.open()
        yield
        places.close()
        previews.close()

    app = FastAPI(
        title="dermseg",
        version=__version__,
        summary="Finds the lesion in a dermoscopic photograph. For research; not a medical device.",
        # FastAPI's pages of documentation load scripts from another host.
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        lifespan=lifespan,
        dependencies=[Depends(known_parameters)],
        responses=describe(401, 415, 421, 422),
    )
    install(app)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization"],
        )
    app.add_middleware(RequestChecks, settings=settings, token=token, registry=registry)
    app.state.places, app.state.seconds = places, settings.seconds

    def work(upload: Upload, form: str, manner: Manner, query: SegmentQuery) -> bytes:
        """Do all that takes a processor; runs in a thread."""
        size = check_pixels(upload.photograph, settings.megapixels * 10**6)
        photograph = BytesIO(upload.photograph)
        if upload.mask is not None:
            segmentation = drawn_by_hand(read_drawn(upload.mask, size))
        else:
            segmentation = segmenter.segment(
                photograph, style=manner.style, thresholds=manner.thresholds, at=query.at
            )
        if query.edit is not None:
            segmentation = drawn_by_hand(edit_mask(segmentation.mask, query.edit, query.by))
        by_hand = upload.mask is not None or query.edit is not None
        found = Found(segmentation, upload.photograph, manner, by_hand)
        if form == "application/json":
            return found.json(frozenset(query.include))
        return FORMS[form](found)

    @app.post(
        "/v1/segment",
        response_model=Answer,
        responses={
            200: {
                "description": "The lesion, in the form that Accept asks for",
                "content": {form: {"schema": BINARY} for form in list(FORMS)[1:]},
            },
            **describe(400, 403, 406, 408, 413, 429, 503),
        },
        openapi_extra={"requestBody": UPLOAD},
    )
    async def segment(
        request: Request,
        query: Annotated[SegmentQuery, Query()],
    ) -> Response:
        """Find the lesion in one photograph; or, with a mask, describe a lesion drawn by hand."""
        manner = query.manner(segmenter)
        form = choose_form(request.headers.get("accept", ""))
        if form is None:
            raise ProblemError(406, "no-such-form", f"there are {', '.join(FORMS)}")
        with places.take() as place:
            async with places.time_limit(request):
                upload = await read_upload(request, settings.megabytes * 2**20, place.hold)
                done = place.run(lambda: work(upload, form, manner, query))
                content = await unless_hung_up(request, done)
        return Response(content, media_type=form, headers={"Vary": "Accept"})

    @app.get("/v1/models")
    async def models() -> list[Model]:
        """List the models; a service has one."""
        return [
            Model(
                name=segmenter.name,
                height=segmenter.height,
                width=segmenter.width,
                card=segmenter.card.to_dict(),
            )
        ]

    @app.get("/v1/settings", include_in_schema=False)
    async def defaults() -> dict[str, Any]:
        """Say what the page begins with."""
        bounds = {name: getattr(settings, name) for name in ("megabytes", "megapixels")}
        return {
            "version": __version__,
            "model": segmenter.name,
            "style": segmenter.style,
            "style_by": style_by(segmenter),
            "styles": {name: vars(segmenter.thresholds_for(name)) for name in STYLE_IDS},
            "review": review is not None,
            **bounds,
        }

    @app.get("/healthz")
    async def healthz() -> State:
        """Say that the service lives."""
        return State(status="alive")

    @app.get("/readyz", responses=describe(503))
    async def readyz() -> State:
        """Say whether a photograph would find a place now."""
        if places.full:
            raise ProblemError(503, "busy", "all places are taken", {"Retry-After": "1"})
        return State(status="ready")

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return counts and times for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    app.include_router(preview_routes(segmenter, previews, settings.megapixels))
    if review is not None:
        app.include_router(review_routes(review, segmenter, places, settings))

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        """Return the page."""
        name = "index.html" if review is None else "review.html"
        return FileResponse(STATIC / name, headers={"Cache-Control": "no-cache"})

    app.mount("/static", _Static(directory=STATIC))
    _describe_problems(app)
    return app


async def known_parameters(request: Request) -> None:
    """Refuse a query parameter that OpenAPI does not list, lest a misspelt one be passed over."""
    paths = request.app.openapi()["paths"]
    path, method = request.scope["route"].path, request.method.lower()
    if path not in paths:
        return  # the page's own, which links from elsewhere may decorate
    parameters = paths[path][method].get("parameters", ())
    known = [each["name"] for each in parameters if each["in"] == "query"]
    for name in request.query_params:
        if name not in known:
            detail = f"{name[:80]!a}: no such parameter; there are {', '.join(known) or 'none'}"
            raise ProblemError(422, "invalid-settings", detail)


class _Static(StaticFiles):
    """Files that a browser asks after before it uses its copy."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _describe_problems(app: FastAPI) -> None:
    """Put the problem document into OpenAPI, in the place of FastAPI's own errors."""
    described = app.openapi()
    schemas = described["components"]["schemas"]
    schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
