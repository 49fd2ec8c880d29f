"""Label Studio's protocol for models: it asks for a first outline, which its annotators correct.

The protocol: https://labelstud.io/guide/ml_create
"""

import logging
import time
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import IO, Annotated, Any
from urllib.error import HTTPError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, build_opener
from urllib.request import Request as Call
from xml.etree import ElementTree

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ValidationError

from dermseg import __version__
from dermseg.errors import ImageError
from dermseg.formats.annotation import Annotation
from dermseg.formats.label_studio import CONTROL, Control, regions
from dermseg.progress import counted, printable
from dermseg.settings import OutlineSettings
from dermseg.web.dependencies import Service, TheService
from dermseg.web.errors import ProblemError, describe
from dermseg.web.limits import Place, bounded, read_body, unless_hung_up
from dermseg.web.middleware import DEFAULT_PORTS
from dermseg.web.segmenting import opened

SECONDS = 20.0
"""How long a photograph's server may be silent, and how long the photograph may take to arrive."""
LONGEST = 8192
"""Characters of an address: Python keeps those that it took apart, each as long as a request."""
BEGINS = 60.0
"""How long a request goes on to further tasks: Label Studio waits 100 seconds for all of them."""
SHOWN = 5
"""Tasks that the log names for each reason."""
logger = logging.getLogger(__name__)
MOST_BYTES = 2**22
"""Bytes of a request: addresses of tasks, and a labelling interface."""
MEANING = "!#$%&'()*+,/:;=?@[]~"
"""What means something in an address, or encodes a character: all else is encoded."""
LABEL = "lesion"
TAGS = {"PolygonLabels": False, "BrushLabels": True}
"""Tags of a labelling interface that take an outline, and whether as brush strokes."""


class Task(BaseModel):
    """A task of Label Studio: the addresses of what is to be labelled."""

    id: int | str | None = None
    data: dict[str, Any]


class Predict(BaseModel):
    """What Label Studio sends for predictions; the rest of it is passed over."""

    tasks: list[Task]
    label_config: str | None = None


class Prediction(BaseModel):
    """The outline of a task's photograph, and the Jaccard index that is expected of it."""

    result: list[dict[str, Any]]
    score: float | None
    model_version: str


class Predictions(BaseModel):
    """For each task a prediction, or an empty list.

    Label Studio keeps nothing for an empty list, and asks again. A prediction without regions it
    would keep: as a photograph without a lesion.
    """

    results: list[Prediction | list[Prediction]]
    model_version: str


class Setup(BaseModel):
    """Which model answers."""

    model_version: str


class Health(BaseModel):
    """That the model can be asked."""

    status: str
    model_class: str


@dataclass(frozen=True)
class LabelStudio:
    """A Label Studio, and where photographs may be fetched from.

    `addresses` are its own, such as http://localhost:8080, and those of its stores. `key` is sent
    to its own alone.
    """

    addresses: tuple[str, ...]
    key: str = ""

    def fetch(self, address: str, limit: int) -> bytes:
        """Return the photograph of a task; ProblemError if it may not or cannot be fetched."""
        if len(address) > LONGEST:
            raise _unfetched(f"has an address of more than {LONGEST} characters")
        own = self.addresses[0].rstrip("/") + "/"
        try:
            url = _joined(own, address if address[:2] == "//" else address.removeprefix("/"))
        except ValueError as error:
            raise _unfetched("has no address of http or https") from error
        self._check(url)
        call = Call(url, headers={"User-Agent": f"dermseg/{__version__}"})
        if self.key and _origin(url) == _origin(own):
            call.add_unredirected_header("Authorization", f"Token {self.key}")
        try:
            with build_opener(_Redirects(self)).open(call, timeout=SECONDS) as response:
                content = _received(response, limit + 1)
        except HTTPError as error:
            error.close()
            raise _unfetched(f"cannot be fetched (status {error.code})") from error
        except (OSError, HTTPException, ValueError) as error:
            raise _unfetched(f"cannot be fetched ({_reason(error)})") from error
        if len(content) > limit:
            raise _unfetched(f"has more than {limit / 2**20:g} megabytes")
        return content

    def _check(self, url: str) -> None:
        """Raise ProblemError for an address that nobody has allowed."""
        if _origin(url) not in map(_origin, self.addresses):
            raise _unfetched("lies at an address that is not allowed (see --label-studio)")


