"""Results of answers that no run wrote: they are verified as a run's are, and a leaderboard says what they are."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import EDGE_JSON

from slmbench.backends import native
from slmbench.exported import load_exported
from slmbench.kept import keep_answers
from slmbench.publish.leaderboard import build
from slmbench.publish.leaderboard.entries import Entry, boards, load
from slmbench.publish.stored import load_record
from slmbench.verify import verify

ours = pytest.mark.skipif(native.compiled() is None, reason="no C compiler")


def entries(folder: Path) -> list[Entry]:
    return [entry for board in boards(load(folder)) for entry in board.entries]


@pytest.fixture(scope="module")
def exam(data_folder: Path) -> list[object]:
    """The arguments that ask the six rows of the tiny recipe's test set."""
    return ["--split", data_folder / "exam.jsonl", "--schemas", EDGE_JSON / "schemas"]


@ours
def test_the_answers_of_an_export_are_a_result(
    wide_exports: Path, exam: list[object], tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    folder, results = wide_exports / "export" / "int8", tmp_path / "results"
    said = slmbench("bench", folder, *exam, "--constraint", "free", "--results", results)
    assert said.code == 0 and said.out.splitlines()[-1] == f"kept           {results / 'wide_int8_free.json'}"
    path = results / "wide_int8_free.json"
    record = load_record(path)
    assert record["metrics"]["json_exact"]["n"] == 6 and record["tests"]["exam"]["latency"]["p50_s"] > 0
    assert record["export"]["bytes"] > 0 and record["weights"]["parameters"] > 0 and record["peak_memory_gib"] > 0
    # Also what it was trained on, from the rows themselves, and the answers, from the folder itself.
    again = slmbench("verify", path, "--training-data", "--rerun", folder, "--rows", "3")
    assert again.code == 0 and "exam: answered again, the same 3 of 3" in again.out, again.out
    other = slmbench("verify", path, "--rerun", wide_exports)
    assert other.code == 1 and "hashes.export" in other.out and "other weights" in other.out
    (entry,) = entries(results)
    assert entry.about.endswith(", exported as int8") and entry.track == "own data"
    build(results, tmp_path / "site", Path("docs/method.md"))
    page = (tmp_path / "site" / "models" / "wide_int8_free.html").read_text()
    for command in ("slmbench run wide_int8_free.yaml --name wide", "slmbench export runs/wide --to int8"):
        assert command in page


@ours
def test_an_export_that_does_not_say_how_it_was_trained(
    wide_exports: Path, exam: list[object], tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    import shutil

    folder = shutil.copytree(wide_exports / "export" / "int8", tmp_path / "old")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["recipe"], manifest["data"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    said = slmbench("bench", folder, *exam, "--rows", 1, "--results", tmp_path / "results")
    assert said.code == 2 and "did not say how it was trained; export the model again" in said.sentence
    assert not (tmp_path / "results").exists()


def test_part_of_a_split_is_named_so(tmp_path: Path, wide_exports: Path) -> None:
    """The rows that were asked are found again by what the recipe says of them."""
    from slmbench.bench import examples_of
    from slmbench.core import Completion, load_task
    from slmbench.evaluate import make_sample

    model = load_exported(wide_exports / "export" / "merged")
    examples = examples_of(model, "test", None, 9)
    samples = [
        make_sample(load_task("edge_json"), e, Completion(e.id, "{}", (), "stop", 1, 1, None, 0.1, 1)) for e in examples
    ]
    path = keep_answers(tmp_path, model, "test", (examples, samples), rows=9)
    assert verify(path).lines() == verify(path).lines() and verify(path).ok
    assert "slmbench bench runs/wide/export/merged --split test --rows 9" in load_record(path)["again"][-1]


@pytest.mark.parametrize(
    ("script", "names", "tracks"),
    [
        ("rule_baseline", ["rules"], {"zero-shot"}),
        ("intent_baseline", ["tfidf_few", "tfidf_train"], {"own data"}),
    ],
)
def test_baselines_are_entries(script: str, names: list[str], tracks: set[str], tmp_path: Path) -> None:
    importlib.import_module(script).main(["--results", str(tmp_path)])
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == names
    assert all(verify(path, training=True).ok for path in tmp_path.glob("*.json"))
    found = entries(tmp_path)
    assert {entry.track for entry in found} == tracks
    assert all(entry.about == entry.result.record["weights"]["origin"] for entry in found)


def test_a_base_as_it_is(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slmbench: Callable[..., Any]
) -> None:
    """A recipe that trains nothing measures its base: no adapter, one row, and the same checks."""
    recipe = tmp_path / "asis.yaml"
    recipe.write_text(yaml.safe_dump({**settings, "name": "asis", "train": {"epochs": 0}}))
    monkeypatch.chdir(tmp_path)
    assert "nothing to train" in slmbench("train", recipe).sentence
    said = slmbench("run", recipe)
    assert said.code == 0 and "adapter/" not in said.out, said.err
    run = tmp_path / "runs" / "asis"
    assert not (run / "adapter").exists() and not (run / "base").exists()
    assert "as it is, asked as a model" in (run / "README.md").read_text()
    assert slmbench("verify", run, "--training-data").code == 0
    (tmp_path / "README.md").write_text("<!-- results:begin -->\n<!-- results:end -->\n")
    assert slmbench("publish", run).code == 0
    (entry,) = entries(tmp_path / "results")
    assert (entry.name, entry.track) == ("asis", "zero-shot") and entry.about.endswith(", as it is")
    again = slmbench("verify", run, "--rerun", run, "--rows", "2")
    assert again.code == 0 and "answered again, the same 2 of 2" in again.out
    # Its export is the base's.
    monkeypatch.setattr("slmbench.export.MOST_POINTS_LOST", 100)
    assert slmbench("export", run, "--to", "merged").code == 0
    asked = ["--split", settings["data"]["tests"][0]["split"], "--schemas", settings["data"]["schemas"]]
    assert slmbench("bench", run / "export" / "merged", *asked, "--results", tmp_path / "results").code == 0
    assert slmbench("verify", tmp_path / "results").code == 0
    assert {(entry.name, entry.track) for entry in entries(tmp_path / "results")} == {
        ("asis", "zero-shot"), ("asis_merged", "zero-shot"),
    }  # fmt: skip
    plan = slmbench("plan", recipe)
    assert plan.code == 0 and "fits" in plan.out + plan.err
