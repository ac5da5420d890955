"""How the fields of a document are said in prose: ways of saying each, drawn anew for every document."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

from slmbench.synth.clauses import fitting, ways
from slmbench.synth.fields import hints, singular, words_in
from slmbench.synth.speech import CLOSE, OPEN, ORDINALS, Phrases, Speaker, value_at
from slmbench.synth.statements import statements
from slmbench.synth.styles import first_up
from slmbench.synth.tree import Node
from slmbench.synth.wording import agreed, is_noun, named

_PLAIN = (
    "The {l} is {}.", "The {l} is {}.", "{L}: {}.", "{L} is {}.", "As for the {l}, it is {}.", "{} is the {l}.",
    "For the {l} I have {}.", "{L} would be {}.", "On the {l}: {}.", "We have {} as {l}.", "The {l} was given as {}.",
    "If you need the {l}, it is {}.", "{L} - {}.", "They told me the {l} is {}.", "{L} {}.", "({L} {}.)",
)  # fmt: skip
_NUMBERS = (
    "The {l} is {}.", "The {l} is {}.", "{L}: {}.", "The {l} comes to {}.", "I have {} as the {l}.", "{L} is {}.",
    "For the {l} I see {}.", "{L} - {}.", "We put the {l} at {}.", "{L} {}.", "The {l} is at {} now.",
)  # fmt: skip
_BY_KIND = {
    "person": (
        "The {l} is {}.", "{} is the {l}.", "{L}: {}.", "Our {l} is {}.", "{L} is {}.", "I spoke to {}, the {l}.",
        "{}, the {l}, was very kind.", "The {l} is called {}.", "{} ({l}).", "The {l}'s name is {}.",
    ),
    "city": ("The {l} is {}.", "{L}: {}.", "{} is the {l}.", "{L} {}.", "As {l} they give {}."),
    "date": (
        "The {l} is {}.", "{L}: {}.", "{L} is {}.", "{} is the {l}.", "The {l} is set for {}.", "{L} - {}.",
        "Put {} in your diary, that is the {l}.", "{L} {}.", "We wrote {} for the {l}.",
    ),
    "money": (
        "The {l} is {}.", "The {l} comes to {}.", "{L}: {}.", "{} {l}.", "They ask for {} ({l}).", "{L} is {}.",
        "It is {} for the {l}.", "{L} {}.", "The {l} will be {}.", "We agreed on {} for the {l}.",
    ),
    "code": (
        "The {l} is {}.", "{L}: {}.", "{L} {}.", "The {l} {} stands on it.", "It has the {l} {}.", "{L} = {}.",
        "({l} {}).", "{} is the {l}.", "Filed under {l} {}.",
    ),
}  # fmt: skip
_COUNTS = ("{L}: {}.", "There are {} {l}.", "The number of {l} is {}.", "We count {} {l}.", "In terms of {l}: {}.")
_LISTS = ("{L}: {}.", "{L}: {}.", "The {l} are {}.", "For {l} we have {}.", "Under {l} I have {}.")
_LONG = ("{L}: {}.", "About the {l}: {}.", "{L} - {}.", "As {l} I wrote: {}.", "{L}, word for word: {}.")
_BARE = ("{L}: {}.", "{L}: {}.", "{L} - {}.", "{L} {}.")
_LEADS = (
    "So {}", "And {}", "As far as I know, {}", "I can say that {}", "They say {}", "Just to be clear, {}",
    "{}, I think", "It says here that {}", "Please note that {}", "As I understand it, {}", "We wrote down that {}",
    "{}, by the way", "Well, {}", "{}, as you know", "I was told that {}",
)  # fmt: skip
_JOINTS = (", and ", "; ", ", ", " and ", " - ")
_EMPTY = ("There are no {l}.", "{L}: none.", "No {l} so far.", "{L}? None.")
_PAIRS = (
    "The {l} is {} and the {m} is {2}.", "{L}: {}, {m}: {2}.", "{L} {}, {m} {2}.", "The {l} is {}, the {m} {2}.",
    "{} ({l}), {2} ({m}).", "{L} is {}; {m} is {2}.", "{L}: {}; {m}: {2}.",
)  # fmt: skip
_VERBS = ("is", "has", "was", "can", "comes", "does", "needs", "are", "will")
_PORTIONS = ("{n} {it}", "{n} {it}", "{it}: {n}", "{it} ({n})", "{it} - {n}")
_COUNTED = ("quantity", "qty", "count", "pieces", "units")


def told(value: Mapping[str, Any], schema: Mapping[str, Any], rng: random.Random) -> list[str]:
    """The sentences about what `outline` gives, values between OPEN and CLOSE."""
    lines = list(_Talk(value, schema, rng).lines())
    return _Voice(Phrases([], lines), schema, rng, 0.0).sentences(value)


class _Voice(Speaker):
    """Says list items of which some lack fields: each by the way that has all of its own."""

    def _items(self, path: str, items: list[Any], ways: list[str]) -> list[str]:
        schema = self.schema["properties"][path]["items"]
        said = []
        for place, item in enumerate(items):
            sentence = self._say(ways, item, schema, path)
            if len(items) > 1 and self._numbering == "ordinal" and place < len(ORDINALS):
                sentence = f"{ORDINALS[place]}, {sentence[0].lower()}{sentence[1:]}"
            elif len(items) > 1 and self._numbering == "number":
                sentence = f"{schema['title']} {place + 1}: {sentence[0].lower()}{sentence[1:]}"
            said.append(sentence)
        return said


def _kind(sub: Mapping[str, Any]) -> str:
    return str(sub["node"].meaning.kind)


def _many(sub: Mapping[str, Any]) -> bool:
    return isinstance(sub["node"].value, list)


class _Talk:
    """Finds words for the fields of one document; every line has one way, drawn anew for each document."""

    def __init__(self, value: Mapping[str, Any], schema: Mapping[str, Any], rng: random.Random) -> None:
        self.value, self.schema, self.rng = value, schema, rng
        found = [sub["node"].meaning for sub in schema["properties"].values() if "node" in sub]
        says = [one.says for one in found]
        self.shared = {ways for ways in says if says.count(ways) > 1}
        self.long = sum(one.kind == "prose" for one in found)

    def lines(self) -> Iterator[tuple[str, str, list[str]]]:
        """The lines that `Speaker` says: plain fields first, then objects and lists."""
        flat = [key for key, sub in self.schema["properties"].items() if "node" in sub and key in self.value]
        while flat:
            joined = self._joined(flat) if self.rng.random() < 0.4 else ""
            if joined:
                yield "", "", [joined]
            elif len(flat) > 1 and self.rng.random() < 0.2 and all(self._short(key) for key in flat[:2]):
                yield "", "", [self._pair(flat.pop(0), flat.pop(0))]
            else:
                yield "", "", [self._single(flat.pop(0))]
        for key, sub in self.schema["properties"].items():
            if "items" in sub:
                yield key, "@", [self._entry(sub["items"]["properties"], item) for item in self._kinds_of_items(key)]
            elif "properties" in sub:
                for way in self._nested(key, sub):
                    yield "", "", [way]

    def _kinds_of_items(self, key: str) -> list[Mapping[str, Any]]:
        """One item for each set of fields that items have, the fullest first."""
        found = {tuple(item): item for item in self.value[key]}
        return sorted(found.values(), key=len, reverse=True)

    def _short(self, key: str) -> bool:
        sub = self.schema["properties"][key]
        value = self.value[key]
        return isinstance(value, str) and len(value) < 30 and _kind(sub) != "prose" and not _many(sub)

    def _joined(self, flat: list[str]) -> str:
        """One sentence of two to four of the next fields, taken off `flat`; "" where fewer than two can be joined."""
        clauses: list[str] = []
        while flat and len(clauses) < self.rng.choice([2, 2, 3, 4]):
            clause = self._clause(flat[0])
            if not clause:
                break
            clauses.append(clause)
            if _many(self.schema["properties"][flat.pop(0)]):
                break  # what comes behind a list would read as one more of its items
        if len(clauses) < 2:
            return f"{clauses[0]}." if clauses else ""
        joint = self.rng.choice(_JOINTS)
        if "and" in joint:
            return f"{', '.join(clauses[:-1])}{joint}{clauses[-1]}."
        return f"{joint.join(clauses)}."

    def _clause(self, key: str) -> str:
        """A field as a clause without full stop; "" where its value is too long, or none."""
        sub = self.schema["properties"][key]
        node, label = sub["node"], str(sub["title"])
        if node.sentence:
            return str(node.sentence)
        if isinstance(node.value, bool) or not (self._short(key) or _many(sub)) or node.value in ([], {}):
            return ""
        described = self._described(node)
        if described and self.rng.random() < 0.75:
            return described.replace("{}", f"{{{key}}}")
        if not is_noun(label):
            return f"{label} {{{key}}}"
        ways = ("the {l}: {}", "{l}: {}") if _many(sub) else ("the {l} is {}", "{l} {}", "the {l} is {}", "{l}: {}")
        return agreed(named(self.rng.choice(ways), label), label).replace("{}", f"{{{key}}}")

    def _described(self, node: Node) -> str:
        """A clause with {} in the words of the field's description, "" where it has none that fits the value."""
        if node.said and isinstance(node.value, int | float):
            return ""
        found = fitting(ways(str(node.schema.get("description", ""))), one=node.value == 1)
        if isinstance(node.value, list):
            verb = r" (?:are|were|have|had) " if len(node.value) > 1 else r" (?:is|was|has|had) "
            found = [way for way in found if not way.startswith("{}") or re.search(verb, way)]
            found = [way for way in found if not way.endswith(" is {}")]
        way = self.rng.choice(found) if found else ""
        if way.endswith("{} times"):
            if node.value == 1 or (node.value == 2 and self.rng.random() < 0.6):
                return way.replace("{} times", "once" if node.value == 1 else "twice")
            return way if isinstance(node.value, int) and node.value > 1 else ""
        return way

    def _pair(self, one: str, two: str) -> str:
        a, b = (self.schema["properties"][key]["title"] for key in (one, two))
        ways = _PAIRS if is_noun(a) and is_noun(b) else ("{L}: {}, {m}: {2}.", "{L}: {}; {m}: {2}.", "{L} {}, {m} {2}.")
        way = agreed(named(self.rng.choice(ways), a).replace("{m}", b), a, b)
        return way.replace("{}", f"{{{one}}}").replace("{2}", f"{{{two}}}")

    def _single(self, key: str) -> str:
        sub = self.schema["properties"][key]
        node, value, label = sub["node"], self.value[key], str(sub["title"])
        if node.sentence and (isinstance(value, bool) or self.rng.random() < 0.75):
            return self._led(str(node.sentence))
        if isinstance(value, bool):
            return self._yes_no(node, value, label, key)
        if node.value == [] or node.value == {}:
            return named(self.rng.choice(_EMPTY), label)
        described = self._described(node)
        if described and self.rng.random() < 0.55:
            return self._led(described).replace("{}", f"{{{key}}}")
        says = [way for way in node.meaning.says if node.value != 1 or not re.search(r"\{\} [a-z]+s\b", way)]
        if says and node.meaning.says not in self.shared and not _many(sub) and self.rng.random() < 0.55:
            return str(self.rng.choice(says)).replace("{}", f"{{{key}}}")
        return self._framed(sub, label).replace("{}", f"{{{key}}}")

    def _led(self, clause: str) -> str:
        """A clause as a sentence, now and then with what one says before or behind it."""
        if self.rng.random() < 0.25 and not clause.startswith("{"):
            return f"{self.rng.choice(_LEADS).replace('{}', clause)}."
        return f"{first_up(clause)}."

    def _framed(self, sub: Mapping[str, Any], label: str) -> str:
        node, kind = sub["node"], _kind(sub)
        if node.said and isinstance(node.value, int | float):
            return named("{L}: {}.", label)
        if not is_noun(label) and not _many(sub):
            on = kind == "date" and label.split()[-1] not in ("on", "by", "from", "until", "at", "due")
            return named(self.rng.choice([*_BARE, "{L} on {}.", "{L} on {}."] if on else _BARE), label)
        if kind == "prose":
            if self.long == 1 and not _many(sub) and self.rng.random() < 0.4:
                return "{}."
            return named(self.rng.choice(_LONG), label)
        if _many(sub):
            return named(self.rng.choice(_LISTS), label)
        if kind in _BY_KIND and self.rng.random() < 0.7:
            return agreed(named(self.rng.choice(_BY_KIND[kind]), label), label)
        if isinstance(node.value, int | float):
            counted = kind == "int" and node.value != 1 and not node.meaning.unit
            counted = counted and label.endswith("s") and "number" not in label
            return agreed(named(self.rng.choice(_COUNTS if counted else _NUMBERS), label), label)
        return agreed(named(self.rng.choice(_PLAIN), label), label)

    def _yes_no(self, node: Node, value: bool, label: str, key: str) -> str:
        """A yes or a no: in the words of the schema, where it has some, else with one of the two in it."""
        own = node.schema.get("x-true" if value else "x-false")
        if own:
            verb = str(own[0]).split()[0] in _VERBS
            return f"It {{{key}}}." if verb else named(f"{{L}}: {{{key}}}.", label)
        first, said = (*words_in(node.key), "")[0], "yes" if value else "no"
        ways = [f"{{L}}: {said}.", f"{{L}}? {said.capitalize()}.", f"{{L}} - {said}.", f"As to {{l}}: {said}."]
        ways += [f"On the question of {{l}}: {said}.", f"{{L}}, {said}."]
        if first == "has":
            ways += ["Yes, there is {l}." if value else "There is no {l}."] * 3
        if first in ("is", "are") and " " not in label:
            ways += ["Yes, it is {l}." if value else "No, it is not {l}."] * 2
        if node.key.lower().endswith("allowed"):
            ways += ["Yes, {l}." if value else "No {l}."] * 2
        return named(self.rng.choice(ways), label)

    def _nested(self, key: str, sub: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for the leaves of a nested object, then those of the objects in it."""
        properties, value = sub["properties"], value_at(self.value, key)
        flat = [name for name, leaf in properties.items() if "node" in leaf and name in value]
        if flat:
            yield self._together(str(sub["title"]), [(f"{key}.{name}", properties[name]) for name in flat], value)
        for name, leaf in properties.items():
            if "properties" in leaf:
                yield from self._nested(f"{key}.{name}", {**leaf, "title": f"{sub['title']} {leaf['title']}"})

    def _together(self, noun: str, leaves: list[tuple[str, Mapping[str, Any]]], value: Mapping[str, Any]) -> str:
        parts = [f"{leaf['title']} {{{path}}}" for path, leaf in leaves]
        path, first = leaves[0]
        title, rest = first_up(noun), parts[1:]
        if _kind(first) in ("person", "company", "first") and self.rng.random() < 0.7:
            tail = self.rng.choice([f" ({', '.join(rest)})", f", {', '.join(rest)}"]) if rest else ""
            return self.rng.choice([f"The {noun} is {{{path}}}{tail}.", f"{title}: {{{path}}}{tail}."])
        listed = ", ".join(parts)
        return self.rng.choice([f"{title}: {listed}.", f"{title} - {'; '.join(parts)}.", f"For the {noun}: {listed}."])

    def _counts(self, node: Node) -> bool:
        """Whether a field says how many or how much there is of what stands beside it."""
        return isinstance(node.value, int | float) or node.meaning.args[:1] == ("quantities",)

    def _entry(self, properties: Mapping[str, Any], item: Mapping[str, Any]) -> str:
        """One item of a list: "2 x desk lamp, price 30 each"-like where it counts things, else its labelled values."""
        keys = rest = [key for key in properties if key in item]
        count = next((k for k in keys if k in _COUNTED and self._counts(properties[k]["node"])), "")
        unit = next((k for k in keys if k.split("_")[-1] in ("unit", "units", "uom")), "")
        thing = next((k for k in keys if _kind(properties[k]) == "pick" and k not in (count, unit)), "")
        lead = ""
        if count and thing and self.rng.random() < 0.7:
            rest = [key for key in keys if key not in (count, thing)]
            whole = isinstance(properties[count]["node"].value, int | float)
            lead = self.rng.choice(["{n} x {it}", "{n} pcs {it}", "{it} ({n})"] if whole else _PORTIONS)
            lead = lead.replace("{n}", f"{{{count}}}").replace("{it}", f"{{{thing}}}")
        elif _kind(properties[keys[0]]) != "bool" and self.rng.random() < 0.7:
            lead, rest = f"{{{keys[0]}}}", keys[1:]
        parts = [f"{properties[key]['title']} {{{key}}}" for key in rest]
        number = next((k for k in rest if isinstance(properties[k]["node"].value, int | float)), "")
        if unit in rest and number and self.rng.random() < 0.75:
            label = self.rng.choice(["", "", f"{properties[number]['title']} "])
            parts = [f"{label}{{{number}}} {{{unit}}}" if key == number else part
                     for key, part in zip(rest, parts, strict=True) if key != unit]  # fmt: skip
        return f"{self.rng.choice([', ', ', ', ' '] if len(parts) < 2 else [', ']).join(filter(None, [lead, *parts]))}."


_ONLY = ("person", "city", "date", "code", "money", "company", "version", "phone", "email", "time")
"""Kinds whose value needs no label in an advertisement where it is the only one of its kind."""


def chips(value: Mapping[str, Any], schema: Mapping[str, Any], rng: random.Random, *, alone: bool) -> list[str]:
    """The plain fields of what `outline` gives as one or a few words each; `alone` says that nothing else in the
    document is like a field's value."""
    subs = {key: sub for key, sub in schema["properties"].items() if "node" in sub and key in value}
    kinds = [_kind(sub) for sub in subs.values()]
    return [_chip(value[key], sub, rng, bare=alone and kinds.count(_kind(sub)) == 1) for key, sub in subs.items()]


def _chip(value: Any, sub: Mapping[str, Any], rng: random.Random, *, bare: bool) -> str:
    node, label = sub["node"], str(sub["title"])
    if isinstance(value, bool):
        stated = statements(tuple(words_in(node.key)), "")
        short = stated.yes if value else stated.no
        return rng.choice(short) if short else f"{label}: {'yes' if value else 'no'}"
    text = f"{OPEN}{value}{CLOSE}"
    if node.value == [] or node.value == {}:
        return f"{label}: none"
    bare = bare and not hints(node.schema).get("labels")
    if node.schema.get("enum") or (bare and (_kind(sub) in _ONLY or node.meaning.unit)):
        return text if rng.random() < 0.8 else f"{label} {text}"
    if (
        _kind(sub) == "int"
        and not node.said
        and not node.meaning.unit
        and label.endswith("s")
        and "number" not in label
    ):
        return f"{text} {singular(label) if node.value == 1 else label}"
    return rng.choice([f"{label} {text}", f"{label}: {text}", f"{text} ({label})"])
