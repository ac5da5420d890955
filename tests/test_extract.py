"""Documents in, rows out: in order, each once however often it is killed, explained, and errors in their place."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mail_schema import SCHEMA

from slmbench import extract as module
from slmbench.backends import native
from slmbench.backends.llama_cpp import LlamaCpp
from slmbench.calibrate import calibration, lines
from slmbench.core import BadInput, Completion, Example, Request
from slmbench.documents import Document, documents
from slmbench.exported import Exported, load_exported
from slmbench.extract import Asked, Extractor, schema_of
from slmbench.schema import validate

pytestmark = pytest.mark.skipif(native.compiled() is None, reason="no C compiler")


@pytest.fixture(scope="module")
def model(wide_exports: Path) -> Path:
    return wide_exports / "export" / "int8"


@pytest.fixture(scope="module")
def exported(model: Path) -> Exported:
    return load_exported(model)


def mails(folder: Path, count: int, name: str = "mails.jsonl") -> Path:
    path = folder / name
    path.write_text(
        "".join(json.dumps({"id": f"m{i}", "text": f"praise number {i}, urgent: yes"}) + "\n" for i in range(count))
    )
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("batch", [1, 3])
def test_rows_are_in_order_and_errors_in_their_place(exported: Exported, batch: int) -> None:
    found = [Document(f"d{i}", "x" if i % 3 else "", "" if i % 3 else f"d{i}: broken.") for i in range(9)]
    found.insert(4, Document("long", "word " * 5000))
    rows = list(Extractor(exported, Asked(SCHEMA, batch=batch)).rows(found))
    assert [row["id"] for row in rows] == [d.id for d in found]
    for row, document in zip(rows, found, strict=True):
        if document.error:
            assert row["error"] == document.error
        elif document.id == "long":
            assert "that this model reads" in row["error"]
        else:
            assert validate(row["json"], SCHEMA) == [] and row.keys() == {"id", "json"}


def test_several_at_once_give_the_same_rows(exported: Exported) -> None:
    found = [Document(f"d{i}", f"letter {i} " * (i % 5 + 1)) for i in range(7)]
    one, many = (list(Extractor(exported, Asked(SCHEMA, batch=n, explain=True)).rows(found)) for n in (1, 4))
    assert one == many


def test_every_value_is_explained(exported: Exported) -> None:
    text = "This is praise, an order and a complaint: urgent yes, or no."
    (row,) = Extractor(exported, Asked(SCHEMA, explain=True)).rows([Document("a", text)])
    kind, urgent = row["values"]
    assert (kind["path"], kind["value"]) == ("/kind", row["json"]["kind"]) and urgent["path"] == "/urgent"
    assert text[slice(*kind["span"])] == kind["value"] and kind["from"] == "verbatim"
    assert text[slice(*urgent["span"])] == ("yes" if urgent["value"] else "no")
    assert all(0 <= part["confidence"] <= 1 for part in (kind, urgent)) and 0 <= row["confidence"] <= 1


def test_an_export_without_curves_says_nothing_of_confidence(exported: Exported, tmp_path: Path) -> None:
    old = dataclasses.replace(exported, manifest={k: v for k, v in exported.manifest.items() if k != "confidence"})
    (row,) = Extractor(old, Asked(SCHEMA, explain=True)).rows([Document("a", "praise")])
    assert row["confidence"] is None and {part["confidence"] for part in row["values"]} == {None}
    with pytest.raises(BadInput, match="knows no confidence"):
        asked = Asked(SCHEMA, min_confidence=0.5)
        module.extract(old, [str(mails(tmp_path, 1))], asked, out=tmp_path / "o.jsonl", review=tmp_path / "r.jsonl")


def test_an_export_learns_how_sure_it_may_be(exported: Exported) -> None:
    curves = exported.manifest["confidence"]
    assert curves["leaf"]["rows"] > 0 and curves["document"].keys() == {"slope", "offset", "rows"}
    golds = [Example(f"e{n}", f"order {n}", "mail", SCHEMA, {"kind": "order", "urgent": n < 2}, {}) for n in range(4)]
    told = calibration(exported, golds)
    assert (told["leaf"]["count"], told["document"]["count"]) == (8, 4) and 0 <= told["leaf"]["error"] <= 1
    assert list(told["document"]["right"]) == ["0.5", "0.8", "0.9", "1.0"]
    assert "calibration error" in lines(told)[0] and sum(part["count"] for part in told["leaf"]["bins"]) == 8
    own = exported.manifest["calibration"]
    assert own.keys() == {"leaf", "document"} and own["leaf"]["covered"][-1][0] == 1
    with pytest.raises(BadInput, match="knows no confidence; a run that is exported to int8 does"):
        calibration(dataclasses.replace(exported, manifest={**exported.manifest, "confidence": {}}), [])
    assert exported.manifest["schema"] is None
    with pytest.raises(BadInput, match="no schema of its own, or several; give one with --schema"):
        schema_of(exported, None)
    own = dataclasses.replace(exported, manifest={**exported.manifest, "schema": SCHEMA})
    assert schema_of(own, None) == SCHEMA


@pytest.mark.parametrize(
    ("schema", "said"),
    [("{}", "nothing to extract"), ('{"type": "object"}', "nothing to extract"), ("[1]", "must be an object"),
     ('{"properties": {"a": {"type": "text"}}}', "not a JSON Schema"), ("{", "not JSON")],
)  # fmt: skip
def test_a_wrong_schema(exported: Exported, tmp_path: Path, schema: str, said: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(schema)
    with pytest.raises(BadInput, match=said):
        schema_of(exported, path)


def test_the_verb_pipes(model: Path, schema_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "slmbench", "extract", str(model), "-", "--schema", str(schema_file)]
    lines = '{"id": "a", "text": "one"}\nbroken\n{"text": "two"}\n'
    ended = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=False)
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 0 and [row["id"] for row in rows] == ["a", "stdin:2", "stdin:3"]
    assert "not JSON" in rows[1]["error"] and ended.stderr.splitlines()[-1] == "3 documents, 1 failed"
    pdf = tmp_path / "a.pdf"
    pdf.write_bytes(b"%PDF-1.7")
    ended = subprocess.run(
        [*command[:5], str(pdf), *command[6:]], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1 and "this is a PDF, not text" in json.loads(ended.stdout)["error"]


def test_tables(model: Path, schema_file: Path, tmp_path: Path, slmbench: Callable[..., Any]) -> None:
    from pyarrow import parquet

    source, broken = mails(tmp_path, 4), tmp_path / "broken.txt"
    broken.write_bytes(b"caf\xe9")
    for ending in ("csv", "parquet"):
        out = tmp_path / "new" / f"rows.{ending}"
        said = slmbench("extract", model, source, broken, "--schema", schema_file, "--out", out, "--explain")
        assert said.code == 0 and said.err.splitlines()[-1] == "5 documents, 1 failed"
        if ending == "csv":
            rows = list(csv.DictReader(io.StringIO(out.read_text())))
        else:
            rows = parquet.read_table(out).to_pylist()
        assert [row["id"] for row in rows] == ["m0", "m1", "m2", "m3", str(broken)]
        assert list(rows[0]) == ["id", "kind", "urgent", "confidence", "error"]
        assert rows[0]["kind"] in SCHEMA["properties"]["kind"]["enum"] and "not UTF-8" in rows[4]["error"]
        stamp = out.stat().st_mtime_ns
        again = slmbench("extract", model, source, broken, "--schema", schema_file, "--out", out, "--explain")
        assert again.code == 0 and out.stat().st_mtime_ns == stamp


def test_columns_of_a_table_are_of_one_kind_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written a few rows at a time, so a kind is that of all rows; the text form is JSON."""
    from pyarrow import parquet

    monkeypatch.setattr(module, "_GROUP", 2)
    columns: dict[str, tuple[list[Any], str, list[Any]]] = {
        "flag": ([None, True, False], "bool", [None, True, False]),
        "count": ([1, None, 2**60], "int64", [1, None, 2**60]),
        "price": ([1, 2.5, None], "double", [1.0, 2.5, None]),
        "name": (["ä", None, '"'], "string", ["ä", None, '"']),
        "none": ([None, None, None], "null", [None, None, None]),
        "mixed": ([1, "ä", True], "string", ["1", '"ä"', "true"]),
        "huge": ([2**70, 1, None], "string", [str(2**70), "1", None]),
        "exact": ([2**60, 0.5, None], "string", [str(2**60), "0.5", None]),
        "list": ([[1], {"a": "ä"}, None], "string", ["[1]", '{"a": "ä"}', None]),
    }
    journal, out = tmp_path / "journal", tmp_path / "out.parquet"
    rows = [{"id": str(n), "json": {name: given[n] for name, (given, _, _) in columns.items()}} for n in range(3)]
    journal.write_text("".join(json.dumps(row) + "\n" for row in rows))
    schema = {"type": "object", "properties": {name: {} for name in columns}}
    module._write_table(out, journal, schema)
    table = parquet.read_table(out)
    assert table.schema.names == ["id", *columns] and table["id"].to_pylist() == ["0", "1", "2"]
    for name, (_, kind, expected) in columns.items():
        assert (str(table.schema.field(name).type), table[name].to_pylist()) == (kind, expected)
    module._write_table(tmp_path / "out.csv", journal, schema)
    found = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert found[1]["mixed"] == "ä" and found[0]["huge"] == str(2**70) and found[1]["list"] == '{"a": "ä"}'
    journal.write_text("")
    module._write_table(out, journal, schema)
    assert parquet.read_table(out).num_rows == 0


