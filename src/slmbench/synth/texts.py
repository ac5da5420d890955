"""A text for a field of type string: one of its kind, or like its examples, that its lengths and pattern allow."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from typing import Any

from slmbench.schema import validate
from slmbench.synth.clauses import dress
from slmbench.synth.fields import Meaning
from slmbench.synth.kinds import MAKERS, Story, sentence
from slmbench.synth.patterns import matching
from slmbench.synth.tree import Impossible
from slmbench.synth.values import Source

_TRIES = 12
_LONGEST = 10**6


def text(key: str, schema: Mapping[str, Any], told: Meaning, story: Story) -> str:
    """A text for the field `key`, where possible one that the document does not hold yet.

    Raises Impossible where none is found that the schema allows.
    """
    examples = [str(example) for example in schema.get("examples", [])] or _default(schema)
    repeated = None
    for candidate in _likely(examples, told, story):
        fitted = _undressed(_fitted(candidate, schema, told, story), str(schema.get("description", "")))
        if _allowed(fitted, schema):
            if told.kind in ("date", "moment") or fitted not in story.told:
                story.told.add(fitted)
                return fitted
            repeated = fitted
    if repeated is not None:
        return repeated
    for candidate in _unlikely(key, examples, schema, story.source):
        if _allowed(candidate, schema):
            return candidate
    raise Impossible(f"no text was found for field {key!r} that its pattern, format and lengths allow")


def _undressed(text: str, description: str) -> str:
    """The text without what the description says that a value has not: the title of a name, the v of a version."""
    for before, _ in dress(description):
        rest = re.sub(rf"^{re.escape(before.strip())}\.?{' ' if before.endswith(' ') else ''}(?=\S)", "", text)
        text = rest if rest[:1].isupper() or not before.strip()[:1].isupper() else text
    return text


def _default(schema: Mapping[str, Any]) -> list[str]:
    default = schema.get("default")
    return [default] if isinstance(default, str) and default.strip() else []


def _likely(examples: list[str], told: Meaning, story: Story) -> Iterator[str]:
    """Texts like the examples, or of the field's kind."""
    like = bool(examples) and story.source.chance(0.4 if told.known else 0.9)
    for _ in range(_TRIES):
        yield _alike(story.source.pick(examples), story.source) if like else MAKERS[told.kind](story, told)


def _unlikely(key: str, examples: list[str], schema: Mapping[str, Any], source: Source) -> Iterator[str]:
    """Texts that only the schema speaks for."""
    for _ in range(_TRIES if "pattern" in schema else 0):
        try:
            yield matching(str(schema["pattern"]), source)
        except ValueError as error:
            raise Impossible(f"the pattern {schema['pattern']!r} of field {key!r} cannot be made ({error})") from None
    yield from examples
    length = min(max(schema.get("minLength", 1), 4), schema.get("maxLength", _LONGEST))
    yield "".join(source.pick(string.ascii_uppercase) for _ in range(length))


def _alike(example: str, source: Source) -> str:
    """An example, or one of its shape: other digits, and other letters in a code."""
    if not re.search(r"\d", example) or source.chance(0.1):
        return example
    digits = re.sub(r"[1-9]", lambda _: str(source.integer(1, 9)), example)
    if re.fullmatch(r"[A-Z0-9/_.-]+", example) and source.chance(0.3):
        return re.sub(r"[A-Z](?![A-Z]{2})", lambda _: source.pick("ABCDEFGHKLMNPRSTVWX"), digits)
    return digits


def _fitted(text: str, schema: Mapping[str, Any], told: Meaning, story: Story) -> str:
    """The text with more sentences where it is too short, with fewer words where it is too long."""
    while told.kind == "prose" and len(text) < min(schema.get("minLength", 0), 4000):
        text = f"{text} {sentence(story, told.args[0])}"
    longest = schema.get("maxLength", _LONGEST)
    if len(text) > longest and " " in text and "pattern" not in schema and told.kind in ("prose", "pick", "address"):
        text = text[: longest + 1].rsplit(" ", 1)[0].rstrip(" ,;.")
    return text


def _allowed(text: str, schema: Mapping[str, Any]) -> bool:
    if not schema.get("minLength", 1) <= len(text) <= schema.get("maxLength", _LONGEST):
        return False
    kept = {key: schema[key] for key in ("pattern", "format", "not") if key in schema}
    return not kept or not validate(text, kept)
