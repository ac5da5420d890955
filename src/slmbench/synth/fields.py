"""What a field of anyone's schema means: which kind of value it holds, what people call it, how they speak of it.

A field's name is looked up in `fields.json`, whole or by its last words, with what holds it ("customer name") and
without; its format, type and description say the rest. Kinds are those of `kinds.py`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slmbench.schema import properties_of, resolve
from slmbench.synth import free
from slmbench.synth.clauses import heads

_FORMATS = {
    "date": "date 0 30", "date-time": "moment", "time": "time zoned", "email": "email", "uri": "url", "url": "url",
    "uuid": "uuid", "ipv4": "ip", "ipv6": "ip6", "hostname": "pick hosts",
}  # fmt: skip
_PEOPLE = (
    "patient", "customer", "client", "candidate", "applicant", "person", "contact", "contacts", "author", "tenant",
    "landlord", "guest", "guests", "reporter", "recipient", "attendees", "participants", "employee", "owner", "agent",
    "doctor", "driver", "buyer", "personal", "organizer", "speaker", "people", "users", "user", "signatory", "members",
)  # fmt: skip
_COMPANIES = (
    "company", "employer", "vendor", "supplier", "seller", "sender", "carrier", "organization", "merchant", "agency",
    "shipper", "consignee", "lab", "laboratory", "shop", "issuer",
)  # fmt: skip
_LONG = re.compile(r"\b(free text|paragraph|sentences?|in detail|full text|long)\b", re.IGNORECASE)
_UNIT_SAID = re.compile(r"\b(?:in|measured in) ([A-Za-z°%µ²/]+(?: [a-z]+)?)\W*$")
_LONG_UNITS = {
    "euros": "EUR", "euro": "EUR", "dollars": "USD", "us dollars": "USD", "pounds": "GBP", "square meters": "m²",
    "square metres": "m²", "kilograms": "kg", "grams": "g", "minutes": "minutes", "hours": "hours", "days": "days",
    "degrees celsius": "°C", "celsius": "°C", "percent": "%", "kilometers": "km", "kilometres": "km",
    "months": "months", "weeks": "weeks", "years": "years", "meters": "m", "metres": "m", "centimeters": "cm",
    "litres": "l", "seconds": "s",
}  # fmt: skip


@dataclass(frozen=True)
class Meaning:
    """What a field means.

    `kind` and `args` say which value it holds, `labels` what it may be called, `says` whole sentences with {} for the
    value, `unit` what its number is followed by; `group` holds the words that tell whose it is ("customer" of
    customer_email); `known` is False where nothing but its type says anything.
    """

    kind: str
    args: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    unit: str = ""
    group: str = ""
    known: bool = True


@functools.cache
def table() -> dict[str, Any]:
    """`fields.json`: themes, nouns, fields, choices, prose, units, and words with a spelling of their own."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "fields.json").read_text(encoding="utf-8"))
    return found


@functools.cache
def _entries() -> dict[str, tuple[str, str, str]]:
    """(kind, labels, sentences) of every name in the table."""
    found: dict[str, tuple[str, str, str]] = {}
    for names, kind, labels, *says in table()["fields"]:
        for name in names.split("|"):
            found.setdefault(name, (kind, labels, says[0] if says else ""))
    return found


def words_in(key: str) -> list[str]:
    """The words in a key or a title, in lower case.

    Unlike those of `schema.words_of`, which finds labels in a document, they say what a field means: a unit such as m2
    is one word, and capitals in a row are a word of their own.

    >>> words_in("VATRate_m2")
    ['vat', 'rate', 'm2']
    """
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", key)
    return [word.lower() for word in re.split(r"[\W_]+", parted) if word]


def spoken(words: Sequence[str]) -> str:
    """Words as people write them: ["vat", "id"] is "VAT ID"."""
    return " ".join(table()["spelled"].get(word, word) for word in words)


def theme_of(schema: Mapping[str, Any], name: str = "") -> str:
    """What documents of a schema are about, by the words of its keys and titles; "" where none of the themes fits."""
    heads = words_in(f"{name} {schema.get('title', '')} {schema.get('description', '')}")
    keys = [word for key in keys_of(schema, schema) for word in words_in(key)]
    scores = {}
    for theme, known in table()["themes"].items():
        vocabulary = set(known.split())
        scores[theme] = 3 * sum(word in vocabulary for word in heads) + sum(word in vocabulary for word in keys)
    best = max(scores, key=lambda theme: scores[theme])
    return best if scores[best] >= 2 else ""


