"""One answer under way: what the next pass reads, and what is taken of what it says."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from slmbench.core import Finish, Request
from slmbench.decode.bounds import Bounds
from slmbench.decode.draft import Drafter
from slmbench.decode.grammar import Vocabulary, allowed
from slmbench.decode.ground import Ground

FEWEST, MOST = 8, 32
"""Tokens of a draft: more of them after a draft that was right to its end, fewer after one that was not."""


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


class Spelling:
    """Text ↔ tokens.

    Args:
        tokenizer: a `tokenizers.Tokenizer`.
        vocabulary: its tokens as a grammar sees them.
    """

    def __init__(self, tokenizer: Any, vocabulary: Vocabulary) -> None:
        self.tokenizer, self.vocabulary = tokenizer, vocabulary
        self._words: dict[int, str] = {}
        self._bytes: dict[int, str] = {}

    def tokens(self, text: str) -> list[int]:
        """The tokens of a piece of an answer."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens say; an unfinished character at the end is U+FFFD."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=False))

    def word(self, token: int) -> str:
        """The text of one token."""
        if token not in self._words:
            self._words[token] = self.text([token])
        return self._words[token]

    def bytes(self, token: int) -> str:
        """The bytes of one token, each as a character."""
        if token not in self._bytes:
            self._bytes[token] = bytes(self.vocabulary.tokens.decode_bytes([token])).decode("latin-1")
        return self._bytes[token]


class Answer:
    """The answer to a request, as far as it is settled.

    Args:
        request: what is asked.
        spelling: of the model's vocabulary.
        matcher: the grammar of its schema; None where the answer is free.
        room: tokens that it may have at most.
        most: the longest draft; 0 for one token a pass.
        work: where passes, masks and drafts are counted.
    """

    def __init__(self, request: Request, spelling: Spelling, matcher: Any, room: int, most: int, work: Work) -> None:
        self.request, self.spelling, self.matcher, self.room, self.most = request, spelling, matcher, room, most
        self.work, self.stops = work, frozenset(spelling.vocabulary.stops)
        self.drafter = Drafter(request.schema, request.text, spelling.tokens) if most else None
        grounded = request.schema is not None and request.grounded
        self.bounds: Bounds = (
            Ground(request.schema, request.text, spelling.bytes)  # type: ignore[arg-type]
            if grounded
            else Bounds(spelling.bytes)
        )
        self.at = 0
        """How many tokens of prompt and answer the engine has read."""
        self.draft: list[int] = []
        self.marks: list[str] = []
        self.limit = min(FEWEST * 2, most)
        self.written: list[int] = []
        self.likely: list[float] = []
        """The log-likelihood of every token written, where the request asks for it."""
        self.spoken = 0
        self.done = False
        self.started = time.perf_counter()
        self.first_s: float | None = None

    @property
    def finish(self) -> Finish:
        """How it ended: `error` where nothing was legal any more."""
        if self.written and self.written[-1] in self.stops:
            return "stop"
        return "length" if len(self.written) >= self.room else "error"

    @property
    def text(self) -> str:
        """What it says."""
        return self.spelling.text(self.written[:-1] if self.finish == "stop" else self.written)

    @property
    def seen(self) -> tuple[int, ...]:
        """The tokens whose keys and values the engine holds."""
        return (*self.request.prompt_ids, *self.written)[: self.at]

    def read(self) -> tuple[list[int], int]:
        """(the tokens of the next pass, of how many at its end the logits are wanted)."""
        self.draft, self.marks = self._guess(min(self.limit, self.room - len(self.written) - 1))
        return [*self.request.prompt_ids, *self.written, *self.draft][self.at :], len(self.draft) + 1

    def settle(self, logits: np.ndarray) -> list[int]:
        """What the pass adds, given its logits [rows, vocabulary]. `done` from then on where nothing follows.

        The last token is a stop unless the limit came first.
        """
        before, taken, draft = len(self.written), 0, self.draft
        read = len(self.request.prompt_ids) + before
        for row in range(len(draft) + 1):
            token = self._choose(logits[row])
            stops = token in self.stops
            if token is None or (self.matcher is not None and not stops and not self.matcher.consume_token(token)):
                self.done = True
                break
            self.written.append(token)
            if self.request.likelihoods:
                self.likely.append(log_likelihood(logits[row], token))
            if stops or len(self.written) == self.room:
                self.done = True
            elif self.matcher is not None:
                self.bounds.accept(token)
                if self.matcher.is_stopped():  # nothing but the end may follow: no pass is needed for it
                    self.written.append(self.spelling.vocabulary.stops[0])
                    self.likely += [0.0] * self.request.likelihoods
                    self.done = True
            if row == len(draft) or token != draft[row] or stops:
                break
            taken += 1
            if self.done:
                break
        self._learn(read, taken)
        if self.first_s is None and len(self.written) > before:
            self.first_s = time.perf_counter() - self.started
        self.work.output_tokens += len(self.written) - before
        self.work.documents += self.done
        return self.written[before:]

    def _learn(self, read: int, taken: int) -> None:
        """Go on behind the part of the draft that was right; `read` tokens were settled before it."""
        self.work.drafted.update(self.marks)
        self.work.accepted.update(self.marks[:taken])
        self.at = read + taken
        if self.drafter is not None and not self.done:
            text = self.spelling.text(self.written)
            if not text.endswith("\ufffd"):
                self.drafter.accept(text[self.spoken :])
                self.spoken = len(text)
        whole = bool(self.draft) and taken == len(self.draft)
        self.limit = min(self.most, 2 * self.limit if whole else max(FEWEST, 2 * taken))

    def _guess(self, limit: int) -> tuple[list[int], list[str]]:
        """(token ids, their sources): legal ones only."""
        if self.drafter is None or limit < 1:
            return [], []
        started = time.perf_counter()
        text, marks = self.drafter.draft(self.matcher, limit)
        draft = self.spelling.tokens(text)[:limit] if text else []
        if self.matcher is not None and draft:
            draft = draft[: self.matcher.validate_tokens(draft)]
        ends, sources, reached = iter(marks), [], 0
        end, source = next(ends, (0, ""))
        for token in draft:
            reached += len(self.spelling.word(token))
            sources.append(source)
            while reached >= end and (following := next(ends, None)):
                end, source = following
        self.work.seconds["draft"] += time.perf_counter() - started
        return draft, sources

    def _choose(self, logits: np.ndarray) -> int | None:
        """The likeliest token that grammar and bounds allow. A mask is made only where the likeliest of all is not.

        Where the bounds allow none that the grammar does, the grammar alone decides; None where it allows none either:
        the vocabulary cannot spell what has to follow, or the grammar has grown over its limits.
        """
        started = time.perf_counter()
        likeliest = int(logits.argmax())
        token: int | None = likeliest
        matcher, bounds = self.matcher, self.bounds
        if matcher is not None and not (matcher.validate_tokens([likeliest]) and bounds.allows(likeliest)):
            self.work.masks += 1
            mask = allowed(matcher, len(logits))
            best = bounds.best(logits, mask)
            token = best if best is not None else int(np.where(mask, logits, -np.inf).argmax()) if mask.any() else None
        self.work.seconds["choose"] += time.perf_counter() - started
        return token


def log_likelihood(logits: np.ndarray, token: int) -> float:
    """Of a token under logits [vocabulary], in double precision only where it adds up."""
    top = logits.max()
    return float(logits[token] - top - np.log(np.exp(logits - top).sum(dtype=np.float64)))
