"""Grounding: a string of the answer spells a run of text of the document, where the schema means such a text.

It means one in every string without `enum`, `const`, `format` or `pattern`, unless the schema says of it
`"x-slmbench": {"grounded": false}`: those are chosen or rewritten, not copied. The document and the answer are compared
byte for byte: a token may end within a character, so bytes stand for characters here (Latin-1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from slmbench.decode.cursor import Cursor, plain, spelt
from slmbench.decode.draft import schema_at

_ESCAPE = re.compile(r"((?:[^\\]|\\u[0-9a-fA-F]{4}|\\[^u])*)(\\.{0,4})?", re.DOTALL)
"""A string's spelling, and an escape that is not whole yet."""
FIRST = 512
"""Likeliest tokens that are looked at before all others."""


class Ground:
    """What one document lets strings say.

    Args:
        text_of: token id -> its bytes, each as a character.
    """

    def __init__(self, schema: Mapping[str, Any], document: str, text_of: Callable[[int], str]) -> None:
        self.schema, self.text_of = schema, text_of
        self.document = document.encode("utf-8", "replace").decode("latin-1")

    def allows(self, cursor: Cursor, token: int) -> bool:
        """Whether the document has what a token would make of the strings that it is part of."""
        behind = cursor.clone()
        for char in self.text_of(token):
            if char == '"' and behind.place == "string" and not behind.escaped and not self._stands(behind):
                return False
            behind.feed(char)
        return behind.place != "string" or self._stands(behind)

    def best(self, cursor: Cursor, logits: np.ndarray, mask: np.ndarray) -> int | None:
        """The likeliest token that the mask and the document allow; None where there is none."""
        scores = np.where(mask, logits, -np.inf)
        first = np.argpartition(-scores, min(FIRST, len(scores) - 1))[:FIRST]
        for order in (first[np.argsort(-scores[first], kind="stable")], np.argsort(-scores, kind="stable")):
            for token in order:
                if scores[token] == -np.inf:
                    break
                if self.allows(cursor, int(token)):
                    return int(token)
        return None

    def _stands(self, cursor: Cursor) -> bool:
        """Whether the document has what is written so far of a string, if it must."""
        return not self._means_text(cursor) or stands(cursor.partial, self.document)

    def _means_text(self, cursor: Cursor) -> bool:
        path = tuple(key and key.encode("latin-1", "replace").decode("utf-8", "replace") for key in cursor.path)
        return copied_text(schema_at(self.schema, path))


def stands(partial: str, document: str) -> bool:
    """Whether the beginning of a string, as JSON spells it, is that of a run of the document."""
    whole, escape = _ESCAPE.fullmatch(partial).groups()  # type: ignore[union-attr]
    text = plain(whole)
    if not escape:
        return text in document
    places = (match.end() for match in re.finditer(f"(?={re.escape(text)})", document))
    return any(spelt(document[i + len(text) :][:1]).startswith(escape) for i in places)


def copied_text(schema: Mapping[str, Any]) -> bool:
    """Whether a string under this schema is a text of the document."""
    if schema.keys() & {"enum", "const", "format", "pattern"}:
        return False
    said = schema.get("x-slmbench")
    return not isinstance(said, Mapping) or said.get("grounded") is not False
