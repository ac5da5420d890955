"""The benchmarks, on bases of a few thousand parameters; what cannot be run is a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slmbench.backends import native
from slmbench.calls import calls_schema

ROOT = Path(__file__).resolve().parents[1]


def train_peers(*arguments: object) -> tuple[int, Any, str]:
    return benchmark("train_peers.py", "--json", *arguments)


def benchmark(script: str, *arguments: object) -> tuple[int, Any, str]:
    """(exit code, the JSON on standard output, standard error)."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert "Traceback" not in ended.stderr
    return ended.returncode, json.loads(ended.stdout) if ended.stdout else None, ended.stderr


@pytest.fixture
def data(data_folder: Path) -> list[object]:
    return ["--data", data_folder / "train.jsonl", "--rows", 4]


def test_ours_where_a_peer_is_not_installed(
    tiny_folder: Path, data: list[object], encoded: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four of the 24 rows, evenly spaced, in one update; what --out holds is what was printed."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['trl'] = sys.modules['datasets'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    out = tmp_path / "new" / "out.json"
    code, record, errors = train_peers("--base", tiny_folder, *data, "--only", "ours", "--only", "trl", "--out", out)
    assert code == 0, errors
    assert list(record["runs"]) == ["trl", "ours"]
    assert "pip install 'slmbench[peers]'" in record["runs"]["trl"]["error"]
    assert record["ratio"] == record["memory_ratio"] == {}
    run = record["runs"]["ours"]
    assert (run["samples"], run["updates"]) == (4, 1)
    assert run["tokens"] == sum(len(encoded[i].ids) for i in (0, 6, 12, 18))
    assert run["samples_per_s"] == pytest.approx(4 / run["seconds"])
    assert run["gemm_floor_share"] > 0
    assert run["peak_gib"] > 0
    assert run["validation_loss"] != record["base_validation_loss"]
    assert json.loads(out.read_text()) == record
    cells = {line.split("|")[1].strip(): line for line in errors.splitlines() if line.startswith("| ")}
    assert "slmbench[peers]" in cells["trl"]
    assert f"{run['validation_loss']:.4f}" in cells["ours"]


def test_all_peers(tiny_folder: Path, data: list[object]) -> None:
    """The same rows for all; trl and ours begin at the same loss; the earlier recipe sees no end token."""
    pytest.importorskip("trl")
    code, record, errors = train_peers("--base", tiny_folder, *data)
    assert code == 0, errors
    runs = record["runs"]
    assert [name for name, run in runs.items() if "error" in run] == []
    assert {run["samples"] for run in runs.values()} == {4}
    assert runs["trl"]["tokens"] == runs["ours"]["tokens"] == runs["seed_recipe"]["tokens"] + 4
    assert runs["trl"]["first_loss"] == pytest.approx(runs["ours"]["first_loss"], rel=2e-3)
    for name in ("seed_recipe", "trl"):
        assert record["ratio"][name] == pytest.approx(runs["ours"]["samples_per_s"] / runs[name]["samples_per_s"])
        assert record["memory_ratio"][name] == pytest.approx(runs["ours"]["peak_gib"] / runs[name]["peak_gib"])


def test_data_that_cannot_be_read_ends_it(tiny_folder: Path, tmp_path: Path) -> None:
    code, record, errors = train_peers("--base", tiny_folder, "--data", tmp_path / "none.jsonl")
    assert (code, record) == (2, None)
    assert errors.strip().splitlines()[-1].startswith("train_peers: ")


def test_kills_leave_the_same_adapter(recipe_file: Path) -> None:
    """Two of them, at moments of its choice."""
    code, record, errors = benchmark("kills.py", recipe_file, "--kills", 2, "--seed", 1)
    assert code == 0, errors
    assert record["same"] and record["sha256"][0] == record["sha256"][1]
    assert record["kills"] == len(record["at_line"]) == 2


def test_kills_of_no_recipe_is_a_sentence(tmp_path: Path) -> None:
    code, record, errors = benchmark("kills.py", tmp_path / "none.yaml")
    assert (code, record) == (2, None)
    assert errors.startswith("kills: ") and "none.yaml" in errors


SCHEMAS = ROOT / "src" / "slmbench" / "tasks" / "edge_json" / "schemas"
needs_kernels = pytest.mark.skipif(native.compiled() is None, reason="no C compiler")


@needs_kernels
def test_drafts_change_nothing_and_finished_answers_are_valid(
    wide_exports: Path, data_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "check.json"
    code, _, errors = benchmark(
        "decode_check.py", wide_exports / "export" / "int8", "--split", data_folder / "exam.jsonl",
        "--schemas", SCHEMAS, "--rows", 3, "--random", 25,
        *(word for constraint in ("free", "schema", "grounded") for word in ("--constraint", constraint)),
        "--out", out,
    )  # fmt: skip
    found = json.loads(out.read_text())
    assert code == 0, errors
    assert set(found) == {"model", "exam free", "exam schema", "exam grounded", "random schema", "random grounded"}
    for name, part in found.items():
        if name != "model":
            assert part["documents"] == (25 if "random" in name else 3)
            assert part["invalid"] == part["differ"] == part["differ_in_batch"] == []
            assert part["tokens"] > 0 and part["batch"] == 8


@needs_kernels
def test_ways_of_decoding(wide_exports: Path, data_folder: Path, tmp_path: Path) -> None:
    """What is there is measured, what is not exported is said."""
    pytest.importorskip("xllamacpp")
    only = ["ours", "plain", "hf_generate", "hf_guided", "hf_lookup", "llama_cpp", "onnx"]
    code, found, errors = benchmark(
        "decode_peers.py", wide_exports, "--split", data_folder / "exam.jsonl", "--schemas", SCHEMAS,
        "--rows", 2, "--json", *(word for way in only for word in ("--only", way)), "--out", tmp_path / "out.json",
    )  # fmt: skip
    assert code == 0, errors
    assert set(found["missing"]) == {"onnx"} and "--to onnx-int8 would add it" in found["missing"]["onnx"]
    for way in set(only) - {"onnx"}:
        part = found[way]
        assert 0 < part["p50_ms"] <= part["p95_ms"] and part["documents"] == 2 and part["weights_bytes"] > 0
    assert found["ratio"]["best_constraining"] == min(found["ratio"][way] for way in ("hf_guided", "llama_cpp"))
    assert json.loads((tmp_path / "out.json").read_text()) == found
    assert "| ours " in errors


@needs_kernels
def test_two_ways_to_tell_an_intent(wide_exports: Path, tmp_path: Path) -> None:
    out = tmp_path / "ways.json"
    code, _, errors = benchmark("intent_ways.py", wide_exports / "export" / "int8", "--rows", 3, "--json", "--out", out)
    assert code == 0, errors
    found = json.loads(out.read_text())
    assert found["written"]["accuracy"]["n"] == found["weighed"]["accuracy"]["n"] == 3
    assert all(len(set(names)) == 3 for names in found["weighed"]["ranked"].values())
    code, _, errors = benchmark("intent_ways.py", tmp_path, "--json")
    assert code == 2 and "no exported model" in errors


@needs_kernels
def test_what_models_answer_to_questions_of_bfcl(wide_exports: Path, tmp_path: Path) -> None:
    tool = {
        "name": "f",
        "description": "Adds.",
        "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}},
    }
    rows = [
        {
            "id": f"q{n}", "schema_id": f"q{n}", "complexity": "unlabelled", "style": "bfcl", "text": f"Add {n}.",
            "schema": calls_schema([tool]), "target": f'[{{"name":"f","arguments":{{"n":{n}}}}}]',
            "answers": [{"f": {"n": [n]}}],
        }
        for n in range(2)
    ]  # fmt: skip
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, errors = benchmark("bfcl_models.py", wide_exports, path, "--json", "--out", out)
    assert code == 0, errors
    found = json.loads(out.read_text())
    assert set(found) == {"rows, base", "rows, tuned", "rows, tuned, grammar"}
    assert all(part["figures"]["bfcl"]["n"] == 2 for part in found.values())
    assert found["rows, tuned, grammar"]["figures"]["unparseable"]["k"] <= 2
    path.write_text(json.dumps({key: rows[0][key] for key in rows[0] if key != "answers"}) + "\n")
    code, _, errors = benchmark("bfcl_models.py", wide_exports, path, "--json")
    assert code == 2 and "slmbench data import bfcl" in errors


def test_a_curve_over_training_rows(recipe_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "curve.json"
    options = ("--runs", tmp_path / "runs", "--json", "--out", out)
    code, points, errors = benchmark("learning_curve.py", recipe_file, "12x1", 16, *options)
    assert code == 0, errors
    assert [(p["rows"], p["epochs"], p["json_exact"]["n"]) for p in points] == [(8, 1, 6), (12, 2, 6)]
    assert json.loads(out.read_text()) == points and "<polyline" in out.with_suffix(".svg").read_text()
    for size, said in (("x", "give rows, or rows and epochs as in 1000x4"), ("25", "give 1 to 24 rows")):
        code, _, errors = benchmark("learning_curve.py", recipe_file, size, *options)
        assert code == 2 and said in errors
