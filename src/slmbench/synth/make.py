"""Rows of documents for anyone's JSON Schema: what `slmbench synth SCHEMA` writes.

A row's values, wording and style depend on the schema, the seed and the row's number alone. Styles take turns: those of
`styles.py` and a few of what people copy and paste. Every row passes the gate, and no text comes twice.
"""

from __future__ import annotations

import datetime
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from slmbench.core import BadInput, Example
from slmbench.data import normalised
from slmbench.files import write_atomic
from slmbench.progress import progress
from slmbench.schema import canonical, complexity
from slmbench.synth import styles
from slmbench.synth.check import check_example
from slmbench.synth.fields import hints, spoken, table, theme_of, words_of
from slmbench.synth.fill import Filler, Impossible, Node, as_object, plan
from slmbench.synth.sections import Field, Section, folded, groups, sections
from slmbench.synth.speech import Phrases, Speaker, bare, on_words
from slmbench.synth.spell import half_day, spell, words
from slmbench.synth.styles import Page
from slmbench.synth.values import Source

Row = dict[str, Any]
RETRIES = 60
STRAY = 0.45
"""How often a document holds things that nobody asks for."""
_BLOCKS = ("field_list", "memo", "record", "letter")
_NULLS = ("log_line", "csv_table", "record")
_PREPOSITIONS = (
    "by",
    "on",
    "at",
    "in",
    "from",
    "with",
    "until",
    "per",
    "to",
    "as",
    "for",
    "of",
    "than",
    "clock",
    "here",
)
_NO_NOUN = frozenset((
    "by", "on", "at", "in", "from", "with", "due", "until", "per", "to", "as", "for", "see", "call", "when", "where",
    "instead", "knows", "speaks", "born", "paid", "delivered", "level", "arrived", "takes", "dated", "each", "high",
    "wide", "long", "located", "happens", "do", "get", "here", "there", "much", "cost", "than", "hand", "clock",
    "of", "because", "measured", "actual", "expected", "net",
))  # fmt: skip
"""Labels that end in one of these head a line, and fit no sentence."""


def make_rows(schema: Mapping[str, Any], n: int, seed: int = 42, schema_id: str = "document") -> list[Row]:
    """`n` rows of our own format under `schema`. The same arguments give the same rows.

    Raises BadInput, naming the field, for a schema that no document can be made for, and for n below 1.
    """
    if n < 1:
        raise BadInput(f"{schema_id}: {n} rows were asked for; ask for at least 1.")
    plan(schema, schema_id)
    with progress(f"{schema_id}: documents", n, "rows") as advance:
        rows = []
        for row in _rows(schema, n, seed, schema_id):
            rows.append(row)
            advance(1, "")
    return rows


def write(schema: Mapping[str, Any], n: int, path: Path, seed: int = 42, schema_id: str = "document") -> int:
    """Write `n` rows to `path` as JSONL, whole or not at all; how many there are."""
    rows = make_rows(schema, n, seed, schema_id)
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    write_atomic(path, "".join(f"{line}\n" for line in lines))
    return len(rows)


def _rows(schema: Mapping[str, Any], n: int, seed: int, schema_id: str) -> Iterator[Row]:
    filler, level = Filler(schema, schema_id), complexity(schema)
    known: set[str] = set()
    names = list(STYLES)
    random.Random(f"{seed}:styles").shuffle(names)
    for i in range(n):
        style, why = names[i % len(names)], "no text was new"
        for attempt in range(RETRIES):
            source = Source(f"{schema_id}:{seed}:{i}:{attempt}")
            # After many tries the plainest style gets its turn: some values stand well in few styles only.
            shown = style if attempt < RETRIES // 2 else "field_list"
            try:
                nodes = filler.fill(source, nulls=shown in _NULLS)
            except Impossible as error:
                why = str(error)
                continue
            value = as_object(nodes)
            text = document(nodes, schema, shown, source, schema_id, filler.theme)
            wrong = check_example(Example("row", text, schema_id, schema, value, {"complexity": level}))
            if not wrong and normalised(text) not in known:
                known.add(normalised(text))
                yield {
                    "id": f"{schema_id}-{i + 1:0{max(4, len(str(n)))}d}", "schema_id": schema_id, "complexity": level,
                    "style": shown, "text": text, "target": canonical(value, schema),
                }  # fmt: skip
                break
            why = wrong[0][1].removeprefix("row: ") if wrong else why
        else:
            raise BadInput(f"{schema_id}: after {i} of {n} rows no more could be made ({why}); loosen that field.")


