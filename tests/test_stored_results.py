"""Published figures beside those that `verify` recomputes: anew from what is stored with them, wherever they can be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import extract_trust
import own_schema
import pytest

from slmbench.core import Completion, Example, load_task
from slmbench.evaluate import make_sample
from slmbench.metrics import proportion
from slmbench.new import schema_from
from slmbench.publish.stored import samples_path, unpack

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
CHECKED = {
    "": "slmbench verify",
    "bfcl": "tests/test_bfcl_results.py",
    "own_schema": "here",
    "trust": "here",
    "intents": "here, but for the accuracy of what was written, whose answers nobody stored",
    "curves": "here: counts and intervals; answers are stored of the last point only, which is a result of its own",
}
ANSWERS_LOST = "bug_report_alone"
"""Of `own_schema`; what is measured now has its answers."""
TIMES = {"decode", "memory", "scale", "serving", "speed"}
"""Seconds and bytes of one machine, with counts of answers that nobody stored: their benchmark measures them again."""


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_it_is_known_of_every_result_what_checks_it() -> None:
    assert {path.name for path in RESULTS.iterdir() if path.is_dir()} == {*CHECKED, *TIMES} - {""}


@pytest.mark.parametrize("path", sorted((RESULTS / "own_schema").glob("*.json")), ids=lambda path: path.stem)
def test_own_schemas_from_their_answers(path: Path) -> None:
    """Every answer is scored anew against the documents that examples/ has."""
    found, task = read(path), load_task("edge_json")
    if path.stem == ANSWERS_LOST:
        assert not samples_path(path).exists()
        pytest.skip("measured before answers were stored")
    kept = unpack(samples_path(path).read_bytes(), path)
    folder = next(f for f in (ROOT / "examples").iterdir() if schema_from(str(f / "schema.json"))[0] == found["schema"])
    rows = [json.loads(line) for line in (folder / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    schema = read(folder / "schema.json")
    assert list(kept) == ["base", "tuned", "extract", "grounded"]
    for who, stages in kept.items():
        samples = stages["tuned"]
        assert len(samples) == len(rows) == found["documents"]
        for sample, row in zip(samples, rows, strict=True):
            tags = {key: sample[key] for key in ("complexity", "style")}
            example = Example(row["id"], row["text"], found["schema"], schema, row["target"], tags)
            constraint = {"extract": "schema", "grounded": "grounded"}.get(who, "free")
            assert sample["constraint"] == constraint
            said = Completion(sample["id"], sample["output"], (), sample["finish"], 0, 0, None, 0.0, 1, constraint)
            anew = make_sample(task, example, said)
            assert (anew["target"], anew["score"]) == (sample["target"], sample["score"]), (who, sample["id"])
        assert own_schema.figures(samples) == found[who], who


@pytest.mark.parametrize("path", sorted((RESULTS / "trust").glob("*.json")), ids=lambda path: path.stem)
def test_trust_from_its_documents(path: Path) -> None:
    found = read(path)
    anew = json.loads(json.dumps(extract_trust.figures(found["documents"])))
    assert {key: found[key] for key in anew} == anew


@pytest.mark.parametrize("path", sorted((RESULTS / "intents").glob("*.json")), ids=lambda path: path.stem)
def test_weighed_intents_from_their_rankings(path: Path) -> None:
    found = read(path)
    golds = {example.id: example.target["intent"] for example in load_task("edge_intent").load(found["split"])}
    ranked = found["weighed"]["ranked"]
    assert list(ranked) == list(golds)
    for name, right in (
        ("accuracy", sum(names[0] == golds[id] for id, names in ranked.items())),
        ("top", sum(golds[id] in names for id, names in ranked.items())),
    ):
        assert found["weighed"][name] == proportion(right, len(golds), found["weighed"][name]["label"])
    one = found["written"]["accuracy"]
    assert one == proportion(one["k"], len(golds), one["label"])


@pytest.mark.parametrize("path", sorted((RESULTS / "curves").glob("*.json")), ids=lambda path: path.stem)
def test_points_of_a_curve_from_their_counts(path: Path) -> None:
    points = read(path)
    for one in (point["json_exact"] for point in points):
        anew = proportion(one["k"], one["n"], "")
        assert one == {key: anew[key] for key in one}
    assert points[-1]["json_exact"] == read(RESULTS / path.name)["metrics"]["json_exact"]
