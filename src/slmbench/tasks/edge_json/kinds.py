"""The kinds of value that an invented field may have: what its schema says, and how a value is made."""

from __future__ import annotations

import datetime
import random
import re
import string
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from slmbench.synth.values import Person, Source, ascii_slug, cents, iso, number
from slmbench.tasks.edge_json.domains import Field

Args = Sequence[str]
_UNITS = {
    "kg": "kilograms", "g": "grams", "t": "tonnes", "km": "kilometres", "m": "metres", "cm": "centimetres",
    "mm": "millimetres", "l": "litres", "ml": "millilitres", "min": "minutes", "h": "hours", "s": "seconds",
    "ms": "milliseconds", "d": "days", "%": "percent", "°C": "degrees Celsius", "kWh": "kilowatt-hours",
    "kW": "kilowatts", "W": "watts", "V": "volts", "A": "amperes", "bar": "bar", "dB": "decibels", "Hz": "hertz",
    "MB": "megabytes", "GB": "gigabytes", "km/h": "kilometres an hour", "m/s": "metres a second", "m²": "square metres",
    "m³": "cubic metres", "ha": "hectares", "EUR": "euros", "USD": "US dollars", "GBP": "pounds", "CHF": "Swiss francs",
    "$": "US dollars", "ppm": "parts per million", "lux": "lux", "mg": "milligrams", "rpm": "turns a minute",
    "kcal": "kilocalories", "°": "degrees", "hPa": "hectopascals", "mg/l": "milligrams a litre", "dpi": "dots an inch",
    "pages": "pages", "years": "years", "weeks": "weeks", "months": "months", "px": "pixels", "kPa": "kilopascals",
}  # fmt: skip


@dataclass
class Story:
    """What the values of one document share: the last day told of, and the person an e-mail address is due for."""

    s: Source
    day: datetime.date | None = None
    named: list[Person] = field(default_factory=list)
    mailed: list[Person] = field(default_factory=list)


def fragment(field: Field, rng: random.Random) -> dict[str, Any]:
    """What the schema says of a field's value; an enum has some of its options, money may have a currency sign."""
    kind, args = field.kind, field.args
    if kind == "enum":
        kept = rng.sample(args, rng.randint(min(3, len(args)), len(args)))
        return {"type": "string", "enum": [arg for arg in args if arg in kept]}
    if kind == "strings":
        return {"type": "array"}
    if kind in ("int", "count", "dec", "money", "year", "calc"):
        return _numeric(kind, args, rng)
    if kind == "bool":
        return {"type": "boolean", "x-true": args[0].split(", "), "x-false": args[1].split(", ")}
    formats = {"date": "date", "after": "date", "born": "date", "datetime": "date-time", "email": "email"}
    formats |= {"ip": "ipv4", "uuid": "uuid", "url": "uri"}
    if kind in formats:
        return {"type": "string", "format": formats[kind]}
    if kind == "time":
        return {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}
    return {"type": "string", "minLength": 1}


def _numeric(kind: str, args: Args, rng: random.Random) -> dict[str, Any]:
    if kind == "year":
        return {"type": "integer", "minimum": 1000, "maximum": 2100}
    if kind == "calc":
        unit, money = args[2] if len(args) > 2 else "", args[1] == "money"
        whole, bounds = args[1] == "int", (0, 10**7)
    else:
        places = 3 if kind == "dec" else 2
        unit, money, whole = args[places] if len(args) > places else "", kind == "money", kind in ("int", "count")
        low, high = int(args[0]), int(args[1])
        bounds = (0 if low >= 0 else 10 * low, 10 * high)
    said: dict[str, Any] = {"type": "integer" if whole else "number", "minimum": bounds[0], "maximum": bounds[1]}
    if kind == "count":
        said["x-words"] = True
    if money:
        said["x-money"] = True
        unit = unit or ("" if bounds[0] < 0 else rng.choice(["", "$"]))
    return {**said, "x-unit": unit} if unit else said


def unit_name(said: Mapping[str, Any]) -> str:
    """The unit of a fragment as a description says it, "" without one."""
    return _UNITS.get(str(said.get("x-unit", "")), "")


def make(field: Field, said: Mapping[str, Any], story: Story) -> Any:
    """A value of the field. Sums (`calc`) are made by `calculate`, once the rest is there."""
    if field.kind == "enum":
        return story.s.pick(said["enum"])
    return _MAKERS[field.kind](story, field.args)


def calculate(field: Field, values: Mapping[str, Any]) -> int | float:
    """The value of a `calc` field: "a+b", "a-b", "a*b" over its siblings, or "list.a*b" summed over a list's items."""
    return number(cents(_evaluated(field.args[0], values)))


def operands(field: Field) -> set[str]:
    """The siblings that a `calc` field follows from."""
    if field.kind != "calc":
        return set()
    expression = field.args[0]
    return {expression.split(".")[0]} if "." in expression else set(re.split(r"[*+-]", expression))


def _evaluated(expression: str, values: Mapping[str, Any]) -> Decimal:
    if "." in expression:
        name, inner = expression.split(".")
        return sum((_evaluated(inner, item) for item in values[name]), Decimal(0))
    terms = re.split(r"([*+-])", expression)
    total = Decimal(str(values[terms[0]]))
    for sign, name in zip(terms[1::2], terms[2::2], strict=True):
        value = Decimal(str(values[name]))
        total = total * value if sign == "*" else total + value if sign == "+" else total - value
    return total


