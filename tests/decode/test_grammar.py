"""A grammar lets through what the schema allows, in its one spelling, and says what it cannot enforce."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from slmbench.core import BadInput
from slmbench.decode.grammar import Grammars, Vocabulary, allowed
from slmbench.schema import canonical, validate
from slmbench.tasks.edge_json import TASK


@pytest.fixture(scope="module")
def grammars(tiny_folder: Path) -> Grammars:
    from tokenizers import Tokenizer

    path = tiny_folder / "tokenizer.json"
    return Grammars(Vocabulary(path, Tokenizer.from_file(str(path)).get_vocab_size(), [2]))


@pytest.fixture(scope="module")
def tokenizer(tiny_folder: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(tiny_folder / "tokenizer.json"))


def accepts(grammars: Grammars, tokenizer: Any, schema: dict[str, Any], text: str) -> bool:
    ids = [*tokenizer.encode(text, add_special_tokens=False).ids, 2]
    return grammars.of(schema).start().validate_tokens(ids) == len(ids)


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize("split", TASK.splits())
def test_every_gold_passes_its_grammar(grammars: Grammars, tokenizer: Any, split: str) -> None:
    for example in TASK.load(split):
        text = canonical(example.target, example.schema)
        assert accepts(grammars, tokenizer, dict(example.schema), text), (example.id, text)


DATE = of(on={"type": "string", "format": "date"})
REFERRED = {**of(s={"$ref": "#/$defs/word"}), "$defs": {"word": {"type": "string", "maxLength": 2}}}
LIST = {"type": "array", "items": of(x={"type": "number"})}
URL = of(u={"type": "string", "format": "uri"})
MAIL = of(m={"type": "string", "format": "email"})
TIME = of(at={"type": "string", "format": "date-time"})
A, B = {"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}
DEFINED = {"$defs": {"a": of(a={"type": "integer"}), "b": of(b={"type": "integer"}), "both": {"allOf": [A, B]}}}


@pytest.mark.parametrize(
    ("schema", "value", "good"),
    [
        (DATE, {"on": "2024-02-29"}, True),
        (DATE, {"on": "2023-02-29"}, False),
        (DATE, {"on": "1900-02-29"}, False),
        (DATE, {"on": "2000-02-29"}, True),
        (DATE, {"on": "2024-04-31"}, False),
        (DATE, {"on": "0000-01-01"}, False),
        (DATE, {"on": "2024-12-31"}, True),
        (TIME, {"at": "2024-12-31T23:59:59Z"}, True),
        (TIME, {"at": "2024-12-31T24:00:00Z"}, False),
        (TIME, {"at": "2024-12-31T10:00:00.25+05:30"}, True),
        (URL, {"u": "https://example.org/a?b=c#d"}, True),
        (URL, {"u": "Z:"}, False),
        (URL, {"u": "mailto:x y"}, False),
        (URL | {"properties": {"u": {"type": "string", "format": "uri", "maxLength": 8}}}, {"u": "http://a.b"}, False),
        (MAIL, {"m": "jürgen.o'neil+a@mail.example.org"}, True),
        (MAIL, {"m": "a@b"}, False),
        (MAIL, {"m": "a b@c.de"}, False),
        (of(n={"type": "integer", "minimum": 3, "maximum": 12}), {"n": 12}, True),
        (of(n={"type": "integer", "minimum": 3, "maximum": 12}), {"n": 13}, False),
        (of(s={"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"}), {"s": "AB-7"}, True),
        (of(s={"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"}), {"s": "ab-7"}, False),
        (of(s={"type": "string", "maxLength": 3}), {"s": "abcd"}, False),
        (of(s={"enum": ["a b", "é"]}), {"s": "é"}, True),
        (of(s={"enum": ["a b", "é"]}), {"s": "e"}, False),
        (of(a=LIST | {"maxItems": 2}), {"a": [{"x": 1}, {"x": 2.5}]}, True),
        (of(a=LIST | {"maxItems": 1}), {"a": [{"x": 1}, {"x": 2}]}, False),
        (of(s={"type": ["string", "null"]}), {"s": None}, True),
        (of(s={"anyOf": [{"type": "integer"}, {"type": "string"}]}), {"s": "x"}, True),
        (REFERRED, {"s": "ab"}, True),
        (REFERRED, {"s": "abc"}, False),
        ({"allOf": [of(a={"type": "integer"}), of(b={"type": "integer"})]}, {"a": 1, "b": 2}, True),
        ({"allOf": [A, of(b={"type": "integer"})], **DEFINED}, {"a": 1, "b": 2}, True),
        ({"allOf": [A, B], **DEFINED}, {"a": 1, "b": 2}, True),
        ({"allOf": [A, B], **DEFINED}, {"a": 1}, False),
        ({"allOf": [{"$ref": "#/$defs/both"}, of(c={"type": "integer"})], **DEFINED}, {"a": 1, "b": 2, "c": 3}, True),
        ({**A, "properties": {"b": {"type": "integer"}}, "required": ["b"], **DEFINED}, {"a": 1, "b": 2}, True),
        ({**A, "properties": {"b": {"type": "integer"}}, "required": ["b"], **DEFINED}, {"b": 2}, False),
        ({**of(k={"type": "integer"}), "anyOf": [A, B], **DEFINED}, {"k": 1, "b": 2}, True),
    ],
)  # fmt: skip
def test_what_is_let_through(
    grammars: Grammars, tokenizer: Any, schema: dict[str, Any], value: Any, good: bool
) -> None:
    """As the schema's own validation has it."""
    assert (validate(value, schema) == []) is good
    assert accepts(grammars, tokenizer, schema, json.dumps(value, ensure_ascii=False, separators=(",", ":"))) is good


