"""What models answered to BFCL's questions: every published figure anew from the answers that are stored beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bfcl_models import scored
from bfcl_table import RESULTS
from test_bfcl import EXTERNAL, FILES, NOT_TURNED, documents, external

from slmbench.calls import calls_of, calls_schema
from slmbench.core import Example
from slmbench.metrics import Sample, proportion, score_output
from slmbench.publish.stored import samples_path, unpack
from slmbench.schema import strict_loads

PATHS = sorted(RESULTS.glob("*.json"))
each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def stored(path: Path) -> list[tuple[str, dict[str, Any], list[Sample]]]:
    """(questions and way to answer, figures, samples) of a file of results."""
    kept = unpack(samples_path(path).read_bytes(), path)
    figures = json.loads(path.read_text(encoding="utf-8"))
    assert list(kept) == list(figures) and all(len(stages) == 1 for stages in kept.values())
    return [(name, figures[name]["figures"], next(iter(kept[name].values()))) for name in figures]


@each
def test_what_follows_from_the_answers_alone(path: Path) -> None:
    """All but what else than the first answer BFCL accepts, which its files say."""
    for name, figures, samples in stored(path):
        n = len({sample["id"] for sample in samples})
        assert n == len(samples) == figures["bfcl"]["n"], name
        exact = named = none = 0
        for sample in samples:
            gold, calls = strict_loads(sample["target"]), calls_of(sample["output"])
            right = score_output(gold, {}, sample["output"], sample["finish"]).exact
            assert right is sample["score"]["exact"], (name, sample["id"])
            exact += right
            none += calls is None
            named += calls is not None and sorted(c["name"] for c in calls) == sorted(c["name"] for c in gold)
        recounted = {
            "strict": proportion(exact, n, "strict"),
            "functions": proportion(named, n, "functions right"),
            "unparseable": proportion(none, n, "no list of calls"),
        }
        assert {key: figures[key] for key in recounted} == recounted, name


@external
@each
def test_what_bfcl_accepts(path: Path) -> None:
    asked = {name: (EXTERNAL / f"bfcl_{name}_answers.jsonl").read_text(encoding="utf-8").splitlines() for name in FILES}
    accepted = {name: {row["id"]: row["ground_truth"] for row in map(json.loads, asked[name])} for name in FILES}
    tools = {name: documents(name) for name in FILES}
    for name, figures, samples in stored(path):
        file = name.partition(",")[0].removeprefix("bfcl_")
        assert [sample["id"] for sample in samples] == [id for id in tools[file] if id not in NOT_TURNED[file]], name
        # BFCL's documents as they are: to turn them is dear, and the checker takes both.
        schemas = [calls_schema(tools[file][sample["id"]]) for sample in samples]
        examples = [Example(s["id"], "", "", schema, None, {}) for s, schema in zip(samples, schemas, strict=True)]
        assert scored(examples, samples, accepted[file]) == figures, name
