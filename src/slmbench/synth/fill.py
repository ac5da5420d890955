"""A value for anyone's JSON Schema, as a tree that still knows what each of its fields means.

`plan` checks that a schema can be made at all; `Filler.fill` draws one document's values: alternatives are chosen,
optional fields left out now and then, people and their addresses belong together, dates follow each other, and sums add
up, those that names say (quantity x unit_price) and those that `x-slmbench: {"derive": ...}` says.
"""

from __future__ import annotations

import ast
import datetime
import importlib
import re
import string
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, DivisionByZero, InvalidOperation
from typing import Any

from slmbench.core import BadInput
from slmbench.schema import check_schema, resolve, validate
from slmbench.synth.fields import Meaning, hints, meaning, table, theme_of, words_of
from slmbench.synth.values import Person, Source, ascii_slug, cents, iso, number

KEPT = 0.78
"""How often an optional field is in a document."""
_TRIES = 12
_ADDED = (
    "tax", "tax_amount", "sales_tax", "vat", "vat_amount", "shipping", "shipping_cost", "shipping_fee", "delivery_fee",
    "tip", "fee", "service_fee", "service_charge", "handling_fee",
)  # fmt: skip
_TOTALS = ("total", "total_amount", "grand_total", "amount_due", "total_due", "order_total")
_LINE_TOTALS = ("line_total", "total", "amount", "total_price")
_PRICES = ("unit_price", "price", "price_each", "unit_cost")
_RATES = ("tax_rate", "vat_rate", "tax_percent", "vat_percent")


@dataclass
class Node:
    """One field of one document: a leaf with its `value`, an object with `children`, or a list of objects, `items`.

    `hidden` says that the document need not show it: a constant, or a result that the reader works out.
    """

    key: str
    schema: Mapping[str, Any]
    meaning: Meaning
    value: Any = None
    children: list[Node] | None = None
    items: list[list[Node]] | None = None
    hidden: bool = False

    def json(self) -> Any:
        """The JSON value of the field."""
        if self.children is not None:
            return as_object(self.children)
        if self.items is not None:
            return [as_object(item) for item in self.items]
        return self.value


def as_object(nodes: Sequence[Node]) -> dict[str, Any]:
    """The JSON object of fields."""
    return {node.key: node.json() for node in nodes}


class Impossible(Exception):
    """No value was found for a field this time; says which and why."""


def plan(schema: Mapping[str, Any], name: str) -> None:
    """Raise BadInput, one sentence with the field's name, for a schema that no document can be made for."""
    check_schema(schema, name)
    if resolve(schema, schema).get("type", "object") != "object":
        raise BadInput(f"{name}: documents are made for schemas of an object; put the list under a key of an object.")
    filler = Filler(schema, name)
    for turn in range(4):
        source = Source(f"plan:{turn}")
        try:
            nodes = filler.fill(source)
        except Impossible as error:
            raise BadInput(f"{name}: {error}; correct the schema or give `examples`.") from None
        if any(not node.hidden for node in nodes):
            return
    raise BadInput(f"{name}: the schema has no field to extract; give it `properties` that are not constants.")


@dataclass
class _Story:
    """What the values of one document share."""

    source: Source
    day: datetime.date
    theme: str
    people: dict[str, Person] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def person(self, group: str, *, new: bool = False) -> Person:
        if new or group not in self.people:
            if not new and self.people:
                return next(reversed(self.people.values()))
            self.people[group] = self.source.person()
        return self.people[group]


class Filler:
    """Draws documents for one schema. `nulls` allows null where a schema does."""

    def __init__(self, schema: Mapping[str, Any], name: str) -> None:
        self.schema, self.name = schema, name
        self.theme = theme_of(schema, name)

    def fill(self, source: Source, *, nulls: bool = False) -> list[Node]:
        """The fields of one document in the schema's order. Raises Impossible naming a field that has no value."""
        story = _Story(source, source.date(2024, 2026), self.theme)
        maker = _Maker(self.schema, story, nulls)
        nodes = maker.object(_concrete(self.schema, self.schema, source), "", required=True)
        maker.settle(nodes, nodes)
        return nodes


