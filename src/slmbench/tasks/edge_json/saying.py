"""Sentences for an invented schema: those that `domains.txt` gives, and plain ones made from a field's labels."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence

from slmbench.synth.speech import Phrases
from slmbench.tasks.edge_json.domains import Node

_PLAIN = (
    "The {label} is {}.", "The {label} is {}.", "{Label}: {}.", "{Label} is {}.", "As for the {label}, it is {}.",
    "For the {label} we have {}.", "We noted {} as the {label}.", "Here {} is the {label}.", "The {label} reads {}.",
    "Please put down {} as the {label}.", "The {label} was given as {}.", "I have {} for the {label}.",
    "Under {label} it says {}.", "They told me the {label} is {}.",
)  # fmt: skip
_NUMBERS = (
    "The {label} is {}.", "The {label} is {}.", "{Label}: {}.", "The {label} comes to {}.", "I have {} as the {label}.",
    "For the {label} I see {}.", "The {label} stands at {}.", "The figure for the {label} is {}.", "{Label} is {}.",
)  # fmt: skip
_COUNTS = ("The number of {label} is {}.", "There are {} {label}.", "{Label}: {}.", "We count {} {label}.")
_LISTS = ("The {label} are {}.", "{Label}: {}.", "For {label} we have {}.", "Under {label} I have {}.")
_NONE = ("There are no {label}.", "No {label} at all.", "There are no {label} here.", "No {label} were named.")
_BOOLEANS = (
    "It {}.", "The {noun} {}.", "Also, it {}.", "As far as I know, it {}.", "This {noun} {}.", "By the way, it {}.",
)  # fmt: skip
_PLURALS = {" is {}": " are {}", " comes ": " come ", " stands ": " stand ", " reads ": " read ", " was ": " were "}
_NUMERIC = ("int", "dec", "money", "calc")


def phrases(nodes: Sequence[Node], about: Sequence[str], openings: Sequence[str], rng: random.Random) -> Phrases:
    """All that can be said of a value with these nodes, every leaf once, in the order of the schema."""
    noun = about[0].split(" ", 1)[1]
    lines: list[tuple[str, str, list[str]]] = []
    opening = _opening(nodes, openings, rng)
    lines += [("", "", opening)] if opening else []
    taken = set(slots(opening[0])) if opening else set()
    left = [node for node in nodes if not node.below and node.name not in taken]
    for said in _joined(left, noun, rng):
        lines.append(("", "", said))
    for node in nodes:
        lines += _nested(node, "", "", rng) if node.field.kind == "object" else []
        lines += _items(node, rng) if node.field.kind == "list" else []
    for node in nodes:
        if node.field.kind == "strings":
            lines.append((node.name, "?", _filled(_NONE, _noun_of(node), rng)))
    return Phrases(list(about), lines)


def slots(way: str) -> list[str]:
    """The fields that a sentence names."""
    return re.findall(r"\{([a-z0-9_.]+)(?::q)?\}", way)


def _opening(nodes: Sequence[Node], openings: Sequence[str], rng: random.Random) -> list[str]:
    """Ways that say the same several fields at once, all of them there in any document."""
    have = {node.name for node in nodes if node.required and not node.below}
    usable = [way for way in openings if set(slots(way)) <= have]
    if not usable or rng.random() < 0.1:
        return []
    most = rng.choice([usable[0], max(usable, key=lambda way: len(slots(way)))])
    return [way for way in usable if set(slots(way)) == set(slots(most))]


def _joined(nodes: Sequence[Node], noun: str, rng: random.Random) -> Iterator[list[str]]:
    """The ways of each field, now and then of two neighbours in one sentence."""
    i = 0
    while i < len(nodes):
        one = _single(nodes[i], noun, rng)
        pair = nodes[i : i + 2]
        if len(pair) == 2 and rng.random() < 0.3 and all(node.field.kind != "strings" for node in pair):
            two = _single(nodes[i + 1], noun, rng)
            both = [f"{a.removesuffix('.')}{_link(rng)} {_lowered(b)}" for a, b in zip(one, two, strict=False)]
            yield [*both, *one, *two]
            i += 1
        else:
            yield one
        i += 1


def _link(rng: random.Random) -> str:
    return rng.choice([", and", ";", ", and", " and"])


def _lowered(way: str) -> str:
    return way if re.match(r"I\b|[A-Z]{2}|\{", way) else way[0].lower() + way[1:]


def _noun_of(node: Node) -> str:
    """What the field is called after "the"; abbreviations keep their capitals."""
    title = str(node.said["title"]).removesuffix(".")
    return title if title[1:2].isupper() else title[0].lower() + title[1:]


def _single(node: Node, noun: str, rng: random.Random) -> list[str]:
    """Three or so ways to say one field."""
    kind, slot = node.field.kind, f"{{{node.name}}}"
    own = [way.replace("{q}", f"{{{node.name}:q}}").replace("{}", slot) for way in node.field.ways]
    if kind == "bool":
        plain = [way.replace("{noun}", noun).replace("{}", slot) for way in rng.sample(_BOOLEANS, 3)]
        return own or plain
    frames = _LISTS if kind == "strings" else _COUNTS if kind == "count" else _NUMBERS if kind in _NUMERIC else _PLAIN
    slot = f"{{{node.name}:q}}" if kind == "note" else slot
    plain = [way.replace("{}", slot) for way in _filled(frames, _noun_of(node), rng)]
    return [*own, *plain[: max(1, 3 - len(own))]]


def _filled(frames: Sequence[str], label: str, rng: random.Random) -> list[str]:
    """Three of the frames with a label in them."""
    said = [way.replace("{label}", label).replace("{Label}", label[0].upper() + label[1:]) for way in frames]
    if label.endswith("s") and not label.startswith("number of") and not label.endswith(("ss", "us")):
        for one, many in _PLURALS.items():
            said = [way.replace(f"{label}{one}", f"{label}{many}") for way in said]
    return rng.sample(said, 3)


def _nested(node: Node, path: str, outer: str, rng: random.Random) -> Iterator[tuple[str, str, list[str]]]:
    """A line for the leaves of a nested object, and one for each object in it; `outer` is what holds the object."""
    path, label = f"{path}{node.name}.", f"{outer} {_noun_of(node)}".strip()
    flat = [below for below in node.below if not below.below]
    if flat:
        yield "", "", [*_explicit(node, flat, path), *_mechanical(label, flat, path)]
    for below in node.below:
        if below.below:
            yield from _nested(below, path, label, rng)


def _explicit(node: Node, flat: Sequence[Node], path: str) -> list[str]:
    """The object's own sentences, those that say all its leaves or all but the optional ones."""
    every = {below.name for below in flat}
    needed = {below.name for below in flat if below.required}
    usable = [way for way in node.field.ways if set(slots(way)) in (every, needed)]
    return [re.sub(r"\{([a-z0-9_.]+)", rf"{{{path}\1", way) for way in usable]


