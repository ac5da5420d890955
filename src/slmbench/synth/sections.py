"""An object as the sections of a document: labelled values, nested objects and list items under titles of their own."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slmbench.synth.spell import spell


@dataclass(frozen=True)
class Field:
    """One labelled value: `key` is the property's name, `text` what the document shows."""

    key: str
    label: str
    text: str
    value: Any
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """Fields that belong together. `group` names the list and `number` (from 1) the item; a plain object has neither.

    `title` heads the section; `noun` is the plain name that can stand before a field's own label.
    """

    title: str
    noun: str
    fields: tuple[Field, ...]
    group: str = ""
    number: int = 0


def label_of(schema: Mapping[str, Any], rng: random.Random) -> str:
    """A label for a field: its title or one of its `x-labels`."""
    return str(rng.choice([schema["title"], *schema.get("x-labels", [])]))


def sections(value: Mapping[str, Any], schema: Mapping[str, Any], rng: random.Random, rate: float) -> list[Section]:
    """The sections of an object in the schema's order; the first holds its own plain fields.

    Objects inside list items become fields with both labels; lists inside list items become one field.
    """
    return _of_object(value, schema, "", "", _Writer(rng, rate))


class _Writer:
    """Spells values and picks labels, one label a schema node, so that a column has one name in all rows."""

    def __init__(self, rng: random.Random, rate: float) -> None:
        self.rng, self.rate = rng, rate
        self._labels: dict[int, str] = {}

    def label(self, schema: Mapping[str, Any]) -> str:
        return self._labels.setdefault(id(schema), label_of(schema, self.rng))

    def text(self, value: Any, schema: Mapping[str, Any]) -> str:
        if not isinstance(value, list):
            return spell(value, schema, self.rng, self.rate)
        if not value:
            return self.rng.choice(["none", "none", "n/a", "[]"])
        if isinstance(value[0], dict):
            properties = schema["items"]["properties"]
            return "; ".join(" ".join(self.text(v, properties[k]) for k, v in item.items()) for item in value)
        return self.rng.choice([", ", "; "]).join(value)


def _of_object(
    value: Mapping[str, Any], schema: Mapping[str, Any], title: str, noun: str, writer: _Writer
) -> list[Section]:
    fields: list[Field] = []
    below: list[Section] = []
    for key, item in value.items():
        sub = schema["properties"][key]
        if isinstance(item, dict):
            below += _of_object(item, sub, writer.label(sub), sub["title"], writer)
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            group, one = writer.label(sub), sub["items"]
            name = one["title"]
            below += [Section(name, name, _item_fields(v, one, writer), group, n) for n, v in enumerate(item, 1)]
        else:
            fields.append(Field(key, writer.label(sub), writer.text(item, sub), item, sub))
    return [Section(title, noun, tuple(fields)), *below]


def _item_fields(item: Mapping[str, Any], schema: Mapping[str, Any], writer: _Writer) -> tuple[Field, ...]:
    fields: list[Field] = []
    for key, value in item.items():
        sub = schema["properties"][key]
        if isinstance(value, dict):
            for inner in _item_fields(value, sub, writer):
                known = sub["title"].lower() in inner.label.lower()
                label = inner.label if known else f"{sub['title']} {inner.label.lower()}"
                fields.append(Field(f"{key}_{inner.key}", label, inner.text, inner.value, inner.schema))
        else:
            fields.append(Field(key, writer.label(sub), writer.text(value, sub), value, sub))
    return tuple(fields)


def folded(parts: list[Section]) -> tuple[list[Field], list[Section]]:
    """The fields of all plain sections as one list, the nouns of nested ones before their labels; then the items."""
    plain = [s for s in parts if not s.number]
    fields = [Field(f.key, _prefixed(s.noun, f.label), f.text, f.value, f.schema) for s in plain for f in s.fields]
    return fields, [s for s in parts if s.number]


def _prefixed(noun: str, label: str) -> str:
    return f"{noun} {label.lower()}" if noun and noun.lower() not in label.lower() else label


def groups(items: list[Section]) -> list[list[Section]]:
    """List items by their list, in order."""
    found: dict[str, list[Section]] = {}
    for item in items:
        found.setdefault(item.group, []).append(item)
    return list(found.values())
