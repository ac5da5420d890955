"""The data of one board for a browser: documents, gold and every entry's answers, as a script that hands them over.

A script and no JSON file, because a page that is opened from a disk may load scripts and nothing else.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from slmbench.publish.faults import RIGHT, differing, outcome, pointer, spelt
from slmbench.publish.leaderboard.entries import COUNTS, Board, Entry
from slmbench.schema import Path_, leaves, strict_loads

Leaves = dict[Path_, Any]
Places = dict[Path_, int | str]
"""What the leaves of one document are called: those of the gold by their index, others by their path."""


def script(board: Board) -> str:
    """`slmbench.loaded(BOARD)`, the value as `answers` gives it, safe wherever a script may stand."""
    text = json.dumps(answers(board), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"slmbench.loaded({text});\n"


def answers(board: Board) -> dict[str, Any]:
    """Column by column, in the order of the documents.

    `leaves` are [path, JSON text] of the gold. Of an entry: `exact`, `predicted`, `hits` (leaves), `kind` (an index
    into `kinds`), `out` (null where it is the gold's own text), and `changes`: [leaf, JSON text or null] for each leaf
    that is not the gold's, `leaf` an index into `leaves`, or the path of one that the gold has not, numbered where two
    paths are written alike; null where the output holds no JSON value.
    """
    golds = [dict(leaves(strict_loads(sample["target"]))) for sample in board.rows]
    kinds = [RIGHT]
    places: list[Places] = [{path: index for index, path in enumerate(gold)} for gold in golds]
    entries = [_entry(entry, golds, kinds, places) for entry in board.entries]
    return {
        "key": board.key,
        "label": board.label,
        "ids": [sample["id"] for sample in board.rows],
        **{key: [sample[key] for sample in board.rows] for key in ("schema_id", "complexity", "style")},
        "text": list(board.texts),
        "gold": [sample["target"] for sample in board.rows],
        "leaves": [[[pointer(path), spelt(gold, path)] for path in gold] for gold in golds],
        "kinds": kinds,
        "entries": entries,
    }


def _entry(entry: Entry, golds: list[Leaves], kinds: list[str], places: list[Places]) -> dict[str, Any]:
    found = [outcome(sample) for sample in entry.samples]
    kinds += sorted(set(found) - set(kinds))
    scores = [sample["score"] for sample in entry.samples]
    return {
        "key": entry.key,
        "name": entry.name,
        "about": f"{entry.about}; {entry.part['constraint']} decoding",
        "page": entry.result.page,
        "exact": [int(score["exact"]) for score in scores],
        **{key: [score[key] for score in scores] for key in COUNTS},
        "kind": [kinds.index(name) for name in found],
        "out": [None if sample["output"] == sample["target"] else sample["output"] for sample in entry.samples],
        "changes": [
            changes(gold, called, sample["output"])
            for gold, called, sample in zip(golds, places, entry.samples, strict=True)
        ],
    }


def changes(gold: Mapping[Path_, Any], places: Places, output: str) -> list[list[Any]] | None:
    """The leaves of an output that are not those of the gold, as `answers` has them.

    `places` is what each leaf of the document's answers is called; those that it has not are added.
    """
    found = differing(gold, output)
    if found is None:
        return None
    for path in found[0]:
        if path not in places:  # two paths may be written alike, {"a.b": 1} and {"a": {"b": 1}}
            name = pointer(path)
            alike = (name if n == 1 else f"{name} ({n})" for n in itertools.count(1))
            places[path] = next(one for one in alike if one not in places.values())
    return [[places[path], spelt(found[1], path) or None] for path in found[0]]
