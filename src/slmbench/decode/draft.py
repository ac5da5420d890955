"""Guesses at what an extractor writes next, from the schema and the document; a wrong one costs time, never an answer.

A guess is text. `Drafter.draft` chains guesses, each behind what the grammar forces: a value, its closing quote, the
next key, the next value, so that one pass of the model can check several fields. Sources are plain functions of where
the output stands (`Place`); the first that has an answer is taken.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slmbench.decode.bounds import LONGEST_NUMBER
from slmbench.decode.cursor import Cursor, plain, spelt
from slmbench.schema import properties_of, resolve, words_of

LONGEST = 400
"""Characters of a copied value at most."""
_END = re.compile(r"\n|\t|  |[;|]|, |\. |\.\n|\.$| \(|\)|\"| \.{2,}")
"""Where a value in a document probably ends."""
_GAP = re.compile(r"[\s:=*_#>|.\-–—\"'(\[]*(?:(?:is|are|was|of|the|at|on|by|in)\b[\s:\"']*)*", re.IGNORECASE)
"""What may stand between a label and its value."""
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?")
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec"
_DATE = re.compile(
    r"(?P<iso>\d{4}-\d\d-\d\d)|(?P<d>\d{1,2})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<m>[A-Z][a-z]{2,8})\.?,?\s+(?P<y>\d{4})"
    r"|(?P<m2>[A-Z][a-z]{2,8})\.?\s+(?P<d2>\d{1,2})(?:st|nd|rd|th)?,?\s+(?P<y2>\d{4})"
)
_YES = re.compile(r"\b(?:yes|true|on|enabled|active|x|done)\b|\[x\]|✓", re.IGNORECASE)
_NO = re.compile(r"\b(?:no|not|false|off|disabled|inactive|none|unpaid)\b|\[ \]|✗", re.IGNORECASE)
_SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s,\[\]{}"]+')
_FOLLOWS = re.compile(r',"(?:[^"\\]|\\.)*":|}')
_MORE = re.compile(r"\s*(?:,|;|/|and\b|&|\n\s*(?:[-*•]|\d+[.)])?)\s*(?:and\s+)?", re.IGNORECASE)
"""What stands between the items of a list."""


@dataclass(frozen=True)
class Place:
    """Where the output stands: the cursor, the schema of the value there, where in the document was last read, and what
    is written."""

    cursor: Cursor
    schema: Mapping[str, Any]
    root: Mapping[str, Any]
    document: str
    at: int
    written: str = ""

    @property
    def key(self) -> str:
        """The nearest key above."""
        return next((key for key in reversed(self.cursor.path) if key), "")

    @property
    def kinds(self) -> set[str]:
        """The JSON types that the value may have."""
        kind = self.schema.get("type", "object" if "properties" in self.schema else "string")
        return set(kind) if isinstance(kind, list) else {str(kind)}

    @property
    def items_before(self) -> str:
        """In an object of a list: the list's items before it, as they are written."""
        frames = self.cursor.frames
        if len(frames) < 2 or (frames[-2].bracket, frames[-1].bracket) != ("[", "{"):
            return ""
        return self.written[frames[-2].opened : frames[-1].opened - 1]


Source = Callable[[Place], str | None]


def copied(place: Place) -> str | None:
    """The rest of a string whose beginning stands in the document, up to where the value seems to end."""
    if place.cursor.place != "string" or not (partial := plain(place.cursor.partial)):
        return None
    for begin in _places(place.document, partial, place.at, _label_ends(place)):
        rest = place.document[begin + len(partial) : begin + len(partial) + LONGEST]
        end = _END.search(rest)
        return spelt(rest[: end.start()] if end else rest) + '"'
    return None


def enumerated(place: Place) -> str | None:
    """A value of an enum that the document names, the one nearest behind the field's label or the last place read."""
    values = place.schema.get("enum")
    if place.cursor.place not in ("value", "string") or not isinstance(values, list):
        return None
    begun = place.cursor.partial if place.cursor.place == "string" else None
    texts = [v for v in values if isinstance(v, str) and (begun is None or spelt(v).startswith(begun))]
    low = place.document.lower()
    start = next(iter(_label_ends(place)), place.at)
    found = [(i, v) for v in texts if (i := _behind(low, v.lower().replace("_", " "), v.lower(), start)) >= 0]
    if not found:
        return None
    value = min(found)[1]
    return json.dumps(value, ensure_ascii=False) if begun is None else spelt(value)[len(begun) :] + '"'


def labelled(place: Place) -> str | None:
    """What stands behind the field's label in the document; in a list, what stands behind the item before."""
    if place.cursor.place != "value" or "enum" in place.schema:
        return None
    if place.cursor.within == "[" and place.kinds & {"string", "number", "integer"}:
        between = _MORE.match(place.document, place.at)
        return _value(place, between.end()) if between else None
    for end in _label_ends(place):
        return _value(place, end)
    return _value(place, place.at) if place.kinds & {"number", "integer"} or _dated(place) else None


