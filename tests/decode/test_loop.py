"""Decoding with drafts writes what one token a pass writes; what is written is legal, bounded, and counted right."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from engines import Fake, Scripted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slmbench.core import BadInput, Completion, Request, load_task
from slmbench.decode.grammar import Vocabulary
from slmbench.decode.loop import Decoder, Part
from slmbench.schema import canonical, strict_loads, validate
from slmbench.tasks.edge_json import TASK
from slmbench.template import prompt_text

END = 2


def ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer.encode(text, add_special_tokens=False).ids)


def documents(tokenizer: Any, count: int) -> tuple[list[Request], list[list[int]]]:
    """Requests for documents of our own, and the tokens of their gold."""
    examples = TASK.load("test")[:: 158 // count][:count]
    asked, golds = [], []
    for example in examples:
        gold = [*ids(tokenizer, canonical(example.target, example.schema)), END]
        begins = ids(tokenizer, prompt_text("", example.schema, "schema").split("Input:")[0])
        prompt = ids(tokenizer, prompt_text(example.text, example.schema, "schema"))
        asked.append(Request(example.id, prompt, len(gold) + 5, example.schema, example.text, len(begins) - 1))
        golds.append(gold)
    return asked, golds


def answers(decoder: Decoder, asked: list[Request]) -> list[Completion]:
    return list(decoder.generate(asked))


@pytest.mark.parametrize("slips", [0.0, 0.2])
def test_known_answers_are_written_in_few_passes(tokenizer: Any, vocabulary: Vocabulary, slips: float) -> None:
    asked, golds = documents(tokenizer, 12)
    rows = [(list(r.prompt_ids), gold) for r, gold in zip(asked, golds, strict=True)]
    fast = Decoder(Scripted(vocabulary.size, rows, slips), tokenizer, vocabulary)
    plain = Decoder(Scripted(vocabulary.size, rows, slips), tokenizer, vocabulary, draft_tokens=0)
    found, expected = answers(fast, asked), answers(plain, asked)
    assert [c.token_ids for c in found] == [c.token_ids for c in expected]
    assert fast.work.output_tokens == sum(len(c.token_ids) for c in found) == plain.work.output_tokens
    assert fast.work.accepted.total() <= fast.work.drafted.total()
    if not slips:
        assert [list(c.token_ids) for c in found] == golds
        assert {c.finish for c in found} == {"stop"} and {c.constraint for c in found} == {"schema"}
        assert fast.work.passes < 0.4 * plain.work.passes
        assert all(strict_loads(c.text) for c in found)


def test_likelihoods_are_the_models_own(tokenizer: Any, vocabulary: Vocabulary) -> None:
    """With drafts as without, one for each token; of what nobody chose, that of certainty."""
    asked, golds = documents(tokenizer, 6)
    rows = [(list(r.prompt_ids), gold) for r, gold in zip(asked, golds, strict=True)]
    wanted = [dataclasses.replace(request, likelihoods=True) for request in asked]
    fast, plain = (Decoder(Scripted(vocabulary.size, rows, 0.2), tokenizer, vocabulary, most) for most in (32, 0))
    for one, other, request in zip(answers(fast, wanted), answers(plain, wanted), wanted, strict=True):
        assert one.log_likelihoods == pytest.approx(other.log_likelihoods)
        assert len(one.log_likelihoods) == len(one.token_ids) and max(one.log_likelihoods) <= 0
        engine, read = Scripted(vocabulary.size, rows, 0.2), [*request.prompt_ids, *one.token_ids]
        logits = engine.forward([Part(0, read[:-1], 0, len(one.token_ids))])[0].astype(float)
        expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        chosen = expected[np.arange(len(one.token_ids)), one.token_ids]
        assert one.log_likelihoods[:-1] == pytest.approx(chosen[:-1])
    assert {c.log_likelihoods for c in answers(plain, asked)} == {()}


@pytest.mark.parametrize("most", [0, 32])
@pytest.mark.parametrize("slots", [2, 5])
def test_documents_answered_at_once_are_answered_as_one_by_one(
    tokenizer: Any, vocabulary: Vocabulary, slots: int, most: int
) -> None:
    asked, golds = documents(tokenizer, 12)
    asked[3] = dataclasses.replace(asked[3], schema=None, max_new_tokens=9)  # free, and cut
    rows = [(list(r.prompt_ids), gold) for r, gold in zip(asked, golds, strict=True)]
    one = Decoder(Scripted(vocabulary.size, rows, 0.1), tokenizer, vocabulary, most)
    many = Decoder(Scripted(vocabulary.size, rows, 0.1, slots), tokenizer, vocabulary, most)
    expected = {c.id: (c.token_ids, c.text, c.finish, c.constraint) for c in answers(one, asked)}
    for order in (asked, asked[::-1]):  # the second time on a cache that has been used
        found = answers(many, order)
        assert {c.id: (c.token_ids, c.text, c.finish, c.constraint) for c in found} == expected
        assert len(found) == len(asked) and {c.batch for c in found} == {slots}
    assert many.work.passes < 2 * one.work.passes * (0.4 if slots == 5 else 0.8)
    assert many.work.output_tokens == 2 * one.work.output_tokens and many.work.documents == 24


def test_who_stops_listening_leaves_the_decoder_whole(tokenizer: Any, vocabulary: Vocabulary) -> None:
    asked, golds = documents(tokenizer, 4)
    rows = [(list(r.prompt_ids), gold) for r, gold in zip(asked, golds, strict=True)]
    decoder = Decoder(Scripted(vocabulary.size, rows), tokenizer, vocabulary)
    assert next(decoder.stream(asked[0])) == golds[0][0]
    assert list(decoder.stream(asked[0])) == golds[0]
    assert [list(c.token_ids) for c in answers(decoder, asked)] == golds


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(document=st.text(max_size=60), seed=st.integers(0, 10**6), free=st.booleans())
def test_any_text_gives_the_same_with_drafts_and_without(
    tokenizer: Any, vocabulary: Vocabulary, document: str, seed: int, free: bool
) -> None:
    """Whatever the model says, and whatever the document: control characters, right-to-left text, repetitions."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12}, "n": {"type": "integer", "maximum": 99, "minimum": -9},
            "tags": {"type": "array", "items": {"enum": ["red", "green"]}, "maxItems": 3}, "ok": {"type": "boolean"},
        },
        "required": ["name", "tags"],
    }  # fmt: skip
    prompt = (seed % vocabulary.size, *ids(tokenizer, document))
    asked = [Request("a", prompt, 80, None if free else schema, document)]
    (fast,) = answers(Decoder(Fake(vocabulary.size), tokenizer, vocabulary), asked)
    (plain,) = answers(Decoder(Fake(vocabulary.size), tokenizer, vocabulary, draft_tokens=0), asked)
    assert fast.token_ids == plain.token_ids and 1 <= len(fast.token_ids) <= 81
    if not free and fast.finish == "stop":
        assert validate(strict_loads(fast.text), schema) == []


