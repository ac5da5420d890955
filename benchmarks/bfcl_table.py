"""What was answered to BFCL's questions, from results/bfcl/: a row for each file of questions and way to answer.

    python benchmarks/bfcl_table.py --write docs/method.md

Every file there is what `bfcl_models.py --out` wrote of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from _table import command, tables
from bfcl_models import table

BEGIN, END = "<!-- bfcl:begin -->", "<!-- bfcl:end -->"
RESULTS = Path(__file__).resolve().parents[1] / "results" / "bfcl"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, or put them between the markers of a file."""
    command(__doc__, bfcl_table, BEGIN, END, argv)


def bfcl_table(folder: Path = RESULTS) -> str:
    """Markdown: for each run its table."""
    return tables(folder, "bfcl_models.py", table)


if __name__ == "__main__":
    main()
