"""Strict JSON, the one spelling, JSON equality, validation with formats, complexity, and schemas from values."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slmbench.core import BadInput
from slmbench.schema import (
    branch_of,
    canonical,
    check_extractable,
    check_schema,
    complexity,
    first_json,
    infer_schema,
    leaves,
    load_schemas,
    properties_of,
    resolve,
    same,
    strict_loads,
    validate,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"a":1,"a":2}', "duplicate key 'a'"),
        ('{"b":{"a":1,"a":1}}', "duplicate key 'a'"),
        ("[NaN]", "NaN is not JSON"),
        ("-Infinity", "-Infinity is not JSON"),
        ("1e999", "number 1e999 overflows"),
        ("9" * 301, "301 digits"),
        (r'"\ud800"', "lone surrogate"),
        (r'{"\udfff":1}', "lone surrogate"),
        ("[" * 201 + "]" * 201, "more than 200 levels"),
        ('{"a":' * 100_000, "more than 200 levels"),
        ('{"a":1} {"b":2}', "text after the JSON value at character 7"),
        ("{'a':1}", "double quotes"),
        ("", "Expecting value"),
        ("01", "text after"),
        ('"\n"', "control character"),
        ("[1,]", "Expecting value|trailing comma"),
    ],
)
def test_what_is_not_strict_json(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        strict_loads(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (" \t\r\n[1] \n", [1]),
        ("[" * 200 + "]" * 200, None),
        ('"' + "[" * 500 + '"', "[" * 500),
        (r'"\ud83d\ude00 \\ud800"', "😀 \\ud800"),
        ("1e3", 1000.0),
        ("-0", 0),
    ],
)
def test_what_is_strict_json(text: str, value: Any) -> None:
    assert value is None or strict_loads(text) == value
    strict_loads(text)


@given(JSON)
def test_parsing_gives_back_what_was_written(value: Any) -> None:
    assert same(strict_loads(json.dumps(value)), value)
    assert same(strict_loads(canonical(value, {})), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('Output: {"a":[1]} and {"b":2}', {"a": [1]}),
        ('[{"a":1},{"b":2}] {"c":3}', [{"a": 1}, {"b": 2}]),
        ('```json\n{"a":"}"}\n```', {"a": "}"}),
        ("  17 ", 17),
    ],
)
def test_the_first_top_level_value(text: str, value: Any) -> None:
    assert first_json(text) == value


@pytest.mark.parametrize(
    "text", ['{"a":{"b":1}', '[{"a":1},', '{"a":1,"a":{"b":2}}', '{x} {"a":1}', "no JSON here", "{" + '{"a":1}' + "}"]
)
def test_a_broken_value_is_never_replaced_by_one_inside_or_behind_it(text: str) -> None:
    with pytest.raises(ValueError):
        first_json(text)


ORDERED = {
    "type": "object",
    "properties": {
        "z": {"$ref": "#/$defs/pair"},
        "list": {"type": "array", "items": {"$ref": "#/$defs/pair"}},
        "a": {"type": "string"},
    },
    "$defs": {"pair": {"type": "object", "properties": {"y": {}, "x": {}}}},
}


def test_keys_stand_in_the_order_of_the_schema_at_every_level() -> None:
    value = {"extra": {"k": 1, "a": 2}, "a": "ü", "list": [{"x": 1, "y": [2]}], "z": {"x": 1.5, "q": None, "y": True}}
    written = '{"z":{"y":true,"x":1.5,"q":null},"list":[{"y":[2],"x":1}],"a":"ü","extra":{"k":1,"a":2}}'
    assert canonical(value, ORDERED) == written
    assert canonical(json.loads(written), ORDERED) == written
    with pytest.raises(ValueError):
        canonical({"a": float("nan")}, ORDERED)


def test_properties_of_all_branches_are_known() -> None:
    schema = {"allOf": [{"properties": {"a": {}}}, {"$ref": "#/$defs/b"}], "$defs": {"b": {"properties": {"b": {}}}}}
    assert list(properties_of(schema, schema)) == ["a", "b"]


def test_equality_is_that_of_json() -> None:
    assert same({"a": 1, "b": [2, 3]}, {"b": [2.0, 3], "a": 1})
    for a, b in [(1, True), (0, False), ([1, 2], [2, 1]), ({"a": None}, {}), ("1", 1), (None, False), ("é", "e\u0301")]:
        assert not same(a, b)


def test_leaves_have_typed_paths_and_empty_containers_count() -> None:
    assert leaves({"a": [1, {"b": []}], "c": {}}) == [(("a", 0), 1), (("a", 1, "b"), []), (("c",), {})]
    assert leaves(5) == [((), 5)]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date", ["2024-02-29"], ["2023-02-29", "2024-2-9", "20240229", "2024-02-29T"]),
        ("time", ["15:05:00Z", "15:05:00.5+02:00"], ["15:05", "15:05:00", "25:00:00Z"]),
        (
            "date-time",
            ["2024-02-29T15:05:00Z"],
            ["2024-02-29 15:05:00Z", "2024-02-29T15:05:00", "2024-02-30T15:05:00Z"],
        ),
        ("email", ["a.b+c@d-e.org"], ["a@b", "a b@c.org", "a@@c.org", "@c.org", "a@c..org"]),
        ("uuid", ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567e89b12d3a456426614174000", "x" * 36]),
        ("uri", ["https://a.org/x?y#z", "urn:a:b"], ["a.org", "https://a b"]),
        ("ipv4", ["192.168.0.1"], ["192.168.0.256", "192.168.0", "1.2.3.04"]),
        ("ipv6", ["::1", "fe80::1"], ["1.2.3.4", ":::"]),
    ],
)
def test_formats_are_asserted(name: str, good: list[str], bad: list[str]) -> None:
    schema = {"type": ["string", "integer"], "format": name}
    assert [text for text in good if validate(text, schema)] == []
    assert [text for text in bad if not validate(text, schema)] == []
    assert validate(5, schema) == []


def test_violations_name_their_place() -> None:
    schema = {"properties": {"a": {"items": {"type": "integer"}}}, "required": ["b"], "additionalProperties": False}
    found = sorted(validate({"a": [1, "x"], "c": 1}, schema))
    assert len(found) == 3
    assert found[0].startswith("a/1: 'x' is not of type")


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ([], "must be an object, this is list"),
        ({"type": "objekt"}, "not a JSON Schema, at type"),
        ({"properties": {"a": {"type": 5}}}, "not a JSON Schema, at properties/a/type"),
        ({"type": "string"}, "'string'; slmbench extracts objects and arrays"),
        ({"$ref": "#"}, "leads back to itself"),
        ({"properties": {"a": {"$ref": "#"}}}, "leads back to itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "leads back"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "leads nowhere"),
        ({"properties": {"a": {"$ref": "other.json"}}}, "points outside the file"),
        ({"properties": {"a": {"dependentSchemas": {"b": {"$ref": "#"}}}}}, "leads back to itself"),
        ({"properties": {"a": {"propertyNames": {"$ref": "#/none"}}}}, "leads nowhere"),
        ({"properties": {"a": {"pattern": "("}}}, "the pattern '\\(' is no regular expression .*; correct it"),
        ({"patternProperties": {"[": {}}}, "the pattern '\\[' is no regular expression"),
        ({"properties": {"a": {"pattern": "a{4294967295}"}}}, "is no regular expression .*repetition number"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"pattern": "(" * 5000}}},
            "is no regular expression .*nested too deeply",
        ),
        (
            functools.reduce(lambda inner, _: {"allOf": [inner]}, range(99), {}),
            "the schema is nested too deeply; flatten",
        ),
        ({"$ref": "#/x", "x": {"properties": 3}}, "ref '#/x': not a JSON Schema, at properties: 3"),
    ],
)
def test_what_is_no_schema_for_an_object(schema: Any, sentence: str) -> None:
    with pytest.raises(BadInput, match=f"^here: .*{sentence}"):
        check_schema(schema, "here")


def test_patterns_of_a_stranger_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(pattern: str, *_: Any) -> None:
        raise AssertionError(pattern)

    schema = {"properties": {"a": {"pattern": "(?i)[a-z]"}}, "patternProperties": {"^b": {}}}
    check_schema(schema, "here", patterns=False)
    monkeypatch.setattr(re, "compile", never)
    check_extractable(schema, "here", patterns=False)


def test_what_stands_beside_a_reference_adds_to_it() -> None:
    schema = {
        "$ref": "#/$defs/a", "properties": {"b": {}, "y": {"const": 1}}, "required": ["b"], "title": "here",
        "$defs": {"a": {"properties": {"y": {}, "x": {}}, "required": ["x", "b"], "title": "there"}},
    }  # fmt: skip
    found = resolve(schema, schema)
    assert list(found["properties"].items()) == [("y", {"const": 1}), ("x", {}), ("b", {})]
    assert found["required"] == ["x", "b"] and found["title"] == "here"
    assert canonical({"b": 1, "x": 2, "y": 1}, schema) == '{"y":1,"x":2,"b":1}'


def test_a_definition_may_be_used_twice() -> None:
    check_schema({"properties": {"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "#/$defs/x"}}, "$defs": {"x": {}}}, "here")


def test_a_folder_of_schemas(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder of schemas"):
        load_schemas(tmp_path / "none")
    with pytest.raises(BadInput, match=r"holds no \.json file"):
        load_schemas(tmp_path)
    (tmp_path / "person.json").write_text(json.dumps(ORDERED))
    assert load_schemas(tmp_path) == {"person": ORDERED}
    (tmp_path / "bad.json").write_text('{"type": "object", "type": "object"}')
    with pytest.raises(BadInput, match=r"bad\.json: not JSON \(duplicate key 'type'\)"):
        load_schemas(tmp_path)
    (tmp_path / "bad.json").write_bytes(b'"\xff"')
    with pytest.raises(BadInput, match=r"bad\.json: not JSON"):
        load_schemas(tmp_path)


def flat(count: int) -> dict[str, Any]:
    return {"properties": {f"f{i}": {"type": "string"} for i in range(count)}}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (flat(5), "simple"),
        ({"properties": {**flat(2)["properties"], "tags": {"type": "array", "items": {"type": "string"}}}}, "simple"),
        (flat(6), "medium"),
        (flat(20), "medium"),
        ({"properties": {"a": flat(2)}}, "medium"),
        ({"properties": {"a": {"items": flat(1)}}}, "medium"),
        ({"properties": {"a": {"items": {"properties": {"b": flat(12)}}}}}, "complex"),
        ({"properties": {"a": {"items": {"properties": {"b": flat(11)}}}}}, "medium"),
        ({"properties": {"a": {"properties": {"b": flat(12)}}}}, "medium"),
    ],
)
def test_complexity_is_counted(schema: dict[str, Any], expected: str) -> None:
    assert complexity(schema) == expected


def test_a_schema_from_values() -> None:
    values = [{"a": 1, "c": [{"x": "p"}]}, {"a": 2.5, "b": None, "c": []}, {"b": True, "a": 3}]
    schema = infer_schema(values)
    assert list(schema["properties"]) == ["a", "b", "c"]
    assert schema["required"] == ["a"]
    assert schema["properties"]["a"] == {"type": "number"}
    assert schema["properties"]["b"] == {"anyOf": [{"type": "boolean"}, {"type": "null"}]}
    assert validate({"a": 1, "d": 1}, schema)


@given(st.lists(JSON, min_size=1, max_size=4))
def test_an_inferred_schema_holds_for_its_values(values: list[Any]) -> None:
    schema = infer_schema(values)
    assert [value for value in values if validate(value, schema)] == []


def test_the_alternative_is_the_one_that_its_constants_name() -> None:
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": name}, "arguments": {"properties": {key: {} for key in keys}}},
        }
        for name, keys in (("a", "xyz"), ("b", "zyx"))
    ]
    schema = {"type": "array", "items": {"anyOf": calls}}
    value = [{"arguments": {"z": 1, "x": 2}, "name": "a"}, {"name": "b", "arguments": {"x": 2, "z": 1}}]
    assert canonical(value, schema) == (
        '[{"name":"a","arguments":{"x":2,"z":1}},{"name":"b","arguments":{"z":1,"x":2}}]'
    )
    assert branch_of(schema["items"], {"name": "c"}, schema) is schema["items"]
    assert branch_of(schema["items"], "a", schema) is schema["items"]


def test_alternatives_may_hold_schemas_that_are_true_or_referred_to() -> None:
    schema = {
        "anyOf": [
            {"properties": {"x": True, "kind": {"$ref": "#/$defs/a"}}},
            {"properties": {"kind": {"const": "b"}, "x": {}}},
            True,
        ],
        "$defs": {"a": {"const": "a"}},
    }
    assert canonical({"kind": "a", "x": 1}, schema) == '{"x":1,"kind":"a"}'
    assert canonical({"x": 1, "kind": "b"}, schema) == '{"kind":"b","x":1}'
