"""Things in a document that nobody asks for: labelled values and remarks that no field of the schema means.

Lookalikes are the hard ones: another day, name, number or amount than a field's, under the words by which the field's
description sets it apart ("not the day it was received"), or under a label of their own.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from slmbench.synth import free
from slmbench.synth.clauses import unmeant
from slmbench.synth.fields import meaning, words_in
from slmbench.synth.kinds import MAKERS, Story
from slmbench.synth.sections import Field
from slmbench.synth.shown import Manner, shown
from slmbench.synth.speech import CLOSE, OPEN
from slmbench.synth.spell import spell
from slmbench.synth.styles import first_up
from slmbench.synth.tree import Node, every
from slmbench.synth.values import Source, number
from slmbench.synth.wording import agreed

SET_APART, ALIKE = 0.6, 0.22
"""How often what a field's description sets apart is in a document; how often something else like the field's value."""

_FIELDS = (
    ("Page", ("1 of 2", "2/3", "1")), ("Printed", ("DAY", "DAY TIME")), ("Copy for", ("the file", "accounting")),
    ("Form", ("F-##", "rev. #")), ("Last sync", ("## s ago", "DAY")), ("Export job", ("####", "nightly")),
    ("Template", ("v#", "standard ##")), ("Opened by", ("auto", "import")), ("Clerk", ("mk", "J. D.", "desk #")),
    ("Archive box", ("##", "B##")), ("Queue", ("#", "main")), ("Read by", ("### people", "bot")),
)  # fmt: skip
_REMARKS = (
    "Our office is closed on DAY, by the way.", "I tried to call you twice yesterday.", "Thanks for waiting.",
    "We had 1# similar cases last month.", "Sorry it took me 1# days to get back to you.",
    "Hope the weather is better.", "My colleague Jo will be back soon.",
    "The old form had 1# pages, this one is shorter.", "Coffee is on me.",
    "Please ignore my earlier mail of DAY, that was a draft.", "Sent from my phone, so excuse typos.",
    "The previous one, back on DAY, was quite different.", "I copied this from the other system.",
    "Greetings to everybody at your end.", "You asked me for this twice, I know.", "I am in meetings until 3 pm.",
)  # fmt: skip


def stray_fields(taken: set[str], source: Source) -> list[Field]:
    """One or two labelled values, under labels that share no word with `taken`."""
    usual = [(label, ways) for label, ways in _FIELDS if not taken & set(words_in(label))]
    picked = source.rng.sample(usual, min(len(usual), source.pick([1, 1, 2])))
    return [Field("stray", label, filled(source.pick(ways), source), "", {}) for label, ways in picked]


def stray_remark(taken: set[str], source: Source) -> str:
    """A sentence that shares no long word with `taken`."""
    for _ in range(8):
        way = source.pick(_REMARKS if source.chance(0.4) else free.words()["remarks"])
        said = re.sub(r"\[([^\]]*)\]", lambda match: source.pick(match[1].split("|")), way)
        said = filled(free.filled(said, source), source)
        if not taken & {word for word in words_in(said) if len(word) > 3}:
            return said
    return "Thanks for waiting."


@dataclass(frozen=True)
class Stray:
    """A value that no field means, with its label and a sentence that says both."""

    label: str
    text: str
    sentence: str

    def field(self) -> Field:
        """The stray as a labelled value."""
        return Field("stray", self.label, self.text, "", {})


def lookalikes(nodes: Sequence[Node], manner: Manner, theme: str) -> list[Stray]:
    """Up to three values like those of the fields, none of which a field has."""
    source, held = manner.source, {_folded(text) for node in every(nodes) for text in _texts(node)}
    found: list[Stray] = []
    for node in source.rng.sample(list(nodes), len(nodes)):
        for label, ways, base in _apart(node, nodes, source):
            text = _other(base, manner, theme)
            if text and not any(_folded(text) in known or known in _folded(text) for known in held if known):
                held.add(_folded(text))
                shape = agreed(free.shaped(source.pick(ways), source), label, label.lower())
                found.append(Stray(label, text, first_up(shape.replace("{}", f"{OPEN}{text}{CLOSE}"))))
    return found[:3]


def _texts(node: Node) -> Iterator[str]:
    values = node.value if isinstance(node.value, list) else [node.value]
    said = node.said if isinstance(node.said, list) else [node.said]
    yield from (str(value) for value in [*values, *said] if value is not None and not isinstance(value, bool))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _apart(node: Node, nodes: Sequence[Node], source: Source) -> Iterator[tuple[str, list[str], Node]]:
    """(label, ways to say it, the field that it is like) of what may stand beside a field."""
    said = unmeant(str(node.schema.get("description", "")))
    base = next((leaf for leaf in node.items[0] if isinstance(leaf.value, int | float)), node) if node.items else node
    labels = [label for label in said.labels if not _asked_for(label, node, nodes)]
    if (labels or said.clauses) and source.chance(SET_APART):
        if said.clauses and source.chance(0.6):
            yield "Not affected", [f"{source.pick(said.clauses)}."], base
        for label in source.some(labels, 1, 2) if labels else ():
            like = _named(label, base)
            yield first_up(label), _labelled(label, like), like
    if source.chance(ALIKE) and not node.items and not node.children:
        called = (name for other in every(nodes) for name in (other.key, *other.meaning.labels))
        taken = {word for name in called for word in words_in(name)}
        known = free.words()["others"].get(_family(node), [])
        usual = [(label, way) for label, way in known if not taken & set(words_in(label))]
        if usual:
            label, way = source.pick(usual)
            # What is counted beside the matter is little, whatever the field counts.
            value = source.integer(3, 40) if node.meaning.kind == "int" else node.value
            key = "" if node.meaning.kind == "int" else base.key
            yield label, [way], replace(base, key=key, value=value, meaning=replace(base.meaning, unit=""))


def _named(label: str, base: Node) -> Node:
    """The field that a label is like: itself, but what is known of the label decides which texts it holds."""
    known = meaning("_".join(words_in(label)), {"type": "string"})
    if (
        isinstance(base.value, str)
        and known.known
        and known.kind in MAKERS
        and base.meaning.kind not in ("date", "code")
    ):
        return replace(base, meaning=known)
    return base


def _asked_for(label: str, node: Node, nodes: Sequence[Node]) -> bool:
    """Whether another field is what the label says."""
    said = words_in(label)
    keys = [words_in(other.key) for other in every(nodes) if other is not node]
    return any(set(said) <= set(key) or said[-1:] == key[-1:] for key in keys)


def _labelled(label: str, base: Node) -> list[str]:
    """Sentences for a value under what a description sets apart."""
    done = label.split()[-1].endswith(("ed", "en")) and len(label) > 4
    if base.meaning.kind in ("date", "moment", "born"):
        return [f"It was {label} on {{}}.", f"{label} on {{}}.", f"{label}: {{}}."] if done else [
            f"The {label} was {{}}.", f"{label}: {{}}.", f"{label} on {{}}."]  # fmt: skip
    if base.meaning.kind == "city" and not done:
        return [f"The {label} is in {{}}."]
    if isinstance(base.value, int | float):
        return [f"The {label} is {{}}.", f"{label} {{}}.", f"{label}: {{}}.", f"{{}} is the {label}."]
    return [f"The {label} is {{}}.", f"{label}: {{}}.", f"{{}} is the {label}."]


_FAMILIES = {"doctor": "person", "address": "city", "moment": "date"}


def _family(node: Node) -> str:
    kind = node.meaning.kind
    return "" if node.schema.get("enum") else _FAMILIES.get(kind, kind)


def _other(node: Node, manner: Manner, theme: str) -> str:
    """The text of another value of the kind of a field, "" where there is none."""
    source, value = manner.source, node.value
    if isinstance(value, bool) or value is None or node.schema.get("enum") or node.children or node.items:
        return ""
    if isinstance(value, int):
        value = max(0, value + source.pick([-1, 1]) * source.integer(1, max(3, abs(value) // 3)))
    elif isinstance(value, float):
        value = number(round(Decimal(str(value)) * source.integer(20, 180) / 100, 2))
    elif isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        day = datetime.date.fromisoformat(value)
        value = (day + datetime.timedelta(days=source.pick([-1, 1, 1]) * source.integer(1, 60))).isoformat()
    elif node.meaning.kind in MAKERS and node.meaning.kind not in ("prose", "moment"):
        story = Story(source, source.date(2024, 2026), theme)
        value = MAKERS[node.meaning.kind](story, node.meaning)
    else:
        return ""
    return str(shown(replace(node, value=value, said=None, sentence=None), manner))


def filled(way: str, source: Source) -> str:
    """A way with its # as digits, its DAY as a date and its TIME as a time of day."""
    day = spell(source.date(2021, 2023).isoformat(), {"format": "date"}, source.rng, 0.8)
    clock = source.clock(7, 20).strftime("%H:%M")
    return source.digits(way).replace("DAY", day).replace("TIME", clock)
