from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slmbench import metrics
from slmbench.core import BadInput, Completion, Example
from slmbench.metrics import Score, aligned_leaf_hits, leaf_hits, score_output, wilson

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "paid": {"type": "boolean"},
        "total": {"type": "number", "multipleOf": 0.01},
        "items": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["name"],
    "additionalProperties": False,
}
GOLD: dict[str, Any] = {"name": "Ada", "paid": True, "total": 1}


def scored(output: str, target: Any = GOLD, finish: str = "stop") -> Score:
    return score_output(target, SCHEMA, output, finish)


def sample(id: str, output: str, target: Any = GOLD, **more: Any) -> dict[str, Any]:
    finish = more.get("finish", "stop")
    made = {
        "id": id,
        "schema_id": "card",
        "complexity": "simple",
        "style": "email",
        "target": json.dumps(target),
        "output": output,
        "finish": finish,
        "prompt_tokens": 10,
        "output_tokens": 5,
        "first_token_s": None,
        "total_s": 1.0,
        "batch": 8,
        "constraint": "free",
        "score": asdict(score_output(target, SCHEMA, output, finish)),
    }
    return {**made, **more}


def test_the_gold_itself_has_full_marks() -> None:
    score = scored(' \n{"total":1.0,"paid":true,"name":"Ada"}\n')
    assert score == Score(
        exact=True,
        exact_lenient=True,
        parsed=True,
        parsed_lenient=True,
        compliant=True,
        hits=3,
        predicted=3,
        gold=3,
        f1=1.0,
        aligned_hits=3,
        aligned_f1=1.0,
        truncated=False,
        errors=(),
    )


def test_score_takes_an_example_and_a_completion() -> None:
    example = Example("a", "text", "card", SCHEMA, GOLD, {})
    completion = Completion("a", '{"name":"Ada"}', (1,), "length", 3, 1, None, 1.0, 2)
    score = metrics.score(example, completion)
    assert (score.hits, score.predicted, score.gold, score.truncated) == (1, 1, 3, True)
    assert score.f1 == pytest.approx(0.5)


def test_true_is_not_one() -> None:
    score = scored('{"name":"Ada","paid":1,"total":true}')
    assert not score.exact
    assert (score.hits, score.predicted) == (1, 3)
    assert not score.compliant


def test_text_behind_the_value_is_lenient_only() -> None:
    score = scored(json.dumps(GOLD) + "\n\nInput: more")
    assert (score.exact, score.parsed) == (False, False)
    assert (score.exact_lenient, score.parsed_lenient, score.compliant, score.f1) == (True, True, True, 1.0)


@pytest.mark.parametrize(
    "output",
    [
        "",
        "I do not know.",
        '{"name":"Ada","name":"Ada"}',
        '{"total":NaN}',
        '{"total":Infinity}',
        '{"name":"Ada"',
        "[" * 100_000,
        '{"items":[' * 100_000,
        '{"name":"\\ud800"}',
        '{"total":' + "9" * 5000 + "}",
    ],
    ids=lambda output: output[:12],
)
def test_what_is_not_json_has_no_leaves_and_says_why(output: str) -> None:
    score = scored(output, finish="length")
    assert not (score.exact or score.exact_lenient or score.parsed or score.parsed_lenient or score.compliant)
    assert (score.hits, score.predicted, score.gold, score.f1) == (0, 0, 3, 0.0)
    assert score.truncated
    assert len(score.errors) == 1


def test_an_integer_of_400_digits_is_scored_and_not_compliant() -> None:
    assert not scored('{"name":"Ada","total":1' + "0" * 400 + "}").compliant


def test_violations_are_listed_five_at_most() -> None:
    score = scored(json.dumps({f"key{i}": i for i in range(9)} | {"name": 1, "paid": 1, "total": "", "items": 3}))
    assert not score.compliant
    assert 1 < len(score.errors) <= 5
    assert all(isinstance(error, str) for error in score.errors)


def test_a_dropped_list_item_costs_itself_only_when_aligned() -> None:
    gold = {"items": [{"a": 1, "b": 2}, {"a": 3, "b": 4}, {"a": 5, "b": 6}]}
    predicted = {"items": [{"a": 3, "b": 4}, {"a": 5, "b": 7}]}
    assert leaf_hits(predicted, gold) == 0
    assert aligned_leaf_hits(predicted, gold) == 3
    assert aligned_leaf_hits(gold, predicted) == 3


def test_alignment_keeps_the_order_of_items() -> None:
    assert aligned_leaf_hits([1, 2, 3], [3, 1, 2]) == 2
    assert aligned_leaf_hits([[1, 2], [3]], [[2], [0], [3]]) == 2


def test_empty_containers_are_leaves() -> None:
    assert leaf_hits({"a": [], "b": {}}, {"a": [], "b": {}}) == 2
    assert leaf_hits({"a": []}, {"a": {}}) == 0
    assert leaf_hits({"a": []}, {"a": [1]}) == 0
    assert aligned_leaf_hits({"a": []}, {"a": [1]}) == 0
    assert leaf_hits({"0": 1}, [1]) == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(json_values, json_values)
