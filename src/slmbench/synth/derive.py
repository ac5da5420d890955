"""Does a value follow from a text, and by which rule?

`derive` names the first rule that leads from the text to the value. The rules are the same for the generator, the data
check and the documentation:

verbatim       the value's own characters stand in the text (runs of white space folded to one space on both sides;
               no letter or digit goes on where the value ends); numbers as plain decimals
number_format  1234.5 from "$1,234.50", "1234.50 EUR", "12.5%", "−3.5" with U+2212
number_words   24 from "twenty-four" or "two dozen"; 0 to 999, "a dozen", "half a dozen", "a couple"; 2 from "twice"
               where the description says "times", from "in duplicate" where it says "2 for in duplicate"
               (`synonyms.py`)
date           2024-03-05 from "5 March 2024", "Mar 5, 2024", "5th of March 2024", "05.03.2024", "2024/03/05"
time           15:05 or 15:05:00 from "3:05 pm", "15:05", "15.05 h"
datetime       a date and a time by those rules, near each other; with Z only where the text says UTC, GMT or Z
boolean_words  yes/no, on/off, enabled/disabled, active/inactive, paid/unpaid, [x]/[ ], ✓/✗, and the phrases of the
               field's `x-true` and `x-false`; "tenants may not keep animals" where the description says "Whether
               tenants may keep animals", "no pets" where the field is called pets_allowed (`statements.py`)
enum_spelling  in_progress from "In progress": case folded, _ and - as spaces; fields with an `enum` only; flat from
               "loft" where the description says "flat (also loft)" (`synonyms.py`)
empty_list     [] or {} from "none", "no …", "n/a", "empty", "[]", a lone "-", or a phrase of the field's `x-empty`
"""

from __future__ import annotations

import datetime
import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from slmbench.synth.fields import words_in
from slmbench.synth.statements import statements
from slmbench.synth.synonyms import core, counts_times, said

NEAR = 40
_TRUE = ("yes", "true", "on", "enabled", "active", "paid", "[x]", "✓")
_FALSE = ("no", "false", "off", "disabled", "inactive", "unpaid", "[ ]", "✗")
_EMPTY = re.compile(
    r"\b(?:none|empty|n/a)\b|\bno[ \t]+[^\W\d_]|\[\]|\{\}|(?:^|[:=|,\t])[ \t]*[-–—][ \t]*(?=$|[|,\t])",
    re.IGNORECASE | re.MULTILINE,
)
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def derive(value: Any, text: str, field_schema: Mapping[str, Any], key: str = "") -> str | None:
    """The name of the rule by which the leaf `value` follows from `text`, or None if no rule leads there.

    A leaf is a scalar, an empty list, or an empty object. `field_schema` is the schema of that field, `key` its name.

    >>> derive(24, "She ordered two dozen eggs.", {"type": "integer"})
    'number_words'
    """
    document = _document(text)
    for name, rule in _RULES.items():
        if rule(value, document, field_schema):
            return name
    if isinstance(value, bool):
        stated = statements(tuple(words_in(key)), str(field_schema.get("description", "")))
        return "boolean_words" if stated.says(value, document.text) else None
    return None


@dataclass(frozen=True)
class _Time:
    """A time of day in a text: `second` is None where unsaid, `zone` is what follows it, "" where nothing does."""

    hour: int
    minute: int
    second: str | None
    zone: str
    start: int
    end: int


