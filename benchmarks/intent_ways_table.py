"""The two ways to tell an intent, from results/intents/: accuracy and time of each.

    python benchmarks/intent_ways_table.py --write docs/method.md

Every file there is what `intent_ways.py --out` wrote of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from _table import NOTHING, command, measured

from slmbench.publish.tables import full, markdown_table

BEGIN, END = "<!-- intent ways:begin -->", "<!-- intent ways:end -->"
RESULTS = Path(__file__).resolve().parents[1] / "results" / "intents"
HEAD = ("model", "way", "accuracy", "among the first 3", "mean ms", "p50", "p95")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table, or put it between the markers of a file."""
    command(__doc__, ways_table, BEGIN, END, argv)


def ways_table(folder: Path = RESULTS) -> str:
    """Markdown: two rows for each model."""
    rows = []
    for name, result in measured(folder, "intent_ways.py").items():
        for way in ("written", "weighed"):
            part = result[way]
            times = [f"{part[key]:.0f}" for key in ("mean_ms", "p50_ms", "p95_ms")]
            top = full(part["top"], "") if "top" in part else "–"
            rows.append([name, way, full(part["accuracy"], ""), top, *times])
    return markdown_table(HEAD, rows) if rows else NOTHING


if __name__ == "__main__":
    main()
