"""What goes wrong, as RFC 9457 problem documents."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from dermseg.errors import (
    DataError,
    DermsegError,
    ImageError,
    ModelError,
    OutputError,
    TooManyPixelsError,
    UsageError,
)

MEDIA_TYPE = "application/problem+json"
HUNG_UP = 499
"""What nginx calls an answer that nobody waits for; it goes nowhere but into the metrics."""


class ProblemDocument(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str


class ProblemError(DermsegError):
    """A request that cannot be answered as it was meant.

    `kind` names the problem for programs, once and for all; `detail` says the remedy to people.
    """

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers = dict(headers or {})

    def document(self) -> ProblemDocument:
        """Return the problem for programs."""
        return document(self.status, self.kind, self.detail)

    def response(self) -> Response:
        """Return the problem as an answer."""
        return JSONResponse(
            self.document().model_dump(),
            self.status,
            self.headers,
            media_type=MEDIA_TYPE,
        )


def document(status: int, kind: str, detail: str) -> ProblemDocument:
    """Return the document of a problem."""
    title = HTTPStatus(status).phrase
    return ProblemDocument(type=f"urn:dermseg:{kind}", title=title, status=status, detail=detail)


def describe(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Return what OpenAPI is to say of answers with these statuses."""
    reference = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": reference}},
        }
        for status in statuses
    }


def _named(place: Sequence[str | int]) -> str:
    """Return the parameter in which an error lies, also where it lies in an item of a list."""
    return next((part for part in reversed(place) if isinstance(part, str)), "request")


KINDS: tuple[tuple[type[DermsegError], int, str], ...] = (
    (TooManyPixelsError, 422, "too-many-pixels"),
    (ImageError, 422, "unreadable-photograph"),
    (UsageError, 422, "invalid-settings"),
    (DataError, 409, "damaged-data"),
    (ModelError, 500, "damaged-model"),
    (OutputError, 507, "not-written"),
)
"""An error of dermseg to its status and its kind; the first that fits holds."""


def problem_of(error: DermsegError) -> ProblemError:
    """Return an error as a problem; one that should not come is raised again, as a bug."""
    if isinstance(error, ProblemError):
        return error
    for kind, status, name in KINDS:
        if isinstance(error, kind):
            return ProblemError(status, name, str(error))
    raise error


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem document; `RequestChecks` answers bugs."""

    @app.exception_handler(DermsegError)
    async def known(_: Request, error: DermsegError) -> Response:
        return problem_of(error).response()

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=HUNG_UP)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        lines = [f"{_named(found['loc'])}: {found['msg']}" for found in error.errors()]
        return ProblemError(422, "invalid-settings", "; ".join(lines)).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        phrase, detail = HTTPStatus(error.status_code).phrase, str(error.detail)
        kind = phrase.lower().replace(" ", "-")
        if detail == phrase and error.status_code == HTTPStatus.NOT_FOUND:
            detail = "nothing lies at this address; /docs lists those that there are"
        if detail == phrase and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = (error.headers or {}).get("Allow", "another method")
            detail = f"this address takes {allowed}, not {request.method}; /docs explains it"
        return ProblemError(error.status_code, kind, detail, error.headers).response()