def test_the_shared_beginning_is_read_once(tokenizer: Any, vocabulary: Vocabulary) -> None:
    asked, golds = documents(tokenizer, 6)
    rows = [(list(r.prompt_ids), gold) for r, gold in zip(asked, golds, strict=True)]
    engine = Scripted(vocabulary.size, rows)
    decoder = Decoder(engine, tokenizer, vocabulary)
    first = answers(decoder, asked)
    read = sum(engine.passes)
    engine.passes.clear()
    again = answers(decoder, [*asked[3:], *asked[:3]])
    assert sum(engine.passes) <= read - sum(r.shared_tokens for r in asked) / 2
    assert {c.id: c.token_ids for c in again} == {c.id: c.token_ids for c in first}


def endless(tokenizer: Any, size: int, positions: int = 600) -> Fake:
    """A model that writes one letter wherever it may."""
    letter = ids(tokenizer, "a")[0]

    class Endless(Fake):
        def logits(self, before: Any) -> Any:
            found = super().logits(before)
            found[letter] += 50
            return found

    return Endless(size, positions)


def test_an_answer_that_never_ends_is_cut(tokenizer: Any, vocabulary: Vocabulary) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    for limit in (1, 2, 37):
        (done,) = answers(
            Decoder(endless(tokenizer, vocabulary.size), tokenizer, vocabulary),
            [Request("x", (5, 6), limit, schema, "a" * 99)],
        )
        assert done.finish == "length" and len(done.token_ids) == limit
    assert json.loads(done.text + '"}') == {"a": "a" * (37 - len(ids(tokenizer, '{"a":"')))}


@pytest.mark.parametrize("prompt", [1, 40, 98, 99])
def test_the_context_ends_at_the_same_token_with_drafts_and_without(
    tokenizer: Any, vocabulary: Vocabulary, prompt: int
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    request = Request("x", (5,) * prompt, 500, schema, "a" * 99)
    found = [
        answers(Decoder(endless(tokenizer, vocabulary.size, 100), tokenizer, vocabulary, draft_tokens=most), [request])[
            0
        ]
        for most in (0, 8, 32)
    ]
    assert {(done.token_ids, done.finish) for done in found} == {(found[0].token_ids, "length")}
    assert len(found[0].token_ids) == 100 - prompt


def test_a_document_over_the_context_is_refused(tokenizer: Any, vocabulary: Vocabulary) -> None:
    decoder = Decoder(Fake(vocabulary.size), tokenizer, vocabulary)
    with pytest.raises(BadInput, match=r"big: 600 tokens are over the 599 that this model reads"):
        answers(decoder, [Request("big", (5,) * 600, 10)])


def test_an_empty_document_is_answered(tokenizer: Any, vocabulary: Vocabulary) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    (done,) = answers(Decoder(Fake(vocabulary.size), tokenizer, vocabulary), [Request("x", (5,), 20, schema, "")])
    assert done.finish == "stop" and strict_loads(done.text)["a"] in (True, False)


@pytest.mark.parametrize("grounded", [False, True])
def test_calls_are_written_under_the_schemas_of_their_functions(
    tokenizer: Any, vocabulary: Vocabulary, grounded: bool
) -> None:
    """An array at the root, alternatives in it, nested arguments."""
    rows, asked = [], []
    for example in load_task("edge_func_call").load("test")[::40]:
        prompt = ids(tokenizer, example.id + example.text)
        gold = [*ids(tokenizer, canonical(example.target, example.schema)), END]
        rows.append((list(prompt), gold))
        asked.append(Request(example.id, prompt, len(gold), example.schema, example.text, grounded=grounded))
    fast = answers(Decoder(Scripted(vocabulary.size, rows, slots=3), tokenizer, vocabulary), asked)
    plain = answers(Decoder(Scripted(vocabulary.size, rows), tokenizer, vocabulary, draft_tokens=0), asked)
    assert {c.id: c.token_ids for c in fast} == {c.id: c.token_ids for c in plain}
    if not grounded:
        assert [list(c.token_ids) for c in plain] == [gold for _, gold in rows]
