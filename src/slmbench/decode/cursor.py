"""Where the end of a JSON text that is still being written stands: within what, under which keys, at which place."""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

Place = Literal["key", "value", "string", "scalar", "after"]


class Frame(NamedTuple):
    """An open object or array: its bracket, its present key, its keys so far, and how many characters had been fed when
    it was opened, its bracket among them."""

    bracket: str
    key: str = ""
    keys: tuple[str, ...] = ()
    opened: int = 0


class Cursor:
    """Fed with canonical JSON piece by piece.

    `place` is `key` (before or within a key), `value` (before a value), `string` or `scalar` (within one) or `after`
    (behind one). `partial` is what is written of a key, string or scalar so far, as it is spelt; `closed` the string
    values that ended since they were last taken.
    """

    __slots__ = ("closed", "count", "escaped", "frames", "partial", "place", "quoted")

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        """The outermost first."""
        self.count = 0
        """Characters fed."""
        self.place: Place = "value"
        self.partial = ""
        self.quoted = self.escaped = False
        self.closed: list[str] = []

    def clone(self) -> Cursor:
        """One that goes on by itself."""
        other = Cursor.__new__(Cursor)
        other.frames, other.place, other.partial = list(self.frames), self.place, self.partial
        other.count = self.count
        other.quoted, other.escaped, other.closed = self.quoted, self.escaped, list(self.closed)
        return other

    @property
    def path(self) -> tuple[str | None, ...]:
        """The keys from the outermost object on; None for an array."""
        return tuple(frame.key if frame.bracket == "{" else None for frame in self.frames)

    @property
    def within(self) -> str:
        """The innermost open bracket; empty outside of all."""
        return self.frames[-1].bracket if self.frames else ""

    def feed(self, text: str) -> None:
        """Go on behind `text`."""
        for char in text:
            self.count += 1
            if self.quoted:
                self._inside(char)
            elif char == '"':
                self.quoted, self.partial = True, ""
                if self.place != "key":
                    self.place = "string"
            elif char in "{[":
                self.frames.append(Frame(char, opened=self.count))
                self.place = "key" if char == "{" else "value"
                self.partial = ""
            elif char in "}]":
                if self.frames:
                    self.frames.pop()
                self.place, self.partial = "after", ""
            elif char == ":":
                self.place, self.partial = "value", ""
            elif char == ",":
                self.place = "key" if self.within == "{" else "value"
                self.partial = ""
            else:
                self.place = "scalar"
                self.partial += char

    def _inside(self, char: str) -> None:
        if self.escaped or char != '"':
            self.escaped = not self.escaped and char == "\\"
            self.partial += char
            return
        self.quoted = False
        text = plain(self.partial)
        if self.place == "key":
            if self.frames:
                frame = self.frames[-1]
                self.frames[-1] = frame._replace(key=text, keys=(*frame.keys, text))
        else:
            self.closed.append(text)
        self.place, self.partial = "after", ""


def plain(spelt: str) -> str:
    """A string's text from its spelling in JSON; as far as it is whole."""
    try:
        value: str = json.loads(f'"{spelt}"')
    except ValueError:
        return spelt
    return value


def spelt(text: str) -> str:
    """How a string's text is spelt in canonical JSON, without the quotes."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
