from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from slmbench.compare import compare, table
from slmbench.core import BadInput
from slmbench.metrics import METRICS, mcnemar, score_output, summarize

GOLD = {"a": 1, "b": [True, None]}


def sample(id: str, right: bool, complexity: str = "simple") -> dict[str, Any]:
    output = json.dumps(GOLD) if right else '{"a":1}'
    return {
        "id": id,
        "schema_id": "card",
        "complexity": complexity,
        "style": "email",
        "target": json.dumps(GOLD),
        "output": output,
        "finish": "stop",
        "score": asdict(score_output(GOLD, {}, output, "stop")),
    }


def run(pattern: str) -> list[dict[str, Any]]:
    return [sample(f"row-{i}", mark == "+", "simple" if i % 2 else "complex") for i, mark in enumerate(pattern)]


BASE, TUNED = run("--------+-"), run("++++++++-+")


def test_differences_and_discordant_pairs() -> None:
    result = compare(BASE, TUNED)
    exact = result["metrics"]["json_exact"]
    assert (exact["a"], exact["b"], exact["difference"]) == (0.1, 0.9, pytest.approx(0.8))
    assert (exact["lost"], exact["gained"], exact["p"]) == (1, 9, mcnemar(1, 9))
    assert result["flips"]["lost"] == ["row-8"]
    assert result["flips"]["gained"] == [f"row-{i}" for i in (0, 1, 2, 3, 4, 5, 6, 7, 9)]
    assert set(result["metrics"]) == set(METRICS)
    f1 = result["metrics"]["field_f1"]
    assert f1["difference"] == pytest.approx(
        summarize(TUNED)["field_f1"]["value"] - summarize(BASE)["field_f1"]["value"]
    )
    assert f1["test"] == "bootstrap" and f1["low"] > 0
    assert json.loads(json.dumps(result)) == result


def test_interval_of_a_paired_difference() -> None:
    # Agresti and Min 2005: half an observation in each cell; 1 lost and 9 gained of 10, computed by hand.
    centre = (9.5 - 1.5) / 12
    half = 1.959964 * (11 - 8**2 / 12) ** 0.5 / 12
    exact = compare(BASE, TUNED)["metrics"]["json_exact"]
    assert exact["low"] == pytest.approx(centre - half, abs=1e-6)
    assert exact["high"] == pytest.approx(min(1.0, centre + half), abs=1e-6)


def test_order_of_the_second_run_does_not_matter() -> None:
    assert compare(BASE, TUNED[::-1]) == compare(BASE, TUNED)


def test_a_run_against_itself_shows_nothing() -> None:
    result = compare(TUNED, TUNED)
    assert all(part["difference"] == 0 and part["p"] == 1 for part in result["metrics"].values())
    assert result["flips"] == {"gained": [], "lost": []}


def test_slices_are_paired_too() -> None:
    slices = compare(BASE, TUNED)["slices"]
    assert list(slices["complexity"]) == ["simple", "complex"]
    assert slices["complexity"]["simple"]["n"] == 5
    assert slices["complexity"]["complex"]["json_exact"]["lost"] == 1
    assert sum(part["json_exact"]["gained"] for part in slices["complexity"].values()) == 9


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        (BASE, TUNED[:-2], "only in the first: row-8, row-9"),
        (BASE[:3], TUNED, r"only in the second: row-3, .* and 2 more"),
        (BASE, [*TUNED, TUNED[0]], "second run has more than one sample of row-0"),
        ([], [], "no samples"),
        (BASE, [{**TUNED[0], "target": "{}"}, *TUNED[1:]], "different targets for row-0"),
    ],
)
def test_what_cannot_be_paired_is_bad_input(a: list[dict[str, Any]], b: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        compare(a, b)


def test_table_is_aligned_and_names_the_flips() -> None:
    text = table(compare(BASE, TUNED), "old", "new")
    lines = text.splitlines()
    assert lines[0].startswith("10 documents, paired") and " old " in lines[0]
    exact = next(line for line in lines if line.startswith("JSONExact "))
    assert "10.0 %" in exact and "90.0 %" in exact and "+80.0" in exact and "1 / 9" in exact
    assert lines[-1] == "lost JSONExact: row-8"
    assert "  simple (5)" in text and "by style" not in text
