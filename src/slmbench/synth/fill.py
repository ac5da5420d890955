"""A value for anyone's JSON Schema.

`plan` checks that a schema can be made at all; `Filler.fill` draws one document's values: alternatives are chosen,
optional fields left out, in some documents most of them, people and their addresses belong together, and what follows
from other fields is worked out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from slmbench.core import BadInput
from slmbench.schema import check_schema, resolve
from slmbench.synth.amounts import amount
from slmbench.synth.fields import Meaning, hints, keys_of, meaning, theme_of, words_in
from slmbench.synth.kinds import Story
from slmbench.synth.rules import operands
from slmbench.synth.sums import settle
from slmbench.synth.synonyms import said
from slmbench.synth.texts import text
from slmbench.synth.tree import Impossible, Node
from slmbench.synth.values import Source

KEPT = (0.2, 0.5, 0.8)
"""How often an optional field is in a document: some say little, some nearly all."""
EMPTY = 0.2
"""How often a list that may be empty is."""


def plan(schema: Mapping[str, Any], name: str) -> None:
    """Raise BadInput, one sentence with the field's name, for a schema that no document can be made for."""
    check_schema(schema, name)
    if resolve(schema, schema).get("type", "object") != "object":
        raise BadInput(f"{name}: documents are made for schemas of an object; put the list under a key of an object.")
    filler = Filler(schema, name)
    for turn in range(4):
        try:
            nodes = filler.fill(Source(f"plan:{turn}"), whole=True)
        except Impossible as error:
            raise BadInput(f"{name}: {error}; correct the schema or give `examples`.") from None
        if any(not node.hidden for node in nodes):
            return
    raise BadInput(f"{name}: the schema has no field to extract; give it `properties` that are not constants.")


class Filler:
    """Draws documents for one schema; `theme` is what they are about, `priced` whether a field is their currency."""

    def __init__(self, schema: Mapping[str, Any], name: str) -> None:
        self.schema, self.theme = schema, theme_of(schema, name)
        self.priced = any(words_in(key)[-1:] == ["currency"] for key in keys_of(schema, schema))

    def fill(self, source: Source, *, nulls: bool = False, whole: bool = False) -> list[Node]:
        """The fields of one document in the schema's order; `nulls` allows null where the schema does, `whole` leaves
        no optional field out.

        Raises Impossible naming a field that has no value.
        """
        story = Story(source, source.date(2024, 2026), self.theme)
        kept = 1.0 if whole else source.pick(KEPT)
        nodes = _Maker(self.schema, story, nulls, kept).object(_concrete(self.schema, self.schema, source), "")
        settle(nodes, nodes, source)
        _tie(nodes, source)
        return nodes


def _tie(nodes: Sequence[Node], source: Source) -> None:
    """Numbers that a description ties to an option of another field go with it: "0 for a studio"."""
    options = {str(node.value).casefold(): node for node in nodes if node.schema.get("enum")}
    enums = {str(option).casefold() for node in nodes for option in node.schema.get("enum", ())}
    for node in nodes:
        for number, texts in said(node.schema).synonyms.items() if node.schema.get("type") == "integer" else ():
            tied = {text.casefold() for text in texts} & enums
            if tied & set(options):
                node.value = int(number)
            elif tied and node.value == int(number):
                low = max(1, int(node.schema.get("minimum", 1)))
                node.value = source.integer(low, max(low, min(4, int(node.schema.get("maximum", 4)))))


def _concrete(schema: Any, root: Mapping[str, Any], source: Source, *, nulls: bool = False) -> dict[str, Any]:
    """A schema with references followed, `allOf` merged and one alternative of each `anyOf` and `oneOf` taken."""
    node = dict(resolve(schema, root)) if isinstance(schema, Mapping) else {}
    parts = [_concrete(part, root, source) for part in node.pop("allOf", [])]
    for keyword in ("anyOf", "oneOf"):
        options = [dict(resolve(option, root)) for option in node.pop(keyword, [])]
        real = [option for option in options if nulls or option.get("type") != "null"] or options
        if real:
            parts.append(_concrete(source.pick(real), root, source, nulls=nulls))
    for part in parts:
        node = _merged(node, part)
    return node


