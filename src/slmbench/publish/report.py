"""The report of a run: one HTML file that needs nothing else, for a screen of any width, in light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from slmbench.core import Example, load_task
from slmbench.metrics import SLICE_KEYS, Figure, Sample, shown
from slmbench.monitor import energy_text
from slmbench.publish.calibration import calibration_section
from slmbench.publish.card import base_id, flattened
from slmbench.publish.faults import leaf_table, outcome
from slmbench.publish.foretold import plan_section
from slmbench.publish.html import Markup, Point, bars, el, histogram, join, line_chart, pre, table, thinned
from slmbench.publish.page import entry, listing, page
from slmbench.publish.record import Record, SamplesBySplit, kind_of
from slmbench.publish.tables import figure_rows, full, side_name

MAX_ERRORS = 500
FILTERS = {"split": "split", "kind": "kind", "complexity": "complexity", "style": "style", "schema_id": "schema"}


def report(
    record: Record,
    samples: SamplesBySplit,
    examples: Mapping[str, Sequence[Example]],
    history: Sequence[Mapping[str, Any]],
    hardware: Sequence[Mapping[str, Any]] = (),
    calibration: Mapping[str, Mapping[str, Any] | None] | None = None,
    plan: Mapping[str, Any] | None = None,
) -> str:
    """The whole page.

    `samples` are split -> {"tuned": [...], "base": [...], "timed": [...]}, all but `tuned` optional; `examples` are
    split -> the documents; `history` the rows of the training's `history.jsonl`; `hardware` the run's samples as
    `monitor.read_lines` gives them; `calibration` is export -> what its manifest says of its confidences; `plan` is
    what the run's `plan.json` holds.
    """
    side = side_name(record)
    sections = [
        header(record),
        headline(record),
        *(split_section(split, test, samples.get(split, {}), side) for split, test in record["tests"].items()),
        training_section(record, history),
        *([plan_section(plan)] if plan else []),
        cost_section(record, samples),
        *([hardware_section(record, hardware)] if hardware else []),
        *(calibration_section(name, told) for name, told in (calibration or {}).items() if told),
        errors_section(samples, examples),
    ]
    return page(f"{record['name']}: slmbench report", *sections)


def header(record: Record) -> Markup:
    """The name, and in one line what this is."""
    done = "tuned with LoRA to write JSON" if kind_of(record) == "tuned" else "as it is, asked to write JSON"
    line = (
        f"{base_id(record)}, {done}; run of {record['created'][:10]}, "
        f"slmbench {record['slmbench']}. Intervals are 95 %."
    )
    return el("header", el("h1", record["name"]), el("p", line))


def headline(record: Record) -> Markup:
    """One tile for each test split: JSONExact, large, over the base model's."""
    tiles, tuned = [], kind_of(record) == "tuned"
    for split, test in record["tests"].items():
        part = test["metrics"]["json_exact"]
        beside = [f"base {full(test['base']['json_exact'], 'json_exact')}"] if test["base"] else []
        beside += ["base not evaluated"] if tuned and not test["base"] else []
        tiles.append(tile(f"JSONExact on {split}", part, *beside))
    return el("section", *tiles, class_="tiles")


def tile(name: str, part: Figure, *beside: str, **attributes: str) -> Markup:
    """A share with its counts and interval, large, under its name and over what stands beside it."""
    return el(
        "div",
        el("span", name),
        el("strong", shown(part["value"], "json_exact")),
        el("span", f"{part['k']} of {part['n']}; {100 * part['low']:.0f}–{100 * part['high']:.0f} %"),
        *(el("span", words, class_="quiet") for words in beside),
        **{"class_": "tile", **attributes},
    )


def split_section(split: str, test: Mapping[str, Any], samples: Mapping[str, Sequence[Sample]], side: str) -> Markup:
    """The table of one test split, its slices as bars, and what its task has to show."""
    parts = [table(*figure_rows(test, side))]
    for key in SLICE_KEYS:
        known = (test["base_slices"] or {}).get(key, {})
        lines = []
        for name, part in test["slices"][key].items():
            both = {"base": known[name]["json_exact"]} if name in known else {}
            lines.append((name, {**both, side: part["json_exact"]}))
        summary = el("summary", f"JSONExact by {FILTERS[key]}")
        state: dict[str, str | float] = {"open": ""} if key == "complexity" else {}
        parts.append(el("details", summary, bars(lines), **state))
    if test.get("task") and samples.get("tuned"):
        parts.append(Markup(load_task(test["task"]).picture(samples["tuned"])))
    title = f"{split}: {test['prompt']} prompt, {test['constraint']} generation"
    return el("section", el("h2", title), *parts)


