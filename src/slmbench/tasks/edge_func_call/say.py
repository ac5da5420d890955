"""How a function is asked for: templates with slots and clauses, and the ways of saying a value.

`{restaurant}` says the value of a parameter, `{address.street}` that of a part of it, `{birthday=true}` sets one and
says nothing. What stands in `[brackets]` may be left out.
"""

from __future__ import annotations

import datetime
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmbench.synth.spell import half_day, spell, words

_SLOT = re.compile(r"\{([a-z_0-9.]+)(?:=([^}]*))?\}")
_FIRST_DAY, _DAYS = datetime.date(2026, 1, 1), 1000
_IN_WORDS = 20
"""Numbers up to here are often said in words."""
Function = Mapping[str, Any]


@dataclass(frozen=True)
class Said:
    """A request: its text, the arguments that it gives, and how each was said (`address.street` -> text)."""

    text: str
    arguments: dict[str, Any]
    surfaces: dict[str, str]


def clauses(template: str) -> list[tuple[bool, str]]:
    """(whether it may be left out, text) of a template's pieces, in their order."""
    return [(piece.startswith("["), piece.strip("[]")) for piece in re.split(r"(\[[^\]]*\])", template) if piece]


def slots(text: str) -> list[str]:
    """The parameters that a piece says or sets, dotted."""
    return [match[1] for match in _SLOT.finditer(text)]


def required(function: Function) -> set[str]:
    """The slots without which something required is missing: parameters, and of a required object its parts."""
    found = set()
    for name in function["required"]:
        parts = function["parameters"][name].get("required")
        found |= {f"{name}.{part}" for part in parts} if parts else {name}
    return found


def droppable(function: Function, template: str) -> list[int]:
    """Which of the pieces may be left out so that something required is missing."""
    needed = required(function)
    pieces = enumerate(clauses(template))
    return [i for i, (may, text) in pieces if may and needed & set(slots(text))]


def request(
    function: Function, template: str, chance: random.Random, drop: Sequence[int] = (), rate: float = 0.5
) -> Said:
    """A template said with values drawn at random; a clause of optional ones is said at `rate`."""
    needed, kept = required(function), []
    for i, (may, text) in enumerate(clauses(template)):
        needs = needed & set(slots(text))
        if i not in drop and (not may or needs or chance.random() < rate):
            kept.append(text)
    found: dict[str, Any] = {}
    surfaces: dict[str, str] = {}

    def fill(match: re.Match[str]) -> str:
        path = match[1].split(".")
        if match[2] is not None:
            _put(found, path, json.loads(match[2]))
            return ""
        value, text = draw(parameter(function, match[1]), chance, set(surfaces.values()))
        _put(found, path, value)
        surfaces[match[1]] = text
        return text

    text = tidy(_SLOT.sub(fill, "".join(kept)))
    return Said(text, ordered(function, found), surfaces)


def parameter(function: Function, dotted: str) -> Mapping[str, Any]:
    """The schema of a parameter or of a part of it."""
    schema: Mapping[str, Any] = {"properties": function["parameters"]}
    for name in dotted.split("."):
        schema = schema["properties"][name]
    return schema


def missing(function: Function, arguments: Mapping[str, Any]) -> list[str]:
    """The required parameters that are not given, or not wholly, in the function's order."""
    return [
        name
        for name in function["parameters"]
        if name in function["required"]
        and (
            name not in arguments
            or any(part not in arguments[name] for part in function["parameters"][name].get("required", ()))
        )
    ]


def draw(schema: Mapping[str, Any], chance: random.Random, used: set[str] | None = None) -> tuple[Any, str]:
    """A value of a parameter and a way to say it, other than those `used` where that can be."""
    for _ in range(20):
        value, text = _draw(schema, chance)
        if not used or text not in used:
            break
    return value, text


def _draw(schema: Mapping[str, Any], chance: random.Random) -> tuple[Any, str]:
    if "enum" in schema:
        value = chance.choice([v for v in schema["enum"] if v != schema.get("default")])
        return value, chance.choice(schema.get("said", {}).get(value) or [value])
    kind = schema.get("type")
    if kind == "array":
        some = chance.sample(schema["values"], chance.randint(1, 3))
        return some, listed(some)
    if kind == "integer":
        number = chance.randrange(schema["minimum"], schema["maximum"] + 1, schema.get("multipleOf", 1))
        return number, words(number) if 1 < number <= _IN_WORDS and chance.random() < 0.5 else str(number)
    if kind == "number":
        step = schema.get("multipleOf", 0.5)
        low, high = (round(schema[end] / step) for end in ("minimum", "maximum"))
        number = round(chance.randint(low, high) * step, 6)
        number = int(number) if number == int(number) else number
        return number, f"{number:,}" if number >= 10000 and chance.random() < 0.5 else str(number)
    if schema.get("format") == "date":
        day = _FIRST_DAY + datetime.timedelta(days=chance.randrange(_DAYS))
        return day.isoformat(), spell(day.isoformat(), {"format": "date"}, chance, 0.85)
    if schema.get("format") == "time":
        clock = datetime.time(chance.randint(6, 22), chance.choice((0, 0, 15, 30, 30, 45, 10, 50)))
        return clock.isoformat("minutes"), chance.choice((clock.isoformat("minutes"), half_day(clock), in_words(clock)))
    text = chance.choice(schema["values"])
    return text, text


def in_words(clock: datetime.time) -> str:
    """19:30 as "half past seven in the evening"; minutes that have no such words as "7:10 pm"."""
    part = "in the morning" if clock.hour < 12 else "in the afternoon" if clock.hour < 18 else "in the evening"
    hour = words(clock.hour % 12 or 12)
    following = words((clock.hour + 1) % 12 or 12)
    said = {0: f"{hour} o'clock", 15: f"quarter past {hour}", 30: f"half past {hour}", 45: f"quarter to {following}"}
    if clock.minute == 45 and clock.hour in (11, 17):  # the hour that is named is in another part of the day
        return half_day(clock)
    return f"{said[clock.minute]} {part}" if clock.minute in said else half_day(clock)


def listed(texts: Sequence[str]) -> str:
    """A, B and C."""
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def tidy(text: str) -> str:
    """A sentence as it reads when clauses have been left out of it."""
    text = re.sub(r"\s+", " ", text).strip(" ,;-")
    text = re.sub(r"\s+([,.?!;:])", r"\1", text)
    return re.sub(r"[,;:]+([.?!,])", r"\1", text)


def ordered(function: Function, found: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments in the order of the function's parameters, parts likewise."""
    return dict(_ordered(function["parameters"], found))


def _ordered(parameters: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, schema in parameters.items():
        if name in found:
            value = found[name]
            yield name, dict(_ordered(schema["properties"], value)) if schema.get("type") == "object" else value


def _put(found: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        found = found.setdefault(name, {})
    found[path[-1]] = value
