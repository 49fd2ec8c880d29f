"""The routes that say what the service is, and how it is."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from dermseg import __version__
from dermseg.inference.segmenter import Segmenter
from dermseg.masks.style import STYLE_IDS
from dermseg.web.dependencies import TheService
from dermseg.web.errors import ProblemError, describe
from dermseg.web.query import style_by

router = APIRouter()


class Model(BaseModel):
    """A model that photographs are segmented with; of one not yet loaded the name is known."""

    name: str
    height: int | None
    width: int | None
    card: dict[str, Any] | None

    @classmethod
    def of(cls, name: str, model: Segmenter | None) -> "Model":
        """Return what is known of a model."""
        if model is None:
            return cls(name=name, height=None, width=None, card=None)
        return cls(name=name, height=model.height, width=model.width, card=model.card.to_dict())


class State(BaseModel):
    """Whether the service lives, or is ready."""

    status: str


@router.get("/v1/models")
async def models(service: TheService) -> list[Model]:
    """List the models that clients may name; the first is that of those who name none."""
    return [Model.of(name, service.models.loaded(name)) for name in service.models.names]


@router.get("/v1/settings", include_in_schema=False)
async def defaults(
    request: Request, service: TheService, model: str | None = None
) -> dict[str, Any]:
    """Say what the page begins with, or what holds with another model."""
    segmenter = service.segmenter
    if model is not None:  # which may have to be loaded
        async with service.place(request) as place:
            segmenter = await service.model(model, place)
    return {
        "version": __version__,
        "models": service.models.names,
        "model": segmenter.name,
        "style": segmenter.style,
        "style_by": style_by(segmenter),
        "styles": {name: vars(segmenter.thresholds_for(name)) for name in STYLE_IDS},
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
