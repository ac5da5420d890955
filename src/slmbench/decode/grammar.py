"""A JSON Schema as a grammar over tokens, by llguidance: the canonical spelling of `schema.canonical`, and no other.

A grammar never forbids what the schema allows, with one exception: an object with `properties` is closed, unless its
schema says what else may be in it. What cannot be enforced is an error that names the keyword.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import llguidance.numpy
import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from slmbench.core import BadInput
from slmbench.schema import EMAIL, MAX_DEPTH, URI, check_schema, target_of

SPELLING: Any = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
MAX_SCHEMA_BYTES = 1_000_000
LIMITS = LLParserLimits(max_grammar_size=500_000, max_lexer_states=250_000, initial_lexer_fuel=1_000_000)

_YEAR = r"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_FOURS = "(?:0[48]|[2468][048]|[13579][26])"
_LEAP = rf"(?:[0-9]{{2}}{_FOURS}|{_FOURS}00)"
_DATE = (
    rf"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    rf"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP}-02-29)"
)
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
PATTERNS = {
    "date": f"^{_DATE}$", "time": f"^{_CLOCK}$", "date-time": f"^{_DATE}T{_CLOCK}$",
    "email": f"^{EMAIL}$", "uri": f"^{URI}$",
}  # fmt: skip
"""Formats of which llguidance has another notion than the validator; a day or a time is one that exists."""
_JOINING = frozenset({"allOf", "anyOf", "oneOf"})
_OF_OBJECTS = _JOINING | {
    "properties", "patternProperties", "additionalProperties", "unevaluatedProperties", "required",
}  # fmt: skip
"""What says something of an object's keys."""


class Vocabulary:
    """The tokens of a model as a grammar sees them. `stops` are the tokens that end a text."""

    def __init__(self, tokenizer_json: Path, size: int, stops: Sequence[int]) -> None:
        self.size, self.stops = size, tuple(stops)
        self.tokens = LLTokenizer(tokenizer_json.read_text(), n_vocab=size, eos_token=list(stops))


class Grammar:
    """A compiled grammar; `start` gives a matcher at the beginning of an answer."""

    def __init__(self, vocabulary: Vocabulary, text: str, where: str) -> None:
        self.vocabulary = vocabulary
        self._first = LLMatcher(vocabulary.tokens, text, log_level=0, limits=LIMITS)
        if self._first.is_error():
            raise BadInput(f"{where}: {_reason(self._first.get_error())}")

    def start(self) -> LLMatcher:
        """A matcher of its own for one answer."""
        return self._first.deep_copy()


_HERE = "schema"
"""Who asks is no part of what is compiled: the same schema of another document is the same grammar."""


class Grammars:
    """Grammars by schema, each compiled once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._of = functools.lru_cache(maxsize=256)(self._compile)

    def of(self, schema: Mapping[str, Any], where: str = "schema") -> Grammar:
        """The grammar of a schema. Raises BadInput where it is no schema of an object or cannot be enforced."""
        try:
            text = json.dumps(schema, ensure_ascii=False)
        except RecursionError:
            raise BadInput(f"{where}: the schema is nested over {MAX_DEPTH} levels; flatten it.") from None
        try:
            return self._of(text)
        except BadInput as error:
            raise BadInput(where + str(error).removeprefix(_HERE)) from None

    def _compile(self, schema_text: str, where: str = _HERE) -> Grammar:
        for text in _fixed(json.loads(schema_text)):
            if bytes(self.vocabulary.tokens.decode_bytes(self.vocabulary.tokens.tokenize_str(text))) != text.encode():
                raise BadInput(f"{where}: the model has no tokens for {text!r}; leave it out of the schema.")
        return Grammar(self.vocabulary, grammar_text(schema_text, where), where)


def spelling_schema(schema_text: str, where: str) -> str:
    """A schema in JSON as llguidance enforces it, its spelling included, for libraries that hold an llguidance of their
    own. Raises BadInput where it is too large or no schema."""
    return json.dumps(json.loads(grammar_text(schema_text, where))["grammars"][0]["json_schema"])


def grammar_text(schema_text: str, where: str) -> str:
    """llguidance's form of a schema in JSON. Raises BadInput as `spelling_schema` does."""
    if len(schema_text.encode()) > MAX_SCHEMA_BYTES:
        raise BadInput(f"{where}: the schema is over {MAX_SCHEMA_BYTES:,} bytes; give a smaller one.")
    schema = json.loads(schema_text)
    check_schema(schema, where, patterns=False)  # the grammar has a compiler of its own, which is bounded
    return LLMatcher.grammar_from_json_schema(json.dumps(_prepared(schema, schema, closed=True)), overrides=SPELLING)


