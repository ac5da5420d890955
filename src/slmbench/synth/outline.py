"""The fields of a document as what `sections` and `Speaker` read: a plain object of texts, and a schema of labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from slmbench.synth.clauses import unmeant
from slmbench.synth.fields import hints, singular, spoken, words_in
from slmbench.synth.shown import Manner, shown
from slmbench.synth.tree import Node
from slmbench.synth.wording import is_noun


def outline(nodes: Sequence[Node], manner: Manner, title: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields as (value, schema) under plain names, lists of objects at the top.

    A leaf's schema holds its label as `title`, and its `node`.
    """
    value, schema = _object(nodes, manner, title)
    for path, items, label in _lists(nodes, ()):
        inner = _columns(items, manner)
        key = _fresh("_".join(path), schema["properties"])
        value[key] = [_row(item, inner, manner) for item in items]
        schema["properties"][key] = {"title": label, "items": {"title": singular(label), "properties": inner}}
    return value, schema


def _lists(nodes: Sequence[Node], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[list[Node]], str]]:
    """(path, items, label) of every list of objects that stands in no other."""
    for node in nodes:
        if node.items:
            label = node.meaning.labels[0]
            yield (*above, node.key), node.items, f"{above[-1]} {label}" if above else label
        elif node.children:
            yield from _lists(node.children, (*above, _name(node)))


def _object(nodes: Sequence[Node], manner: Manner, title: str) -> tuple[dict[str, Any], dict[str, Any]]:
    value: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    labels = _Labels(nodes, manner)
    for node in _ordered(nodes, manner):
        if node.items or node.hidden:
            continue
        key, label = _fresh(node.key, properties), labels.take(node)
        if node.children:
            inner = _object(node.children, manner, label)
            if inner[0]:
                value[key], properties[key] = inner
        else:
            value[key], properties[key] = shown(node, manner), _leaf(node, label)
    return value, {"title": title, "properties": properties}


def _ordered(nodes: Sequence[Node], manner: Manner) -> list[Node]:
    """The fields as they stand, or one of them moved, or all of them anyhow."""
    found, rng = list(nodes), manner.source.rng
    draw = rng.random()
    if draw < 0.2:
        rng.shuffle(found)
    elif draw < 0.45 and len(found) > 2:
        found.insert(rng.randrange(len(found)), found.pop(rng.randrange(len(found))))
    return found


def _leaf(node: Node, label: str) -> dict[str, Any]:
    says = {"x-true": node.schema.get("x-true") or ["yes"], "x-false": node.schema.get("x-false") or ["no"]}
    return {"title": label, "node": node, **says}


def _columns(items: Sequence[Sequence[Node]], manner: Manner) -> dict[str, Any]:
    """The fields of a list's items, flat, by their path, each under one label."""
    found: dict[str, Node] = {}
    for item in items:
        for path, node in _flat(item, ""):
            found.setdefault(path, node)
    labels = _Labels(found.values(), manner)
    return {path: _leaf(node, labels.take(node, path)) for path, node in found.items()}


def _row(item: Sequence[Node], columns: Mapping[str, Any], manner: Manner) -> dict[str, Any]:
    texts = {path: _inside(node, manner) for path, node in _flat(item, "")}
    return {path: texts[path] for path in columns if path in texts}


def _inside(node: Node, manner: Manner) -> Any:
    """A field of a list's item, a list of objects in it too, as one text."""
    if not node.items:
        return shown(node, manner, inside=True)
    rows = (" ".join(str(_inside(below, manner)) for _, below in _flat(item, "")) for item in node.items)
    return "; ".join(rows)


def _flat(nodes: Sequence[Node], prefix: str) -> Iterator[tuple[str, Node]]:
    for node in nodes:
        path = f"{prefix}{_plain(node.key)}"
        if node.children:
            yield from _flat(node.children, f"{path}_")
        elif not node.hidden:
            yield path, node


def _plain(key: str) -> str:
    """The key with nothing but small letters, digits and _, as the slots of sentences have it."""
    return "_".join(re.findall(r"[a-z0-9]+", " ".join(words_in(key)))) or "field"


def _fresh(key: str, taken: Mapping[str, Any]) -> str:
    plain = _plain(key)
    while plain in taken:
        plain += "_x"
    return plain


def _name(node: Node) -> str:
    return spoken(words_in(node.key))


class _Labels:
    """Gives each field of one object a label of its own."""

    def __init__(self, nodes: Iterable[Node], manner: Manner) -> None:
        self.manner, self.used, nodes = manner, set[str](), list(nodes)
        suits = Counter(label for node in nodes for label in {label.lower() for label in node.meaning.labels})
        # What no other field may be called: the names of all, and labels that would suit several of them.
        self.reserved = {_name(node).lower() for node in nodes} | {label for label, n in suits.items() if n > 1}

    def take(self, node: Node, path: str = "") -> str:
        """A label that no other field has or is named by; a noun, where it goes into sentences."""
        own, said = _name(node), self.manner.spoken
        fits = [
            label for label in node.meaning.labels if not said or is_noun(label) or hints(node.schema).get("labels")
        ]
        if unmeant(str(node.schema.get("description", ""))).labels and not hints(node.schema).get("labels"):
            # Where the document may hold its like, "date" or "from" alone would fit both.
            fits = [label for label in fits if set(words_in(label)) & set(words_in(node.key))]
        barred = self.used | (self.reserved - {own.lower()})
        free = [label for label in fits if label.lower() not in barred]
        rest = own if own.lower() not in self.used else spoken(words_in(path or node.key))
        label = self.manner.source.rng.choice(free) if free else rest
        self.used.add(label.lower())
        if said:
            label = re.sub(r"\bno\.$", "number", label).replace("tel.", "phone").rstrip(".")
        return label or "value"
