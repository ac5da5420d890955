"""The value of a field as the text that a document shows."""

from __future__ import annotations

import datetime
import random
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from slmbench.synth.fields import words_in
from slmbench.synth.spell import half_day, spell, words
from slmbench.synth.tree import Node
from slmbench.synth.values import Source

_PAID = frozenset(("salary", "price", "cost", "rent", "fee", "budget", "wage", "deposit", "pay", "costs"))
_CURRENCIES = {"EUR": "€", "USD": "$", "GBP": "£", "CHF": "CHF", "SEK": "kr"}


@dataclass(frozen=True)
class Manner:
    """How one document writes its values.

    `money` is how amounts are written, such as "EUR {}", `cents` whether they show their cents, `grouped` whether
    thousands are parted, `blocks` whether a list may take a line for each item, `spoken` whether values stand in
    sentences.
    """

    source: Source
    money: str
    cents: bool
    grouped: bool
    blocks: bool
    spoken: bool = False


def money(mark: str, rng: random.Random) -> str:
    """How amounts of a currency are written in one document."""
    sign = _CURRENCIES.get(mark, mark) if rng.random() < 0.4 else mark
    if not sign:
        return "{}"
    return f"{sign}{{}}" if len(sign) == 1 else rng.choice([f"{{}} {sign}", f"{sign} {{}}"])


def shown(node: Node, manner: Manner, *, inside: bool = False) -> Any:
    """The text of a field that holds no objects, a yes or no as it is; `inside` an item of a list is less room."""
    value = node.value
    if isinstance(value, bool):
        return value
    if isinstance(node.said, str):
        said = node.said
        return (
            said[0].upper() + said[1:] if not manner.spoken and said.islower() and manner.source.chance(0.4) else said
        )
    if isinstance(value, list):
        return _list(node, value, manner, inside)
    return _scalar(node, value, manner, inside)


def _list(node: Node, value: list[Any], manner: Manner, inside: bool) -> str:
    """The items of a list in one line, or a line each where the style has room for that."""
    rng = manner.source.rng
    if not value:
        return rng.choice(["none", "n/a", "none"])
    texts = node.said if isinstance(node.said, list) else [_scalar(node, item, manner) for item in value]
    long = any(len(text) > 24 or "," in text for text in texts) or any(" and " in text for text in texts)
    if not manner.spoken and not inside and manner.blocks and manner.source.chance(0.8 if long else 0.4):
        mark = rng.choice(["  - ", "  * ", "  {}. ", "  {}) "])
        return "".join("\n" + mark.format(number) + text for number, text in enumerate(texts, 1))
    if long:
        return rng.choice(["; ", "; ", " / "]).join(texts)
    if manner.spoken and len(texts) > 1:
        return f"{', '.join(texts[:-1])} and {texts[-1]}"
    return rng.choice([", ", ", ", " / ", "; "]).join(texts)


def _scalar(node: Node, value: Any, manner: Manner, inside: bool = False) -> str:
    rng, spoken = manner.source.rng, manner.spoken
    if value is None:
        return "null"
    if isinstance(value, dict | list):
        return _deep(value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _amount(node, value, manner, inside)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return _day(datetime.date.fromisoformat(value), rng) if rng.random() < (0.92 if spoken else 0.7) else value
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value):
        return spell(value, {"format": "date-time"}, rng, 0.85 if spoken else 0.5)
    if match := re.fullmatch(r"(\d\d:\d\d)(:\d\d(Z?))?", value):
        return _clock(match, rng)
    return _option(value, manner) if value in (node.schema.get("enum") or []) else str(value)


def _day(day: datetime.date, rng: random.Random) -> str:
    """A day in any of the forms that are read one way only."""
    month, short, weekday = f"{day:%B}", f"{day:%b}", f"{day:%A}"
    nth = f"{day.day}{'th' if day.day // 10 == 1 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day.day % 10, 'th')}"
    dotted = short if short == month else f"{short}."
    forms = (
        f"{day.day} {month} {day.year}", f"{day.day} {month} {day.year}", f"{month} {day.day}, {day.year}",
        f"{day.day} {short} {day.year}", f"{short} {day.day}, {day.year}", f"{day:%d.%m.%Y}", f"{day:%Y/%m/%d}",
        f"{day.day}.{day.month}.{day.year}", f"{nth} of {month} {day.year}", f"{nth} {month} {day.year}",
        f"{weekday}, {day.day} {month} {day.year}", f"{weekday} {day.day} {month} {day.year}",
        f"{weekday[:3]} {day.day} {short} {day.year}", f"{weekday}, {month} {day.day}, {day.year}",
        f"{month} {nth}, {day.year}", f"{month} {nth} {day.year}", f"{dotted} {day.day}, {day.year}",
        f"{day.day}. {month} {day.year}", f"{day:%d} {month} {day.year}", f"{day.day} {month.upper()} {day.year}",
        f"the {nth} of {month}, {day.year}", f"{day.day} {month}, {day.year}",
    )  # fmt: skip
    return rng.choice(forms)


def _option(value: str, manner: Manner) -> str:
    """One of an enum's options, as people write it."""
    if re.search(r"[_-]", value):
        spaced = re.sub(r"[_-]", " ", value)
        return spaced if manner.spoken else manner.source.pick([value, spaced, spaced.capitalize(), spaced.upper()])
    return value.capitalize() if not manner.spoken and value.islower() and manner.source.chance(0.4) else value


def _deep(value: Any) -> str:
    items = value.values() if isinstance(value, dict) else value
    return ", ".join(_deep(item) if isinstance(item, dict | list) else str(item) for item in items)


def _clock(match: re.Match[str], rng: random.Random) -> str:
    if match[2] and match[2][:3] != ":00":
        return match[0]
    zone = " UTC" if match[3] else ""
    return rng.choice([match[1], half_day(datetime.time.fromisoformat(match[1]))]) + zone


def _amount(node: Node, value: int | float, manner: Manner, inside: bool) -> str:
    """A number: in words where it is small and spoken, grouped where it is large, with its unit or currency."""
    kind, unit, named = node.meaning.kind, node.meaning.unit, words_in(node.key)
    if kind == "year" or "year" in named:
        return str(value)
    counted = kind == "int" and not unit and isinstance(value, int)
    if manner.spoken and counted and 1 < value <= 20 and not inside and manner.source.chance(0.4):
        return words(int(value))
    paid = kind == "money" or unit in _CURRENCIES or bool(not unit and _PAID & set(named))
    mark = "," if (paid or unit) and manner.grouped and abs(value) >= 1000 else ""
    plain = format(Decimal(str(value)), f"{mark}{'.2f' if kind == 'money' and manner.cents else 'f'}")
    if paid:
        form = money(unit, manner.source.rng) if unit and unit not in manner.money else manner.money
        return form.format(plain) if manner.spoken or manner.source.chance(0.85) else plain
    if unit and (manner.spoken or manner.source.chance(0.75)):
        return f"{plain}{unit}" if unit in ("%", "°C", "°F") and manner.source.chance(0.6) else f"{plain} {unit}"
    return plain
