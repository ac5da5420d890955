"""What one model for several tasks costs or gives: each unified model against each model of a single task, in pairs.

Both have answered the same test rows; the table is made of results/ alone and printed as Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from _table import command

from slmbench.compare import difference, paired
from slmbench.metrics import Sample, figure
from slmbench.publish.record import Record
from slmbench.publish.stored import load_record, load_samples
from slmbench.publish.tables import full, markdown_table

RESULTS = Path(__file__).resolve().parents[1] / "results"
UNIFIED = ("unified_135m", "unified_135m_even")
ALONE = {
    "edge_json_135m": "test",
    "edge_json_135m_large": "test",
    "edge_intent_135m": "edge_intent_test",
    "edge_func_call_135m": "edge_func_call_test",
}
"""Each model of one task, and what a unified one calls the test set that both answered."""
Answers = dict[str, list[Sample]]
BEGIN, END = "<!-- mixing:begin -->", "<!-- mixing:end -->"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables, or put them between the markers of a file."""
    command(__doc__, mixing_table, BEGIN, END, argv)


def mixing_table(results: Path = RESULTS) -> str:
    """Markdown: a table for each unified model."""
    alone = {name: tuned(results, name) for name in ALONE}
    return "\n\n".join(against(name, *tuned(results, name), alone) for name in UNIFIED)


def tuned(results: Path, name: str) -> tuple[Record, Answers]:
    """A model's record, and what its adapter answered, by the name of the test set."""
    path = results / f"{name}.json"
    record = load_record(path)
    return record, {test: ways["tuned"] for test, ways in load_samples(path, record).items()}


def against(mix: str, mixed: Record, answers: Answers, models: Mapping[str, tuple[Record, Answers]]) -> str:
    """A row for each model of one task; all differences are the unified model's figure minus that one's."""
    rows = []
    for name, (record, own) in models.items():
        alone, together = paired(own["test"], answers[ALONE[name]])
        found = difference(alone, together, "json_exact")
        change, low, high = (f"{100 * found[key]:+.1f}".replace("-", "−") for key in ("difference", "low", "high"))
        rows.append([
            name, learnt(record), full(figure(alone, "json_exact"), "json_exact"),
            full(figure(together, "json_exact"), "json_exact"), f"{change} ({low} to {high})",
            "< 0.001" if found["p"] < 0.001 else f"{found['p']:.3f}",
        ])  # fmt: skip
    head = [
        "trained on one task",
        "it learnt from",
        "JSONExact",
        f"{mix}, {learnt(mixed)}",
        "points",
        "McNemar's p",
    ]
    return markdown_table(head, rows)


def learnt(record: Record) -> str:
    """Rows times epochs, how long it took, and on what where that is no CPU."""
    training = record["training"]
    gpu = "" if training["device"] == "cpu" else " of a GPU"
    times = f" × {training['epochs']}" if training["epochs"] > 1 else ""
    return f"{training['examples']:,} rows{times} in {training['seconds'] / 60:.0f} min{gpu}"


if __name__ == "__main__":
    main()
