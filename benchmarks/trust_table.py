"""How far sources and confidence can be trusted, from results/trust/.

    python benchmarks/trust_table.py --write docs/method.md

Every file there is what `extract_trust.py --out` wrote of a model and labelled rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from _table import command, tables
from extract_trust import table

BEGIN, END = "<!-- trust:begin -->", "<!-- trust:end -->"
RESULTS = Path(__file__).resolve().parents[1] / "results" / "trust"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, or put them between the markers of a file."""
    command(__doc__, trust_table, BEGIN, END, argv)


def trust_table(folder: Path = RESULTS) -> str:
    """Markdown: what was measured of each model."""
    return tables(folder, "extract_trust.py", table)


if __name__ == "__main__":
    main()
