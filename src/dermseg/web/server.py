"""The server that runs the app: its connections, its log, how it starts and stops."""

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Any, cast

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from dermseg.errors import UsageError
from dermseg.settings import ServiceSettings
from dermseg.web.errors import MEDIA_TYPE, document

HEAD_SECONDS = 10.0
"""From a connection, or a request's first byte, to the end of its head."""
BODY_SECONDS = 5.0
"""How much longer than `--seconds` a body may take: routes that read it say 408 before."""
SLOWEST_READER = 64 * 2**10
"""Bytes a second that a client must take of a response, beyond `--seconds` for all of it."""
MOST_UNREAD = 256 * 2**20
"""Bytes of responses that may wait for their readers, all connections together."""
MOST_CONNECTIONS = 512
"""Connections beyond which the one that does least makes room for a new one."""
BACKLOG = 128
"""Connections that may wait to be accepted; so many come at once."""
DRAIN_SECONDS, CLOSE_SECONDS = 3, 5
"""How long a service that stops works on, and when it closes what is still open."""
LOG_LINES, LOG_LENGTH = 60, 8000
"""Entries of the log a minute, and characters of an entry."""


class BoundedLog(logging.Filter):
    """Lets so many entries a minute into the log, and says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._began, self._entries = 0.0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether an entry is written."""
        if record.created - self._began >= 60:
            left_out = self._entries - LOG_LINES
            if left_out > 0:
                record.msg = f"{record.getMessage()} ({left_out} entries were left out before)"
                record.args = ()
            self._began, self._entries = record.created, 0
        self._entries += 1
        return self._entries <= LOG_LINES


class BoundedLine(logging.Formatter):
    """Shortens a long entry in its middle; a traceback's end says what went wrong."""

    def format(self, record: logging.LogRecord) -> str:
        """Return what is written of an entry."""
        text = super().format(record)
        if len(text) <= LOG_LENGTH:
            return text
        return f"{text[: LOG_LENGTH // 4]}\n[...]\n{text[-LOG_LENGTH * 3 // 4 :]}"


LOG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"bounded": {"()": BoundedLog}},
    "formatters": {"bounded": {"()": BoundedLine, "format": "%(levelname)s: %(message)s"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "filters": ["bounded"],
            "formatter": "bounded",
        }
    },
    "loggers": {
        name: {"handlers": ["stderr"], "level": "WARNING", "propagate": False}
        for name in ("uvicorn.error", "asyncio", "dermseg.web")
    },
}


def most_connections() -> int:
    """Return how many connections fit half of the files that this process may have open."""
    try:
        from resource import RLIMIT_NOFILE, getrlimit
    except ImportError:  # Windows counts no files
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(8, getrlimit(RLIMIT_NOFILE)[0] // 2))


class Connection(H11Protocol):
    """HTTP/1.1 with deadlines, room for new clients, and errors as problem documents.

    No option of uvicorn does the same: `timeout_keep_alive` is for idle connections alone, and
    `limit_concurrency` refuses the newcomer. This extends what asyncio calls on any protocol, reads
    h11's public state, and has its own words for `send_400_response`.
    """

    def __init__(self, config: uvicorn.Config, *arguments: Any, **options: Any) -> None:
        super().__init__(config, *arguments, **options)
        self._seconds: float = cast(FastAPI, config.app).state.service.settings.seconds
        self._most = most_connections()
        self._since = self.loop.time()
        self._awaited: Any = None
        self._arriving: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin with the deadline of a head."""
        transport.set_write_buffer_limits(0)  # so that pause_writing tells of every byte
        super().connection_made(transport)
        self._make_room()
        self._set_deadline()

    def data_received(self, data: bytes) -> None:
        """Read on, and renew the deadline if something else is awaited now."""
        self._since = self.loop.time()
        super().data_received(data)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadlines."""
        for timer in (self._arriving, self._leaving):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Give the client time to read what waits for it."""
        super().pause_writing()
        waiting = self.transport.get_write_buffer_size()
        seconds = self._seconds + waiting / SLOWEST_READER
        self._leaving = self.loop.call_later(seconds, self.transport.abort)
        unread = {each: each.transport.get_write_buffer_size() for each in self._others()}
        if waiting + sum(unread.values()) > MOST_UNREAD:
            max(unread, key=lambda each: unread[each], default=self).transport.abort()

    def resume_writing(self) -> None:
        """Take the deadline back: the client has read everything."""
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Say in a problem document too that something is not HTTP."""
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

    def _set_deadline(self) -> None:
        """Give a head, or a body, its time once, however slowly its bytes arrive."""
        awaited = self.conn.their_state
        if awaited is self._awaited:
            return
        self._awaited = awaited
        if self._arriving is not None:
            self._arriving.cancel()
        seconds = {h11.IDLE: HEAD_SECONDS, h11.SEND_BODY: self._seconds + BODY_SECONDS}
        if awaited in seconds:
            self._arriving = self.loop.call_later(seconds[awaited], self.transport.abort)

    def _others(self) -> list["Connection"]:
        """Return the other connections that are open."""
        return [
            each
            for each in self.connections
            if isinstance(each, Connection) and each is not self and not each.transport.is_closing()
        ]

    def _make_room(self) -> None:
        """Close the connection that does least, where there are too many."""
        others = self._others()
        if len(others) < self._most:
            return
        idle = [(each._idleness(), each._since, each) for each in others if each._idleness()]
        # Nobody is idle: the newcomer goes.
        victim = min(idle, key=lambda entry: (-entry[0], entry[1]))[2] if idle else self
        victim.transport.abort()

    def _idleness(self) -> int:
        """Return how little is done for this connection: 0 for one whose request is worked on."""
        if self.conn.their_state is h11.IDLE:
            return 3
        if self.conn.their_state is h11.SEND_BODY:
            return 2
        return 1 if self._leaving is not None else 0


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
                http=Connection,
                ws="none",
                log_config=LOG,
                log_level="warning",
                access_log=False,  # it would write down what people look at
                server_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=CLOSE_SECONDS,
            )
        )
        self._places = app.state.service.places
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

    async def shutdown(self, sockets: Sequence[Any] | None = None) -> None:
        """Work on for a moment, answer with 503 what is not done by then, and stop."""
        self._places.drain(DRAIN_SECONDS)
        await super().shutdown(list(sockets) if sockets else None)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; uvicorn's own words for one that cannot have no remedy."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise UsageError(
            f"{host}, port {port}: cannot be listened on ({error.strerror}); "
            "choose another --port, 0 for any that is free, or --host"
        ) from error
