"""The HTTP service: the app, its routes, and the server that runs it."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import h11
import uvicorn
from fastapi import Depends, FastAPI, Query, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import BaseModel
from uvicorn.protocols.http.h11_impl import H11Protocol

from dermseg import __version__
from dermseg.errors import UsageError
from dermseg.inference.segmenter import Segmenter, drawn_by_hand
from dermseg.masks.style import STYLE_IDS
from dermseg.settings import ServiceSettings
from dermseg.web.errors import (
    MEDIA_TYPE,
    ProblemDocument,
    ProblemError,
    describe,
    document,
    install,
)
from dermseg.web.limits import Places, time_limit, unless_hung_up
from dermseg.web.middleware import RequestChecks
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
    places = Places(settings.workers, settings.queue)
    registry = CollectorRegistry()
    taken = Gauge("dermseg_places_taken", "Photographs in work or waiting.", registry=registry)
    taken.set_function(lambda: places.taken)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        places.open()
        yield
        places.close()

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
    app.state.places = places

    def work(upload: Upload, form: str, manner: Manner, at: Any, include: Any) -> bytes:
        """Do all that takes a processor; runs in a thread."""
        size = check_pixels(upload.photograph, settings.megapixels * 10**6)
        if upload.mask is not None:
            segmentation = drawn_by_hand(read_drawn(upload.mask, size))
        else:
            segmentation = segmenter.segment(
                BytesIO(upload.photograph), style=manner.style, thresholds=manner.thresholds, at=at
            )
        found = Found(segmentation, upload.photograph, manner, by_hand=upload.mask is not None)
        return found.json(include) if form == "application/json" else FORMS[form](found)

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
        manner, at, chosen = query.manner(segmenter), query.at, frozenset(query.include)
        form = choose_form(request.headers.get("accept", ""))
        if form is None:
            raise ProblemError(406, "no-such-form", f"there are {', '.join(FORMS)}")
        with places.take() as place:
            async with time_limit(request, settings.seconds):
                upload = await read_upload(request, settings.megabytes * 2**20)
                done = place.run(lambda: work(upload, form, manner, at, chosen))
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


class _Protocol(H11Protocol):
    """HTTP/1.1 that says in a problem document too that something is not HTTP."""

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = document(400, "not-http", msg).model_dump_json().encode()
            headers = [
                ("content-type", MEDIA_TYPE),
                ("content-length", str(len(body))),
                ("connection", "close"),
            ]
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class Server(uvicorn.Server):
    """A server that says when it listens, and where.

    Raises UsageError, when it is run, if it cannot listen there.
    """

    def __init__(self, app: FastAPI, settings: ServiceSettings, when_listening: Any) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                http=_Protocol,
                ws="none",
                log_level="warning",
                access_log=False,  # it would write down what people look at
                server_header=False,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=5,
            )
        )
        self._when_listening = when_listening

    def run(self, sockets: Any = None) -> None:
        """Serve until stopped, on `sockets` or where the settings say."""
        if sockets is not None:
            super().run(sockets)
            return
        with _listen(self.config.host, self.config.port) as sock:
            super().run([sock])

    async def startup(self, sockets: Sequence[Any] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(list(sockets) if sockets else None)
        if self.started:
            sock = self.servers[0].sockets[0]
            host, port = sock.getsockname()[:2]
            self._when_listening(f"http://{f'[{host}]' if ':' in host else host}:{port}/")


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; uvicorn's own words for one that cannot have no remedy."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"{host}, port {port}: cannot be listened on ({error.strerror}); "
            "choose another --port, 0 for any that is free, or --host"
        ) from error
