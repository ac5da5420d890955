"""Values that no list could hold: thousands of things, names, codes and titles, put together from `words.json`.

A template is a text with slots: {adj} is drawn from a list of words, {Adj} the same with a capital, {nouns} a
plural, {NAME} is an
invented name, {ANY} anything that some kind of field holds, {head} one of the nouns given; # is a digit, @ a letter.
"""

from __future__ import annotations

import functools
import json
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slmbench.synth.values import Source

LETTERS = string.ascii_uppercase.replace("O", "").replace("I", "")
_CLOSED = frozenset((
    "units", "currencies", "levels", "grades", "terms", "payments", "states", "priorities", "severities", "contracts",
    "seniority", "doses", "fuels",
))  # fmt: skip
"""Choices that stand for nothing on their own."""


@functools.cache
def words() -> dict[str, Any]:
    """`words.json`: slots, templates by what they make, shapes of codes, kinds by nouns, lookalikes, remarks, verbs."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "words.json").read_text(encoding="utf-8"))
    found["slots"] = {name: tuple(listed.split("|")) for name, listed in found["slots"].items()}
    found["codes"] = tuple(found["codes"].split("|"))
    return found


def makes(name: str) -> bool:
    """Whether there are templates for `name`."""
    return name in words()["made"]


def made(name: str, source: Source, heads: Sequence[str] = (), choices: Sequence[str] = ()) -> str:
    """A text from one of the templates of `name`; `heads` are what {head}, `choices` what {ANY} draws from."""
    return filled(source.pick(words()["made"][name]), source, heads, choices)


def filled(template: str, source: Source, heads: Sequence[str] = (), choices: Sequence[str] = ()) -> str:
    """A template with its slots, digits and letters drawn."""

    slots = words()["slots"]

    def slot(match: re.Match[str]) -> str:
        name = match[1]
        if name == "NAME":
            return invented(source)
        if name == "ANY":
            return str(source.pick(choices or slots["noun"]))
        many = name.endswith("s") and name.lower() not in slots
        key = name.lower().removesuffix("s") if many else name.lower()
        drawn = shaped(source.pick(heads if key == "head" else slots[key]), source)
        drawn = plural(drawn) if many else drawn
        return drawn[0].upper() + drawn[1:] if name[0].isupper() else drawn

    # The shape first: what a slot brings along has digits and signs of its own.
    return re.sub(r"\{(\w+)\}", slot, shaped(template, source))


def shaped(shape: str, source: Source) -> str:
    """A shape with a digit for each # and a capital for each @."""
    return re.sub("@", lambda _: source.pick(LETTERS), source.digits(shape))


def plural(noun: str) -> str:
    """The plural of a regular noun."""
    if noun.endswith("y") and noun[-2:-1] not in "aeou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def invented(source: Source) -> str:
    """A name that stands in no list."""
    slots = words()["slots"]
    middle = source.pick(slots["mid"]) if source.chance(0.35) else ""
    return f"{source.pick(slots['start'])}{middle}{source.pick(slots['end'])}"


def code(source: Source) -> str:
    """A code of any usual shape."""
    return shaped(source.pick(words()["codes"]), source)


def anything(choices: dict[str, list[str]]) -> list[str]:
    """All that the lists of `choices` hold, but for those that stand for nothing on their own."""
    return [one for name, listed in choices.items() if name.split(".")[0] not in _CLOSED for one in listed]
