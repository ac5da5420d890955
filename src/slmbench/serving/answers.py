"""What a worker does for a request: a prompt of it, an answer by the model, and a row or a text of that."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from slmbench.core import BadInput, Completion, Example, Finish, Request
from slmbench.decode.loop import Decoder
from slmbench.documents import Document
from slmbench.exported import Exported
from slmbench.extract import Asked, Extractor
from slmbench.serving.asked import Wanted
from slmbench.serving.limits import Refused
from slmbench.serving.pool import Work, Worker
from slmbench.serving.schemas import without_patterns

BROKEN = "\ufffd"
"""What an unfinished character is decoded as."""
WHERE = "schema"
"""The id of every request: what is said of it begins so."""


@dataclass(frozen=True)
class Answered:
    """An answer that is complete."""

    text: str
    finish: Finish
    prompt_tokens: int
    output_tokens: int
    timings: dict[str, float] = field(default_factory=dict)
    row: dict[str, Any] | None = None

    @property
    def usage(self) -> dict[str, int]:
        """OpenAI's count of tokens."""
        whole = self.prompt_tokens + self.output_tokens
        return {
            "prompt_tokens": self.prompt_tokens, "completion_tokens": self.output_tokens, "total_tokens": whole,
        }  # fmt: skip


def work(exported: Exported, wanted: Wanted) -> Work:
    """A worker's job: it tells pieces of the text where they are streamed, and at last the `Answered`."""

    def done(worker: Worker) -> Iterator[str | Answered]:
        job = worker.job
        assert job is not None and job.began is not None
        request = _request(exported, wanted, worker)
        read = time.perf_counter()
        if wanted.stream and isinstance(worker.backend, Decoder):
            answered = yield from _pieces(worker.backend, request)
        else:
            completion = _refusing(lambda: next(iter(worker.backend.generate([request]))))
            answered = _whole(exported, wanted, worker, completion)
            if wanted.stream:
                yield completion.text
        ended = time.perf_counter()
        seconds = {"queue": job.began - job.submitted, "prompt": read - job.began, "answer": ended - read}
        timings = {f"{name}_ms": round(1000 * part, 3) for name, part in seconds.items()}
        timings |= answered.timings | {"total_ms": round(1000 * (ended - job.submitted), 3)}
        yield replace(answered, timings=timings)

    return done


def _request(exported: Exported, wanted: Wanted, worker: Worker) -> Request:
    """What the model is asked. Raises Refused where that is more than it reads."""
    if wanted.raw:
        ids = tuple(_refusing(lambda: exported.tokens(wanted.text))["input_ids"])
        request = Request(WHERE, ids, wanted.max_tokens, wanted.schema, wanted.text)
    else:
        assert wanted.schema is not None
        example = Example(WHERE, wanted.text, "", wanted.schema, None)
        request = _refusing(lambda: exported.request(example, wanted.max_tokens, wanted.constraint, wanted.explain))
    if wanted.constraint == "free":
        request = replace(request, schema=None)
    elif wanted.constraint == "grounded":
        request = replace(request, grounded=True)
    room, size = worker.positions, len(request.prompt_ids)
    if not size:
        raise Refused(400, "prompt: it has no token; give a text.", "bad_prompt")
    if room is not None and size >= room:
        said = f"The document and its schema are {size:,} tokens, over the {room - 1:,} that this model reads; cut it."
        raise Refused(400, said, "context_length_exceeded")
    return request


def _refusing(made: Any) -> Any:
    """What `made` gives; BadInput becomes a refusal."""
    try:
        return made()
    except BadInput as error:
        raise Refused(400, " ".join(str(error).split())[:500], "bad_input") from None


def _pieces(decoder: Decoder, request: Request) -> Generator[str, None, Answered]:
    """The text of an answer as it grows, whole characters each; returns the Answered."""
    started, first = time.perf_counter(), None
    tokens: list[int] = []
    spoken = ""
    stops, room = frozenset(decoder.vocabulary.stops), min(
        request.max_new_tokens, decoder.engine.positions - len(request.prompt_ids)
    )  # fmt: skip
    stream = decoder.stream(request)
    end = object()
    while (token := _refusing(lambda: next(stream, end))) is not end:
        first = first or time.perf_counter() - started
        tokens.append(token)
        text = decoder.spelling.text([t for t in tokens if t not in stops])
        if len(text) > len(spoken) and not text.endswith(BROKEN):
            yield text[len(spoken) :]
            spoken = text
    finish: Finish = "stop" if tokens and tokens[-1] in stops else "length" if len(tokens) >= room else "error"
    text = decoder.spelling.text(tokens[:-1] if finish == "stop" else tokens)
    if len(text) > len(spoken):
        yield text[len(spoken) :]
    return Answered(text, finish, len(request.prompt_ids), len(tokens), _first(first))


def _whole(exported: Exported, wanted: Wanted, worker: Worker, completion: Completion) -> Answered:
    row = None
    if wanted.row:
        assert wanted.schema is not None
        # The grammar has held the answer to the patterns; under "free" nothing has, and nothing can safely.
        schema = without_patterns(wanted.schema) if wanted.foreign else wanted.schema
        asked = Asked(schema, wanted.constraint, wanted.explain)
        extractor = Extractor(exported, asked, worker.backend, worker.check)
        row = extractor.row(Document(wanted.id, wanted.text), completion)
    counts = completion.prompt_tokens, completion.output_tokens
    return Answered(completion.text, completion.finish, *counts, _first(completion.first_token_s), row)


def _first(seconds: float | None) -> dict[str, float]:
    return {} if seconds is None else {"first_token_ms": round(1000 * seconds, 3)}