def test_a_property_called_as_our_own_column_keeps_its_name(tmp_path: Path) -> None:
    from pyarrow import parquet

    journal = tmp_path / "journal"
    journal.write_text(
        json.dumps({"id": "mail-1", "json": {"id": 7, "_id": 8, "error": "none"}, "confidence": 0.5}) + "\n"
    )
    schema = {"type": "object", "properties": {"id": {}, "_id": {}, "error": {}}}
    for out in (tmp_path / "out.csv", tmp_path / "out.parquet"):
        module._write_table(out, journal, schema)
    head = ["__id", "id", "_id", "error", "confidence"]
    assert (tmp_path / "out.csv").read_text() == f"{','.join(head)}\nmail-1,7,8,none,0.5\n"
    (row,) = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert row == dict(zip(head, ["mail-1", 7, 8, "none", 0.5], strict=True))


def test_doubtful_rows_go_to_be_looked_at(exported: Exported, tmp_path: Path) -> None:
    source, out, review = mails(tmp_path, 8), tmp_path / "out.jsonl", tmp_path / "review.jsonl"
    plain = module.extract(exported, [str(source)], Asked(SCHEMA, explain=True), out=tmp_path / "all.jsonl")
    assert plain == {"documents": 8, "failed": 0, "doubtful": 0}
    sure = sorted(row["confidence"] for row in read(tmp_path / "all.jsonl"))
    asked = Asked(SCHEMA, min_confidence=sure[4])
    counts = module.extract(exported, [str(source)], asked, out=out, review=review)
    rows, doubts = read(out), read(review)
    assert counts["doubtful"] == len(doubts) == sum(p < sure[4] for p in sure) and len(rows) + len(doubts) == 8
    assert all(row["confidence"] >= sure[4] for row in rows)
    texts = {f"m{i}": f"praise number {i}, urgent: yes" for i in range(8)}
    assert all(row["confidence"] < sure[4] and row["text"] == texts[row["id"]] for row in doubts)


