"""The report of a run: one HTML file that needs nothing else, for a screen of any width, in light and dark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from slmbench.core import Example, load_task
from slmbench.metrics import LABELS, SLICE_KEYS, Sample, shown
from slmbench.monitor import energy_text
from slmbench.publish.calibration import calibration_section
from slmbench.publish.card import base_id, flattened
from slmbench.publish.html import Markup, Point, bars, el, histogram, join, line_chart, table, thinned
from slmbench.publish.record import Record, SamplesBySplit, kind_of
from slmbench.publish.tables import change, full, measure_rows
from slmbench.schema import Path_, first_json, leaves, same, strict_loads

MAX_ERRORS = 500
MAX_LEAVES = 40
CSP = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
FILTERS = ("split", "kind", *SLICE_KEYS)


def report(
    record: Record,
    samples: SamplesBySplit,
    examples: Mapping[str, Sequence[Example]],
    history: Sequence[Mapping[str, Any]],
    hardware: Sequence[Mapping[str, Any]] = (),
    calibration: Mapping[str, Mapping[str, Any] | None] | None = None,
) -> str:
    """The whole page.

    `samples` are split -> {"tuned": [...], "base": [...], "timed": [...]}, all but `tuned` optional; `examples` are
    split -> the documents; `history` the rows of the training's `history.jsonl`; `hardware` the run's samples as
    `monitor.read_lines` gives them; `calibration` is export -> what its manifest says of its confidences.
    """
    sections = [
        header(record),
        headline(record),
        *(split_section(split, test, samples.get(split, {})) for split, test in record["tests"].items()),
        training_section(record, history),
        cost_section(record, samples),
        *([hardware_section(record, hardware)] if hardware else []),
        *(calibration_section(name, told) for name, told in (calibration or {}).items() if told),
        errors_section(samples, examples),
    ]
    head = join(
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{CSP}">'),
        el("title", f"{record['name']}: slmbench report"),
        el("style", Markup(STYLE)),
    )
    body = el("body", el("main", *sections), el("script", Markup(SCRIPT)))
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n{body}</html>\n'


def header(record: Record) -> Markup:
    """The name, and in one line what this is."""
    done = "tuned with LoRA to write JSON" if kind_of(record) == "tuned" else "as it is, asked to write JSON"
    line = (
        f"{base_id(record)}, {done}; run of {record['created'][:10]}, "
        f"slmbench {record['slmbench']}. Intervals are 95 %."
    )
    return el("header", el("h1", record["name"]), el("p", line))


def headline(record: Record) -> Markup:
    """One tile for each test split: JSONExact of the tuned model, large, over the base model's."""
    tiles = []
    for split, test in record["tests"].items():
        part = test["metrics"]["json_exact"]
        before = f"base {full(test['base']['json_exact'], 'json_exact')}" if test["base"] else "base not evaluated"
        tiles.append(
            el(
                "div",
                el("span", f"JSONExact on {split}"),
                el("strong", shown(part["value"], "json_exact")),
                el("span", f"{part['k']} of {part['n']}; {100 * part['low']:.0f}–{100 * part['high']:.0f} %"),
                el("span", before, class_="quiet"),
                class_="tile",
            )
        )
    return el("section", *tiles, class_="tiles")


def split_section(split: str, test: Mapping[str, Any], samples: Mapping[str, Sequence[Sample]]) -> Markup:
    """The table of one test split, its slices as bars, and what its task has to show."""
    base, comparison = test["base"] or {}, (test["comparison"] or {}).get("metrics", {})
    rows = [
        [label, full(base.get(name), name), full(test["metrics"][name], name), change(comparison.get(name), name)]
        for name, label in LABELS.items()
    ]
    parts = [table(["", "base", "tuned", "difference"], [*rows, *measure_rows(test)])]
    for key in SLICE_KEYS:
        known = (test["base_slices"] or {}).get(key, {})
        lines = []
        for name, part in test["slices"][key].items():
            both = {"base": known[name]["json_exact"]} if name in known else {}
            lines.append((name, {**both, "tuned": part["json_exact"]}))
        summary = el("summary", f"JSONExact by {key.replace('_id', '')}")
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
    tuned = [sample for stages in samples.values() for sample in stages["tuned"]]
    charts = [
        histogram("Prompt length", {"tuned": [s["prompt_tokens"] for s in tuned]}, "tokens"),
        histogram("Output length", {"tuned": [s["output_tokens"] for s in tuned]}, "tokens"),
    ]
    timed = [
        s["total_s"] for stages in samples.values() for s in stages.get("timed", stages["tuned"]) if s["batch"] == 1
    ]
    if timed:
        charts.append(histogram("Latency of one document, batch 1", {"tuned": timed}, "seconds"))
    rows = [
        [f"{split}, {name}", *(seconds(test[key][p]) for p in LATENCIES), *rate(test[key])]
        for split, test in record["tests"].items()
        for name, key in (("base", "base_latency"), ("tuned", "latency"))
        if test[key]
    ]
    times = [[name, f"{value:,.1f} s"] for name, value in record["seconds"].items()]
    peak = record["peak_memory_gib"]
    memory = [
        ["peak memory", "–" if peak is None else f"{peak:.2f} GiB"],
        ["energy of the machine", energy_text(record.get("hardware", {}))],
    ]
    return el(
        "section",
        el("h2", "Cost"),
        el("div", *charts, table(["stage", ""], times + memory), class_="grid2"),
        table(
            [
                "at batch 1",
                "p50",
                "p95",
                "first token p50",
                "p95",
                "tokens/s",
                "tokens in",
                "tokens out",
                "same answers",
            ],
            rows,
        ),
        el("details", el("summary", "Machine and hashes"), table(["", ""], identity(record))),
    )


