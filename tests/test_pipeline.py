"""A run end to end on a tiny base: what it leaves, what it says, and that no kill changes its result."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from slmbench import memory, models, pipeline
from slmbench.core import BadInput, load_task
from slmbench.files import read_jsonl_tolerant
from slmbench.metrics import METRICS, PROPORTIONS
from slmbench.preflight import check_data
from slmbench.publish import load_record, load_samples, write_result
from slmbench.runs import code_hash

TIMES = ("first_token_s", "total_s")
UNTIMED = ("base/exam.jsonl", "tuned/exam.jsonl", "tuned/exam.timed.jsonl")


def untimed(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Every sample by file, in the documents' order and without seconds."""
    return {
        name: sorted(
            ({k: v for k, v in s.items() if k not in TIMES} for s in read_jsonl_tolerant(folder / name)),
            key=lambda s: str(s["id"]),
        )
        for name in UNTIMED
    }


def adapter(folder: Path) -> bytes:
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def test_a_run_leaves_everything(finished: Path) -> None:
    names = {
        "recipe.yaml", "state.json", "plan.json", "record.json", "record.samples.jsonl.gz", "training_metadata.json",
        "README.md", "report.html", "adapter/adapter_config.json", "adapter/adapter_model.safetensors",
        "adapter_best/adapter_config.json", "adapter_best/adapter_model.safetensors", "tokenizer/tokenizer.json",
        "train/history.jsonl", "hardware.jsonl", *UNTIMED,
    }  # fmt: skip
    assert {name for name in names if not (finished / name).is_file()} == set()
    assert {path.name for path in (finished / "train").iterdir()} == {"history.jsonl"}
    kinds = {path.suffix for path in finished.rglob("*") if path.is_file()}
    assert not kinds & {".bin", ".pt", ".pth", ".pkl"}


def test_the_record_says_what_was_done(finished: Path, tiny: Any, encoded: list[Any]) -> None:
    record = json.loads((finished / "record.json").read_text())
    hashes = record["hashes"]
    assert (hashes["weights"], hashes["tokenizer"]) == (tiny.sha256, tiny.tokenizer_sha256)
    assert hashes["adapter"] == hashlib.sha256(adapter(finished)).hexdigest()
    assert hashes["code"] == code_hash() and set(hashes["data"]) == set(record["data"])
    assert set(record["metrics"]) == set(record["base"]) == set(METRICS)
    for name, figure in record["metrics"].items():
        assert figure["n"] == 6
        assert figure["low"] <= figure["value"] <= figure["high"]
        if name in PROPORTIONS:
            assert figure["value"] == figure["k"] / 6
    assert {name: part["rows"] for name, part in record["data"].items()} == {"train": 20, "validation": 4, "exam": 6}
    stages = {"preflight", "train", "base/exam", "tuned/exam", "tuned/latency"}
    assert set(record["seconds"]) == stages
    assert record["training"]["updates"] == 10
    assert record["training"]["precision"] == "fp32"
    assert record["hardware"]["samples"] >= len(stages) and record["hardware"]["rss_gib"]["peak"] > 0
    metadata = json.loads((finished / "training_metadata.json").read_text())
    assert metadata["recipe"]["train"]["epochs"] == 2
    assert metadata["machine"]["versions"]["torch"]
    assert metadata["hashes"] == hashes
    assert [s["id"] for s in load_samples(finished, record)["exam"]["tuned"]] == [
        json.loads(line)["id"] for line in Path(record["recipe"]["data"]["tests"][0]["split"]).read_text().splitlines()
    ]


def test_show_prints_the_record(finished: Path, slmbench: Callable[..., Any]) -> None:
    shown = json.loads(slmbench("show", finished, "--json").out)
    assert {"k", "n", "value", "low", "high"} == set(shown["metrics"]["json_exact"])
    assert {"json_exact", "field_f1", "schema_compliance", "parse_rate", "truncated"} <= set(shown["base"])
    assert all(isinstance(value, float) for value in shown["seconds"].values())
    text = slmbench("show", finished).out
    assert "exam, base (plain prompt, free decoding)" in text
    assert "JSONExact" in text and "/6;" in text


