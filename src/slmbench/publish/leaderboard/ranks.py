"""Ranks that are ties where chance could have made the difference."""

from __future__ import annotations

from slmbench.metrics import mcnemar
from slmbench.publish.leaderboard.entries import Board

LEVEL = 0.05
RULE = (
    "A row's rank is one more than the number of rows of its test set that are better than it: more documents exactly "
    "right, and McNemar's exact test on the same documents gives p < 0.05. Rows of the same rank share it (“1=”). "
    "Prompts and constraints are ranked together; the p-values are not corrected for the number of pairs."
)


def ranks(board: Board) -> list[int]:
    """The rank of every entry of a board, in the order of its entries, from 1."""
    exact = [[bool(sample["score"]["exact"]) for sample in entry.samples] for entry in board.entries]
    return [1 + sum(better(other, own) for other in exact) for own in exact]


def better(a: list[bool], b: list[bool]) -> bool:
    """Whether `a` has more documents right than `b`, and more than chance would give it."""
    only_a, only_b = (sum(x and not y for x, y in zip(one, two, strict=True)) for one, two in ((a, b), (b, a)))
    return only_a > only_b and mcnemar(only_a, only_b) < LEVEL
