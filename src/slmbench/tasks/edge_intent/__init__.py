"""EdgeIntent: what somebody who speaks to an assistant wants, as one label out of a list.

60 intents in 8 domains and `out_of_scope`, for what is none of them. Utterances are written by hand, those of `test` by
other hands than those of `train`. Splits: `train` (20 an intent), `train_large` (more, by other hands), `train_oos`
(more that is out of scope), `mistyped` (a part of these three with slips of the fingers), `few` (5 an intent), `test`
(10 an intent); `described` (those of `train` and `train_large` under a few intents with their descriptions), `unseen`
(10 intents that are in no other split, to be told by theirs).
"""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmbench.core import Example
from slmbench.tasks import LARGE, JsonTask

if TYPE_CHECKING:
    from slmbench.metrics import Figure

_HERE = Path(__file__).parent
NONE = "out_of_scope"
FEW = 5
OFFERED = (2, 10)
"""Intents that a schema of `described` offers beside `out_of_scope`, at least and at most."""
DESCRIBED = 4000
"""Rows of `described`."""
MISTYPED = 2500
"""Rows of `mistyped`."""
TOGETHER = (2, 4, 6, 8)
"""Its rows under one schema."""
WITHOUT = 0.12
"""The share of its rows that are offered everything but their own intent."""
RENAMED = 0.7
"""The share of its schemas whose labels are made of words of their descriptions: a model that has met no others than
those it has learnt takes every new one for out of scope."""
_SMALL = frozenset((
    "a", "again", "an", "and", "any", "are", "as", "at", "be", "by", "for", "from", "go", "has", "have", "in", "is",
    "it", "its", "not", "of", "on", "one", "or", "out", "so", "that", "the", "them", "there", "they", "to", "was",
    "what", "when", "where", "whether", "which", "with",
))  # fmt: skip
SEED = 42


