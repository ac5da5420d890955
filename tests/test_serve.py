"""A model behind HTTP: what it answers, what it refuses, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import http.client
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest
import uvicorn

from slmbench import serve as module
from slmbench.backends import native
from slmbench.core import BadInput, Completion, Example
from slmbench.decode.loop import Decoder, Part
from slmbench.documents import Document
from slmbench.exported import Exported, load_exported
from slmbench.extract import Asked, Extractor
from slmbench.schema import validate
from slmbench.serving import answers, asked, page, pool, protocol
from slmbench.serving.app import make_app
from slmbench.serving.limits import Limits, Refused
from slmbench.serving.pool import Pool, Watched
from slmbench.serving.schemas import checked, inlined, without_patterns

pytestmark = pytest.mark.skipif(native.compiled() is None, reason="no C compiler")

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["order", "complaint", "praise"]}, "urgent": {"type": "boolean"}},
    "required": ["kind", "urgent"],
    "additionalProperties": False,
}
LONG = {
    "type": "object",
    "properties": {"all": {"type": "array", "items": {"type": "boolean"}, "minItems": 400, "maxItems": 400}},
    "required": ["all"],
    "additionalProperties": False,
}
"""An answer of a second or so."""
TEXT = "This is praise, an order and a complaint: urgent yes, or no."
TOOLS = [
    {"type": "function", "function": {"name": "ring", "description": "Ring a bell.", "parameters": {
        "type": "object", "properties": {"loud": {"$ref": "#/$defs/flag"}}, "required": ["loud"],
        "additionalProperties": False, "$defs": {"flag": {"type": "boolean"}}}}},
    {"type": "function", "function": {"name": "stop"}},
]  # fmt: skip
CHAT = "/v1/chat/completions"
FORMAT = {"type": "json_schema", "json_schema": {"name": "mail", "schema": SCHEMA}}


def chat(**changes: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": TEXT}], "response_format": FORMAT, **changes}


@pytest.fixture(scope="module")
def model(wide_exports: Path) -> Path:
    return wide_exports / "export" / "int8"


@pytest.fixture(scope="module")
def exported(model: Path) -> Exported:
    return load_exported(model)


@pytest.fixture(scope="module")
def decoder(exported: Exported) -> Any:
    return exported.backend(1)


@pytest.fixture
def workers(decoder: Decoder) -> Iterator[Callable[..., Pool]]:
    """Pools of one worker each, over one model."""
    made: list[Pool] = []
    engine = decoder.engine

    def make(waiting: int = 32) -> Pool:
        for one in made:  # two threads must never share a model
            one.close(at_once=True)
        decoder.engine = engine
        made.append(Pool([decoder], waiting))
        return made[-1]

    yield make
    for one in made:
        one.close(at_once=True)
    decoder.engine = engine


@pytest.fixture
def ask(exported: Exported, workers: Callable[..., Pool]) -> Callable[..., httpx.Response]:
    """One request to a server of its own, in this process."""

    def call(
        path: str, body: Any = None, *, limits: Limits | None = None, method: str = "", headers: Any = None, **app: Any
    ) -> httpx.Response:
        limits = limits or Limits()
        target = make_app(app.pop("exported", exported), workers(limits.waiting), limits, **app)

        async def go() -> httpx.Response:
            async with client(target) as http_client:
                sent = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
                return await http_client.request(method or ("POST" if sent else "GET"), path, headers=headers, **sent)

        return asyncio.run(go())

    return call


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=60)


class Live:
    """A real server in a thread."""

    def __init__(self, app: Any, workers: Pool) -> None:
        self.pool = workers
        self.listener = module.listen("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            app, http=protocol.Patient, ws="none", loop="asyncio", lifespan="off", access_log=False, log_config=None
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([self.listener],))
        self.thread.start()
        wait_until(lambda: self.server.started)

    def post(self, path: str, body: Any) -> socket.socket:
        """A request that is sent and not waited for."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        data = json.dumps(body).encode()
        sock.sendall(head(path, len(data)) + data)
        return sock

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)
        assert not self.thread.is_alive()


def head(path: str, length: int) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


