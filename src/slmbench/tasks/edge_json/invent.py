"""Invents schemas, so that a model learns to read any schema and not 25 of them.

A schema is drawn from `domains.txt`: a domain, some of its fields and some that suit any domain, under one of several
keys each, in an order of its own, with sentences to match. Keys are those of `domains.txt` until the very end, when
`Invented.named` gives them the schema's own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slmbench.synth.speech import Phrases
from slmbench.synth.values import Source
from slmbench.tasks.edge_json import saying
from slmbench.tasks.edge_json.domains import GENERIC, Domain, Field, Node, domains
from slmbench.tasks.edge_json.kinds import Story, calculate, fragment, make, operands, unit_name

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_LEVELS = {"simple": 4, "medium": 4, "complex": 2}


@dataclass(frozen=True)
class Invented:
    """An invented schema: `plain` with the names that `phrases` and `make` use, `schema` with its own keys."""

    id: str
    plain: dict[str, Any]
    schema: dict[str, Any]
    phrases: Phrases
    nodes: tuple[Node, ...]

    def make(self, source: Source) -> dict[str, Any]:
        """A value for `plain`."""
        return _object(self.nodes, Story(source))

    def named(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """A value for `schema` from one for `plain`."""
        return _named(value, self.nodes)


def invent(seed: str, number: int) -> Invented:
    """The schema of a seed and a number: domains take turns, all else is drawn."""
    names = [name for name in domains() if name != GENERIC]
    turn, place = divmod(number, len(names))
    name = random.Random(f"{seed}:{turn}").sample(names, len(names))[place]
    rng = random.Random(f"{seed}:{number}:{name}")
    return _assembled(f"{re.sub('[^a-z]+', '_', name.lower())}_{number:04d}", domains()[name], rng)


def _assembled(schema_id: str, domain: Domain, rng: random.Random) -> Invented:
    level = rng.choices(list(_LEVELS), list(_LEVELS.values()))[0]
    told = frozenset(saying.slots(rng.choice(domain.openings))) if rng.random() < 0.65 else frozenset()
    return built(schema_id, domain, _drawn(domain, level, told, rng), told, rng)


def _drawn(domain: Domain, level: str, told: frozenset[str], rng: random.Random) -> list[Field]:
    """Fields of the domain, those `told` among them, and generic ones, with those that sums follow from."""
    own = [field for field in domain.fields if not field.below and not _over_list(field)]
    free = [field for field in domains()[GENERIC].fields if not field.below and not _over_list(field)]
    groups = [field for field in domain.fields if field.below]
    more = [field for field in domains()[GENERIC].fields if field.below]
    size = {"simple": rng.randint(3, 5), "medium": rng.choice([3, 4, 4, 5, 6, 8, 10]), "complex": rng.randint(4, 7)}
    fields = [field for field in own if field.names[0] in told]
    rest = [field for field in rng.sample(own, len(own)) if field not in fields]
    fields += rest[: max(0, size[level] - len(fields) - sum(rng.random() < 0.2 for _ in range(size[level])))]
    for field in rng.sample(free, len(free)):
        if len(fields) < size[level] and not (_looks(field) & set().union(*map(_looks, fields))):
            fields.append(field)
    count = {"simple": 0, "medium": 1 if size["medium"] < 7 else 0, "complex": 2}[level]
    pool = [group for group in groups if rng.random() < 0.8] + rng.sample(more, 2)
    chosen = pool[:count]
    if level == "complex":
        deep = [group for group in [*groups, *more] if any(field.below for field in group.below)]
        lists = [group for group in [*groups, *more] if group.kind == "list"]
        chosen = [*dict.fromkeys([rng.choice(deep), *rng.sample(lists, 1)])]
    sums = [field for field in [*domain.fields, *domains()[GENERIC].fields] if _over_list(field)]
    names = {group.names[0] for group in chosen}
    fields += [field for field in sums if operands(field) <= names and rng.random() < 0.7]
    fields = _closed(fields, [*own, *free])
    if rng.random() < 0.5:
        known = [*domain.fields, *domains()[GENERIC].fields]
        fields.sort(key=known.index)
    else:
        rng.shuffle(fields)
    for group in chosen:
        fields.insert(len(fields) if rng.random() < 0.7 else rng.randint(1, len(fields)), group)
    return fields


def _looks(field: Field) -> set[str]:
    """What could let a field be taken for another one: its unit, and its kind where a document has mostly one such."""
    kinds = {"time", "datetime", "money", "version", "note", "strings", "email", "phone"}
    units = set(field.args[2:]) if field.kind in ("int", "dec") else set()
    return units - {"0", "1", "2", "3", "4"} | ({field.kind} & kinds)


def _over_list(field: Field) -> bool:
    return field.kind == "calc" and "." in field.args[0]


def _closed(fields: Sequence[Field], known: Sequence[Field]) -> list[Field]:
    """The fields and those that their sums follow from."""
    have = {field.names[0] for field in fields}
    wanted = set().union(*(operands(field) for field in fields if not _over_list(field))) - have
    return [*fields, *(field for field in known if field.names[0] in wanted)]


def built(
    schema_id: str, domain: Domain, fields: Sequence[Field], told: frozenset[str], rng: random.Random
) -> Invented:
    """The schema of these fields, less those whose labels or keys are taken; fields `told` are in every document."""
    title = rng.choice(domain.titles)
    styles: list[Callable[[str], str]] = [str, _camel, _kebab]
    nodes = tuple(_nodes(fields, set(), rng, optional=3, needed=told))
    nodes = tuple(_styled(nodes, rng.choices(styles, [17, 2, 1])[0]))
    head = {"$schema": DRAFT, "title": title, "description": f"One document about {domain.about[0]}."}
    plain, schema = ({**head, **_object_schema(nodes, own=own)} for own in (False, True))
    openings = rng.sample(domain.openings, len(domain.openings))
    return Invented(schema_id, plain, schema, saying.phrases(nodes, domain.about, openings, rng), nodes)


def _nodes(
    fields: Sequence[Field],
    labels: set[str],
    rng: random.Random,
    *,
    optional: int,
    needed: frozenset[str] = frozenset(),
    prefix: str = "",
) -> list[Node]:
    """The fields of one object under labels and keys of their own.

    `labels` are those taken, with `prefix` before them; at most `optional` fields, none of `needed`, may be absent.
    """
    fixed = needed.union(*(operands(field) for field in fields))
    inner = min(1, optional)
    names: set[str] = set()
    nodes: list[Node] = []
    for field in fields:
        keys = [key for key in field.names if key not in {node.key for node in nodes}]
        own = [label for label in field.labels if _full(prefix, label) not in labels]
        nouns = [label for label in own if label not in field.verbal]
        if field.names[0] in names or not keys or not nouns or not operands(field) <= {f.names[0] for f in fields}:
            continue
        title = rng.choice(nouns)
        others = [label for label in own if label != title]
        labels |= {_full(prefix, label) for label in own}
        always = field.names[0] in fixed or not nodes or rng.random() > 0.22 or optional == 0
        optional -= not always
        said = _said(field, title, rng.sample(others, min(3, len(others))), always, rng)
        names.add(field.names[0])
        node = Node(field, rng.choice([keys[0], rng.choice(keys)]), always, said)
        nodes.append(_with_below(node, labels, rng, optional=inner))
    return nodes


def _full(prefix: str, label: str) -> str:
    """A label as it stands where a nested object's fields are folded into the outer one's."""
    own = label.lower().strip(".")
    return own if not prefix or prefix in own else f"{prefix} {own}"


def _with_below(node: Node, labels: set[str], rng: random.Random, *, optional: int) -> Node:
    field = node.field
    if field.kind == "object":
        below = _nodes(field.below, labels, rng, optional=optional, prefix=str(node.said["title"]).lower())
        return replace(node, below=tuple(below))
    if field.kind == "list":
        return replace(node, below=tuple(_nodes(_thinned(field, rng), set(), rng, optional=0)))
    return node


def _thinned(field: Field, rng: random.Random) -> list[Field]:
    """The fields of a list's items, now and then less one; numbers stay, as sums may follow from them."""
    spare = [below for below in field.below[1:] if below.kind not in ("int", "count", "dec", "money", "calc")]
    gone = rng.choice(spare) if spare and len(field.below) > 3 and rng.random() < 0.35 else None
    return [below for below in field.below if below is not gone]


