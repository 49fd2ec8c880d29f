"""The HTTP service: the app, put together of its routes."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles

from dermseg import __version__
from dermseg.inference.segmenter import Segmenter
from dermseg.settings import ServiceSettings
from dermseg.web import (
    batch,
    editing,
    label_studio,
    manual,
    preview,
    rulers,
    segmenting,
    status,
)
from dermseg.web.dependencies import Service, TheService, known_parameters
from dermseg.web.errors import ProblemDocument, describe, install
from dermseg.web.label_studio import LabelStudio
from dermseg.web.middleware import RequestChecks
from dermseg.web.models import Load, Models
from dermseg.web.review import routes as review_routes
from dermseg.web.review.queue import Review

STATIC = Path(__file__).parent / "static"


def create_app(
    segmenter: Segmenter,
    settings: ServiceSettings | None = None,
    review: Review | None = None,
    token: str = "",
    label_studio_key: str = "",
    others: Mapping[str, Load] = MappingProxyType({}),
) -> FastAPI:
    """Return the service around one loaded model, with a review queue if there is one.

    `others` are models that clients may name, loaded when they are first used.

    With a `token`, whoever does not bring it is refused. `label_studio_key` opens the photographs
    of the Label Studio in the settings.
    """
    service = Service.of(Models(segmenter, others), settings or ServiceSettings(), review)
    app = FastAPI(
        title="dermseg",
        version=__version__,
        summary="Finds the lesion in a dermoscopic photograph. For research; not a medical device.",
        # FastAPI's pages of documentation load scripts from another host; `manual` has our own.
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        lifespan=lambda _: service.open(),
        dependencies=[Depends(known_parameters)],
        responses=describe(401, 415, 421, 422),
    )
    app.state.service = service
    if service.settings.label_studio:
        app.state.label_studio = LabelStudio(service.settings.label_studio, label_studio_key)
        app.include_router(label_studio.router)
    install(app)
    if service.settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.settings.allowed_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization"],
        )
    app.add_middleware(
        RequestChecks, settings=service.settings, token=token, registry=service.metrics
    )
    for routes in (segmenting, batch, editing, rulers, status, preview, manual):
        app.include_router(routes.router)
    if review is not None:
        app.include_router(review_routes.router)
    app.get("/", include_in_schema=False)(page)
    app.mount("/static", _Static(directory=STATIC))
    _describe_problems(app)
    return app


async def page(service: TheService) -> Response:
    """Return the page."""
    name = "index.html" if service.review is None else "review.html"
    return FileResponse(STATIC / name, headers={"Cache-Control": "no-cache"})


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
