"""Two evaluations of the same documents, compared in pairs: what changed, by how much, and whether chance could do it.

A difference is always `b` minus `a`. Yes-or-no measures get McNemar's exact test, F1s a paired bootstrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slmbench.core import BadInput
from slmbench.metrics import (
    LABELS,
    METRICS,
    PROPORTIONS,
    SLICE_KEYS,
    Sample,
    figure,
    mcnemar,
    paired_bootstrap,
    paired_interval,
    shown,
    slice_order,
)

NAMED = 5


def compare(a: Sequence[Sample], b: Sequence[Sample]) -> dict[str, Any]:
    """The paired comparison of two lists of samples over the same documents, in any order.

    Returns {n, metrics: {name: {a, b, difference, low, high, p, test, ...}}, flips: {gained, lost},
    slices: {key: {slice: {n, json_exact, field_f1}}}}. For proportions `lost` and `gained` count the discordant pairs;
    `flips` lists the documents whose JSONExact changed. Raises BadInput, naming documents, where the two were not taken
    on the same ones.
    """
    first, second = paired(a, b)
    exact = [(x["id"], x["score"]["exact"], y["score"]["exact"]) for x, y in zip(first, second, strict=True)]
    return {
        "n": len(first),
        "metrics": {name: difference(first, second, name) for name in METRICS},
        "flips": {
            "gained": [id for id, was, now in exact if now and not was],
            "lost": [id for id, was, now in exact if was and not now],
        },
        "slices": {key: sliced(first, second, key) for key in SLICE_KEYS},
    }


def paired(a: Sequence[Sample], b: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """Both lists in the order of `a`. Raises BadInput where ids or targets differ, or an id comes twice."""
    sides = {"first": a, "second": b}
    by_id: dict[str, dict[str, Sample]] = {}
    for side, samples in sides.items():
        by_id[side] = {sample["id"]: sample for sample in samples}
        if len(by_id[side]) != len(samples):
            ids = [sample["id"] for sample in samples]
            twice = sorted({id for id in ids if ids.count(id) > 1})
            raise BadInput(f"the {side} run has more than one sample of {named(twice)}; keep one of each.")
    if not a:
        raise BadInput("there are no samples to compare; evaluate both models first.")
    missing = [id for id in by_id["first"] if id not in by_id["second"]]
    extra = [id for id in by_id["second"] if id not in by_id["first"]]
    if missing or extra:
        parts = [f"only in the {side}: {named(ids)}" for side, ids in (("first", missing), ("second", extra)) if ids]
        raise BadInput(
            f"the two runs were not taken on the same documents ({'; '.join(parts)}); evaluate both on one set."
        )
    second = [by_id["second"][sample["id"]] for sample in a]
    changed = [x["id"] for x, y in zip(a, second, strict=True) if x["target"] != y["target"]]
    if changed:
        raise BadInput(f"the two runs hold different targets for {named(changed)}; evaluate both on the same data.")
    return list(a), second


def named(ids: Sequence[str]) -> str:
    """The first few ids, and how many more there are."""
    rest = len(ids) - NAMED
    return ", ".join(ids[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def difference(a: Sequence[Sample], b: Sequence[Sample], name: str) -> dict[str, Any]:
    """One metric of `compare` over samples that stand in the same order."""
    values = {"a": figure(a, name)["value"], "b": figure(b, name)["value"]}
    if name not in PROPORTIONS:
        return {**values, **paired_bootstrap(a, b, name), "test": "bootstrap"}
    field, n = PROPORTIONS[name], len(a)
    pairs = [(bool(x["score"][field]), bool(y["score"][field])) for x, y in zip(a, b, strict=True)]
    lost, gained = pairs.count((True, False)), pairs.count((False, True))
    low, high = paired_interval(lost, gained, n)
    return {
        **values,
        "difference": (gained - lost) / n,
        "low": low,
        "high": high,
        "p": mcnemar(lost, gained),
        "lost": lost,
        "gained": gained,
        "test": "mcnemar",
    }


def sliced(a: Sequence[Sample], b: Sequence[Sample], key: str) -> dict[str, dict[str, Any]]:
    """Slice -> {n, json_exact, field_f1}, each a `difference`, over the values of `key`."""
    result = {}
    for name in sorted({str(sample[key]) for sample in a}, key=slice_order):
        rows = [(x, y) for x, y in zip(a, b, strict=True) if str(x[key]) == name]
        left, right = [x for x, _ in rows], [y for _, y in rows]
        result[name] = {
            "n": len(rows),
            "json_exact": difference(left, right, "json_exact"),
            "field_f1": difference(left, right, "field_f1"),
        }
    return result


def table(comparison: dict[str, Any], a: str = "base", b: str = "tuned") -> str:
    """The comparison as aligned text for a terminal; `a` and `b` are the two runs' names."""
    head = [f"{comparison['n']} documents, paired", a, b, "difference", "95 % interval", "p", "lost / gained"]
    rows = [head, *(row(LABELS[name], comparison["metrics"][name], name) for name in METRICS)]
    for key, parts in comparison["slices"].items():
        if len(parts) > 1:
            rows.append([f"JSONExact by {key}", *[""] * (len(head) - 1)])
            rows += [row(f"  {name} ({part['n']})", part["json_exact"], "json_exact") for name, part in parts.items()]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        for cells in rows
    ]
    flips = comparison["flips"]
    lines += [f"{what} JSONExact: {named(flips[what])}" for what in ("gained", "lost") if flips[what]]
    return "\n".join(line.rstrip() for line in lines)


def row(label: str, part: dict[str, Any], name: str) -> list[str]:
    """The cells of one line of `table`."""
    percent = name in PROPORTIONS
    signed = f"{100 * part['difference']:+.1f}" if percent else f"{part['difference']:+.3f}"
    ends = [f"{100 * part[end]:+.1f}" if percent else f"{part[end]:+.3f}" for end in ("low", "high")]
    discordant = f"{part['lost']} / {part['gained']}" if percent else ""
    p = "< 0.001" if part["p"] < 0.001 else f"{part['p']:.3f}"
    return [label, shown(part["a"], name), shown(part["b"], name), signed, f"{ends[0]} … {ends[1]}", p, discordant]
