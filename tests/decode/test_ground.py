"""Grounded answers only say what stands in the document, where the schema means a text of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engines import Fake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slmbench.core import Request
from slmbench.decode.cursor import Cursor
from slmbench.decode.grammar import Vocabulary
from slmbench.decode.ground import Ground, copied_text, stands
from slmbench.decode.loop import Decoder
from slmbench.schema import strict_loads, validate

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "größe": {"type": "string", "maxLength": 9}, "kind": {"enum": ["far", "near"]},
        "on": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "free": {"type": "string", "maxLength": 4, "x-slmbench": {"grounded": False}},
    },
    "required": ["größe", "kind", "on", "tags", "free"],
}  # fmt: skip


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(document=st.text(min_size=1, max_size=40), seed=st.integers(0, 10**6))
def test_strings_stand_in_the_document(tokenizer: Any, vocabulary: Vocabulary, document: str, seed: int) -> None:
    prompt = (seed % vocabulary.size, 7)
    asked = [Request("a", prompt, 160, SCHEMA, document, grounded=True)]
    (fast,) = Decoder(Fake(vocabulary.size), tokenizer, vocabulary).generate(asked)
    (plain,) = Decoder(Fake(vocabulary.size), tokenizer, vocabulary, draft_tokens=0).generate(asked)
    assert fast.token_ids == plain.token_ids and fast.constraint == "grounded"
    if fast.finish == "stop":
        value = strict_loads(fast.text)
        assert validate(value, SCHEMA) == []
        for text in (value["größe"], *value["tags"]):
            assert text in document


def ground(document: str) -> Ground:
    """Tokens are characters' code points."""
    return Ground(SCHEMA, document, lambda token: chr(token).encode().decode("latin-1"))


def at(text: str) -> Cursor:
    cursor = Cursor()
    cursor.feed(text.encode().decode("latin-1"))
    return cursor


@pytest.mark.parametrize(
    ("written", "following", "good"),
    [
        ('{"größe":"', "z", True), ('{"größe":"', "q", False), ('{"größe":"zwölf', " ", True),
        ('{"größe":"zwölf', "m", False), ('{"größe":"zw', '"', True), ('{"größe":"zwölf \\', '"', True),
        ('{"größe":"', '"', True), ('{"größe":"a","kind":"', "q", True), ('{"größe":"a","free":"', "q", True),
        ('{"tags":["', "q", False), ('{"tags":["m","', "m", True), ('{"größe":"a","on":"', "1", True),
    ],
)  # fmt: skip
def test_what_may_follow(written: str, following: str, good: bool) -> None:
    assert ground('zwölf "m"').allows(at(written), ord(following)) is good


def test_the_best_that_is_allowed_is_found_wherever_it_stands() -> None:
    logits = np.arange(2000, dtype=np.float32)
    mask = np.ones(2000, bool)
    found = ground("ab")
    assert found.best(at('{"größe":"'), logits, mask) == ord("b")
    mask[ord("b")] = mask[ord("a")] = mask[ord('"')] = False
    assert found.best(at('{"größe":"'), logits, mask) is None


@pytest.mark.parametrize(
    ("partial", "good"),
    [
        ("", True), ("a\\n", True), ("a\\", True), ("a\\t", False), ("n", False), ('\\"b', True), ("\\u0", True),
        ("\\u001f", True), ("\\u001e", False), ("\\u1", False), ("1f", False),
        ("\\\\", True), ("\\\\\\", False), ("u", False),
    ],
)  # fmt: skip
def test_escapes_are_read_as_what_they_stand_for(partial: str, good: bool) -> None:
    assert stands(partial, 'a\n"b\x1f\\') is good


def test_which_strings_are_meant() -> None:
    assert copied_text({"type": "string"}) and copied_text({"type": "string", "maxLength": 3})
    for more in ({"enum": ["a"]}, {"const": "a"}, {"format": "date"}, {"pattern": "a"}):
        assert not copied_text({"type": "string", **more})
    assert not copied_text({"x-slmbench": {"grounded": False}}) and copied_text({"x-slmbench": "no"})
