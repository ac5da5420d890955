"""What every request passes before the application sees it, and every answer on its way out.

A request is refused before its body is read where its host, key, kind or size is wrong or the queue is full. The body
is read here, within its bounds of bytes and seconds; from then on it is noted when the client goes away.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import time
from collections.abc import Collection, MutableMapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from slmbench.serving.limits import FAILED, Limits, Refused
from slmbench.serving.metrics import Metrics
from slmbench.serving.pool import Pool

ASKING = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/extract"})
ROUTES = ASKING | {"/", "/healthz", "/metrics", "/v1/models"}
GONE = "slmbench.gone"
"""Where a scope holds the event that is set when the client goes away."""
LINGER_SECONDS, LINGER_BYTES = 1.0, 4_000_000
"""What is still read of a body that is refused, so that the client reads the answer instead of a broken connection."""
SEND_SECONDS = 10.0
"""Beyond a request's own seconds: for a client that reads slowly."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
_log = logging.getLogger("slmbench.serve")


class Guard:
    """An application behind its bounds.

    Args:
        app: what answers.
        pool: is asked whether anything more can wait.
        limits: of bodies and seconds.
        metrics: count every request.
        key: what a client has to show as a bearer; empty for none.
        hosts: the names under which the server may be spoken to; empty for any. A page of another site that has its
            own name lead here (DNS rebinding) is turned away by it.
    """

    def __init__(
        self, app: ASGIApp, pool: Pool, limits: Limits, metrics: Metrics, key: str, hosts: Collection[str]
    ) -> None:
        self.app, self.pool, self.limits, self.metrics = app, pool, limits, metrics
        self.key, self.hosts = key.encode(), frozenset(hosts)
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI asks for."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            self.open += 1
            try:
                await self._visit(scope, _Way(receive, send))
            finally:
                self.open -= 1

    async def _visit(self, scope: Scope, way: _Way) -> None:
        started = time.perf_counter()
        path = scope["path"]
        route = path if path in ROUTES else "/v1/models/{model}" if path.startswith("/v1/models/") else "other"
        try:
            self._check(scope, _headers(scope), way)
            if path in ASKING and scope["method"] == "POST":
                await self._read(way)
            await self._answer(scope, way)
        except Refused as refused:
            await way.refuse(refused)
        except asyncio.CancelledError:
            way.status = way.status or 499
            raise
        except Exception as error:  # its text may hold a client's, so it is not told
            _log.error("%s: %s%s", route, type(error).__name__, _place(error))
            await way.refuse(FAILED)
        finally:
            self.metrics.note(route, way.status or 499, time.perf_counter() - started)

    def _check(self, scope: Scope, headers: dict[bytes, bytes], way: _Way) -> None:
        """Raise Refused for what can be refused by its head."""
        way.whole = not (headers.get(b"transfer-encoding") or headers.get(b"content-length", b"0") != b"0")
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self.hosts and _name(host) not in self.hosts:
            raise Refused(403, "Host: this server is not known by that name.", "bad_host")
        path = scope["path"]
        if self.key and (path.startswith("/v1") or path == "/metrics"):
            scheme, _, shown = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(shown.strip(), self.key):
                raise Refused(
                    401, "The API key is missing or wrong; send it as Authorization: Bearer KEY.", "invalid_api_key",
                    {"WWW-Authenticate": "Bearer"},
                )  # fmt: skip
        if path not in ASKING or scope["method"] != "POST":
            return
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != b"application/json":  # what another site's form could send
            raise Refused(415, "Content-Type: send application/json.", "bad_content_type")
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self.limits.body_bytes:
            raise self._too_long()
        self.pool.check()
        if self.open > self.limits.connections:
            raise Refused(429, "Too many requests are open; ask again in 1 s.", "too_many_open", {"Retry-After": "1"})

    async def _read(self, way: _Way) -> None:
        """Read the body. Raises Refused where it is too long or too slow."""
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                while not way.whole:
                    await way.read()
                    if len(way.body) > self.limits.body_bytes:
                        raise self._too_long()
        except TimeoutError:
            way.lingers = False
            said = f"The body was not there after {self.limits.body_seconds:g} s; send it faster."
            raise Refused(408, said, "slow_body") from None

    async def _answer(self, scope: Scope, way: _Way) -> None:
        """Let the application answer, for a bounded time, and notice when the client goes away."""
        scope[GONE] = way.gone
        watch = asyncio.create_task(way.watch()) if way.whole else None
        try:
            async with asyncio.timeout(self.limits.request_seconds + SEND_SECONDS):
                await self.app(scope, way.receive, way.send)
        except TimeoutError:
            raise Refused(504, "The client did not read its answer.", "slow_reader") from None
        finally:
            if watch is not None:
                watch.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watch

    def _too_long(self) -> Refused:
        return Refused(413, f"The body is over {self.limits.body_bytes:,} bytes; send less.", "body_too_large")


class _Way:
    """The two directions of one request."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.body = bytearray()
        self.whole = True
        """Whether nothing more of the body is to come."""
        self.lingers = True
        self.gone = asyncio.Event()
        self.status: int | None = None
        self._given = False

    async def read(self) -> None:
        """The next part of the body. Raises Refused where the client has gone away."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone.set()
            self.whole = True
            raise Refused(499, "The client went away.", "gone")
        self.body += message.get("body", b"")
        self.whole = not message.get("more_body", False)

    async def watch(self) -> None:
        """Wait until the client goes away."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone.set()

    async def receive(self) -> MutableMapping[str, Any]:
        """What the application reads: the body, then that the client has gone, once it has."""
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": bytes(self.body), "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """What the application writes, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            said = [(name.lower(), value) for name, value in message.get("headers", [])]
            have = {name for name, _ in said}
            said += [
                (name.lower().encode(), value.encode())
                for name, value in _HEADERS.items()
                if name.lower().encode() not in have
            ]
            if not self.whole:
                said.append((b"connection", b"close"))
            message = {**message, "headers": said}
        await self._send(message)

    async def refuse(self, refused: Refused) -> None:
        """Answer with an error, where nothing has been answered yet."""
        if self.status is not None:
            return
        if self.gone.is_set():
            self.status = 499
            return
        if not self.whole and self.lingers:
            await self._linger()
        body = json.dumps(refused.body(), ensure_ascii=False).encode("utf-8", "replace")
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **refused.headers}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": refused.status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def _linger(self) -> None:
        left = LINGER_BYTES
        with contextlib.suppress(TimeoutError, Refused):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self.whole and left > 0:
                    self.body.clear()
                    await self.read()
                    left -= len(self.body)
        self.body.clear()


def _headers(scope: Scope) -> dict[bytes, bytes]:
    return {name.lower(): value for name, value in scope["headers"]}


def _name(host: str) -> str:
    """A Host without its port."""
    return host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]


def _place(error: BaseException) -> str:
    """Where an exception was raised: file and line, no folder."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    name = trace.tb_frame.f_code.co_filename.replace("\\", "/").rsplit("/", 1)[-1]
    return f" at {name}:{trace.tb_lineno}"
