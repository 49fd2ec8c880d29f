"""Checks of every request's host and origin, and headers that protect the browser."""

import time
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dermseg.settings import ServiceSettings
from dermseg.web.errors import ProblemError

SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
BUG = ProblemError(500, "bug", "dermseg made a mistake; its log says where")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class RequestChecks:
    """Checks Host and Origin, adds headers, and counts; an ASGI middleware.

    Host: a page elsewhere whose name was made to point here (DNS rebinding) is refused. Origin: so
    is one that sends something here from its own place, unless its origin is allowed.
    """

    def __init__(
        self, app: ASGIApp, settings: ServiceSettings, registry: CollectorRegistry
    ) -> None:
        self._app = app
        self._hosts = {host.lower() for host in (*settings.allowed_hosts, settings.host)}
        self._origins = set(settings.allowed_origins)
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

        headers = Headers(scope=scope)
        problem = self._check(scope["method"], headers.get("host", ""), headers.get("origin"))
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
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
            # 499: the client hung up before there was an answer.
            self._requests.labels(method, route, str(status or 499)).inc()
            self._seconds.labels(route).observe(time.perf_counter() - began)

    def _check(self, method: str, host: str, origin: str | None) -> ProblemError | None:
        if _name(host) not in self._hosts:
            detail = "this service is not addressed by that name (see --allowed-hosts)"
            return ProblemError(421, "unknown-host", detail)
        if origin is None or method in SAFE_METHODS or origin in self._origins:
            return None
        if _place(origin) != host.lower():
            return ProblemError(403, "foreign-origin", "that page may not use this service")
        return None


def _place(origin: str) -> str:
    """Return an Origin header's host and port, lower case; nothing for what is no origin."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _name(host: str) -> str:
    """Return a Host header's name, lower case, without port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "") if host else ""
    except ValueError:
        return ""
