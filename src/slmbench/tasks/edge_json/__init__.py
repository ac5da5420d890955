"""EdgeJSON: one object out of one document, 25 schemas of everyday records, ten styles of document.

Splits: `train` and `test`; `test_styles` (the same schemas in styles never trained on); `test_schemas` (schemas never
trained on). The files are frozen; `generate.py` makes them again, byte for byte. `train_large` has no file: it is made
when it is asked for, half of it under hundreds of invented schemas; `train_large:N` has N rows.
"""

from __future__ import annotations

from pathlib import Path

from slmbench.core import Example
from slmbench.tasks import LARGE, JsonTask

_HERE = Path(__file__).parent


class EdgeJson(JsonTask):
    """The benchmark as a `Task`."""

    name = "edge_json"
    names = ("train", "test", "test_styles", "test_schemas", LARGE)
    made = frozenset({LARGE})

    def load(self, split: str) -> list[Example]:
        """The examples of a split, `train_large:N` for N rows. Raises BadInput for a split there is none of."""
        from slmbench.data import read_examples

        if split.partition(":")[0] == LARGE:
            from slmbench.tasks.edge_json.generate import LARGE_SIZE, large

            return list(large(self.rows(split) or LARGE_SIZE))
        self.check(split)
        folder = "schemas_unseen" if split == "test_schemas" else "schemas"
        return read_examples(_HERE / "data" / f"{split}.jsonl", schemas=_HERE / folder, split=split)


TASK = EdgeJson()
