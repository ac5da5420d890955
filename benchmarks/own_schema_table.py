"""What came of schemas that nobody trained on, from results/own_schema/: how right the rows are, and how long it took.

    python benchmarks/own_schema_table.py --write docs/own-schema.md

Every file there is what `own_schema.py --out` wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from _table import NOTHING, command, measured

from slmbench.publish.tables import full, markdown_table

BEGIN, END = "<!-- own schemas:begin -->", "<!-- own schemas:end -->"
RESULTS = Path(__file__).resolve().parents[1] / "results" / "own_schema"
STEPS = ("new", "synth", "run", "export", "extract")
HEAD = ("schema", "answered by", "JSONExact", "FieldF1", "valid")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, or put them between the markers of a file."""
    command(__doc__, own_table, BEGIN, END, argv)


def own_table(folder: Path = RESULTS) -> str:
    """Markdown: how right each way of answering is, then what each command took."""
    found = measured(folder, "own_schema.py").values()
    if not found:
        return NOTHING
    answers, times = [], []
    for result in found:
        learnt = f"made documents and {result['labelled']} labelled" if result["labelled"] else "made documents"
        ways = {
            "base": "the base",
            "tuned": f"tuned on {learnt}",
            "extract": f"the same, `extract` ({result['way']})",
            "grounded": f"the same, `extract --constraint grounded` ({result['way']})",
        }
        if result["labelled"]:
            del ways["base"]  # it is that of the other row
        for way, words in ways.items():
            figures = (full(result[way][name], name) for name in ("json_exact", "field_f1", "schema_compliance"))
            answers.append([result["schema"], words, *figures])
        seconds = result["seconds"]
        minutes = [f"{seconds[step] / 60:.1f}" for step in STEPS]
        whole = f"**{sum(seconds[step] for step in STEPS) / 60:.1f}**"
        times.append([result["schema"], learnt, f"{result['rows']:,}", *minutes, whole])
    return "\n\n".join(
        (
            markdown_table(HEAD, answers),
            markdown_table(["minutes", "learnt from", "rows", *(f"`{step}`" for step in STEPS), "all"], times),
        )
    )


if __name__ == "__main__":
    main()