def _joined(base: str, address: str) -> str:
    """Return an address with what is lacking of `base`, encoded as browsers do; or ValueError."""
    parts = urlsplit(urljoin(base, address))
    path, query = (quote(part, safe=MEANING) for part in (parts.path, parts.query))
    return parts._replace(path=path, query=query).geturl()


class _Redirects(HTTPRedirectHandler):
    """Follows a redirection to where photographs may be fetched from, and no other."""

    def __init__(self, studio: LabelStudio) -> None:
        self._studio = studio

    def redirect_request(
        self, req: Call, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Call | None:
        fp.close()  # or else urllib would read all that comes with it
        self._studio._check(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _origin(url: str) -> tuple[str, str, int]:
    """Return an address's scheme, host and port; ProblemError if it is none of HTTP."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError) as error:
        raise _unfetched("has no address of http or https") from error
    return parts.scheme, (parts.hostname or "").lower(), port


def _received(response: HTTPResponse, most: int) -> bytes:
    """Return what a server sends, `most` bytes of it at most.

    Raises TimeoutError if that takes too long, IncompleteRead if less comes than was announced.
    """
    content, end = bytearray(), time.monotonic() + SECONDS
    while len(content) < most and (part := response.read1(most - len(content))):
        content += part
        if time.monotonic() > end:
            raise TimeoutError
    if response.length and len(content) < most:
        raise IncompleteRead(b"", response.length)
    return bytes(content)


def _reason(error: Exception) -> str:
    """Return why a server sends nothing; never an address, which may name a patient or a token."""
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or type(cause).__name__


def _unfetched(why: str) -> ProblemError:
    return ProblemError(422, "not-fetched", f"a task's photograph {why}")


async def the_studio(request: Request) -> LabelStudio:
    """Return the Label Studio that the service works for; its routes are there only with one."""
    studio: LabelStudio = request.app.state.label_studio
    return studio


router = APIRouter(responses=describe(403, 408, 413, 429, 503))


@router.get("/health")
async def health() -> Health:
    """Say that the model can be asked."""
    return Health(status="UP", model_class="dermseg")


@router.post("/setup")
async def setup(request: Request, service: TheService) -> Setup:
    """Say which model answers; a project's labelling interface comes with each question."""
    async with service.places.time_limit(request):
        async for _ in bounded(request, MOST_BYTES, lambda _: None):
            pass
    return Setup(model_version=_version(service))


@router.post(
    "/predict",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": Predict.model_json_schema()}},
        }
    },
)
async def predict(
    request: Request, service: TheService, studio: Annotated[LabelStudio, Depends(the_studio)]
) -> Predictions:
    """Outline the lesions in the photographs of Label Studio's tasks.

    A photograph that cannot be fetched or read costs its own task. The tasks share one place, and
    each has the time of a request.
    """
    with service.places.take() as place:
        async with service.places.time_limit(request):
            body = await read_body(request, MOST_BYTES, place.hold)
        try:
            asked = Predict.model_validate_json(body)
        except ValidationError as error:
            detail = "send tasks, each with data, and label_config, as Label Studio does"
            raise ProblemError(422, "invalid-settings", detail) from error
        outliner = _Outliner(service, studio, *read_interface(asked.label_config))
        if asked.tasks and not any(outliner.image in task.data for task in asked.tasks):
            raise _unfetched(f"is missing: no task's data have {outliner.image[:80]!a}")
        work = _predicted(request, place, outliner, asked.tasks)
        results = await unless_hung_up(request, work)
    return Predictions(results=results, model_version=_version(service))