def keys_of(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[str]:
    """The keys of a schema and of what it holds."""
    schema = resolve(schema, root)
    for key, sub in properties_of(schema, root).items():
        yield key
        if isinstance(sub, dict):
            yield from keys_of(sub, root)
    if isinstance(schema.get("items"), dict):
        yield from keys_of(schema["items"], root)


def hints(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the schema says under `x-slmbench`."""
    said = schema.get("x-slmbench")
    return said if isinstance(said, Mapping) else {}


def meaning(key: str, schema: Mapping[str, Any], parent: str = "") -> Meaning:
    """What the field `key` means; `parent` is the key of what holds it, "" at the top."""
    return _meaning(key, json.dumps(schema, sort_keys=True), parent)


@functools.lru_cache(maxsize=4096)
def _meaning(key: str, schema_text: str, parent: str) -> Meaning:
    schema = json.loads(schema_text)
    words, unit = _parted(words_in(key), schema)
    found, group = _looked_up(words, [singular(word) for word in words_in(parent)])
    told = _described(schema, words, found)
    if told:
        found = (told, *(found[1:] if found and found[0].split()[:2] == told.split()[:2] else ("", "")))
    kind, labels, says = found or _guessed(schema, words)
    if found is None and unit in ("EUR", "USD", "GBP", "CHF"):
        kind = "money 20 4000"
    if "enum" in schema and kind.split()[0] != "pick":
        kind = "pick options"
    kind = _FORMATS.get(str(schema.get("format")), kind) if not _dated(kind, schema) else kind
    if "derive" in hints(schema) or "labels" in hints(schema):
        labels = says = ""
    fitting = _for_type(kind, schema)
    if fitting.split()[0] != kind.split()[0] and fitting.split()[0] != "int":
        labels = says = ""
    kind = fitting if fitting != "pick things" else " ".join([fitting, *_nouns(words, schema)])
    name, *args = kind.split()
    own_unit = _unit_of(name, args)
    return Meaning(
        name, tuple(args), _labels(words, group, labels, schema), tuple(filter(None, says.split("|"))),
        unit or own_unit, group, known=found is not None or "format" in schema,
    )  # fmt: skip


def _described(schema: Mapping[str, Any], key_words: Sequence[str], found: tuple[str, str, str] | None) -> str:
    """The kind of a text by the nouns of its description, else, where the table does not know it, of its name."""
    if schema.get("type") != "string" or "format" in schema:
        return ""
    known: dict[str, str] = free.words()["heads"]
    told = [noun for noun in heads(str(schema.get("description", ""))) if singular(noun) in known]
    if not told:
        own = singular(key_words[-1]) if key_words else ""
        return known.get(own, "") if found is None else ""
    kind = known[singular(told[0])]
    # "Number" says less than most names do, and the table knows how a kind of number is written.
    weak = kind.startswith("code") and found is not None and found[0].split()[0] != "pick"
    return "" if weak or (found and found[0].split()[0] == kind.split()[0] != "pick") else kind


_NO_HEADS = frozenset((
    "text", "value", "entry", "kind", "number", "thing", "name", "data", "info", "detail", "list", "string", "field",
    "other", "way", "one", "word", "extra", "note", "line", "goe", "goes", "been", "have", "done", "were", "that",
))  # fmt: skip


def _nouns(key_words: Sequence[str], schema: Mapping[str, Any]) -> list[str]:
    """What things of a field are called, by its description or else by its key."""
    said = [singular(noun) for noun in heads(str(schema.get("description", "")))] or [
        singular(w) for w in key_words[-1:]
    ]
    return [noun for noun in said if len(noun) > 2 and noun not in _NO_HEADS and not noun.endswith("ed")][:3]


def _dated(kind: str, schema: Mapping[str, Any]) -> bool:
    """Whether the table knows better than the format which dates are meant."""
    return schema.get("format") == "date" and kind.split()[0] in ("date", "born")


def _unit_of(kind: str, args: list[str]) -> str:
    places = {"int": 2, "dec": 3}.get(kind)
    if kind == "money" or places is None or len(args) <= places:
        return ""
    unit = " ".join(args[places:])
    del args[places:]
    return unit


def _parted(words: list[str], schema: Mapping[str, Any]) -> tuple[list[str], str]:
    """The words of a key without its unit, and the unit: that of the key or of the description's end."""
    if schema.get("type") in ("integer", "number"):
        if len(words) > 1 and words[-1] in table()["units"] and _is_unit(words):
            return words[:-1], table()["units"][words[-1]]
        match = _UNIT_SAID.search(re.split(r"[,;.(]", str(schema.get("description", "")))[0])
        if match:
            said = match[1].lower()
            return words, _LONG_UNITS.get(said) or table()["units"].get(said, "")
    return words, ""


def _is_unit(words: Sequence[str]) -> bool:
    """Whether a last word that may be a unit is one: duration_min and temp_c end in units, salary_min and vitamin_c
    do not."""
    before = " ".join(words[:-1])
    if words[-1] in ("c", "f"):
        return "temp" in before
    return words[-1] != "min" or re.search(r"duration|time|length|wait|delay|walk|drive", before) is not None


def singular(word: str) -> str:
    """One of what a plural names: "parties" is "party", "address" stays as it is."""
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us")) else word


def _looked_up(words: list[str], above: list[str]) -> tuple[tuple[str, str, str] | None, str]:
    """The table's entry of the longest run of last words, and the words before them."""
    if words == ["name"] or words == ["full", "name"]:
        holder = above[-1] if above else ""
        if holder in {singular(word) for word in _PEOPLE}:
            return ("person", "name|full name", ""), ""
        if holder in {singular(word) for word in _COMPANIES}:
            return ("company", "name|company", ""), ""
    entries = _entries()
    for run in ([*above[-1:], *words], words):
        if " ".join(run) in entries and (run == words or len(words) == 1):
            return entries[" ".join(run)], ""
    for start in range(1, len(words)):
        name = " ".join(words[start:])
        if name in entries:
            if name == "name":
                holder = words[start - 1]
                kind = "company" if holder in _COMPANIES else "person" if holder in _PEOPLE else "pick things"
                return (kind, "name", ""), " ".join(words[:start])
            return entries[name], " ".join(words[:start])
    return None, ""


_LAST_WORDS = {
    "on": "date 0 30", "at": "moment", "by": "person",
    **dict.fromkeys(("code", "key", "no", "nr"), "code @@-####|#####|@##-###"),
}  # fmt: skip


def _guessed(schema: Mapping[str, Any], words: Sequence[str]) -> tuple[str, str, str]:
    """A kind from the type and the last word alone."""
    last = words[-1] if words else ""
    if schema.get("type") == "integer":
        return "int 1 60", "", ""
    if schema.get("type") == "number":
        return "dec 1 120 1", "", ""
    if last in _LAST_WORDS:
        return _LAST_WORDS[last], "", ""
    long = schema.get("minLength", 0) > 60 or schema.get("maxLength", 0) > 300
    if long or _LONG.search(str(schema.get("description", ""))):
        return "prose summary", "", ""
    return "pick things", "", ""


_NUMERIC = ("int", "dec", "money", "year", "pickint")
_COUNTS = ("int", "dec", "pickint")
_NUMBER_SAID = re.compile(r"\b(?:number|how many|how much|count|digits?|figure)\b", re.IGNORECASE)


def _units_said(kind: str) -> bool:
    """Whether a kind's number stands with a unit, as a text may have it."""
    name, *args = kind.split()
    return name == "pickint" or bool(_unit_of(name, args))


def _for_type(kind: str, schema: Mapping[str, Any]) -> str:
    """The kind, or the nearest one that the schema's type allows."""
    name, description = kind.split()[0], str(schema.get("description", ""))
    kinds = schema.get("type")
    numeric = kinds in ("integer", "number")
    if kinds == "boolean":
        return "bool"
    if numeric and name not in _NUMERIC:
        return "year 1990 2025" if name == "date" else "int 1 60" if kinds == "integer" else "dec 1 120 1"
    if kinds == "string" and name in _COUNTS and not _units_said(kind) and not _NUMBER_SAID.search(description):
        # A count that is a text is none: "quantity" may be what was measured as well as "250 g".
        return "pick things" if description else "pick quantities"
    if kinds == "integer" and name in ("dec", "money"):
        return " ".join(["int", *kind.split()[1:3]])
    return kind


def _labels(words: Sequence[str], group: str, table_labels: str, schema: Mapping[str, Any]) -> tuple[str, ...]:
    """What the field may be called: what its hints say, or its own words, its title, short descriptions, synonyms."""
    own = hints(schema).get("labels")
    if isinstance(own, list) and own:
        return tuple(str(label) for label in own)
    # A description or a title is somebody's own word for it, and a nested object has no other.
    plain = spoken(_asked(words) if schema.get("type") == "boolean" else words)
    found = [plain, plain]
    if schema.get("title"):
        found += [_lower_first(str(schema["title"]))] * 2
    if "enum" not in schema:
        found += _short(str(schema.get("description", "")))
    table_labels = "" if schema.get("type") == "object" else table_labels
    found += [f"{spoken(group.split())} {label}".strip() for label in table_labels.split("|") if label]
    return tuple(label.strip(" .:") if not label.endswith("no.") else label for label in found if label.strip())


def _asked(words: Sequence[str]) -> list[str]:
    """The words of a yes-or-no key without the verb at their front: is_furnished, has_balcony."""
    rest = [*words]
    while len(rest) > 1 and rest[0] in ("is", "has", "was", "are", "have"):
        rest = rest[1:]
    return rest


_NO_LABEL = (
    "whether",
    "how",
    "if",
    "when",
    "what",
    "one",
    "each",
    "every",
    "all",
    "any",
    "who",
    "where",
    "true",
    "number",
)


def _short(description: str) -> list[str]:
    """A description of a few words, without its article and unit, as one more label."""
    text = _UNIT_SAID.sub("", description.split(".")[0].split(",")[0].split("(")[0])
    text = re.sub(r"^(the|a|an) ", "", text.strip(), flags=re.IGNORECASE).strip(" .:;")
    if not re.fullmatch(r"[A-Za-z][A-Za-z' -]{1,27}", text) or not 1 <= len(text.split()) <= 4:
        return []
    return [] if text.split()[0].lower() in _NO_LABEL else [_lower_first(text)]


def _lower_first(text: str) -> str:
    return text if text[1:2].isupper() or not text else text[0].lower() + text[1:]
