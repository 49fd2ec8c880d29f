"""What the routes work with: the models, the queues of photographs and of maps, and the review."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request
from prometheus_client import CollectorRegistry, Gauge

from dermseg.inference.segmenter import Segmenter
from dermseg.settings import ServiceSettings
from dermseg.web.errors import ProblemError
from dermseg.web.limits import Place, Places
from dermseg.web.models import Models
from dermseg.web.review.queue import Review

PREVIEW_WORKERS, PREVIEW_QUEUE = 1, 4
"""Maps thresholded at once, and that may wait: a map is small, and a page sends one at a time."""


@dataclass(frozen=True)
class Service:
    """Models offered over HTTP; maps have places of their own, not behind photographs."""

    models: Models
    settings: ServiceSettings
    review: Review | None
    places: Places
    previews: Places
    metrics: CollectorRegistry

    @classmethod
    def of(cls, models: Models, settings: ServiceSettings, review: Review | None) -> "Service":
        """Return the service of some models, with its queues and its metrics."""
        places = Places(settings)
        previews = Places(replace(settings, workers=PREVIEW_WORKERS, queue=PREVIEW_QUEUE))
        metrics = CollectorRegistry()
        taken = Gauge("dermseg_places_taken", "Photographs in work or waiting.", registry=metrics)
        taken.set_function(lambda: places.taken)
        held = Gauge("dermseg_upload_bytes", "Bytes of uploads in memory.", registry=metrics)
        held.set_function(lambda: places.held)
        return cls(models, settings, review, places, previews, metrics)

    @property
    def segmenter(self) -> Segmenter:
        """The first model, which those get who name none."""
        return self.models.first

    async def model(self, name: str | None, place: Place) -> Segmenter:
        """Return the model that a client named, loaded in a thread of its place if need be.

        Raises ProblemError 422 for a model that the service does not offer.
        """
        if name is None:
            return self.segmenter
        if name not in self.models.names:
            offered = ", ".join(self.models.names)
            raise ProblemError(422, "no-such-model", f"model {name[:80]!a}: there are {offered}")
        loaded = self.models.loaded(name)
        return loaded if loaded is not None else await place.run(lambda: self.models.get(name))

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Have threads for the length of the block."""
        self.places.open()
        self.previews.open()
        yield
        self.places.close()
        self.previews.close()

    @asynccontextmanager
    async def place(self, request: Request) -> AsyncIterator[Place]:
        """Take a place of a photograph for a limited time; ProblemError as `Places` raises it."""
        with self.places.take() as place:
            async with self.places.time_limit(request):
                yield place


async def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]


async def review_of(service: TheService) -> Review:
    """Return the service's review; its routes are there only where there is one."""
    assert service.review is not None
    return service.review


TheReview = Annotated[Review, Depends(review_of)]


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