@pytest.fixture
def live(exported: Exported, workers: Callable[..., Pool]) -> Iterator[Callable[..., Live]]:
    made: list[Live] = []

    def start(limits: Limits | None = None, **app: Any) -> Live:
        limits = limits or Limits()
        one = workers(limits.waiting)
        made.append(Live(make_app(exported, one, limits, **app), one))
        return made[-1]

    yield start
    for one in made:
        one.close()


def wait_until(done: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until
        time.sleep(0.005)


def error(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    assert found.keys() == {"message", "type", "param", "code"} and found["message"].endswith((".", "s"))
    assert "/" + "tmp" not in answer.text and "Traceback" not in answer.text
    return found


def events(text: str) -> list[Any]:
    parts = [part.removeprefix("data: ") for part in text.split("\n\n") if part]
    return [part if part == "[DONE]" else json.loads(part) for part in parts]


def test_extract_gives_the_row_of_the_verb(ask: Any, exported: Exported, decoder: Decoder) -> None:
    (expected,) = Extractor(exported, Asked(SCHEMA, explain=True), decoder).rows([Document("text", TEXT)])
    answer = ask("/v1/extract", {"text": TEXT, "schema": SCHEMA, "explain": True})
    assert answer.status_code == 200, answer.text
    row = answer.json()
    timings, usage = row.pop("timings"), row.pop("usage")
    assert row == json.loads(json.dumps(expected))  # spans are pairs in both
    assert set(timings) == {"queue_ms", "prompt_ms", "answer_ms", "first_token_ms", "total_ms"}
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


@pytest.mark.parametrize("constraint", ["schema", "grounded"])
def test_a_plain_row(ask: Any, constraint: str) -> None:
    row = ask("/v1/extract", {"id": "m1", "text": TEXT, "schema": SCHEMA, "constraint": constraint}).json()
    assert row["id"] == "m1" and validate(row["json"], SCHEMA) == [] and "values" not in row


def test_the_models_own_schema(ask: Any, exported: Exported) -> None:
    own = dataclasses.replace(exported, manifest={**exported.manifest, "schema": SCHEMA})
    assert validate(ask("/v1/extract", {"text": TEXT}, exported=own).json()["json"], SCHEMA) == []
    said = ask(CHAT, chat(response_format=None), exported=own).json()["choices"][0]["message"]["content"]
    assert validate(json.loads(said), SCHEMA) == []
    for path, body in (("/v1/extract", {"text": TEXT}), (CHAT, chat(response_format={"type": "json_object"}))):
        refused = ask(path, body)
        assert refused.status_code == 400 and "several schemas; give one" in error(refused)["message"]


def test_openais_client_gets_the_same(live: Any, exported: Exported) -> None:
    server = live(key="secret")
    name = exported.manifest["name"]
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0) as asked:
        assert [found.id for found in asked.models.list()] == [name] == [asked.models.retrieve(name).id]
        whole = asked.chat.completions.create(model=name, **chat())
        streamed = asked.chat.completions.create(
            model=name, stream=True, stream_options={"include_usage": True}, **chat()
        )
        chunks = list(streamed)
        free = asked.completions.create(model=name, prompt="Hello", max_tokens=12)
        parts = list(asked.completions.create(model=name, prompt="Hello", max_tokens=12, stream=True))
        called = asked.chat.completions.create(model=name, **chat(tools=TOOLS, tool_choice="required", max_tokens=300))
        with pytest.raises(openai.NotFoundError, match="no other"):
            asked.chat.completions.create(model="other", **chat())
        with pytest.raises(openai.BadRequestError, match="n: a document has one answer"):
            asked.chat.completions.create(model=name, n=2, **chat())
    row = httpx.post(
        f"{server.url}/v1/extract", json={"text": TEXT, "schema": SCHEMA}, headers={"Authorization": "Bearer secret"}
    ).json()
    said = whole.choices[0].message.content
    assert json.loads(said) == row["json"] and whole.choices[0].finish_reason == "stop"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == said
    assert chunks[-2].choices[0].finish_reason == "stop" and chunks[-1].usage == whole.usage
    assert "".join(part.choices[0].text for part in parts) == free.choices[0].text
    assert free.choices[0].finish_reason in ("stop", "length") and free.usage.completion_tokens <= 12
    if called.choices[0].finish_reason == "tool_calls":
        for call in called.choices[0].message.tool_calls:
            arguments = json.loads(call.function.arguments)
            assert (call.function.name == "ring" and isinstance(arguments["loud"], bool)) or arguments == {}
    else:
        assert called.choices[0].finish_reason == "length"
    wrong = openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0)
    with wrong, pytest.raises(openai.AuthenticationError):
        wrong.models.list()


