"""Values for any schema."""

from __future__ import annotations

import re
from typing import Any

import pytest
from synth.schemas import DATE, MAIL, TEXT, WHOLE, items, obj

from slmbench.core import BadInput
from slmbench.schema import validate
from slmbench.synth.fill import Filler, plan
from slmbench.synth.tree import as_object
from slmbench.synth.values import Source


def values(schema: dict[str, Any], n: int = 40, *, nulls: bool = False) -> list[dict[str, Any]]:
    filler = Filler(schema, "test")
    return [as_object(filler.fill(Source(f"test:{i}"), nulls=nulls)) for i in range(n)]


@pytest.mark.parametrize(
    "leaf",
    [
        {"type": "string", "pattern": "^[A-Z]{2}-\\d{3,5}(/[a-f]+)?$"},
        {"type": "string", "pattern": "^(foo|ba[rz])\\s\\w+$"},
        {"type": "string", "pattern": "^([01]\\d|2[0-3]):[0-5]\\d$"},
        {"type": "string", "minLength": 90, "maxLength": 120, "description": "Free text"},
        {"type": "string", "maxLength": 4},
        {"type": "string", "format": "time"},
        {"type": "string", "format": "ipv6"},
        {"type": "string", "format": "uri"},
        {"type": "integer", "minimum": 7, "maximum": 7},
        {"type": "integer", "multipleOf": 25, "minimum": 30},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"type": "number", "maximum": -5},
        {"type": ["string", "null"]},
        {"enum": [1, 2, "three"]},
        {"const": 4},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"$ref": "#/$defs/thing"},
        {"type": "array", "items": {"type": "integer"}, "minItems": 2, "uniqueItems": True},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 4},
        {"type": "array", "contains": obj(size={"type": "integer"}), "minItems": 1},
        {"type": "object"},
        {"type": "array", "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}},
        {"oneOf": [obj(kind={"const": "a"}, size={"type": "integer"}), obj(kind={"const": "b"}, name=TEXT)]},
        {"allOf": [{**obj(a=WHOLE), "additionalProperties": True}, {"properties": {"a": {"minimum": 900}}}]},
        {"type": "array", "items": TEXT, "minItems": 1, "x-slmbench": {"values": ["x", "y"]}},
        {"allOf": [obj(a=TEXT) | {"additionalProperties": True}, {"properties": {"b": TEXT}, "required": ["b"]}]},
    ],
)
def test_values_are_valid(leaf: dict[str, Any]) -> None:
    schema = {**obj(frobs=leaf), "$defs": {"thing": obj(size={"type": "number"})}}
    for value in values(schema):
        assert validate(value, schema) == []


def test_optional_fields_come_and_go_and_nulls_are_asked_for() -> None:
    schema = obj(["a"], a=TEXT, b=TEXT, c={"type": ["string", "null"]})
    made = values(schema)
    assert {len(value) for value in made} == {1, 2, 3}
    assert not any(value.get("c", "") is None for value in made)
    assert any(value.get("c", "") is None for value in values(schema, nulls=True))


def test_people_keep_their_addresses_and_ends_follow_starts() -> None:
    schema = obj(
        customer=obj(first_name=TEXT, email=MAIL), start_date=DATE, end_date=DATE,
        salary_max=WHOLE, salary_min=WHOLE,
    )  # fmt: skip
    for value in values(schema):
        assert value["start_date"] <= value["end_date"]
        assert value["salary_min"] <= value["salary_max"]
        first = value["customer"]["first_name"].lower()
        assert not first.isascii() or re.sub("[^a-z]", "", first)[0] in value["customer"]["email"]


@pytest.mark.parametrize(
    "schema, said",
    [
        (obj(), "no field to extract"),
        (obj(a={"const": 1}), "no field to extract"),
        ({"type": "array", "items": TEXT}, "put the list under a key"),
        (obj(code={"type": "string", "pattern": "^a$", "minLength": 3}), "'code'"),
        (obj(code={"type": "string", "pattern": "^(?=x)y$"}), "'code'"),
        (obj(n={"type": "integer", "minimum": 5, "maximum": 3}), "'n'"),
        (obj(n={"type": "integer", "minimum": 11, "maximum": 14, "multipleOf": 5}), "'n'"),
        (obj(a={"type": "array", "items": TEXT, "minItems": 3, "maxItems": 1}), "'a'"),
        (obj(a={"type": "array", "items": {"enum": [1]}, "minItems": 2, "uniqueItems": True}), "'a'"),
        (obj(["b"], a=TEXT), "'b'"),
        (obj(a=False), "'a'"),
        (obj(t={"type": "number", "x-slmbench": {"derive": "eval(1)"}}), "'t'"),
        (obj(t={"type": "number", "x-slmbench": {"derive": "x +"}}), "'t'"),
        (obj(t={"type": "number", "x-slmbench": {"derive": "l.n"}}, l=items(obj(n=WHOLE), minItems=1)), "gives a list"),
        ({**obj(a={"$ref": "#/$defs/a"}), "$defs": {"a": obj(b={"$ref": "#/$defs/a"})}}, "leads back to itself"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)) as caught:
        plan(schema, "mine.json")
    assert str(caught.value).startswith("mine.json") and "\n" not in str(caught.value)