def test_one_spelling_and_nothing_more(grammars: Grammars, tokenizer: Any) -> None:
    schema = {**of(a={"type": "integer"}), "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
    assert accepts(grammars, tokenizer, schema, '{"a":1,"b":2}') and accepts(grammars, tokenizer, schema, '{"a":1}')
    for text in ('{"a": 1}', '{"b":2,"a":1}', '{"a":1,"c":2}', '{"a":1}\n', '{"b":2}', '{"a":1', ' {"a":1}'):
        assert not accepts(grammars, tokenizer, schema, text), text
    open_to_more = {**schema, "additionalProperties": {"type": "integer"}}
    assert accepts(grammars, tokenizer, open_to_more, '{"a":1,"c":2}')


@pytest.mark.parametrize("one", [A, {**A, "description": "one"}, {"allOf": [A]}, {"anyOf": [B, A]}, {"items": A}])
def test_a_definition_that_nothing_is_joined_with_is_closed(
    grammars: Grammars, tokenizer: Any, one: dict[str, Any]
) -> None:
    """Also where it is joined elsewhere."""
    schema = {**of(x=one, y={"allOf": [A, B]}), **DEFINED}
    for more, good in (("", True), (',"c":1', False)):
        x = f'{{"a":1{more}}}'
        text = f'{{"x":{f"[{x}]" if "items" in one else x},"y":{{"a":1,"b":2}}}}'
        assert accepts(grammars, tokenizer, schema, text) is good


def test_a_schema_cannot_change_the_engine(grammars: Grammars, tokenizer: Any) -> None:
    schema = {**of(a={"type": "integer"}), "x-guidance": {"whitespace_flexible": True, "lenient": True}}
    assert not accepts(grammars, tokenizer, schema, '{"a": 1}')


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (of(a={"type": "array", "items": {"type": "integer"}, "uniqueItems": True}), "uniqueItems cannot be enforced"),
        (of(a={"type": "integer", "not": {"const": 3}}), "not cannot be enforced"),
        (of(a={"type": "string", "pattern": "(?=a)b"}), "cannot be enforced while decoding"),
        ({"type": "string"}, "the schema's type is 'string'"),
        ({"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}}, "leads back to itself"),
        ({"type": "object", "description": "x" * 1_000_001}, "over 1,000,000 bytes"),
    ],
    ids=["uniqueItems", "not", "look-ahead", "array", "loop", "large"],
)
def test_what_cannot_be_enforced_is_said(grammars: Grammars, schema: dict[str, Any], said: str) -> None:
    started = time.monotonic()
    with pytest.raises(BadInput, match="mine: .*" + said):
        grammars.of(schema, "mine")
    assert time.monotonic() - started < 20


def test_a_schema_a_thousand_levels_deep_is_refused(grammars: Grammars) -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(1000):
        schema = of(a=schema)
    with pytest.raises(BadInput, match="levels"):
        grammars.of(schema)


def test_a_mask_is_what_may_come_next(grammars: Grammars) -> None:
    size = grammars.vocabulary.size
    matcher = grammars.of(of(a={"enum": [True]})).start()
    mask = allowed(matcher, size)
    assert mask.shape == (size,) and 0 < mask.sum() < size
    # Where text is forced the mask has its own way of cutting it into tokens; every other way is legal too.
    legal = [bool(matcher.validate_tokens([token])) for token in range(size)]
    assert all(legal[token] for token in range(size) if mask[token]) and sum(legal) < size


def test_a_grammar_is_compiled_once(grammars: Grammars) -> None:
    schema = of(b={"type": "integer"})
    assert grammars.of(schema) is grammars.of(dict(schema))
    first = grammars.of(schema).start()
    assert first.try_consume_tokens(first.compute_ff_tokens()) > 0
    assert grammars.of(schema).start().compute_ff_bytes() == b'{"b":'


def test_an_explosive_pattern_takes_bounded_time(grammars: Grammars, tokenizer: Any) -> None:
    started = time.monotonic()
    matcher = grammars.of(of(a={"type": "string", "pattern": "^((a{1,900}){1,900}|(a*)*b)$"})).start()
    matcher.try_consume_tokens(tokenizer.encode('{"a":"' + "a" * 300, add_special_tokens=False).ids)
    mask = allowed(matcher, grammars.vocabulary.size)
    assert matcher.is_error() or mask.any()
    assert time.monotonic() - started < 20


def test_who_asks_is_no_part_of_a_grammar(tiny_folder: Any) -> None:
    vocabulary = Vocabulary(tiny_folder / "tokenizer.json", 512, [2])
    grammars = Grammars(vocabulary)
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}}
    assert grammars.of(schema, "one") is grammars.of(schema, "another")
    for where in ("first", "second"):
        with pytest.raises(BadInput, match=f"^{where}: "):
            grammars.of({"type": "text"}, where)
