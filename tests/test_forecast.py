"""The plan of a run: passes become smaller until they fit, and whoever reads it learns what fits and what does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slmbench import budget, forecast
from slmbench.core import BadInput, SlmbenchError
from slmbench.forecast import Forecast, check_fit, device_of, passes, table
from slmbench.memory import GIB
from slmbench.pipeline import Plan, forecast_of, make_plan
from slmbench.preflight import foretell

AMPLE = 2**50


@pytest.fixture
def plan(recipe: Any, tmp_path: Path) -> Plan:
    return make_plan(replace(recipe, adapter=replace(recipe.adapter, dropout=0.0)), tmp_path)


def told(plan: Plan, limit: int = AMPLE, **settings: Any) -> Forecast:
    return forecast.forecast(plan, limit=limit, measure=False, **settings)


def work(plan: Plan, one: Forecast) -> budget.Training:
    """What the forecast counted, from its own parts."""
    config = json.loads((plan.base.folder / "config.json").read_text())
    shape = budget.shape_of(config, plan.base.parameters)
    dropout = plan.recipe.adapter.dropout > 0
    return budget.Training(shape, "fp32", 4, plan.recipe.adapter.targets, one.gradients == "by hand", dropout=dropout)


# ---- what fits


@pytest.mark.parametrize("dropout", [0.0, 0.1], ids=["by hand", "autograd"])
def test_passes_are_halved_then_layers_computed_again_then_it_does_not_fit(plan: Plan, dropout: float) -> None:
    plan = replace(plan, recipe=replace(plan.recipe, adapter=replace(plan.recipe.adapter, dropout=dropout)))
    ample = told(plan)
    assert (ample.gradients, ample.pass_tokens) == ("autograd" if dropout else "by hand", 400)
    seen = [ample]
    while seen[-1].fits:
        seen.append(told(plan, seen[-1].training["total"] - 1))
        assert len(seen) < 10
    tokens = [one.pass_tokens for one in seen if not one.recompute]
    assert tokens[0] == 400 and len(tokens) >= 2
    assert all(
        tokens[i + 1] in (tokens[i] // 2, tokens[i] // 4, forecast.SMALLEST_PASS) for i in range(len(tokens) - 1)
    )
    again = [one for one in seen if one.recompute]
    assert seen[-len(again) :] == again  # once layers are computed again, they stay so
    assert [one.fits for one in again] == [True, False]
    assert all(one.pass_tokens == one.longest_row == max(len(r.ids) for r in plan.train.encoded) for one in again)
    for one in seen:
        assert one.training["total"] == budget.training_bytes(
            work(plan, one), passes(plan, one.pass_tokens, not dropout), recompute=one.recompute
        )["total"]  # fmt: skip


def test_passes_are_those_of_the_training(plan: Plan) -> None:
    small, large = passes(plan, 1, True), passes(plan, 10**6, True)
    lengths = sorted(len(row.ids) for row in plan.train.encoded)
    assert sorted(own for group in small for own, _ in group) == sorted(lengths * 2)
    assert sorted({seen for group in large for _, seen in group} - set(lengths))  # what rows begin with
    assert sum(own for group in large for own, _ in group) < sum(lengths * 2)
    assert {len(group) for group in small} == {1}
    assert len(large) == 10  # as many as updates


def test_a_gpu_takes_a_whole_update_where_that_fits(plan: Plan) -> None:
    longest = max(len(r.ids) for r in plan.train.encoded)
    one = told(plan, 16 * GIB, device="cuda")
    assert (one.device, one.gradients, one.pass_tokens) == ("cuda", "autograd", 4 * longest)
    assert (one.training_seconds, one.evaluation_seconds) == (None, None)


@pytest.mark.parametrize(("device", "expected"), [("cuda", "bf16"), ("cpu", "fp32")])
def test_precision_where_it_is_left_open(
    plan: Plan, device: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slmbench.memory.cpu_flags", lambda: frozenset({"avx2"}))
    train = replace(plan.recipe.train, precision="auto")
    assert told(replace(plan, recipe=replace(plan.recipe, train=train)), device=device).precision == expected


def test_a_base_of_another_kind_is_trained_by_autograd(plan: Plan, tmp_path: Path) -> None:
    folder = tmp_path / "gpt"
    folder.mkdir()
    config = json.loads((plan.base.folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "qwen3"}))
    assert told(plan).gradients == "by hand"
    assert told(replace(plan, base=replace(plan.base, folder=folder))).gradients == "autograd"


def test_evaluation_holds_fewer_positions_where_memory_is_short(plan: Plan) -> None:
    many = replace(plan, recipe=replace(plan.recipe, evaluate=replace(plan.recipe.evaluate, batch_tokens=10**6)))
    ample = told(many)
    assert ample.evaluation_positions == 10**6
    short = told(many, ample.evaluation["total"] - 1)
    assert short.evaluation_positions == 500_000 and short.fits
    least = told(many, 1)
    longest = max(len(row.ids) for row in plan.tests["exam"].encoded)
    assert longest < least.evaluation_positions < 4 * longest and not least.fits


def test_time_is_measured_here_only(plan: Plan) -> None:
    here = forecast.forecast(plan, limit=AMPLE)
    assert here.training_seconds is not None and here.training_seconds >= 0
    assert here.evaluation_seconds is not None and here.evaluation_seconds >= 0


# ---- what is said


def test_the_table_says_what_fits(plan: Plan) -> None:
    one = told(plan, 8 * GIB)
    text = table(one)
    for name in ("training", "evaluation", "weights", "activations", "key-value cache", "most at any time"):
        assert name in text, name
    assert "on cpu in fp32, gradients by hand: 400 tokens a pass (longest row" in text
    assert "computed again" not in text and "time:" not in text
    assert text.splitlines()[-1] == f"fits: {one.peak / GIB:.2f} GiB foretold, 8.00 GiB allowed"
    assert len({len(line) for line in text.splitlines()[:3]}) == 1
    timed = table(replace(one, training_seconds=61.0, evaluation_seconds=3.2))
    assert "time: 2 min training, 3 s evaluation" in timed
    none = told(plan, 1)
    assert "each layer computed again in the backward pass" in table(none)
    assert table(none).splitlines()[-1] == f"does not fit: {none.peak / GIB:.2f} GiB foretold, 0.00 GiB allowed"


def test_what_does_not_fit_is_one_sentence(plan: Plan) -> None:
    check_fit(told(plan))
    none = told(plan, 2**20)
    with pytest.raises(
        SlmbenchError, match=r"training needs \d\.\d\d GiB even with the smallest passes, and 0\.00 GiB are there; end"
        rf" other programs, allow more --memory, or lower data\.max_tokens \(the longest row has {none.longest_row}\)",
    ):  # fmt: skip
        check_fit(none)
    with pytest.raises(SlmbenchError, match="evaluation needs"):
        check_fit(none, ["evaluation"])
    only = replace(none, limit=none.training["total"])
    assert only.evaluation["total"] != only.limit
    check_fit(only, ["training"])


def test_all_of_it_is_json(plan: Plan) -> None:
    one = told(plan)
    values = json.loads(json.dumps(one.to_json()))
    assert values["fits"] is True
    assert values["peak"] == max(values["training"]["total"], values["evaluation"]["total"]) == one.peak


@pytest.mark.parametrize(
    ("text", "expected"), [("cuda:16GiB", ("cuda", 16 * GIB)), ("cpu:800MB", ("cpu", 800 * 10**6))]
)
def test_a_device_and_its_memory(text: str, expected: tuple[str, int]) -> None:
    assert device_of(text) == expected


@pytest.mark.parametrize("text", ["cuda", "cuda:", "tpu:8GiB", "16GiB", "", ":8GiB", "cuda:much", "cpu:0GiB"])
def test_a_device_that_is_none(text: str) -> None:
    with pytest.raises(BadInput, match=r"write it like (cuda:16GiB or cpu:8GiB|10GiB or 800MB)"):
        device_of(text)


# ---- the verb


def test_plan_prints_and_spends_nothing(recipe_file: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    said = slmbench("plan", recipe_file, "--runs", tmp_path, "--json")
    assert said.code == 0
    values = json.loads(said.out)
    assert values["fits"] and values["training_seconds"] is not None
    assert values["gradients"] == "autograd"  # the recipe has dropout
    said = slmbench("plan", recipe_file, "--runs", tmp_path, "--memory", "8GiB", "--set", "adapter.dropout=0")
    assert said.code == 0
    assert "gradients by hand" in said.out and "8.00 GiB allowed" in said.out and "time: " in said.out
    assert list(tmp_path.iterdir()) == []


def test_plan_of_what_does_not_fit_is_exit_1(recipe_file: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    said = slmbench("plan", recipe_file, "--runs", tmp_path, "--memory", "100MiB", "--json")
    assert said.code == 1
    values = json.loads(said.out)
    assert (values["fits"], values["recompute"], values["limit"]) == (False, True, 100 * 2**20)


def test_plan_for_another_machine(recipe_file: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    said = slmbench("plan", recipe_file, "--runs", tmp_path, "--device", "cuda:16GiB", "--json")
    assert said.code == 0
    values = json.loads(said.out)
    assert (values["device"], values["limit"], values["training_seconds"]) == ("cuda", 16 * GIB, None)
    said = slmbench("plan", recipe_file, "--runs", tmp_path, "--device", "cuda:16GiB")
    assert "on cuda in fp32" in said.out and "time:" not in said.out
    assert slmbench("plan", recipe_file, "--runs", tmp_path, "--device", "cpu:50MiB").code == 1


@pytest.mark.parametrize(
    ("verb", "flag", "value"),
    [
        *(("plan", "--device", value) for value in ("cuda", "tpu:8GiB", "cuda:lots")),
        *((verb, "--memory", value) for verb in ("plan", "train", "run", "preflight") for value in ("0", "ten", "5QB")),
    ],
)
def test_a_size_that_is_none_is_exit_2(
    verb: str, flag: str, value: str, recipe_file: Path, tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    said = slmbench(verb, recipe_file, "--runs", tmp_path, flag, value)
    assert said.code == 2
    assert value.partition(":")[2] in said.sentence and "write it like" in said.sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["train", "run", "preflight"])
def test_too_little_allowed_is_one_sentence(
    verb: str, recipe_file: Path, tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    said = slmbench(verb, recipe_file, "--runs", tmp_path, "--memory", "300MiB")
    assert said.code == 1
    assert "training needs 0." in said.sentence and "0.29 GiB are there" in said.sentence
    assert not (tmp_path / "tiny" / "adapter").exists()


def test_training_takes_what_the_preflight_foretold(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where less is free than the machine has, both go by what is free."""
    ample = told(plan)
    monkeypatch.setattr(forecast.memory, "free_memory", lambda: ample.training["total"] - 1)
    less = forecast_of(plan)
    assert less.pass_tokens < ample.pass_tokens and less.pass_tokens == foretell(plan).pass_tokens
