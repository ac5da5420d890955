"""What extracting very many documents takes, reckoned from what was measured: the tables of docs/scale.md.

    python benchmarks/scale_table.py --write docs/scale.md

Every file of results/scale/, which `extract_rate.py` writes, has its rates in the first table and a column in the
second. Nothing in them is typed: what is assumed stands in the constants of this script, and is said in the tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _table import NOTHING, command, measured
from extract_rate import HEAD, cells

from slmbench.publish.tables import markdown_table

BEGIN, END = "<!-- scale:begin -->", "<!-- scale:end -->"
RESULTS = Path(__file__).resolve().parents[1] / "results" / "scale"
DOCUMENTS, SHARD = 10**9, 10**6
"""Documents that are reckoned for, and of them in one file."""
CORES, HOURS = 64, 24
"""Of a machine, and how long the machines have."""
QUEUED = 10**6
"""Tasks that one node of Ray has been shown to queue: release/benchmarks/README.md of Ray."""


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, or put them between the markers of a file."""
    command(__doc__, scale_table, BEGIN, END, argv)


def scale_table(folder: Path = RESULTS) -> str:
    """Markdown: the rates that were measured, then what follows from them."""
    found = measured(folder, "extract_rate.py")
    if not found:
        return NOTHING
    rates = [
        [name if i == 0 else "", way, *cells(part)]
        for name, result in found.items()
        for i, (way, part) in enumerate(result["ways"].items())
    ]
    parts = [
        markdown_table(["measured", "by", *HEAD[1:]], rates),
        "\n".join(f"- {name}: {said(result)}" for name, result in found.items()),
        markdown_table(
            [f"for {DOCUMENTS:,} documents", *found],
            [list(row) for row in zip(LABELS, *(reckoned(result) for result in found.values()), strict=True)],
        ),
    ]
    return "\n\n".join(parts)


def said(result: Mapping[str, Any]) -> str:
    """What a result was measured on."""
    read, one = result["documents"], next(iter(result["ways"].values()))
    mean = read["bytes"] / read["count"]
    asked = " with --explain" if result["explain"] else ""
    tokens = f"{read['mean_tokens']:.0f} tokens of their own"
    if one["prompt_tokens"] is not None:
        tokens += f", {one['prompt_tokens']:.0f} with the prompt, {one['output_tokens']:.0f} written"
    return (
        f"{result['model']}{asked}, {result['batch']} at a time; {read['count']:,} documents of {mean:,.0f} bytes on"
        f" average ({read['bytes'] / 1e6:.2f} MB in all; {tokens}); {result['machine']['cpu']}"
    )


def basis(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The way that many cores are reckoned by: a process for each core, all of them at work."""
    own = [part for part in result["ways"].values() if part["engine"] == "local"]
    best: Mapping[str, Any] = max(own, key=lambda part: part["processes"])
    return best


LABELS = (
    "core-hours",
    f"machines of {CORES} cores, for {HOURS} hours",
    "memory of such a machine's processes, GiB",
    "documents, TB",
    "rows, TB",
    f"shards of {SHARD:,} documents",
    "a shard on one core, hours",
    "rows of a shard, GB",
    "cursor files of all shards, MB",
    "going on in a shard that was nearly done: reading its rows, s",
    "all in one command of --engine ray: units",
    f"of these to the {QUEUED:,} tasks that Ray is known to queue",
    "saying where they are, GB",
    "counting documents before the first is read, hours",
    "going on when nearly done: reading the rows, hours",
)


def reckoned(result: Mapping[str, Any]) -> list[str]:
    """A figure for each of LABELS."""
    way, read = basis(result), result["documents"]
    hours = DOCUMENTS / way["per_hour_and_core"]
    shards = DOCUMENTS / SHARD
    units = DOCUMENTS / result["unit_documents"]
    return [
        shown(hours),
        f"{math.ceil(hours / HOURS / CORES):,}",
        shown(CORES * way["peak_memory_gib"]),
        shown(DOCUMENTS * read["bytes"] / read["count"] / 1e12),
        shown(DOCUMENTS * result["row_bytes"] / 1e12),
        f"{math.ceil(shards):,}",
        shown(hours / shards),
        shown(SHARD * result["row_bytes"] / 1e9),
        shown(shards * result["cursor_bytes"] / 1e6),
        shown(SHARD / result["again_per_s"]),
        f"{math.ceil(units):,}",
        f"{shown(units / QUEUED)} ×",
        shown(units * result["unit_bytes"] / 1e9),
        shown(DOCUMENTS / result["count_per_s"] / 3600),
        shown(DOCUMENTS / result["again_per_s"] / 3600),
    ]


def shown(value: float) -> str:
    """Three figures of a number, or all before the point.

    >>> [shown(value) for value in (0.01234, 1.234, 12345.6)]
    ['0.0123', '1.23', '12,346']
    """
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"{value:,.{max(0, digits)}f}"


if __name__ == "__main__":
    main()
