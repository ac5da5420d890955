"""The page of a published result: figures of every test set, slices, how it was trained, what it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from slmbench.metrics import SLICE_KEYS, Figure
from slmbench.publish.card import commands, flattened, plain
from slmbench.publish.html import NONE, Markup, el, line_chart
from slmbench.publish.leaderboard.entries import Board, Result
from slmbench.publish.leaderboard.front import count
from slmbench.publish.leaderboard.page import facts, frame, grid, measured, size
from slmbench.publish.leaderboard.testset import TITLES
from slmbench.publish.record import Record
from slmbench.publish.report import TIMES, seconds, times
from slmbench.publish.stored import samples_path
from slmbench.publish.tables import figure_rows, side_name

Curve = Sequence[Mapping[str, Any]]
"""Points of a learning curve: {rows, epochs, seconds, json_exact}."""


def model(result: Result, boards: Mapping[str, Board], curve: Curve, method: bool) -> str:
    """The whole page; `boards` are the test sets by the names that the record has for them."""
    record = result.record
    return frame(
        result.name,
        introduction(result),
        *(test_section(result, test, board) for test, board in boards.items()),
        training(result, curve),
        el("section", el("h2", "Cost"), latency_table(record),
           el("div", pairs("Seconds by stage", record["seconds"]), pairs("Machine", record["machine"]),
              pairs("Hardware beside the run", record.get("hardware") or {}), class_="columns")),
        provenance(result),
        root="../",
        method=method,
    )  # fmt: skip


def recipe_yaml(result: Result) -> str:
    """The recipe as a file that `slmbench run` takes."""
    return yaml.safe_dump(result.record["recipe"], sort_keys=False, allow_unicode=True)


def introduction(result: Result) -> Markup:
    """What it is, how to make it again, and the files."""
    record, weights = result.record, result.record["weights"]
    parameters = record["adapter"].get("parameters")
    adapter = f" with a LoRA adapter of {plain(parameters)} parameters" if parameters else ""
    made = f"run of {record['created'][:10]}, slmbench {record['slmbench']}"
    of_size = f" ({size(result.size)} parameters)" if result.size else ""
    line = f"{result.base}{of_size}{adapter}, {made}."
    files = {
        f"../recipes/{result.page}.yaml": "recipe (YAML)",
        f"../results/{result.page}.json": "record (JSON)",
        f"../results/{samples_path(result.path.with_stem(result.page)).name}": "all answers (JSONL, gzip)",
    }
    links = [el("li", el("a", words, href=href, download="")) for href, words in files.items()]
    again = "\n".join(commands(record, f"{result.page}.yaml", f"results/{result.page}.json"))
    return el(
        "section",
        el("h1", result.name),
        el("p", line, class_="lead"),
        el("p", str(weights.get("origin") or "")),
        el("h2", "Make it again, check it"),
        el("pre", again, tabindex="0", aria_label="Commands"),
        el("ul", *links, class_="inline"),
    )


def test_section(result: Result, test: str, board: Board) -> Markup:
    """The figures of a test set, beside the base's where it answered too, and its slices."""
    part, side = result.record["tests"][test], side_name(result.record)
    slices = [
        el("details", el("summary", f"By {TITLES[key]} ({count(len(part['slices'][key]), 'slice')})"),
           slices_table(part, key, f"{board.label} by {TITLES[key]}", side))
        for key in SLICE_KEYS
    ]  # fmt: skip
    return el(
        "section",
        el("h2", el("a", board.label, href=f"../tests/{board.key}.html")),
        el("p", f"{part['prompt']} prompt, {part['constraint']} decoding, {count(len(board.rows), 'document')}. ",
           el("a", f"Documents and answers of {board.label}", href=f"../documents.html#set={board.key}")),
        grid(f"Figures of {board.label}", *figure_rows(part, side, shown)),
        *slices,
    )  # fmt: skip


def shown(figure: Figure | None, name: str) -> str:
    """A figure, or that there is none."""
    return measured(figure, name) if figure else NONE


def slices_table(part: Mapping[str, Any], key: str, label: str, side: str) -> Markup:
    """JSONExact and FieldF1 by one of the slice keys, beside the base's where it answered too."""
    base = (part["base_slices"] or {}).get(key)
    names = {"json_exact": "JSONExact", "field_f1": "FieldF1"}
    rows = []
    for name, one in part["slices"][key].items():
        sides = [base.get(name, {}), one] if base else [one]
        rows.append([name, str(one["n"]), *(shown(known.get(metric), metric) for metric in names for known in sides)])
    columns = [column for words in names.values() for column in ([f"{words}, base", side] if base else [words])]
    return grid(label, [TITLES[key].capitalize(), "n", *columns], rows)


def training(result: Result, curve: Curve) -> Markup:
    """What training came to, its losses, how accuracy grew with its rows, and the recipe."""
    record = result.record
    losses = record["training"].get("validation_losses", [])
    charts = []
    if len(losses) > 1:
        points = [(float(epoch), float(value)) for epoch, value in enumerate(losses, 1)]
        charts.append(line_chart("Validation loss by epoch", {"validation": points}, "epoch", "loss"))
    if curve:
        points = sorted((float(point["rows"]), 100 * float(point["json_exact"]["value"])) for point in curve)
        charts.append(line_chart("JSONExact by training rows", {"curve": points}, "rows", "JSONExact, %"))
    return el(
        "section",
        el("h2", "Training"),
        el("div", *charts, class_="pair"),
        *([curve_table(curve)] if curve else []),
        el(
            "div",
            pairs("What it came to", record["training"]),
            el("div", el("h3", "Recipe"), el("pre", recipe_yaml(result), tabindex="0", aria_label="Recipe")),
            class_="columns",
        ),
    )


def curve_table(curve: Curve) -> Markup:
    """The points of a learning curve."""
    rows = [
        [f"{one['rows']:,}", plain(one["epochs"]), seconds(one["seconds"]), measured(one["json_exact"], "json_exact")]
        for one in curve
    ]
    return grid("Accuracy by training rows", ["Training rows", "Epochs", "Training time", "JSONExact"], rows)


def latency_table(record: Record) -> Markup:
    """Times at batch 1, of the test sets that were timed."""
    rows = [
        [f"{test}, {side}", *times(part[key])]
        for test, part in record["tests"].items()
        for side, key in (("base", "base_latency"), (side_name(record), "latency"))
        if part.get(key) and part[key]["p50_s"] is not None
    ]
    if not rows:
        return el("p", "Nothing was timed one document at a time.")
    return grid("Latency", ["At batch 1", *TIMES], rows)


def provenance(result: Result) -> Markup:
    """Data, weights and hashes."""
    record = result.record
    hashes = dict(record["hashes"])
    data = hashes.pop("data", None)
    known = data if isinstance(data, dict) else {}
    rows = [
        [name, plain(part.get("rows")), plain(part.get("skipped")), el("code", str(known.get(name)))]
        for name, part in record["data"].items()
        if isinstance(part, dict)
    ]
    return el(
        "section",
        el("h2", "Data and hashes"),
        grid("Data", ["Rows of", "Rows", "Left out", "SHA-256"], rows),
        el(
            "div",
            pairs("Weights", record["weights"]),
            pairs("Adapter", record["adapter"]),
            class_="columns",
        ),
        pairs("Hashes", hashes),
    )


def pairs(title: str, values: Mapping[str, Any]) -> Markup:
    """Settings or facts as a table under their title, nothing where there are none."""
    if not values:
        return Markup()
    return el("div", el("h3", title), facts([[key, el("td", value)] for key, value in flattened(values)], title))
