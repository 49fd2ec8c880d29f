"""Start the page and the HTTP service."""

import os
from contextlib import ExitStack, suppress
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dermseg.cli.console import WEB, require, say
from dermseg.cli.options import Flat, FlatLists, Lists
from dermseg.errors import UsageError
from dermseg.settings import (
    DEFAULT_MODEL,
    InferenceSettings,
    ServiceSettings,
    ThresholdSettings,
)

SHORTEST_TOKEN = 16
"""Characters of a token, below which it could be guessed."""
MAKE_TOKEN = 'python -c "import secrets; print(secrets.token_urlsafe())" makes one'


def serve(
    photographs: Annotated[list[Path] | None, Parameter(negative=())] = None,
    /,
    *,
    review: Path | None = None,
    reader: str = "",
    model: Annotated[tuple[str, ...], Lists] = (DEFAULT_MODEL,),
    settings: Annotated[InferenceSettings, Flat] = InferenceSettings(),
    open: Annotated[bool, Parameter(negative=())] = False,
    token: Annotated[str, Parameter(env_var="DERMSEG_TOKEN")] = "",
    service: Annotated[ServiceSettings, FlatLists] = ServiceSettings(),
    thresholds: Annotated[ThresholdSettings | None, Flat] = None,
) -> int:
    """Start a page for the browser, and an HTTP service, on this machine.

    Photographs are kept in memory only, and forgotten. With --review the page shows the masks of a
    folder, the least sure first, and you accept or correct them. decisions.csv beside the masks
    keeps the decisions, and a review continues where it stopped.

    By default the thresholds are those in the model's card for the style. If you give one of
    --rule, --high and --low, the others have the defaults below.

    Example: dermseg serve --open

    Parameters
    ----------
    photographs
        With --review: the photographs whose masks are reviewed; files or folders.
    review
        Folder of masks that `dermseg segment` filled. Corrected masks go to a folder beside it,
        with the same name and -corrected.
    reader
        With --review: the name of the reader, if several review independently. Decisions go to
        decisions-READER.csv and corrected masks to the reader's own folder. The page does not show
        what others decided; `dermseg agreement` compares the readers.
    model
        Shipped models' names, or .onnx files written by `dermseg export`. The page offers all of
        them, and clients choose one with ?model=; the first is the default. The others are loaded
        when they are first used. A review and Label Studio use the first.
    open
        Open the page in the browser.
    token
        A secret that clients must send, as a bearer token or as a password; browsers ask for it
        once. /healthz needs none. Better set DERMSEG_TOKEN, since other users of this machine can
        see command lines.
    """
    if photographs and review is None:
        raise UsageError(
            "PHOTOGRAPHS are for a review, --review MASKS; without a review, drop photographs on "
            "the page, or choose them there"
        )
    if review is not None and not photographs:
        raise UsageError(f"name the photographs: dermseg serve --review {review} PHOTOGRAPHS")
    if reader and review is None:
        raise UsageError("--reader needs --review")
    _check_token(token, service.host)
    require("web", *WEB)
    from dermseg.inference.segmenter import Segmenter
    from dermseg.storage.decisions import Reader
    from dermseg.web.app import create_app
    from dermseg.web.server import Server
    from dermseg.weights import find_model

    def load(name: str) -> Segmenter:
        return Segmenter(name, **vars(settings), thresholds=thresholds)

    for name in model:
        find_model(name)
    segmenter = load(model[0])
    others = {name: partial(load, name) for name in model[1:] if name != model[0]}

    def listening(address: str) -> None:
        say(f"{segmenter.description}: {address} (Ctrl+C stops it)")
        if review is not None:
            say(f"The page reviews {review}; decisions go to {Reader(review, reader).table}")
            named = f" --reader {reader}" if reader else ""
            say(f"Afterwards: dermseg convert {review} --accepted{named} -o reviewed --to masks")
        if open:
            import webbrowser

            webbrowser.open(address)

    key = os.environ.get("LABEL_STUDIO_API_KEY", "")
    with ExitStack() as stack:
        queue = None
        if review is not None:
            from dermseg.web.review.queue import Review

            queue = stack.enter_context(Review.open(photographs or [], review, segmenter, reader))
        with suppress(KeyboardInterrupt):  # how it is meant to end
            app = create_app(segmenter, service, queue, token, key, others)
            Server(app, service, listening).run()
    return 0


def _check_token(token: str, host: str) -> None:
    """Refuse a token that could be guessed; warn where others can come in without one."""
    if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise UsageError(
            f"--token: needs at least {SHORTEST_TOKEN} printable ASCII characters ({MAKE_TOKEN})"
        )
    if not token and not _is_loopback(host):
        say(
            f"dermseg: --host {host} lets other machines in, and there is no --token: whoever "
            f"reaches the port may use the service. Set DERMSEG_TOKEN ({MAKE_TOKEN})"
        )


def _is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
