"""The evaluation loop: every example answered once, whatever happened before, and the budget follows the gold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slmbench.config import Evaluation
from slmbench.core import Completion, Example, Request
from slmbench.evaluate import evaluate, request, spread
from slmbench.files import read_jsonl_tolerant
from slmbench.schema import canonical
from slmbench.tasks.edge_json import TASK
from slmbench.template import Encoded

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
EXAMPLES = [Example(f"e{i}", f"Number {i}", "s", SCHEMA, {"n": i}, {"style": "x"}) for i in range(6)]
ENCODED = [Encoded(e.id, tuple(range(10 + i)), 7) for i, e in enumerate(EXAMPLES)]


class Speaker:
    """A backend that answers with the gold, backwards, and stops after `lasting` answers."""

    def __init__(self, lasting: int = 99) -> None:
        self.asked: list[str] = []
        self.lasting = lasting

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        gold = {e.id: canonical(e.target, SCHEMA) for e in EXAMPLES}
        for number, one in enumerate(reversed(list(requests))):
            if number == self.lasting:
                raise KeyboardInterrupt
            self.asked.append(one.id)
            yield Completion(one.id, gold[one.id], (1, 2), "stop", len(one.prompt_ids), 2, 0.1, 0.2, 1)


def answer(path: Path, backend: Any) -> list[dict[str, Any]]:
    return evaluate(TASK, backend, EXAMPLES, ENCODED, Evaluation(), path, "test")


def test_samples_come_in_the_examples_order_and_scored(tmp_path: Path) -> None:
    samples = answer(tmp_path / "s.jsonl", Speaker())
    assert [s["id"] for s in samples] == [e.id for e in EXAMPLES]
    assert all(s["score"]["exact"] and s["score"]["compliant"] for s in samples)
    assert samples[0] == {
        "id": "e0", "schema_id": "s", "complexity": "unlabelled", "style": "x", "target": '{"n":0}',
        "output": '{"n":0}', "finish": "stop", "prompt_tokens": 7, "output_tokens": 2, "first_token_s": 0.1,
        "total_s": 0.2, "batch": 1, "constraint": "free", "score": samples[0]["score"],
    }  # fmt: skip


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    broken = Speaker(lasting=3)
    with pytest.raises(KeyboardInterrupt):
        answer(path, broken)
    with path.open("a") as file:
        file.write('{"id": "e1", "scor')  # a line that a kill cut short
    second = Speaker()
    samples = answer(path, second)
    assert broken.asked + second.asked == ["e5", "e4", "e3", "e2", "e1", "e0"]
    assert samples == answer(path, Speaker(lasting=0))
    assert sorted(s["id"] for s in read_jsonl_tolerant(path)) == [e.id for e in EXAMPLES]
    assert samples == answer(tmp_path / "undisturbed.jsonl", Speaker())


def test_the_budget_follows_the_golds_length() -> None:
    asked = request(Encoded("a", tuple(range(30)), 20), Evaluation(budget_factor=1.5, budget_extra=32))
    assert asked == Request("a", tuple(range(20)), 47)


@pytest.mark.parametrize(("count", "wanted", "places"), [(10, 3, [0, 3, 6]), (2, 5, [0, 1]), (4, 4, [0, 1, 2, 3])])
def test_spread_is_even(count: int, wanted: int, places: list[int]) -> None:
    assert spread(count, wanted) == places
