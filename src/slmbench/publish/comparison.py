"""Several runs that answered the same documents, side by side: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from slmbench.compare import compare, paired
from slmbench.core import BadInput, Example, load_task
from slmbench.metrics import LABELS, SLICE_KEYS, Figure, Sample, slice_order, slices, summarize
from slmbench.monitor import energy_text
from slmbench.publish.faults import leaf_table, outcome
from slmbench.publish.html import NONE, Markup, bars, el, join, key, line_chart, pre, table
from slmbench.publish.page import entry, listing, page
from slmbench.publish.record import Record, machine_of
from slmbench.publish.report import FILTERS, TIMES, tile, times
from slmbench.publish.tables import change, full

MOST = 6
"""Runs at once: colours that can be told apart in light and dark."""
MAX_DOCUMENTS = 500


@dataclass(frozen=True)
class Side:
    """One of those that are compared, on one test set: a run, or the base of one."""

    name: str
    asked: str
    """Prompt and constraint, in words."""
    samples: Sequence[Sample]
    measures: Mapping[str, Figure]
    latency: Mapping[str, Any]
    machine: str
    costs: Mapping[str, str] = field(default_factory=dict)
    """What it took, in words: seconds, memory, energy, size."""
    losses: Sequence[float] = ()
    """Validation loss of each epoch of its training."""
    picture: str = ""
    """What its task has to show of these answers."""


def side_of(record: Record, split: str, stage: Literal["tuned", "base"], samples: Sequence[Sample], name: str) -> Side:
    """A stage's answers to a test set, with what the record says of them."""
    test = record["tests"][split]
    measures, latency = ("measures", "latency") if stage == "tuned" else ("base_measures", "base_latency")
    asked = f"{test['prompt']} prompt, {test['constraint']} generation"
    picture = load_task(test["task"]).picture(samples) if test.get("task") else ""
    losses = record["training"].get("validation_losses", ()) if stage == "tuned" else ()
    costs = costs_of(record, split, stage)
    machine = machine_of(record)
    return Side(name, asked, samples, test.get(measures) or {}, test[latency] or {}, machine, costs, losses, picture)


def costs_of(record: Record, split: str, stage: Literal["tuned", "base"]) -> dict[str, str]:
    """What a stage's answers to a test set took, and what had to be done before, in words."""
    spent, parameters = record["seconds"], record["weights"].get("parameters")
    found = {"parameters": f"{parameters:,}" if parameters else None}
    if stage == "tuned":
        peak, size = record["peak_memory_gib"], record.get("export", {}).get("bytes")
        rows = (record["data"].get("train") or {}).get("rows")
        found |= {
            "files of the export": f"{size / 1e6:.0f} MB" if size else None,
            "trained on": f"{rows:,} rows" if rows else None,
            "training": f"{spent['train']:,.0f} s" if "train" in spent else None,
            "peak memory of the run": f"{peak:.2f} GiB" if peak is not None else None,
            "energy of the run": energy_text(record["hardware"]) if "joules" in record.get("hardware", {}) else None,
        }
    whole = spent.get("bench") if len(record["tests"]) == 1 else None  # of answers that no run wrote
    answered = spent.get(f"{stage}/{split}", whole)
    found |= {"answering": f"{answered:,.0f} s" if answered is not None else None, "machine": machine_of(record)}
    return {name: words for name, words in found.items() if words is not None}


def told_apart(names: Sequence[str]) -> list[str]:
    """Names as they are, numbered where one comes again."""
    return [
        name if names.count(name) == 1 else f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)
    ]


def comparison_page(split: str, sides: Sequence[Side], examples: Sequence[Example] = ()) -> str:
    """The whole page: differences are from the first of two to six sides; `examples` are documents that are here.

    Raises BadInput for more sides, and where they did not answer the same documents.
    """
    if len(sides) > MOST:
        raise BadInput(f"{len(sides)} runs are more than a page can show; compare {MOST} at most.")
    first, *others = sides
    found = [compare(first.samples, side.samples) for side in others]
    rows = list(zip(first.samples, *(paired(first.samples, side.samples)[1] for side in others), strict=True))
    figures = [summarize(side.samples) for side in sides]
    return page(
        f"{', '.join(side.name for side in sides)}: slmbench comparison",
        header(split, sides, len(rows)),
        tiles(sides, figures),
        figures_section(sides, figures, found),
        slices_section(sides),
        times_section(sides),
        costs_section(sides),
        *pictures_section(sides),
        documents_section(sides, rows, {example.id: example.text for example in examples}),
    )


def colour(number: int) -> str:
    """The CSS class of a side's colour."""
    return f"r{number + 1}"


def keys(sides: Sequence[Side]) -> list[Markup]:
    """The sides' names beside their colours."""
    return [key(colour(i), side.name) for i, side in enumerate(sides)]


def header(split: str, sides: Sequence[Side], count: int) -> Markup:
    """What is compared."""
    line = (
        f"{count} documents of {split}, each answered by all. Differences are from {sides[0].name}, in pairs of "
        "answers to one document. Intervals are 95 %."
    )
    return el("header", el("h1", "Comparison of runs"), el("p", line))


def tiles(sides: Sequence[Side], figures: Sequence[Mapping[str, Figure]]) -> Markup:
    """One tile for each side: JSONExact, large, over how it was asked."""
    made = [
        tile(side.name, figure["json_exact"], side.asked, class_=f"tile {colour(i)}")
        for i, (side, figure) in enumerate(zip(sides, figures, strict=True))
    ]
    return el("section", *made, class_="tiles")


