"""The routes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from slmbench.exported import Exported
from slmbench.serving import page, shapes
from slmbench.serving.answers import Answered, work
from slmbench.serving.asked import Served, Wanted
from slmbench.serving.guard import GONE, Guard
from slmbench.serving.limits import FAILED, Limits, Refused
from slmbench.serving.metrics import Metrics
from slmbench.serving.pool import Ended, Job, Pool


def make_app(
    exported: Exported, pool: Pool, limits: Limits | None = None, *, key: str = "", hosts: Collection[str] = ()
) -> Guard:
    """The ASGI application over a pool of the model's workers. `key` and `hosts` are as the Guard's."""
    limits = limits or Limits()
    metrics = Metrics(pool)
    service = Service(exported, pool, limits, metrics, needs_key=bool(key))
    app = FastAPI(title="slmbench", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for path, handler, method in (
        ("/", service.page, "GET"),
        ("/healthz", service.health, "GET"),
        ("/metrics", service.figures, "GET"),
        ("/v1/models", service.models, "GET"),
        ("/v1/models/{model}", service.model, "GET"),
        ("/v1/chat/completions", service.chat, "POST"),
        ("/v1/completions", service.completion, "POST"),
        ("/v1/extract", service.extract, "POST"),
    ):
        app.add_api_route(path, handler, methods=[method], response_model=None, include_in_schema=False)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(HTTPException, _unknown)
    app.add_exception_handler(Exception, _failed)
    return Guard(app, pool, limits, metrics, key, hosts)


class Service:
    """What the routes do."""

    def __init__(self, exported: Exported, pool: Pool, limits: Limits, metrics: Metrics, *, needs_key: bool) -> None:
        own = exported.manifest.get("schema")
        self.exported, self.pool, self.limits, self.metrics = exported, pool, limits, metrics
        self.served = Served(
            str(exported.manifest.get("name", "slmbench")), own if isinstance(own, dict) else None, limits
        )
        self.created = int(time.time())
        self.facts = {"needs_key": needs_key}
        self._page = page.load()

    async def page(self) -> Response:
        """The playground."""
        return Response(self._page.html, media_type="text/html", headers={"Content-Security-Policy": self._page.policy})

    async def health(self) -> Response:
        """Whether the server answers; what the page has to know before a key is given."""
        return JSONResponse({"status": "ok", **self.facts})

    async def figures(self) -> Response:
        """Figures for Prometheus."""
        return Response(self.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(self) -> Response:
        """The one model."""
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, model: str) -> Response:
        """The same by its name."""
        if model != self.served.name:
            raise Refused(404, f"This server has {self.served.name} and no other model.", "model_not_found")
        return JSONResponse(self._model())

    async def chat(self, request: Request) -> Response:
        """A document as the last user message; JSON, or calls, as the assistant's."""
        return await self._openai(request, self.served.chat)

    async def completion(self, request: Request) -> Response:
        """A raw prompt."""
        return await self._openai(request, self.served.completion)

    async def extract(self, request: Request) -> Response:
        """A row of `slmbench extract`."""
        wanted = await asyncio.to_thread(self.served.extract, await request.body())
        with self._line(request, wanted) as line:
            return JSONResponse(shapes.row(await line.answered()))

    async def _openai(self, request: Request, read: Callable[[bytes], Wanted]) -> Response:
        wanted = await asyncio.to_thread(read, await request.body())
        shape = shapes.Shape(self.served.name, wanted)
        with contextlib.ExitStack() as stack:
            line = stack.enter_context(self._line(request, wanted))
            if not wanted.stream:
                return JSONResponse(shape.whole(await line.answered()))
            first = await line.next()  # what is refused has its status still
            sent = self._events(shape, line, first)
            stack.pop_all()
        return StreamingResponse(sent, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def _events(self, shape: shapes.Shape, line: Line, said: Any) -> AsyncIterator[bytes]:
        """The chunks of a stream; an error in it is the last."""
        with line:
            try:
                if begin := shape.begin():
                    yield begin
                while not isinstance(said, Answered):
                    if piece := shape.piece(said):
                        yield piece
                    said = await line.next()
                yield shape.end(said)
            except Refused as refused:
                yield shapes.event(refused.body())

    def _line(self, request: Request, wanted: Wanted) -> Line:
        return Line(
            self.pool, work(self.exported, wanted), self.limits.request_seconds, request.scope[GONE],
            self.metrics,
        )  # fmt: skip

    def _model(self) -> dict[str, Any]:
        facts = {"schema": self.served.schema, "positions": self.pool.workers[0].positions}
        head = {"id": self.served.name, "object": "model", "created": self.created, "owned_by": "slmbench"}
        return {**head, **facts}


class Line:
    """What a worker says of one job, as the event loop hears it. Left, the job is let go of. Raises Refused when made
    where the queue is full."""

    def __init__(self, pool: Pool, made: Any, seconds: float, gone: asyncio.Event, metrics: Metrics) -> None:
        self.pool, self.seconds, self.gone, self.metrics = pool, seconds, gone, metrics
        self.loop = asyncio.get_running_loop()
        self.until = self.loop.time() + seconds
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.job = Job(made, self._tell)
        pool.submit(self.job)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.cancel(self.job)

    def _tell(self, said: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(self.heard.put_nowait, said)

    async def next(self) -> Any:
        """The next piece, or what the answer is. Raises what the job raised; Refused after its time, or where the
        client has gone."""
        waits = [asyncio.ensure_future(self.heard.get()), asyncio.ensure_future(self.gone.wait())]
        try:
            left = max(0.0, self.until - self.loop.time())
            await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if waits[1].done():
                raise Refused(499, "The client went away.", "gone")
            if not waits[0].done():
                raise Refused(504, f"The answer was not there after {self.seconds:g} s.", "timeout")
            said = waits[0].result()
        finally:
            for wait in waits:
                wait.cancel()
        if isinstance(said, Exception):
            raise said
        if isinstance(said, Ended):
            raise RuntimeError("the job ended without an answer")
        if isinstance(said, Answered):
            self.metrics.tokens.labels("prompt").inc(said.prompt_tokens)
            self.metrics.tokens.labels("output").inc(said.output_tokens)
        return said

    async def answered(self) -> Answered:
        """The answer, whole."""
        while not isinstance(said := await self.next(), Answered):
            pass
        return said


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse(error.body(), error.status, error.headers)


async def _failed(*_: object) -> Response:
    """What is raised goes on to the guard, which logs it."""
    return JSONResponse(FAILED.body(), FAILED.status)


async def _unknown(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    says = {404: "There is no such page; the README lists them.", 405: "This page is asked in another way (GET, POST)."}
    refused = Refused(error.status_code, says.get(error.status_code, "The request cannot be answered."), "not_found")
    return JSONResponse(refused.body(), error.status_code, dict(error.headers or {}))
