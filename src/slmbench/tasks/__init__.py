"""Tasks, a folder each; what most of them have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slmbench.core import BadInput, Completion, Example
from slmbench.metrics import Figure, Score, score


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

    def score(self, example: Example, completion: Completion) -> Score:
        """The measures of one completion."""
        return score(example, completion)

    def measures(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
        """Nothing beside what is measured of every task."""
        return {}

    def picture(self, samples: Sequence[Mapping[str, Any]]) -> str:
        """Nothing."""
        return ""