def number(place: Place) -> str | None:
    """The rest of a number that the document has."""
    if place.cursor.place != "scalar" or not re.fullmatch(r"-?\d+(\.\d*)?", place.cursor.partial):
        return None
    starts = [*_label_ends(place), place.at, 0]
    for start in starts:
        for match in _NUMBER.finditer(place.document, start):
            text = _as_number(match.group(), place.kinds)
            if text.startswith(place.cursor.partial) and len(text) > len(place.cursor.partial):
                return text[len(place.cursor.partial) :]
            if match.start() > start + LONGEST:
                break
    return None


def next_item(place: Place) -> str | None:
    """Whether a list goes on, by what follows the last value in the document."""
    if place.cursor.place not in ("after", "scalar") or place.cursor.within != "[":
        return None
    if "properties" in place.schema:
        names = list(place.schema["properties"])
        first = names_of(names[0], resolve(place.schema["properties"][names[0]], place.root)) if names else ()
        again = any(place.at < end for end in _ends_of_label(place.document, first, place.at))
        return ',{"' if again else "]"
    match = _MORE.match(place.document, place.at)
    return "," if match and match.end() > place.at and match.end() < len(place.document) else "]"


def next_key(place: Place) -> str | None:
    """The next property that is required or whose label the document has; none left: the end of the object."""
    cursor = place.cursor
    if not cursor.frames or cursor.within != "{" or cursor.place not in ("after", "scalar", "key"):
        return None
    owner = schema_at(place.root, cursor.path[:-1])
    fields = properties_of(owner, place.root)
    names = list(fields)
    done = cursor.frames[-1].keys
    required = set(owner.get("required", ()))
    left = names[names.index(done[-1]) + 1 :] if done and done[-1] in names else names if not done else []
    begun = plain(cursor.partial) if cursor.quoted else ""
    lead = "" if cursor.quoted else '"' if cursor.place == "key" else ',"'
    for name in left:
        field = resolve(fields[name], place.root)  # which may be `true`
        if name.startswith(begun) and (begun or name in required or _has_label(place.document, name, field)):
            return lead + spelt(name)[len(begun) :] + '":'
    return None if cursor.place == "key" else "}"


def same_key(place: Place) -> str | None:
    """The key that followed the present one in the list's item before."""
    cursor, before = place.cursor, place.items_before
    if not before or cursor.place not in ("after", "scalar") or not cursor.frames[-1].keys:
        return None
    value = _last_value(before, cursor.frames[-1].keys[-1])
    follows = _FOLLOWS.match(before, value.end()) if value else None
    return follows.group() if follows else None


def same_value(place: Place) -> str | None:
    """The value that the present key had in the list's item before."""
    if place.cursor.place != "value" or not (before := place.items_before):
        return None
    value = _last_value(before, place.cursor.frames[-1].key)
    return value.group() if value else None


SOURCES: tuple[tuple[str, Source], ...] = (
    ("enum", enumerated), ("label", labelled), ("copy", copied), ("number", number), ("list", next_item),
    ("again", same_key), ("key", next_key), ("again", same_value),
)  # fmt: skip


class Drafter:
    """Drafts for one document under one schema, as its output grows.

    Args:
        schema: the root schema; None where the output is free: then nothing is known of keys.
        document: the text that values are copied from.
        tokenize: text -> token ids.
    """

    def __init__(
        self, schema: Mapping[str, Any] | None, document: str, tokenize: Callable[[str], list[int]],
        sources: tuple[tuple[str, Source], ...] = SOURCES,
    ) -> None:  # fmt: skip
        self.schema, self.document, self.tokenize, self.sources = schema or {}, document, tokenize, sources
        self.cursor = Cursor()
        self.written = ""
        self.at = 0

    def accept(self, text: str) -> None:
        """Go on behind what was written."""
        self.at = self._feed(self.cursor, text, self.at)
        self.written += text

    def draft(self, matcher: Any, limit: int) -> tuple[str, list[tuple[int, str]]]:
        """(text, [(its length up to here, source)]) of what may follow, in at least `limit` tokens if that much is
        known. `matcher` knows the grammar and stays where it is; None where there is none."""
        ahead = matcher.deep_copy() if matcher is not None else None
        cursor, at = self.cursor.clone(), self.at
        text, marks, tokens = "", [], 0
        while tokens < limit:
            piece, source = self._piece(ahead, cursor, at, self.written + text)
            if not piece:
                break
            ids = self.tokenize(piece)
            if ahead is not None:
                taken = ahead.try_consume_tokens(ids)
                if taken < len(ids):
                    break
            at = self._feed(cursor, piece, at)
            text += piece
            tokens += len(ids)
            marks.append((len(text), source))
            if not cursor.frames:
                break
        return text, marks

    def _piece(self, ahead: Any, cursor: Cursor, at: int, written: str) -> tuple[str, str]:
        """What is forced or guessed here, and by whom."""
        if ahead is not None and (forced := ahead.compute_ff_bytes()):
            try:
                return forced.decode(), "forced"
            except UnicodeDecodeError:
                return "", ""
        place = Place(cursor, schema_at(self.schema, cursor.path), self.schema, self.document, at, written)
        for name, source in self.sources:
            if piece := source(place):
                return piece, name
        return "", ""

    def _feed(self, cursor: Cursor, text: str, at: int) -> int:
        """Feed a cursor and return where in the document its values now end."""
        cursor.feed(text)
        for value in filter(None, cursor.closed):
            for begin in _places(self.document, value, at, ()):
                at = begin + len(value)
                break
        cursor.closed.clear()
        return at