@pytest.mark.parametrize("choice", [{"type": "function", "function": {"name": "ring"}}, "auto"])
def test_tools_whole_and_streamed(ask: Any, choice: Any) -> None:
    body = chat(tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)
    (choice_made,) = ask(CHAT, body).json()["choices"]
    told = events(ask(CHAT, {**body, "stream": True}).text)
    assert told[-1] == "[DONE]" and told[-2]["choices"][0]["finish_reason"] == choice_made["finish_reason"]
    calls = choice_made["message"].get("tool_calls", [])
    assert bool(calls) == (choice_made["finish_reason"] == "tool_calls")
    if choice != "auto":
        assert [call["function"]["name"] for call in calls] == ["ring"]
        assert isinstance(json.loads(calls[0]["function"]["arguments"])["loud"], bool)
    streamed = [call for chunk in told[:-1] for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert [call["function"] for call in streamed] == [call["function"] for call in calls]


def test_completions_under_a_schema(ask: Any) -> None:
    body = {"prompt": [f"Read: {TEXT}"], "schema": SCHEMA}
    whole = ask("/v1/completions", body).json()["choices"][0]
    assert validate(json.loads(whole["text"]), SCHEMA) == [] and whole["finish_reason"] == "stop"
    told = events(ask("/v1/completions", {**body, "stream": True}).text)
    assert "".join(chunk["choices"][0]["text"] for chunk in told[:-1]) == whole["text"]


def test_an_answer_that_is_cut(ask: Any) -> None:
    cut = ask(CHAT, chat(max_tokens=3)).json()
    assert cut["choices"][0]["finish_reason"] == "length" and cut["usage"]["completion_tokens"] == 3
    row = ask("/v1/extract", {"text": TEXT, "schema": SCHEMA, "max_tokens": 3})
    assert row.status_code == 422 and "cut off at its limit" in error(row)["message"]
    assert row.json()["output"] == cut["choices"][0]["message"]["content"]


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "boolean"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


LAUGHS = {
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/d0"}},
    "$defs": {
        **{
            f"d{i}": {"type": "object", "properties": {key: {"$ref": f"#/$defs/d{i + 1}"} for key in "abcdefgh"}}
            for i in range(10)
        },
        "d10": {"type": "boolean"},
    },
}
"""A few lines that stand for a thousand million fields."""


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (nested(40), "nested over 64 levels"),
        ({"type": "object", "properties": {"k" * 70_000: {"type": "boolean"}}}, "bytes are over"),
        (LAUGHS, "with its references followed"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, "leads back to itself"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/no"}}}, "leads nowhere"),
        ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}, "points outside"),
        ({"type": "object"}, "nothing to extract"),
        ({"type": "text"}, "not a JSON Schema"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=x)y"}}}, "cannot be enforced"),
    ],
)
def test_schemas_that_are_refused(ask: Any, schema: Any, said: str) -> None:
    started = time.monotonic()
    for path, body in (
        ("/v1/extract", {"text": TEXT, "schema": schema}),
        (CHAT, chat(response_format={"type": "json_schema", "json_schema": {"schema": schema}}, stream=True)),
    ):
        refused = ask(path, body)
        assert refused.status_code == 400 and said in error(refused)["message"]
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/extract", b"{", 400, "not JSON"),
        ("/v1/extract", b"\xff", 400, "not UTF-8"),
        ("/v1/extract", b'{"text": "a", "text": "b"}', 400, "duplicate key"),
        ("/v1/extract", b"[" * 50_000, 400, "more than 200 levels"),
        ("/v1/extract", b"[]", 400, "must be a JSON object"),
        ("/v1/extract", {"schema": SCHEMA}, 400, "text: Field required"),
        ("/v1/extract", {"text": 1, "schema": SCHEMA}, 400, "text: Input should be a valid string"),
        ("/v1/extract", {"text": "%PDF-1.7\n1 0 obj", "schema": SCHEMA}, 400, "text: this is a PDF, not text"),
        ("/v1/extract", {"text": "\x89PNG\r\n\x1a\n\0\0\0\r", "schema": SCHEMA}, 400, "turn it into text first"),
        ("/v1/extract", {"text": " \n", "schema": SCHEMA}, 400, "text: the document is empty"),
        ("/v1/extract", {"text": TEXT, "schema": SCHEMA, "constraint": "none"}, 400, "constraint: Input should be"),
        ("/v1/extract", {"text": "word " * 5000, "schema": SCHEMA}, 400, "over the 4,095 that this model reads"),
        ("/v1/extract", {"text": TEXT, "schema": SCHEMA, "max_tokens": 100_000}, 400, "not within 1 to 1024"),
        (CHAT, {"messages": []}, 400, "messages: List should have at least 1 item"),
        (CHAT, chat(messages=[{"role": "user", "content": "%PDF-1.4"}]), 400, "messages: this is a PDF, not text"),
        (CHAT, chat(messages=[{"role": "system", "content": "x"}]), 400, "none of them is the user's"),
        (CHAT, chat(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), 400, "only parts of type text"),
        (CHAT, chat(response_format={"type": "json_schema"}), 400, "json_schema.schema is missing"),
        (CHAT, chat(max_tokens=-1), 400, "max_tokens"),
        (CHAT, chat(logprobs=True), 400, "logprobs"),
        (CHAT, chat(tools=[TOOLS[1], TOOLS[1]]), 400, "two functions have one name"),
        (CHAT, chat(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "no"}}), 400, "not among"),
        ("/v1/completions", {"prompt": ""}, 400, "one text that is not empty"),
        ("/v1/completions", {"prompt": ["a", "b"]}, 400, "one text"),
        ("/v1/completions", {"prompt": "word " * 5000, "stream": True}, 400, "over the 4,095"),
        ("/v1/nothing", {}, 404, "no such page"),
        ("/metrics", {}, 405, "asked in another way"),
    ],
)
def test_what_is_refused(ask: Any, path: str, body: Any, status: int, said: str) -> None:
    refused = ask(path, body, headers={"Content-Type": "application/json"})
    assert refused.status_code == status and said in error(refused)["message"], refused.text