def document(
    nodes: Sequence[Node], schema: Mapping[str, Any], style: str, source: Source, name: str, theme: str | None = None
) -> str:
    """The document of these fields in one of STYLES."""
    theme = theme_of(schema, name) if theme is None else theme
    shown = [node for node in nodes if not node.hidden]
    mark = next((str(n.value) for n in nodes if n.meaning.args == ("currencies",)), None)
    money = _money(mark or source.rng.choice(["", "", "$", "€", "EUR", "£"]), source.rng)
    head, grouped = {"title": _title(schema, name)}, source.chance(0.5)
    doc = _Doc({}, head, Phrases(), source.rng, shown, style, theme, source, money, grouped)
    text = on_words(STYLES[style](doc), lambda said: re.sub(r"\b[a-z](?=[A-Z]{2})", lambda m: m[0].upper(), said))
    return bare(text).strip()


def _title(schema: Mapping[str, Any], name: str) -> str:
    title = str(schema.get("title") or spoken(words_of(name))).strip() or "document"
    return title[0].upper() + title[1:]


# A document in the making


@dataclass(frozen=True)
class _Doc(Page):
    """A page that is worded anew: labels, spellings and sentences of this document alone, and what nobody asks for.

    `money` is how amounts are written, such as "EUR {}", and `grouped` whether thousands are parted.
    """

    nodes: Sequence[Node] = ()
    style: str = ""
    theme: str = ""
    source: Source = field(default_factory=lambda: Source("none"))
    money: str = "{}"
    grouped: bool = False

    @property
    def cents(self) -> bool:
        """Whether amounts show their cents: always, but where the document is short of them throughout."""
        return not _whole(self.nodes)

    def parts(self, nodes: Sequence[Node] | None = None) -> list[Section]:
        """The sections of the document or of some of its fields, now and then with a stray line in the first."""
        value, schema = _shape(self.nodes if nodes is None else nodes, self, spoken_=False)
        found = sections(value, schema, self.rng, 0.0)
        if nodes is None and self.chance(STRAY):
            fields = list(found[0].fields)
            for stray in self.stray_fields():
                fields.insert(self.rng.choice([0, len(fields), self.rng.randint(0, len(fields))]), stray)
            found[0] = Section(found[0].title, found[0].noun, tuple(fields))
        return found

    def sentences(self, nodes: Sequence[Node] | None = None) -> list[str]:
        """What a person would say of the fields, with a stray remark now and then."""
        value, schema = _shape(self.nodes if nodes is None else nodes, self, spoken_=True)
        lines = list(_Talk(self, schema, value).lines())
        said = _Voice(Phrases([], lines), schema, self.rng, 0.0).sentences(value)
        said = [sentence.replace("no..", "no.") for sentence in said]
        if self.chance(STRAY):
            said.insert(self.rng.randint(0, len(said)), self.stray_remark())
        return said

    def about(self) -> str:
        """What the document is about, as one says it."""
        title = str(self.schema["title"]).lower()
        nouns = [*table()["nouns"][self.theme], f"the {title}" if not title.startswith("the ") else title]
        return str(self.rng.choice(nouns))

    def stray_fields(self) -> list[Field]:
        """One or two labelled values that the schema does not know."""
        taken = _taken(self.nodes)
        free = [(label, ways) for label, ways in _STRAY_FIELDS if not taken & set(words_of(label))]
        picked = self.rng.sample(free, min(len(free), self.rng.choice([1, 1, 2])))
        return [Field("stray", label, self.filled(self.rng.choice(ways)), "", {}) for label, ways in picked]

    def stray_remark(self) -> str:
        """A sentence that says nothing asked for."""
        taken = _taken(self.nodes)
        free = [way for way in _STRAY_REMARKS if not taken & {w for w in words_of(way) if len(w) > 3}]
        return self.filled(self.rng.choice(free or ["Thanks for waiting."]))

    def filled(self, way: str) -> str:
        """A way with its # as digits and its DAY as a date."""
        day = spell(self.source.date(2021, 2023).isoformat(), {"format": "date"}, self.rng, 0.8)
        clock = self.source.clock(7, 20).strftime("%H:%M")
        return str(self.source.digits(way)).replace("DAY", day).replace("TIME", clock)


_STRAY_FIELDS = (
    ("Page", ("1 of 2", "2/3", "1")), ("Printed", ("DAY", "DAY TIME")), ("Copy for", ("the file", "accounting")),
    ("Form", ("F-##", "rev. #")), ("Last sync", ("## s ago", "DAY")), ("Export job", ("####", "nightly")),
    ("Template", ("v#", "standard ##")), ("Opened by", ("auto", "import")), ("Clerk", ("mk", "J. D.", "desk #")),
    ("Archive box", ("##", "B##")), ("Queue", ("#", "main")), ("Read by", ("### people", "bot")),
)  # fmt: skip
_STRAY_REMARKS = (
    "Our office is closed on DAY, by the way.", "I tried to call you twice yesterday.", "Thanks for waiting.",
    "We had 1# similar cases last month.", "Sorry it took me 1# days to get back to you.",
    "Hope the weather is better.", "My colleague Jo will be back soon.",
    "The old form had 1# pages, this one is shorter.",
    "Coffee is on me.",
    "Please ignore my earlier mail of DAY, that was a draft.", "Sent from my phone, so excuse typos.",
    "The previous one, back on DAY, was quite different.", "I copied this from the other system.",
    "Greetings to everybody at your end.", "You asked me for this twice, I know.", "I am in meetings until 3 pm.",
)  # fmt: skip