def training_section(record: Record, history: Sequence[Mapping[str, Any]]) -> Markup:
    """Every update as curves, and what training came to."""
    train, validation = loss_points(history)
    updates = [row for row in history if "loss" in row]
    curves = (
        ("Loss", {"train": train, "validation": validation}, "loss"),
        ("Learning rate", {"rate": update_points(updates, "lr")}, "learning rate"),
        ("Throughput", {"speed": speed_points(updates)}, "tokens/s"),
        ("Most memory so far", {"memory": update_points(updates, "memory_gib")}, "GiB"),
    )
    chart = charted(curves, "update")
    facts = table(["training", ""], list(flattened(record["training"]))) if record["training"] else Markup()
    settings = el("details", el("summary", "Recipe"), table(["setting", ""], list(flattened(record["recipe"]))))
    return el("section", el("h2", "Training"), el("div", *chart, facts, class_="grid2"), settings)


def loss_points(history: Sequence[Mapping[str, Any]]) -> tuple[list[Point], list[Point]]:
    """(update, loss) of training, and of validation at the update that it followed."""
    train, validation = (
        [(float(row["update"]), float(row[key])) for row in history if key in row]
        for key in ("loss", "validation_loss")
    )
    return train, validation


def charted(curves: Sequence[tuple[str, Mapping[str, Sequence[Point]], str]], x_label: str) -> list[Markup]:
    """Line charts of (title, lines, y label), without lines and charts that have no points."""
    found = [
        (title, {name: points for name, points in lines.items() if points}, label) for title, lines, label in curves
    ]
    return [line_chart(title, lines, x_label, label) for title, lines, label in found if lines]


def update_points(updates: Sequence[Mapping[str, Any]], key: str) -> list[Point]:
    """(update, value) of one figure of the history."""
    return thinned([(float(row["update"]), float(row[key])) for row in updates if key in row])


def speed_points(updates: Sequence[Mapping[str, Any]]) -> list[Point]:
    """(update, tokens a second) of each update by itself, with whatever came between it and the one before."""
    known = [row for row in updates if "tokens" in row and "seconds" in row]
    pairs = [
        (float(row["update"]), row["tokens"] - before["tokens"], row["seconds"] - before["seconds"])
        for before, row in pairwise(known)
    ]
    return thinned([(update, tokens / seconds) for update, tokens, seconds in pairs if seconds > 0])


def hardware_section(record: Record, hardware: Sequence[Mapping[str, Any]]) -> Markup:
    """The machine beside the run: use, memory, temperature over the minutes of work, and what they came to."""
    minutes, clock = 0.0, []
    for line in hardware:
        minutes += line.get("seconds", 0) / 60
        clock.append(minutes)

    def points(key: str) -> list[Point]:
        return thinned([(at, float(line[key])) for at, line in zip(clock, hardware, strict=True) if key in line])

    def gpu_points(key: str) -> list[Point]:
        """The mean over GPUs."""
        found = [
            (at, [g[key] for g in line.get("gpus", []) if key in g]) for at, line in zip(clock, hardware, strict=True)
        ]
        return thinned([(at, sum(values) / len(values)) for at, values in found if values])

    curves = (
        ("Use", {"machine": points("cpu_machine"), "run": points("cpu_process"), "gpu": gpu_points("use")}, "%"),
        (
            "Memory",
            {"free": points("memory_free_gib"), "run": points("rss_gib"), "gpu": gpu_points("memory_gib")},
            "GiB",
        ),
        ("Temperature", {"cpu": points("cpu_temperature_c"), "gpu": gpu_points("temperature_c")}, "°C"),
        ("Power", {"gpu": gpu_points("power_w")}, "W"),
    )
    facts = list(flattened(record.get("hardware", {})))
    return el(
        "section",
        el("h2", "Hardware"),
        el("div", *charted(curves, "minutes of work"), table(["", ""], facts), class_="grid2"),
    )


