"""What is measured of function calls beside the share that is right as it stands, which is JSONExact.

An answer is one of four things: a list with calls of functions, a list that asks the user, an empty list, or no list of
calls at all. Abstaining is asking or calling nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from slmbench.bfcl.check import check
from slmbench.calls import Call, calls_of
from slmbench.metrics import Figure, f1, micro_f1, proportion, resampled
from slmbench.schema import leaves, same
from slmbench.tasks.edge_func_call import ASK, functions, tool

TURNS = ("answered", "corrected", "corrected_twice", "recovered")
"""Kinds of cases that take more than one turn."""


def outcome(calls: Sequence[Call] | None) -> str:
    """`called`, `asked`, `nothing` or `unparseable`."""
    if calls is None:
        return "unparseable"
    if not calls:
        return "nothing"
    return "asked" if all(call["name"] == ASK for call in calls) else "called"


def names(calls: Sequence[Call]) -> Counter[str]:
    """How often each function is called."""
    return Counter(call["name"] for call in calls)


def whole(said: Sequence[Call] | None, gold: Sequence[Call]) -> bool:
    """Whether the same calls are made with the same arguments, in whatever order."""
    if said is None or len(said) != len(gold):
        return False
    left = list(said)
    for call in gold:
        place = next((i for i, other in enumerate(left) if same(dict(other), dict(call))), None)
        if place is None:
            return False
        left.pop(place)
    return True


def parameter_counts(said: Sequence[Call] | None, gold: Sequence[Call]) -> tuple[int, int, int]:
    """(hits, predicted, gold) of the arguments' leaves, calls of a name being paired in their order."""
    hits, predicted = 0, sum(len(list(_leaves(call))) for call in said or ())
    for name in names(gold):
        pairs = zip(_named(said or (), name), _named(gold, name), strict=False)
        for one, other in pairs:
            known = dict(_leaves(other))
            hits += sum(path in known and same(value, known[path]) for path, value in _leaves(one))
    return hits, predicted, sum(len(list(_leaves(call))) for call in gold)


def _named(calls: Iterable[Call], name: str) -> list[Call]:
    return [call for call in calls if call["name"] == name]


def _leaves(call: Call) -> list[tuple[Any, Any]]:
    return leaves(call["arguments"]) if call["arguments"] else []


def by_bfcl(said: Sequence[Call] | None, gold: Sequence[Call]) -> bool:
    """Whether BFCL's checker takes the calls: what the gold says, and a default may be said as well."""
    offered = [tool(name) for name in {*names(gold), *names(said or ())} if name == ASK or name in functions()]
    return said is not None and not check(list(said), offered, [{c["name"]: _accepted(c)} for c in gold])


def _accepted(call: Call) -> dict[str, list[Any]]:
    """Argument -> the values that BFCL's checker accepts for it; "" where it may be left out."""
    parameters = functions().get(call["name"], {}).get("parameters", {})
    spare = {name: [p["default"], ""] for name, p in parameters.items() if "default" in p}
    parts = {
        name: [{key: [part] for key, part in value.items()} if isinstance(value, dict) else value]
        for name, value in call["arguments"].items()
    }
    return {**spare, **parts}


def measures(samples: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """{"function_exact", "param_f1", "call_exact", "bfcl", "abstention", "called_right", "multi_turn", "recovery"}.

    Only those that the samples have cases of; `style` is the kind of a case. BFCL's rules need the function's own
    parameters: they are asked of our functions alone. Nothing where a gold is no list of calls.
    """
    read = [(s["style"], calls_of(s["output"]), calls_of(s["target"])) for s in samples]
    rows = [(kind, said, gold) for kind, said, gold in read if gold is not None]
    if len(rows) < len(read):
        return {}
    exact = [whole(said, gold) for _, said, gold in rows]
    same_names = [said is not None and names(said) == names(gold) for _, said, gold in rows]
    right = [outcome(said) == outcome(gold) for _, said, gold in rows]
    abstains = [outcome(gold) != "called" for _, _, gold in rows]

    def share(hits: Sequence[bool], among: Sequence[bool], label: str) -> Figure:
        return proportion(sum(h for h, a in zip(hits, among, strict=True) if a), sum(among), label)

    everything = [True] * len(rows)
    ours = [all(call["name"] in {ASK, *functions()} for call in gold) for _, _, gold in rows]
    found = {
        "function_exact": share(same_names, everything, "FunctionExact"),
        "param_f1": _param_f1([parameter_counts(said, gold) for _, said, gold in rows]),
        "call_exact": share(exact, everything, "whole calls exact"),
        "bfcl": share([by_bfcl(said, gold) for _, said, gold in rows], ours, "right by BFCL's rules"),
        "abstention": share(right, abstains, "abstention right"),
        "called_right": share(right, [not a for a in abstains], "called where it should"),
        "multi_turn": share(exact, [kind in TURNS for kind, _, _ in rows], "several turns, exact"),
        "recovery": share(exact, [kind == "recovered" for kind, _, _ in rows], "recovery from an error, exact"),
    }
    return {name: figure for name, figure in found.items() if figure["n"]}


def _param_f1(counts: Sequence[tuple[int, int, int]]) -> Figure:
    """Micro-F1 of the arguments' leaves, with the percentile bootstrap over cases."""
    table = np.array(counts, dtype=np.float64)
    low, high = (float(x) for x in np.percentile(micro_f1(resampled(len(table)), table), [2.5, 97.5]))
    hits, predicted, gold = (int(x) for x in table.sum(0))
    value = f1(hits, predicted, gold)
    return {"k": hits, "n": len(table), "value": value, "low": low, "high": high, "label": "ParamF1"}