LATENCIES = ("p50_s", "p95_s", "first_token_p50_s", "first_token_p95_s")


def seconds(value: float | None) -> str:
    """A time in the unit that suits it."""
    if value is None:
        return "–"
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def rate(timing: Mapping[str, Any]) -> list[str]:
    """Tokens a second, in and out, and how many answers at batch 1 are those of the batched run."""
    speed, same = timing["tokens_per_s"], timing.get("same_answers")
    return [
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
    """Every document that the model, tuned if it is, does not answer exactly, with filters; at most 500."""
    texts = {(split, example.id): example.text for split, rows in examples.items() for example in rows}
    wrong = [(split, s) for split, stages in samples.items() for s in stages["tuned"] if not s["score"]["exact"]]
    listed = wrong[:MAX_ERRORS]
    facets = [facet(split, sample) for split, sample in listed]
    selects = [
        el(
            "label",
            f"{key.replace('_id', '')} ",
            el(
                "select",
                el("option", "all", value=""),
                *(el("option", value) for value in sorted({part[key] for part in facets})),
                data_key=key,
            ),
        )
        for key in FILTERS
    ]
    entries = [
        entry(sample, texts.get((split, sample["id"]), ""), part)
        for (split, sample), part in zip(listed, facets, strict=True)
    ]
    count = f"{len(wrong)} outputs are not exactly the gold value"
    count += f"; the first {MAX_ERRORS} are listed. " if len(wrong) > MAX_ERRORS else ". "
    shown_now = el("span", el("output", str(len(listed)), id="shown"), " shown.")
    return el(
        "section",
        el("h2", "Errors"),
        el("p", count, shown_now),
        el("form", *selects, id="filters"),
        el("div", *entries, id="errors"),
    )


def facet(split: str, sample: Sample) -> dict[str, str]:
    """What the filters select an error by."""
    score = sample["score"]
    if score["truncated"]:
        kind = "truncated"
    elif not score["parsed_lenient"]:
        kind = "not JSON"
    elif score["exact_lenient"]:
        kind = "text around the JSON"
    else:
        kind = "wrong values" if score["compliant"] else "breaks the schema"
    return {"split": split, "kind": kind, **{key: str(sample[key]) for key in SLICE_KEYS}}


def entry(sample: Sample, text: str, part: Mapping[str, str]) -> Markup:
    """One error: its text, gold and output, and the leaves that differ."""
    score = sample["score"]
    hits = f"{score['hits']} of {score['gold']} leaves right"
    rows = leaf_changes(strict_loads(sample["target"]), sample["output"])
    marked = [
        [path, el("ins", gold) if gold else el("span", "absent", class_="quiet"), el("del", got) if got else missing()]
        for path, gold, got in rows[:MAX_LEAVES]
    ]
    more = [el("p", f"and {len(rows) - MAX_LEAVES} more leaves", class_="quiet")] if len(rows) > MAX_LEAVES else []
    notes = [el("p", note, class_="quiet") for note in score["errors"]]
    data: dict[str, str | float] = {f"data_{key}": value for key, value in part.items()}
    return el(
        "details",
        el("summary", el("code", sample["id"]), f" {part['kind']}; {hits}"),
        el("h3", "Text"),
        el("pre", text),
        *([el("h3", "Leaves that differ"), table(["path", "gold", "output"], marked), *more] if marked else []),
        el("h3", "Gold"),
        el("pre", sample["target"]),
        el("h3", f"Output ({sample['finish']}, {sample['output_tokens']} tokens)"),
        el("pre", sample["output"]),
        *notes,
        class_="error",
        **data,
    )


def missing() -> Markup:
    """The mark of a leaf that the output does not have."""
    return el("del", "missing", class_="quiet")


def leaf_changes(gold: Any, output: str) -> list[tuple[str, str, str]]:
    """(path, gold, output) of the leaves that differ, as JSON text, "" where there is none; [] if it does not parse."""
    wanted = dict(leaves(gold))
    paths, said = differing(wanted, output) or ([], {})
    return [(pointer(path), spelt(wanted, path), spelt(said, path)) for path in paths]


def differing(wanted: Mapping[Path_, Any], output: str) -> tuple[list[Path_], dict[Path_, Any]] | None:
    """(paths of the leaves that differ, those that were wanted first, the output's leaves); None if it has no JSON."""
    try:
        said = dict(leaves(first_json(output)))
    except ValueError:
        return None
    paths = [*wanted, *(path for path in said if path not in wanted)]
    return [p for p in paths if not (p in wanted and p in said and same(wanted[p], said[p]))], said


def spelt(values: Mapping[Path_, Any], path: Path_) -> str:
    """The leaf as JSON text, "" where there is none."""
    return json.dumps(values[path], ensure_ascii=False) if path in values else ""


def pointer(path: Sequence[str | int]) -> str:
    """A leaf path as people write it: `items[0].name`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".") or "(whole value)"


STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--quiet:#66707c;--rule:#e2e6ea;--soft:#f6f7f9;
--base:#9aa5b1;--tuned:#0f766e;--wrong:#b42318;--right:#17663a;--gpu:#b45309}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e9ec;--quiet:#98a2ad;--rule:#2c3238;--soft:#1c2024;
--base:#6b7683;--tuned:#2bb5a6;--wrong:#ff8a7a;--right:#6fd79a;--gpu:#f0a14a}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:64rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.6rem;margin:0;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:2.5rem 0 .75rem}
h3{font-size:.8rem;margin:.9rem 0 .25rem;color:var(--quiet)}
header p,.quiet{color:var(--quiet);margin:.25rem 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.75rem;margin-top:1.25rem}
.tile{border:1px solid var(--rule);border-radius:.5rem;padding:.9rem 1rem;display:flex;flex-direction:column;
font-size:.85rem}
.tile strong{font-size:2rem;line-height:1.25;color:var(--tuned)}
.scroll{overflow-x:auto;margin:.5rem 0}table{border-collapse:collapse;width:100%;font-size:.87rem}
th,td{padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--rule);vertical-align:top;text-align:left}
th{color:var(--quiet);font-weight:500;white-space:nowrap}td{min-width:5rem;overflow-wrap:anywhere}
.grid2{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(24rem,100%),1fr));gap:1.5rem;align-items:start}
details{margin:.5rem 0}summary{cursor:pointer;padding:.25rem 0}
figure{margin:0}figcaption{font-size:.87rem;color:var(--quiet)}
.key{margin-left:.9rem}.key i{display:inline-block;width:.7em;height:.7em;margin-right:.35em;border-radius:2px}
svg{width:100%;height:auto;display:block}svg text{font-size:10px;fill:var(--quiet)}
.end{text-anchor:end}.mid{text-anchor:middle}.grid{stroke:var(--rule)}
.line{fill:none;stroke-width:1.6;stroke:var(--tuned)}.line.train,.line.machine,.line.free{stroke:var(--base)}
.line.gpu{stroke:var(--gpu)}
.box.tuned,.dot{fill:var(--tuned)}.box.base{fill:var(--base)}.dot.train,.dot.machine,.dot.free{fill:var(--base)}
.dot.gpu{fill:var(--gpu)}i.gpu{background:var(--gpu)}
i.base,i.train,i.machine,i.free,i.calibrated{background:var(--base)}
i.tuned,i.validation,i.run,i.cpu,i.values{background:var(--tuned)}
.line.calibrated{stroke:var(--base);stroke-dasharray:4 3}.dot.calibrated{display:none}
.line.documents{stroke:var(--gpu)}.dot.documents{fill:var(--gpu)}i.documents{background:var(--gpu)}
.bar{display:grid;grid-template-columns:minmax(5rem,11rem) 1fr;gap:.75rem;padding:.3rem 0;font-size:.85rem}
.label{overflow-wrap:anywhere}.pair{display:grid;grid-template-columns:1fr 7.5rem;gap:.6rem;align-items:center}
.track{position:relative;height:.6rem;background:var(--soft);border-radius:2px}
.track i{position:absolute;inset:0 auto 0 0;border-radius:2px}
.track b{position:absolute;top:calc(50% - .5px);height:1px;background:var(--ink)}
.note{color:var(--quiet);font-size:.8rem;white-space:nowrap}
form{display:flex;flex-wrap:wrap;gap:.5rem 1rem;margin:.5rem 0}select{font:inherit;max-width:100%}
.error{border-top:1px solid var(--rule);margin:0;padding:.2rem 0}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);padding:.6rem .75rem;border-radius:.4rem;
margin:0;max-height:24rem;overflow-y:auto;font-size:.82rem}
ins,del{text-decoration:none}ins{color:var(--right)}del{color:var(--wrong)}
"""

SCRIPT = """
const form = document.getElementById("filters"), count = document.getElementById("shown");
const attribute = key => "data-" + key.replace("_", "-");
form.addEventListener("change", () => {
  const chosen = [...form.querySelectorAll("select")].filter(select => select.value);
  let shown = 0;
  for (const error of document.querySelectorAll(".error")) {
    error.hidden = !chosen.every(select => error.getAttribute(attribute(select.dataset.key)) === select.value);
    shown += !error.hidden;
  }
  count.textContent = shown;
});
form.addEventListener("submit", event => event.preventDefault());
"""
