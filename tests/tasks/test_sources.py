"""Sources of data by name: a split of the recipe's task, of another, a part of one; what is none."""

from __future__ import annotations

from collections import Counter

import pytest

from slmbench import config
from slmbench.core import BadInput, find_split, load_task, source_rows, source_times, tasks
from slmbench.pipeline import load_split, training_examples


def test_a_source_names_a_split_of_its_own_task_or_of_another() -> None:
    own = load_task("edge_json")
    assert tasks() == ["edge_func_call", "edge_intent", "edge_json"]
    for source, task, split in (
        ("test", "edge_json", "test"), ("train_large:30", "edge_json", "train_large:30"),
        ("edge_intent/described", "edge_intent", "described"), ("edge_func_call/train:9", "edge_func_call", "train:9"),
    ):  # fmt: skip
        found = find_split(own, source)
        assert found is not None and (found[0].name, found[1]) == (task, split)
    for source in ("data/train.jsonl", "data/train.jsonl:30", "edge_intent/none", "other/test", "nothing"):
        assert find_split(own, source) is None
    named = {"test": "test", "edge_intent/test": "edge_intent_test", "data/a.b.jsonl": "a.b"}
    assert {source: config.Test(source).name for source in named} == named


def test_a_part_of_a_split_is_spread_over_it() -> None:
    task = load_task("edge_intent")
    some = load_split(task, "train:60")
    assert len(some) == 60 and len({e.target["intent"] for e in some}) > 50
    assert load_split(task, "train:1320") == task.load("train")
    assert len(load_split(load_task("edge_json"), "train_large:30")) == 30
    for wrong in ("train:0", "train:1321", "train:x"):
        with pytest.raises(BadInput, match=f"edge_intent: {wrong}: give 1 to 1320 rows"):
            load_split(task, wrong)
    with pytest.raises(BadInput, match="no split 'train:'"):
        load_split(task, "train:")


def test_a_colon_of_a_path_is_the_paths() -> None:
    for source, parts in {
        "rows.jsonl:20": ("rows.jsonl", "20"), "C:\\rows.jsonl": ("C:\\rows.jsonl", ""), "a:b/rows": ("a:b/rows", ""),
        "rows.jsonl": ("rows.jsonl", ""), "train:x": ("train", "x"),
    }.items():  # fmt: skip
        assert source_rows(source) == parts


def test_a_source_may_be_taken_several_times_an_epoch() -> None:
    for source, parts in {
        "train*3": ("train", 3), "edge_func_call/train_large:20*2": ("edge_func_call/train_large:20", 2),
        "train": ("train", 1), "train*": ("train*", 1), "train*0": ("train*0", 1), "a*b/c.jsonl": ("a*b/c.jsonl", 1),
    }.items():  # fmt: skip
        assert source_times(source) == parts
    task = load_task("edge_json")
    data = config.Data(train=("train:30", "edge_intent/train:60*3"), validation=9)
    train, held = training_examples(config.Recipe("mix", data=data), task)
    assert len(held) == 9
    once = {example.id for example in load_split(task, "train:30")}
    several = {example.id for example in load_split(load_task("edge_intent"), "train:60")}
    assert not once & several
    taken = Counter(example.id for example in train)
    kept = (once | several) - {example.id for example in held}
    assert taken == {name: 3 if name in several else 1 for name in kept}


def test_a_source_taken_no_times_is_no_source() -> None:
    with pytest.raises(BadInput, match=r"train\*0: neither a split of edge_json"):
        training_examples(config.Recipe("mix", data=config.Data(train=("train*0",))), load_task("edge_json"))
