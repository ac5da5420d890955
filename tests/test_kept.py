"""Results of answers that no run wrote: they are verified as a run's are, and a leaderboard says what they are."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import EDGE_JSON, ROOT

from slmbench.backends import native
from slmbench.bench import examples_of
from slmbench.core import BadInput, Completion, Example, load_task
from slmbench.evaluate import make_sample
from slmbench.exported import Exported, load_exported
from slmbench.kept import kept_answers
from slmbench.metrics import Sample
from slmbench.publish.card import card, commands
from slmbench.publish.leaderboard import build
from slmbench.publish.leaderboard.entries import Entry, boards, load
from slmbench.publish.stored import load_record
from slmbench.remote import Remote
from slmbench.verify import answer_again, verify

ours = pytest.mark.skipif(native.compiled() is None, reason="no C compiler")


def entries(folder: Path) -> list[Entry]:
    return [entry for board in boards(load(folder)) for entry in board.entries]


@pytest.fixture(scope="module")
def exam(data_folder: Path) -> list[object]:
    """The arguments that ask the six rows of the tiny recipe's test set."""
    return ["--split", data_folder / "exam.jsonl", "--schemas", EDGE_JSON / "schemas"]


def answered(examples: Sequence[Example], constraint: str = "schema") -> list[Sample]:
    """`{}` to each document."""
    task = load_task("edge_json")
    said = (Completion(e.id, "{}", (), "stop", 1, 1, None, 0.1, 1, constraint) for e in examples)
    return [make_sample(task, example, completion) for example, completion in zip(examples, said, strict=True)]