def figures_section(
    sides: Sequence[Side], figures: Sequence[Mapping[str, Figure]], found: Sequence[Mapping[str, Any]]
) -> Markup:
    """Metrics by sides, under each but the first its difference; measures of the task's own have none."""
    rows = []
    for name, label in LABELS.items():
        under = [Markup(), *(el("div", change(one["metrics"][name], name), class_="quiet") for one in found)]
        cells = (join(full(figure[name], name), line) for figure, line in zip(figures, under, strict=True))
        rows.append([label, *cells])
    own = {name: figure["label"] for side in sides for name, figure in side.measures.items()}
    rows += [[label, *(full(side.measures.get(name), name) for side in sides)] for name, label in own.items()]
    return el("section", el("h2", "Figures"), table(["", *keys(sides)], rows))


def slices_section(sides: Sequence[Side]) -> Markup:
    """JSONExact by what the documents are labelled as, a bar for each side."""
    titles = {colour(i): side.name for i, side in enumerate(sides)}
    parts = []
    for label in SLICE_KEYS:
        found = [slices(side.samples, label) for side in sides]
        names = sorted({name for part in found for name in part}, key=slice_order)
        lines = [
            (name, {colour(i): part[name]["json_exact"] for i, part in enumerate(found) if name in part})
            for name in names
        ]
        state: dict[str, str | float] = {"open": ""} if label == "complexity" else {}
        parts.append(el("details", el("summary", f"JSONExact by {FILTERS[label]}"), bars(lines, titles), **state))
    return el("section", el("h2", "Slices"), el("p", *keys(sides)), *parts)


def times_section(sides: Sequence[Side]) -> Markup:
    """Times at batch 1: a table for each machine, since those of two machines say nothing of the runs."""
    machines: dict[str, list[Side]] = {}
    for side in sides:
        if side.latency:
            machines.setdefault(side.machine, []).append(side)
    tables = [
        (el("h3", machine), table(["at batch 1", *TIMES], [[side.name, *times(side.latency)] for side in timed]))
        for machine, timed in machines.items()
    ]
    return el("section", el("h2", "Times"), *(part for one in tables for part in one))


def costs_section(sides: Sequence[Side]) -> Markup:
    """What each side took, and how the losses of those that were trained fell."""
    names = dict.fromkeys(name for side in sides for name in side.costs)
    rows = [[name, *(side.costs.get(name, NONE) for side in sides)] for name in names]
    lines = {
        colour(i): [(float(epoch), float(loss)) for epoch, loss in enumerate(side.losses, 1)]
        for i, side in enumerate(sides)
        if side.losses
    }
    titles = {colour(i): side.name for i, side in enumerate(sides)}
    charts = [line_chart("Validation loss", lines, "epoch", "loss", titles)] if lines else []
    return el("section", el("h2", "Costs"), table(["", *keys(sides)], rows), *charts)


def pictures_section(sides: Sequence[Side]) -> list[Markup]:
    """What the task has to show of each side's answers, closed until it is asked for; nothing where it has nothing."""
    parts = [el("details", el("summary", name), Markup(side.picture))
             for name, side in zip(keys(sides), sides, strict=True) if side.picture]  # fmt: skip
    return [el("section", el("h2", "The answers as a picture"), *parts)] if parts else []


def documents_section(sides: Sequence[Side], rows: Sequence[Sequence[Sample]], texts: Mapping[str, str]) -> Markup:
    """Every document that some sides answer exactly and others do not, with filters; at most 500."""
    found = [row for row in rows if len({sample["score"]["exact"] for sample in row}) > 1]
    found.sort(key=apart, reverse=True)
    listed = found[:MAX_DOCUMENTS]
    said = (
        f"Some of the runs answer {len(found)} of {len(rows)} documents exactly and others do not: those first whose "
        "answers are furthest apart in right leaves (F1)"
    )
    said += f"; the first {MAX_DOCUMENTS} are listed." if len(found) > MAX_DOCUMENTS else "."
    names = {colour(i): side.name for i, side in enumerate(sides)} | {name: FILTERS[name] for name in SLICE_KEYS}
    facets = [
        {colour(i): outcome(sample) for i, sample in enumerate(row)} | {name: str(row[0][name]) for name in SLICE_KEYS}
        for row in listed
    ]
    entries = [document(sides, row, texts.get(row[0]["id"]), part) for row, part in zip(listed, facets, strict=True)]
    return listing("Where they differ", said, names, facets, entries)


def apart(row: Sequence[Sample]) -> float:
    """How far the best answer to a document is from the worst, in F1 of leaves."""
    scores = [float(sample["score"]["f1"]) for sample in row]
    return max(scores) - min(scores)


def document(sides: Sequence[Side], row: Sequence[Sample], text: str | None, facet: Mapping[str, str]) -> Markup:
    """One document: its text where it is here, its gold, the leaves that differ, and the answers side by side."""
    right = ", ".join(side.name for side, sample in zip(sides, row, strict=True) if sample["score"]["exact"])
    answers = [
        el("div", el("h3", name, f": {outcome(sample)}"), pre(sample["output"]))
        for name, sample in zip(keys(sides), row, strict=True)
    ]
    return entry(
        facet,
        join(el("code", row[0]["id"]), f" right: {right}"),
        el("h3", "Text"),
        pre(text) if text is not None else el("p", "Its data is not here.", class_="quiet"),
        el("h3", "Gold"),
        pre(row[0]["target"]),
        *leaf_table(row[0]["target"], [(side.name, s["output"]) for side, s in zip(sides, row, strict=True)]),
        el("div", *answers, class_="grid2"),
    )
