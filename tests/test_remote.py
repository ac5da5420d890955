"""Models on servers: the same answers as from the folder, and one sentence for whatever a server does instead."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from mail_schema import SCHEMA

from slmbench import serve
from slmbench.backends import native
from slmbench.backends import openai as module
from slmbench.bench import bench, examples_of
from slmbench.core import KEY, MOST_TOKENS, BadInput, Example
from slmbench.documents import Document
from slmbench.exported import load_exported
from slmbench.extract import Asked, Extractor
from slmbench.remote import Remote, checked_url, open_model
from slmbench.schema import validate
from slmbench.serving.app import make_app
from slmbench.serving.limits import Limits
from slmbench.serving.protocol import Patient
from slmbench.tasks.edge_intent import labels
from slmbench.template import instruction_text, prompt_text

ours = pytest.mark.skipif(native.compiled() is None, reason="no C compiler")
VALUE = {"kind": "order", "urgent": True}
SECRET = "sk-a-key-of-the-tests-own"
EDGE_JSON = Path(str(serve.__file__)).parent / "tasks" / "edge_json"


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another server's key would be is set, and that of this one is not."""
    monkeypatch.delenv(KEY, raising=False)
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "of-another")


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again once, at once."""
    monkeypatch.setattr(module, "RETRIES", 1)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.0)


def mails(folder: Path, texts: list[str]) -> Path:
    path = folder / "mails.jsonl"
    path.write_text("".join(json.dumps({"id": f"m{i}", "text": text}) + "\n" for i, text in enumerate(texts)))
    return path


def read(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# Our own server


@pytest.fixture(scope="module")
def folder(wide_exports: Path) -> Path:
    return wide_exports / "export" / "int8"


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[str]:
    """`slmbench serve` of the folder in a thread, with a key: its address."""
    exported = load_exported(folder)
    listener = serve.listen("127.0.0.1", 0)
    with contextlib.closing(serve.make_pool(exported, 1, 1, Limits())) as pool:
        config = uvicorn.Config(
            make_app(exported, pool, key=SECRET), http=Patient, ws="none", loop="asyncio", lifespan="off",
            access_log=False, log_config=None,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"openai:http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)


@ours
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.usefixtures("key")
def test_our_server_gives_what_its_folder_gives(
    folder: Path, served: str, tmp_path: Path, schema_file: Path, slmbench: Callable[..., Any], batch: int
) -> None:
    texts = [f"praise number {i} {{text}} 🍵, urgent: yes" for i in range(6)]
    texts[2:2] = ["", "word " * 5000, "half a \ud83c character"]
    source = mails(tmp_path, texts)
    here = slmbench("extract", folder, source, "--schema", schema_file)
    there = slmbench("extract", "wide", source, "--schema", schema_file, "--backend", served, "--batch", batch)
    assert here.code == there.code == 0 and there.err == "9 documents, 3 failed\n"
    assert [row.get("json") for row in read(there.out)] == [row.get("json") for row in read(here.out)]
    assert [row["id"] for row in read(there.out)] == [row["id"] for row in read(here.out)]
    assert sum("json" in row for row in read(there.out)) == 6
    errors = [row["error"] for row in read(there.out) if "error" in row]
    assert "the document is empty" in errors[0] and "over the 4,095 that this model reads" in errors[1]
    assert "not JSON (a lone surrogate" in errors[2] or "half a character" in errors[2]


@ours
@pytest.mark.usefixtures("key")
def test_the_file_is_of_one_server_and_model(
    served: str, tmp_path: Path, schema_file: Path, slmbench: Callable[..., Any]
) -> None:
    source, out = mails(tmp_path, ["an order", "praise"]), tmp_path / "rows.jsonl"
    command = ["extract", "wide", source, "--schema", schema_file, "--out", out]
    assert slmbench(*command, "--backend", served).code == 0
    cursor = json.loads((tmp_path / ".rows.jsonl.cursor.json").read_text())["made_of"]
    url = served.removeprefix("openai:") + "/v1"
    assert cursor["model"] == {"server": url, "model": "wide"} and cursor["constraint"] == "schema"
    assert slmbench(*command, "--backend", f"{served}/v1/").code == 0  # the same address, and nothing is left to do
    with Fake(models=(404, {}, {})) as other:
        refused = slmbench(*command, "--backend", other.backend)
    assert refused.code == 2 and "begun with other model" in refused.sentence
    assert all(SECRET not in path.read_text() for path in tmp_path.iterdir())


@ours
@pytest.mark.usefixtures("key")
def test_values_have_their_places_and_no_confidence(
    served: str, tmp_path: Path, schema_file: Path, slmbench: Callable[..., Any]
) -> None:
    text = "This is praise, an order and a complaint: urgent yes, or no."
    source = mails(tmp_path, [text])
    command = ["extract", "wide", source, "--schema", schema_file, "--backend", served]
    (row,) = read(slmbench(*command, "--explain").out)
    kind, urgent = row["values"]
    assert text[slice(*kind["span"])] == kind["value"] == row["json"]["kind"] and urgent["path"] == "/urgent"
    assert row["confidence"] is kind["confidence"] is urgent["confidence"] is None
    doubtful = slmbench(*command, "--min-confidence", "0.5", "--out", tmp_path / "o", "--review", tmp_path / "r")
    assert doubtful.code == 2 and "knows no confidence" in doubtful.sentence


@ours
@pytest.mark.usefixtures("key")
def test_bench_scores_a_servers_answers(
    folder: Path, served: str, data_folder: Path, slmbench: Callable[..., Any]
) -> None:
    words = ["--split", data_folder / "exam.jsonl", "--schemas", EDGE_JSON / "schemas", "--rows", 3]
    command = ["bench", "wide", "--backend", served, *words, "--task", "edge_json"]
    result = json.loads(slmbench(*command, "--batch", 2, "--json").out)
    url = served.removeprefix("openai:") + "/v1"
    assert (result["server"], result["model"], result["constraint"]) == (url, "wide", "schema")
    assert (result["documents"], result["batch"], result["failed"]) == (3, 2, 0)
    assert result["prompt_tokens"] > 50 and result["output_tokens"] > 1 and result["peak_memory_gib"] is None
    told = slmbench(*command)
    assert f"server         {url}, wide; asked for: schema" in told.out and "weights" not in told.out
    here, there = load_exported(folder), open_model("wide", served, task="edge_json")
    examples = examples_of(there, str(words[1]), EDGE_JSON / "schemas", 3)
    one, other = bench(here, examples)[1], bench(there, examples)[1]
    for a, b in zip(one, other, strict=True):  # an answer may be longer where the gold's tokens are not known
        assert b["output"].startswith(a["output"][:-3]) and (b["server"], b["model"]) == (url, "wide")
        assert b["prompt_tokens"] == a["prompt_tokens"] and "server" not in a
    unknown = slmbench("bench", "wide", "--backend", served)
    assert unknown.code == 2 and "name the task that its answers are of with --task" in unknown.sentence
    sure = slmbench(*command, "--confidence")
    assert sure.code == 2 and "knows no confidence" in sure.sentence


@ours
def test_a_key_that_is_missing_or_wrong(
    served: str, tmp_path: Path, schema_file: Path, slmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["extract", "wide", mails(tmp_path, ["a"]), "--schema", schema_file, "--backend", served]
    said = slmbench(*command)
    assert said.code == 2 and said.sentence.endswith(f"it asks for a key; set {KEY} (401).") and not said.out
    monkeypatch.setenv(KEY, "wrong-key")
    said = slmbench(*command)
    assert said.code == 2 and f"it refuses the key that {KEY} holds" in said.sentence and "wrong-key" not in said.err
    monkeypatch.setenv(KEY, "two words")
    said = slmbench(*command)
    assert said.code == 2 and "no spaces" in said.sentence and "two words" not in said.err


# llama.cpp


@pytest.fixture(scope="module")
def llama(wide_exports: Path) -> Iterator[tuple[str, str]]:
    """A server of llama.cpp: (its address, its name for the model)."""
    xllamacpp = pytest.importorskip("xllamacpp")
    settings = xllamacpp.CommonParams()
    settings.model.path = str(wide_exports / "export" / "gguf-q8_0" / "model.gguf")
    settings.n_ctx, settings.n_parallel, settings.n_gpu_layers = 2048, 2, 0
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.warmup, settings.verbosity = False, 0
    settings.model_alias = {"tiny"}
    server = xllamacpp.Server(settings)
    yield f"openai:{server.listening_address}", "tiny"
    del server


@pytest.mark.parametrize("batch", [1, 2])
def test_llama_cpp_answers_under_the_schema(
    llama: tuple[str, str], tmp_path: Path, schema_file: Path, slmbench: Callable[..., Any], batch: int
) -> None:
    backend, name = llama
    source = mails(tmp_path, ["an order", "word " * 3000, "praise, urgent", "a complaint"])
    said = slmbench("extract", name, source, "--schema", schema_file, "--backend", backend, "--batch", batch)
    rows = read(said.out)
    assert said.code == 0 and [row["id"] for row in rows] == ["m0", "m1", "m2", "m3"]
    assert "it says 400" in rows[1]["error"]
    assert all(validate(row["json"], SCHEMA) == [] and "invalid" not in row for row in (rows[0], *rows[2:]))


def test_llama_cpp_is_scored(llama: tuple[str, str], data_folder: Path, slmbench: Callable[..., Any]) -> None:
    backend, name = llama
    words = ["--split", data_folder / "exam.jsonl", "--schemas", EDGE_JSON / "schemas", "--rows", 2, "--json"]
    said = slmbench("bench", name, "--backend", backend, *words, "--task", "edge_json", "--constraint", "free")
    result = json.loads(said.out)
    assert said.code == 0 and result["constraint"] == "free" and result["prompt_tokens"] > 50
    missing = slmbench("bench", "other", "--backend", backend, *words, "--task", "edge_json")
    assert missing.code == 2 and "it has no model other; it has tiny" in missing.sentence


# A server that does what it is told


class Fake:
    """A server whose replies are `reply(body)`: (status, headers, body), or what writes to the handler itself."""

    def __init__(self, reply: Callable[[dict[str, Any]], Any] | None = None, port: int = 0, models: Any = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.ending = threading.Event()
        self.models = chosen(models, (200, {}, {"object": "list", "data": [{"id": "m"}]}))
        self.reply = reply or (lambda body: answer(VALUE))
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.say(fake.models)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.asked.append(body)
                fake.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.say(fake.reply(body))

            def say(self, said: Any) -> None:
                if callable(said):
                    self.close_connection = True
                    with contextlib.suppress(OSError):
                        said(self)
                    return
                status, headers, body = said
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                kind = "text/html" if isinstance(body, str) else "application/json"
                for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                pass

        self.server = Quiet(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.backend = f"openai:{self.url}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.ending.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def chosen(value: Any, default: Any) -> Any:
    return default if value is None else value


def answer(value: Any, usage: Any = None, finish: str = "stop", **message: Any) -> tuple[int, dict[str, str], Any]:
    said = {"role": "assistant", "content": json.dumps(value), **message}
    choices = [{"index": 0, "message": said, "finish_reason": finish}]
    return 200, {}, {"choices": choices, **({} if usage is None else {"usage": usage})}


def broken_off(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{")


def text_of(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


@pytest.fixture
def extract(tmp_path: Path, schema_file: Path, slmbench: Callable[..., Any]) -> Callable[..., Any]:
    """`slmbench extract` of texts with a fake server."""

    def call(fake: Fake, texts: list[str], *words: object) -> Any:
        source = mails(tmp_path, texts)
        return slmbench("extract", "m", source, "--schema", schema_file, "--backend", fake.backend, *words)

    return call


def test_what_is_asked(extract: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with Fake() as fake:
        assert [row["json"] for row in read(extract(fake, ["one {text}"]).out)] == [VALUE]
        (body,) = fake.asked
        assert body["messages"] == [
            {"role": "system", "content": instruction_text(SCHEMA)}, {"role": "user", "content": "one {text}"},
        ]  # fmt: skip
        assert body["response_format"]["json_schema"]["schema"] == SCHEMA
        assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", MOST_TOKENS, 0)
        assert "authorization" not in fake.headers[0] and "of-another" not in str(fake.headers)
        monkeypatch.setenv(KEY, SECRET)
        extract(fake, ["one"], "--constraint", "free")
        assert "response_format" not in fake.asked[1] and fake.headers[1]["authorization"] == f"Bearer {SECRET}"
        assert "of-another" not in str(fake.headers)


def test_it_is_told_what_the_prompt_says() -> None:
    assert prompt_text("Hi", SCHEMA, "schema").startswith(f"{instruction_text(SCHEMA)}\n\nInput: Hi")
    assert '"intent":intent' in prompt_text("", labels(), "schema")
    assert "|".join(json.dumps(name) for name in labels()["properties"]["intent"]["enum"]) in instruction_text(labels())


@pytest.mark.usefixtures("hasty")
def test_rows_are_in_order_whatever_comes_first(extract: Callable[..., Any]) -> None:
    others = threading.Semaphore(0)

    def reply(body: dict[str, Any]) -> Any:
        if text_of(body) == "text 0":
            assert others.acquire(timeout=30) and others.acquire(timeout=30)
        else:
            others.release()
        return answer(VALUE | {"urgent": text_of(body) == "text 3"})

    with Fake(reply) as fake:
        rows = read(extract(fake, [f"text {i}" for i in range(7)], "--batch", 3).out)
    assert [row["id"] for row in rows] == [f"m{i}" for i in range(7)]
    assert [row["json"]["urgent"] for row in rows] == [i == 3 for i in range(7)]


def test_answers_are_looked_at_as_a_local_models(extract: Callable[..., Any]) -> None:
    replies = iter([
        answer({"kind": "none"}), answer(None, content="Sure!"), answer(None, content="{", finish="length"),
        answer(None, content=None), answer(VALUE),
    ])  # fmt: skip
    with Fake(lambda _: next(replies)) as fake:
        said = extract(fake, list("abcde"))
    rows = read(said.out)
    assert said.code == 0 and rows[0]["json"] == {"kind": "none"} and rows[0]["invalid"]
    assert [row.get("error") for row in rows] == [
        None, "the answer is no JSON.", "the answer was cut off at its limit.", "the answer is no JSON.", None,
    ]  # fmt: skip
    assert rows[1]["output"] == "Sure!"


@pytest.mark.usefixtures("hasty")
def test_a_busy_server_is_asked_again(extract: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("openai._base_client.time.sleep", waited.append)
    busy = (429, {"Retry-After": "7"}, {"error": {"message": "busy"}})
    replies = iter([busy, answer(VALUE)])
    with Fake(lambda _: next(replies)) as fake:
        said = extract(fake, ["one"])
    assert said.code == 0 and read(said.out)[0]["json"] == VALUE and len(fake.asked) == 2
    assert 7.0 in waited


FAULTS: dict[str, tuple[Any, str]] = {
    "fails": ((500, {}, {"error": {"message": f"it broke\nat {SECRET}"}}), "it says 500: it broke at (the key)."),
    "busy": ((429, {}, {"error": {"message": "busy"}}), "it says 429: busy."),
    "gateway": ((502, {}, "<html>Bad gateway</html>"), "it says 502."),
    "html": ((200, {}, "<html>Welcome</html>"), "it answers no JSON (text/html)"),
    "half": (broken_off, "it broke the connection off ("),
    "closed": (lambda handler: None, "it broke the connection off ("),
    "other": ((200, {}, {"error": {"message": "no"}}), "its answer has no message; it says {'error'"),
    "list": ((200, {}, []), "its answer has no message; it says []."),
    "parts": (answer(None, content=["a"]), "its answer has no message"),
    "refused": ((400, {}, {"error": {"message": "too long."}}), "it says 400: too long."),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.usefixtures("hasty", "key")
def test_what_one_document_met_is_its_rows(extract: Callable[..., Any], fault: str) -> None:
    reply, said = FAULTS[fault]
    with Fake(lambda body: reply if text_of(body) == "bad" else answer(VALUE)) as fake:
        mixed, alone = extract(fake, ["good", "bad", "good"]), extract(fake, ["bad"])
    rows = read(mixed.out)
    assert mixed.code == 0 and [row.get("json") for row in rows] == [VALUE, None, VALUE]
    assert said in rows[1]["error"] and rows[1]["error"].startswith(fake.url) and SECRET not in mixed.out
    assert alone.code == 1 and alone.err == "1 documents, 1 failed\n" and said in read(alone.out)[0]["error"]


@pytest.mark.usefixtures("hasty")
def test_a_server_that_fails_at_all_is_given_up(extract: Callable[..., Any]) -> None:
    with Fake(lambda _: (500, {}, {})) as fake:
        said = extract(fake, list("abcdefgh"))
    assert said.code == 1 and said.sentence.endswith("it says 500. That is document 5 in a row without an answer.")
    assert len(read(said.out)) == module.MOST_FAILED - 1 and len(fake.asked) == 2 * module.MOST_FAILED
    with Fake(lambda _: (400, {}, {})) as fake:  # it is there, and every document is wrong
        said = extract(fake, list("abcdefgh"))
    assert said.code == 1 and len(read(said.out)) == 8


@pytest.mark.parametrize("drips", [False, True])
@pytest.mark.usefixtures("hasty")
def test_nothing_waits_for_ever(monkeypatch: pytest.MonkeyPatch, drips: bool) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not fake.ending.wait(0.01):
            if drips:  # no single read takes long
                handler.wfile.write(b"X: 1\r\n")

    with Fake(lambda _: slow) as fake:
        there = Remote(fake.url, "m")
        backend = there.backend()
        monkeypatch.setattr(module, "SECONDS", 0.2)
        rows = Extractor(there, Asked(SCHEMA), backend).rows([Document("a", "one"), Document("b", "two")])
        assert [row["error"] for row in rows] == [f"{fake.url}: no answer within 0.2 s."] * 2


def test_the_client_gives_up_too() -> None:
    with Fake(lambda _: lambda handler: fake.ending.wait()) as fake:
        there = Remote(fake.url, "m")
        backend = there.backend()
        assert isinstance(backend, module.Server)
        backend.client = backend.client.with_options(timeout=0.05, max_retries=0)
        (row,) = Extractor(there, Asked(SCHEMA), backend).rows([Document("a", "one")])
    assert row["error"] == f"{fake.url}: no answer within {module.SECONDS:g} s."


@pytest.mark.usefixtures("hasty")
def test_a_server_that_is_away(extract: Callable[..., Any], tmp_path: Path) -> None:
    fake = Fake()
    fake.close()
    said = extract(fake, ["one", "two"], "--out", tmp_path / "new" / "rows.jsonl")
    assert said.code == 1 and f"{fake.url}: no server answers there" in said.sentence and not said.out
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("hasty")
def test_a_server_that_goes_away_is_waited_for_by_the_same_command(extract: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"

    def reply(body: dict[str, Any]) -> Any:
        if text_of(body) != "3":
            return answer(VALUE)
        fake.server.shutdown()
        fake.server.server_close()  # nothing new is let in
        return lambda handler: None

    with Fake(reply) as fake:
        said = extract(fake, list("012345"), "--out", out)
        assert said.code == 1 and "no server answers there" in said.sentence
        assert [row["id"] for row in read(out.read_text())] == ["m0", "m1", "m2"]
    with Fake(port=fake.port) as again:
        said = extract(again, list("012345"), "--out", out)
    assert said.code == 0 and [row["id"] for row in read(out.read_text())] == [f"m{i}" for i in range(6)]
    assert [text_of(body) for body in again.asked] == ["3", "4", "5"]


@pytest.mark.parametrize(
    ("models", "reply", "code", "said"),
    [
        ((200, {}, "<html>Hello</html>"), None, 2, "it answers no JSON (text/html); give the address of its API"),
        ((200, {}, {"hello": 1}), None, 2, "it lists its models as no server of this kind"),
        ((200, {}, {"data": [{"id": "a"}, {"id": "b"}]}), None, 2, "it has no model m; it has a, b."),
        ((404, {}, {}), (404, {}, {"detail": "Not Found"}), 2, "it has no model m, or nothing at this address (404)"),
        ((401, {}, {"error": {"message": f"wrong key {SECRET}"}}), None, 2, f"it refuses the key that {KEY} holds"),
        ((404, {}, {}), (403, {}, {"error": {"message": SECRET}}), 2, f"it refuses the key that {KEY} holds (403)"),
        ((503, {}, {"error": {"message": "loading"}}), None, 1, "it says 503: loading."),
        (broken_off, None, 1, "it broke the connection off"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("hasty", "key")
def test_what_every_document_would_meet_ends_it(
    extract: Callable[..., Any], models: Any, reply: Any, code: int, said: str
) -> None:
    with Fake(lambda _: reply, models=models) as fake:
        got = extract(fake, ["one", "two"])
    assert got.code == code and said in got.sentence and not got.out and SECRET not in got.err
    assert len(fake.asked) == (reply is not None)


def test_a_server_that_lists_no_models_is_asked(extract: Callable[..., Any]) -> None:
    with Fake(models=(404, {}, "<html>Not here</html>")) as fake:
        assert extract(fake, ["one"]).code == 0


def test_tokens_are_counted_where_they_are_told(data_folder: Path, slmbench: Callable[..., Any]) -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 8}
    command = ["--split", data_folder / "exam.jsonl", "--schemas", EDGE_JSON / "schemas", "--task", "edge_json"]
    for told, found in ((usage, (30, 8)), (None, (None, None)), ({"prompt_tokens": "x"}, (None, None))):
        with Fake(lambda _, told=told: answer(VALUE, told)) as fake:
            said = slmbench("bench", "m", "--backend", fake.backend, "--json", *command)
            assert [body["max_tokens"] for body in fake.asked if text_of(body) == "warm-up"] == [1] * len(
                {str(body["messages"][0]) for body in fake.asked}
            )
        result = json.loads(said.out)
        assert said.code == 0 and (result["prompt_tokens"], result["output_tokens"]) == found
        assert (result["batch"], result["failed"], result["first_token_p50_ms"]) == (1, 0, None)


def test_documents_without_an_answer_are_counted(data_folder: Path, slmbench: Callable[..., Any]) -> None:
    command = ["--split", data_folder / "exam.jsonl", "--schemas", EDGE_JSON / "schemas", "--task", "edge_json"]
    with Fake(lambda _: (400, {}, {})) as fake:
        said = slmbench("bench", "m", "--backend", fake.backend, *command)
    assert said.code == 1 and "no answer      6 documents; they count as wrong" in said.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backend", "openai:http://h", "--constraint", "grounded"], "no server knows it; take schema or free"),
        (["--backend", "openai:http://127.0.0.1:9", "--threads", 2], "--threads: how a server works"),
        (["--backend", "openai:http://127.0.0.1:9", "--batch", 0], "--batch 0: give 1 to 256"),
        (["--backend", "vllm:http://h"], "give openai:URL"),
        (["--backend", "http://h/v1"], "give openai:URL"),
        (["--backend", "openai:h:8000"], "give the server's address as"),
        (["--backend", "openai:http://h:eighty"], "this is no URL"),
        (["--backend", "openai:http://a b"], "give the server's address as"),
        (["--backend", f"openai:http://me:{SECRET}@h/v1"], f"without user, password, ? and #; set {KEY}"),
        (["--backend", f"openai:https://h/v1?key={SECRET}"], f"without user, password, ? and #; set {KEY}"),
    ],
)
def test_a_wrong_wish_is_one_sentence(
    tmp_path: Path, schema_file: Path, slmbench: Callable[..., Any], words: list[object], said: str
) -> None:
    out = tmp_path / "new" / "rows.jsonl"
    source = mails(tmp_path, ["one"])
    got = slmbench("extract", "m", source, "--schema", schema_file, "--out", out, *words)
    assert got.code == 2 and said in got.sentence and SECRET not in got.err and not out.parent.exists()


def test_wishes_of_bench(folder: Path, slmbench: Callable[..., Any]) -> None:
    got = slmbench("bench", folder, "--task", "edge_json")
    assert got.code == 2 and "--task edge_json: an exported model knows its own" in got.sentence
    words = ["--backend", "openai:http://127.0.0.1:9", "--task", "edge_json", "--draft-tokens", 4]
    got = slmbench("bench", "m", *words)
    assert got.code == 2 and "--draft-tokens: how a server works" in got.sentence
    got = slmbench("bench", "m", *words[:2], "--task", "edge_jsn")
    assert got.code == 2 and "there is no such task" in got.sentence


def test_a_schema_has_to_be_given(tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    with Fake() as fake:
        got = slmbench("extract", "m", mails(tmp_path, ["one"]), "--backend", fake.backend)
    assert got.code == 2 and f"m at {fake.url}: this model has no schema of its own" in got.sentence


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://Host:8000", "http://host:8000/v1"), ("http://h/", "http://h/v1"), ("https://h/v1/", "https://h/v1"),
        ("https://h/api/v3", "https://h/api/v3"), ("http://[::1]:80", "http://[::1]:80/v1"),
    ],
)  # fmt: skip
def test_addresses(given: str, url: str) -> None:
    assert checked_url(given) == checked_url(url) == url


def test_grounding_is_refused_where_it_is_asked_too() -> None:
    with Fake() as fake, pytest.raises(BadInput, match="no server grounds an answer"):
        list(Extractor(Remote(fake.url, "m"), Asked(SCHEMA, "grounded")).rows([Document("a", "text")]))


def test_an_answers_room() -> None:
    there = Remote("http://h/v1", "m")
    example = Example("a", "text", "s", SCHEMA, VALUE)
    assert there.gold_tokens(example) == len('{"kind":"order","urgent":true}') + 1
    assert there.request(example, 10**6).max_new_tokens == MOST_TOKENS and there.request(example, 9).prompt_ids == ()
    with pytest.raises(BadInput, match="half a character"):
        there.request(Example("a", "\ud83c", "s", SCHEMA, VALUE), 9)


def test_a_missing_client_is_one_sentence(extract: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with Fake() as fake:
        said = extract(fake, ["one"])
    assert said.code == 1 and "pip install 'slmbench[remote]'" in said.sentence
