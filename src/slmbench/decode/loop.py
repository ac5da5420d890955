"""Greedy decoding under a grammar, with drafts: one document at a time, or several in one pass.

A step is one pass of the model over the last token and a draft of those that may follow (`answer.py`). Its choice at
every place is the likeliest token that the grammar allows; as far as the draft is what was chosen it is taken, and the
rest is passed over by not advancing. So what is written is what one token a pass would write (`draft_tokens=0`, the
plain twin), and what one document at a time would (an engine of one slot, the other).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from slmbench.core import BadInput, Completion, Request
from slmbench.decode.answer import MOST, Answer, Spelling, Work
from slmbench.decode.grammar import Grammars, Vocabulary

PREFIX_TOKENS = 16384
"""Of the prompt beginnings whose keys and values are kept, all together: some 750 MB of a model of 135M parameters."""


class Part(NamedTuple):
    """What a pass reads of one sequence: tokens to put into its slot of the cache from `at` on; the logits of the last
    `rows` of them are wanted."""

    slot: int
    ids: Sequence[int]
    at: int
    rows: int


class Engine(Protocol):
    """A causal language model whose cache holds `slots` sequences of `positions` tokens each."""

    positions: int
    slots: int

    def forward(self, parts: Sequence[Part]) -> list[np.ndarray]:
        """Read the parts, each in a slot of its own, and return the logits [rows, vocabulary] of each."""
        ...

    def keep(self, slot: int, length: int) -> Any:
        """A copy of the first `length` positions of a slot."""
        ...

    def restore(self, slot: int, kept: Any) -> None:
        """Put such a copy into a slot."""
        ...


class Decoder:
    """A backend over an Engine.

    Args:
        engine: the model. With more slots than one, as many documents are answered in one pass.
        tokenizer: a `tokenizers.Tokenizer`.
        vocabulary: its tokens as a grammar sees them.
        draft_tokens: the longest draft; 0 for one token a pass.
    """

    def __init__(self, engine: Engine, tokenizer: Any, vocabulary: Vocabulary, draft_tokens: int = MOST) -> None:
        self.engine, self.vocabulary = engine, vocabulary
        self.spelling = Spelling(tokenizer, vocabulary)
        self.grammars = Grammars(vocabulary)
        self.most = draft_tokens
        self.work = Work()
        self._cached: list[tuple[int, ...]] = [()] * engine.slots
        """The tokens whose keys and values each slot of the engine holds."""
        self._prefixes: dict[tuple[int, ...], Any] = {}

    @property
    def positions(self) -> int:
        """Tokens of prompt and answer that the model holds."""
        return self.engine.positions

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """One completion for each request; in their order where the engine has one slot, else as they end.

        Raises BadInput where a prompt leaves no room for an answer, or a schema cannot be enforced.
        """
        waiting = iter(requests)
        live: dict[int, Answer] = {}
        while True:
            for slot in range(self.engine.slots):
                if slot not in live and (request := next(waiting, None)):
                    live[slot] = self._begin(request, slot)
            if not live:
                return
            self._step(live)
            for slot, answer in list(live.items()):
                if answer.done:
                    del live[slot]
                    yield self._completion(answer)

    def stream(self, request: Request) -> Iterator[int]:
        """The tokens of one answer as they are settled; the last is a stop token unless the limit came first, or an end
        without any where nothing is legal any more. Raises as `generate`."""
        answer = self._begin(request, 0)
        while not answer.done:
            (settled,) = self._step({0: answer})
            yield from settled

    def _begin(self, request: Request, slot: int) -> Answer:
        """An answer of which nothing is written, its prompt as far in the slot as it can be without reading it."""
        left = self.engine.positions - len(request.prompt_ids)
        if min(left, request.max_new_tokens) < 1:
            raise BadInput(
                f"{request.id}: {len(request.prompt_ids)} tokens are over the {self.engine.positions - 1}"
                f" that this model reads; give a shorter document."
            )
        matcher = None if request.schema is None else self.grammars.of(request.schema, request.id).start()
        room = min(request.max_new_tokens, left)  # with drafts as without
        answer = Answer(request, self.spelling, matcher, room, self.most, self.work)
        answer.at = self._recall(request, slot)
        return answer

    def _step(self, live: dict[int, Answer]) -> list[list[int]]:
        """One pass for all answers: the tokens that it settles of each."""
        parts = []
        for slot, answer in live.items():
            ids, rows = answer.read()
            parts.append(Part(slot, ids, answer.at, rows))
        settled = []
        for (slot, answer), logits in zip(live.items(), self._pass(parts), strict=True):
            settled.append(answer.settle(logits))
            self._cached[slot] = answer.seen
        return settled

    def _pass(self, parts: Sequence[Part]) -> list[np.ndarray]:
        started = time.perf_counter()
        for part in parts:
            self._cached[part.slot] = self._cached[part.slot][: part.at]  # should the pass be broken off
        logits = self.engine.forward(parts)
        self.work.passes += 1
        self.work.seconds["model"] += time.perf_counter() - started
        return logits

    def _completion(self, answer: Answer) -> Completion:
        request = answer.request
        return Completion(
            id=request.id,
            text=answer.text,
            token_ids=tuple(answer.written),
            finish=answer.finish,
            prompt_tokens=len(request.prompt_ids),
            output_tokens=len(answer.written),
            first_token_s=answer.first_s,
            total_s=time.perf_counter() - answer.started,
            batch=self.engine.slots,
            constraint="free" if request.schema is None else "grounded" if request.grounded else "schema",
            log_likelihoods=tuple(answer.likely),
        )

    def _recall(self, request: Request, slot: int) -> int:
        """How many tokens of the prompt the slot holds already; the last is always read anew.

        The beginning that a request says is shared is kept after its first reading.
        """
        ids = request.prompt_ids
        shared = ids[: request.shared_tokens]
        if shared and shared not in self._prefixes and len(shared) < len(ids):
            start = _common(shared, self._cached[slot])
            if start < len(shared):
                self._pass([Part(slot, shared[start:], start, 1)])
            self._cached[slot] = shared
            self._prefixes[shared] = self.engine.keep(slot, len(shared))
            while len(self._prefixes) > 1 and sum(map(len, self._prefixes)) > PREFIX_TOKENS:
                self._prefixes.pop(next(iter(self._prefixes)))
        start = _common(ids[:-1], self._cached[slot])
        if shared in self._prefixes and start < len(shared):
            self.engine.restore(slot, self._prefixes[shared])
            self._cached[slot] = shared
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
