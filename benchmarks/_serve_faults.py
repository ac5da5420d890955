"""What clients and folders get wrong, each done to a running server while a client goes on as it should."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from _serving import (
    EXTRACT,
    HOST,
    MIB,
    START_SECONDS,
    Answer,
    Document,
    Normal,
    Server,
    command,
    exchange,
    request_head,
    request_headers,
)

from slmbench.core import KEY, SlmbenchError
from slmbench.exported import MANIFEST
from slmbench.progress import say
from slmbench.serving.limits import Limits
from slmbench.serving.protocol import HEAD_SECONDS

SLACK_SECONDS = 3.0
"""Beyond what the server states, for a machine that is busy."""
QUICK_SECONDS = 10.0
"""Within which anything else is refused, the second at most that the server goes on reading included."""
LINE_BYTES = 200_000_000
MOST_MIB = 64.0
"""More than that the server's memory may not grow while it refuses that line."""
LEFT_SECONDS = 15.0
"""Within which no connection is left open and nothing waits, once all clients have gone."""
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": False}
PATHS = ("/../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "/v1/models/../../../etc/passwd", "/static/../serve.py")


@dataclass(frozen=True)
class Outcome:
    """What came of a fault. `status` is HTTP's or a process's exit code; None where there was no answer."""

    status: int | None
    sentence: str
    seconds: float
    missed: str = ""
    """What is required and was not so."""


@dataclass(frozen=True)
class Fault:
    """A fault: what it is, how it is done, and what is asked of the outcome (no status: the connection is closed).

    `names` is what the sentence has to name.
    """

    says: str
    act: Callable[[Server], Outcome]
    status: int | None = None
    within: float = QUICK_SECONDS
    names: str = ""

    def judged(self, server: Server) -> Outcome:
        """The outcome, with what of it is not as it should be."""
        started = time.perf_counter()
        try:
            found = self.act(server)
        except OSError as error:
            found = Outcome(None, "", time.perf_counter() - started, f"it ended with {type(error).__name__}")
        missed = [found.missed] if found.missed else []
        if found.status != self.status:
            missed.append(f"the status is {found.status}, not {self.status}")
        if self.status is not None and not is_sentence(found.sentence):
            missed.append("it is not told in one sentence")
        elif self.names not in found.sentence:
            missed.append(f"{self.names} is not named")
        if found.seconds > self.within:
            missed.append(f"it took {found.seconds:.1f} s, over {self.within:.0f}")
        return replace(found, missed="; ".join(missed))


def is_sentence(text: str) -> bool:
    """Whether a text is one line that a person can act on."""
    return bool(text) and "\n" not in text and text.endswith(".") and "Traceback" not in text and len(text) <= 500


def posted(body: bytes, kind: str = "application/json", key: str | None = None) -> Callable[[Server], Outcome]:
    """A body for /v1/extract that declares its length. `key` is shown in place of the server's; empty for none."""

    def act(server: Server) -> Outcome:
        shown = request_headers(server.key if key is None else key, kind)
        if key == "":
            del shown["Authorization"]
        return _told(
            exchange(server.port, [request_head("POST", EXTRACT, {**shown, "Content-Length": str(len(body))}), body])
        )

    return act


def asked(**body: Any) -> Callable[[Server], Outcome]:
    """The same of JSON."""
    return posted(json.dumps(body).encode())


def _told(answer: Answer) -> Outcome:
    return Outcome(answer.status, answer.sentence, answer.seconds)


def chunked(server: Server) -> Outcome:
    """A body over the limit that does not declare its length."""
    piece = b"x" * 100_000
    parts = [b"%x\r\n%s\r\n" % (len(piece), piece)] * (Limits().body_bytes // len(piece) + 2)
    said = {**request_headers(server.key), "Transfer-Encoding": "chunked"}
    return _told(exchange(server.port, [request_head("POST", EXTRACT, said), *parts, b"0\r\n\r\n"]))


def long_line(server: Server) -> Outcome:
    """A line of 200 MB, sent whole as long as the server lets it be; its memory is looked at meanwhile."""
    before, most, ends = server.resident(), [0], threading.Event()

    def look() -> None:
        with contextlib.suppress(SlmbenchError):
            while not ends.wait(0.02):
                most[0] = max(most[0], server.resident())

    def pieces() -> Iterator[bytes]:
        yield request_head("POST", EXTRACT, {**request_headers(server.key), "Content-Length": str(LINE_BYTES)})
        yield b'{"text": "'
        for _ in range(LINE_BYTES // 1_000_000):
            yield b"x" * 1_000_000

    watch = threading.Thread(target=look)
    watch.start()
    try:
        found = _told(exchange(server.port, pieces()))
    finally:
        ends.set()
        watch.join()
    grown = (most[0] - before) / MIB
    return replace(found, missed=f"memory grew by {grown:.0f} MiB") if grown > MOST_MIB else found


def paths(server: Server) -> Outcome:
    """Paths that lead out of a folder; the first that is answered otherwise than with 404 is told."""
    outcome = Outcome(None, "", 0.0)
    for path in PATHS:
        answer = exchange(server.port, [request_head("GET", path, request_headers(server.key))])
        outcome = replace(_told(answer), seconds=outcome.seconds + answer.seconds)
        if answer.status != 404:
            return replace(outcome, missed=f"GET {path}")
    return outcome


def slow(server: Server, first: bytes, text: bytes) -> Answer:
    """`first` at once, then a byte a second."""
    return exchange(server.port, _bytes_of(first, text), pause=1.0)


def _bytes_of(first: bytes, text: bytes) -> Iterable[bytes]:
    if first:
        yield first
    yield from (text[i : i + 1] for i in range(len(text)))


def slow_head(server: Server) -> Outcome:
    """A head of which a byte a second comes."""
    return _told(slow(server, b"", request_head("GET", "/healthz", {"X-Long": "x" * 200})))


def slow_body(server: Server) -> Outcome:
    """A body of which a byte a second comes."""
    first = request_head("POST", EXTRACT, {**request_headers(server.key), "Content-Length": "200"})
    return _told(slow(server, first, b'{"text": "' + b"x" * 190))


def gone(server: Server, body: bytes) -> Outcome:
    """A client that goes away within its body, and one that does while it waits; the server counts both as 499."""
    name = f'slmbench_requests_total{{route="{EXTRACT}",status="499"}}'
    before, started = server.figure(name), time.perf_counter()
    first = request_head("POST", EXTRACT, {**request_headers(server.key), "Content-Length": str(len(body))})
    for sent in (first + body[: len(body) // 2], first + body):
        with socket.create_connection((HOST, server.port), timeout=QUICK_SECONDS) as sock:
            sock.sendall(sent)
            time.sleep(0.02)
    while time.perf_counter() - started < QUICK_SECONDS:
        if (counted := server.figure(name) - before) >= 2:
            return Outcome(None, "", time.perf_counter() - started)
        time.sleep(0.05)
    return Outcome(None, "", time.perf_counter() - started, f"{counted:.0f} of 2 were noticed")


def ended(words: Sequence[str], hidden: Mapping[str, str]) -> Outcome:
    """What a server says that cannot start; `hidden` are words of this machine and what stands for them."""
    started = time.perf_counter()
    environment = {**os.environ, KEY: ""}
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=START_SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(None, "", time.perf_counter() - started, "it did not end")
    said = (done.stderr + done.stdout).strip()
    for word, shown in hidden.items():
        said = said.replace(word, shown)
    return Outcome(done.returncode, said, time.perf_counter() - started)


def faults(model: Path, longest: bytes) -> dict[str, Fault]:
    """All of them by name. `longest` is the body of a document whose answer takes a while."""
    limits = Limits()
    deep: dict[str, Any] = {"type": "boolean"}
    for _ in range(limits.schema_depth):
        deep = {"type": "object", "properties": {"a": deep}}
    over = json.dumps({"text": "x" * limits.body_bytes, "schema": SCHEMA}).encode()
    return {
        "not_json": Fault("a body that is not JSON", posted(b'{"text": '), 400),
        "image": Fault("an image as the body", posted(PNG), 400),
        "image_type": Fault("an image as the body, and said to be one", posted(PNG, "image/png"), 415),
        "image_as_text": Fault("an image's bytes as the text", asked(text=PNG.decode("latin-1"), schema=SCHEMA), 400),
        "pdf_as_text": Fault("a PDF's bytes as the text", asked(text=PDF.decode("latin-1"), schema=SCHEMA), 400),
        "body_too_long": Fault("a body over the limit", posted(over), 413),
        "body_too_long_chunked": Fault("the same in chunks, its length not declared", chunked, 413),
        "long_line": Fault(f"a line of {LINE_BYTES // 1_000_000} MB", long_line, 413),
        "no_key": Fault("no key", posted(longest, key=""), 401),
        "wrong_key": Fault("a wrong key", posted(longest, key="wrong"), 401),
        "paths": Fault("../ in the path", paths, 404),
        "schema_too_deep": Fault("a schema that is too deep", asked(text="a", schema=deep), 400),
        "schema_empty": Fault("a schema with nothing to extract", asked(text="a", schema={"type": "object"}), 400),
        "slow_head": Fault("a head, a byte a second", slow_head, None, HEAD_SECONDS + SLACK_SECONDS),
        "slow_body": Fault("a body, a byte a second", slow_body, 408, limits.body_seconds + SLACK_SECONDS),
        "gone": Fault("clients that go away in the middle", lambda server: gone(server, longest)),
        "port_in_use": Fault(
            "a second server on the port", lambda s: ended(command(model, s.port), {str(s.port): "PORT"}), 2,
            START_SECONDS, "PORT",
        ),
    }  # fmt: skip


def files_missing(model: Path) -> Iterator[tuple[str, Fault]]:
    """A model's folder without one of its files, each in turn and there until the next is asked for; nothing is copied
    where links can be made."""
    for path in sorted(path for path in model.iterdir() if path.is_file()):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "model"
            shutil.copytree(model, folder, copy_function=linked)
            (folder / path.name).unlink()
            words = command(folder, 0)
            says = "a model without its manifest" if path.name == MANIFEST else f"a model without {path.name}"
            act = lambda _, words=words, folder=folder: ended(words, {str(folder): "MODEL"})  # noqa: E731
            yield f"without_{path.name}", Fault(says, act, 2, START_SECONDS, path.name)


def linked(source: str, target: str) -> None:
    """A hard link, or a copy where the disk is another."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def measured(server: Server, model: Path, documents: Sequence[Document]) -> dict[str, Any]:
    """Every fault's outcome, and how a client was served meanwhile; then what is left of them."""
    longest = max((document.body for document in documents), key=len)
    files, found = server.open_files(), {}
    normal = Normal(server, documents)
    normal.start()
    try:
        for name, fault in itertools.chain(faults(model, longest).items(), files_missing(model)):
            found[name] = beside(server, fault, normal)
            say(f"fault      {name}: {'; '.join(found[name]['missed']) or 'as it should be'}")
    finally:
        normal.end()
    until = time.monotonic() + LEFT_SECONDS
    while (left := max(0, server.open_files() - files)) and time.monotonic() < until:
        time.sleep(0.2)
    return {"each": found, "normal_errors": dict(normal.errors), "connections_left": left}


def beside(server: Server, fault: Fault, normal: Normal) -> dict[str, Any]:
    """A fault while a client is served: before it, during it, and once more after its end."""
    normal.served_since(time.perf_counter())
    started, errors = time.perf_counter(), normal.errors.total()
    outcome = fault.judged(server)
    after = normal.served_since(time.perf_counter())
    seconds = normal.served_since(started) if after else []
    missed = [outcome.missed] if outcome.missed else []
    if not after:
        missed.append("the other client was not served any more")
    if failed := normal.errors.total() - errors:
        missed.append(f"the other client met {failed} errors")
    return {
        "says": fault.says,
        "status": outcome.status,
        "sentence": outcome.sentence,
        "seconds": round(outcome.seconds, 3),
        "others_answered": len(seconds),
        "others_longest_s": round(max(seconds, default=0.0), 3),
        "missed": missed,
    }