class _Document:
    """A text with what the rules look up in it, each found once and only when asked for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.folded = f" {fold(text)} "
        self.caseless = self.folded.casefold()

    @functools.cached_property
    def spaced(self) -> str:
        return _spaced(self.caseless)

    @functools.cached_property
    def plain_numbers(self) -> frozenset[str]:
        # After U+2212 the digits are those of a negative number, spelled another way.
        return frozenset(
            match["sign"] + match["digits"]
            for match in _PLAIN.finditer(self.folded)
            if self.folded[match.start() - 1] != "−"
        )

    @functools.cached_property
    def numbers(self) -> frozenset[Decimal]:
        found = set()
        for pattern in (_PLAIN, _GROUPED):
            for match in pattern.finditer(self.folded):
                number = Decimal(match["digits"].replace(",", ""))
                start = match.start()
                negative = match["sign"] or _MINUS_BEFORE.search(self.folded, max(0, start - 6), start)
                found.add(-number if negative else number)
        return frozenset(found)

    @functools.cached_property
    def number_words(self) -> frozenset[int]:
        return frozenset(_words_value(match) for match in _WORDS.finditer(self.folded))

    @functools.cached_property
    def dates(self) -> list[tuple[str, int, int]]:
        found = []
        for pattern in _DATES:
            for match in pattern.finditer(self.folded):
                month = match["month"]
                number = int(month) if month.isdigit() else _month(month)
                try:
                    date = datetime.date(int(match["year"]), number, int(match["day"]))
                except ValueError:
                    continue
                found.append((date.isoformat(), match.start(), match.end()))
        return found

    @functools.cached_property
    def times(self) -> list[_Time]:
        found = []
        for match in _TIME.finditer(self.folded):
            hour, half = int(match["hour"]), (match["half"] or "")[:1].lower()
            if half in ("a", "p"):
                if not 1 <= hour <= 12:
                    continue
                hour = hour % 12 + (12 if half == "p" else 0)
            elif match["minute"] is None or (match["mark"] == "." and half != "h"):
                continue
            minute = int(match["minute"] or 0)
            if hour < 24 and minute < 60:
                found.append(_Time(hour, minute, match["second"], match["zone"] or "", match.start(), match.end()))
        return found


@functools.lru_cache(maxsize=16)
def _document(text: str) -> _Document:
    return _Document(text)


def fold(text: str) -> str:
    """Runs of white space as one space, none at the ends."""
    return " ".join(text.split())


def _stands_in(value: str, text: str) -> bool:
    """Whether `value` stands in `text` without being a part of a longer word or number."""
    at = text.find(value)
    while at >= 0:
        end = at + len(value)
        if not _joined(text[at - 1 : at], value[0]) and not _joined(value[-1], text[end : end + 1]):
            return True
        at = text.find(value, at + 1)
    return False


def _joined(left: str, right: str) -> bool:
    # Only scripts with letter case put spaces between words: CJK and Thai values may stand in the middle of a run.
    return (left.isdigit() and right.isdigit()) or (_cased(left) and _cased(right))


def _cased(char: str) -> bool:
    return char.lower() != char.upper()


def _spaced(text: str) -> str:
    return f" {fold(re.sub(r'[_-]', ' ', text))} "


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _phrases(schema: Mapping[str, Any], key: str) -> list[str]:
    phrases = schema.get(key) or []
    return [fold(phrase).casefold() for phrase in phrases if isinstance(phrase, str) and phrase.strip()]


def _any_stands(phrases: Iterable[str], document: _Document) -> bool:
    return any(_stands_in(phrase.casefold(), document.caseless) for phrase in phrases)


def _verbatim(value: Any, document: _Document, schema: Mapping[str, Any]) -> bool:
    if isinstance(value, str):
        return _stands_in(fold(value) or '""', document.folded)
    if _is_number(value):
        return bool({json.dumps(value), format(Decimal(str(value)), "f")} & document.plain_numbers)
    return not isinstance(value, dict | list) and _stands_in(json.dumps(value), document.folded)


def _number_format(value: Any, document: _Document, schema: Mapping[str, Any]) -> bool:
    return _is_number(value) and Decimal(str(value)) in document.numbers


def _number_words(value: Any, document: _Document, schema: Mapping[str, Any]) -> bool:
    if not _is_number(value):
        return False
    if value in document.number_words or _any_stands(said(schema).synonyms.get(json.dumps(value), ()), document):
        return True
    return value in (1, 2) and counts_times(schema) and _stands_in(("once", "twice")[int(value) - 1], document.caseless)


def _date(value: Any, document: _Document, schema: Mapping[str, Any]) -> bool:
    return (
        isinstance(value, str)
        and _ISO_DATE.fullmatch(value) is not None
        and any(iso == value for iso, _, _ in document.dates)
    )


def _time(value: Any, document: _Document, schema: Mapping[str, Any]) -> bool:
    match = _ISO_TIME.fullmatch(value) if isinstance(value, str) else None
    return match is not None and any(_same_time(match, time, document) for time in document.times)


def _datetime(value: Any, document: _Document, schema: Mapping[str, Any]) -> bool:
    if not isinstance(value, str) or len(value) < 16 or value[10] not in "T ":
        return False
    match = _ISO_TIME.fullmatch(value[11:])
    if match is None:
        return False
    times = [time for time in document.times if _same_time(match, time, document)]
    return any(
        iso == value[:10] and max(start - time.end, time.start - end) <= NEAR
        for iso, start, end in document.dates
        for time in times
    )


def _same_time(wanted: re.Match[str], time: _Time, document: _Document) -> bool:
    if (int(wanted["hour"]), int(wanted["minute"])) != (time.hour, time.minute):
        return False
    if Decimal(wanted["second"] or 0) != Decimal(time.second or 0):
        return False
    zone = wanted["zone"]
    if zone is None:
        return True
    if zone == "Z":
        return time.zone.upper() == "Z" or re.search(r"\b(?:UTC|GMT)\b(?![+\-−])", document.folded) is not None
    return _offset(time.zone) == _offset(zone)


def _offset(zone: str) -> int | None:
    """Minutes east of UTC that "+02:00", "UTC+2" or "GMT-0530" say; None for anything else."""
    match = re.fullmatch(r"(?:UTC|GMT)?([+\-−])(\d{1,2}):?(\d\d)?", zone, re.IGNORECASE)
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3] or 0)
    return minutes if match[1] == "+" else -minutes


def _boolean_words(value: Any, document: _Document, schema: Mapping[str, Any]) -> bool:
    if not isinstance(value, bool):
        return False
    own = _phrases(schema, "x-true" if value else "x-false")
    return _any_stands((*own, *(_TRUE if value else _FALSE)), document)


def _enum_spelling(value: Any, document: _Document, schema: Mapping[str, Any]) -> bool:
    if not isinstance(value, str) or value not in schema.get("enum", ()):
        return False
    own, named = said(schema), json.dumps(value)
    texts = [value, *own.synonyms.get(named, ())]
    if named in own.explanations:
        texts.append(core(own.explanations[named]))
    wanted = [_spaced(text.casefold()).strip() for text in texts]
    return any(text and _stands_in(text, document.spaced) for text in wanted)


def _empty_list(value: Any, document: _Document, schema: Mapping[str, Any]) -> bool:
    if not isinstance(value, dict | list) or value:
        return False
    return _any_stands(_phrases(schema, "x-empty"), document) or _EMPTY.search(document.text) is not None


def _month(name: str) -> int:
    return next(number for number, month in enumerate(_MONTHS, 1) if month.startswith(name[:3].lower()))


def _words_value(match: re.Match[str]) -> int:
    if match["half"]:
        return 6
    if match["couple"]:
        return 2
    if match["dozens"]:
        return 12 * max(1, _below_hundred(match["dozens"]))
    if match["hundreds"]:
        return 100 * max(1, _below_hundred(match["hundreds"])) + _below_hundred(match["rest"])
    return _below_hundred(match["small"])


def _below_hundred(words: str | None) -> int:
    """The value of "seven" or "forty-two"; 0 for "a" and for None."""
    total = 0
    for word in re.split(r"[ -]", (words or "").lower()):
        if word in _UNITS:
            total += _UNITS.index(word)
        elif word in _TENS:
            total += 20 + 10 * _TENS.index(word)
    return total


_RULES: dict[str, Callable[[Any, _Document, Mapping[str, Any]], bool]] = {
    "verbatim": _verbatim,
    "number_format": _number_format,
    "number_words": _number_words,
    "date": _date,
    "time": _time,
    "datetime": _datetime,
    "boolean_words": _boolean_words,
    "enum_spelling": _enum_spelling,
    "empty_list": _empty_list,
}

# A minus is a sign only after white space or an opening mark: "7-3" and "2024-03-05" hold no negative numbers.
_SIGN = r"(?P<sign>(?:(?<=[\s(\[{:=,;|\"'])-)?)"
_PLAIN = re.compile(_SIGN + r"(?<!\d)(?<!\d\.)(?P<digits>(?:0|[1-9]\d*)(?:\.\d+)?)(?!\d|\.\d)")
_GROUPED = re.compile(_SIGN + r"(?<![\d,.])(?P<digits>[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?)(?!\d|[.,]\d)")
_MINUS_BEFORE = re.compile(r"(?:−|(?<=[\s(\[{:=,;|\"'])-)[ ]?[^\w\s\-−]{0,3}[ ]?$")
_SMALL = rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(_UNITS[1:10])}))?|{'|'.join(_UNITS)})"
_WORDS = re.compile(
    rf"\b(?:(?P<half>half a dozen)|(?P<couple>a couple)|(?P<dozens>a|{_SMALL})[ -]dozen|"
    rf"(?P<hundreds>a|{'|'.join(_UNITS[1:10])})[ -]hundred(?:(?: and)?[ -](?P<rest>{_SMALL}))?|(?P<small>{_SMALL}))\b",
    re.IGNORECASE,
)
_MONTH_NAME = rf"(?P<month>{'|'.join(f'{month[:3]}(?:{month[3:]})?' for month in _MONTHS)}|sept)\b\.?"
_DATES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?<!\d)(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\.?(?: of)? {_MONTH_NAME},? (?P<year>\d{{4}})(?!\d)",
        rf"\b{_MONTH_NAME} (?P<day>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<year>\d{{4}})(?!\d)",
        r"(?<![\d.])(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})(?!\d)",
        r"(?<!\d)(?P<year>\d{4})/(?P<month>\d{1,2})/(?P<day>\d{1,2})(?!\d)",
        r"(?<!\d)(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})(?!\d)",
    )
]
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ISO_TIME = re.compile(
    r"(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d(?:\.\d+)?))?(?P<zone>Z|[+-]\d\d:\d\d)?", re.ASCII
)
# The zone is looked at but not consumed: in "09:00-10:30" the second time must stay findable.
_TIME = re.compile(
    r"(?<![\d:.])(?P<hour>\d{1,2})(?:(?P<mark>[:.])(?P<minute>\d\d)(?::(?P<second>\d\d(?:\.\d+)?))?)?(?!\d|:\d)"
    r"(?: ?(?P<half>[ap]\.?m\b\.?|h\b))?"
    r"(?= ?(?P<zone>Z\b|(?:UTC|GMT)?[+\-−]\d{1,2}(?::?\d\d)?\b|UTC\b|GMT\b)?)",
    re.IGNORECASE | re.ASCII,
)
