"""Example -> token ids and loss mask. The same function serves training, evaluation and decoding.

Prompt and completion are tokenised apart and concatenated, so the mask follows from two lengths and the boundary
tokens of a prompt are the same whether an answer follows (training) or not (decoding).
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from slmbench.core import Example
from slmbench.schema import canonical, properties_of, resolve

PromptStyle = Literal["plain", "schema"]

_INSTRUCTION = "Extract the structured JSON data from the following text.\n\n"
_INPUT = "Input: {text}\n\nOutput:"
_SCHEMA = "Schema: {schema}\n\n"


@dataclass(frozen=True)
class Encoded:
    """Token ids of prompt + completion + EOS; the loss covers `ids[prompt_tokens:]` and nothing else."""

    id: str
    ids: tuple[int, ...]
    prompt_tokens: int
    schema: str = ""
    """As the prompt writes it, empty where it does not: rows that have it in common begin alike."""

    @property
    def completion_tokens(self) -> int:
        """Tokens under the loss, EOS included."""
        return len(self.ids) - self.prompt_tokens


def prompt_text(text: str, schema: Mapping[str, Any], style: PromptStyle) -> str:
    """The prompt of one document. `text` is inserted, never interpreted: braces in it stay as they are."""
    return _beginning(render_schema(schema) if style == "schema" else "") + _INPUT.replace("{text}", text)


def instruction_text(schema: Mapping[str, Any]) -> str:
    """The prompt before its input, for a chat with a model that was trained on none of it: every list is spelt out.

    The document is the chat's next message, and nothing but the document: `slmbench serve` reads it there and makes the
    prompt anew.
    """
    return _beginning(render_schema(schema, spelt_out=True)).rstrip()


def _beginning(schema: str) -> str:
    return _INSTRUCTION + (_SCHEMA.replace("{schema}", schema) if schema else "")


def target_text(example: Example) -> str:
    """The byte-exact completion that training teaches: the canonical JSON of the example's target."""
    return canonical(example.target, example.schema)


def prompt_hash(style: PromptStyle) -> str:
    """SHA-256 of the template, so that two Runs with one hash asked in the same words."""
    template = _INSTRUCTION + (_SCHEMA if style == "schema" else "") + _INPUT
    return hashlib.sha256(template.encode()).hexdigest()


def encode_prompt(example: Example, tokenizer: Any, style: PromptStyle) -> tuple[int, ...]:
    """Prompt token ids, without any token that a tokenizer would add of its own."""
    text = prompt_text(example.text, example.schema, style)
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode(example: Example, tokenizer: Any, style: PromptStyle) -> Encoded:
    """Prompt, completion and EOS as one row of token ids.

    Raises ValueError where the tokenizer has no EOS, or pads with it: such a model would never learn to stop.
    """
    if tokenizer.eos_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise ValueError("the tokenizer needs an EOS token and a pad token that is another one")
    prompt = encode_prompt(example, tokenizer, style)
    completion = tokenizer(target_text(example), add_special_tokens=False)["input_ids"]
    written = sys.intern(render_schema(example.schema)) if style == "schema" else ""
    return Encoded(example.id, (*prompt, *completion, tokenizer.eos_token_id), len(prompt), written)


def render_schema(schema: Mapping[str, Any], *, spelt_out: bool = False) -> str:
    """A schema in the fewest tokens that still say keys, types, enums and what may be missing.

    Alternatives (`anyOf`, `oneOf`) stand with their descriptions, by which a model chooses among them. `x-slmbench:
    {"prompt": TEXT}` stands for a part that is not `spelt_out`: a long list that a model has learnt.

    >>> render_schema({"properties": {"n": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}},
    ...                "required": ["n"]})
    '{"n":integer,"tags"?:[string]}'
    """
    return _render(schema, schema, spelt_out)


def _render(schema: Any, root: Mapping[str, Any], spelt_out: bool) -> str:
    schema = resolve(schema, root)
    hints = schema.get("x-slmbench")
    if not spelt_out and isinstance(hints, Mapping) and isinstance(hints.get("prompt"), str):
        return str(hints["prompt"])
    if "enum" in schema:
        return "|".join(json.dumps(v, ensure_ascii=False) for v in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema and not schema.keys() & {"properties", "allOf"}:
            return "|".join(_branch(branch, root, spelt_out) for branch in schema[keyword])
    properties = properties_of(schema, root)
    if properties:
        required = set(schema.get("required", []))
        fields = (
            f"{json.dumps(key, ensure_ascii=False)}{'' if key in required else '?'}:{_render(sub, root, spelt_out)}"
            for key, sub in properties.items()
        )
        return "{" + ",".join(fields) + "}"
    if isinstance(schema.get("items"), dict):
        return f"[{_render(schema['items'], root, spelt_out)}]"
    kind = schema.get("type", "any")
    name = "|".join(kind) if isinstance(kind, list) else str(kind)
    return str(schema.get("format", name)) if name == "string" else name


def _branch(schema: Any, root: Mapping[str, Any], spelt_out: bool) -> str:
    """One of several alternatives, with what it is for."""
    said = schema.get("description") if isinstance(schema, Mapping) else None
    return _render(schema, root, spelt_out) + (f" ({said})" if isinstance(said, str) else "")
