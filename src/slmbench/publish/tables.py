"""Markdown tables of published figures, and the README's table that follows from `results/*.json`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slmbench.config import Test, recipe_of
from slmbench.core import BadInput
from slmbench.files import write_atomic
from slmbench.metrics import LABELS, PROPORTIONS, Figure, shown
from slmbench.publish.record import Record, kind_of, test_set
from slmbench.publish.stored import checked_samples, load_record, samples_path

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
SHOWN = ("json_exact", "field_f1", "schema_compliance")
"""What the README shows of every test set."""


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with its first column left-aligned and the others right-aligned; cells may hold any text."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in (*lines, *rows))


def cell(text: str) -> str:
    """Text that can neither end its table cell nor be HTML."""
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)
    return " ".join(text.split()).replace("|", "\\|")


def full(figure: Mapping[str, Any] | None, name: str) -> str:
    """A figure with its counts and 95 % interval: `60.1 % (95/158; 52.3–67.4)`, or `0.853 (0.831–0.874)` for an F1."""
    if figure is None:
        return "–"
    share = name in PROPORTIONS or figure.get("share", False)
    value = shown(figure["value"], name, share)
    if share:
        return f"{value} ({figure['k']}/{figure['n']}; {100 * figure['low']:.1f}–{100 * figure['high']:.1f})"
    return f"{value} ({figure['low']:.3f}–{figure['high']:.3f})"


def counted(figure: Mapping[str, Any] | None, name: str) -> str:
    """A figure without its interval: `60.1 % (95/158)`, or `0.853`."""
    if figure is None:
        return "–"
    value = shown(figure["value"], name, share := figure.get("share", False))
    return f"{value} ({figure['k']}/{figure['n']})" if share else value


def side_name(record: Record) -> str:
    """How tables and charts call what a result is of: "model" where nothing was trained. A chart's class as well."""
    return "tuned" if kind_of(record) == "tuned" else "model"


def results_table(test: Mapping[str, Any], side: str) -> str:
    """All figures of one test split; `side` is what the result is of, as `side_name` calls it."""
    return markdown_table(*figure_rows(test, side))


def figure_rows(
    test: Mapping[str, Any], side: str, show: Callable[[Figure | None, str], str] = full
) -> tuple[list[str], list[list[str]]]:
    """(head, rows) of all figures of one test split, a task's own measures last, whose differences are not tested.

    Where the base answered too, its figures and the paired differences have columns.
    """
    base, changes = test["base"], (test["comparison"] or {}).get("metrics", {})
    measures, base_measures = test.get("measures") or {}, test.get("base_measures") or {}
    lines = [(label, name, test["metrics"][name], (base or {}).get(name)) for name, label in LABELS.items()]
    lines += [(figure["label"], name, figure, base_measures.get(name)) for name, figure in measures.items()]
    if not base:
        return ["", side], [[label, show(figure, name)] for label, name, figure, _ in lines]
    rows = [
        [label, show(before, name), show(figure, name), change(changes.get(name), name)]
        for label, name, figure, before in lines
    ]
    return ["", "base", side, "difference"], rows


def change(part: Mapping[str, Any] | None, name: str) -> str:
    """A paired difference and its p: `+58.2 (p < 0.001)`."""
    if part is None:
        return "–"
    p = "p < 0.001" if part["p"] < 0.001 else f"p = {part['p']:.3f}"
    return f"{100 * part['difference']:+.1f} ({p})" if name in PROPORTIONS else f"{part['difference']:+.3f} ({p})"


def slices_table(test: Mapping[str, Any], key: str, side: str) -> str:
    """JSONExact and FieldF1 by one of the slice keys, after the base's where it answered too."""
    base = (test["base_slices"] or {}).get(key)
    names = {"json_exact": "JSONExact", "field_f1": "FieldF1"}

    def shown_pair(name: str, part: Mapping[str, Any], metric: str) -> str:
        before = f"{full(base.get(name, {}).get(metric), metric)} → " if base else ""
        return before + full(part[metric], metric)

    rows = [
        [name, str(part["n"]), *(shown_pair(name, part, metric) for metric in names)]
        for name, part in test["slices"][key].items()
    ]
    return markdown_table([key, "n", *(f"{label}, base → {side}" if base else label for label in names.values())], rows)


