"""Greedy decoding of one document at a time: step, stream, generate.

A step is one pass of the model over the last token and a draft of those that may follow. Its choice at every place is
the likeliest token that the grammar allows; as far as the draft is what was chosen it is taken, and the rest is passed
over by not advancing. So what is written is what one token a pass would write (`draft_tokens=0`, the plain twin).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from slmbench.core import BadInput, Completion, Finish, Request
from slmbench.decode.bounds import Bounds
from slmbench.decode.draft import Drafter
from slmbench.decode.grammar import Grammars, Vocabulary, allowed
from slmbench.decode.ground import Ground

FEWEST, MOST = 8, 32
"""Tokens of a draft: more of them after a draft that was right to its end, fewer after one that was not."""
PREFIXES = 64
"""Prompt beginnings whose keys and values are kept."""


class Engine(Protocol):
    """A causal language model over one sequence, whose cache holds `positions` tokens."""

    positions: int

    def forward(self, ids: Sequence[int], at: int, rows: int) -> np.ndarray:
        """Put tokens into the cache at `at` and return the logits [rows, vocabulary] of the last `rows` of them."""
        ...

    def keep(self, length: int) -> Any:
        """A copy of the first `length` positions."""
        ...

    def restore(self, kept: Any) -> None:
        """Put such a copy back."""
        ...


@dataclass
class Work:
    """What decoding took: passes over the weights, and tokens by what had drafted them."""

    documents: int = 0
    passes: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    masks: int = 0
    drafted: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: {"draft": 0.0, "model": 0.0, "choose": 0.0})

    @property
    def tokens_a_pass(self) -> float:
        """Output tokens a pass, the prompt's own pass counted."""
        return self.output_tokens / self.passes if self.passes else 0.0


