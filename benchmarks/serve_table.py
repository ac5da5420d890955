"""How a server holds out, from results/serving/: alone, under load, with many connections, and under faults.

    python benchmarks/serve_table.py --write docs/serving.md

Every file there is what `serve_load.py --out` wrote of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from _table import command, tables
from serve_load import table

BEGIN, END = "<!-- serving:begin -->", "<!-- serving:end -->"
RESULTS = Path(__file__).resolve().parents[1] / "results" / "serving"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, or put them between the markers of a file."""
    command(__doc__, serving_table, BEGIN, END, argv)


def serving_table(folder: Path = RESULTS) -> str:
    """Markdown: what was measured of each model."""
    return tables(folder, "serve_load.py", table)


if __name__ == "__main__":
    main()
