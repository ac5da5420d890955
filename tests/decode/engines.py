"""Engines for tests: one that writes what it is told, one that writes what a hash of the text says."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np


class Fake:
    """A model whose next token is a function of all tokens before, with a cache that notices misuse."""

    def __init__(self, size: int, positions: int = 600) -> None:
        self.size, self.positions = size, positions
        self.cache: list[int] = []
        self.passes: list[int] = []

    def logits(self, before: Sequence[int]) -> np.ndarray:
        """The logits behind these tokens."""
        return np.random.default_rng(hash(tuple(before[-6:])) % 2**32).normal(size=self.size).astype(np.float32)

    def forward(self, ids: Sequence[int], at: int, rows: int) -> np.ndarray:
        assert 0 <= at <= len(self.cache) and at + len(ids) <= self.positions and 1 <= rows <= len(ids)
        self.cache[at:] = ids
        self.passes.append(len(ids))
        return np.stack([self.logits(self.cache[: at + i + 1]) for i in range(len(ids) - rows, len(ids))])

    def keep(self, length: int) -> list[int]:
        assert length <= len(self.cache)
        return self.cache[:length]

    def restore(self, kept: list[int]) -> None:
        self.cache[: len(kept)] = kept


class Scripted(Fake):
    """Writes known answers to known prompts, and at a share of the places something else first."""

    def __init__(self, size: int, rows: Sequence[tuple[Sequence[int], Sequence[int]]], slips: float = 0.0) -> None:
        super().__init__(size, 4000)
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