def test_killed_at_any_moment_no_document_is_lost_or_done_twice(model: Path, schema_file: Path, tmp_path: Path) -> None:
    source, chance, kills = mails(tmp_path, 600), random.Random(5), 0
    parts = [tmp_path / name for name in ("out.jsonl", "review.jsonl")]
    command = [
        sys.executable, "-m", "slmbench", "extract", str(model), str(source), "--schema", str(schema_file),
        "--out", str(parts[0]), "--min-confidence", "0.5", "--review", str(parts[1]), "--batch", "3",
    ]  # fmt: skip

    def size() -> int:
        return sum(part.stat().st_size for part in parts if part.exists())

    while True:
        until = size() + chance.randint(0, 6000)
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        while kills < 6 and process.poll() is None:
            if size() > until:
                process.kill()
                kills += 1
                break
            time.sleep(0.001)
        _, errors = process.communicate(timeout=120)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        for part in parts:
            if part.exists() and chance.random() < 0.5:  # a write that was cut
                with part.open("ab") as handle:
                    handle.write(b'{"id": "m')
    assert kills == 6
    names = [row["id"] for part in parts for row in read(part)]
    assert sorted(names) == sorted(f"m{i}" for i in range(600))
    for part in parts:
        places = [int(row["id"][1:]) for row in read(part)]
        assert places == sorted(places)


