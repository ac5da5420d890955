"""Engines for tests: one that writes what it is told, one that writes what a hash of the text says."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from slmbench.decode.loop import Part


class Fake:
    """A model whose next token is a function of all tokens before, with a cache that notices misuse."""

    def __init__(self, size: int, positions: int = 600, slots: int = 1) -> None:
        self.size, self.positions, self.slots = size, positions, slots
        self.cache: list[list[int]] = [[] for _ in range(slots)]
        self.passes: list[int] = []

    def logits(self, before: Sequence[int]) -> np.ndarray:
        """The logits behind these tokens."""
        return np.random.default_rng(hash(tuple(before[-6:])) % 2**32).normal(size=self.size).astype(np.float32)

    def forward(self, parts: Sequence[Part]) -> list[np.ndarray]:
        assert len({part.slot for part in parts}) == len(parts) > 0
        self.passes.append(sum(len(part.ids) for part in parts))
        return [self.read(self.cache[part.slot], part.ids, part.at, part.rows) for part in parts]

    def read(self, cache: list[int], ids: Sequence[int], at: int, rows: int) -> np.ndarray:
        assert 0 <= at <= len(cache) and at + len(ids) <= self.positions and 1 <= rows <= len(ids)
        cache[at:] = ids
        return np.stack([self.logits(cache[: at + i + 1]) for i in range(len(ids) - rows, len(ids))])

    def keep(self, slot: int, length: int) -> list[int]:
        assert length <= len(self.cache[slot])
        return self.cache[slot][:length]

    def restore(self, slot: int, kept: list[int]) -> None:
        self.cache[slot][: len(kept)] = kept


class Scripted(Fake):
    """Writes known answers to known prompts, and at a share of the places something else first."""

    def __init__(
        self, size: int, rows: Sequence[tuple[Sequence[int], Sequence[int]]], slips: float = 0.0, slots: int = 1
    ) -> None:
        super().__init__(size, 4000, slots)
        self.rows, self.slips = [(list(prompt), list(answer)) for prompt, answer in rows], slips

    def logits(self, before: Sequence[int]) -> np.ndarray:
        found = super().logits(before)
        for prompt, answer in self.rows:
            done = list(before[len(prompt) :])
            if before[: len(prompt)] == prompt and done == answer[: len(done)] and len(done) < len(answer):
                found[answer[len(done)]] += 20
                if random.Random(hash(tuple(before))).random() < self.slips:
                    found[random.Random(len(before)).randrange(self.size)] += 30
        return found
