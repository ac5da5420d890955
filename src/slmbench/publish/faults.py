"""What is wrong with an answer: in a few words, and leaf by leaf."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from slmbench.metrics import Sample
from slmbench.publish.html import Markup, el, table
from slmbench.schema import Path_, first_json, leaves, same, strict_loads

MAX_LEAVES = 40
RIGHT = "right"


def outcome(sample: Sample) -> str:
    """What became of an answer, in a few words."""
    score = sample["score"]
    if score["exact"]:
        return RIGHT
    if score["truncated"]:
        return "truncated"
    if not score["parsed_lenient"]:
        return "not JSON"
    if score["exact_lenient"]:
        return "text around the JSON"
    return "wrong values" if score["compliant"] else "breaks the schema"


def leaf_table(target: str, answers: Sequence[tuple[str, str]]) -> list[Markup]:
    """The leaves that are wrong in any of the (name, output) `answers`, the first 40; nothing where none is."""
    rows = leaf_rows(strict_loads(target), [output for _, output in answers])
    if not rows:
        return []
    more = [el("p", f"and {len(rows) - MAX_LEAVES} more leaves", class_="quiet")] if len(rows) > MAX_LEAVES else []
    shown = table(["path", "gold", *(name for name, _ in answers)], rows[:MAX_LEAVES])
    return [el("h3", "Leaves that differ"), shown, *more]


def leaf_rows(gold: Any, outputs: Sequence[str]) -> list[list[str]]:
    """(path, gold, each output) of the leaves that are wrong in any output; "–" where an output holds no JSON value."""
    wanted = dict(leaves(gold))
    found = [differing(wanted, output) for output in outputs]
    wrong = dict.fromkeys(path for one in found if one for path in one[0])
    order = [*(path for path in wanted if path in wrong), *(path for path in wrong if path not in wanted)]
    return [
        [
            pointer(path),
            el("ins", spelt(wanted, path)) if path in wanted else _absent(),
            *(_leaf(path, wanted, one) for one in found),
        ]
        for path in order
    ]


def _leaf(path: Path_, wanted: Mapping[Path_, Any], found: tuple[list[Path_], dict[Path_, Any]] | None) -> Markup:
    """One leaf of one output, marked as right or wrong."""
    if found is None:
        return el("span", "–", class_="quiet")
    wrong, said = found
    if path in said:
        return el("del" if path in wrong else "ins", spelt(said, path))
    return el("del", "missing", class_="quiet") if path in wanted else _absent()


def _absent() -> Markup:
    return el("span", "absent", class_="quiet")


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