@ours
def test_the_answers_of_an_export_are_a_result(
    wide_exports: Path, exam: list[object], tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    folder, results = wide_exports / "export" / "int8", tmp_path / "results"
    path = results / "wide_int8_exam_free.json"
    said = slmbench("bench", folder, *exam, "--constraint", "free", "--results", results)
    assert said.code == 0 and said.out.splitlines()[-1] == f"kept           {path}"
    record = load_record(path)
    assert record["metrics"]["json_exact"]["n"] == 6 and record["tests"]["exam"]["latency"]["p50_s"] > 0
    assert record["export"]["bytes"] > 0 and record["weights"]["parameters"] > 0 and record["peak_memory_gib"] > 0
    # Also what it was trained on, from the rows themselves, and the answers, from the folder itself.
    again = slmbench("verify", path, "--training-data", "--rerun", folder, "--rows", "3")
    assert again.code == 0 and "exam: answered again, the same 3 of 3" in again.out, again.out
    other = slmbench("verify", path, "--rerun", wide_exports)
    assert other.code == 1 and "hashes.export" in other.out and "other weights" in other.out
    # Under a schema none but an export answers, and it answers again under that.
    assert slmbench("bench", folder, *exam, "--results", tmp_path / "held").code == 0
    held = tmp_path / "held" / "wide_int8_exam.json"
    again = slmbench("verify", held, "--rerun", folder, "--rows", "3")
    assert again.code == 0 and "exam: answered again, the same 3 of 3" in again.out, again.out
    (entry,) = entries(results)
    assert entry.about.endswith(", exported as int8") and entry.track == "own data"
    build(results, tmp_path / "site", ROOT / "docs" / "method.md")
    page = (tmp_path / "site" / "models" / "wide_int8_exam_free.html").read_text()
    for command in ("run wide_int8_exam_free.yaml --name wide", "export runs/wide --to int8", "--constraint free"):
        assert command in page
    # Asked the same once more it is written anew.
    assert slmbench("bench", folder, *exam, "--constraint", "free", "--results", results, "--json").code == 0


def export_of(wide_exports: Path, **changes: Any) -> Exported:
    """The export, with other facts in its manifest."""
    exported = load_exported(wide_exports / "export" / "merged")
    return Exported(exported.folder, {**json.loads(json.dumps(exported.manifest)), **changes})


def test_what_cannot_be_kept_is_said_before_anything_is_asked(wide_exports: Path, tmp_path: Path) -> None:
    model = export_of(wide_exports)
    examples = load_task("edge_json").load("test")
    old = export_of(wide_exports)
    del old.manifest["recipe"]
    with pytest.raises(BadInput, match=r"did not say how it was trained; export the model again"):
        kept_answers(tmp_path, old, "test", examples)
    limited = {**model.manifest["recipe"], "data": {**model.manifest["recipe"]["data"], "limit": 24}}
    with pytest.raises(BadInput, match="would not find these documents again"):
        kept_answers(tmp_path, export_of(wide_exports, recipe=limited), "test", examples)
    made = load_task("edge_json").load("train_large:40")
    with pytest.raises(BadInput, match="would not find these documents again"):
        kept_answers(tmp_path, model, "train_large", made[:5], rows=5)
    (tmp_path / "train.jsonl").write_text((EDGE_JSON / "data" / "test.jsonl").read_text())
    with pytest.raises(BadInput, match="two parts of the data would be called train; rename one file"):
        kept_answers(tmp_path, model, str(tmp_path / "train.jsonl"), examples, schemas=EDGE_JSON / "schemas")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be written to"):
        kept_answers(tmp_path / "file", model, "test", examples)
    kept = kept_answers(tmp_path, model, "test", examples)
    kept.path.write_text("{}")
    with pytest.raises(BadInput, match="not a run's record"):
        kept_answers(tmp_path, model, "test", examples)


@pytest.mark.parametrize(("rows", "name"), [(9, "wide_merged_9"), (158, "wide_merged"), (1000, "wide_merged")])
def test_part_of_a_split_is_named_so(rows: int, name: str, wide_exports: Path, tmp_path: Path) -> None:
    """The rows that were asked are found again by what the recipe says of them; their budget is that of `bench`."""
    model = export_of(wide_exports)
    examples = examples_of(model, "test", None, rows)
    kept = kept_answers(tmp_path, model, "test", examples, rows=rows)
    path = kept.write({kept.recipe.data.tests[0].name: answered(examples)}, 1.0)
    verdict = verify(path)
    assert path.stem == name and verdict.ok and verdict.samples == min(rows, 158) and verdict.notes == []
    record = load_record(path)
    assert record["recipe"]["evaluate"]["budget_factor"] == 1.5 and record["recipe"]["evaluate"]["budget_extra"] == 32
    assert ("--rows 9" in " ".join(commands(record, "r", "r"))) == (rows == 9)
    assert kept_answers(tmp_path, model, "test", examples, rows=rows).path == path  # nothing of the model has changed


def test_a_split_of_another_task_is_named_so(wide_exports: Path, tmp_path: Path) -> None:
    model = export_of(wide_exports)
    for split, name in (("edge_intent/test", "wide_merged_edge_intent"), ("edge_intent/unseen", "wide_merged_edge_")):
        kept = kept_answers(tmp_path, model, split, examples_of(model, split, None, None))
        assert kept.path.stem.startswith(name) and ("unseen" in kept.path.stem) == ("unseen" in split)


def test_a_model_on_a_server_is_no_base_as_it_is(tmp_path: Path) -> None:
    """What it is, its server alone knows: neither its training nor its machine is made up, and no word runs."""
    examples = load_task("edge_json").load("test")[:4]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(line + "\n" for line in (EDGE_JSON / "data" / "test.jsonl").read_text().splitlines()[:4]))
    hostile = Remote("http://127.0.0.1:1/v1", "../../etc/x; rm -r *", "edge_json")
    paths = []
    for model, constraint in ((hostile, "schema"), (hostile, "free"), (replace(hostile, name="wide"), "schema")):
        kept = kept_answers(
            tmp_path / "results", model, str(rows), examples, schemas=EDGE_JSON / "schemas", constraint=constraint
        )
        paths.append(kept.write({"rows": answered(examples, constraint)}, 1.0))
    names = ["etc_x_rm_-r_served_rows", "etc_x_rm_-r_served_rows_free", "wide_served_rows"]
    assert [path.stem for path in paths] == names and all(verify(path).ok for path in paths)
    assert {path.parent for path in paths} == {tmp_path / "results"}
    for entry in entries(tmp_path / "results"):
        assert entry.track == "unknown" and entry.about.endswith(", on a server")
        assert entry.result.machine == "server http://127.0.0.1:1/v1"
    again = commands(load_record(paths[0]), "r.yaml", "r.json")[0]
    assert "'../../etc/x; rm -r *'" in again and "--backend openai:http://127.0.0.1:1/v1" in again
    with pytest.raises(BadInput, match="of no weights that are known"):
        answer_again(paths[0], tmp_path, verify(paths[0]))
    other = replace(hostile, url="http://127.0.0.1:2/v1")
    with pytest.raises(BadInput, match="there is another result of this name"):
        kept_answers(tmp_path / "results", other, str(rows), examples, schemas=EDGE_JSON / "schemas")
    assert card(load_record(paths[0])).count("on a server, asked as a model") == 1


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
    text = (run / "README.md").read_text()
    assert "as it is, asked as a model" in text and "model = models.load_model(base)" in text
    assert not {"library_name: peft", "- lora", "## Training", "the adapter the same"} & set(re.findall(r".+", text))
    assert "as it is, asked to write JSON" in (run / "report.html").read_text()
    assert "nothing was trained" in slmbench("push", run, "--repo", "me/asis").sentence
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
        ("asis", "zero-shot"), ("asis_merged_exam", "zero-shot"),
    }  # fmt: skip
    plan = slmbench("plan", recipe)
    assert plan.code == 0 and "fits" in plan.out + plan.err