def _merged(a: dict[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Both schemas at once, the second one's words over the first one's."""
    both = {**a, **{key: value for key, value in b.items() if key not in ("title", "description") or key not in a}}
    if "properties" in a and "properties" in b:
        both["properties"] = {**a["properties"], **b["properties"]}
        for key in a["properties"].keys() & b["properties"].keys():
            one, two = a["properties"][key], b["properties"][key]
            if isinstance(one, dict) and isinstance(two, dict):
                both["properties"][key] = {**one, **two}
    if "required" in a or "required" in b:
        both["required"] = list(dict.fromkeys([*a.get("required", []), *b.get("required", [])]))
    return both


def _type(schema: Mapping[str, Any], source: Source, *, nulls: bool) -> str:
    kinds = schema.get("type")
    if isinstance(kinds, list):
        real = [kind for kind in kinds if kind != "null"] or ["null"]
        return "null" if nulls and "null" in kinds and source.chance(0.3) else str(real[0])
    if isinstance(kinds, str):
        return kinds
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _telling(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a field's schema that says what it means."""
    kept = ("type", "format", "enum", "title", "description", "minLength", "maxLength", "x-slmbench")
    return {key: schema[key] for key in kept if key in schema}


class _Maker:
    """Makes the fields of one document."""

    def __init__(self, root: Mapping[str, Any], story: Story, nulls: bool, kept: float) -> None:
        self.root, self.story, self.nulls, self.kept, self.source = root, story, nulls, kept, story.source

    def object(self, schema: Mapping[str, Any], parent: str) -> list[Node]:
        """The fields of an object; at least one, where it has any."""
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        unknown = next((key for key in required if key not in properties), None)
        if unknown is not None:
            raise Impossible(f"field {unknown!r} is required but stands in no `properties`")
        forced = {*required, *operands(properties)}
        kept = [key for key in properties if key in forced or self.source.chance(self.kept)]
        left = [key for key in properties if key not in kept]
        missing = max(1, schema.get("minProperties", 0)) - len(kept)
        if missing > 0:
            more = self.source.rng.sample(left, min(missing, len(left)))
            kept = [key for key in properties if key in kept or key in more]
        nodes = [self.field(key, properties[key], parent) for key in kept[: schema.get("maxProperties", len(kept))]]
        if any(words_in(key)[-1:] in (["unit"], ["units"], ["uom"]) for key in properties):
            # The unit is a field of its own: no other one may stand behind the number.
            for node in nodes:
                node.meaning = replace(node.meaning, unit="")
        return nodes

    def field(self, key: str, sub: Any, parent: str) -> Node:
        """One field; `parent` is the key of what holds it."""
        if sub is False:
            raise Impossible(f"field {key!r} may have no value (its schema is false)")
        schema = _concrete(sub, self.root, self.source, nulls=self.nulls)
        schema["type"] = kind = _type(schema, self.source, nulls=self.nulls)
        node = Node(key, schema, meaning(key, _telling(schema), parent))
        if "const" in schema:
            node.value, node.hidden = schema["const"], True
        elif kind == "object" and schema.get("properties"):
            node.children = self.object(schema, key)
        elif kind == "array":
            self._array(node)
        else:
            node.value = {} if kind == "object" else self._leaf(key, schema, node.meaning)
        return node

    def _array(self, node: Node) -> None:
        schema, low, high = node.schema, node.schema.get("minItems", 0), node.schema.get("maxItems", 10**6)
        inner = schema.get("items", schema.get("contains", {}))
        item = _concrete(inner, self.root, self.source)
        item["type"] = kind = _type(item, self.source, nulls=False)
        if low > high:
            raise Impossible(f"field {node.key!r} cannot have at least {low} and at most {high} items")
        objects = kind == "object" and bool(item.get("properties"))
        usual = self.source.pick([1, 1, 2, 2, 3, 4] if objects else [1, 1, 2, 2, 3, 3, 4, 5])
        empty = low == 0 and self.source.chance(EMPTY)
        count = 0 if empty else min(max(low, usual, 1), high)
        if objects:
            node.meaning = meaning(node.key, {**_telling(schema), "type": "object"})
            node.items = [self._item(inner, node.key) for _ in range(count)] or None
            node.value = None if node.items else []
        elif kind in ("array", "object"):
            node.value = [self.field(node.key, item, node.key).json() for _ in range(count)]
        else:
            self._leaves(node, item, count, low)

    def _item(self, schema: Mapping[str, Any], key: str) -> list[Node]:
        """The fields of an object in a list, with people of its own."""
        item = _concrete(schema, self.root, self.source)
        outer, self.story.people = self.story.people, {}
        nodes = self.object(item, key)
        self.story.people = outer
        return nodes

    def _leaves(self, node: Node, item: dict[str, Any], count: int, low: int) -> None:
        """Fill a list of scalars: `count` different ones where there are as many, and at least `low`."""
        if hints(node.schema) and not hints(item):
            item["x-slmbench"] = hints(node.schema)
        if "description" in node.schema:
            item.setdefault("description", node.schema["description"])
        node.meaning = meaning(node.key, _telling(item))
        found: list[Any] = []
        for _ in range(count * 8):
            value = self._leaf(node.key, item, node.meaning)
            if value not in found:
                found.append(value)
            if len(found) == count:
                break
        if len(found) < low and node.schema.get("uniqueItems"):
            raise Impossible(f"field {node.key!r} cannot have {low} different items")
        node.value = found + [self._leaf(node.key, item, node.meaning) for _ in range(low - len(found))]

    def _leaf(self, key: str, schema: Mapping[str, Any], told: Meaning) -> Any:
        """A scalar: what the hints list, an option, something like the examples, or what the meaning gives."""
        if schema["type"] == "null":
            return None
        listed = hints(schema).get("values")
        if isinstance(listed, list) and listed:
            return self.source.pick(listed)
        if schema.get("enum"):
            return self.source.pick([option for option in schema["enum"] if option is not None] or schema["enum"])
        if schema["type"] == "boolean":
            return self.source.chance(0.5)
        if schema["type"] in ("integer", "number"):
            named = [int(number) for number in said(schema).synonyms if schema["type"] == "integer"]
            if named and self.source.chance(0.4):
                return self.source.pick(named)
            return amount(key, schema, told, self.source)
        return text(key, schema, told, self.story)
