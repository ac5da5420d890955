"""An object as sentences that a person would say, from the phrase file of a task.

The file: `[schema_id]` opens a schema. `about:` gives what the document is about. Every other line is one thing to say,
its ways parted by " | ". A way can be used when all its {fields} are present; one of those with the most fields is.
`@list:` is said once for each item, `@list.inner:` is said inside an item and joined, `?list:` when the list is empty.
{field:q} puts the value in quotes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slmbench.synth.spell import spell

# Marks around values, from the private use area, so that a style can change the words and leave the values alone.
OPEN, CLOSE = "\ue000", "\ue001"
_SLOT = re.compile(r"\{([a-z0-9_.]+)(:q)?\}")
ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth")


@dataclass
class Phrases:
    """The phrases of one schema: `about` nouns, and (list path, kind, ways) lines in order; kind is "", "@" or "?"."""

    about: list[str] = field(default_factory=list)
    lines: list[tuple[str, str, list[str]]] = field(default_factory=list)


def read_phrases(path: Path) -> dict[str, Phrases]:
    """The phrases of every schema in a phrase file."""
    found: dict[str, Phrases] = {}
    current = Phrases()
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("["):
            current = found.setdefault(line.strip("[]"), Phrases())
        elif line.startswith("about:"):
            current.about = line.removeprefix("about:").strip().split(" | ")
        elif match := re.match(r"([@?])([a-z_.]+): ", line):
            current.lines.append((match[2], match[1], line[match.end() :].split(" | ")))
        else:
            current.lines.append(("", "", line.split(" | ")))
    return found


class Speaker:
    """Says one object. `rate` is the share of eligible values written by a rule instead of as in the JSON."""

    def __init__(self, phrases: Phrases, schema: Mapping[str, Any], rng: random.Random, rate: float) -> None:
        self.phrases, self.schema, self.rng, self.rate = phrases, schema, rng, rate
        self._numbering = rng.choice(["plain", "plain", "ordinal", "number"])

    def sentences(self, value: Mapping[str, Any]) -> list[str]:
        """The sentences in order, values between OPEN and CLOSE. Every leaf is said."""
        said: list[str] = []
        for path, kind, ways in self._order():
            if kind and "." in path:
                continue
            if not kind:
                sentence = self._say(ways, value, self.schema, "")
                said += [sentence] if sentence else []
            elif kind == "?" and value.get(path) == []:
                said.append(self.rng.choice(ways))
            elif kind == "@":
                said += self._items(path, value.get(path, []), ways)
        return [_tidied(sentence) for sentence in said]

    def _order(self) -> list[tuple[str, str, list[str]]]:
        """The lines as they stand, or those without lists changed about; the first one opens in any case."""
        first, *rest = self.phrases.lines
        free = [i for i, line in enumerate(rest) if not line[1]]
        if self.rng.random() < 0.3:
            moved = self.rng.sample(free, len(free))
            rest = [rest[moved[free.index(i)]] if i in free else line for i, line in enumerate(rest)]
        return [first, *rest]

    def _items(self, path: str, items: list[Any], ways: list[str]) -> list[str]:
        schema = self.schema["properties"][path]["items"]
        chosen = [self.rng.choice(ways)] if self.rng.random() < 0.6 else ways
        said = []
        for number, item in enumerate(items, 1):
            sentence = self._say(chosen, item, schema, path)
            if len(items) > 1 and self._numbering == "ordinal":
                sentence = f"{ORDINALS[number - 1]}, {sentence[0].lower()}{sentence[1:]}"
            elif len(items) > 1 and self._numbering == "number":
                sentence = f"{schema['title']} {number}: {sentence[0].lower()}{sentence[1:]}"
            said.append(sentence)
        return said

    def _say(self, ways: list[str], value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> str:
        usable = [way for way in ways if all(value_at(value, slot[1]) is not None for slot in _SLOT.finditer(way))]
        usable = [way for way in usable if all(value_at(value, slot[1]) != [] or path for slot in _SLOT.finditer(way))]
        if not usable:
            return ""
        most = max(len(_SLOT.findall(way)) for way in usable)
        way = self.rng.choice([way for way in usable if len(_SLOT.findall(way)) == most])
        return _SLOT.sub(lambda slot: self._value(slot[1], slot[2], value, schema, path), way)

    def _value(self, name: str, quoted: str, value: Any, schema: Mapping[str, Any], path: str) -> str:
        for key in name.split("."):
            value, schema = value[key], schema["properties"][key]
        if isinstance(value, list):
            return self._list(value, schema, f"{path}.{name}".strip("."))
        text = f"{OPEN}{spell(value, schema, self.rng, self.rate, spoken=True)}{CLOSE}"
        if isinstance(value, bool):
            return text.strip(OPEN + CLOSE)
        if quoted:
            return f"“{text}”" if '"' in text else f'"{text}"'
        return text

    def _list(self, value: list[Any], schema: Mapping[str, Any], path: str) -> str:
        ways = {(p, kind): ways for p, kind, ways in self.phrases.lines}
        if not value:
            return self.rng.choice(ways[path, "?"])
        if isinstance(value[0], dict):
            way = [self.rng.choice(ways[path, "@"])]
            texts = [self._say(way, item, schema["items"], path) for item in value]
        else:
            texts = [f"{OPEN}{item}{CLOSE}" for item in value]
        return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def value_at(value: Any, name: str) -> Any:
    """What stands under dotted keys; None where nothing does."""
    for key in name.split("."):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def _tidied(sentence: str) -> str:
    """A capital at the start, unless a value stands there; "an" before a vowel; no second full stop after a value."""
    sentence = re.sub(rf"\b([Aa]) ({OPEN}[aeio])", r"\1n \2", sentence)
    return sentence[0].upper() + sentence[1:].replace(f".{CLOSE}.", f".{CLOSE}")


def on_words(text: str, change: Callable[[str], str]) -> str:
    """`change` applied to everything outside the values."""
    parts = re.split(f"({OPEN}[^{CLOSE}]*{CLOSE})", text)
    return "".join(part if part.startswith(OPEN) else change(part) for part in parts)


def bare(text: str) -> str:
    """The text without the marks around its values."""
    return text.replace(OPEN, "").replace(CLOSE, "")
