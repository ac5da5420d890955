"""How one value is written in a document: as in the JSON, or by one of the rules that `derive.py` can undo.

A schema may say more about a field than JSON Schema does: `x-unit` (the unit its number is written with), `x-money`
(cents are shown), `x-words` (small counts may be written in words), `x-true`/`x-false` (what a person would say).
"""

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_YES_NO = (("yes", "no"), ("Yes", "No"), ("true", "false"), ("✓", "✗"))


def spell(value: Any, schema: Mapping[str, Any], rng: random.Random, rate: float, *, spoken: bool = False) -> str:
    """The text of a scalar. `rate` is the share of eligible values written by a rule instead of as in the JSON.

    `spoken` is for running text, where a unit always follows its number and an enum never shows its underscores.
    """
    rule = rng.random() < rate
    if isinstance(value, bool):
        return rng.choice(schema["x-true" if value else "x-false"]) if spoken else rng.choice(_YES_NO)[not value]
    if isinstance(value, int | float):
        return _number(value, schema, rng, rule, spoken)
    if schema.get("format") == "date":
        return _date(datetime.date.fromisoformat(value), rng) if rule else str(value)
    if schema.get("format") == "date-time":
        return _moment(value, rng) if rule else str(value)
    if "enum" in schema and re.fullmatch(r"[a-z_]{5,}", value):
        return _enum(value, rng, rule, spoken)
    if rule and "pattern" in schema and re.fullmatch(r"\d\d:\d\d", value):
        return half_day(datetime.time.fromisoformat(value))
    return str(value)


def words(number: int) -> str:
    """0 to 99 in English: 42 is "forty-two"."""
    if number < 20:
        return _SMALL[number]
    tens, units = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_SMALL[units]}" if units else "")


def half_day(clock: datetime.time) -> str:
    """15:05 as "3:05 pm"."""
    return f"{clock.hour % 12 or 12}:{clock.minute:02d} {'am' if clock.hour < 12 else 'pm'}"


def _count(number: int, rng: random.Random) -> str:
    dozens = {6: "half a dozen", 12: "a dozen"}.get(number, f"{words(number // 12)} dozen")
    return dozens if (number % 12 == 0 or number == 6) and rng.random() < 0.5 else words(number)


def _number(value: int | float, schema: Mapping[str, Any], rng: random.Random, rule: bool, spoken: bool) -> str:
    if rule and schema.get("x-words") and 1 < value < 100:
        return _count(int(value), rng)
    money, unit = schema.get("x-money", False), schema.get("x-unit", "")
    plain = format(Decimal(str(value)), ".2f" if money and (spoken or rng.random() < 0.6) else "f")
    text = plain
    if rule and abs(value) >= 1000:
        text = format(Decimal(plain), ",")
    if rule and value < 0 and rng.random() < 0.4:
        text = text.replace("-", "−")
    if not unit or not (spoken or rng.random() < 0.3):
        return text
    if unit == "$":
        return f"${text}"
    return f"{text}{unit}" if unit == "%" else f"{text} {unit}"


def _date(day: datetime.date, rng: random.Random) -> str:
    month, ordinal = _MONTHS[day.month - 1], {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10 * (day.day // 10 != 1), "th")
    forms = (
        f"{day.day} {month} {day.year}",
        f"{month} {day.day}, {day.year}",
        f"{day.day} {month[:3]} {day.year}",
        f"{month[:3]} {day.day}, {day.year}",
        f"{day.day:02d}.{day.month:02d}.{day.year}",
        f"{day.year}/{day.month:02d}/{day.day:02d}",
        f"{_DAYS[day.weekday()]}, {day.day} {month} {day.year}",
        f"{day.day}{ordinal} of {month} {day.year}",
    )
    return rng.choice(forms)


def _moment(value: str, rng: random.Random) -> str:
    moment = datetime.datetime.fromisoformat(value.removesuffix("Z"))
    if moment.second:
        return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
    day = rng.choice([f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}", moment.date().isoformat()])
    if day[4] == "-":
        return moment.strftime("%Y-%m-%d %H:%M UTC")
    return f"{day} at {rng.choice([moment.strftime('%H:%M'), half_day(moment.time())])} UTC"


def _enum(value: str, rng: random.Random, rule: bool, spoken: bool) -> str:
    spaced = value.replace("_", " ")
    if spoken:
        return spaced
    return rng.choice([spaced, spaced.capitalize(), spaced.upper()]) if rule else value