def test_a_finished_run_is_not_done_again(run_copy: Path, recipe_file: Path, slmbench: Callable[..., Any]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (run_copy / name for name in UNTIMED)}
    record = json.loads((run_copy / "record.json").read_text())
    said = slmbench("run", recipe_file, "--runs", run_copy.parent)
    assert said.code == 0
    assert "base against tuned on the same 6 rows" in said.err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert json.loads((run_copy / "record.json").read_text()) == record


def test_the_verbs_one_by_one_are_the_run(
    finished: Path, recipe_file: Path, tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    place = ["--runs", tmp_path]
    assert slmbench("run", recipe_file, "--dry-run", *place).code == 0
    assert not (tmp_path / "tiny" / "adapter").exists()
    assert slmbench("preflight", recipe_file, *place).code == 0
    assert slmbench("train", recipe_file, *place).out.strip() == str(tmp_path / "tiny" / "adapter")
    said = slmbench("evaluate", recipe_file, "--split", "exam", *place)
    assert "exam base (n = 6)" in said.out and "exam tuned (n = 6)" in said.out
    assert slmbench("run", recipe_file, *place).code == 0
    assert adapter(tmp_path / "tiny") == adapter(finished)
    assert untimed(tmp_path / "tiny") == untimed(finished)


def test_the_preflight_says_what_it_saw(recipe_file: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    said = slmbench("preflight", recipe_file, "--runs", tmp_path)
    for part in ("base ", "data      train: 20 examples", "disk", "lengths", "under the loss:", "<|end|>", "plan      ",
                 "most at any time", "400 tokens a pass", "time: ", "fits: ", "every adapter matrix moved",
                 "same answers"):  # fmt: skip
        assert part in said.err, part
    plan = json.loads((tmp_path / "tiny" / "plan.json").read_text())
    assert set(plan) == {"foretold"}
    assert plan["foretold"]["training"]["total"] > 0 and plan["foretold"]["evaluation_seconds"] >= 0


def test_what_was_foretold_stands_beside_what_was_measured(finished: Path) -> None:
    plan = json.loads((finished / "plan.json").read_text())
    training = json.loads((finished / "record.json").read_text())["training"]
    assert set(plan) == {"foretold", "measured"}
    assert plan["measured"] == {
        key: training[key] for key in ("peak_memory_gib", "peak_gpu_memory_gib", "seconds", "pass_tokens")
    }
    assert plan["foretold"]["pass_tokens"] == plan["measured"]["pass_tokens"] == 400
    assert plan["foretold"]["fits"] and plan["measured"]["peak_memory_gib"] > 0


def test_the_best_adapter_by_validation_is_kept(
    recipe_file: Path, finished: Path, tmp_path: Path, slmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last where it is the best; where the first epoch was better, that one."""
    curve = [row["validation_loss"] for row in read_jsonl_tolerant(finished / "train" / "history.jsonl")
             if "validation_loss" in row]  # fmt: skip
    assert len(curve) == 2
    best = (finished / "adapter_best" / "adapter_model.safetensors").read_bytes()
    assert (best == adapter(finished)) == (curve[1] < curve[0])
    losses = iter([1.0, 2.0])
    monkeypatch.setattr("slmbench.train.validation_loss", lambda *_: next(losses))
    assert slmbench("train", recipe_file, "--runs", tmp_path).code == 0
    assert adapter(tmp_path / "tiny") == adapter(finished)
    assert (tmp_path / "tiny" / "adapter_best" / "adapter_model.safetensors").read_bytes() != adapter(finished)


@pytest.mark.parametrize("dropout", [0.0, 0.1], ids=["by hand", "autograd"])
def test_a_promise_of_memory_changes_nothing_where_it_is_ample(
    recipe_file: Path, tmp_path: Path, start: Callable[..., Any], dropout: float
) -> None:
    """In processes of their own: the limit stays with a process."""
    for name, more in (("free", []), ("kept", ["--memory", "3GiB"])):
        command = ["train", recipe_file, "--runs", tmp_path / name, "--set", f"adapter.dropout={dropout}", *more]
        assert start(*command).wait() == 0, (tmp_path / "stderr").read_text()
    assert adapter(tmp_path / "free" / "tiny") == adapter(tmp_path / "kept" / "tiny")
    state = json.loads((tmp_path / "kept" / "tiny" / "state.json").read_text())
    assert state["training"]["gradients"] == ("autograd" if dropout else "by hand")


def test_a_smoke_run_is_a_run_of_its_own(
    settings: dict[str, Any], tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**settings, "name": "small"}))
    assert slmbench("run", path, "--smoke", "--runs", tmp_path).code == 0
    assert json.loads((tmp_path / "small-smoke" / "record.json").read_text())["training"]["epochs"] == 1


# ---- kills


@pytest.mark.parametrize("place", ["train/history.jsonl", "base/exam.jsonl", "tuned/exam.jsonl"])
def test_a_killed_run_ends_the_same(
    finished: Path, recipe_file: Path, tmp_path: Path, start: Callable[..., Any], place: str
) -> None:
    """SIGKILL as soon as a stage has written twice, then the same command: the same adapter and the same samples."""
    watched = tmp_path / "runs" / "tiny" / place
    process = start("run", recipe_file, "--runs", tmp_path / "runs")
    deadline = time.monotonic() + 120
    while not (watched.exists() and watched.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "stderr").read_text()
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "runs" / "tiny" / "record.json").exists()
    assert start("run", recipe_file, "--runs", tmp_path / "runs").wait() == 0, (tmp_path / "stderr").read_text()
    assert adapter(tmp_path / "runs" / "tiny") == adapter(finished)
    assert untimed(tmp_path / "runs" / "tiny") == untimed(finished)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (signal.SIGINT, "interrupted; give the same command again to go on where it was."),
        (signal.SIGTERM, "stopped at your wish; the same command goes on from there."),
    ],
)
def test_an_interrupt_is_one_sentence(
    recipe_file: Path, tmp_path: Path, start: Callable[..., Any], number: signal.Signals, sentence: str
) -> None:
    process = start("run", recipe_file, "--runs", tmp_path / "runs")
    watched = tmp_path / "runs" / "tiny" / "recipe.yaml"
    while not watched.exists():
        assert process.poll() is None, (tmp_path / "stderr").read_text()
        time.sleep(0.005)
    process.send_signal(number)
    assert process.wait(60) == 1
    said = (tmp_path / "stderr").read_text()
    assert "Traceback" not in said
    assert said.endswith(f"slmbench: {sentence}\n")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A real disk of the size asked for."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small disk needs root to mount")
    folder = tmp_path / "small"

    def mounted(size: str) -> Path:
        folder.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False).returncode:
            pytest.skip("mounting is not allowed here")
        return folder

    yield mounted
    if folder.is_mount():
        subprocess.run(["umount", folder], check=True)


FULL = "the disk is full: free some space and give the same command again"


def test_a_full_disk_stops_with_a_sentence_and_loses_nothing(
    finished: Path, recipe_file: Path, tmp_path: Path, start: Callable[..., Any], small_disk: Callable[[str], Path]
) -> None:
    """The run breaks off while it writes, and ends as ever once there is room."""
    runs = small_disk("128k")
    process = start("train", recipe_file, "--runs", runs)
    assert process.wait() == 1
    said = (tmp_path / "stderr").read_text()
    assert "Traceback" not in said
    assert FULL in said
    subprocess.run(["mount", "-o", "remount,size=64m", str(runs)], check=True)
    assert start("train", recipe_file, "--runs", runs).wait() == 0, (tmp_path / "stderr").read_text()
    assert adapter(runs / "tiny") == adapter(finished)


def test_a_disk_that_fills_up_leaves_an_adapter_that_loads(
    recipe_file: Path, recipe: Any, tmp_path: Path, start: Callable[..., Any], small_disk: Callable[[str], Path]
) -> None:
    """Something else fills the disk behind the first epoch."""
    runs = small_disk("8m")
    command = ["train", recipe_file, "--runs", runs, "--set", "train.epochs=12"]
    process = start(*command)
    best, filler = runs / "tiny" / "adapter_best", runs / "filler"
    deadline = time.monotonic() + 120
    while not best.exists():
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "stderr").read_text()
        time.sleep(0.0005)
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as out:
        while out.write(bytes(4096)):
            pass
    assert process.wait(60) == 1
    said = (tmp_path / "stderr").read_text()
    assert "Traceback" not in said
    assert FULL in said
    base = models.find(recipe.base)
    model = models.load_adapter(models.load_model(base), best, base)
    assert any(p.any() for name, p in model.named_parameters() if "lora_B" in name)
    filler.unlink()
    assert start(*command).wait() == 0, (tmp_path / "stderr").read_text()


# ---- verbs over finished runs


def test_the_report_is_written_anew_from_the_samples(run_copy: Path, slmbench: Callable[..., Any]) -> None:
    before = (run_copy / "report.html").read_bytes()
    (run_copy / "report.html").unlink()
    assert slmbench("report", run_copy).out.strip() == str(run_copy / "report.html")
    assert (run_copy / "report.html").read_bytes() == before


def test_an_export_stays_in_the_report_of_a_run_given_again(
    run_copy: Path, recipe_file: Path, slmbench: Callable[..., Any]
) -> None:
    (run_copy / "export" / "int8").mkdir(parents=True)
    part = {"count": 2, "error": 0.1, "right": {"1.0": 0.5}, "bins": [{"confidence": 0.5, "right": 0.5}],
            "covered": [[0.5, 1.0], [1.0, 0.5]]}  # fmt: skip
    (run_copy / "export" / "int8" / "manifest.json").write_text(json.dumps({"calibration": {"document": part}}))
    assert slmbench("run", recipe_file, "--runs", run_copy.parent).code == 0
    assert "Confidence of export/int8" in (run_copy / "report.html").read_text()


def test_the_machine_is_the_one_that_answered(
    run_copy: Path, recipe_file: Path, slmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished run that is given again on another machine keeps its times, and so the machine they are of."""
    monkeypatch.setattr(memory, "machine", lambda: {"cpu": "another", "cores": 64, "gpus": []})
    assert slmbench("run", recipe_file, "--runs", run_copy.parent).code == 0
    assert load_record(run_copy)["machine"]["cpu"] != "another"


def test_the_card_is_printed(finished: Path, slmbench: Callable[..., Any]) -> None:
    assert slmbench("card", finished).out == (finished / "README.md").read_text()


def test_compare_is_paired(finished: Path, run_copy: Path, slmbench: Callable[..., Any]) -> None:
    one = json.loads(slmbench("compare", finished, "--json").out)
    assert one["n"] == 6
    assert one["metrics"]["json_exact"]["test"] == "mcnemar"
    two = json.loads(slmbench("compare", finished, run_copy, "--json").out)
    assert two["metrics"]["field_f1"]["difference"] == 0
    assert "6 documents, paired" in slmbench("compare", finished, run_copy).out


def test_compare_refuses_other_rows(finished: Path, run_copy: Path, slmbench: Callable[..., Any]) -> None:
    record = load_record(run_copy)
    samples = load_samples(run_copy, record)
    less = {"exam": {**samples["exam"], "tuned": samples["exam"]["tuned"][1:]}}
    write_result(run_copy / "record.json", record, less)
    said = slmbench("compare", finished, run_copy)
    assert said.code == 2
    assert "not taken on the same documents (only in the first:" in said.sentence
    assert slmbench("compare", *[finished] * 7).code == 2
    assert "no tuned samples of tset" in slmbench("compare", finished, run_copy, "--split", "tset").sentence


def test_publish_copies_results_and_writes_the_table(
    finished: Path, tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("a\n<!-- results:begin -->\n<!-- results:end -->\nb\n")
    said = slmbench("publish", finished, "--results", tmp_path / "results", "--readme", readme)
    assert said.code == 0
    for published, own in (("tiny.json", "record.json"), ("tiny.samples.jsonl.gz", "record.samples.jsonl.gz")):
        assert (tmp_path / "results" / published).read_bytes() == (finished / own).read_bytes()
    assert "`exam`, 6 documents:" in readme.read_text() and "| **tiny** | plain, free |" in readme.read_text()
    same = slmbench("compare", finished, tmp_path / "results" / "tiny.json")
    assert same.code == 0 and "6 documents, paired" in same.out


def test_a_result_that_is_not_what_its_samples_give_is_not_published(
    run_copy: Path, tmp_path: Path, slmbench: Callable[..., Any]
) -> None:
    record = load_record(run_copy)
    record["tests"]["exam"]["metrics"]["json_exact"]["k"] += 1
    write_result(run_copy / "record.json", record, load_samples(run_copy, record))
    said = slmbench("publish", run_copy, "--results", tmp_path / "results", "--readme", tmp_path / "README.md")
    assert said.code == 1 and "tests.exam.metrics.json_exact.k: stored " in said.sentence
    assert not (tmp_path / "results").exists()


# ---- what is refused


def test_a_run_of_another_recipe_is_not_written_over(
    run_copy: Path, recipe_file: Path, slmbench: Callable[..., Any]
) -> None:
    said = slmbench("run", recipe_file, "--runs", run_copy.parent, "--set", "train.epochs=3")
    assert said.code == 2
    assert "holds another run: recipe.train.epochs is 2 there and 3 here; give another --name" in said.sentence


def test_an_adapter_of_another_base_is_refused(run_copy: Path, recipe_file: Path, slmbench: Callable[..., Any]) -> None:
    record = run_copy / "adapter" / "slmbench_adapter.json"
    facts = json.loads(record.read_text())
    record.write_text(json.dumps({**facts, "base_sha256": "0" * 64}))
    state = json.loads((run_copy / "state.json").read_text())
    del state["stages"]["tuned/exam"]
    (run_copy / "state.json").write_text(json.dumps(state))
    said = slmbench("evaluate", recipe_file, "--runs", run_copy.parent)
    assert said.code == 2
    assert "this adapter was made for another base" in said.sentence


def test_a_row_over_the_limit_is_named_or_counted(recipe: Any, tokenizer: Any) -> None:
    task = load_task("edge_json")
    examples = pipeline.load_examples(recipe, task, recipe.data.train[0], None)
    strict = replace(recipe, data=replace(recipe.data, max_tokens=150))
    with pytest.raises(BadInput, match=r"train: \S+ has \d+ tokens, over data.max_tokens = 150 \(\d+ such rows\)"):
        pipeline.encoded_split(strict, tokenizer, examples, "plain", "train")
    lenient = replace(strict, data=replace(strict.data, over_long="skip"))
    split = pipeline.encoded_split(lenient, tokenizer, examples, "plain", "train")
    assert split.skipped > 0 and len(split.examples) == len(split.encoded) == 24 - split.skipped
    assert [e.id for e in split.examples] == [r.id for r in split.encoded]
    assert pipeline.encoded_split(lenient, tokenizer, examples, "plain", "exam").skipped == 0


def test_a_file_that_is_trained_and_tested_on_leaks(recipe: Any, tmp_path: Path, capfd: Any) -> None:
    name = recipe.data.train[0]
    both = replace(recipe.data, tests=(replace(recipe.data.tests[0], split=f"{name}:6"),), validation=0)
    plan = SimpleNamespace(recipe=replace(recipe, data=both), task=load_task("edge_json"))
    check_data(plan)  # type: ignore[arg-type]
    said = capfd.readouterr().err.splitlines()
    assert "leak" not in said[0] and re.search(r"gate +\S+:.* \d+ leak", said[1]), said


def test_a_limit_is_on_all_sources_together(recipe: Any) -> None:
    name = recipe.data.train[0]
    data = replace(recipe.data, train=(f"{name}*3", "edge_json/train", "edge_intent/train*2"), limit=12, validation=2)
    train, held = pipeline.training_examples(replace(recipe, data=data), load_task("edge_json"))
    assert (len(train), len(held)) == (10, 2) and len({id(example) for example in train}) == 10


def test_too_little_memory_is_told_before_training(
    recipe_file: Path, tmp_path: Path, slmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 2**20)
    said = slmbench("run", recipe_file, "--runs", tmp_path)
    assert said.code == 1
    assert "training needs 0." in said.sentence and "even with the smallest passes" in said.sentence
    assert "end other programs, allow more --memory, or lower data.max_tokens" in said.sentence


def test_too_little_disk_is_told_before_training(
    recipe_file: Path, tmp_path: Path, slmbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_disk", lambda _: 2**20)
    said = slmbench("run", recipe_file, "--runs", tmp_path)
    assert said.code == 1
    assert "1 MiB free, a run needs 500; free some" in said.sentence