def summary(record: Record) -> str:
    """A run's figures as plain text for a terminal: each test set, the base's first, with k/n and intervals."""
    lines = [f"{record['name']}: {record['weights']['origin']}, {record['created']}"]
    for split, test in record["tests"].items():
        sides = (("base", "base", "base_measures"), (side_name(record), "metrics", "measures"))
        for side, figures, measures in sides:
            if test[figures]:
                lines.append(f"\n{split}, {side} ({test['prompt']} prompt, {test['constraint']} decoding)")
                lines += [f"  {LABELS[name]:20} {full(test[figures][name], name)}" for name in LABELS]
                own = test.get(measures) or {}
                lines += [f"  {part['label']:20} {full(part, name)}" for name, part in own.items()]
    lines.append("\nseconds: " + ", ".join(f"{stage} {value:.0f}" for stage, value in record["seconds"].items()))
    peak = record["peak_memory_gib"]
    lines.append(f"peak memory: {'unknown' if peak is None else f'{peak} GiB'}")
    return "\n".join(lines)


def load_results(folder: Path) -> list[Record]:
    """The published records of a folder.

    Raises BadInput naming the file where one is none, without its samples, or of a name that another has. That its
    figures are those of its samples is what `verify` checks.
    """
    records: dict[str, Record] = {}
    for path in sorted(folder.glob("*.json")):
        record = load_record(path)
        checked_samples(samples_path(path), record)
        if record["name"] in records:
            raise BadInput(f"{path}: another result here is called {record['name']} as well; move one of them away.")
        records[record["name"]] = record
    return list(records.values())


def readme_table(results_dir: Path) -> str:
    """All published records as Markdown: for every test set, our tasks' first, a table of the models that answered it,
    the best first, and of the base as the first record has it; with the measures that its task has of its own."""
    found: dict[tuple[bool, str, str], dict[tuple[str, str], dict[str, Any]]] = {}
    for record in load_results(results_dir):
        named = {test.name: test for test in recipe_of(record["recipe"], f"{record['name']}, recipe").data.tests}
        for name, test in record["tests"].items():
            task, label, digest = test_set(record, named.get(name, Test(name)))
            models = found.setdefault((task is None, label, digest or ""), {})
            for model, metrics, measures in (
                (f"**{record['name']}**", "metrics", "measures"),
                (f"{record['weights']['name']}, base", "base", "base_measures"),
            ):
                if test[metrics]:
                    asked = f"{test['prompt']}, {test['constraint']}"
                    models.setdefault((model, asked), {**test[metrics], **(test.get(measures) or {})})
    if not found:
        return "No results have been published yet."
    often = Counter(label for _, label, _ in found)
    return "\n\n".join(
        set_table(label if often[label] == 1 else f"{label} ({digest[:8]})", models)
        for (_, label, digest), models in sorted(found.items())
    )


def set_table(name: str, models: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """One test set: a row for each (model, how it was asked) with its figures."""
    order = sorted(models, key=lambda model: (-models[model]["json_exact"]["value"], model))
    own = {key: part["label"] for model in order for key, part in models[model].items() if key not in LABELS}
    rows = [
        [
            *model,
            *(full(models[model][key], key) for key in SHOWN),
            *(counted(models[model].get(key), key) for key in own),
        ]
        for model in order
    ]
    n = models[order[0]]["json_exact"]["n"]
    head = ["model", "prompt, decoding", *(LABELS[key] for key in SHOWN), *own.values()]
    return f"`{name}`, {n} documents:\n\n{markdown_table(head, rows)}"


def update_readme(path: Path, results_dir: Path | None = None) -> bool:
    """Replaces what stands between the two result markers of a README; says whether that changed it.

    `results_dir` is by default the folder `results` beside the README. Raises BadInput where a marker is missing.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadInput(f"{path}: cannot be read ({why}); give the README that holds the table.") from None
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise BadInput(f"{path}: holds no {BEGIN} followed by {END}; add both lines where the table belongs.")
    fresh = f"{before}{BEGIN}\n{readme_table(results_dir or path.parent / 'results')}\n{END}{after}"
    if fresh != text:
        write_atomic(path, fresh)
    return fresh != text