class Decoder:
    """A backend over an Engine.

    Args:
        engine: the model.
        tokenizer: a `tokenizers.Tokenizer`.
        vocabulary: its tokens as a grammar sees them.
        draft_tokens: the longest draft; 0 for one token a pass.
    """

    def __init__(self, engine: Engine, tokenizer: Any, vocabulary: Vocabulary, draft_tokens: int = MOST) -> None:
        self.engine, self.tokenizer, self.vocabulary = engine, tokenizer, vocabulary
        self.grammars = Grammars(vocabulary)
        self.most = draft_tokens
        self.stops = frozenset(vocabulary.stops)
        self.work = Work()
        self._cached: tuple[int, ...] = ()
        """The tokens whose keys and values the engine holds."""
        self._prefixes: dict[tuple[int, ...], Any] = {}
        self._words: dict[int, str] = {}
        self._spelt: dict[int, str] = {}

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion for each request, in order."""
        for request in requests:
            started = time.perf_counter()
            tokens: list[int] = []
            first = None
            for token in self.stream(request):
                first = first or time.perf_counter() - started
                tokens.append(token)
            finish = self._finish(request, tokens)
            self.work.documents += 1
            yield Completion(
                id=request.id,
                text=self.text(tokens[:-1] if finish == "stop" else tokens),
                token_ids=tuple(tokens),
                finish=finish,
                prompt_tokens=len(request.prompt_ids),
                output_tokens=len(tokens),
                first_token_s=first,
                total_s=time.perf_counter() - started,
                batch=1,
                constraint="free" if request.schema is None else "grounded" if request.grounded else "schema",
            )

    def stream(self, request: Request) -> Iterator[int]:
        """The tokens of one answer as they are settled; the last is a stop token unless the limit came first, or an end
        without any where nothing is legal any more.

        Raises BadInput where the prompt leaves no room for an answer, or the schema cannot be enforced.
        """
        left = self._room(request)
        if left < 1:
            raise BadInput(
                f"{request.id}: {len(request.prompt_ids)} tokens are over the {self.engine.positions - 1}"
                f" that this model reads; give a shorter document."
            )
        matcher = None if request.schema is None else self.grammars.of(request.schema, request.id).start()
        drafter = Drafter(request.schema, request.text, self.tokens) if self.most else None
        bounds = self._bounds(request)
        at = self._recall(request)
        ids: Sequence[int] = request.prompt_ids[at:]
        limit = min(FEWEST * 2, self.most)
        written: list[int] = []
        spoken = 0
        while left > 0:
            draft, marks = self._draft(drafter, matcher, min(limit, left - 1))
            self._cached = self._cached[:at]  # whoever stops listening within the pass leaves no more than this
            logits = self._pass([*ids, *draft], at, len(draft) + 1)
            taken = 0
            for row in range(len(draft) + 1):
                token = self._choose(logits[row], matcher, bounds)
                if token is None:
                    return
                if matcher is not None and token not in self.stops and not matcher.consume_token(token):
                    return
                written.append(token)
                self.work.output_tokens += 1
                left -= 1
                yield token
                if token in self.stops:
                    left = 0
                    break
                if matcher is not None:
                    bounds.accept(token)
                    if matcher.is_stopped() and left:  # nothing but the end may follow: no pass is needed for it
                        self.work.output_tokens += 1
                        yield self.vocabulary.stops[0]
                        left = 0
                        break
                if row == len(draft) or token != draft[row]:
                    break
                taken += 1
                if not left:
                    break
            self.work.drafted.update(marks)
            self.work.accepted.update(marks[:taken])
            self._cached = (*request.prompt_ids, *written)[: at + len(ids) + taken]
            at += len(ids) + taken
            ids = written[-1:]
            if drafter is not None:
                text = self.text(written)
                if not text.endswith("\ufffd"):
                    drafter.accept(text[spoken:])
                    spoken = len(text)
            limit = (
                min(self.most, 2 * limit) if draft and taken == len(draft) else min(self.most, max(FEWEST, 2 * taken))
            )

    def _room(self, request: Request) -> int:
        """Tokens that an answer may have at most, by the request and by the engine's cache: with drafts as without."""
        return min(request.max_new_tokens, self.engine.positions - len(request.prompt_ids))

    def _finish(self, request: Request, tokens: Sequence[int]) -> Finish:
        if tokens and tokens[-1] in self.stops:
            return "stop"
        return "length" if len(tokens) >= self._room(request) else "error"

    def tokens(self, text: str) -> list[int]:
        """The tokens of a piece of an answer."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens say; an unfinished character at the end is U+FFFD."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=False))

    def _word(self, token: int) -> str:
        """The text of one token."""
        if token not in self._words:
            self._words[token] = self.text([token])
        return self._words[token]

    def _bytes(self, token: int) -> str:
        """The bytes of one token, each as a character."""
        if token not in self._spelt:
            self._spelt[token] = bytes(self.vocabulary.tokens.decode_bytes([token])).decode("latin-1")
        return self._spelt[token]

    def _draft(self, drafter: Drafter | None, matcher: Any, limit: int) -> tuple[list[int], list[str]]:
        """(token ids, their sources): legal ones only."""
        if drafter is None or limit < 1:
            return [], []
        started = time.perf_counter()
        text, marks = drafter.draft(matcher, limit)
        draft = self.tokens(text)[:limit] if text else []
        if matcher is not None and draft:
            draft = draft[: matcher.validate_tokens(draft)]
        ends, sources, reached = iter(marks), [], 0
        end, source = next(ends, (0, ""))
        for token in draft:
            reached += len(self._word(token))
            sources.append(source)
            while reached >= end and (following := next(ends, None)):
                end, source = following
        self.work.seconds["draft"] += time.perf_counter() - started
        return draft, sources

    def _pass(self, ids: Sequence[int], at: int, rows: int) -> np.ndarray:
        started = time.perf_counter()
        logits = self.engine.forward(ids, at, rows)
        self.work.passes += 1
        self.work.seconds["model"] += time.perf_counter() - started
        return logits

    def _choose(self, logits: np.ndarray, matcher: Any, bounds: Bounds) -> int | None:
        """The likeliest token that grammar and bounds allow. A mask is made only where the likeliest of all is not.

        Where the bounds allow none that the grammar does, the grammar alone decides; None where it allows none either:
        the vocabulary cannot spell what has to follow, or the grammar has grown over its limits.
        """
        started = time.perf_counter()
        likeliest = int(logits.argmax())
        token: int | None = likeliest
        if matcher is not None and not (matcher.validate_tokens([likeliest]) and bounds.allows(likeliest)):
            self.work.masks += 1
            mask = allowed(matcher, len(logits))
            best = bounds.best(logits, mask)
            token = best if best is not None else int(np.where(mask, logits, -np.inf).argmax()) if mask.any() else None
        self.work.seconds["choose"] += time.perf_counter() - started
        return token

    def _bounds(self, request: Request) -> Bounds:
        """What is asked of an answer under a schema beside its grammar."""
        if request.schema is not None and request.grounded:
            return Ground(request.schema, request.text, self._bytes)
        return Bounds(self._bytes)

    def _recall(self, request: Request) -> int:
        """How many tokens of the prompt the engine has seen already; the last is always read anew.

        The beginning that a request says is shared is kept after its first reading.
        """
        ids = request.prompt_ids
        shared = ids[: request.shared_tokens]
        if shared and shared not in self._prefixes and len(shared) < len(ids):
            start = _common(shared, self._cached)
            if start < len(shared):
                self._pass(shared[start:], start, 1)
            self._cached = shared
            self._prefixes[shared] = self.engine.keep(len(shared))
            if len(self._prefixes) > PREFIXES:
                self._prefixes.pop(next(iter(self._prefixes)))
        start = _common(ids[:-1], self._cached)
        if shared in self._prefixes and start < len(shared):
            self.engine.restore(self._prefixes[shared])
            start = len(shared)
        self.work.prompt_tokens += len(ids)
        self.work.cached_tokens += start
        return start


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """The length of the beginning that two sequences share."""
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count
