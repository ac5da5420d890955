"""Prompt and completion apart, the end token last and under the loss, a document's text never interpreted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from slmbench.core import Example
from slmbench.template import encode, encode_prompt, prompt_hash, prompt_text, render_schema, target_text

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["n"],
}
EXAMPLE = Example("a", "{text} {schema} {} %s \\n ü", "s", SCHEMA, {"tags": ["x"], "n": 1})


def test_the_prompt_is_the_one_that_is_published() -> None:
    said = "Extract the structured JSON data from the following text.\n\n"
    assert prompt_text("Hi", SCHEMA, "plain") == f"{said}Input: Hi\n\nOutput:"
    assert (
        prompt_text("Hi", SCHEMA, "schema") == f'{said}Schema: {{"n":integer,"tags"?:[string]}}\n\nInput: Hi\n\nOutput:'
    )


@pytest.mark.parametrize("style", ["plain", "schema"])
def test_a_text_is_inserted_as_it_is(style: Any) -> None:
    assert f"Input: {EXAMPLE.text}\n\nOutput:" in prompt_text(EXAMPLE.text, SCHEMA, style)
    odd = {"properties": {"{text}": {"enum": ["{schema}"]}}}
    assert prompt_text("T", odd, "schema").count('{"{text}"?:"{schema}"}') == 1


def test_prompt_and_completion_are_tokenised_apart(tokenizer: Any) -> None:
    row = encode(EXAMPLE, tokenizer, "plain")
    prompt, completion = row.ids[: row.prompt_tokens], row.ids[row.prompt_tokens :]
    assert prompt == encode_prompt(EXAMPLE, tokenizer, "plain")
    assert tokenizer.decode(prompt) == prompt_text(EXAMPLE.text, SCHEMA, "plain")
    assert tokenizer.decode(completion[:-1]) == target_text(EXAMPLE) == '{"n":1,"tags":["x"]}'
    assert row.completion_tokens == len(completion)
    assert tokenizer.bos_token_id not in row.ids


def test_the_end_token_is_the_last_label_and_no_other(tokenizer: Any) -> None:
    row = encode(EXAMPLE, tokenizer, "schema")
    assert row.ids[-1] == tokenizer.eos_token_id != tokenizer.pad_token_id
    assert tokenizer.eos_token_id not in row.ids[:-1]


@pytest.mark.parametrize(("eos", "pad"), [(None, 0), (2, 2)])
def test_a_tokenizer_that_could_not_teach_to_stop_is_refused(eos: int | None, pad: int) -> None:
    with pytest.raises(ValueError, match="another one"):
        encode(EXAMPLE, SimpleNamespace(eos_token_id=eos, pad_token_id=pad), "plain")


def test_the_styles_have_hashes_of_their_own() -> None:
    assert prompt_hash("plain") != prompt_hash("schema")
    assert prompt_hash("plain") == prompt_hash("plain")


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"enum": ["a", 1, None]}, '"a"|1|null'),
        ({"const": "é"}, '"é"'),
        ({"type": ["string", "null"]}, "string|null"),
        ({"type": "string", "format": "date"}, "date"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer|null"),
        ({}, "any"),
        (
            {"properties": {"a": {"$ref": "#/$defs/x"}}, "required": ["a"], "$defs": {"x": {"type": "number"}}},
            '{"a":number}',
        ),
    ],
)
def test_a_schema_in_few_tokens(schema: dict[str, Any], text: str) -> None:
    assert render_schema(schema) == text


def test_alternatives_of_what_is_required_leave_the_properties_in_the_prompt() -> None:
    parts = {"allOf": [{"properties": {"a": {"type": "string"}}}], "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert render_schema(parts) == '{"a"?:string}'
    named = {"oneOf": [{"const": "x", "description": "An x"}, {"const": "y"}]}
    assert render_schema({"properties": {"k": named}, "required": ["k"]}) == '{"k":"x" (An x)|"y"}'
    assert render_schema({"properties": {"k": {"enum": ["p"], "x-slmbench": {"prompt": "kind"}}}}) == '{"k"?:kind}'