def _said(field: Field, title: str, others: list[str], needed: bool, rng: random.Random) -> dict[str, Any]:
    said: dict[str, Any] = {"title": title[0].upper() + title[1:], "description": ""}
    if field.kind in ("list", "strings"):
        low, item = int(rng.random() < 0.5), field.item or title.removesuffix("s")
        if field.kind == "strings":
            said["items"] = {"type": "string", "title": item, "description": "One entry.", "minLength": 1}
        said |= {"minItems": low, "maxItems": 6}
        told = f"{said['title']} in order" + ("" if low else "; empty if none")
    else:
        said |= {} if field.kind == "object" else fragment(field, rng)
        told = said["title"] + (f" in {unit}" if (unit := unit_name(said)) else "")
    said["description"] = f"{told}{'' if needed else '; left out where unknown'}."
    return {**said, "x-labels": others}


def _object_schema(nodes: Sequence[Node], *, own: bool) -> dict[str, Any]:
    """The schema of an object, under its own keys or under the plain names."""
    keys = [node.key if own else node.name for node in nodes]
    return {
        "type": "object",
        "properties": {key: _node_schema(node, own=own) for key, node in zip(keys, nodes, strict=True)},
        "required": [key for key, node in zip(keys, nodes, strict=True) if node.required],
        "additionalProperties": False,
    }