def _prepared(schema: Any, root: Mapping[str, Any], *, closed: bool, joined: bool = False) -> Any:
    """A schema with exact calendars and closed objects, without settings that llguidance would take from it.

    Where it is `joined`, others speak of the same object.
    """
    if isinstance(schema, list):
        return [_prepared(item, root, closed=closed, joined=joined) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema and (joined or schema.keys() & _OF_OBJECTS):
        # A definition is closed, so what is joined with it is joined with a copy that is not.
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        views = [target_of(schema["$ref"], root), *schema.get("allOf", [])]
        return _prepared({"allOf": views, **rest}, root, closed=closed, joined=joined)
    together = bool(schema.keys() & {*_JOINING, "$ref"})
    new: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "x-guidance":
            continue
        if key in ("properties", "$defs", "definitions", "patternProperties") and isinstance(value, dict):
            new[key] = {name: _prepared(sub, root, closed=True) for name, sub in value.items()}
        elif key in ("enum", "const", "default", "examples"):
            new[key] = value
        else:
            # What allOf joins are views of one object: closing one would forbid what another names.
            alone = not (joined or (schema.keys() & _OF_OBJECTS) - {key} or (key == "allOf" and len(value) > 1))
            new[key] = _prepared(
                value, root, closed=key != "allOf" and not together, joined=key in _JOINING and not alone
            )
    if closed and not together and "properties" in schema:
        new.setdefault("additionalProperties", False)
        if "patternProperties" in schema or "unevaluatedProperties" in schema:
            new["additionalProperties"] = schema.get("additionalProperties", True)
    kind = schema.get("format")
    if isinstance(kind, str) and kind in PATTERNS and "pattern" not in schema:
        del new["format"]
        new["pattern"] = PATTERNS[kind]
    return new


def _fixed(schema: Any) -> Iterator[str]:
    """Texts that a schema fixes, as JSON spells them: keys and values."""
    if isinstance(schema, list):
        for item in schema:
            yield from _fixed(item)
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("enum", "const"):
                yield json.dumps(value, ensure_ascii=False)
            elif key == "properties" and isinstance(value, dict):
                yield from (json.dumps(name, ensure_ascii=False) for name in value)
                yield from _fixed(list(value.values()))
            else:
                yield from _fixed(value)


def _reason(error: str) -> str:
    """One sentence from what llguidance says."""
    unknown = re.search(r"Unimplemented keys: \[(.*?)\]", error)
    if unknown:
        keys = unknown.group(1).replace('"', "")
        return f"{keys} cannot be enforced while decoding; leave it out of the schema, or decode without constraint."
    first = " ".join(error.split())[:300]
    return f"this schema cannot be enforced while decoding ({first}); simplify it, or decode without constraint."


def allowed(matcher: LLMatcher, size: int) -> np.ndarray:
    """Which of `size` tokens may come next: booleans [size]."""
    mask = llguidance.numpy.allocate_token_bitmask(1, size)
    llguidance.numpy.fill_next_token_bitmask(matcher, mask)
    return np.unpackbits(mask.view(np.uint8), bitorder="little")[:size].astype(bool)
