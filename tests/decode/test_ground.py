"""Grounded answers only say what stands in the document, where the schema means a text of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engines import Fake
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from slmbench.core import Request
from slmbench.decode.cursor import spelt
from slmbench.decode.grammar import Vocabulary
from slmbench.decode.ground import Ground, Text, copied_text, loosened
from slmbench.decode.loop import Decoder
from slmbench.schema import canonical, leaves, strict_loads, validate
from slmbench.tasks.edge_json import TASK

LONGEST = 9
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "größe": {"type": "string", "maxLength": LONGEST}, "kind": {"enum": ["far", "near"]},
        "on": {"type": "string", "format": "date"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "free": {"type": "string", "maxLength": 4, "x-slmbench": {"grounded": False}},
    },
    "required": ["größe", "kind", "on", "tags", "free"],
}  # fmt: skip


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(document=st.text(min_size=1, max_size=40), seed=st.integers(0, 10**6))
@example(document="0" * 10, seed=0)
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
            cut = text == value["größe"] and len(text) == LONGEST  # within a longer word the schema ends it
            assert Text(document).has(spelt(text).encode().decode("latin-1"), whole=not cut)


def ground(document: str, written: str = "") -> Ground:
    """Behind a text, the schema's ground; tokens are characters' code points."""
    found = Ground(SCHEMA, document, lambda token: chr(token).encode().decode("latin-1"))
    for char in written:
        found.accept(ord(char))
    return found


@pytest.mark.parametrize(
    ("written", "following", "good"),
    [
        ('{"größe":"', "z", True), ('{"größe":"', "q", False), ('{"größe":"zwölf', " ", True),
        ('{"größe":"zwölf', "m", False), ('{"größe":"zw', '"', False), ('{"größe":"zwölf \\', '"', True),
        ('{"größe":"', "w", False), ('{"größe":"zwölf', '"', True), ('{"größe":"', '"', True),
        ('{"größe":"a","kind":"', "q", True), ('{"größe":"a","free":"', "q", True),
        ('{"tags":["', "q", False), ('{"tags":["m","', "m", True), ('{"größe":"a","on":"', "1", True),
    ],
)  # fmt: skip
def test_what_may_follow(written: str, following: str, good: bool) -> None:
    assert ground('zwölf "m"', written).allows(ord(following)) is good


@pytest.mark.parametrize(
    ("document", "text", "good"),
    [
        ("Colemanmouth", "Colem", False), ("Colemanmouth", "Colemanmouth", True), ("Colemanmouth", "mouth", False),
        ("100km", "100", True), ("100km", "km", True), ("100km", "10", False), ("x,y", "x", True),
        ("a1-b2 c", "b2", False), ("a1-b2 c", "a1-b2", True), ("to m.p@x.de.", "p@x.de", False),
        ("to m.p@x.de.", "m.p@x.de", True), ("(752)936", "752", False), ("(752) 936", "752", True),
        ("サイズは大です", "大", True), ("Zürich", "Z", False), ("Zürich", "rich", False), ("", "", True),
        ("", "a", False),
        ("pq p", "p", True),
    ],
)  # fmt: skip
def test_whole_words(document: str, text: str, good: bool) -> None:
    assert Text(document).has(text.encode().decode("latin-1"), whole=True) is good


CALLS: dict[str, Any] = {
    "type": "array",
    "items": {
        "anyOf": [
            {"properties": {"name": {"const": "ring"}, "arguments": {"$ref": "#/$defs/ring"}}},
            {"properties": {"name": {"const": "mail"}, "arguments": {
                "properties": {"to": {"type": "string"}, "why": {"enum": ["q"]}, "more": {"type": "string"}}}}},
        ]
    },
    "$defs": {"ring": {"properties": {"to": {"enum": ["q"]}, "why": {"type": "string"}, "more": {"type": "string"}}}},
}  # fmt: skip
VALUES: dict[str, Any] = {
    "properties": {
        "either": {"anyOf": [{"enum": ["q"]}, {"type": "null"}]},
        "both": {"allOf": [{"type": "string"}, {"x-slmbench": {"grounded": False}}]},
        "text": {"oneOf": [{"type": "string"}, {"type": "integer", "enum": [1]}]},
        "loose": {"anyOf": [{"type": "string", "x-slmbench": {"grounded": "loose"}}, {"type": "string"}]},
        "on": {"type": "string"},
    },
    "anyOf": [{"properties": {"on": {"format": "date"}}}, True],
}


@pytest.mark.parametrize(
    ("schema", "written", "free"),
    [
        (CALLS, '[{"name":"ring","arguments":{"to":"', True), (CALLS, '[{"name":"mail","arguments":{"to":"', False),
        (CALLS, '[{"name":"ring","arguments":{"why":"', False), (CALLS, '[{"name":"mail","arguments":{"why":"', True),
        (CALLS, '[{"name":"ring","arguments":{}},{"name":"mail","arguments":{"to":"', False),
        (CALLS, '[{"name":"mail","arguments":{}},{"name":"ring","arguments":{"to":"', True),
        (CALLS, '[{"arguments":{"to":"', True), (CALLS, '[{"arguments":{"why":"', True),
        (CALLS, '[{"arguments":{"more":"', False), (CALLS, '[{"arguments":{"none":"', False),
        (VALUES, '{"either":"', True), (VALUES, '{"both":"', True), (VALUES, '{"text":"', False),
        (VALUES, '{"loose":"', False), (VALUES, '{"on":"', True),
    ],
)  # fmt: skip
def test_of_alternatives_the_one_that_is_being_written_counts(schema: Any, written: str, free: bool) -> None:
    """Where it cannot be told yet, a string is only held to the document if all of them mean one of it."""
    for cut in (len(written), written.rindex(",") if "," in written else 0, 1):  # a token may hold several values
        tokens = {0: written[:cut], 1: written[cut:], 2: "q", 3: "d"}
        found = Ground(schema, "d", tokens.__getitem__)
        found.accept(0)
        whole = {**tokens, 2: tokens[1] + "q", 3: tokens[1] + "d"}
        found.text_of = whole.__getitem__
        assert (found.allows(2), found.allows(3)) == (free, True)
        found.accept(1)
        found.text_of = tokens.__getitem__
        assert (found.allows(2), found.allows(3), found.allows(2)) == (free, True, free)


def test_a_list_repeats_no_more_than_the_document() -> None:
    listing = '{"tags":["ab","cd","ab"'
    assert not ground("ab, cd", listing).allows(ord(","))
    assert ground("ab, cd", listing).allows(ord("]"))
    assert ground("ab, cd, ab", listing).allows(ord(","))


def test_case_and_white_space_where_the_schema_says_so() -> None:
    schema = {"properties": {"a": {"type": "string", "x-slmbench": {"grounded": "loose"}}, "b": {"type": "string"}}}
    for key, good in (("a", True), ("b", False)):
        found = Ground(schema, "The GREEN\n  Door", lambda token: chr(token))
        for char in f'{{"{key}":"green Doo':
            found.accept(ord(char))
        assert found.allows(ord("r")) is good
    assert loosened("A \n\tb") == loosened("a\\nb") == "a b"


def test_the_best_that_is_allowed_is_found_wherever_it_stands() -> None:
    logits = np.arange(2000, dtype=np.float32)
    mask = np.ones(2000, bool)
    found = ground("a b", '{"größe":"')
    assert found.best(logits, mask) == ord("b")
    mask[[ord(char) for char in 'ab "']] = False
    assert found.best(logits, mask) is None


@pytest.mark.parametrize(
    ("partial", "good"),
    [
        ("", True), ("a\\n", True), ("a\\", True), ("a\\t", False), ("n", False), ('\\"b', True), ("\\u0", True),
        ("b\\u001f", True), ("b\\u001e", False), ("b\\u1", False), ("1f", False), ("b\\u0", True),
        ("\\\\", True), ("\\\\\\", False), ("u", False),
    ],
)  # fmt: skip
def test_escapes_are_read_as_what_they_stand_for(partial: str, good: bool) -> None:
    assert Text('a\n"b\x1f\\').has(partial, whole=False) is good


def test_which_strings_are_meant() -> None:
    assert copied_text({"type": "string"}) == "exact" and copied_text({"type": "string", "maxLength": 3})
    for more in ({"enum": ["a"]}, {"const": "a"}, {"format": "date"}, {"pattern": "a"}):
        assert not copied_text({"type": "string", **more})
    assert not copied_text({"x-slmbench": {"grounded": False}}) and copied_text({"x-slmbench": "no"})
    assert copied_text({"x-slmbench": {"grounded": "loose"}}) == "loose"


@pytest.mark.parametrize("split", [split for split in TASK.splits() if not split.startswith("train_large")])
def test_no_gold_that_stands_in_its_document_is_forbidden(split: str) -> None:
    """Numbers that are derived, and the few texts that a document does not have, are not this test's."""
    for each in TASK.load(split):
        found = Ground(each.schema, each.text, lambda token: chr(token))
        values = [leaf for _, leaf in leaves(each.target) if isinstance(leaf, str)]
        text = canonical(each.target, each.schema)
        for char in text.encode().decode("latin-1"):
            if not found.allows(ord(char)):
                partial = found.cursor.partial.encode("latin-1").decode(errors="ignore")
                assert any(value not in each.text for value in values), (each.id, partial, char)
                break
            found.accept(ord(char))
