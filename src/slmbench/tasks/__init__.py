"""Tasks, a folder each; what most of them have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slmbench.core import BadInput, Completion, Example
from slmbench.metrics import Figure, Score, score

LARGE = "train_large"
"""The split of what was made or written to train on beside `train`."""


class JsonTask:
    """What a `Task` is without splits: every answer is scored as JSON, nothing else is measured or shown."""

    name: str
    version = "1.0"
    made: frozenset[str] = frozenset()
    names: tuple[str, ...]
    """Of its splits."""

    def splits(self) -> list[str]:
        """The names that `load` takes."""
        return list(self.names)

    def check(self, split: str) -> None:
        """Raises BadInput for a split there is none of."""
        if split not in self.names:
            raise BadInput(f"{self.name}: no split {split!r}: take one of {', '.join(self.names)}")

    def rows(self, split: str) -> int | None:
        """N of a split SPLIT:N that is made when it is asked for, None without it. Raises BadInput for no number."""
        name, colon, rows = split.partition(":")
        if colon and not (rows.isascii() and rows.isdigit() and int(rows) > 0):
            raise BadInput(f"{self.name}: {split}: give a number of rows after the colon, as in {name}:3000")
        return int(rows) if colon else None

    def score(self, example: Example, completion: Completion) -> Score:
        """The measures of one completion."""
        return score(example, completion)

    def measures(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
        """Nothing beside what is measured of every task."""
        return {}

    def picture(self, samples: Sequence[Mapping[str, Any]]) -> str:
        """Nothing."""
        return ""
