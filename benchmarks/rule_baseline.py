"""What the rule baseline scores on EdgeJSON, by style and by complexity: how much of the data is mere copying.

`slmbench.tasks.edge_json.baseline` matches labels and learns nothing. It is run over every test split, its objects are
scored as a model's outputs are, and the table is printed as Markdown.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _table import command

from slmbench.core import Completion, Example
from slmbench.evaluate import make_sample
from slmbench.kept import kept_baseline
from slmbench.metrics import Sample, figure, shown, slices
from slmbench.publish.tables import markdown_table
from slmbench.schema import canonical
from slmbench.tasks.edge_json import TASK, baseline

SPLITS = ("test", "test_styles", "test_schemas")
BEGIN, END = "<!-- baseline:begin -->", "<!-- baseline:end -->"
METRICS = ("json_exact", "field_f1")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, or put it between the markers of a file."""
    command(__doc__, baseline_table, BEGIN, END, argv, keep)


def keep(results: Path) -> list[Path]:
    """Write its answers to all splits as a result."""
    started = time.monotonic()
    says = "rules that match labels and learn nothing"
    kept = kept_baseline(results, "rules", says, "rule_baseline", TASK, SPLITS)
    samples = {split: [answered(example) for example in examples] for split, examples in kept.examples.items()}
    return [kept.write(samples, time.monotonic() - started)]


def baseline_table() -> str:
    """Markdown: for each test split a row for all of it, for each complexity and for each style."""
    rows: list[list[str]] = []
    for split in SPLITS:
        samples = [answered(example) for example in TASK.load(split)]
        rows.append([f"**{split}**", "all", *cells({name: figure(samples, name) for name in METRICS})])
        for key in ("complexity", "style"):
            rows += [["", name, *cells(part)] for name, part in slices(samples, key).items()]
    return markdown_table(["split", "slice", "JSONExact", "k/n", "FieldF1 (micro)"], rows)


def answered(example: Example) -> Sample:
    """The baseline's answer to one example as a scored sample; it writes no tokens and needs no prompt."""
    started = time.perf_counter()
    text = canonical(baseline.predict(example.text, example.schema), example.schema)
    seconds = time.perf_counter() - started
    return make_sample(TASK, example, Completion(example.id, text, (), "stop", 0, 0, None, seconds, 1))


def cells(figures: Mapping[str, Any]) -> list[str]:
    """JSONExact as percent and k/n, and FieldF1."""
    exact, f1 = (figures[name] for name in METRICS)
    return [shown(exact["value"], "json_exact"), f"{exact['k']}/{exact['n']}", shown(f1["value"], "field_f1")]


if __name__ == "__main__":
    main()
