"""The values of one document as a tree that still knows what each of its fields means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmbench.synth.fields import Meaning


class Impossible(Exception):
    """No value was found for a field this time; says which and why."""


@dataclass
class Node:
    """One field of one document: a leaf with its `value`, an object with `children`, or a list of objects, `items`.

    `hidden` says that the document need not show it: a constant, or a result that the reader works out. `said` is how
    the document writes the value where that is not for its style to choose, for a list of texts one for each;
    `sentence` says all of it in running text.
    """

    key: str
    schema: Mapping[str, Any]
    meaning: Meaning
    value: Any = None
    children: list[Node] | None = None
    items: list[list[Node]] | None = None
    hidden: bool = False
    said: str | list[str] | None = None
    sentence: str | None = None

    @property
    def below(self) -> list[list[Node]]:
        """The fields of each object right below."""
        return [self.children] if self.children else self.items or []

    def json(self) -> Any:
        """The JSON value of the field."""
        if self.children is not None:
            return as_object(self.children)
        if self.items is not None:
            return [as_object(item) for item in self.items]
        return self.value


def as_object(nodes: Sequence[Node]) -> dict[str, Any]:
    """The JSON object of fields."""
    return {node.key: node.json() for node in nodes}


def every(nodes: Sequence[Node]) -> Iterator[Node]:
    """All fields, with those of objects and lists right behind them."""
    for node in nodes:
        yield node
        for inner in node.below:
            yield from every(inner)