def _whole(nodes: Sequence[Node]) -> bool:
    """Whether every amount of money is a whole number."""
    return all(
        float(n.value).is_integer() for n in nodes if n.meaning.kind == "money" and isinstance(n.value, int | float)
    ) and all(_whole(below) for n in nodes for below in ([n.children] if n.children else []) + (n.items or []))


def _taken(nodes: Sequence[Node]) -> set[str]:
    """The words of all keys, which no stray may share."""
    found: set[str] = set()
    for node in nodes:
        found |= set(words_of(node.key))
        for below in ([node.children] if node.children else []) + (node.items or []):
            found |= _taken(below)
    return found


# Fields as what `sections` and `Speaker` read: every value as the text that the document shows


def _shape(nodes: Sequence[Node], doc: _Doc, *, spoken_: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields as (value, schema) under plain names, lists of objects at the top."""
    value, schema = _object(nodes, doc, spoken_, doc.schema["title"])
    for path, items, label in _hoisted(nodes, ()):
        inner = _union(items, doc, spoken_)
        key = _fresh("_".join(path), schema["properties"])
        value[key] = [_item(item, inner, doc, spoken_) for item in items]
        one = _singular(label)
        schema["properties"][key] = {"title": label, "items": {"title": one, "properties": inner}}
    return value, schema


def _hoisted(nodes: Sequence[Node], above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[list[Node]], str]]:
    for node in nodes:
        if node.items:
            label = node.meaning.labels[0]
            yield (*above, node.key), node.items, f"{above[-1]} {label}" if above else label
        elif node.children:
            yield from _hoisted(node.children, (*above, spoken(words_of(node.key))))


def _object(nodes: Sequence[Node], doc: _Doc, spoken_: bool, title: str) -> tuple[dict[str, Any], dict[str, Any]]:
    value: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    used: set[str] = set()
    reserved = _reserved(nodes)
    for node in _ordered(nodes, doc):
        if node.items or node.hidden:
            continue
        key = _fresh(node.key, properties)
        label = _label(node, used, doc, spoken_, reserved=reserved)
        if node.children:
            inner = _object(node.children, doc, spoken_, label)
            if inner[0]:
                value[key], properties[key] = inner
        else:
            value[key] = _text(node, doc, spoken_)
            properties[key] = _leaf(node, label)
    return value, {"title": title, "properties": properties}


def _ordered(nodes: Sequence[Node], doc: _Doc) -> list[Node]:
    """The fields as they stand, or one of them moved, or all of them anyhow."""
    found, rng = list(nodes), doc.rng
    draw = rng.random()
    if draw < 0.2:
        rng.shuffle(found)
    elif draw < 0.45 and len(found) > 2:
        found.insert(rng.randrange(len(found)), found.pop(rng.randrange(len(found))))
    return found


def _leaf(node: Node, label: str) -> dict[str, Any]:
    says = {"x-true": node.schema.get("x-true") or ["yes"], "x-false": node.schema.get("x-false") or ["no"]}
    return {"title": label, "node": node, **says}


def _union(items: Sequence[Sequence[Node]], doc: _Doc, spoken_: bool) -> dict[str, Any]:
    """The fields of a list's items, flat, by their path, each under one label."""
    properties: dict[str, Any] = {}
    used: set[str] = set()
    found = {path: node for item in reversed(items) for path, node in _flat(item, "")}
    reserved = _reserved(list(found.values()))
    for item in items:
        for path, node in _flat(item, ""):
            if path not in properties:
                properties[path] = _leaf(node, _label(node, used, doc, spoken_, path, reserved))
    return properties


def _flat(nodes: Sequence[Node], prefix: str) -> Iterator[tuple[str, Node]]:
    for node in nodes:
        path = f"{prefix}{_plain(node.key)}"
        if node.children:
            yield from _flat(node.children, f"{path}_")
        elif not node.hidden:
            yield path, node


def _item(item: Sequence[Node], inner: Mapping[str, Any], doc: _Doc, spoken_: bool) -> dict[str, Any]:
    values = {path: _text(node, doc, spoken_, inside=True) for path, node in _flat(item, "")}
    return {path: values[path] for path in inner if path in values}


def _plain(key: str) -> str:
    return "_".join(re.findall(r"[a-z0-9]+", " ".join(words_of(key)))) or "field"


def _fresh(key: str, taken: Mapping[str, Any]) -> str:
    plain = _plain(key)
    while plain in taken:
        plain += "_x"
    return plain


def _singular(label: str) -> str:
    if label.endswith("ies"):
        return f"{label[:-3]}y"
    return label[:-1] if label.endswith("s") and not label.endswith("ss") else label


def _label(
    node: Node, used: set[str], doc: _Doc, spoken_: bool, path: str = "", reserved: frozenset[str] = frozenset()
) -> str:
    """A label that no other field of the object has or is named by; a noun, where it goes into sentences."""
    options = [
        label for label in node.meaning.labels if not spoken_ or _noun(label) or hints(node.schema).get("labels")
    ]
    free = [label for label in options if label.lower() not in used]
    own = spoken(words_of(node.key))
    free = [label for label in free if label.lower() not in reserved or label.lower() == own.lower()]
    label = doc.rng.choice(free) if free else own if own.lower() not in used else spoken(words_of(path or node.key))
    used.add(label.lower())
    if spoken_:
        label = re.sub(r"\bno\.$", "number", label).replace("tel.", "phone").rstrip(".")
    return label or "value"


def _reserved(nodes: Sequence[Node]) -> frozenset[str]:
    """What no other field may be called: the names of all, and labels that would suit several of them."""
    suits = Counter(label for node in nodes for label in {label.lower() for label in node.meaning.labels})
    return frozenset(_own(node) for node in nodes) | {label for label, fields in suits.items() if fields > 1}


def _own(node: Node) -> str:
    return spoken(words_of(node.key)).lower()


def _noun(label: str) -> bool:
    """Whether "the {label} is" reads well: not for "by" and "seen by", but for "amount due"."""
    said = label.lower().split() or [""]
    first, last = said[0], said[-1]
    return first not in ("to", "what", "how", "before", "no") and last not in (
        _PREPOSITIONS if " " in label else _NO_NOUN
    )


# One value as text


def _text(node: Node, doc: _Doc, spoken_: bool, *, inside: bool = False) -> Any:
    value = node.value
    if node.items is not None:
        return "; ".join(
            " ".join(str(_text(n, doc, spoken_, inside=True)) for _, n in _flat(i, "")) for i in node.items
        )
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        return _list(node, value, doc, spoken_, inside)
    return _scalar(node, value, doc, spoken_, inside)


def _list(node: Node, value: list[Any], doc: _Doc, spoken_: bool, inside: bool) -> str:
    """The items of a list in one line, or a line each where the style has room for that."""
    if not value:
        return doc.rng.choice(["none", "n/a", "none"])
    texts = [_scalar(node, item, doc, spoken_) for item in value]
    long = any(len(text) > 24 or "," in text for text in texts)
    if not spoken_ and not inside and doc.style in _BLOCKS and doc.chance(0.8 if long else 0.4):
        mark = doc.rng.choice(["  - ", "  * ", "  {}. ", "  {}) "])
        return "".join("\n" + mark.format(number) + text for number, text in enumerate(texts, 1))
    if long:
        return doc.rng.choice(["; ", "; ", " / "]).join(texts)
    if spoken_ and len(texts) > 1:
        return f"{', '.join(texts[:-1])} and {texts[-1]}"
    return doc.rng.choice([", ", ", ", " / ", "; "]).join(texts)


def _scalar(node: Node, value: Any, doc: _Doc, spoken_: bool, inside: bool = False) -> str:
    rng = doc.rng
    if value is None or isinstance(value, dict | list):
        return "null" if value is None else "none" if not value else _deep(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _amount(node, value, doc, spoken_, inside)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return _date(value, rng, 0.85 if spoken_ else 0.6)
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value):
        return spell(value, {"format": "date-time"}, rng, 0.85 if spoken_ else 0.5)
    if match := re.fullmatch(r"(\d\d:\d\d)(:\d\d(Z?))?", value):
        return _clock(match, rng)
    if value in _options(node.schema) and re.search(r"[_-]", value):
        spaced = re.sub(r"[_-]", " ", value)
        return spaced if spoken_ else str(rng.choice([value, spaced, spaced.capitalize(), spaced.upper()]))
    if value in _options(node.schema) and not spoken_ and value.islower() and rng.random() < 0.4:
        return str(value).capitalize()
    return str(value)


def _options(schema: Mapping[str, Any]) -> list[Any]:
    return schema.get("enum") or []


def _deep(value: Any) -> str:
    items = value.values() if isinstance(value, dict) else value
    return ", ".join(_deep(item) if isinstance(item, dict | list) else str(item) for item in items)


def _date(value: str, rng: random.Random, rate: float) -> str:
    return spell(value, {"format": "date"}, rng, rate)


def _clock(match: re.Match[str], rng: random.Random) -> str:
    if match[2] and match[2][:3] != ":00":
        return match[0]
    zone = " UTC" if match[3] else ""
    return rng.choice([match[1], half_day(datetime.time.fromisoformat(match[1]))]) + zone


def _amount(node: Node, value: int | float, doc: _Doc, spoken_: bool, inside: bool) -> str:
    """A number: in words where it is small and spoken, grouped where it is large, with its unit or currency."""
    rng, told = doc.rng, node.meaning
    unit = told.unit
    if told.kind == "year" or "year" in words_of(node.key):
        return str(value)
    counted = told.kind == "int" and not unit and isinstance(value, int)
    if spoken_ and counted and 1 < value <= 20 and not inside and doc.chance(0.4):
        return words(int(value))
    money = told.kind == "money" or unit in _CURRENCIES or bool(not unit and _PAID & set(words_of(node.key)))
    large = (money or unit) and doc.grouped and abs(value) >= 1000
    plain = format(Decimal(str(value)), f"{',' if large else ''}{'.2f' if told.kind == 'money' and doc.cents else 'f'}")
    if money:
        shape = _money(unit, rng) if unit and unit not in doc.money else doc.money
        return shape.format(plain) if spoken_ or doc.chance(0.85) else plain
    if unit and (spoken_ or doc.chance(0.75)):
        return f"{plain}{unit}" if unit in ("%", "°C", "°F") and doc.chance(0.6) else f"{plain} {unit}"
    return plain


_PAID = frozenset(("salary", "price", "cost", "rent", "fee", "budget", "wage", "deposit", "pay", "costs"))
_CURRENCIES = {"EUR": "€", "USD": "$", "GBP": "£", "CHF": "CHF", "SEK": "kr"}


def _money(mark: str, rng: random.Random) -> str:
    """How amounts of a currency are written in one document."""
    sign = _CURRENCIES.get(mark, mark) if rng.random() < 0.4 else mark
    if not sign:
        return "{}"
    return f"{sign}{{}}" if len(sign) == 1 else rng.choice([f"{{}} {sign}", f"{sign} {{}}"])


# Sentences

_PLAIN = (
    "The {l} is {}.", "The {l} is {}.", "{L}: {}.", "{L} is {}.", "As for the {l}, it is {}.", "I noted {} as the {l}.",
    "For the {l} I have {}.", "The {l} should be {}.", "{L} would be {}.", "On the {l}: {}.", "We have {} as {l}.",
    "Please put down {} as the {l}.", "The {l} was given as {}.", "Under {l} it says {}.", "{}, that is the {l}.",
    "If you need the {l}, it is {}.", "{L} - {}.", "They told me the {l} is {}.",
)  # fmt: skip
_NUMBERS = (
    "The {l} is {}.", "The {l} is {}.", "{L}: {}.", "The {l} comes to {}.", "I have {} as the {l}.", "{L} is {}.",
    "For the {l} I see {}.", "The figure for the {l} is {}.", "With {} as the {l}.", "{L} - {}.",
    "We put the {l} at {}.",
)  # fmt: skip
_COUNTS = ("{L}: {}.", "There are {} {l}.", "The number of {l} is {}.", "We count {} {l}.", "In terms of {l}: {}.")
_LISTS = ("{L}: {}.", "{L}: {}.", "The {l} are {}.", "For {l} we have {}.", "Under {l} I have {}.")
_LONG = ("{L}: {}.", "About the {l}: {}.", "{L} - {}.", "As {l} I wrote: {}.", "{L}, word for word: {}.")
_BARE = ("{L}: {}.", "{L}: {}.", "{L} - {}.", "{L} {}.")
_EMPTY = ("There are no {l}.", "{L}: none.", "No {l} so far.", "{L}? None.")
_PAIRS = (
    "The {l} is {} and the {m} is {2}.", "{L}: {}, {m}: {2}.", "{L} {}, {m} {2}.", "The {l} is {}, the {m} {2}.",
    "With {} as the {l} and {2} as the {m}.", "{L} is {}; {m} is {2}.", "{L}: {}; {m}: {2}.",
)  # fmt: skip


class _Voice(Speaker):
    """Says list items of which some lack fields: each by the way that has all of its own."""

    def _items(self, path: str, items: list[Any], ways: list[str]) -> list[str]:
        schema = self.schema["properties"][path]["items"]
        said = []
        for place, item in enumerate(items):
            sentence = self._say(ways, item, schema, path)
            if len(items) > 1 and self._numbering == "ordinal" and place < 6:
                sentence = f"{_ORDINALS[place]}, {sentence[0].lower()}{sentence[1:]}"
            elif len(items) > 1 and self._numbering == "number":
                sentence = f"{schema['title']} {place + 1}: {sentence[0].lower()}{sentence[1:]}"
            said.append(sentence)
        return said


_ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth")


class _Talk:
    """Finds words for the fields of one document; every line has one way, drawn anew for each document."""

    def __init__(self, doc: _Doc, schema: Mapping[str, Any], value: Mapping[str, Any]) -> None:
        self.doc, self.rng, self.schema, self.value = doc, doc.rng, schema, value
        told = [sub["node"].meaning.says for sub in schema["properties"].values() if "node" in sub]
        self.shared = {says for says in told if told.count(says) > 1}
        self.long = sum(self._kind(sub) == "prose" for sub in schema["properties"].values() if "node" in sub)

    def lines(self) -> Iterator[tuple[str, str, list[str]]]:
        """The lines that `Speaker` says: plain fields first, then objects and lists."""
        flat = [key for key, sub in self.schema["properties"].items() if "node" in sub and key in self.value]
        while flat:
            if len(flat) > 1 and self.rng.random() < 0.3 and all(self._short(key) for key in flat[:2]):
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

    @staticmethod
    def _kind(sub: Mapping[str, Any]) -> str:
        return str(sub["node"].meaning.kind)

    def _short(self, key: str) -> bool:
        sub = self.schema["properties"][key]
        value = self.value[key]
        return isinstance(value, str) and len(value) < 30 and self._kind(sub) != "prose" and not self._many(sub)

    @staticmethod
    def _many(sub: Mapping[str, Any]) -> bool:
        return isinstance(sub["node"].value, list)

    def _pair(self, one: str, two: str) -> str:
        a, b = (self.schema["properties"][key]["title"] for key in (one, two))
        ways = _PAIRS if _noun(a) and _noun(b) else ("{L}: {}, {m}: {2}.", "{L}: {}; {m}: {2}.", "{L} {}, {m} {2}.")
        way = _agreed(_named(self.rng.choice(ways), a).replace("{m}", b), a, b)
        return way.replace("{}", f"{{{one}}}").replace("{2}", f"{{{two}}}")

    def _single(self, key: str) -> str:
        sub = self.schema["properties"][key]
        node, value, label = sub["node"], self.value[key], str(sub["title"])
        if isinstance(value, bool):
            return self._yes_no(node, value, label, key)
        if node.value == [] or node.value == {}:
            return _named(self.rng.choice(_EMPTY), label)
        says = [way for way in node.meaning.says if node.value != 1 or not re.search(r"\{\} [a-z]+s\b", way)]
        if says and node.meaning.says not in self.shared and not self._many(sub) and self.rng.random() < 0.55:
            return str(self.rng.choice(says)).replace("{}", f"{{{key}}}")
        return self._framed(sub, label).replace("{}", f"{{{key}}}")

    def _framed(self, sub: Mapping[str, Any], label: str) -> str:
        node, kind = sub["node"], self._kind(sub)
        if not _noun(label) and not isinstance(node.value, list):
            return _named(self.rng.choice(_BARE), label)
        if kind == "prose":
            if self.long == 1 and not isinstance(node.value, list) and self.rng.random() < 0.4:
                return "{}."
            return _named(self.rng.choice(_LONG), label)
        if self._many(sub):
            return _named(self.rng.choice(_LISTS), label)
        if isinstance(node.value, int | float):
            counted = (
                kind == "int"
                and node.value != 1
                and not node.meaning.unit
                and label.endswith("s")
                and "number" not in label
            )
            return _agreed(_named(self.rng.choice(_COUNTS if counted else _NUMBERS), label), label)
        return _agreed(_named(self.rng.choice(_PLAIN), label), label)

    def _yes_no(self, node: Node, value: bool, label: str, key: str) -> str:
        """A yes or a no: in the words of the schema, where it has some, else with one of the two in it."""
        own = node.schema.get("x-true" if value else "x-false")
        if own:
            verb = str(own[0]).split()[0] in ("is", "has", "was", "can", "comes", "does", "needs", "are", "will")
            return f"It {{{key}}}." if verb else _named(f"{{L}}: {{{key}}}.", label)
        first, said = words_of(node.key)[0], "yes" if value else "no"
        ways = [f"{{L}}: {said}.", f"{{L}}? {said.capitalize()}.", f"{{L}} - {said}.", f"As to {{l}}: {said}."]
        ways += [f"On the question of {{l}}: {said}.", f"{{L}}, {said}."]
        if first == "has":
            ways += ["Yes, there is {l}." if value else "There is no {l}."] * 3
        if first in ("is", "are") and " " not in label:
            ways += ["Yes, it is {l}." if value else "No, it is not {l}."] * 2
        if node.key.lower().endswith("allowed"):
            ways += ["Yes, {l}." if value else "No {l}."] * 2
        return _named(self.rng.choice(ways), label)

    def _nested(self, key: str, sub: Mapping[str, Any]) -> Iterator[str]:
        """One sentence for the leaves of a nested object, then those of the objects in it."""
        properties, value = sub["properties"], _reached(self.value, key)
        flat = [name for name, leaf in properties.items() if "node" in leaf and name in value]
        if flat:
            yield self._together(str(sub["title"]), [(f"{key}.{name}", properties[name]) for name in flat], value)
        for name, leaf in properties.items():
            if "properties" in leaf:
                yield from self._nested(f"{key}.{name}", {**leaf, "title": f"{sub['title']} {leaf['title']}"})

    def _together(self, noun: str, leaves: list[tuple[str, Mapping[str, Any]]], value: Mapping[str, Any]) -> str:
        parts = [f"{leaf['title']} {{{path}}}" for path, leaf in leaves]
        path, first = leaves[0]
        title, rest = noun[0].upper() + noun[1:], parts[1:]
        named = self._kind(first) in ("person", "company", "first")
        if named and self.rng.random() < 0.7:
            tail = self.rng.choice([f" ({', '.join(rest)})", f", {', '.join(rest)}"]) if rest else ""
            return self.rng.choice([f"The {noun} is {{{path}}}{tail}.", f"{title}: {{{path}}}{tail}."])
        ways = [
            f"{title}: {', '.join(parts)}.",
            f"{title} - {'; '.join(parts)}.",
            f"For the {noun}: {', '.join(parts)}.",
        ]
        return self.rng.choice(ways)

    def _entry(self, properties: Mapping[str, Any], item: Mapping[str, Any]) -> str:
        """One item of a list: "2 x desk lamp, price 30 each"-like where it counts things, else its labelled values."""
        keys = [key for key in properties if key in item]
        rest = list(keys)
        count = next((k for k in keys if k in ("quantity", "qty", "count", "pieces", "units")), "")
        thing = next((k for k in keys if self._kind(properties[k]) == "pick" and k != count), "")
        lead = ""
        if count and thing and self.rng.random() < 0.7:
            rest = [key for key in keys if key not in (count, thing)]
            lead = self.rng.choice(
                [f"{{{count}}} x {{{thing}}}", f"{{{count}}} pcs {{{thing}}}", f"{{{thing}}} ({{{count}}})"]
            )
        elif self._kind(properties[keys[0]]) != "bool" and self.rng.random() < 0.7:
            lead, rest = f"{{{keys[0]}}}", keys[1:]
        parts = [f"{properties[key]['title']} {{{key}}}" for key in rest]
        return f"{', '.join(filter(None, [lead, *parts]))}."


def _reached(value: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    for key in path.split("."):
        value = value[key]
    return value


def _named(way: str, label: str) -> str:
    return way.replace("{l}", label).replace("{L}", label[0].upper() + label[1:])


_PLURAL = {" is ": " are ", " was ": " were ", " comes ": " come ", "it is ": "they are "}


def _agreed(way: str, *labels: str) -> str:
    """The sentence with its verbs in the plural behind plural labels."""
    for label in labels:
        if label.endswith("s") and not label.endswith(("ss", "us", "is", "'s")) and "number" not in label:
            for one, many in _PLURAL.items() if f"number of {label}" not in way else ():
                way = way.replace(f"{label}{one}", f"{label}{many}").replace(f"{label}, {one}", f"{label}, {many}")
                way = re.sub(rf"(?i)(?<={re.escape(label)}){one}", many, way)
    return way


# Styles of their own


def _up(text: str) -> str:
    return text[0].upper() + text[1:]


def _split(doc: _Doc) -> tuple[list[Node], list[Node]]:
    """Some of the fields to tell, and the rest to list."""
    told = [node for node in doc.nodes if not node.items and doc.chance(0.45)]
    return told, [node for node in doc.nodes if all(node is not one for one in told)]


def _listing_of(doc: _Doc, nodes: Sequence[Node]) -> list[str]:
    fields, items = folded(doc.parts(nodes))
    mark, bullet = doc.rng.choice([": ", ": ", " - ", " = "]), doc.rng.choice(["", "- ", "* ", "• "])
    lines = [f"{bullet}{_up(f.label)}{mark}{f.text}" for f in fields]
    for group in groups(items):
        lines += ["", f"{_up(group[0].group)}:"]
        lines += [f"{n}. " + "; ".join(f"{f.label} {f.text}" for f in item.fields) for n, item in enumerate(group, 1)]
    return lines[1:] if lines and not lines[0] else lines


def memo(page: Page) -> str:
    """A mail or letter that tells some things and lists the rest."""
    doc = _doc(page)
    told, rest = _split(doc)
    rng, said = doc.rng, doc.sentences(told) if told else []
    name, other = doc.source.person(), doc.source.person()
    head = [f"From: {name.name}", f"To: {rng.choice(['office', 'team', other.name])}"] if doc.chance(0.5) else []
    head += [f"Subject: {_up(doc.about())}"] if head or doc.chance(0.4) else []
    lead = rng.choice(["Here are the details:", "In short:", "The facts:", "What I have so far:", "Please see below."])
    hello = rng.choice([f"Hi {other.first},", "Hello,", "Dear all,", f"Dear {other.name},", "Good afternoon,"])
    bye = rng.choice(["Best", "Thanks", "Kind regards", "BR", "Many thanks and see you soon", "Yours"])
    blocks = ["\n".join(head), hello, " ".join(said), "\n".join([lead, *_listing_of(doc, rest)] if rest else [])]
    blocks.append(f"{bye},\n{name.first}" if not _taken(doc.nodes) & {"name", "sender"} else f"{bye},\nthe office")
    return "\n\n".join(block for block in blocks if block)


def letter(page: Page) -> str:
    """A formal letter with a reference line, and a block of particulars."""
    doc = _doc(page)
    told, rest = _split(doc)
    rng = doc.rng
    opening = rng.choice(
        ["we refer to our conversation and are pleased to confirm the following", "thank you for your message",
         "please find the particulars below", "we write to you about {about}", "further to your request about {about}"]
    ).replace("{about}", doc.about())  # fmt: skip
    said = " ".join(doc.sentences(told)) if told else ""
    block = "\n".join(_listing_of(doc, rest))
    end = rng.choice(["Yours faithfully", "Yours sincerely", "With kind regards", "Respectfully"])
    close = rng.choice(["Please contact us with any questions.", "We look forward to your reply.", ""])
    subject = f"Re: {doc.about()}" if doc.chance(0.5) else ""
    parts = [subject, f"Dear {rng.choice(['Sir or Madam', 'colleagues', 'customer', 'friends'])},"]
    parts += [f"{opening}. {said}".strip(), block, close, end]
    return "\n\n".join(part for part in parts if part)


def record(page: Page) -> str:
    """What one copies from a web page or an app: a label, and its value on the next line or behind a tab."""
    doc = _doc(page)
    rng, gap = doc.rng, doc.rng.choice(["\n", "\n", "\t", "  "])
    lines = [rng.choice(["Home > Records > Details", "Back | Edit | Print", "Overview   Details   History"])]
    lines = (lines if doc.chance(0.5) else []) + ([_up(str(doc.schema["title"]))] if doc.chance(0.5) else [])
    for section in doc.parts():
        if section.number:
            lines.append(f"{_up(section.title)} {section.number}")
        elif section.title and section.fields:
            lines.append(_up(section.title))
        lines += [f"{_up(f.label)}{gap}{f.text}" for f in section.fields] + ([""] if section.number else [])
    if doc.chance(0.3):
        lines.append(rng.choice(["Share   Save   Report", "© all rights reserved", "Was this helpful?", "Show more"]))
    return "\n".join(lines)


def scribble(page: Page) -> str:
    """Short notes in a row, as one jots them down: fields parted by commas, slashes or line breaks."""
    doc = _doc(page)
    fields, items = folded(doc.parts())
    mark, gap = doc.rng.choice([" ", ": ", " = "]), doc.rng.choice([", ", " / ", "\n", " // ", "; "])
    lower = str.lower if doc.chance(0.6) else str
    lines = [gap.join(f"{lower(f.label)}{mark}{f.text}" for f in fields)]
    bullet = doc.rng.choice(["-", "+", ">", "*"])
    for group in groups(items):
        lines += [f"{lower(group[0].group)}:"] if len(groups(items)) > 1 or doc.chance(0.5) else []
        lines += [f"{bullet} " + ", ".join(f"{lower(f.label)} {f.text}" for f in item.fields) for item in group]
    head = doc.rng.choice(["", "", "note to self: ", "re " + doc.about() + ": ", "tel. note - ", "TODO file: "])
    return head + "\n".join(lines)


def thread(page: Page) -> str:
    """An answer above the mail that asked for it."""
    doc = _doc(page)
    rng, said = doc.rng, doc.sentences()
    asker = doc.source.person().first
    ask = rng.choice(["could you send me the details of {a}?", "what is the state of {a}?", "any news on {a}?"])
    asked = [f"> {rng.choice(['Hi', 'Hello', 'Hey'])},", f"> {ask.replace('{a}', doc.about())}"]
    asked += [f"> {doc.stray_remark()}"] if doc.chance(0.4) else []
    cut = rng.randint(1, max(1, len(said) - 1))
    head = rng.choice([f"Hi {asker},", "Sure,", "Here you go.", "Hello again,", "See my answer here:"])
    body = "\n".join([head, "", " ".join(said[:cut]), *([" ".join(said[cut:])] if said[cut:] else [])])
    wrote = rng.choice([f"{asker} wrote:", "-----Original Message-----", doc.filled(f"On DAY, {asker} wrote:")])
    return f"{body}\n\n{wrote}\n" + "\n".join(asked)


def _doc(page: Page) -> _Doc:
    assert isinstance(page, _Doc)
    return page


STYLES: dict[str, Callable[[Page], str]] = {
    **styles.TRAINED,
    **{style.__name__: style for style in (memo, letter, record, scribble, thread)},
}
"""All styles of documents, by name."""