@pytest.mark.parametrize("name", ["out.jsonl", "sub/out.csv", "../mails/out.jsonl"])
def test_rows_do_not_lie_among_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each would be read as a document and give a row more."""
    folder = tmp_path / "mails"
    folder.mkdir()
    mails(folder, 1)
    monkeypatch.chdir(folder)
    loaded: Any = None  # it is said before anything is opened
    for given in ({"out": Path(name)}, {"out": tmp_path / "out.jsonl", "review": Path(name)}):
        asked = Asked(SCHEMA)
        if "review" in given:
            monkeypatch.setattr(module, "curves_of", lambda model: {})
            asked = Asked(SCHEMA, min_confidence=0.5)
        with pytest.raises(
            BadInput, match=r"out\.\w+: the rows would lie among the documents of \.; give a file outside"
        ):
            module.extract(loaded, ["."], asked, **given)
    assert [path.name for path in folder.iterdir()] == ["mails.jsonl"]


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_files_whose_names_are_no_utf8_have_rows(tmp_path: Path) -> None:
    class Sure:
        model: Any = SimpleNamespace(identity={})
        asked = Asked(SCHEMA)

        def answers(self, *given: Any) -> Iterator[Any]:
            yield [({"id": document.id}, False) for document in documents(*given[:2])]

    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.txt"))
    path.write_text("one")
    out = tmp_path / "out.jsonl"
    for _ in range(2):  # the second time it is seen to be done
        assert module.to_file(Sure(), [str(path)], None, out)["documents"] == 1
    assert read(out) == [{"id": f"{tmp_path}/a\ufffd.txt"}]


@pytest.mark.parametrize("batch", [1, 2])
def test_a_document_that_is_too_long_is_its_rows_error_whatever_answers(batch: int) -> None:
    """Of a backend with a loop of its own, too: it would end at such a request."""

    class Own:
        positions = LlamaCpp.positions

        def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
            for request in requests:
                assert len(request.prompt_ids) < self.positions
                yield Completion(request.id, "{}", (), "stop", 1, 1, None, 0.1, 1)

    def request(example: Example, *_: Any) -> Request:
        return Request(example.id, (5,) * len(example.text), 4)

    model: Any = SimpleNamespace(manifest={}, request=request)
    found = [Document("a", "x"), Document("b", "x" * 4096), Document("c", "x" * 4095)]
    rows = list(Extractor(model, Asked({"type": "object"}, batch=batch), Own()).rows(found))
    assert [row.get("error") for row in rows] == [
        None, "4096 tokens are over the 4095 that this model reads; cut the document.", None,
    ]  # fmt: skip


def test_files_of_something_else_are_left_alone(exported: Exported, tmp_path: Path) -> None:
    source, out = mails(tmp_path, 2), tmp_path / "out.jsonl"
    out.write_text("mine")
    with pytest.raises(BadInput, match="there is such a file already"):
        module.extract(exported, [str(source)], Asked(SCHEMA), out=out)
    assert out.read_text() == "mine"
    out.unlink()
    module.extract(exported, [str(source)], Asked(SCHEMA), out=out)
    before = out.read_bytes()
    for asked, what in ((Asked({**SCHEMA, "title": "new"}), "schema"), (Asked(SCHEMA, explain=True), "explain")):
        with pytest.raises(BadInput, match=f"begun with other {what}"):
            module.extract(exported, [str(source)], asked, out=out)
    mails(tmp_path, 3)
    with pytest.raises(BadInput, match="begun with other documents"):
        module.extract(exported, [str(source)], Asked(SCHEMA), out=out)
    assert out.read_bytes() == before


def test_one_process_at_a_time_writes_a_file(exported: Exported, tmp_path: Path) -> None:
    """Another one is refused as long as the first is at work, and finds its rows afterwards."""
    source, out = mails(tmp_path, 3), tmp_path / "new" / "out.jsonl"
    refused = []

    class Meeting(Extractor):
        def answers(self, *given: Any) -> Any:
            for together in super().answers(*given):
                with pytest.raises(BadInput, match="another process is writing it; wait for it to end"):
                    module.extract(exported, [str(source)], Asked(SCHEMA), out=out)
                refused.append(True)
                yield together

    first = module.extract(exported, [str(source)], Asked(SCHEMA), out=out, engine=Meeting)
    assert len(refused) == 3 and [row["id"] for row in read(out)] == ["m0", "m1", "m2"]
    assert module.extract(exported, [str(source)], Asked(SCHEMA), out=out) == first


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"review": Path("r.jsonl")}, "go together"),
        ({"asked": Asked(SCHEMA, batch=0)}, "--batch 0: give 1 to"),
        ({"asked": Asked(SCHEMA, threads=-1)}, "--threads -1: give 1 to"),
        ({"asked": Asked(SCHEMA, min_confidence=1.5), "review": Path("r")}, "give a probability"),
        ({"asked": Asked(SCHEMA, min_confidence=0.5), "review": Path("r")}, "--review needs --out"),
        ({"inputs": ["none.txt"]}, "no such file or folder"),
        ({"inputs": ["-"], "out": Path("o.jsonl")}, "cannot be read again"),
        ({"out": Path("mails.jsonl")}, "written over the documents"),
    ],
)
def test_what_does_not_go_together(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    mails(tmp_path, 1)
    inputs = options.pop("inputs", ["mails.jsonl"])
    with pytest.raises(BadInput, match=said):
        module.extract(exported, inputs, options.pop("asked", Asked(SCHEMA)), **options)
    assert [path.name for path in tmp_path.iterdir()] == ["mails.jsonl"]