class EdgeIntent(JsonTask):
    """The benchmark as a `Task`."""

    name = "edge_intent"
    names = ("train", LARGE, "train_oos", "mistyped", "few", "described", "test", "unseen")

    def load(self, split: str) -> list[Example]:
        """The examples of a split. Raises BadInput for a split there is none of."""
        self.check(split)
        if split == "described":
            return list(_described())
        made = {"few": lambda: _few(utterances("train")), "mistyped": _mistyped}
        rows = made[split]() if split in made else utterances(split)
        schema, name = (choice(intents("unseen")), "unseen") if split == "unseen" else (labels(), "labels")
        return [_example(row, name, schema, split) for row in rows]

    def measures(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
        """Macro-F1, the two rates of `out_of_scope`, and how many answers are no label."""
        from slmbench.tasks.edge_intent.measures import measures

        return measures(samples)

    def picture(self, samples: Sequence[Mapping[str, Any]]) -> str:
        """The confusion matrix, as HTML."""
        from slmbench.tasks.edge_intent.picture import picture

        return picture(samples)


def intents(kind: str = "") -> dict[str, str]:
    """Intent -> description of the 60 that are trained, or of the 10 `unseen`, in their order."""
    return {name: said for part in _domains(kind).values() for name, said in part.items()}


@functools.cache
def domain_of() -> dict[str, str]:
    """Intent -> domain of the 60 that are trained."""
    return {name: domain for domain, part in _domains("").items() for name in part}


@functools.cache
def _domains(kind: str) -> dict[str, dict[str, str]]:
    """Domain -> intent -> description."""
    path = _HERE / ("intents_unseen.json" if kind == "unseen" else "intents.json")
    domains: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return domains


@functools.cache
def labels() -> dict[str, Any]:
    """The schema of all that are trained. A prompt names the list only: it is the same each time, and long."""
    listed = {"enum": [*intents(), NONE], "x-slmbench": {"prompt": "intent", "grounded": False}}
    return {"type": "object", "properties": {"intent": listed}, "required": ["intent"], "additionalProperties": False}


def choice(offered: Mapping[str, str]) -> dict[str, Any]:
    """A schema that offers some intents by their descriptions, and that it may be none of them."""
    branches = [{"const": name, "description": said} for name, said in (*offered.items(), (NONE, "None of these"))]
    listed = {"type": "string", "oneOf": branches}
    return {"type": "object", "properties": {"intent": listed}, "required": ["intent"], "additionalProperties": False}


def utterances(split: str) -> list[dict[str, str]]:
    """The rows {id, intent, style, text} of a split that has a file, as they are frozen."""
    lines = (_HERE / "data" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _few(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The first `FEW` of each intent that differ in style as far as they can."""
    taken: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        chosen = taken.setdefault(row["intent"], [])
        if len(chosen) < FEW and row["style"] not in {other["style"] for other in chosen}:
            chosen.append(row)
    return [row for chosen in taken.values() for row in chosen]


def _mistyped() -> list[dict[str, str]]:
    """Rows of what is trained on, other than those that are mistyped already, with slips."""
    from slmbench.tasks.edge_intent.slips import mistyped

    chance = random.Random(f"{SEED}/mistyped")
    rows = [row for split in ("train", LARGE, "train_oos") for row in utterances(split) if row["style"] != "typo"]
    return [
        {**row, "id": f"mistyped-{i:04d}", "style": "typo", "text": mistyped(row["text"], chance)}
        for i, row in enumerate(chance.sample(rows, MISTYPED), 1)
    ]


@functools.cache
def _described() -> tuple[Example, ...]:
    """Utterances of `train` and `train_large`, up to eight in a row under one schema of a few intents: what they
    begin with is computed once where they are trained on together.

    Of the intents that are offered some are near to those that are meant. Now and then what is meant is not among them:
    then it is none of these.
    """
    chance = random.Random(f"{SEED}/described")
    rows = [*utterances("train"), *utterances(LARGE)]
    chance.shuffle(rows)
    rows = rows[:DESCRIBED]
    examples: list[Example] = []
    while rows:
        size = chance.choice(TOGETHER)
        group, rows = rows[:size], rows[size:]
        labels = _offer({row["intent"] for row in group} - {NONE}, chance)
        schema = choice({label: intents()[name] for name, label in labels.items()})
        for row in group:
            asked = {**row, "id": f"described-{len(examples) + 1:04d}", "intent": labels.get(row["intent"], NONE)}
            examples.append(_example(asked, "described", schema, "described"))
    return tuple(examples)


def _offer(meant: set[str], chance: random.Random) -> dict[str, str]:
    """Intent -> label of what a schema offers: most of what is meant, and others, in any order."""
    kept = [name for name in sorted(meant) if chance.random() >= WITHOUT]
    others = [name for name in intents() if name not in meant]
    chance.shuffle(others)
    wanted = max(0, chance.randint(*OFFERED) - len(kept))
    domains = {domain_of()[name] for name in meant}
    near = [name for name in others if domain_of()[name] in domains][: (wanted + 1) // 2]
    chosen = [*kept, *near, *(name for name in others if name not in near)][: max(OFFERED[0], len(kept) + wanted)]
    chance.shuffle(chosen)
    renamed = chance.random() < RENAMED
    labels: dict[str, str] = {}
    for name in chosen:
        labels[name] = _renamed(intents()[name], chance, set(labels.values())) if renamed else name
    return labels


def _renamed(description: str, chance: random.Random, taken: set[str]) -> str:
    """A label of two words of a description."""
    words = [word for word in re.findall(r"[a-z]+", description.lower()) if word not in _SMALL]
    while True:
        label = "_".join(chance.sample(words, 2))
        if label not in taken:
            return label


def _example(row: Mapping[str, str], schema_id: str, schema: dict[str, Any], split: str) -> Example:
    tags = {"complexity": "simple", "style": row["style"], "split": split}
    return Example(row["id"], row["text"], schema_id, schema, {"intent": row["intent"]}, tags)


TASK = EdgeIntent()
