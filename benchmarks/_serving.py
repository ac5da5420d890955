"""A real `slmbench serve` in a process of its own, and clients of it: kept connections, raw bytes, one that goes on."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import select
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from slmbench.core import KEY, SlmbenchError
from slmbench.serving.guard import SEND_SECONDS
from slmbench.serving.limits import Limits

HOST = "127.0.0.1"
EXTRACT = "/v1/extract"
PATIENCE = Limits().request_seconds + SEND_SECONDS + 20
"""Seconds after which a request hangs: over all that a server allows itself."""
START_SECONDS = 300.0
MIB = 2**20


def command(model: Path, port: int, options: Sequence[str] = ()) -> list[str]:
    """The verb."""
    return [sys.executable, "-m", "slmbench", "serve", str(model), "--port", str(port), *options]


class Server:
    """The server, started and ended as a context manager. Raises SlmbenchError where it does not start."""

    def __init__(self, model: Path, options: Sequence[str] = ()) -> None:
        self.key = secrets.token_urlsafe(16)
        self.words = command(model, 0, options)
        self.port = 0
        self.code: int | None = None
        """What it ended with."""
        self.said = ""
        """All that it said."""

    def __enter__(self) -> Self:
        self._log = tempfile.NamedTemporaryFile("w+", suffix=".log")
        environment = {**os.environ, KEY: self.key}
        self._process = subprocess.Popen(self.words, stdout=self._log, stderr=self._log, env=environment)
        try:
            until = time.monotonic() + START_SECONDS
            while not (found := re.search(r"at http://[^/]*:(\d+)/", self._heard())):
                if self._process.poll() is not None or time.monotonic() > until:
                    last = (self._heard().strip().splitlines() or ["it said nothing"])[-1]
                    raise SlmbenchError(f"the server did not start: {last}")
                time.sleep(0.05)
        except BaseException:
            self._end(signal.SIGKILL)
            raise
        self.port = int(found[1])
        self.tree = psutil.Process(self._process.pid)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        self._end(signal.SIGTERM if kind is None else signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        self._process.send_signal(how)
        try:
            self.code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.said = self._heard()
        self._log.close()

    def _heard(self) -> str:
        return Path(self._log.name).read_text(encoding="utf-8", errors="replace")

    def check(self) -> None:
        """Raise SlmbenchError where it has ended."""
        if self._process.poll() is not None:
            raise SlmbenchError(f"the server has ended by itself: {self._heard()[-500:]!r}")

    def resident(self) -> int:
        """Bytes that it and its children hold. Raises SlmbenchError where it has ended."""
        self.check()
        try:
            return sum(part.memory_info().rss for part in (self.tree, *self.tree.children(recursive=True)))
        except psutil.Error as error:
            raise SlmbenchError(f"the server's memory cannot be read ({type(error).__name__}).") from None

    def open_files(self) -> int:
        """Its descriptors, connections among them."""
        return int(self.tree.num_fds())

    def figure(self, name: str) -> float:
        """A figure of /metrics, labels and all as they stand there; 0 where it has none yet."""
        with contextlib.closing(Client(self)) as client:
            page = client.ask("GET", "/metrics").body.decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else 0.0


@dataclass(frozen=True)
class Answer:
    """What a client got. `status` is None where the connection ended without an answer."""

    status: int | None
    body: bytes
    seconds: float
    wait: str | None = None
    """Its Retry-After."""

    def json(self) -> Any:
        """Its body; None where that is no JSON."""
        with contextlib.suppress(ValueError):
            return json.loads(self.body)
        return None

    @property
    def sentence(self) -> str:
        """What an error says; empty where it says nothing in the shape that errors have."""
        value = self.json()
        error = value.get("error") if isinstance(value, dict) else None
        return str(error.get("message", "")) if isinstance(error, dict) else ""


class Client:
    """A client with one connection that is kept, and opened anew where it was closed."""

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection(HOST, server.port, timeout=PATIENCE)
        self._headers = request_headers(server.key)

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """An answer. Raises OSError and HTTPException where there is none."""
        started = time.perf_counter()
        sock = self._connection.sock
        if sock is not None and select.select([sock], [], [], 0)[0]:
            self._connection.close()  # an idle connection is closed by the server
        try:
            self._connection.request(method, path, body, self._headers)
            got = self._connection.getresponse()
            said = got.read()
        except BaseException:
            self._connection.close()
            raise
        return Answer(got.status, said, time.perf_counter() - started, got.getheader("Retry-After"))

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()


def request_headers(key: str, kind: str = "application/json") -> dict[str, str]:
    """What a request shows."""
    return {"Authorization": f"Bearer {key}", "Content-Type": kind}


def request_head(method: str, path: str, said: Mapping[str, str]) -> bytes:
    """The head of a request, byte by byte as it is sent: no path is tidied up."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", *(f"{name}: {value}" for name, value in said.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def exchange(port: int, pieces: Iterable[bytes], pause: float = 0.0) -> Answer:
    """Send pieces, `pause` seconds apart, and read an answer at the same time, until that is whole or the connection
    has ended. Raises TimeoutError after `PATIENCE` seconds."""
    started = time.perf_counter()
    waiting, left, next_at, got = iter(pieces), b"", started, b""
    with socket.create_connection((HOST, port), timeout=PATIENCE) as sock, selectors.DefaultSelector() as selector:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        selector.register(sock, selectors.EVENT_READ)
        sending = True
        while not whole(got):
            now = time.perf_counter()
            if now - started > PATIENCE:
                raise TimeoutError(f"no answer within {PATIENCE:.0f} s")
            if sending and not left and now >= next_at:
                left, next_at = next(waiting, b""), now + pause
                sending = bool(left)
            selector.modify(sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if left else 0))
            ready = selector.select(max(0.0, next_at - now) if sending and not left else 1.0)
            mask = ready[0][1] if ready else 0
            if mask & selectors.EVENT_WRITE:
                try:
                    left = left[sock.send(left) :]
                except OSError:  # what was answered before that can be read still
                    left, sending = b"", False
            if mask & selectors.EVENT_READ:
                try:
                    part = sock.recv(2**16)
                except OSError:
                    break
                if not part:
                    break
                got += part
    return parsed(got, time.perf_counter() - started)