def _code(story: Story, args: Args) -> str:
    letters = string.ascii_uppercase.replace("O", "").replace("I", "")
    return re.sub("@", lambda _: story.s.pick(letters), story.s.digits(story.s.pick(args)))


def _text(story: Story, args: Args) -> str:
    return story.s.digits(story.s.pick(args))


def _strings(story: Story, args: Args) -> list[str]:
    return story.s.some(args, 1, 4)


def _person(story: Story, args: Args) -> str:
    if story.mailed:
        return story.mailed.pop().name
    person = story.s.person()
    story.named.append(person)
    return person.name


def _email(story: Story, args: Args) -> str:
    if story.named:
        person = story.named.pop()
        story.named.clear()
        return person.email
    person = story.s.person()
    story.mailed = [person]
    return person.email


def _company(story: Story, args: Args) -> str:
    return story.s.company()


def _url(story: Story, args: Args) -> str:
    s = story.s
    host = f"{ascii_slug(s.person().last)}.example.{s.pick(['com', 'org', s.place.tld])}"
    path = s.digits(s.pick(["", "/", "/info", "/item/####", "/en/view?id=###", "/docs/##", "/p/######"]))
    return f"{s.pick(['https', 'https', 'http'])}://{s.pick(['', 'www.'])}{host}{path}"


_NOTE_STARTS = (
    "please handle with care", "customer was not at home", "colour differs slightly from the sample",
    "waiting for a second opinion", "small scratch on the left side", "all papers are complete",
    "first visit went well", "label was hard to read", "the old part is still in use", "door code is ####",
    "ask for the caretaker", "no answer by phone", 'marked as "urgent"', "key is at the front desk",
    "needs a new battery soon", "price was agreed by phone", "will be checked again next week",
    "parked behind the building", "sent twice by mistake", "strong smell near the drain", "paid half in advance",
    "reply is due within ## days", "moved from room ##", "see file ###", "photo is missing",
    "cable was replaced", "guest asked for a quiet place", "measured in the shade", "two pieces are broken",
)  # fmt: skip
_NOTE_ENDS = (
    "", "", "", "", ", so call before coming", "; no action needed", ", said the owner", " - check again",
    ", otherwise fine", " (second time this year)", ", as agreed", ", sorry for the delay", "; wait for a reply",
)  # fmt: skip


def _note(story: Story, args: Args) -> str:
    s = story.s
    end = s.pick(_NOTE_ENDS)
    if s.multiline and s.chance(0.15):
        end = "\n" + s.pick(["thanks", "please confirm", "nothing else", "more to follow"])
    return s.digits(s.pick(_NOTE_STARTS)) + end


def _integer(story: Story, args: Args) -> int:
    return story.s.integer(int(args[0]), int(args[1]))


def _date(story: Story, args: Args) -> str:
    story.day = story.s.date()
    return story.day.isoformat()


def _after(story: Story, args: Args) -> str:
    story.day = story.s.after(story.day or story.s.date(), int(args[0]), int(args[1]))
    return story.day.isoformat()


def _moment(story: Story, args: Args) -> str:
    moment = story.s.moment(seconds=bool(args))
    story.day = moment.date()
    return iso(moment)


def _version(story: Story, args: Args) -> str:
    s = story.s
    return s.pick(["{}.{}.{}", "v{}.{}.{}", "{}.{}"]).format(s.integer(0, 12), s.integer(0, 30), s.integer(0, 9))


def _ip(story: Story, args: Args) -> str:
    s = story.s
    return s.pick(["10.{}.{}.{}", "192.168.{1}.{2}", "172.16.{1}.{2}"]).format(
        s.integer(0, 250), s.integer(0, 250), s.integer(2, 250)
    )


_MAKERS: dict[str, Callable[[Story, Args], Any]] = {
    "code": _code,
    "text": _text,
    "strings": _strings,
    "person": _person,
    "first": lambda story, args: story.s.person().first,
    "email": _email,
    "phone": lambda story, args: story.s.phone(),
    "company": _company,
    "city": lambda story, args: story.s.city(),
    "country": lambda story, args: story.s.place.country,
    "street": lambda story, args: story.s.street(),
    "postcode": lambda story, args: story.s.postcode(),
    "iban": lambda story, args: story.s.iban(),
    "url": _url,
    "note": _note,
    "int": _integer,
    "count": _integer,
    "year": _integer,
    "dec": lambda story, args: story.s.decimal(int(args[0]), int(args[1]), int(args[2])),
    "money": lambda story, args: number(story.s.price(int(args[0]), int(args[1]))),
    "date": _date,
    "after": _after,
    "born": lambda story, args: story.s.date(1934, 2012).isoformat(),
    "datetime": _moment,
    "time": lambda story, args: story.s.clock(6, 21).strftime("%H:%M"),
    "bool": lambda story, args: story.s.chance(0.5),
    "version": _version,
    "ip": _ip,
    "uuid": lambda story, args: str(uuid.UUID(int=story.s.rng.getrandbits(128), version=4)),
}