def _version(service: Service) -> str:
    return f"dermseg {__version__} {service.segmenter.name}"


@dataclass(frozen=True)
class _Outliner:
    """What outlines tasks: `image` is the photograph's key in their data."""

    service: Service
    studio: LabelStudio
    image: str
    control: Control
    settings: OutlineSettings

    def prediction(self, task: Task) -> Prediction:
        """Return the prediction of a task; ProblemError or ImageError if it cannot have one."""
        address = task.data.get(self.image)
        if not isinstance(address, str):
            raise _unfetched(f"is missing: its data have no {self.image[:80]!a}")
        content = self.studio.fetch(address, self.service.settings.megabytes * 2**20)
        photograph, _ = opened(self.service, content)
        found = self.service.segmenter.segment(photograph)
        name = urlsplit(address).path.rpartition("/")[2] or "photograph"
        score = found.confidence.jaccard if found.confidence is not None else None
        annotation = Annotation(name, found.mask, found.orientation)
        outlined = regions(annotation.shown(), self.settings, self.control)
        return Prediction(result=outlined, score=score, model_version=_version(self.service))


async def _predicted(
    request: Request, place: Place, outliner: _Outliner, tasks: list[Task]
) -> list[Prediction | list[Prediction]]:
    """Return the prediction of each task, an empty list for one that cannot have any."""
    results: list[Prediction | list[Prediction]] = []
    failed: dict[str, list[Task]] = {}
    end = time.monotonic() + BEGINS
    for task in tasks:
        if results and time.monotonic() > end:
            left = tasks[len(results) :]
            failed["there was no time left for them; ask again"] = left
            results.extend([] for _ in left)
            break
        try:
            async with outliner.service.places.time_limit(request):
                results.append(await place.run(partial(outliner.prediction, task)))
        except (ProblemError, ImageError) as error:
            failed.setdefault(str(error), []).append(task)
            results.append([])
    if failed:
        logger.warning("%s", "\n".join(_told(why, failed[why]) for why in failed))
    return results


def _told(why: str, tasks: list[Task]) -> str:
    """Return a line of the log about tasks without an outline: their numbers, nothing of theirs."""
    numbers = [str(task.id)[:20] for task in tasks if isinstance(task.id, int)]
    shown = ", ".join(numbers[:SHOWN]) + (", ..." if len(numbers) > SHOWN else "")
    without = f"{counted(len(tasks), 'task')} without an outline ({shown})"
    return f"Label Studio: {without}: {printable(why)}"


def read_interface(config: str | None) -> tuple[str, Control, OutlineSettings]:
    """Return what a labelling interface says: the image's key in a task, and where outlines go.

    Raises ProblemError if it takes no outlines of an image.
    """
    if not config:
        return "image", CONTROL, OutlineSettings()
    lacking = ProblemError(
        422, "no-outlines", "the interface has no PolygonLabels or BrushLabels of an Image"
    )
    if "<!" in config.replace("<!--", ""):  # what is declared there may grow without end
        raise lacking
    try:
        tags = list(ElementTree.fromstring(config).iter())
    except ElementTree.ParseError as error:
        raise lacking from error
    images = {tag.get("name"): tag.get("value", "") for tag in tags if tag.tag == "Image"}
    for tag in tags:
        if tag.tag in TAGS and tag.get("toName") in images:
            labels = [each.get("value", LABEL) for each in tag if each.tag == "Label"]
            names = [name for name in labels if name.lower() == LABEL] or labels or [LABEL]
            control = Control(tag.get("name", "label"), tag.get("toName", "image"))
            settings = OutlineSettings(label=names[0], rle=TAGS[tag.tag])
            return images[tag.get("toName")].removeprefix("$"), control, settings
    raise lacking
