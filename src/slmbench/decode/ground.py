"""Grounding: a string of the answer spells a run of whole words of the document, where the schema means such a text.

It means one in every string without `enum`, `const`, `format` or `pattern`, unless the schema says of it
`"x-slmbench": {"grounded": false}`: those are chosen or rewritten, not copied. With `"loose"` in place of false, case
and white space may be others. Of alternatives, the one counts that the constants written so far name, else all that
have the field: one that means no copy is enough. A list repeats an item no more often than the document has its longest
string.

The document and the answer are compared byte for byte: a token may end within a character, so bytes stand for
characters here (Latin-1).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from slmbench.decode.bounds import Bounds
from slmbench.decode.cursor import Cursor, plain, spelt
from slmbench.schema import grounding, leaves, resolve, same

_ESCAPE = re.compile(r"((?:[^\\]|\\u[0-9a-fA-F]{4}|\\[^u])*)(\\.{0,4})?", re.DOTALL)
"""A string's spelling, and an escape that is not whole yet."""
JOINERS = "-_.@()"
"""Between two words, these make one: of a number, a name or an address no part is meant."""
REPEATS = 8
"""How often a list may have an item without any string."""
Copied = Literal["exact", "loose", ""]


class Text:
    """A document as bytes, and where in it words begin and end.

    A word is a run of digits, or of letters of a script that puts spaces between words; or several that JOINERS join.
    """

    def __init__(self, document: str) -> None:
        self.bytes = document.encode("utf-8", "replace").decode("latin-1")
        kinds = ["", *map(_kind, document), ""]
        inside = [bool(a and a == b) for a, b in itertools.pairwise(kinds)]
        for i, char in enumerate(document):
            if char in JOINERS and kinds[i] and kinds[i + 2]:
                inside[i] = inside[i + 1] = True
        edges = bytearray()
        for char, within in zip(document, inside, strict=False):
            edges.append(not within)
            edges.extend(bytes(len(char.encode("utf-8", "replace")) - 1))
        self.edges = edges + b"\1"
        """For every place between bytes whether no word goes on over it."""

    def has(self, partial: str, *, whole: bool) -> bool:
        """Whether whole words of the document begin so, as JSON spells it, or are so (`whole`)."""
        text, escape = _ESCAPE.fullmatch(partial).groups()  # type: ignore[union-attr]
        text = plain(text)
        if not text and not escape:
            return True
        for begin in self._places(text):
            end = begin + len(text)
            if whole and not self.edges[end]:
                continue
            if not escape or spelt(self.bytes[end : end + 1]).startswith(escape):
                return True
        return False

    def count(self, text: str) -> int:
        """How often a text stands in the document."""
        return self.bytes.count(text)

    def _places(self, text: str) -> Iterator[int]:
        begin = self.bytes.find(text)
        while 0 <= begin < len(self.bytes):
            if self.edges[begin]:
                yield begin
            begin = self.bytes.find(text, begin + 1)


