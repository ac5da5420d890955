"""Made results for the tests of the leaderboard: real documents and scores, invented models, one of them hostile."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slmbench import publish
from slmbench.config import recipe_of
from slmbench.core import Completion, Example, load_task
from slmbench.data import data_hash
from slmbench.evaluate import make_sample
from slmbench.template import target_text

NASTY = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1> & \"q\" 'a' \u2028 __proto__"
EDGE = load_task("edge_json")
ROWS = EDGE.load("test")[:40]
Answer = Callable[[Example], str]


def right(example: Example) -> str:
    return target_text(example)


def wrong(example: Example) -> str:
    """The first field is gone, another is there that should not be."""
    kept = dict(list(example.target.items())[1:])
    return json.dumps({**kept, "zz_extra": NASTY})


def broken(example: Example) -> str:
    return '{"a": ' + NASTY


def answered(examples: Sequence[Example], answer: Callable[[int], Answer], seconds: float) -> list[dict[str, Any]]:
    """Samples; `answer` gives the way to answer by the document's number."""
    made = []
    for i, example in enumerate(examples):
        output = answer(i)(example)
        finish = "length" if answer(i) is broken else "stop"
        completion = Completion(example.id, output, (), finish, 20, 9, 0.1, seconds + i / 100, 1)  # type: ignore[arg-type]
        made.append(make_sample(EDGE, example, completion))
    return made


def hostile_rows() -> list[Example]:
    schema = {"type": "object", "properties": {"__proto__": {"type": "string"}, "n": {"type": "integer"}}}
    tags = {"complexity": "simple", "style": NASTY}
    return [Example(f"{NASTY} {i}", NASTY, NASTY, schema, {"__proto__": NASTY, "n": i}, tags) for i in range(3)]


def write(
    folder: Path, name: str, source: str, examples: Sequence[Example], stages: dict[str, Any], **changes: Any
) -> Path:
    """One result in `folder`."""
    recipe = recipe_of(
        {
            "name": name, "base": "smollm2-135m", "task": "edge_json", "prompt": "schema",
            "data": {
                "train": changes.pop("train", ["train"]), "validation": 0,
                "tests": [{"split": source, "prompt": "schema", "base": "base" in stages}],
            },
        },
        name,
    )  # fmt: skip
    test = recipe.data.tests[0].name
    unknown = dict.fromkeys(("recipe", "weights", "tokenizer", "adapter", "code"))
    record = publish.build_record(
        **{
            "name": name, "created": "2026-01-02T03:04:05+00:00", "recipe": recipe.to_dict(),
            "machine": {"cpu": "Example(R) CPU", "cores": 2, "gpus": []},
            "weights": {"name": "smollm2-135m", "parameters": 134_515_008, "origin": "somewhere"},
            "adapter": {"parameters": 4_884_480}, "data": {"train": {"rows": 503, "skipped": 0}},
            "prompt": {"style": "schema"}, "tests": {test: publish.split_record("schema", stages, EDGE)},
            "training": {"updates": 5, "validation_losses": [0.5, 0.25]}, "seconds": {"train": 10.0},
            "peak_memory_gib": 1.5, "hashes": {**unknown, "data": {test: data_hash(examples)}, "prompt": {}},
            **changes,
        }
    )  # fmt: skip
    path = folder / f"{name}.json"
    publish.write_result(path, record, {test: stages})
    return path


def make(folder: Path) -> Path:
    """Four models: three on 40 rows of EdgeJSON's test set, a base beside one of them, and one on hostile rows."""
    alpha = answered(ROWS, lambda i: right if i < 30 else wrong, 2.0)
    beta = answered(ROWS, lambda i: right if i >= 12 else wrong if i % 2 else broken, 1.0)
    gamma = answered(ROWS, lambda i: right if i < 6 else broken, 0.5)
    base = answered(ROWS, lambda i: broken, 3.0)
    write(folder, "alpha", "test", ROWS, {"tuned": alpha, "base": base})
    other = {"cpu": "Other CPU", "cores": 4, "gpus": []}
    write(folder, "beta", "test", ROWS, {"tuned": beta}, train=["train_large", "train"], machine=other)
    small = {"name": "smollm2-135m:12", "parameters": 70_000_000}
    write(folder, "gamma", "test", ROWS, {"tuned": gamma}, train=["train_large:900"], weights=small)
    hostile = hostile_rows()
    tuned = answered(hostile, lambda i: (right, wrong, broken)[i], 1.0)
    nothing = answered(hostile, lambda i: broken, 1.0)
    write(
        folder, "hostile", "data/hostile.test.jsonl", hostile, {"tuned": tuned, "base": nothing},
        machine={"cpu": NASTY, "cores": NASTY}, train=["data/hostile.made.jsonl"],
    )  # fmt: skip
    (folder / "curves").mkdir()
    point = {"run": "x", "rows": 100, "epochs": 2, "seconds": 9.0, "json_exact": {"k": 1, "n": 2, "value": 0.5}}
    point["json_exact"] |= {"low": 0.1, "high": 0.9}  # type: ignore[operator]
    (folder / "curves" / "alpha.json").write_text(json.dumps([point, {**point, "rows": 200}]))
    return folder
