"""The benchmarks, on bases of a few thousand parameters; what cannot be run is a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import _serve_faults
import _serving
import own_schema
import own_schema_table
import pytest
import scripts
import serve_load
import serve_table
from mail_schema import SCHEMA

from slmbench.backends import native
from slmbench.calls import calls_schema
from slmbench.publish.stored import samples_path, unpack

ROOT = Path(__file__).resolve().parents[1]


def train_peers(*arguments: object) -> tuple[int, Any, str]:
    return benchmark("train_peers.py", "--json", *arguments)


def benchmark(script: str, *arguments: object) -> tuple[int, Any, str]:
    """(exit code, the JSON on standard output, standard error)."""
    code, out, errors = scripts.benchmark(script, *arguments)
    return code, json.loads(out) if out else None, errors


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
    kept = unpack(samples_path(out).read_bytes(), out)
    assert [s["id"] for s in kept["rows, tuned, grammar"]["tuned"]] == ["q0", "q1"]
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


KINDS = {
    "type": "object",
    "properties": {"kind": {"enum": ["order", "complaint", "praise"]}, "urgent": {"type": "boolean"}},
    "required": ["kind", "urgent"],
    "additionalProperties": False,
}


@pytest.fixture
def mails(tmp_path: Path) -> Path:
    """Documents that a random model answers too."""
    path = tmp_path / "mails.jsonl"
    rows = [
        {
            "id": f"m{n}", "schema_id": "mail", "complexity": "unlabelled", "style": "mail", "schema": KINDS,
            "text": f"This is praise, an order and a complaint, {n} of them: urgent yes, or no.",
            "target": '{"kind":"order","urgent":true}',
        }
        for n in range(5)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@needs_kernels
@pytest.mark.timeout(900)
def test_a_server_under_load_and_faults(wide_exports: Path, mails: Path, tmp_path: Path) -> None:
    """All of it, small; only how fast a busy machine is may be missed."""
    out = tmp_path / "serving.json"
    code, found, errors = benchmark(
        "serve_load.py", wide_exports / "export" / "int8", mails, "--documents", 4, "--minutes", 0.05, "--clients", 2,
        "--connections", 30, "--threads", 1, "--json", "--out", out,
    )  # fmt: skip
    assert found is not None, errors
    assert code == int(bool(found["missed"])) and json.loads(out.read_text()) == found
    speed = ("one client: the median", "load: memory rose", "connections: /healthz failed 0 times", "gone: 1 of 2")
    assert [line for line in found["missed"] if not line.startswith(speed)] == []
    assert found["one_client"]["answered"] == len(found["one_client"]["ms"]) == 4
    assert found["load"]["answered"] > 0 and found["load"]["memory"]["first_mib"] > 10
    assert sum(found["connections"]["outcomes"].values()) == 30 and found["connections"]["health"]["asked"] > 0
    each = found["faults"]["each"]
    assert {"slow_head", "long_line", "gone", "port_in_use", "without_model.safetensors"} < set(each)
    assert all(fault["others_answered"] > 0 for fault in each.values())
    assert (
        each["without_tokenizer.json"]["sentence"] == "slmbench: MODEL/tokenizer.json: missing; export the model again."
    )
    assert "| ../ in the path | 404 |" in errors and "praise" not in out.read_text()


@needs_kernels
def test_a_server_that_does_not_start_is_a_sentence(wide_exports: Path, mails: Path) -> None:
    code, found, errors = benchmark("serve_load.py", wide_exports / "export" / "int8", mails, "--queue", 0)
    assert (code, found) == (1, None)
    assert errors.strip() == "serve_load: the server did not start: slmbench: --queue 0: give at least 1."
    for words, said in (([], "give a model's folder and documents"), ([mails, mails], "no exported model")):
        code, _, errors = benchmark("serve_load.py", *words)
        assert code == 2 and said in errors


@needs_kernels
def test_from_a_schema_to_rows(wide_folder: Path, tmp_path: Path) -> None:
    """With labelled documents, on a tiny base; what was gone through is not made again."""
    folder, out, work = tmp_path / "mail", tmp_path / "out", tmp_path / "work"
    folder.mkdir()
    (folder / "schema.json").write_text(json.dumps({"title": "Mail", **SCHEMA}))
    for name, first in (("test", 0), ("labelled", 10)):
        rows = [{"text": f"praise number {first + n}", "target": {"kind": "praise", "urgent": False}} for n in range(5)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = [folder, "--minutes", 1, "--base", wide_folder, "--work", work, "--out", out]
    settings = {"train.epochs": 1, "data.limit": 40, "data.validation": 8}
    given += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    code, found, errors = benchmark("own_schema.py", *given, "--way", "labelled")
    assert code == 0, errors
    assert json.loads((out / "mail_labelled.json").read_text()) == found
    kept = unpack((out / "mail_labelled.samples.jsonl.gz").read_bytes(), out)
    for who in ("base", "tuned", "extract", "grounded"):
        assert own_schema.figures(kept[who]["tuned"]) == found[who] and len(kept[who]["tuned"]) == 5
    assert found["labelled"] == found["documents"] == found["extract"]["json_exact"]["n"] == 5
    assert found["extract"]["schema_compliance"]["k"] == 5 > found["base"]["json_exact"]["k"]
    assert min(found["seconds"].values()) > 0 and len(found["seconds"]) == 5
    assert "labelled.jsonl*" in (work / "mail_labelled" / "recipe.yaml").read_text()
    code, again, errors = benchmark("own_schema.py", *given, "--way", "labelled")
    assert (code, again) == (0, found) and "own_schema slmbench" not in errors
    table = own_schema_table.own_table(out)
    assert found["grounded"]["schema_compliance"]["n"] == 5
    assert table.count("| mail |") == 4 and "made documents and 5 labelled" in table
    assert own_schema_table.own_table(tmp_path) == "Nothing has been measured yet."
    # What took minutes is not thrown away for other settings.
    code, _, errors = benchmark("own_schema.py", *given, "--way", "labelled", "--minutes", 2)
    assert code == 2 and "made with --minutes 1.0, not 2; delete it, or give --work" in errors
    assert (work / "mail_labelled" / "own_schema.json").is_file()
    code, _, errors = benchmark("own_schema.py", tmp_path)
    assert code == 2 and "schema.json is missing" in errors


def served_well() -> dict[str, Any]:
    """A result of which nothing is missed."""
    spread = {"mean_ms": 10.0, "p50_ms": 10.0, "p95_ms": 12.0, "p99_ms": 13.0}
    memory = serve_load.memory_line([(second, 2**28) for second in range(60)], 60)
    fault = {
        "says": "no key", "status": 401, "sentence": "Give a key.", "seconds": 0.1, "others_answered": 2,
        "others_longest_s": 0.2, "missed": [],
    }  # fmt: skip
    health = {"asked": 9, "failed": 0, "longest_s": 0.1}
    return {
        "model": {"name": "m", "form": "int8"}, "split": "test", "machine": {"cpu": "c", "cores": 2},
        "one_client": {"answered": 3, "server": spread, "engine": spread, "differ": [], "ratio_p50": 1.0},
        "load": {"clients": 2, "seconds": 60.0, "answered": 9, "waited": 1, "errors": {}, "documents_per_s": 0.15,
                 **spread, "memory": memory},
        "connections": {"connections": 9, "outcomes": {"200": 4, "429": 5}, "seconds": 2.0, "health": health,
                        "afterwards": {"as before": 8}, "still_waiting": 0.0},
        "faults": {"each": {"no_key": fault}, "normal_errors": {}, "connections_left": 0},
        "ended": {"code": 0, "tracebacks": 0}, "missed": [],
    }  # fmt: skip


GROWS = serve_load.memory_line([(float(second), 2**28 + second * 2**17) for second in range(61)], 60)
"""An eighth of a MiB more every second."""


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("one_client.ratio_p50", 1.2, "one client: the median is 1.20 times the engine's, over 1.15."),
        ("one_client.differ", ["m1"], "one client: 1 answers are not the engine's."),
        ("load.errors", {"status 500": 2}, "load: 2 times status 500."),
        ("load.answered", 0, "load: nothing was answered."),
        ("load.memory", GROWS, "load: memory rose by 2.3 % over the time, over 2 %."),
        ("connections.outcomes", {"200": 4, "429": 4, "hung": 1}, "connections: 1 hung."),
        ("connections.outcomes", {"429": 9}, "connections: none was answered with 200."),
        ("connections.health.failed", 1, "connections: /healthz failed 1 times of 9 and took up to 0.1 s, over 5."),
        (
            "connections.health.longest_s",
            6.0,
            "connections: /healthz failed 0 times of 9 and took up to 6.0 s",
        ),
        ("connections.afterwards", {"another answer": 8}, "afterwards: 8 times another answer."),
        ("connections.still_waiting", 1.0, "afterwards: 1 requests wait still."),
        ("faults.each.no_key.missed", ["it hung"], "no_key: it hung."),
        ("faults.normal_errors", {"reset": 3}, "faults: the client that went on met 3 times reset."),
        ("faults.connections_left", 2, "faults: 2 connections are open still."),
        ("ended.code", -9, "ended: the server ended with -9, not 0."),
        ("ended.tracebacks", 1, "ended: the server said 1 tracebacks."),
    ],
)
def test_each_requirement_of_serving_can_be_missed(place: str, value: object, said: str) -> None:
    result = served_well()
    assert serve_load.missed(result) == [] and "Missed" not in serve_load.table(result)
    *steps, last = place.split(".")
    part = result
    for step in steps:
        part = part[step]
    part[last] = value
    (missed,) = result["missed"] = serve_load.missed(result)
    assert missed.startswith(said) and f"- {missed}" in serve_load.table(result)


def test_memory_that_grows_is_not_flat() -> None:
    warm_up = [(float(second), 2**27 + second * 2**24) for second in range(12)]
    level = [(float(second), 2**28) for second in range(12, 61)]
    assert serve_load.memory_line([*warm_up, *level], 60)["flat"]
    assert not GROWS["flat"] and GROWS["slope_mib_per_min"] == pytest.approx(7.5)


@pytest.mark.parametrize(
    ("outcome", "missed"),
    [
        ((400, "Send JSON.", 0.1), ""),
        ((200, "", 0.1), "the status is 200, not 400; it is not told in one sentence"),
        ((None, "", 11.0), "the status is None, not 400; it is not told in one sentence; it took 11.0 s, over 10"),
        ((400, "Traceback: no.", 0.1, "memory grew"), "memory grew; it is not told in one sentence"),
        ((400, "Send something else.", 0.1), "JSON is not named"),
    ],
)
def test_a_fault_that_is_not_met_as_it_should_be_is_told(outcome: tuple[Any, ...], missed: str) -> None:
    made = _serve_faults.Outcome(*outcome)
    assert _serve_faults.Fault("a fault", lambda _: made, 400, names="JSON").judged(None).missed == missed


def test_answers_are_read_to_their_last_byte_and_judged() -> None:
    said = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\nRetry-After: 3\r\n\r\n{}"
    assert _serving.whole(said) and not _serving.whole(said[:-1]) and not _serving.whole(said[:30])
    answer = _serving.parsed(said, 0.0)
    document = _serving.Document(b"", {"a": 1})
    assert (answer.status, answer.wait, serve_load.outcome_of(document, answer)) == (429, "3", "429")
    for status, body, wait, kind in (
        (429, b"{}", None, "429 without Retry-After"),
        (503, b"", None, "status 503"),
        (200, b'{"json": {"a": 2}}', None, "another answer"),
        (200, b"half", None, "another answer"),
        (200, b'{"json": {"a": 1}}', None, "200"),
    ):
        assert serve_load.outcome_of(document, _serving.Answer(status, body, 0.0, wait)) == kind


def test_the_table_of_serving_is_put_into_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "model.json").write_text(json.dumps(served_well()))
    told = serve_table.serving_table(tmp_path / "results")
    assert "| no key | 401 |" in told and serve_table.serving_table(tmp_path) == "Nothing has been measured yet."
    page = tmp_path / "page.md"
    page.write_text(f"before\n{serve_table.BEGIN}\nSTALE\n{serve_table.END}\nafter\n")
    serve_table.main(["--write", str(page)])
    assert page.read_text() == f"before\n{serve_table.BEGIN}\n{serve_table.serving_table()}\n{serve_table.END}\nafter\n"
    page.write_text("nothing")
    with pytest.raises(SystemExit):
        serve_table.main(["--write", str(page)])
    assert "add both lines" in capsys.readouterr().err and page.read_text() == "nothing"