def _node_schema(node: Node, *, own: bool) -> dict[str, Any]:
    if node.field.kind == "object":
        return {**node.said, **_object_schema(node.below, own=own)}
    if node.field.kind == "list":
        item = {"title": node.field.item, "description": f"One {node.field.item.lower()}."}
        return {**node.said, "type": "array", "items": {**item, **_object_schema(node.below, own=own)}}
    return {**node.said, **({"type": "array"} if node.field.kind == "strings" else {})}


def _styled(nodes: Sequence[Node], style: Callable[[str], str]) -> list[Node]:
    return [replace(node, key=style(node.key), below=tuple(_styled(node.below, style))) for node in nodes]


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _kebab(key: str) -> str:
    return key.replace("_", "-")


def _object(nodes: Sequence[Node], story: Story) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for node in nodes:
        if node.field.kind != "calc" and (node.required or not story.s.chance(0.25)):
            value[node.name] = _value(node, story)
    for node in nodes:
        if node.field.kind == "calc":
            value[node.name] = calculate(node.field, value)
    return {node.name: value[node.name] for node in nodes if node.name in value}


def _value(node: Node, story: Story) -> Any:
    field, s = node.field, story.s
    if field.kind == "object":
        return _object(node.below, replace(story))
    if field.kind in ("list", "strings") and node.said["minItems"] == 0 and s.chance(0.15):
        return []
    if field.kind == "list":
        count = s.pick([1, 2, 2, 3, 3, 4] if len(node.below) < 4 else [1, 2, 2, 3])
        items = [_object(node.below, Story(s, story.day)) for _ in range(count)]
        first = node.below[0].name
        return list({str(item[first]): item for item in items}.values())
    return make(field, node.said, story)


def _named(value: Mapping[str, Any], nodes: Sequence[Node]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for node in nodes:
        if node.name in value:
            inner = value[node.name]
            if node.field.kind == "object":
                inner = _named(inner, node.below)
            elif node.field.kind == "list":
                inner = [_named(item, node.below) for item in inner]
            named[node.key] = inner
    return named
