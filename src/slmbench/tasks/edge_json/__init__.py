"""EdgeJSON: one object out of one document, 25 schemas of everyday records, ten styles of document.

Splits: `train` and `test`; `test_styles` (the same schemas in styles never trained on); `test_schemas` (schemas never
trained on). The files are frozen; `generate.py` makes them again, byte for byte, and larger ones like them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmbench.core import BadInput, Completion, Example

if TYPE_CHECKING:
    from slmbench.metrics import Score

_HERE = Path(__file__).parent
_SPLITS = ("train", "test", "test_styles", "test_schemas")


class EdgeJson:
    """The benchmark as a `Task`."""

    name = "edge_json"
    version = "1.0"

    def splits(self) -> list[str]:
        return list(_SPLITS)

    def load(self, split: str) -> list[Example]:
        """The examples of a frozen split. Raises BadInput for a split there is none of."""
        from slmbench.data import read_examples

        if split not in _SPLITS:
            raise BadInput(f"edge_json: no split {split!r}: take one of {', '.join(_SPLITS)}")
        folder = "schemas_unseen" if split == "test_schemas" else "schemas"
        return read_examples(_HERE / "data" / f"{split}.jsonl", schemas=_HERE / folder, split=split)

    def score(self, example: Example, completion: Completion) -> Score:
        from slmbench.metrics import score

        return score(example, completion)

    def summarize(self, samples: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        from slmbench.metrics import summarize

        return summarize(samples)


TASK = EdgeJson()