def test_parts_of_text_are_one_document(ask: Any) -> None:
    parts = [{"type": "text", "text": TEXT}]
    told = [ask(CHAT, chat(messages=[{"role": "user", "content": content}])).json() for content in (TEXT, parts)]
    assert told[0]["choices"][0]["message"] == told[1]["choices"][0]["message"]


def test_heads_that_are_refused(ask: Any) -> None:
    body = {"text": TEXT, "schema": SCHEMA}
    typed = ask("/v1/extract", json.dumps(body).encode(), headers={"Content-Type": "text/plain"})
    assert typed.status_code == 415
    large = ask("/v1/extract", {"text": "x" * 3000, "schema": SCHEMA}, limits=Limits(body_bytes=2000))
    assert large.status_code == 413 and "over 2,000 bytes" in error(large)["message"]
    full = ask("/v1/extract", body, limits=Limits(waiting=0))
    assert full.status_code == 429 and int(full.headers["Retry-After"]) >= 1
    assert ask("/healthz", hosts={"localhost"}).status_code == 403
    assert ask("/healthz", hosts={"127.0.0.1"}).status_code == 200


@pytest.mark.parametrize(
    "shown", [None, "Bearer wrong", "Bearer", "Basic secret", "Bearer secret2", "Bearer s\u00e9cret"]
)
def test_a_key(ask: Any, shown: str | None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    given = {} if shown is None else {"Authorization": shown.encode("latin-1")}
    for path in ("/v1/models", "/metrics", "/v1/other"):
        refused = ask(path, key="secret", headers=given)
        assert refused.status_code == 401 and refused.headers["WWW-Authenticate"] == "Bearer"
        assert error(refused)["code"] == "invalid_api_key" and "secret" not in refused.text
    assert ask("/v1/models", key="secret", headers={"Authorization": "bearer secret"}).status_code == 200
    assert ask("/healthz", key="secret").json() == {"status": "ok", "needs_key": True}
    assert "secret" not in caplog.text


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "/static/playground.html", "/%00",
                                  "/v1/models/../../x", "/v1/models/..%2f", "/docs", "/openapi.json"])  # fmt: skip
