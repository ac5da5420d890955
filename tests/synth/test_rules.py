"""Rules that work a value out."""

from __future__ import annotations

from decimal import Decimal

import pytest

from slmbench.synth.rules import evaluate, operands

NAMES = {"a": 1, "b": 2, "c": 3.5, "lines": [{"n": 2, "price": 1.5}, {"n": 1, "price": 4}], "in": {"x": 7}}


@pytest.mark.parametrize(
    "rule, value",
    [
        ("a + b * c", "8"),
        ("(a + b) / 2", "1.5"),
        ("-a - 0.5", "-1.5"),
        ("sum(lines.n * lines.price)", "7"),
        ("sum(lines.price * 2)", "11"),
        ("count(lines)", "2"),
        ("max(lines.price) - min(lines.price)", "2.5"),
    ],
)
def test_rules_are_worked_out_exactly(rule: str, value: str) -> None:
    assert evaluate(rule, NAMES) == Decimal(value)


@pytest.mark.parametrize(
    "rule", ["__import__('os')", "a ** 2", "[a]", "a if b else c", "sum(a, b)", "open(a)", "'x'", "count(a, b=1)"]
)
def test_only_simple_rules_are_worked_out(rule: str) -> None:
    with pytest.raises(ValueError):
        evaluate(rule, NAMES)


def test_what_rules_name_is_known() -> None:
    rule = {"x-slmbench": {"derive": "sum(lines.n) + a"}}
    assert {"lines", "a"} <= operands({"total": rule, "b": {}, "c": True})