def cost_section(record: Record, samples: SamplesBySplit) -> Markup:
    """Lengths, latency, memory and time."""
    side = side_name(record)
    own = [sample for stages in samples.values() for sample in stages["tuned"]]
    charts = [
        histogram("Prompt length", {side: [s["prompt_tokens"] for s in own]}, "tokens"),
        histogram("Output length", {side: [s["output_tokens"] for s in own]}, "tokens"),
    ]
    timed = [
        s["total_s"] for stages in samples.values() for s in stages.get("timed", stages["tuned"]) if s["batch"] == 1
    ]
    if timed:
        charts.append(histogram("Latency of one document, batch 1", {side: timed}, "seconds"))
    rows = [
        [f"{split}, {name}", *times(test[key])]
        for split, test in record["tests"].items()
        for name, key in (("base", "base_latency"), (side, "latency"))
        if test[key]
    ]
    spent = [[name, f"{value:,.1f} s"] for name, value in record["seconds"].items()]
    peak = record["peak_memory_gib"]
    memory = [
        ["peak memory", "–" if peak is None else f"{peak:.2f} GiB"],
        ["energy of the machine", energy_text(record.get("hardware", {}))],
    ]
    return el(
        "section",
        el("h2", "Cost"),
        el("div", *charts, table(["stage", ""], spent + memory), class_="grid2"),
        table(["at batch 1", *TIMES], rows),
        el("details", el("summary", "Machine and hashes"), table(["", ""], identity(record))),
    )


LATENCIES = ("p50_s", "p95_s", "first_token_p50_s", "first_token_p95_s")
TIMES = ("p50", "p95", "first token p50", "p95", "tokens/s", "tokens in", "tokens out", "same answers")
"""What `times` gives, as a table's head."""


def seconds(value: float | None) -> str:
    """A time in the unit that suits it."""
    if value is None:
        return "–"
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def times(timing: Mapping[str, Any]) -> list[str]:
    """Latencies, tokens a second, in and out, and how many answers at batch 1 are those of the batched run."""
    speed, same = timing["tokens_per_s"], timing.get("same_answers")
    return [
        *(seconds(timing[name]) for name in LATENCIES),
        "–" if speed is None else f"{speed:.1f}",
        f"{timing['prompt_tokens']:,}",
        f"{timing['output_tokens']:,}",
        "–" if same is None else f"{same}/{timing['n']}",
    ]


def identity(record: Record) -> list[tuple[str, str]]:
    """What identifies the run: machine, weights, adapter, prompt, data, and the hashes of all that can be hashed."""
    keys = ("machine", "weights", "adapter", "prompt", "data", "hashes")
    return [row for key in keys for row in flattened(record[key], f"{key} ")]


def errors_section(samples: SamplesBySplit, examples: Mapping[str, Sequence[Example]]) -> Markup:
    """Every document that the model does not answer exactly, the worst answer first, with filters; at most 500."""
    texts = {(split, example.id): example.text for split, rows in examples.items() for example in rows}
    wrong = [(split, s) for split, stages in samples.items() for s in stages["tuned"] if not s["score"]["exact"]]
    wrong.sort(key=lambda found: rightness(found[1]))
    listed = wrong[:MAX_ERRORS]
    facets = [
        {"split": split, "kind": outcome(sample), **{key: str(sample[key]) for key in SLICE_KEYS}}
        for split, sample in listed
    ]
    entries = [
        error(sample, texts.get((split, sample["id"]), ""), part)
        for (split, sample), part in zip(listed, facets, strict=True)
    ]
    said = f"{len(wrong)} outputs are not exactly the gold value: what was cut off or is no JSON first, then those with"
    said += " the fewest leaves right (F1)"
    said += f"; the first {MAX_ERRORS} are listed." if len(wrong) > MAX_ERRORS else "."
    return listing("Errors", said, FILTERS, facets, entries)


def rightness(sample: Sample) -> tuple[bool, float]:
    """What sorts the worst answer first: one that was cut off or is no JSON, then the lowest F1 of leaves."""
    score = sample["score"]
    return not score["truncated"] and score["parsed_lenient"], score["f1"]


def error(sample: Sample, text: str, part: Mapping[str, str]) -> Markup:
    """One error: its text, gold and output, and the leaves that differ."""
    score = sample["score"]
    hits = f"{score['hits']} of {score['gold']} leaves right"
    return entry(
        part,
        join(el("code", sample["id"]), f" {part['kind']}; {hits}"),
        el("h3", "Text"),
        pre(text),
        *leaf_table(sample["target"], [("output", sample["output"])]),
        el("h3", "Gold"),
        pre(sample["target"]),
        el("h3", f"Output ({sample['finish']}, {sample['output_tokens']} tokens)"),
        pre(sample["output"]),
        *(el("p", note, class_="quiet") for note in score["errors"]),
    )
