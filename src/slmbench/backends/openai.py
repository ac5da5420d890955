"""A model on a server that speaks as OpenAI's do (vLLM, llama.cpp, Ollama, `slmbench serve`): asked, not steered.

What one document met is said in its place, and the next goes on. What every document would meet ends the work: the
server is away, refuses the key, has no such model, or fails at several documents in a row.
"""

from __future__ import annotations

import re
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from slmbench.core import KEY, BadInput, Completion, Finish, Request, SlmbenchError
from slmbench.schema import strict_loads

SECONDS = 300.0
"""For one document, everything included: nothing waits for ever."""
CONNECT_SECONDS = 10.0
RETRIES = 3
"""Of a request, by the client: after 408, 409, 429, 5xx and broken connections. It waits as long as the server says, up
to two minutes, else for half a second, then twice as long each time."""
MOST_FAILED = 5
"""Documents in a row that the server may fail at."""
_NO_LIST = frozenset({404, 405, 501})
"""What a server says that does not list its models."""


class _Failed(Exception):
    """A document has no answer; another may have one. `refused` where the document is to blame, not the server."""

    def __init__(self, said: str, refused: bool = False) -> None:
        super().__init__(said)
        self.refused = refused


class Server:
    """Greedy answers of a server, `batch` requests at a time.

    Args:
        url: its address, up to and with `/v1`.
        model: its name for the model.
        key: what it is shown as a bearer; empty for none.
        batch: requests at a time.

    Raises BadInput where it refuses the key, has no such model, or is no such server; SlmbenchError where it does not
    answer, or the client is not installed.
    """

    def __init__(self, url: str, model: str, key: str = "", batch: int = 1) -> None:
        try:
            import openai
        except ImportError:
            raise SlmbenchError("servers are asked through openai: pip install 'slmbench[remote]'.") from None

        self.url, self.model, self.batch = url, model, batch
        self._key, self._openai = key, openai
        self._failed = 0
        # What the client takes from OPENAI_... of the environment is meant for another server; it insists on some key.
        left_out = ("OpenAI-Organization", "OpenAI-Project", *(() if key else ("Authorization",)))
        self._headers: dict[str, Any] = dict.fromkeys(left_out, openai.Omit())
        self.client = openai.OpenAI(
            base_url=url, api_key=key or "-", max_retries=RETRIES,
            timeout=openai.Timeout(SECONDS, connect=CONNECT_SECONDS),
        )  # fmt: skip
        weakref.finalize(self, self.client.close)
        self._find()

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion for each request, as they end; one that the server failed at has an `error`.

        Raises BadInput where an answer is to be grounded, the key is refused or there is no such model; SlmbenchError
        where the server is away, or fails at `MOST_FAILED` documents in a row.
        """
        running: dict[Future[Completion], tuple[Request, float]] = {}
        for request in requests:
            if request.grounded:
                raise BadInput(f"{request.id}: no server grounds an answer in its document; export to int8 for that.")
            running[self._start(request)] = request, time.monotonic()
            yield from self._ended(running, self.batch - 1)
        yield from self._ended(running, 0)

    def _start(self, request: Request) -> Future[Completion]:
        """Ask in a thread of its own: a daemon, so that neither Ctrl-C nor the end waits for a server that does not
        answer."""
        future: Future[Completion] = Future()

        def work() -> None:
            try:
                future.set_result(self._answer(request))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future

    def _ended(self, running: dict[Future[Completion], tuple[Request, float]], most: int) -> Iterator[Completion]:
        """Completions of what has ended, or has taken too long, until at most `most` are running."""
        while len(running) > most:
            left = min(began for _, began in running.values()) + SECONDS - time.monotonic()
            ended, _ = wait(running, max(0.0, left), FIRST_COMPLETED)
            late = time.monotonic() - SECONDS
            ended |= {future for future, (_, began) in running.items() if began <= late}
            for future in ended:
                yield self._settled(future, *running.pop(future))

    def _settled(self, future: Future[Completion], request: Request, began: float) -> Completion:
        """What became of a request. Raises what ends the work."""
        try:
            completion = future.result(timeout=0)
        except TimeoutError:
            completion = self._completion(request, began, error=self._late())
            self._failed += 1
        except _Failed as failed:
            completion = self._completion(request, began, error=str(failed))
            self._failed = 0 if failed.refused else self._failed + 1
        else:
            self._failed = 0
        if self._failed >= MOST_FAILED:
            raise SlmbenchError(f"{completion.error} That is document {self._failed} in a row without an answer.")
        return completion

    def _find(self) -> None:
        """Look for the server and, where it lists its models, for the model."""
        try:
            raw = self.client.models.with_raw_response.list(extra_headers=self._headers)
        except self._openai.APIStatusError as error:
            if error.status_code in _NO_LIST:
                return
            raise self._at_once(error) from None
        except self._openai.APIError as error:
            raise self._at_once(error) from None
        said = self._read(raw)
        try:
            names = [entry["id"] for entry in said["data"]]
        except (KeyError, TypeError):
            raise BadInput(f"{self.url}: it lists its models as no server of this kind; check the address.") from None
        if names and self.model not in names:
            raise BadInput(f"{self.url}: it has no model {self.model}; it has {_short(', '.join(map(str, names)))}.")

    def _answer(self, request: Request) -> Completion:
        """Ask for one answer. Raises _Failed, and what ends the work."""
        began = time.monotonic()
        asked: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": "system", "content": request.instruction}, {"role": "user", "content": request.text},
            ],
            "max_tokens": request.max_new_tokens,  # the name that every server knows
            "temperature": 0.0,
            "extra_headers": self._headers,
        }  # fmt: skip
        if request.schema is not None:
            # Not `strict`: OpenAI would then refuse schemas with anything optional; the others hold to it anyway.
            form = {"name": "answer", "schema": request.schema}
            asked["response_format"] = {"type": "json_schema", "json_schema": form}
        try:
            said = self._read(self.client.chat.completions.with_raw_response.create(**asked))
        except self._openai.APIError as error:
            raise self._problem(error) from None
        except BadInput as error:
            raise _Failed(str(error)) from None
        try:
            choice, usage = said["choices"][0], said.get("usage")
            text, why = choice["message"].get("content") or "", choice.get("finish_reason")
            if not isinstance(text, str):
                raise TypeError
        except (KeyError, IndexError, TypeError, AttributeError):
            raise _Failed(f"{self.url}: its answer has no message; it says {_short(self._hidden(said))}.") from None
        finish: Finish = why if why in ("stop", "length") else "error"
        return self._completion(request, began, text, finish, usage)

    def _completion(
        self, request: Request, began: float, text: str = "", finish: Finish = "error", usage: Any = None,
        error: str = "",
    ) -> Completion:  # fmt: skip
        counts = usage if isinstance(usage, dict) else {}
        return Completion(
            id=request.id,
            text=text,
            token_ids=(),
            finish=finish,
            prompt_tokens=_count(counts.get("prompt_tokens")),
            output_tokens=_count(counts.get("completion_tokens")),
            first_token_s=None,
            total_s=time.monotonic() - began,
            batch=self.batch,
            constraint="free" if request.schema is None else "schema",
            server=self.url,
            model=self.model,
            error=error,
        )

    def _read(self, raw: Any) -> Any:
        """The JSON of a response. Raises BadInput where it is none."""
        try:
            return strict_loads(raw.text)
        except ValueError:
            kind = _short(raw.headers.get("content-type", "no type is given"))
            raise BadInput(
                f"{self.url}: it answers no JSON ({kind}); give the address of its API, as http://HOST:PORT/v1."
            ) from None

    def _problem(self, error: Any) -> Exception:
        """What an error of the client means: one sentence, and whether it ends the work."""
        openai, cause = self._openai, error.__cause__
        if isinstance(error, openai.APIConnectionError):
            why = _short(self._hidden(cause or error)) or type(cause).__name__
            # Named ConnectError and ConnectTimeout in either of the two libraries that the client may use.
            if type(cause).__name__.startswith("Connect"):
                return SlmbenchError(f"{self.url}: no server answers there ({why}); start it, or give another address.")
            if isinstance(error, openai.APITimeoutError):
                return _Failed(self._late())
            return _Failed(f"{self.url}: it broke the connection off ({why}).")
        status = error.status_code
        if status in (401, 403):  # its words may hold the key
            asks = f"it refuses the key that {KEY} holds" if self._key else f"it asks for a key; set {KEY}"
            return BadInput(f"{self.url}: {asks} ({status}).")
        if status == 404:
            return BadInput(f"{self.url}: it has no model {self.model}, or nothing at this address (404); check both.")
        body = error.body.get("error", error.body) if isinstance(error.body, dict) else error.body
        words = _short(self._hidden((body.get("message") if isinstance(body, dict) else body) or "")).rstrip(".")
        said = f": {words}" if words and not words.startswith("<") else ""  # a proxy's page in HTML says nothing
        refused = 400 <= status < 500 and status not in (408, 409, 429)
        return _Failed(f"{self.url}: it says {status}{said}.", refused)

    def _at_once(self, error: Any) -> SlmbenchError:
        """The same before anything has been answered, when everything ends the work."""
        problem = self._problem(error)
        return problem if isinstance(problem, SlmbenchError) else SlmbenchError(str(problem))

    def _late(self) -> str:
        return f"{self.url}: no answer within {SECONDS:g} s."

    def _hidden(self, said: object) -> str:
        """A server's words, without the key."""
        return str(said).replace(self._key, "(the key)") if self._key else str(said)


def _short(said: str) -> str:
    """A stranger's words as a part of one line."""
    return re.sub(r"[\x00-\x20\x7f-\x9f]+", " ", said).strip()[:200]


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