def whole(got: bytes) -> bool:
    """Whether an answer is there to its last byte."""
    before, _, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", before)
    return length is not None and len(body) >= int(length[1])


def parsed(got: bytes, seconds: float) -> Answer:
    """An answer of its bytes."""
    before, _, body = got.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.\d (\d{3})", before)
    wait = re.search(rb"(?i)\r\nretry-after: *([^\r]+)", before)
    return Answer(int(status[1]) if status else None, body, seconds, wait[1].decode("latin-1") if wait else None)


@dataclass(frozen=True)
class Document:
    """A request for a document, and the JSON that answers it."""

    body: bytes
    expected: Any

    def wrong(self, answer: Answer) -> str:
        """What kind of error an answer is; empty where it is the right one."""
        if answer.status == 429:
            return "" if waits(answer) else "429 without Retry-After"
        if answer.status != 200:
            return f"status {answer.status}"
        value = answer.json()
        return "" if isinstance(value, dict) and value.get("json") == self.expected else "another answer"


def waits(answer: Answer) -> bool:
    """Whether a client is told when to ask again."""
    return answer.wait is not None and answer.wait.isdigit() and int(answer.wait) >= 1


def broken(error: BaseException) -> str:
    """What kind of error a connection ended with."""
    if isinstance(error, TimeoutError):
        return "hung"
    return "reset" if isinstance(error, ConnectionError) else type(error).__name__


class Normal(threading.Thread):
    """A client as they should be: it asks for one document after the other, and waits where it is told to."""

    def __init__(self, server: Server, documents: Sequence[Document], first: int = 0) -> None:
        super().__init__(daemon=True)
        self._server, self._client = server, Client(server)
        self._documents, self._at = documents, first
        self._ends = threading.Event()
        self.answered: list[tuple[float, float]] = []
        """When each document that was answered was asked for, and how many seconds it took."""
        self.errors: Counter[str] = Counter()
        self.waited = 0
        """How often it was told to ask later."""

    def run(self) -> None:
        """Until `end`."""
        while not self._ends.is_set():
            document = self._documents[self._at % len(self._documents)]
            started = time.perf_counter()
            try:
                answer = self._client.ask("POST", EXTRACT, document.body)
            except (OSError, http.client.HTTPException) as error:
                self._failed(broken(error))
                continue
            if kind := document.wrong(answer):
                self._failed(kind)
            elif answer.status == 429:
                self.waited += 1
                self._ends.wait(int(answer.wait or 1))
                continue
            else:
                self.answered.append((started, answer.seconds))
            self._at += 1
        self._client.close()

    def _failed(self, kind: str) -> None:
        self.errors[kind] += 1
        self._ends.wait(0.1)

    def end(self) -> None:
        """Let it finish what it has asked for."""
        self._ends.set()
        self.join(PATIENCE)
        if self.is_alive():
            self.errors["hung"] += 1

    def served_since(self, moment: float) -> list[float]:
        """Seconds of what it asked for since then; it is waited for until one is there, for a bounded time. Raises
        SlmbenchError where the server has ended."""
        until = time.perf_counter() + PATIENCE
        while time.perf_counter() < until:
            self._server.check()
            if found := [seconds for asked, seconds in list(self.answered) if asked >= moment]:
                return found
            time.sleep(0.02)
        return []
