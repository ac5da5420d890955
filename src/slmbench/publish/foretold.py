"""What a report says of a run's plan: memory by part, and what was foretold of training beside what it took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slmbench.publish.html import Markup, el, table

GIB, MIB = 2**30, 2**20
LOADING, TOTAL = "loading, before", "total"
"""Of a stage's bytes, those that are no part of the others."""


def plan_section(plan: Mapping[str, Any]) -> Markup:
    """The section of what `plan.json` holds: {"foretold": a forecast, "measured": what training took, once it has}.

    What trains nothing has no training, and nothing that was measured of it.
    """
    told = plan["foretold"]
    stages = {name: told[name] for name in ("training", "evaluation") if len(told[name]) > 1}
    trains = "training" in stages
    again = ", each layer computed again in the backward pass" if told["recompute"] else ""
    gradients = f", gradients {told['gradients']}{again}" if trains else ""
    said = (
        f"Foretold for {told['device']} in {told['precision']}{gradients}; "
        f"{told['evaluation_positions']:,} positions at once in evaluation; {told['limit'] / GIB:.2f} GiB allowed."
    )
    beside = [beside_table(told, plan.get("measured") or {})] if trains else []
    return el(
        "section",
        el("h2", "Plan"),
        el("p", said, class_="quiet"),
        el("div", parts_table(stages), *beside, class_="grid2"),
    )


def parts_table(stages: Mapping[str, Mapping[str, int]]) -> Markup:
    """Memory by part in MiB, a column for each stage, with the most at any time at the end."""
    names = [name for name in dict.fromkeys(name for parts in stages.values() for name in parts) if name != TOTAL]
    names.sort(key=lambda name: name == LOADING)
    words = {LOADING: "loading the weights, before all that", TOTAL: "most at any time"}
    rows = [
        [words.get(name, name), *(f"{parts[name] / MIB:,.0f}" if name in parts else "–" for parts in stages.values())]
        for name in (*names, TOTAL)
    ]
    return table(["MiB", *stages], rows)


def beside_table(told: Mapping[str, Any], measured: Mapping[str, Any]) -> Markup:
    """Memory, time and tokens a pass of training, foretold beside measured; on a GPU the memory is the GPU's."""
    place, key = ("memory", "peak_memory_gib") if told["device"] == "cpu" else ("GPU memory", "peak_gpu_memory_gib")
    lines = (
        (f"{place}, GiB", told["training"][TOTAL] / GIB, measured.get(key), ".2f"),
        ("seconds", told["training_seconds"], measured.get("seconds"), ",.0f"),
        ("tokens a pass", told["pass_tokens"], measured.get("pass_tokens"), ","),
    )
    rows = [
        [name, *("–" if value is None else format(value, form) for value in (before, after))]
        for name, before, after, form in lines
    ]
    return table(["training", "foretold", "measured"], rows)
