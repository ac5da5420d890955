"""The benchmarks of extraction: where values are looked for, what is counted, and what follows from rates."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import extract_kills
import extract_trust as trust
import pytest
import scale_table as scale
import trust_table
from _table import replaced
from mail_schema import SCHEMA
from scripts import benchmark

from slmbench import documents, engine_ray
from slmbench.backends import native
from slmbench.confidence import Curve
from slmbench.core import Example
from slmbench.documents import Document
from slmbench.explain import Span, pointer, sources
from slmbench.exported import load_exported
from slmbench.extract import Asked, Extractor

ROOT = Path(__file__).resolve().parents[1]
needs_kernels = pytest.mark.skipif(native.compiled() is None, reason="no C compiler")


@pytest.fixture(scope="module")
def model(wide_exports: Path) -> Path:
    return wide_exports / "export" / "int8"


def mails(folder: Path, count: int) -> Path:
    path = folder / "mails.jsonl"
    path.write_text(
        "".join(json.dumps({"id": f"m{i}", "text": f"praise number {i}, urgent: yes"}) + "\n" for i in range(count))
    )
    return path


# ---- which text is the right one

FIELDS = {
    "type": "object",
    "properties": {
        "font_size": {"type": "string"},
        "theme": {"enum": ["light", "very_dark"]},
        "total": {"type": "number"},
        "day": {"type": "string", "format": "date"},
        "sent": {"type": "boolean"},
        "pets_allowed": {"type": "boolean", "description": "Whether tenants may keep animals"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"type": ["string", "null"]},
    },
}


@pytest.mark.parametrize(
    ("path", "value", "text", "found"),
    [
        (("font_size",), "small", "Small talk, in small smallest print", ["Small", "small"]),
        (("font_size",), "two  words", "here two\nwords", ["two\nwords"]),
        (("font_size",), "京都", "東京都庁", ["京都"]),
        (("theme",), "very_dark", "a very dark one, VERY-DARK", ["very dark", "VERY-DARK"]),
        (("total",), 1234.5, "$1,234.50 of 1234.5 or 12345", ["$1,234.50", "1234.5"]),
        (("total",), 24, "24 or two dozen", ["24", "two dozen"]),
        (("day",), "2024-03-05", "on 5 March 2024 (2024/03/05)", ["5 March 2024", "(2024/03/05)"]),
        (("sent",), True, "Sent: yes", ["yes"]),
        (("pets_allowed",), False, "Here tenants may not keep animals.", ["may not keep animals."]),
        (("tags",), [], "Tags: none", []),
        (("note",), None, "null", []),
        (("total",), 5, "word " * 4001 + "5", []),
    ],
)
def test_places_of_a_value(path: tuple[str], value: Any, text: str, found: list[str]) -> None:
    (places,) = trust.places([(path, value)], FIELDS, text)
    assert [text[begin:end] for begin, end in places] == found


def test_a_place_is_settled_by_its_name_alone() -> None:
    text = "smallest\nFont Size: small\nsmall print; very small"
    (places,) = trust.places([(("font_size",), "small")], FIELDS, text)
    assert len(places) == 3
    assert trust.settled(places, "font_size", text) == places[0]
    assert trust.settled(places, "fontSize", text) == places[0]
    assert trust.settled(places, "size", text) == places[0]
    assert trust.settled(places, "ize", text) is None
    assert trust.settled(places, "print", text) is None, "a name that stands on a line before, with text between"
    assert trust.settled(places, "", text) is None
    assert trust.settled(places[2:], "", text) == places[2]
    assert trust.settled([], "font_size", text) is None
    assert [trust.settled(places, "font_size", text, rank, 3) for rank in range(3)] == places
    assert trust.settled(places, "font_size", text, 0, 2) is None


@pytest.mark.parametrize(
    ("value", "rule", "text", "holds"),
    [
        ("a  b", "verbatim", "A\nb", True), ("b", "verbatim", "a b", False), (24, "number_words", "two dozen", True),
        (24, "number_words", "of two dozen", False), (24, "verbatim", "two dozen", False),
        ("2024-03-05", "date", "5 March 2024", True), (5, "verbatim", "6", False),
    ],
)  # fmt: skip
def test_a_span_is_the_value_or_leads_to_it(value: Any, rule: str, text: str, holds: bool) -> None:
    follows = trust.follower(value, ("a",), {"properties": {"a": {"type": "string"}}})
    assert trust.reads(value, rule, follows, text) is holds


def test_every_verdict() -> None:
    """On spans that are given, whatever `explain` would have said."""
    text = "Font size: small. A small total of 12, light, light. Day: 2024-03-05."
    gold = {"font_size": "small", "theme": "light", "total": 12, "day": "2024-03-05", "sent": True, "note": None}
    example = Example("a", text, "s", FIELDS, gold)

    def at(part: str, behind: int = 0) -> Span:
        begin = text.index(part, behind)
        return begin, begin + len(part)

    def told(key: str, rule: str, span: Span | None, value: Any = ...) -> str:
        row = {"path": f"/{key}", "value": gold[key] if value is ... else value, "from": rule, "span": span}
        return ", ".join(verdict for _, verdict in trust.verdicts([row], example))

    assert told("font_size", "verbatim", at("small")) == "right"
    assert told("font_size", "verbatim", at("small", 20)) == "elsewhere"
    assert told("font_size", "verbatim", at("Font size")) == "other"
    assert told("font_size", "verbatim", None) == "missed"
    assert told("theme", "verbatim", at("light")) == "several"
    assert told("total", "verbatim", at("12")) == told("day", "verbatim", at("2024-03-05")) == "right"
    assert told("total", "verbatim", at("of 12")) == "other", "more than the value"
    assert told("total", "number_words", at("12")) == "other", "by a rule that does not lead there"
    assert told("sent", "none", None) == told("note", "none", None) == "nowhere"
    assert told("total", "verbatim", at("12"), 13) == told("total", "verbatim", at("12"), True) == ""


def test_what_a_list_says_twice_is_settled_by_its_order() -> None:
    schema = {
        "properties": {"lines": {"items": {"properties": {"unit": {"type": "string"}}}}, "unit": {"type": "string"}}
    }
    text = "Unit: kg\n1. unit: box\n2. unit: bag\n3. unit: box\nbags of a kg"
    gold = {"lines": [{"unit": "box"}, {"unit": "bag"}, {"unit": "box"}], "unit": "kg"}
    spans = [(18, 21), (31, 34), (18, 21), (58, 60)]
    assert [text[begin:end] for begin, end in spans] == ["box", "bag", "box", "kg"]
    rows = [
        {"path": source, "value": value, "from": "verbatim", "span": span}
        for source, value, span in zip(
            ["/lines/0/unit", "/lines/1/unit", "/lines/2/unit", "/unit"],
            ["box", "bag", "box", "kg"],
            spans,
            strict=True,
        )
    ]
    found = trust.verdicts(rows, Example("a", text, "s", schema, gold))
    assert [verdict for _, verdict in found] == ["right", "right", "elsewhere", "elsewhere"]


def test_explanations_of_a_plain_document_are_right() -> None:
    text = "Theme: light\nFont size: small\nTotal: $1,200.00\nDay: 5 March 2024\nTags: red, blue"
    gold = {"theme": "light", "font_size": "small", "total": 1200, "day": "2024-03-05", "tags": ["red", "blue"]}
    rows = [
        {"path": pointer(source.path), "value": source.value, "from": source.rule, "span": source.span}
        for source in sources(gold, FIELDS, text)
    ]
    found = trust.verdicts(rows, Example("a", text, "s", FIELDS, gold))
    assert [verdict for _, verdict in found] == ["right"] * 6


# ---- what is counted


def told(id: str, confidence: float | None, exact: bool, **verdicts: int) -> dict[str, Any]:
    rules = {"verbatim": 3, "date": 1, "none": 1} if confidence is not None else {}
    return {
        "id": id, "confidence": confidence, "likelihood": confidence and confidence / 2, "right": exact,
        "rules": rules, "verdicts": verdicts, "apart": [], "values": [[confidence, True]] if confidence else [],
    }  # fmt: skip


def test_figures_and_their_table() -> None:
    documents = [
        told("a", 0.9, True, right=4), told("b", 0.8, True, right=2, several=1, nowhere=1), told("c", None, False),
        told("d", 0.9, False, missed=1, other=1), told("e", 0.3, False, elsewhere=1),
    ]  # fmt: skip
    found = {"model": "m", "split": "rows.jsonl", **trust.figures(documents)}
    shares = {name: (part["k"], part["n"]) for name, part in found["spans"].items() if name != "counts"}
    assert shares == {"given": (9, 11), "text": (8, 11), "right": (6, 11), "settled": (6, 9)}
    assert [found["rules"][name]["k"] for name in ("verbatim", "derived", "none")] == [12, 4, 4]
    assert found["rules"]["none"]["n"] == 20
    # Two are 0.9 sure and one of them is right; one 0.8, right; one 0.3, wrong.
    assert found["calibration"]["documents"] == 4
    assert found["calibration"]["calibrated"]["error"] == pytest.approx((2 * 0.4 + 0.2 + 0.3) / 4)
    assert found["calibration"]["raw"]["error"] == pytest.approx((abs(0.45 * 2 + 0.4 - 2) + 0.15) / 4)
    assert found["calibration"]["values"]["error"] == pytest.approx((2 * 0.1 + 0.2 + 0.7) / 4)
    accepted = {share: (part["k"], part["n"]) for share, part in found["coverage"]["accepted"].items()}
    assert accepted == {"0.5": (2, 3), "0.8": (2, 4), "0.9": (2, 5), "1.0": (2, 5)}
    assert found["coverage"]["curve"] == [[0.4, 0.5], [0.6, 0.6667], [0.8, 0.5], [1.0, 0.4]]
    table = trust.table(found)
    assert "| right values whose span is on the right text | 54.5 % (6/11; 28.0–78.7) |" in table
    assert table.endswith("5 documents of rows.jsonl, m. Accept the surest 80 %: 50.0 % right (2/4).")
    picture = trust.picture(found)
    assert picture.startswith("<svg xmlns=") and "<polyline" in picture and "m, rows.jsonl" in picture


@needs_kernels
def test_what_a_model_says_is_measured(model: Path, tmp_path: Path) -> None:
    """Its own answers are the golds, but for one; a document is too long for it."""
    exported = load_exported(model)
    texts = [f"praise number {i}, an order or a complaint; urgent: yes or no" for i in range(4)]
    answers = [
        row["json"]
        for row in Extractor(exported, Asked(SCHEMA)).rows([Document(str(i), t) for i, t in enumerate(texts)])
    ]
    golds = [*answers[:3], {**answers[3], "urgent": not answers[3]["urgent"]}, answers[0]]
    rows = [
        {"id": f"r{i}", "schema_id": "mail", "complexity": "simple", "style": "x", "text": text, "schema": SCHEMA,
         "target": json.dumps(gold)}
        for i, (text, gold) in enumerate(zip([*texts, "word " * 5000], golds, strict=True))
    ]  # fmt: skip
    path, out = tmp_path / "rows.jsonl", tmp_path / "new" / "out.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, printed, errors = benchmark("extract_trust.py", model, path, "--json", "--out", out)
    assert code == 0, errors
    found = json.loads(printed)
    assert json.loads(out.read_text()) == found and "<polyline" in out.with_suffix(".svg").read_text()
    assert (found["json_exact"]["k"], found["json_exact"]["n"]) == (3, 5)
    assert sum(found["spans"]["counts"].values()) == found["spans"]["right"]["n"] == 7
    assert sum(found["rules"]["counts"].values()) == 8
    *answered, failed = found["documents"]
    assert failed["confidence"] is failed["likelihood"] is None and not failed["right"]
    curve = Curve(**found["curve"])
    assert [one["confidence"] for one in answered] == [round(curve(one["likelihood"]), 4) for one in answered]
    assert found["coverage"]["accepted"]["1.0"]["n"] == 5 and found["calibration"]["documents"] == 4
    assert found["calibration"]["values"]["count"] == sum(found["rules"]["counts"].values())
    assert trust_table.trust_table(out.parent) == f"`out`:\n\n{trust.table(found)}"


@needs_kernels
def test_no_confidence_is_a_sentence(model: Path, tmp_path: Path) -> None:
    code, printed, errors = benchmark("extract_trust.py")
    assert (code, printed) == (2, "") and errors.startswith("extract_trust: no model is given")
    code, printed, errors = benchmark("extract_trust.py", tmp_path)
    assert (code, printed) == (2, "") and "no exported model" in errors


# ---- kills


@needs_kernels
@pytest.mark.timeout(600)
def test_kills_leave_the_same_rows(model: Path, schema_file: Path, tmp_path: Path) -> None:
    code, printed, errors = benchmark(
        "extract_kills.py", model, mails(tmp_path, 300), "--schema", schema_file, "--kills", 3
    )
    assert code == 0, errors
    found = json.loads(printed)
    assert found["same"] and found["in_order"] and not found["left"] and found["documents"] == 300
    assert 1 <= found["kills"]["command"] <= 3 and found["at_row"] == sorted(found["at_row"])
    code, printed, errors = benchmark("extract_kills.py", model, tmp_path / "none.jsonl", "--schema", schema_file)
    assert (code, printed) == (2, "") and errors.startswith("extract_kills: ") and "none.jsonl" in errors


@needs_kernels
@pytest.mark.timeout(900)
def test_kills_of_ray_and_of_its_workers(model: Path, schema_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    code, printed, errors = benchmark(
        "extract_kills.py", model, mails(tmp_path, 200), "--schema", schema_file, "--kills", 1, "--seed", 5,
        "--engine", "ray", "--workers", 2,
    )  # fmt: skip
    assert code == 0, errors
    found = json.loads(printed)
    assert found["same"] and found["in_order"] and not found["left"] and sum(found["kills"].values()) == 1


def test_what_differs_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A command that begins anew with each start, instead of going on."""
    (tmp_path / "anew.py").write_text(
        "import json, sys, time\n"
        "with open(sys.argv[sys.argv.index('--out') + 1], 'a') as out:\n"
        "    for i in range(40):\n"
        "        print(json.dumps({'id': f'm{i}'}), file=out, flush=True)\n"
        "        time.sleep(0.02)\n"
    )
    monkeypatch.setattr(extract_kills, "load_exported", lambda path: None)
    monkeypatch.setattr(extract_kills, "schema_of", lambda model, path: None)
    monkeypatch.setattr(extract_kills, "command", lambda arguments: [sys.executable, str(tmp_path / "anew.py")])
    assert extract_kills.main([str(tmp_path), str(mails(tmp_path, 40)), "--kills", "1", "--seed", "1"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["same"], found["in_order"], found["left"]) == (False, False, 0)


# ---- rates, and what follows from them


@needs_kernels
@pytest.mark.timeout(600)
def test_rates_of_one_process_and_of_several(model: Path, schema_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "scale" / "mails.json"
    given = [model, mails(tmp_path, 6), "--schema", schema_file, "--out", out]
    code, printed, errors = benchmark("extract_rate.py", *given, "--json")
    assert code == 0, errors
    found = json.loads(printed)
    assert json.loads(out.read_text()) == found and found["documents"]["count"] == 6
    cores = len(os.sched_getaffinity(0))
    names = ["1 process, 1 core", f"1 process, {cores} cores", f"{cores} processes, 1 core each"]
    assert list(found["ways"]) == names[: 3 if cores > 1 else 1]
    for part in found["ways"].values():
        assert part["documents"] == 6 * part["processes"] and part["failed"] == 0
        assert part["per_hour"] == pytest.approx(3600 * part["documents"] / part["seconds"])
        assert part["per_hour_and_core"] == pytest.approx(part["per_hour"] / part["cores"])
        assert 0 < part["load_s"] < part["seconds"] and part["prompt_tokens"] > found["documents"]["mean_tokens"] > 0
    assert min(found[key] for key in ("row_bytes", "cursor_bytes", "again_per_s", "count_per_s", "unit_bytes")) > 0
    assert "| mails | 1 process, 1 core | 6 |" in scale.scale_table(out.parent)
    code, printed, errors = benchmark("extract_rate.py", *given, "--cores", 256)
    assert (code, printed) == (2, "") and "give no more" in errors


def measured(**other: Any) -> dict[str, Any]:
    part = {
        "processes": 1, "cores": 1, "engine": "local", "documents": 100, "per_hour": 5000.0,
        "per_hour_and_core": 5000.0, "prompt_tokens": 300.0, "output_tokens": 50.0,
        "peak_memory_gib": 0.5,
    }  # fmt: skip
    many = {"processes": 2, "cores": 2, "per_hour": 8000.0, "per_hour_and_core": 4000.0, "peak_memory_gib": 0.25}
    ray = {**many, "engine": "ray", "processes": 9, "per_hour_and_core": 1.0, "peak_memory_gib": None}
    return {
        "model": "m", "machine": {"cpu": "a CPU"}, "explain": False, "batch": 1,
        "documents": {"count": 100, "bytes": 50000, "mean_tokens": 120.0}, "row_bytes": 200.0, "cursor_bytes": 1500,
        "again_per_s": 50000.0, "count_per_s": 100000.0, "unit_documents": 250, "unit_bytes": 80.0,
        "ways": {"one": part, "two": {**part, **many}, "ray": {**part, **ray}}, **other,
    }  # fmt: skip


def test_what_follows_from_a_rate(tmp_path: Path) -> None:
    """A document a core and 0.9 s, 200 bytes of rows."""
    found = dict(zip(scale.LABELS, scale.reckoned(measured()), strict=True))
    assert list(found.values()) == [
        "250,000", "163", "16.0", "0.500", "0.200", "1,000", "250", "0.200", "1.50", "20.0", "4,000,000", "4.00 ×",
        "0.320", "2.78", "5.56",
    ]  # fmt: skip
    assert scale.scale_table(tmp_path) == "Nothing has been measured yet."
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(measured(explain=name == "b")))
    table = scale.scale_table(tmp_path)
    assert "| a | one | 100 | 5,000 | 5,000 | 0.50 |\n|  | two | 100 | 8,000 | 4,000 | 0.25 |" in table
    assert (
        "| core-hours | 250,000 | 250,000 |" in table and "- b: m with --explain, 1 at a time; 100 documents" in table
    )


def test_the_page_on_scale_is_made_of_the_results() -> None:
    text = (ROOT / "docs" / "scale.md").read_text()
    assert replaced(text, scale.scale_table(), scale.BEGIN, scale.END) == text
    assert f"up to {engine_ray.MOST} documents" in text
    assert f"{engine_ray.STORE_BYTES // 2**20} MiB at most" in text
    assert f"over {documents.MOST_BYTES // 2**20} MiB are refused" in text
    assert engine_ray.TRIES == 4 and "dies four times" in text
