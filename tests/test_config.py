"""A recipe: every published one loads, an unknown key names the nearest, whatever is wrong is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slmbench.config import Recipe, load_recipe, recipe_of
from slmbench.core import BadInput
from slmbench.pipeline import smoke

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "r.yaml").write_text("name: r\ntrain:\n  epochs: 2\n")
    return tmp_path / "r.yaml"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_published_recipe_loads_and_comes_back(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe_of(recipe.to_dict(), "again") == recipe
    assert smoke(recipe).data.limit == 24


def test_a_smoke_run_is_small_whatever_the_recipe() -> None:
    small = smoke(recipe_of({"name": "r", "data": {"tests": [{"split": "test"}, {"split": "test_styles"}]}}, "r"))
    assert (small.name, small.train.epochs, small.data.validation, len(small.data.tests)) == ("r-smoke", 1, 4, 1)
    assert smoke(recipe_of({"name": "r", "data": {"validation": 0}}, "r")).data.validation == 0


def test_what_is_not_said_has_its_default(path: Path) -> None:
    assert load_recipe(path) == Recipe("r", train=Recipe("x").train.__class__(epochs=2))


def test_settings_can_be_changed(path: Path) -> None:
    recipe = load_recipe(path, ["train.learning_rate=5e-4", "data.limit=8", "adapter.targets=[q_proj]", "base=a/b"])
    assert (recipe.train.learning_rate, recipe.train.epochs, recipe.data.limit) == (5e-4, 2, 8)
    assert (recipe.adapter.targets, recipe.base) == (("q_proj",), "a/b")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("train.epoch=1", r"unknown key train\.epoch; did you mean epochs\?"),
        ("trian.epochs=1", r"unknown key trian; did you mean train\?"),
        ("zzz=1", "unknown key zzz; known are name, base"),
        ("train.epochs=many", r"train\.epochs must be int, not 'many'"),
        ("train.epochs=1.5", r"train\.epochs must be int, not 1\.5"),
        ("train.epochs=true", r"train\.epochs must be int, not True"),
        ("train.epochs=.inf", r"train\.epochs must be int, not inf"),
        ("train.learning_rate=fast", r"train\.learning_rate must be float, not 'fast'"),
        ("adapter.alpha=.nan", r"adapter\.alpha must be float, not nan"),
        ("train.precision=fp16", r"train\.precision must be 'auto' or 'fp32' or 'bf16', not 'fp16'"),
        ("adapter.targets=5", r"adapter\.targets must be a list, not 5"),
        ("adapter.targets=[1]", r"adapter\.targets\[0\] must be str, not 1"),
        ("data.tests=[test]", r"data\.tests\[0\]\. must be a mapping of settings, not 'test'"),
        ("train=5", r"train\. must be a mapping of settings, not 5"),
        ("train.epochs.x=5", "epochs holds one value, not settings"),
        ("train.epochs", "write it as key=value"),
        ("name=[", "is not a YAML value"),
        ("name=5", "name must be str, not 5"),
        ("name=2026-02-30", "is not a YAML value"),
        ("train.epochs=-1", r"train\.epochs is out of bounds"),
        ("train.weight_decay=-1", r"train\.weight_decay is out of bounds"),
        ("train.max_grad_norm=0", r"train\.max_grad_norm is out of bounds"),
        ("evaluate.budget_extra=-40", r"evaluate\.budget_extra is out of bounds"),
        ("evaluate.latency_rows=-1", r"evaluate\.latency_rows is out of bounds"),
        ("seed=-1", "seed is out of bounds"),
        ("adapter.alpha=0", r"adapter\.alpha is out of bounds"),
        ("adapter.targets=[]", r"adapter\.targets is out of bounds"),
        ("data.tests=[]", r"data\.tests is out of bounds"),
        ("name=../up", "name is out of bounds"),
        ("name=''", "name is out of bounds"),
        ("data.tests=[{split: a/x.jsonl},{split: b/x.jsonl}]", r"data\.tests: two parts .* called x;"),
        ("data.tests=[{split: train}]", r"data\.tests: two parts .* called train;"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_one_sentence(path: Path, change: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence) as caught:
        load_recipe(path, [change])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "a recipe is a mapping of settings, this is NoneType"),
        (b"- a", "this is list"),
        (b"base: x", "name is missing; add it"),
        (b"name: x\ntrain: {epochs: 1", r"r\.yaml:2: not YAML"),
        (b"name: x\nbase: \xff", "byte 14 is not UTF-8"),
        (b"name: x\nbase: \x00", "not YAML"),
        (b"name: x\n1: 2", "unknown key 1"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_sentence(path: Path, content: bytes, sentence: str) -> None:
    path.write_bytes(content)
    with pytest.raises(BadInput, match=sentence) as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_a_place_that_is_no_file(tmp_path: Path, name: Any) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        load_recipe(tmp_path / name)