class Ground(Bounds):
    """What one document lets strings say.

    Args:
        text_of: as `Bounds` has it.
    """

    def __init__(self, schema: Mapping[str, Any], document: str, text_of: Callable[[int], str]) -> None:
        super().__init__(text_of)
        self.schema = schema
        self.document, self.exact = document, Text(document)
        self.written = ""
        self._strings: dict[int, Copied] = {}
        """How strings are texts of the document, by where they begin."""

    @functools.cached_property
    def loose(self) -> Text:
        """The document in small letters and single spaces: few schemas ask for it."""
        return Text(loosened(self.document))

    def accept(self, token: int) -> None:
        """Go on behind a token."""
        super().accept(token)
        self.written += self.text_of(token)

    def allows(self, token: int) -> bool:
        """Whether the document has what a token would make of the strings and lists that it is part of."""
        if not super().allows(token):
            return False
        behind, text = self.cursor.clone(), self.text_of(token)
        for i, char in enumerate(text):
            if char == '"' and behind.place == "string" and not behind.escaped:
                if not self._stands(behind, text, whole=True):
                    return False
            elif char == "," and behind.within == "[" and behind.place in ("after", "scalar"):
                items = (self.written + text[:i])[behind.frames[-1].opened :]
                if self._repeats(items):
                    return False
            behind.feed(char)
        return behind.place != "string" or self._stands(behind, text, whole=False)

    def _stands(self, cursor: Cursor, text: str, *, whole: bool) -> bool:
        """Whether the document has what is written so far of a string, if it must; the cursor stands within `text`,
        which would come next."""
        begin = cursor.count - len(cursor.partial)
        how = self._strings.get(begin)
        if how is None:
            how = self._copied(cursor, (self.written + text)[: cursor.count])
            if begin <= len(self.written):  # what is settled is asked for with every token
                self._strings[begin] = how
        if how == "loose":
            return self.loose.has(loosened(cursor.partial), whole=whole)
        return not how or self.exact.has(cursor.partial, whole=whole)

    def _copied(self, cursor: Cursor, written: str) -> Copied:
        """Whether the string that the cursor stands in is a text of the document, by all schemas that it may be under;
        it was opened in what is `written`."""
        schemas: list[Any] = [self.schema]
        for frame in cursor.frames:
            inside = written[frame.opened :] if frame.bracket == "{" else ""
            views = [view for schema in schemas for view in _views(schema, self.schema, inside)]
            if frame.bracket == "{":
                key = _characters(frame.key)
                schemas = [view["properties"][key] for view in views if key in view.get("properties", ())]
            else:
                schemas = [view["items"] for view in views if "items" in view]
        views = [view for schema in schemas for view in _views(schema, self.schema, "")]
        said = {copied_text(view) for view in views if _may_be_text(view)}
        return "" if "" in said else "loose" if "loose" in said else "exact"

    def _repeats(self, items: str) -> bool:
        """Whether the last of a list's items so far has been there too often."""
        try:
            values = json.loads(f"[{items}]")
        except ValueError:  # keys that come twice or what else is not this rule's business
            return False
        strings = [leaf for _, leaf in leaves(values[-1]) if isinstance(leaf, str)]
        longest = max(strings, key=len, default="")
        most = max(1, self.exact.count(longest)) if longest else REPEATS
        return bool(values.count(values[-1]) > most)


def loosened(text: str) -> str:
    """Small letters, and one space for white space of any kind and length, as it is or as JSON spells it."""
    return re.sub(r"(?:\s|\\[nrt])+", " ", text.lower())


def _views(schema: Any, root: Mapping[str, Any], inside: str) -> Iterator[Mapping[str, Any]]:
    """A schema, and those that speak of the same value: what it joins, and of its alternatives those that fit what is
    written `inside` of an object."""
    schema = resolve(schema, root)
    yield schema
    options = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    members = _members(_characters(inside)) if options else {}
    fitting = [option for option in options if not _contradicts(option, root, members)]
    for part in (*schema.get("allOf", ()), *(fitting or options)):
        yield from _views(part, root, inside)


def _contradicts(option: Any, root: Mapping[str, Any], members: Mapping[str, Any]) -> bool:
    """Whether an alternative has another constant than an object's member."""
    named = resolve(option, root).get("properties", {})
    known = ((value, resolve(named[key], root)) for key, value in members.items() if key in named)
    return any("const" in part and not same(value, part["const"]) for value, part in known)


def _members(inside: str) -> dict[str, Any]:
    """The whole members of an object, of what is written behind its bracket."""
    found: dict[str, Any] = {}
    at, read = 0, json.JSONDecoder().raw_decode
    with contextlib.suppress(ValueError):  # the last one is being written
        while True:
            key, at = read(inside, at)
            found[key], at = read(inside, at + 1)
            at += 1
    return found


def _characters(text: str) -> str:
    """A text whose characters are bytes as what those spell."""
    return text.encode("latin-1", "replace").decode("utf-8", "replace")


def _may_be_text(schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("type", "string")
    return "string" in ([kinds] if isinstance(kinds, str) else kinds)


def copied_text(schema: Mapping[str, Any]) -> Copied:
    """Whether a string under this schema is a text of the document, and how like it."""
    if schema.keys() & {"enum", "const", "format", "pattern"}:
        return ""
    how = grounding(schema)
    return "" if how is False else "loose" if how == "loose" else "exact"


def _kind(char: str) -> str:
    """What a character is a part of: a number, a word, or neither."""
    if char.isdigit():
        return "digit"
    # Latin, Greek, Cyrillic, Armenian: what is further on writes words together, or small words onto others.
    return "letter" if char.isalpha() and (char < "\u0590" or "\u1e00" <= char < "\u2000") else ""
