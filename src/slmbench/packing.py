"""Rows of tokens packed into passes: end to end, without padding, and what they begin with in common there once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from slmbench.budget import even
from slmbench.template import Encoded

SHARED = 8
"""Tokens that a shared beginning must save: it costs a gathering of keys for every row that has it."""


@dataclass(frozen=True)
class Segment:
    """Tokens in a row, from `begin` to `end` of the pass, behind those of the segments `before` it: (begin, end)."""

    begin: int
    end: int
    before: tuple[tuple[int, int], ...] = ()

    @property
    def shared(self) -> int:
        """The number of tokens before it."""
        return sum(end - begin for begin, end in self.before)


@dataclass(frozen=True)
class Packed:
    """Segments end to end, then tokens of none up to a multiple of EVEN. Those that several rows share are the first
    `shared` tokens; `picks` are the positions whose next token is a label."""

    ids: torch.Tensor
    positions: torch.Tensor
    segments: tuple[Segment, ...]
    shared: int
    picks: torch.Tensor
    labels: torch.Tensor


def packed(rows: Sequence[Encoded], budget: int) -> list[list[Encoded]]:
    """Rows cut into as few passes of at most `budget` tokens as can be, of like size; a row alone may exceed it.

    The longest first, each into the pass with the fewest tokens so far (Graham's LPT rule).
    """
    tokens = sum(len(row.ids) for row in rows)
    order = sorted(rows, key=lambda r: (-len(r.ids), r.id))
    for count in range(max(1, -(-tokens // budget)), len(rows) + 1):
        groups: list[list[Encoded]] = [[] for _ in range(count)]
        sizes = [0] * count
        for row in order:
            place = sizes.index(min(sizes))
            groups[place].append(row)
            sizes[place] += len(row.ids)
        if all(size <= budget or len(group) == 1 for size, group in zip(sizes, groups, strict=True)):
            return [group for group in groups if group]
    return [[row] for row in order]


def alike(rows: Sequence[Encoded], budget: int) -> list[list[Encoded]]:
    """Rows cut into passes of at most `budget` tokens, those together that begin alike."""
    groups: list[list[Encoded]] = []
    for row in sorted(rows, key=lambda r: (r.ids, r.id)):
        if groups and sum(own for own, _ in sizes([*groups[-1], row])) <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def passes(rows: Sequence[Encoded], budget: int) -> list[list[Encoded]]:
    """Rows cut into passes of at most `budget` tokens: of like size, or rows that begin alike where these are fewer."""
    even, shared = packed(rows, budget), alike(rows, budget)
    return shared if len(shared) < len(even) else even


def segments(rows: Sequence[Encoded]) -> list[tuple[int, int, int, int]]:
    """What a pass over rows holds: (row, from, to, parent) for every run of tokens that is there once.

    Shared beginnings come first, parents before what follows them, then the rest of every row; `parent` is a place in
    the list, -1 for none. A beginning is shared where that saves SHARED tokens or more, and never with a label.
    """
    order = sorted(range(len(rows)), key=lambda i: (rows[i].ids, i))
    trunk: list[tuple[int, int, int, int]] = []
    leaves: list[tuple[int, int, int, int]] = []

    def split(group: list[int], done: int, parent: int) -> None:
        limit = min(rows[i].prompt_tokens for i in group) - 1
        first, last = rows[group[0]].ids, rows[group[-1]].ids
        common = next((i for i in range(done, limit) if first[i] != last[i]), max(limit, done))
        if (common - done) * (len(group) - 1) >= SHARED:
            trunk.append((group[0], done, common, parent))
            done, parent = common, len(trunk) - 1
        for _, members in itertools.groupby(group, key=lambda i: rows[i].ids[done : common + 1]):
            part = list(members)
            if 1 < len(part) < len(group):
                split(part, done, parent)
            else:
                leaves.extend((i, done, len(rows[i].ids), parent) for i in part)

    split(order, 0, -1)
    return trunk + sorted(leaves)


def sizes(rows: Sequence[Encoded]) -> list[tuple[int, int]]:
    """Of every segment of a pass: its tokens, and those that its last looks at."""
    return [(stop - start, stop) for _, start, stop, _ in segments(rows)]


def pack(rows: Sequence[Encoded]) -> Packed:
    """Encoded examples -> Packed; each row's last label is its EOS."""
    ids: list[int] = []
    positions: list[int] = []
    picks: list[int] = []
    labels: list[int] = []
    placed: list[Segment] = []
    shared = 0
    for row, start, stop, parent in segments(rows):
        whole, begin = rows[row], len(ids)
        before = (*placed[parent].before, (placed[parent].begin, placed[parent].end)) if parent >= 0 else ()
        ids += whole.ids[start:stop]
        positions += range(start, stop)
        placed.append(Segment(begin, len(ids), before))
        if stop < len(whole.ids):
            shared = len(ids)
        else:
            picks += range(begin + whole.prompt_tokens - 1 - start, len(ids) - 1)
            labels += whole.ids[whole.prompt_tokens :]
    spare = [0] * (even(len(ids)) - len(ids))
    ids += spare
    positions += spare
    tensors = [torch.tensor(values) for values in (ids, positions, picks, labels)]
    return Packed(tensors[0], tensors[1], tuple(placed), shared, tensors[2], tensors[3])