def _mechanical(label: str, flat: Sequence[Node], path: str) -> list[str]:
    """Plain sentences for all leaves of an object, and for those that are always there."""
    title = label[0].upper() + label[1:]
    told = []
    for nodes in ([*flat], [below for below in flat if below.required]):
        if nodes:
            parts = [_part(below, path) for below in nodes]
            told += [f"{title}: {', '.join(parts)}.", f"For the {label}, the {_listed(parts, ', the ')}."]
    return list(dict.fromkeys(told))


def _part(node: Node, path: str) -> str:
    slot = f"{{{path}{node.name}}}"
    return f"note that it {slot}" if node.field.kind == "bool" else f"{_noun_of(node)} {slot}"


def _listed(parts: Sequence[str], gap: str) -> str:
    """Parts in a row, where "the" stands before labels alone."""
    return gap.join(parts).replace("the note that it", "and it")


def _items(node: Node, rng: random.Random) -> Iterator[tuple[str, str, list[str]]]:
    """The line of a list of objects, said once for each item, and what is said when there are none."""
    leaves = list(_leaves(node.below, ""))
    every = {path for path, _ in leaves}
    ways = [way for way in node.field.ways if set(slots(way)) == every]
    parts = [f"{'it' if below.field.kind == 'bool' else _noun_of(below)} {{{path}}}" for path, below in leaves]
    first, rest = leaves[0], parts[1:]
    plain = [f"{', '.join(parts)}.", f"{{{first[0]}}}: {', '.join(rest)}." if rest else f"{{{first[0]}}}."]
    plain = [way[0].upper() + way[1:] for way in plain]
    yield node.name, "@", [*ways, *plain[: 2 if len(ways) < 2 else 1]]
    yield node.name, "?", _filled(_NONE, _noun_of(node), rng)


def _leaves(nodes: Sequence[Node], path: str) -> Iterator[tuple[str, Node]]:
    for node in nodes:
        if node.below:
            yield from _leaves(node.below, f"{path}{node.name}.")
        else:
            yield f"{path}{node.name}", node