def _concrete(schema: Any, root: Mapping[str, Any], source: Source, *, nulls: bool = False) -> dict[str, Any]:
    """A schema with references followed, `allOf` merged and one alternative of each `anyOf` and `oneOf` taken."""
    node = dict(resolve(schema, root)) if isinstance(schema, Mapping) else {}
    parts = [_concrete(part, root, source) for part in node.pop("allOf", [])]
    for keyword in ("anyOf", "oneOf"):
        options = [dict(resolve(option, root)) for option in node.pop(keyword, [])]
        real = [option for option in options if nulls or option.get("type") != "null"] or options
        if real:
            parts.append(_concrete(source.pick(real), root, source, nulls=nulls))
    for part in parts:
        node = _merged(node, part)
    return node


def _merged(a: dict[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Both schemas at once, the second one's words over the first one's."""
    both = {**a, **{key: value for key, value in b.items() if key not in ("title", "description") or key not in a}}
    for key in {**a.get("properties", {}), **b.get("properties", {})}:
        one, two = a.get("properties", {}).get(key), b.get("properties", {}).get(key)
        joined = {**one, **two} if isinstance(one, dict) and isinstance(two, dict) else two if two is not None else one
        both["properties"] = {**both.get("properties", {}), **a.get("properties", {}), key: joined}
    if "required" in a or "required" in b:
        both["required"] = list(dict.fromkeys([*a.get("required", []), *b.get("required", [])]))
    return both


def _type(schema: Mapping[str, Any], source: Source, *, nulls: bool) -> str:
    kinds = schema.get("type")
    if isinstance(kinds, list):
        real = [kind for kind in kinds if kind != "null"] or ["null"]
        return "null" if nulls and "null" in kinds and source.chance(0.3) else str(real[0])
    if isinstance(kinds, str):
        return kinds
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


class _Maker:
    def __init__(self, root: Mapping[str, Any], story: _Story, nulls: bool) -> None:
        self.root, self.story, self.nulls, self.source = root, story, nulls, story.source

    def object(self, schema: Mapping[str, Any], parent: str, *, required: bool) -> list[Node]:
        """The fields of an object; at least one, where it has any."""
        properties = schema.get("properties", {})
        forced = set(schema.get("required", [])) | _operands(properties)
        unknown = next((key for key in schema.get("required", []) if key not in properties), None)
        if unknown is not None:
            raise Impossible(f"field {unknown!r} is required but stands in no `properties`")
        kept = [key for key in properties if key in forced or self.source.chance(KEPT)]
        if len(kept) < max(1, schema.get("minProperties", 0)):
            kept = list(properties)
        kept = kept[: schema.get("maxProperties", len(kept))]
        nodes = [self.field(key, properties[key], parent, required=key in forced) for key in kept]
        if any(words_of(node.key)[-1:] in (["unit"], ["units"], ["uom"]) for node in nodes):
            # The unit is a field of its own: no other one may stand behind the number.
            for node in nodes:
                node.meaning = replace(node.meaning, unit="")
        return nodes

    def field(self, key: str, sub: Any, parent: str, *, required: bool) -> Node:
        if sub is False:
            raise Impossible(f"field {key!r} may have no value (its schema is false)")
        schema = _concrete(sub, self.root, self.source, nulls=self.nulls)
        kind = _type(schema, self.source, nulls=self.nulls)
        flat = {**schema, "type": kind}
        told = meaning(key, _small(flat), parent)
        node = Node(key, flat, told)
        if "const" in schema:
            node.value, node.hidden = schema["const"], True
        elif kind == "object" and schema.get("properties"):
            self.story.people = dict(self.story.people)
            node.children = self.object(schema, key, required=required)
        elif kind == "array":
            self._array(node, schema, key)
        elif kind == "object":
            node.value = {}
        else:
            node.value = self.leaf(key, flat, told)
        return node

    def _array(self, node: Node, schema: Mapping[str, Any], key: str) -> None:
        item = _concrete(schema.get("items", schema.get("contains", {})), self.root, self.source)
        kind = _type(item, self.source, nulls=False)
        low, high = schema.get("minItems", 0), schema.get("maxItems", 10**6)
        if low > high:
            raise Impossible(f"field {key!r} cannot have at least {low} and at most {high} items")
        if kind == "object" and item.get("properties"):
            count = self._count(low, high, self.source.pick([1, 2, 2, 3, 3, 4]))
            node.meaning = meaning(key, {**_small(schema), "type": "object"})
            node.items = [self._item(schema, key) for _ in range(count)]
            if not node.items:
                node.items, node.value = None, []
            return
        count = self._count(low, high, self.source.pick([1, 2, 3, 3, 4, 5]))
        node.value = self._scalars(node, schema, key, item, kind, count, low)

    def _count(self, low: int, high: int, usual: int) -> int:
        return 0 if low == 0 and self.source.chance(0.05) else min(max(low, usual, 1), high)

    def _item(self, schema: Mapping[str, Any], key: str) -> list[Node]:
        item = _concrete(schema["items"], self.root, self.source)
        outer, self.story.people = self.story.people, {}
        nodes = self.object(item, key, required=True)
        self.story.people = outer
        return nodes

    def _scalars(
        self, node: Node, schema: Mapping[str, Any], key: str, item: dict[str, Any], kind: str, count: int, low: int
    ) -> list[Any]:
        if kind in ("array", "object"):
            inner = {**item, "type": kind}
            return [self.field(key, inner, key, required=True).json() for _ in range(count)]
        flat = {**item, "type": kind}
        if hints(schema) and not hints(flat):
            flat["x-slmbench"] = hints(schema)
        told = meaning(key, _small(flat), "")
        node.meaning = told
        found: list[Any] = []
        for _ in range(count * 8):
            value = self.leaf(key, flat, told)
            if value not in found:
                found.append(value)
            if len(found) == count:
                break
        if len(found) < low and schema.get("uniqueItems"):
            raise Impossible(f"field {key!r} cannot have {low} different items")
        while len(found) < low:
            found.append(self.leaf(key, flat, told))
        return found

    def leaf(self, key: str, schema: Mapping[str, Any], told: Meaning) -> Any:
        """A scalar: what the hints list, an option, something like the examples, or what the meaning gives."""
        if schema["type"] == "null":
            return None
        listed = hints(schema).get("values")
        if isinstance(listed, list) and listed:
            return self.source.pick(listed)
        if schema.get("enum"):
            real = [option for option in schema["enum"] if option is not None]
            return self.source.pick(real or schema["enum"])
        if schema["type"] == "boolean":
            return self.source.chance(0.5)
        if schema["type"] in ("integer", "number"):
            return _number(key, schema, told, self.source)
        return self._text(key, schema, told)

    def _text(self, key: str, schema: Mapping[str, Any], told: Meaning) -> str:
        examples = [str(example) for example in schema.get("examples", [])] or _default(schema)
        like = bool(examples) and self.source.chance(0.4 if told.known else 0.9)
        candidates: Iterator[str] = (
            _alike(self.source.pick(examples), self.source) if like else str(_MAKERS[told.kind](self.story, told))
            for _ in range(_TRIES)
        )
        fresh = None
        for candidate in candidates:
            fitted = _lengthened(candidate, schema, told, self.story)
            if _fits(fitted, schema):
                fresh = fitted
                if told.kind in ("date", "moment") or fitted not in self.story.told:
                    self.story.told.add(fitted)
                    return fitted
        if fresh is not None:
            return fresh
        for _ in range(_TRIES if "pattern" in schema else 0):
            candidate = _matching(str(schema["pattern"]), self.source, key)
            if _fits(candidate, schema):
                return candidate
        for candidate in (*examples, _letters(schema, self.source)):
            if _fits(candidate, schema):
                return candidate
        raise Impossible(f"no text was found for field {key!r} that its pattern, format and lengths allow")

    # What follows from other fields

    def settle(self, nodes: list[Node], top: list[Node]) -> None:
        """Work out what follows from other fields, from the inside out."""
        for node in nodes:
            for below in ([node.children] if node.children else []) + (node.items or []):
                self.settle(below, top)
        _in_order(nodes)
        _add_up(nodes)
        for _ in range(3):
            for node in nodes:
                rule = hints(node.schema).get("derive")
                if isinstance(rule, str):
                    node.value = _worked_out(node, rule, nodes, top)
                    shown = hints(node.schema).get("grounded") is not False or self.source.chance(0.3)
                    node.hidden = not shown


def _small(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a leaf's schema that says what it means."""
    kept = ("type", "format", "title", "description", "minLength", "maxLength", "x-slmbench")
    return {key: schema[key] for key in kept if key in schema}


def _default(schema: Mapping[str, Any]) -> list[str]:
    default = schema.get("default")
    return [default] if isinstance(default, str) and default.strip() else []


def _fits(text: str, schema: Mapping[str, Any]) -> bool:
    if not schema.get("minLength", 1) <= len(text) <= schema.get("maxLength", 10**6):
        return False
    kept = {key: schema[key] for key in ("pattern", "format", "not") if key in schema}
    return not kept or not validate(text, kept)


def _lengthened(text: str, schema: Mapping[str, Any], told: Meaning, story: _Story) -> str:
    """The text with more sentences where it is too short, with fewer words where it is too long."""
    while told.kind == "prose" and len(text) < schema.get("minLength", 0) and len(text) < 4000:
        text = f"{text} {_sentence(story, told.args[0])}"
    longest = schema.get("maxLength", 10**6)
    if len(text) > longest and " " in text and "pattern" not in schema and told.kind in ("prose", "pick", "address"):
        text = text[: longest + 1].rsplit(" ", 1)[0].rstrip(" ,;.")
    return text


def _letters(schema: Mapping[str, Any], source: Source) -> str:
    low = max(1, schema.get("minLength", 1))
    length = min(max(low, 4), schema.get("maxLength", 10**6))
    return "".join(source.pick(string.ascii_uppercase) for _ in range(length))


def _alike(example: str, source: Source) -> str:
    """An example, or one of its shape: other digits, and other letters in a code."""
    if not re.search(r"\d", example) or source.chance(0.1):
        return example
    digits = re.sub(r"[1-9]", lambda _: str(source.integer(1, 9)), example)
    if re.fullmatch(r"[A-Z0-9/_.-]+", example) and source.chance(0.3):
        return re.sub(r"[A-Z](?![A-Z]{2})", lambda _: source.pick("ABCDEFGHKLMNPRSTVWX"), digits)
    return digits


def _number(key: str, schema: Mapping[str, Any], told: Meaning, source: Source) -> int | float:
    """A number within the schema's bounds, where possible one that the meaning makes likely."""
    whole = schema["type"] == "integer"
    step = Decimal(str(schema.get("multipleOf", 0)))
    low, high, places = _bounds(schema, told)
    if low > high:
        raise Impossible(f"field {key!r} has no number between its minimum {low} and maximum {high}")
    if told.kind == "pickint" and not step:
        usual = [int(arg) for arg in told.args if low <= int(arg) <= high]
        if usual:
            return source.pick(usual)
    if step:
        first, last = -(-low // step), high // step
        if low % step and low > 0:
            first = low // step + 1
        if first > last:
            raise Impossible(f"field {key!r} has no multiple of {step} between {low} and {high}")
        return number(step * source.integer(int(first), int(last)))
    if whole:
        return _rounded(source.integer(int(low.to_integral_value("ROUND_CEILING")), int(high)), low, told, source)
    if told.kind == "money" and high - low > 3:
        price = source.price(int(low) + 1, int(high) - 1)
        # Rents and deposits are round, prices of goods are not.
        return number(price.to_integral_value() if low >= 300 and source.chance(0.7) else price)
    scale = Decimal(10) ** -max(places, 0 if high - low > 5 else 2)
    return number(low + scale * source.integer(0, int((high - low) / scale)))


def _rounded(value: int, low: Decimal, told: Meaning, source: Source) -> int:
    """Large amounts are mostly round: a salary of 52,000, not of 51,937."""
    for size, share in ((20000, 0.9), (900, 0.3)):
        if value >= size and source.chance(share):
            unit = 1000 if size == 20000 else 50
            return value // unit * unit if value // unit * unit >= low else value
    return value


def _bounds(schema: Mapping[str, Any], told: Meaning) -> tuple[Decimal, Decimal, int]:
    """Lowest, highest and decimal places: those that are usual, within what the schema allows."""
    places = int(told.args[2]) if told.kind == "dec" and len(told.args) > 2 else 2 if told.kind == "money" else 0
    places = 0 if schema["type"] == "integer" else places
    usual = [Decimal(arg) for arg in told.args[:2]] if told.kind != "pickint" else [Decimal(5), Decimal(120)]
    tiny = Decimal(1) if schema["type"] == "integer" else Decimal(10) ** -max(places, 1)
    lows = [Decimal(str(schema[k])) + d for k, d in (("minimum", 0), ("exclusiveMinimum", tiny)) if k in schema]
    highs = [Decimal(str(schema[k])) - d for k, d in (("maximum", 0), ("exclusiveMaximum", tiny)) if k in schema]
    low = max(lows) if lows else None
    high = min(highs) if highs else None
    if low is not None and high is not None and low > high:
        return low, high, places
    inside = (
        max([usual[0], *([low] if low is not None else [])]),
        min([usual[1], *([high] if high is not None else [])]),
    )
    if inside[0] <= inside[1] and (told.known or low is None or high is None or high > 1000):
        return *inside, places
    if low is None:
        low = min(usual[0], (high or Decimal(0)) - 100)
    return low, high if high is not None else low + 100, places


# Values by kind


def _codes(pattern: str, source: Source) -> str:
    letters = string.ascii_uppercase.replace("O", "").replace("I", "")
    return re.sub("@", lambda _: source.pick(letters), source.digits(pattern))


def _code(story: _Story, told: Meaning) -> str:
    return _codes(story.source.pick(" ".join(told.args).split("|")), story.source)


def _pick(story: _Story, told: Meaning) -> str:
    known, name = table()["choices"], told.args[0]
    return str(story.source.pick(known.get(f"{name}.{story.theme}", known[name])))


def _person(story: _Story, told: Meaning) -> str:
    return story.person(
        told.group, new=told.group not in story.people or story.people[told.group].name in story.told
    ).name


def _mail(story: _Story, told: Meaning) -> str:
    return story.person(told.group).email


def _address(story: _Story, told: Meaning) -> str:
    s = story.source
    return f"{s.street()}, {s.postcode()} {s.city()}".replace("\n", ", ")


def _url(story: _Story, told: Meaning) -> str:
    s = story.source
    host = f"{ascii_slug(s.person().last)}.example.{s.pick(['com', 'org', s.place.tld])}"
    return (
        s.pick(["https", "https", "http"])
        + f"://{s.pick(['', 'www.'])}{host}"
        + s.digits(s.pick(["", "/info", "/item/####", "/en/view?id=###", "/p/######"]))
    )


def _day(story: _Story, told: Meaning) -> str:
    low, high = (int(arg) for arg in told.args)
    return (story.day + datetime.timedelta(days=story.source.integer(low, high))).isoformat()


def _moment(story: _Story, told: Meaning) -> str:
    s, seconds = story.source, story.theme in ("alarm", "bug") and story.source.chance(0.5)
    day = story.day + datetime.timedelta(days=s.integer(0, 2))
    clock = datetime.time(s.integer(0, 23), s.integer(0, 59), s.integer(0, 59) if seconds else 0)
    return iso(datetime.datetime.combine(day, clock))


def _clock(story: _Story, told: Meaning) -> str:
    """HH:MM, or what `format: time` asks for where the field says that, by `args`."""
    return story.source.clock(7, 20).strftime("%H:%M:00Z" if told.args else "%H:%M")


def _prose(story: _Story, told: Meaning) -> str:
    bank, s = told.args[0], story.source
    count = s.pick([1, 1, 2, 2, 3]) if bank in ("summary", "notes") else 1
    found: list[str] = []
    for _ in range(count * 3):
        sentence = _sentence(story, bank)
        if sentence[:9] not in {known[:9] for known in found} and len(found) < count:
            found.append(sentence)
    text = " ".join(found)
    return text.rstrip(".") if count == 1 and s.chance(0.4) else text


def _sentence(story: _Story, bank: str) -> str:
    """A sentence of a bank of `fields.json`, that of the theme where it has one: each [a|b] drawn."""
    known = table()["prose"]
    source = story.source
    ways = known.get(f"{bank}.{story.theme}", known[bank])
    return re.sub(r"\[([^\]]*)\]", lambda match: str(source.pick(match[1].split("|"))), str(source.pick(ways)))


def _version(story: _Story, told: Meaning) -> str:
    s = story.source
    return s.pick(["{}.{}.{}", "v{}.{}.{}", "{}.{}"]).format(s.integer(0, 12), s.integer(0, 30), s.integer(0, 9))


def _ip(story: _Story, told: Meaning) -> str:
    s = story.source
    return f"{s.pick(['10.0', '172.16', '192.168'])}.{s.integer(0, 250)}.{s.integer(2, 250)}"


def _spelled(story: _Story, told: Meaning) -> str:
    """A number for a field of type string, with its unit."""
    low, high = (int(arg) for arg in told.args[:2])
    s = story.source
    if told.kind == "money":
        return f"{s.price(low, high)} {s.pick(['EUR', 'USD', 'GBP'])}"
    places = int(told.args[2]) if told.kind == "dec" else 0
    return f"{s.decimal(low, high, places)}{' ' + told.unit if told.unit else ''}"


_MAKERS: dict[str, Callable[[_Story, Meaning], Any]] = {
    "code": _code,
    "pick": _pick,
    "person": _person,
    "doctor": lambda story, told: story.source.doctor(),
    "first": lambda story, told: story.person(told.group).first,
    "last": lambda story, told: story.person(told.group).last,
    "user": lambda story, told: story.person(told.group).email.split("@")[0],
    "email": _mail,
    "phone": lambda story, told: story.source.phone(),
    "company": lambda story, told: story.source.company(),
    "street": lambda story, told: story.source.street().replace("\n", ", "),
    "address": _address,
    "city": lambda story, told: story.source.city(),
    "country": lambda story, told: story.source.place.country,
    "postcode": lambda story, told: story.source.postcode(),
    "iban": lambda story, told: story.source.iban(),
    "url": _url,
    "date": _day,
    "born": lambda story, told: story.source.date(1934, 2006).isoformat(),
    "moment": _moment,
    "time": _clock,
    "prose": _prose,
    "version": _version,
    "ip": _ip,
    "ip6": lambda story, told: ":".join(["2001", "db8", *(f"{story.source.integer(1, 65535):x}" for _ in range(6))]),
    "uuid": lambda story, told: str(uuid.UUID(int=story.source.rng.getrandbits(128), version=4)),
    "year": lambda story, told: str(story.source.integer(*(int(arg) for arg in told.args[:2]))),
    "pickint": lambda story, told: f"{story.source.pick(told.args)}{' ' + told.unit if told.unit else ''}",
    "money": _spelled,
    "int": _spelled,
    "dec": _spelled,
}


# A text for a pattern


def _matching(pattern: str, source: Source, key: str) -> str:
    """A text that a regular expression matches, drawn from its parts. Raises Impossible for what it cannot read."""
    parser = importlib.import_module("re._parser")
    try:
        return "".join(_part(op, arg, source, {}) for op, arg in parser.parse(pattern))
    except (re.error, ValueError, KeyError, OverflowError) as error:
        raise Impossible(f"the pattern {pattern!r} of field {key!r} cannot be made ({error})") from None


_CATEGORIES = {
    "CATEGORY_DIGIT": string.digits, "CATEGORY_WORD": string.ascii_lowercase + string.digits, "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_DIGIT": string.ascii_uppercase, "CATEGORY_NOT_WORD": "-",
    "CATEGORY_NOT_SPACE": string.ascii_lowercase,
}  # fmt: skip
_ANY = string.ascii_lowercase + string.ascii_uppercase + string.digits + " -./"


def _part(op: Any, arg: Any, source: Source, groups: dict[int, str]) -> str:
    name = str(op)
    if name == "LITERAL":
        return chr(arg)
    if name == "NOT_LITERAL":
        return source.pick([char for char in _ANY if char != chr(arg)])
    if name == "ANY":
        return source.pick(string.ascii_lowercase)
    if name == "IN":
        return source.pick(_charset(arg))
    if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        low, high, inner = arg
        count = source.integer(low, min(int(high), max(low, low + 4)))
        return "".join(_all(inner, source, groups) for _ in range(count))
    if name == "SUBPATTERN":
        groups[arg[0]] = _all(arg[3], source, groups)
        return groups[arg[0]]
    if name == "BRANCH":
        return _all(source.pick(arg[1]), source, groups)
    if name == "GROUPREF":
        return groups[arg]
    if name in ("AT", "ASSERT", "ASSERT_NOT"):
        return ""
    raise ValueError(f"{name.lower()} is not supported")


def _all(parts: Any, source: Source, groups: dict[int, str]) -> str:
    return "".join(_part(op, arg, source, groups) for op, arg in parts)


def _charset(parts: Sequence[tuple[Any, Any]]) -> str:
    """The characters of a class such as [A-Z0-9_], or plain ones that a negated class leaves."""
    negated, chars = False, ""
    for op, arg in parts:
        name = str(op)
        if name == "NEGATE":
            negated = True
        elif name == "LITERAL":
            chars += chr(arg)
        elif name == "RANGE":
            chars += "".join(map(chr, range(arg[0], min(arg[1], arg[0] + 200) + 1)))
        else:
            chars += _CATEGORIES[str(arg)]
    found = "".join(char for char in _ANY if char not in chars) if negated else chars
    if not found:
        raise ValueError("a class without characters")
    return found


# What belongs in order, and sums

_ENDS = {"start": "end", "min": "max", "minimum": "maximum", "from": "to", "low": "high", "begin": "end", "in": "out"}


def _in_order(nodes: Sequence[Node]) -> None:
    """Put a start before its end and a minimum before its maximum: the two values change places where need be."""
    by = {tuple(words_of(node.key)): node for node in nodes}
    for name, first in by.items():
        for word in name:
            last = by.get(tuple(_ENDS.get(word, word) if part == word else part for part in name))
            if last is None or last is first or type(first.value) is not type(last.value):
                continue
            if isinstance(first.value, int | float | str) and first.value > last.value:
                first.value, last.value = last.value, first.value


def _name(key: str) -> str:
    return "_".join(words_of(key))


def _add_up(nodes: list[Node]) -> None:
    """Make the sums of one object true that the gate knows by name: lines, subtotal, tax by its rate, total."""
    by = {_name(node.key): node for node in nodes if _numeric(node) and "derive" not in hints(node.schema)}
    quantity, price = by.get("quantity") or by.get("qty"), _first(by, _PRICES)
    product = Decimal(str(quantity.value)) * Decimal(str(price.value)) if quantity and price else None
    lines = [line for node in nodes for line in [_lines(node)] if line is not None]
    base = lines[0] if len(lines) == 1 else product
    if product is not None and not lines and (total := _first(by, _LINE_TOTALS)):
        total.value = _as(total, product)
        return
    subtotal = _first(by, ("subtotal", "sub_total", "items_total", "net_amount", "net_total", "total_net", "net"))
    if subtotal and base is not None:
        subtotal.value = _as(subtotal, base)
    base = Decimal(str(subtotal.value)) if subtotal else base
    total = _first(by, (*_TOTALS, "gross_total", "gross_amount", "total_gross", "invoice_total"))
    rate, tax = _first(by, _RATES), _first(by, _ADDED[:5])
    if base is None:
        return
    if tax:
        percent = Decimal(str(rate.value)) if rate else Decimal(20)
        tax.value = _as(tax, base * (percent / 100 if not rate or percent > 1 else percent))
    elif rate and total:
        percent = Decimal(str(rate.value))
        base = cents(base + base * (percent / 100 if percent > 1 else percent))
    if total:
        added = sum((Decimal(str(by[name].value)) for name in _ADDED if name in by), Decimal(0))
        taken = sum((Decimal(str(by[n].value)) for n in ("discount", "discount_amount") if n in by), Decimal(0))
        total.value = _as(total, base + added - taken)


def _numeric(node: Node) -> bool:
    return isinstance(node.value, int | float) and not isinstance(node.value, bool)


def _first(by: Mapping[str, Node], names: Sequence[str]) -> Node | None:
    return next((by[name] for name in names if name in by), None)


def _lines(node: Node) -> Decimal | None:
    """The sum of a list's lines, None where they have no price and quantity."""
    total = Decimal(0)
    for item in node.items or []:
        by = {_name(below.key): below for below in item if _numeric(below)}
        quantity, price = by.get("quantity") or by.get("qty"), _first(by, _PRICES)
        own = _first(by, _LINE_TOTALS)
        if quantity is None or price is None:
            return None
        product = Decimal(str(quantity.value)) * Decimal(str(price.value))
        total += Decimal(str(own.value)) if own else product
    return total if node.items else None


def _as(node: Node, value: Decimal) -> int | float:
    return int(value) if node.schema.get("type") == "integer" else number(cents(value))


def _operands(properties: Mapping[str, Any]) -> set[str]:
    """The first names of what the derived fields of an object follow from."""
    found: set[str] = set()
    for sub in properties.values():
        rule = hints(sub).get("derive") if isinstance(sub, Mapping) else None
        found |= set(re.findall(r"[A-Za-z_][\w-]*", rule)) if isinstance(rule, str) else set()
    return found


def _worked_out(node: Node, rule: str, nodes: Sequence[Node], top: Sequence[Node]) -> Any:
    """The value of a `derive` rule over the fields beside it, else those at the top."""
    names = {**as_object(top), **as_object(nodes)}
    try:
        value = evaluate(rule, names)
    except (ValueError, KeyError, TypeError, SyntaxError, DivisionByZero, InvalidOperation) as error:
        raise Impossible(f"the rule {rule!r} of field {node.key!r} cannot be worked out ({error})") from None
    if isinstance(value, list):
        raise Impossible(f"the rule {rule!r} of field {node.key!r} gives a list; put sum(...) or count(...) around it")
    if not isinstance(value, Decimal):
        return value
    return int(value) if node.schema.get("type") == "integer" else number(cents(value))


def evaluate(rule: str, names: Mapping[str, Any]) -> Any:
    """The value of "sum(lines.amount)", "count(lines)", "a * b - c" and the like; numbers are Decimals.

    Raises ValueError for anything but names, paths, numbers, + - * / and sum, count, min, max, and KeyError for a name
    that is not there.
    """
    return _evaluated(ast.parse(rule, mode="eval").body, names)


_CALLS: dict[str, Callable[[list[Any]], Any]] = {
    "sum": lambda values: sum(values, Decimal(0)),
    "count": lambda values: Decimal(len(values)),
    "min": min,
    "max": max,
}


def _evaluated(node: ast.expr, names: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return Decimal(str(node.value))
    if isinstance(node, ast.Name):
        return _decimal(names[node.id])
    if isinstance(node, ast.Attribute):
        held = _evaluated(node.value, names)
        return [_decimal(item[node.attr]) for item in held] if isinstance(held, list) else _decimal(held[node.attr])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluated(node.operand, names)
    if isinstance(node, ast.BinOp):
        return _combined(node.op, _evaluated(node.left, names), _evaluated(node.right, names))
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _CALLS
        and len(node.args) == 1
    ):
        values = _evaluated(node.args[0], names)
        return _CALLS[node.func.id](values if isinstance(values, list) else [values])
    raise ValueError(f"{ast.unparse(node)!r} is not a name, a number, + - * / or sum, count, min, max")


def _decimal(value: Any) -> Any:
    return Decimal(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _combined(op: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(left, list) and isinstance(right, list):
        return [_combined(op, a, b) for a, b in zip(left, right, strict=True)]
    if isinstance(left, list):
        return [_combined(op, a, right) for a in left]
    if isinstance(op, ast.Add):
        return left + right
    if isinstance(op, ast.Sub):
        return left - right
    if isinstance(op, ast.Mult):
        return left * right
    if isinstance(op, ast.Div):
        return left / right
    raise ValueError("only + - * / are known")
