"""Checks of every request's host, origin and token, and headers that protect the browser."""

import secrets
import time
from base64 import b64decode
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dermseg.settings import ServiceSettings
from dermseg.web.errors import ProblemError

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
        "connect-src 'self'; img-src 'self' blob: data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
BUG = ProblemError(500, "bug", "dermseg made a mistake; its log says where")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
DEFAULT_PORTS = {"http": 80, "https": 443}
NO_TOKEN_NEEDED = ("/healthz",)
"""Paths that answer without the token: they tell nothing but that the service lives."""
CHALLENGE = {"WWW-Authenticate": 'Basic realm="dermseg: the token is the password"'}
"""Browsers ask for a password once, and send it with everything that the page loads."""


class RequestChecks:
    """Checks Host, Origin and token, adds headers, and counts; an ASGI middleware.

    Host: a page elsewhere whose name was made to point here (DNS rebinding) is refused. Origin: so
    is one that sends something here from its own place, unless its origin is allowed. Token: if
    there is one, it comes as a bearer token or as the password of basic authentication.
    HEAD is answered as GET is, by the same routes; the server leaves the body out.
    """

    def __init__(
        self, app: ASGIApp, settings: ServiceSettings, token: str, registry: CollectorRegistry
    ) -> None:
        self._app = app
        self._hosts = {host.lower() for host in (*settings.allowed_hosts, settings.host)}
        self._origins = set(settings.allowed_origins)
        self._token = token.encode()
        self._requests = Counter(
            "dermseg_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "dermseg_request_seconds", "From request to answer.", ("route",), registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
        problem = self._check(scope)
        if method == "HEAD":  # a copy: the server goes by its own, and sends no body
            scope = {**scope, "method": "GET"}
        try:
            if problem is not None:
                await problem.response()(scope, receive, send_on)
            else:
                await self._app(scope, receive, send_on)
        except Exception:  # a bug: the server writes it into its log
            if not status:
                await BUG.response()(scope, receive, send_on)
            raise
        finally:
            # The route's own pattern, never the address: names do not reach the numbers.
            route = getattr(scope.get("route"), "path", "other")
            # 499: the client hung up before there was an answer.
            self._requests.labels(method, route, str(status or 499)).inc()
            self._seconds.labels(route).observe(time.perf_counter() - began)

    def _check(self, scope: Scope) -> ProblemError | None:
        """Return what is wrong with a request, seen from its head alone."""
        headers, method = Headers(scope=scope), scope["method"]
        host, origin = headers.get("host", ""), headers.get("origin")
        if _name(host) not in self._hosts:
            detail = "this service is not addressed by that name (see --allowed-hosts)"
            return ProblemError(421, "unknown-host", detail)
        foreign = origin is not None and origin not in self._origins
        if foreign and method not in SAFE_METHODS and not _same_place(str(origin), host):
            detail = "that page may not use this service (see --allowed-origins)"
            return ProblemError(403, "foreign-origin", detail)
        # A preflight request carries no token; what it asks about will.
        free = not self._token or scope["path"] in NO_TOKEN_NEEDED or method == "OPTIONS"
        if not free and not self._knows(headers.get("authorization", "")):
            detail = "this service needs its token, as a bearer token or as the password"
            return ProblemError(401, "no-token", detail, CHALLENGE)
        if headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
            detail = "send the bytes of the file as they are, without Content-Encoding"
            return ProblemError(415, "encoded", detail, {"Accept-Encoding": "identity"})
        return None

    def _knows(self, authorization: str) -> bool:
        """Say whether an Authorization header brings the token."""
        scheme, _, given = authorization.strip().partition(" ")
        given_bytes = given.strip().encode("latin-1", "replace")
        if scheme.lower() == "basic":
            try:
                given_bytes = b64decode(given_bytes, validate=True).partition(b":")[2]
            except ValueError:
                return False
        elif scheme.lower() != "bearer":
            return False
        return secrets.compare_digest(given_bytes, self._token)


def _same_place(origin: str, host: str) -> bool:
    """Say whether an Origin header means the place that a Host header names.

    Either may leave out the port that its scheme implies: behind a proxy they often differ in it.
    """
    try:
        page, here = urlsplit(origin), urlsplit(f"//{host}")
        usual = DEFAULT_PORTS[page.scheme]
        return (page.hostname, page.port or usual) == (here.hostname, here.port or usual)
    except (ValueError, KeyError):
        return False


def _name(host: str) -> str:
    """Return a Host header's name, lower case, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "") if host else ""
    except ValueError:
        return ""
