"""Decoding: what a row writes is what transformers' own greedy search writes, alone or among others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from slmbench import models
from slmbench.backends.hf import HfBackend
from slmbench.core import Completion, Request, SlmbenchError
from slmbench.template import Encoded


@pytest.fixture
def model(tiny: Any) -> Any:
    return models.load_model(tiny)


@pytest.fixture
def requests(encoded: list[Encoded]) -> list[Request]:
    """Prompts of many lengths with budgets of many sizes."""
    rows = [Request(r.id, r.ids[: r.prompt_tokens], 5 + 3 * (i % 9)) for i, r in enumerate(encoded)]
    assert len({len(r.prompt_ids) for r in rows}) > 8
    return rows


def by_id(completions: Any) -> dict[str, Completion]:
    return {completion.id: completion for completion in completions}


def reference(model: Any, request: Request, stops: set[int]) -> tuple[int, ...]:
    """The plain twin: the whole text through the model again for every token."""
    ids = list(request.prompt_ids)
    with torch.inference_mode():
        while len(ids) - len(request.prompt_ids) < request.max_new_tokens:
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] in stops:
                break
    return tuple(ids[len(request.prompt_ids) :])


@pytest.mark.parametrize("batch_tokens", [1, 300, 900, 10**6])
def test_a_row_writes_what_it_writes_alone(
    tiny: Any, model: Any, tokenizer: Any, requests: list[Request], batch_tokens: int
) -> None:
    backend = HfBackend(model, tokenizer, batch_tokens)
    answers = by_id(backend.generate(requests))
    plain = models.load_model(tiny)
    assert {r.id: answers[r.id].token_ids for r in requests} == {
        r.id: reference(plain, r, backend.stops) for r in requests
    }


def test_rounding_does_not_depend_on_the_rows_beside(tiny: Any, tokenizer: Any, requests: list[Request]) -> None:
    """In bf16 a product of another height may round another way, and an answer go another."""
    rounded = models.load_model(tiny, "bf16")
    asked = [replace(r, max_new_tokens=40) for r in requests]
    expected = by_id(HfBackend(rounded, tokenizer, 10**6).generate(asked))
    for batch_tokens in (1, 300, 900):
        answers = by_id(HfBackend(rounded, tokenizer, batch_tokens).generate(asked))
        assert {name: c.token_ids for name, c in answers.items()} == {n: c.token_ids for n, c in expected.items()}


def test_one_at_a_time_knows_its_first_token(model: Any, tokenizer: Any, requests: list[Request]) -> None:
    alone = by_id(HfBackend(model, tokenizer, rows=1).generate(requests))
    many = by_id(HfBackend(model, tokenizer).generate(requests))
    for request in requests:
        one = alone[request.id]
        assert (one.batch, one.constraint, one.prompt_tokens) == (1, "free", len(request.prompt_ids))
        assert one.first_token_s is not None and 0 < one.first_token_s <= one.total_s
        assert many[request.id].batch > 1
        assert many[request.id].first_token_s is None
        assert (one.text, one.token_ids, one.finish) == (
            many[request.id].text, many[request.id].token_ids, many[request.id].finish,
        )  # fmt: skip


def test_an_answer_ends_at_its_end_token_or_at_its_limit(model: Any, tokenizer: Any, requests: list[Request]) -> None:
    backend = HfBackend(model, tokenizer)
    backend.stops = set()
    free = by_id(backend.generate(requests))
    assert {c.finish for c in free.values()} == {"length"}
    assert all(c.output_tokens == r.max_new_tokens for r in requests for c in [free[r.id]])
    # Whatever a row writes third is now an end token: it ends there, and the token is counted and not shown.
    chosen = max(requests, key=lambda r: r.max_new_tokens)
    written = free[chosen.id].token_ids
    backend.stops = {written[2]}
    ended = by_id(backend.generate(requests))
    one = ended[chosen.id]
    first = written.index(written[2])
    assert one.finish == "stop"
    assert one.token_ids == written[: first + 1]
    assert one.output_tokens == first + 1
    assert one.text == tokenizer.decode(written[:first])
    for request in requests:  # the others go on as before
        other = free[request.id].token_ids
        cut = other[: other.index(written[2]) + 1] if written[2] in other else other
        assert ended[request.id].token_ids == cut


def test_a_limit_of_one_token(model: Any, tokenizer: Any, requests: list[Request]) -> None:
    answers = by_id(HfBackend(model, tokenizer).generate([replace(r, max_new_tokens=1) for r in requests]))
    assert {len(c.token_ids) for c in answers.values()} == {1}


def test_nothing_asked_is_nothing_answered(model: Any, tokenizer: Any) -> None:
    assert list(HfBackend(model, tokenizer).generate([])) == []


# ---- memory that runs out


def fail(backend: HfBackend, over: int, error: Exception, times: int) -> list[int]:
    """Let memory run out in steps of more than `over` rows, so many times; returns the rows of every step."""
    plain, seen = backend._step, []

    def step(active: Any, cache: Any) -> None:
        nonlocal times
        seen.append(len(active))
        if len(active) > over and times:
            times -= 1
            raise error
        plain(active, cache)

    backend._step = step  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("error", [RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError()])
def test_out_of_memory_halves_the_rows_and_loses_no_request(
    model: Any, tokenizer: Any, requests: list[Request], error: Exception, times: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    expected = by_id(HfBackend(model, tokenizer, rows=1).generate(requests))
    backend = HfBackend(model, tokenizer, 8 * max(len(r.prompt_ids) + r.max_new_tokens for r in requests))
    seen = fail(backend, 2, error, times)
    answers = list(backend.generate(requests))
    assert sorted(c.id for c in answers) == sorted(r.id for r in requests)
    assert {c.id: (c.token_ids, c.text, c.finish) for c in answers} == {
        name: (c.token_ids, c.text, c.finish) for name, c in expected.items()
    }
    assert seen[0] == 8 and max(seen[times:]) <= 8 // 2**times
    said = capsys.readouterr().err
    assert [f"out of memory: {rows} rows at a time from here on" in said for rows in (4, 2, 1)] == [
        True, times == 2, False,
    ]  # fmt: skip


def test_answers_before_memory_ran_out_are_given_once(model: Any, tokenizer: Any, requests: list[Request]) -> None:
    """Some rows had ended when it did: they are not asked again."""
    short = [replace(r, max_new_tokens=1 if i % 2 else 9) for i, r in enumerate(requests)]
    expected = by_id(HfBackend(model, tokenizer, rows=1).generate(short))
    backend = HfBackend(model, tokenizer, 10**6)
    plain, steps = backend._step, 0

    def step(active: Any, cache: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise MemoryError
        plain(active, cache)

    backend._step = step  # type: ignore[method-assign]
    asked = iter(backend.generate(short))
    answers = list(asked)
    assert len(answers) == len(short) and {c.id for c in answers} == set(expected)
    assert all(c.token_ids == expected[c.id].token_ids for c in answers)


def test_one_row_that_does_not_fit_is_a_sentence(model: Any, tokenizer: Any, requests: list[Request]) -> None:
    backend = HfBackend(model, tokenizer)
    fail(backend, 0, MemoryError(), -1)
    room = max(len(r.prompt_ids) + r.max_new_tokens for r in requests)
    with pytest.raises(
        SlmbenchError,
        match=rf"one answer of up to {room} tokens does not fit in memory, \d+\.\d GiB were in use; end other programs"
        r" or lower evaluate\.budget_factor",
    ):
        list(backend.generate(requests))


def test_another_error_while_decoding_passes_through(model: Any, tokenizer: Any, requests: list[Request]) -> None:
    backend = HfBackend(model, tokenizer)
    fail(backend, 0, RuntimeError("shapes cannot be multiplied"), 1)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        list(backend.generate(requests))