def schema_at(root: Mapping[str, Any], path: tuple[str | None, ...]) -> Mapping[str, Any]:
    """The schema of the value at a path of keys (None: an item of an array); empty where it is not known."""
    schema: Any = resolve(root, root)
    for step in path:
        if step == "":
            return {}
        schema = schema.get("items", {}) if step is None else properties_of(schema, root).get(step, {})
        schema = resolve(schema, root)
        if not isinstance(schema, Mapping):
            return {}
    return schema  # type: ignore[no-any-return]


def _last_value(items: str, key: str) -> re.Match[str] | None:
    """The last scalar under a key in a piece of canonical JSON."""
    found = items.rfind(start := f'"{spelt(key)}":')
    return _SCALAR.match(items, found + len(start)) if found >= 0 else None


def _places(document: str, text: str, at: int, labels: Iterator[int] | tuple[int, ...]) -> Iterator[int]:
    """Where `text` stands in the document: behind the field's label, after the last place read, anywhere."""
    for end in labels:
        if document.startswith(text, end):
            yield end
    for start in (at, 0):
        while (found := document.find(text, start)) >= 0:
            if found == 0 or not (document[found - 1].isalnum() and text[0].isalnum()):
                yield found
                break
            start = found + 1


def _label_ends(place: Place) -> Iterator[int]:
    """Where values behind the field's label begin, the next one after the last place read first."""
    if place.key:
        yield from _ends_of_label(place.document, names_of(place.key, place.schema), place.at)


def names_of(key: str, schema: Mapping[str, Any]) -> tuple[str, ...]:
    """What a document may call a field: its key, its title, and what the schema lists under `x-labels`."""
    more = schema.get("x-labels")
    listed = [name for name in more if isinstance(name, str)] if isinstance(more, list) else []
    title = schema.get("title")
    return tuple(dict.fromkeys([key, *([title] if isinstance(title, str) else []), *listed[:8]]))


def _ends_of_label(document: str, names: tuple[str, ...], at: int) -> Iterator[int]:
    pattern = _label(names)
    if pattern is None:
        return
    for start, stop in ((at, len(document)), (0, at)):
        for match in pattern.finditer(document, start, stop):
            yield _GAP.match(document, match.end()).end()  # type: ignore[union-attr]


@functools.lru_cache(maxsize=4096)
def _label(names: tuple[str, ...]) -> re.Pattern[str] | None:
    spoken = [r"[\s_\-]*".join(map(re.escape, words)) for name in names if (words := words_of(name))]
    return re.compile(rf"\b(?:{'|'.join(spoken)})\w{{0,2}}\b", re.IGNORECASE) if spoken else None


def _has_label(document: str, key: str, schema: Mapping[str, Any]) -> bool:
    pattern = _label(names_of(key, schema))
    return pattern is not None and pattern.search(document) is not None


def _behind(document: str, spoken: str, exact: str, start: int) -> int:
    """The place of a word at or behind `start`, else anywhere but later than all those; -1 where it is not there."""
    for text in (exact, spoken):
        found = document.find(text, start)
        if found >= 0:
            return found
        if (found := document.find(text)) >= 0:
            return found + len(document)
    return -1


def _value(place: Place, start: int) -> str | None:
    """The value of the document that begins at `start`, in the type that is wanted."""
    kinds, rest = place.kinds, place.document[start : start + LONGEST]
    if kinds & {"number", "integer"}:
        match = _NUMBER.search(rest, 0, 80)
        return _as_number(match.group(), kinds) if match else None
    if "boolean" in kinds:
        line = rest.split("\n", 1)[0][:40]
        return "false" if _NO.search(line) else "true" if _YES.search(line) or line else None
    if "string" not in kinds:
        return None
    if _dated(place) and (match := _DATE.search(place.document, start, start + 80)):
        return f'"{_as_date(match)}"'
    end = _END.search(rest)
    value = (rest[: end.start()] if end else rest).rstrip()
    return json.dumps(value, ensure_ascii=False) if value else None


def _dated(place: Place) -> bool:
    return place.schema.get("format") == "date"


def _as_number(text: str, kinds: set[str]) -> str:
    """A number of a document as canonical JSON writes it; empty for one that no answer may have."""
    digits = text.replace(",", "").lstrip("+")
    if len(digits) > LONGEST_NUMBER:
        return ""
    if "." not in digits:
        return str(int(digits))
    value = float(digits)
    return str(int(value)) if value == int(value) else repr(value)


def _as_date(match: re.Match[str]) -> str:
    if match["iso"]:
        return match["iso"]
    month = max(0, _MONTHS.find((match["m"] or match["m2"])[:3].lower())) // 4 + 1
    return f"{match['y'] or match['y2']}-{month:02d}-{int(match['d'] or match['d2']):02d}"
