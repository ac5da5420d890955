"""Reads `domains.txt`: what documents can be about, and which fields each kind of document may have."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
GENERIC = "*"


@dataclass(frozen=True)
class Field:
    """A field that a schema may have.

    `names` are the keys it may go by, `kind` and `args` what its values are, `labels` what a document may call it (the
    ones in `verbal` cannot stand after "the"), `ways` the sentences that say it, {} being the value. Objects and lists
    of objects have fields `below`; `item` is what one item of a list is called, and their ways name those fields.
    """

    names: tuple[str, ...]
    kind: str
    args: tuple[str, ...]
    labels: tuple[str, ...]
    verbal: frozenset[str]
    ways: tuple[str, ...]
    item: str = ""
    below: tuple[Field, ...] = ()


@dataclass(frozen=True)
class Node:
    """A field as one schema has it: `key` is its name there, `said` what the schema says of it but for `below`."""

    field: Field
    key: str
    required: bool
    said: dict[str, Any]
    below: tuple[Node, ...] = ()

    @property
    def name(self) -> str:
        """The name that sentences know it by."""
        return self.field.names[0]


@dataclass(frozen=True)
class Domain:
    """One kind of document: its titles, what it is `about`, its fields, and sentences that say several of them."""

    titles: tuple[str, ...]
    about: tuple[str, ...]
    fields: tuple[Field, ...]
    openings: tuple[str, ...]


@functools.cache
def domains() -> dict[str, Domain]:
    """The domains by their first title; the fields that suit any of them are under `GENERIC`."""
    found: dict[str, Domain] = {}
    blocks = (HERE / "domains.txt").read_text(encoding="utf-8").split("\n[")[1:]
    for block in blocks:
        head, *lines = [line for line in block.splitlines() if line.strip() and not line.startswith("#")]
        titles, _, about = head.strip("]").partition(" | ")
        fields, openings = _fields(lines)
        domain = Domain(_parts(titles), _parts(about), fields, openings)
        found[domain.titles[0]] = domain
    return found


def _fields(lines: list[str]) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    """The fields of one level, and the sentences for several of them."""
    fields, openings = [], []
    for head, below in _blocks(lines):
        if head.startswith(": "):
            openings += head[2:].split(" | ")
        else:
            fields.append(_field(head, below))
    return tuple(fields), tuple(openings)


def _blocks(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each line of the outer level with the deeper lines under it, these one level up."""
    starts = [i for i, line in enumerate(lines) if not line.startswith("  ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield lines[start], [line[2:] for line in lines[start + 1 : end]]


def _field(head: str, lines: list[str]) -> Field:
    if head[0] not in "@%":
        names, kind, labels, *ways = head.split(" | ")
        word, _, rest = kind.partition(" ")
        return Field(tuple(names.split(", ")), word, _arguments(word, rest), *_labels(labels), tuple(ways))
    below, ways_below = _fields(lines)
    if head[0] == "@":
        names, item, labels = head[1:].split(" | ")
        return Field(tuple(names.split(", ")), "list", (), *_labels(labels), ways_below, item, below)
    names, labels = head[1:].split(" | ")
    return Field(tuple(names.split(", ")), "object", (), *_labels(labels), ways_below, below=below)


def _arguments(kind: str, rest: str) -> tuple[str, ...]:
    if kind == "bool":
        return tuple(rest.split(" / "))
    return tuple(rest.split(", ") if kind in ("text", "enum", "strings", "code") else rest.split())


def _labels(text: str) -> tuple[tuple[str, ...], frozenset[str]]:
    labels = text.split(", ")
    return tuple(label.lstrip("~") for label in labels), frozenset(x[1:] for x in labels if x.startswith("~"))


def _parts(text: str) -> tuple[str, ...]:
    return tuple(text.split("; "))
