"""The routes that say what the service is, and how it is."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from dermseg import __version__
from dermseg.masks.style import STYLE_IDS
from dermseg.web.dependencies import TheService
from dermseg.web.errors import ProblemError, describe
from dermseg.web.query import style_by

router = APIRouter()


class Model(BaseModel):
    """A model that photographs are segmented with."""

    name: str
    height: int
    width: int
    card: dict[str, Any]


class State(BaseModel):
    """Whether the service lives, or is ready."""

    status: str


@router.get("/v1/models")
async def models(service: TheService) -> list[Model]:
    """List the models; a service has one."""
    model = service.segmenter
    return [
        Model(name=model.name, height=model.height, width=model.width, card=model.card.to_dict())
    ]


@router.get("/v1/settings", include_in_schema=False)
async def defaults(service: TheService) -> dict[str, Any]:
    """Say what the page begins with."""
    model = service.segmenter
    return {
        "version": __version__,
        "model": model.name,
        "style": model.style,
        "style_by": style_by(model),
        "styles": {name: vars(model.thresholds_for(name)) for name in STYLE_IDS},
        "review": service.review is not None,
        "reader": service.review.reader.name if service.review else "",
        "megabytes": service.settings.megabytes,
        "megapixels": service.settings.megapixels,
    }


@router.get("/healthz")
async def healthz() -> State:
    """Say that the service lives."""
    return State(status="alive")


@router.get("/readyz", responses=describe(503))
async def readyz(service: TheService) -> State:
    """Say whether a photograph would find a place now."""
    if service.places.full:
        raise ProblemError(503, "busy", "all places are taken", {"Retry-After": "1"})
    return State(status="ready")


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(service: TheService) -> Response:
    """Return counts and times for Prometheus."""
    return Response(generate_latest(service.metrics), media_type=CONTENT_TYPE_LATEST)