def test_properties_of_leaf_counts(a: Any, b: Any) -> None:
    score = score_output(a, {}, json.dumps(b), "stop")
    assert score.parsed and score.compliant
    assert score.hits <= score.aligned_hits <= min(score.predicted, score.gold)
    assert score.exact == (score.f1 == 1.0)
    assert leaf_hits(a, b) == leaf_hits(b, a)
    assert aligned_leaf_hits(a, b) == aligned_leaf_hits(b, a)


@settings(max_examples=150, deadline=None)
@given(st.text())
def test_scoring_never_raises_for_what_a_model_wrote(output: str) -> None:
    scored(output)
    scored('{"name":' + output)


def test_wilson_matches_published_values() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857-872, table I: 81/263, 15/148, 0/20, 1/29.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    assert wilson(20, 20)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)


def test_mcnemar_exact() -> None:
    assert metrics.mcnemar(0, 0) == 1.0
    assert metrics.mcnemar(5, 5) == 1.0
    assert metrics.mcnemar(0, 6) == pytest.approx(2 / 64)
    assert metrics.mcnemar(2, 8) == metrics.mcnemar(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert 0 < metrics.mcnemar(0, 1000) < 1e-200


def test_summary_by_hand() -> None:
    long_gold = {"name": "Ada", "items": [{"a": 1}, {"a": 2}, {"a": 3}]}
    samples = [
        sample("1", json.dumps(GOLD)),
        sample("2", json.dumps(GOLD) + " tail"),
        sample("3", "nothing", finish="length"),
        sample("4", json.dumps({"name": "Ada", "items": [{"a": 2}, {"a": 3}]}), long_gold),
    ]
    summary = metrics.summarize(samples)
    assert tuple(summary) == metrics.METRICS
    assert {name: (f["k"], f["n"]) for name, f in summary.items()} == {
        "json_exact": (1, 4),
        "json_exact_lenient": (2, 4),
        "field_f1": (3 + 3 + 0 + 1, 4),
        "field_f1_macro": (7, 4),
        "field_f1_aligned": (9, 4),
        "schema_compliance": (3, 4),
        "parse_rate": (2, 4),
        "truncated": (1, 4),
    }
    leaves = (3 + 3 + 0 + 3) + (3 + 3 + 3 + 4)
    assert summary["field_f1"]["value"] == pytest.approx(2 * 7 / leaves)
    assert summary["field_f1_aligned"]["value"] == pytest.approx(2 * 9 / leaves)
    assert summary["field_f1_macro"]["value"] == pytest.approx((1 + 1 + 0 + 2 / 7) / 4)
    assert all(f["low"] <= f["value"] <= f["high"] for f in summary.values())
    assert (summary["json_exact"]["low"], summary["json_exact"]["high"]) == wilson(1, 4)
    assert metrics.summarize(samples) == summary
    assert json.loads(json.dumps(summary)) == summary


def test_no_samples_is_bad_input() -> None:
    with pytest.raises(BadInput, match="no samples"):
        metrics.summarize([])


def test_slices_partition_and_keep_the_order_of_complexity() -> None:
    samples = [
        sample("1", json.dumps(GOLD), complexity="complex"),
        sample("2", json.dumps(GOLD), complexity="simple"),
        sample("3", "", complexity="medium"),
        sample("4", "", complexity="simple"),
    ]
    by = metrics.slices(samples, "complexity")
    assert list(by) == ["simple", "medium", "complex"]
    assert [part["n"] for part in by.values()] == [2, 1, 1]
    assert by["simple"]["json_exact"]["k"] == 1
    assert by["simple"]["field_f1"]["value"] == pytest.approx(2 * 3 / (3 + 6))


def test_latency_reads_batch_one_and_no_failures() -> None:
    samples = [
        sample(str(i), "{}", batch=1, total_s=float(i), first_token_s=i / 10, output_tokens=i) for i in (1, 2, 3)
    ]
    samples += [sample("8", "{}", total_s=99.0), sample("9", "", batch=1, total_s=0.0, finish="error", output_tokens=0)]
    assert metrics.latency(samples) == {
        "n": 3,
        "p50_s": 2.0,
        "p95_s": pytest.approx(2.9),
        "first_token_p50_s": pytest.approx(0.2),
        "first_token_p95_s": pytest.approx(0.29),
        "tokens_per_s": pytest.approx(1.0),
        "prompt_tokens": 50,
        "output_tokens": 11,
    }
    batched = metrics.latency(samples[3:4])
    assert (batched["n"], batched["p50_s"], batched["tokens_per_s"]) == (0, None, None)


def test_paired_bootstrap_of_equal_and_of_better() -> None:
    good = [sample(str(i), json.dumps(GOLD)) for i in range(30)]
    poor = [sample(str(i), json.dumps(GOLD) if i % 3 else "{}") for i in range(30)]
    none = metrics.paired_bootstrap(good, good)
    assert (none["difference"], none["low"], none["high"], none["p"]) == (0.0, 0.0, 0.0, 1.0)
    better = metrics.paired_bootstrap(poor, good)
    assert better["low"] <= better["difference"] <= better["high"]
    assert better["low"] > 0 and better["p"] < 0.01
    worse = metrics.paired_bootstrap(good, poor)
    assert worse["difference"] == pytest.approx(-better["difference"])
    with pytest.raises(BadInput, match="same documents"):
        metrics.paired_bootstrap(good, poor[1:])