def test_no_path_leads_to_a_file(ask: Any, path: str) -> None:
    answer = ask(path)
    assert answer.status_code == 404 and error(answer)


def test_the_page_runs_nothing_but_its_own(ask: Any) -> None:
    answer = ask("/")
    policy = answer.headers["Content-Security-Policy"]
    assert answer.status_code == 200 and "unsafe" not in policy and "default-src 'none'" in policy
    assert len(re.findall(r"'sha256-[\w+/]{43}='", policy)) == 2
    html = page.load().html
    assert not re.search(r"\son\w+=|style=|https?://|javascript:|innerHTML|@import|\burl\(|localStorage", html)
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for name in re.findall(r'(?:for|aria-labelledby|aria-describedby)="([^"]+)"', html) + re.findall(
        r'\$\("(\w+)"\)', html
    ):
        assert name in ids, name
    for headers in (answer.headers, ask("/healthz").headers, ask("/none").headers):
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
        assert (
            "access-control-allow-origin" not in headers
            and "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        )


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_pages_colours_can_be_read() -> None:
    themes = re.findall(r":root \{(.*?)\}", page.load().html, re.DOTALL)
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", theme))
        pairs = [(ink, back) for ink in ("ink", "soft", "act", "doubt", "wrong") for back in ("back", "card")]
        for one, other in [*pairs, ("on-act", "act"), ("mark-ink", "mark")]:
            dark, bright = sorted((luminance(colours[one]), luminance(colours[other])))
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (one, other)
        for back in ("back", "card"):
            for one in ("line", "ring"):
                dark, bright = sorted((luminance(colours[one]), luminance(colours[back])))
                assert (bright + 0.05) / (dark + 0.05) >= 3, (one, back)


def test_figures(exported: Exported, workers: Callable[..., Pool]) -> None:
    app = make_app(exported, workers(), Limits())

    async def go() -> str:
        async with client(app) as asked:
            for _ in range(3):
                await asked.post("/v1/extract", json={"text": TEXT, "schema": SCHEMA})
            await asked.post("/v1/extract", content=b"{", headers={"Content-Type": "application/json"})
            for i in range(20):
                await asked.get(f"/nothing/{i}")
            return (await asked.get("/metrics")).text

    text = asyncio.run(go())
    assert 'slmbench_requests_total{route="/v1/extract",status="200"} 3.0' in text
    assert 'slmbench_requests_total{route="/v1/extract",status="400"} 1.0' in text
    assert 'slmbench_requests_total{route="other",status="404"} 20.0' in text
    assert 'slmbench_request_seconds_count{route="/v1/extract"} 4.0' in text and "slmbench_queue_length 0.0" in text
    assert float(re.findall(r'slmbench_tokens_total\{kind="output"\} (\S+)', text)[0]) > 0 and "nothing" not in text


def test_many_at_once_with_a_short_queue(exported: Exported, workers: Callable[..., Pool]) -> None:
    pooled = workers(5)
    app = make_app(exported, pooled, Limits(waiting=5))

    async def go() -> list[httpx.Response]:
        async with client(app) as asked:
            bodies = ({"text": f"{TEXT} {i}", "schema": SCHEMA} for i in range(200))
            return await asyncio.wait_for(
                asyncio.gather(*(asked.post("/v1/extract", json=body) for body in bodies)), 120
            )

    answers = asyncio.run(go())
    counts = {status: sum(a.status_code == status for a in answers) for status in (200, 429)}
    assert sum(counts.values()) == 200 and counts[200] >= 5 and counts[429] > 0
    assert all(int(a.headers["Retry-After"]) >= 1 for a in answers if a.status_code == 429)
    assert all(validate(a.json()["json"], SCHEMA) == [] for a in answers if a.status_code == 200)
    wait_until(lambda: pooled.busy == 0)
    assert pooled.waiting == app.open == 0


def test_two_workers_answer_as_one(exported: Exported, workers: Callable[..., Pool]) -> None:
    async def go(over: Pool) -> list[Any]:
        async with client(make_app(exported, over)) as asked:
            bodies = [{"text": f"{TEXT} {i}", "schema": SCHEMA, "explain": True} for i in range(16)]
            answers = await asyncio.gather(*(asked.post("/v1/extract", json=body) for body in bodies))
        return [{**answer.json(), "timings": None} for answer in answers]

    alone = asyncio.run(go(workers()))
    with contextlib.closing(module.make_pool(exported, 2, 1, Limits())) as both:
        assert asyncio.run(go(both)) == alone


def test_answers_take_no_longer_than_they_may(ask: Any) -> None:
    limits = Limits(request_seconds=0.05)
    late = ask("/v1/extract", {"text": TEXT, "schema": LONG}, limits=limits)
    assert late.status_code == 504 and error(late)["code"] == "timeout"
    shape = {"type": "json_schema", "json_schema": {"schema": LONG}}
    told = events(ask(CHAT, chat(response_format=shape, stream=True), limits=limits).text)
    last = told[-1]
    assert isinstance(last, dict) and last["error"]["code"] == "timeout"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_the_worker(live: Any, stream: bool) -> None:
    server = live()
    body = chat(response_format={"type": "json_schema", "json_schema": {"schema": LONG}}, stream=stream)
    first, second = server.post(CHAT, body), server.post(CHAT, body)
    wait_until(lambda: server.pool.busy == 1 and server.pool.waiting == 1)
    if stream:
        assert b"200 OK" in first.recv(200)
    worker = server.pool.workers[0]
    job = worker.job
    second.close()
    wait_until(lambda: server.pool.waiting == 0)
    assert worker.job is job
    first.close()
    wait_until(lambda: server.pool.busy == 0, 5)
    assert job.unwanted.is_set()
    row = httpx.post(f"{server.url}/v1/extract", json={"text": TEXT, "schema": SCHEMA}).json()
    assert validate(row["json"], SCHEMA) == []
    figures = httpx.get(f"{server.url}/metrics").text
    if not stream:
        assert f'slmbench_requests_total{{route="{CHAT}",status="499"}} 2.0' in figures


def test_slow_bodies_are_cut_off(live: Any) -> None:
    server = live(Limits(body_seconds=0.3))
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(head("/v1/extract", 100) + b'{"text"')
        started = time.monotonic()
        said = b""
        while part := sock.recv(4096):
            said += part
    assert said.startswith(b"HTTP/1.1 408") and b"slow_body" in said and 0.2 < time.monotonic() - started < 5


def test_heads_that_never_come_are_cut_off(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    server = live()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost")
        assert sock.recv(100) == b""


def test_a_large_body_is_refused_over_a_wire(live: Any) -> None:
    server = live(Limits(body_bytes=10_000))
    answer = httpx.post(f"{server.url}/v1/extract", json={"text": "x" * 500_000, "schema": SCHEMA})
    assert answer.status_code == 413

    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 1000

    answer = httpx.post(f"{server.url}/v1/extract", content=parts(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_a_failure_is_told_without_its_text(
    exported: Exported, workers: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pooled = workers()

    def broken(*_: object) -> None:
        raise ValueError(TEXT)

    async def go(app: Any) -> list[httpx.Response]:
        async with client(app) as asked:
            return [await asked.post(CHAT, json=chat(stream=stream)) for stream in (False, True)]

    with monkeypatch.context() as patch:
        patch.setattr(pooled.workers[0].backend.engine, "forward", broken)
        for answer in asyncio.run(go(make_app(exported, pooled))):
            assert answer.status_code == 500 and error(answer)["code"] == "internal_error"
            assert TEXT not in answer.text
    assert "ValueError at test_serve.py" in caplog.text and TEXT not in caplog.text
    assert [answer.status_code for answer in asyncio.run(go(make_app(exported, pooled)))] == [200, 200]


def test_a_long_prompt_read_in_parts_gives_the_same(exported: Exported) -> None:
    request = exported.request(Example("a", f"{TEXT} " * 60, "", SCHEMA, None), 100, likelihoods=True)
    assert len(request.prompt_ids) > 3 * pool.CHUNK
    plain, watched = exported.backend(1), exported.backend(1)
    assert isinstance(plain, Decoder) and isinstance(watched, Decoder)
    sizes: list[int] = []
    forward = watched.engine.forward

    def noted(parts: list[Part]) -> Any:
        sizes.append(sum(len(part.ids) for part in parts))
        return forward(parts)

    watched.engine.forward = noted  # type: ignore[method-assign]
    watched.engine = Watched(watched.engine)
    (one,), (other,) = plain.generate([request]), watched.generate([request])
    assert (one.token_ids, one.log_likelihoods) == (other.token_ids, other.log_likelihoods)
    assert max(sizes) <= pool.CHUNK


def test_a_hostile_pattern_holds_nothing_up(ask: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"allOf": [{"const": "a" * 40}, {"type": "string", "pattern": "^((a+)+b|a*)$"}]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    started = time.monotonic()
    answer = ask("/v1/extract", {"text": TEXT, "schema": schema, "explain": True})
    assert answer.status_code in (200, 400) and time.monotonic() - started < 10


def test_parts_of_schemas() -> None:
    named = {"a": {"$ref": "#/$defs/b"}, "pattern": {"type": "string", "pattern": "x"}}
    schema = {"type": "object", "properties": named, "$defs": {"b": {"enum": [{"$ref": "#/$defs/b"}]}}}
    assert inlined(schema, schema)["properties"]["a"] == {"enum": [{"$ref": "#/$defs/b"}]}
    assert without_patterns(schema)["properties"]["pattern"] == {"type": "string"}
    with pytest.raises(Refused):
        checked([], "schema", Limits())


EVIL = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"properties": {"a": {"pattern": "x" * 1001}}}, "a pattern has 1,001 characters, over 1,000; give a smaller"),
        ({"properties": {"default": {"patternProperties": {"x" * 1001: True}}}}, "a pattern has 1,001 characters"),
        ({"properties": {"a": {"$ref": "#/properties/b/default"}, "b": {"default": EVIL}}}, "leads into values"),
        ({"properties": {"a": {"$ref": "#/$defs/b/enum/0"}}, "$defs": {"b": {"enum": [EVIL]}}}, "leads"),
        ({"properties": {"a": {"$ref": "#/%64efault"}}, "default": EVIL, "%64efault": {}}, "leads into values"),
        ({"properties": {"a": {"$dynamicRef": "#/default"}}, "default": EVIL}, "$dynamicRef is not followed"),
    ],
)
def test_no_pattern_is_hidden_from_the_bounds(schema: Any, said: str) -> None:
    with pytest.raises(Refused) as caught:
        checked({"type": "object", **schema}, "schema", Limits())
    assert caught.value.status == 400 and said in caught.value.message


def test_what_answers_are_validated_by_has_no_pattern() -> None:
    """Nor another dialect, in which a keyword that says nothing here may hold a schema."""
    named = {"default": {"$ref": "#/$defs/enum"}, "old": {"$schema": "http://json-schema.org/draft-07/schema#", **EVIL}}
    schema = {"type": "object", "properties": named, "$defs": {"enum": EVIL}}
    assert checked(schema, "schema", Limits()) is schema
    plain = without_patterns(schema)
    assert "pattern" not in json.dumps(plain) and "draft-07" not in json.dumps(plain)
    assert validate({"default": {"x": "a" * 60 + "!"}, "old": {"x": 1}}, plain) == ["old/x: 1 is not of type 'string'"]


def test_tools_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"a": {"$ref": "#/$defs/flag"}, "b": {"$ref": "#/$defs/flag"}}
    parameters = {"type": "object", "properties": flags, "$defs": {"flag": {"enum": [True] * 10}}}
    tools = [{"type": "function", "function": {"name": f"t{i}", "parameters": parameters}} for i in range(128)]
    written: list[Any] = []
    monkeypatch.setattr(asked, "inlined", lambda schema, root: written.append(schema) or inlined(schema, root))

    def tell(count: int) -> Any:
        served = asked.Served("m", None, Limits(schema_parts=200))
        return served.chat(json.dumps(chat(tools=tools[:count])).encode())

    assert tell(2).calls
    with pytest.raises(Refused) as caught:
        tell(128)
    assert caught.value.message.startswith("tools: with their references followed they have over 200 parts together;")
    assert len(written) < 10


def test_a_long_text_is_many_parts() -> None:
    """What is referred to a thousand times stands in the prompt as often."""
    schema = {
        "type": "object", "properties": {f"a{i}": {"$ref": "#/$defs/b"} for i in range(1000)},
        "$defs": {"b": {"enum": ["x" * 30_000]}},
    }  # fmt: skip
    with pytest.raises(Refused) as caught:
        checked(schema, "schema", Limits())
    assert "with its references followed it has" in caught.value.message


def test_sources_are_not_looked_for_once_nobody_waits() -> None:
    model: Any = SimpleNamespace(manifest={})
    worker = pool.Worker(model)
    worker.job = pool.Job(lambda worker: iter(()), print)
    wanted = asked.Wanted(TEXT, SCHEMA, 10, row=True, explain=True)
    completion = Completion("a", '{"kind":"order","urgent":true}', (), "stop", 1, 1, None, 0.1, 1)
    answered = answers._whole(model, wanted, worker, completion)
    assert answered.row is not None and len(answered.row["values"]) == 2
    worker.job.unwanted.set()
    with pytest.raises(pool.Stopped):
        answers._whole(model, wanted, worker, completion)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"port": 70_000}, "--port 70000"), ({"host": "no.such.host.invalid"}, "no such address"),
     ({"workers": 0}, "--workers 0"), ({"key": "a b"}, "no spaces"), ({"limits": Limits(waiting=0)}, "--queue 0"),
     ({"host": "192.0.2.1"}, "no address of this machine")],
)  # fmt: skip
def test_where_it_cannot_serve(model: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        module.serve(model, **changes)


def test_a_port_in_use(model: Path) -> None:
    with contextlib.closing(module.listen("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert taken.proto == socket.IPPROTO_TCP  # or every answer waits 40 ms for an acknowledgement
        with pytest.raises(BadInput, match=f"--port {port}: something listens there already"):
            module.serve(model, port=port)


def test_more_connections_than_are_held_are_told_to_wait(model: Path) -> None:
    """Each by the server's own answer, and it is seen to be there all the while."""
    code = "from slmbench.serve import *\nimport sys\n"
    code += "serve(Path(sys.argv[1]), port=0, threads=1, limits=Limits(connections=4, waiting=2))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), module.KEY: ""}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(model)], stderr=subprocess.PIPE, text=True, env=environment
    )
    body = json.dumps({"text": TEXT, "schema": SCHEMA})
    try:
        assert process.stderr is not None
        port = int(re.findall(r":(\d+)/", process.stderr.readline())[0])
        with contextlib.ExitStack() as stack:
            ways = [http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(30)]
            for way in ways:
                stack.enter_context(contextlib.closing(way))
                way.connect()
            for way in ways:
                way.request("POST", "/v1/extract", body, {"Content-Type": "application/json"})
            assert httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=60).status_code == 200
            answers = [way.getresponse() for way in ways]
            assert {answer.status for answer in answers} == {200, 429}
            assert all(answer.getheader("Retry-After") for answer in answers if answer.status == 429)
    finally:
        process.kill()
        process.communicate()


def test_it_ends_when_what_is_begun_is_answered(model: Path) -> None:
    code = "from slmbench.serve import *\nimport sys\n"
    code += "serve(Path(sys.argv[1]), port=0, threads=1, limits=Limits(answer_tokens=3500))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), module.KEY: ""}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(model)], stderr=subprocess.PIPE, text=True, env=environment
    )
    closing = contextlib.ExitStack()
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        port = int(re.findall(r":(\d+)/", first)[0])
        body = {"text": TEXT, "schema": LONG}
        asked = closing.enter_context(contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)))
        asked.request("POST", "/v1/extract", json.dumps(body), {"Content-Type": "application/json"})
        wait_until(lambda: "slmbench_answering 1.0" in httpx.get(f"http://127.0.0.1:{port}/metrics").text)
        process.send_signal(signal.SIGTERM)

        def refused() -> bool:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return False
            return True

        wait_until(refused)
        answer = asked.getresponse()
        assert answer.status == 200 and len(json.loads(answer.read())["json"]["all"]) == 400
        assert process.wait(30) == 0 and process.stderr.read() == "slmbench: ended.\n"
    finally:
        closing.close()
        process.kill()
        process.communicate()


def test_the_policys_hashes_are_the_pages() -> None:
    found = page.load()
    for part in re.findall(r"<(?:script|style)>(.*?)</(?:script|style)>", found.html, re.DOTALL):
        digest = hashlib.sha256(part.encode()).digest()
        assert base64.b64encode(digest).decode() in found.policy
