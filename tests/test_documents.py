"""Documents in: every kind of file in its order, and every kind of damage as one sentence in its place."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest

from slmbench import documents as module
from slmbench.core import BadInput
from slmbench.documents import Document, Piece, documents, parquet_rows, read_unit, shown, units


def read(*sources: object, column: str | None = None) -> list[Document]:
    return list(documents([str(source) for source in sources], column))


def test_files_of_every_kind_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("a letter\nof two lines")
    (tmp_path / "a.md").write_bytes("﻿# Überschrift".encode())
    (tmp_path / "c.log").write_bytes("sixteen".encode("utf-16"))
    (tmp_path / ".hidden").write_text("no")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "d.jsonl").write_text('{"id": 7, "text": "seven"}\n\n{"content": "eight"}\n')
    (tmp_path / "t.csv").write_text('id,body\nx,"one, and\ntwo"\n,three\n')
    found = read(tmp_path)
    assert [d.text for d in found] == [
        "# Überschrift", "a letter\nof two lines", "sixteen", "seven", "eight", "one, and\ntwo", "three",
    ]  # fmt: skip
    assert [d.id.removeprefix(f"{tmp_path}/") for d in found] == [
        "a.md", "b.txt", "c.log", "7", "sub/d.jsonl:3", "x", "t.csv:4",
    ]  # fmt: skip
    assert not any(d.error for d in found)
    assert read(tmp_path / "b.txt", tmp_path / "a.md") == [found[1], found[0]]


def test_a_column_is_taken_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"note": "x", "text": "y"}\n')
    (tmp_path / "r.tsv").write_text("note\ttext\nx\ty\n")
    for name in ("r.jsonl", "r.tsv"):
        assert [d.text for d in read(tmp_path / name)] == ["y"]
        assert [d.text for d in read(tmp_path / name, column="note")] == ["x"]


def test_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"id": ["a", "b", "c"], "text": ["one", None, " "]}), tmp_path / "r.parquet")
    found = read(tmp_path / "r.parquet")
    assert [(d.id, d.text) for d in found] == [("a", "one"), ("b", ""), ("c", "")]
    assert "has no text under 'text'" in found[1].error and "r.parquet:3: the document is empty" in found[2].error
    texts = pa.array([b"one", b"caf\xe9", b"three"]).cast(pa.string(), safe=False)
    broken = tmp_path / "broken.parquet"
    parquet.write_table(pa.table({"text": texts}), broken)
    assert read(broken) == [
        Document(f"{broken}:1", "one"), Document(f"{broken}:2", error=f"{broken}:2: the row is not UTF-8."),
        Document(f"{broken}:3", "three"),
    ]  # fmt: skip
    assert list(read_unit([Piece(str(broken), broken.stat().st_size, 1, 0, 2)], None)) == read(broken)[1:]
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "r.parquet").read_bytes()[:-9])
    with pytest.raises(BadInput, match="not a whole Parquet file"):
        read(tmp_path / "cut.parquet")
    with pytest.raises(BadInput, match="no column 'none' among 'id', 'text'; name one with --column"):
        read(tmp_path / "r.parquet", column="none")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "r.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInput, match=r"slmbench\[parquet\]"):
        read(tmp_path / "r.parquet")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"%PDF-1.7 ...", "this is a PDF, not text; turn it into text first"),
        (b"\x89PNG\r\n", "this is an image"),
        (b"PK\x03\x04....", "this is an archive or Office file"),
        (b"caf\xe9", "byte 3 is not UTF-8; save it as UTF-8"),
        (b"\xff\xfea\x00b", "is not UTF-16"),
        (b"a\x00b", "null characters"),
        (b" \n", "the document is empty"),
    ],
)
def test_what_is_no_text_is_told_and_passed_by(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "1").write_bytes(content)
    (tmp_path / "2").write_text("a text")
    bad, good = read(tmp_path)
    assert said in bad.error and not bad.text and bad.error.startswith(f"{tmp_path / '1'}: ")
    assert good == Document(str(tmp_path / "2"), "a text")


def test_a_broken_line_is_told_and_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 60)
    lines = [
        b'{"text": "one"}', b'{"text": "\\ud800"}', b"nonsense", b"[1]", b'{"other": 1}', b'{"text": 5}',
        b'{"text": "caf\xe9"}', b'{"text": "' + b"x" * 300 + b'"}', b'{"text": ""}', b"[" * 50, b'{"text": "two"}',
    ]  # fmt: skip
    path = tmp_path / "r.jsonl"
    path.write_bytes(b"\n".join(lines))
    found = read(path)
    assert [d.text for d in found] == ["one", *[""] * 9, "two"]
    said = (
        "a lone surrogate", "not JSON", "not a JSON object", "no text under 'text'", "no string under 'text'",
        "byte 13 of the line", "over 60 bytes long", "is empty", "not JSON",
    )  # fmt: skip
    for number, (document, words) in enumerate(zip(found[1:10], said, strict=True), 2):
        assert f"{path}:{number}: " in document.error and words in document.error


def test_a_broken_table(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(b"text,n\none,1\ntwo\nthr\xe9e,3\nfour,4\n")
    found = read(path)
    assert [d.text for d in found] == ["one", "", "", "four"]
    assert "1 cells under 2 columns" in found[1].error and f"{path}:4: the row is not UTF-8" in found[2].error
    for content, said in (("a,b\n1,2\n", "none of the columns text, document"), ("", "the file is empty"),
                          ('text\n"a"b\n', "r.csv:2: this is not CSV")):  # fmt: skip
        path.write_text(content)
        with pytest.raises(BadInput, match=said):
            read(path)


def test_a_cell_that_is_too_long_is_its_rows_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 60)
    path, long = tmp_path / "r.csv", "x" * 61
    quoted = f'"{long}\n\nshe said ""no"", and\nno more"'
    path.write_text(f'id,text\na,"one\nand"\nb,{long}\n"c",{quoted}\nd,"two, ""three"""\n{quoted},e\nf,four\n')
    found = read(path)
    assert [d.text for d in found] == ["one\nand", "", "", 'two, "three"', "", "four"]
    assert [d.id for d in found] == ["a", f"{path}:4", f"{path}:5", "d", f"{path}:10", "f"]
    assert {d.error for d in found if d.error} == {
        f"{path}:{line}: a cell is over 60 characters long." for line in (4, 5, 10)
    }
    for most in (1, 4):
        assert [d for unit in units([str(path)], None, most) for d in read_unit(unit, None)] == found
    path.write_text(f'text\none\n"{long}\nand so on\n')
    with pytest.raises(BadInput, match=r"r\.csv:3: this is not CSV"):
        read(path)


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux alone")
def test_a_name_that_is_no_utf8_can_be_written(tmp_path: Path) -> None:
    for name, content in ((b"a\xff.txt", "one"), (b"b\xff.csv", "text\ntwo"), (b"c\xff.jsonl", '{"text": "three"}')):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text(content)
    found = read(tmp_path)
    assert [d.text for d in found] == ["one", "two", "three"]
    assert [d.id for d in found] == [
        f"{tmp_path}/{name}" for name in ("a\ufffd.txt", "b\ufffd.csv:2", "c\ufffd.jsonl:1")
    ]
    assert [d for unit in units([str(tmp_path)], None, 2) for d in read_unit(unit, None)] == found
    assert shown(Path("größe.txt")) == "größe.txt"


@pytest.mark.parametrize("most", [1, 2, 5, 100])
@pytest.mark.parametrize("skip", [0, 1, 9, 15, 40])
def test_units_hold_every_document_once(tmp_path: Path, most: int, skip: int) -> None:
    """Files of every kind: what others read of them, unit after unit, is what is read here."""
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    (tmp_path / "a.txt").write_text("a letter")
    (tmp_path / "b.csv").write_bytes(b'\xef\xbb\xbf\nid,text\n1,"one,\n\nand two"\n\n\n2,caf\xe9\n,three\n4\n"","five"')
    (tmp_path / "c.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "six"}\r\n\n \n{"text"\n{"text": "eight"}\n{"text": ""}')
    (tmp_path / "d.txt").write_bytes(b"%PDF")
    (tmp_path / "e.jsonl").write_text("\n")
    (tmp_path / "f.tsv").write_text("text\n")
    texts = [f"row {n}" for n in range(9)]
    parquet.write_table(pa.table({"text": texts}), tmp_path / "g.parquet", row_group_size=4)
    parquet.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "h.parquet")
    parquet.write_table(pa.table({"text": texts * 99}), tmp_path / "i.parquet")
    found = read(tmp_path)
    cut = list(units([str(tmp_path)], None, most, skip))
    assert [sum(piece.length for piece in unit) for unit in cut[:-1]] == [most] * (len(cut) - 1)
    assert [document for unit in cut for document in read_unit(unit, None)] == found[skip:]
    assert [*read_unit(cut[-1], None)] == found[-sum(piece.length for piece in cut[-1]) :]
    assert parquet_rows(tmp_path / "i.parquet") == 9 * 99


def test_a_file_that_has_changed_is_not_read_as_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"text": "one"}\n')
    (unit,) = units([str(path)], None, 5)
    path.write_text('{"text": "other"}\n')
    with pytest.raises(BadInput, match="18 bytes long, and 16 when it was counted"):
        list(read_unit(unit, None))
    path.unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        list(read_unit(unit, None))
    for name, content, said in (("r.csv", "", "the file is empty"), ("r.tsv", "a\n", "none of the columns")):
        (tmp_path / name).write_text(content)
        with pytest.raises(BadInput, match=said):
            list(units([str(tmp_path / name)], None, 5))


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no such file or folder"):
        read(tmp_path / "none")
    with pytest.raises(BadInput, match="holds no files"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("one letter\nof lines\n", [("stdin", "one letter\nof lines\n")]),
        ('{"id": "a", "text": "x"}\n{"text": "y"}\n', [("a", "x"), ("stdin:2", "y")]),
        ("[1, 2]\n", [("stdin", "[1, 2]\n")]),
        ("", []),
    ],
)
def test_standard_input(content: str, expected: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    assert [(d.id, d.text) for d in read("-")] == expected


def test_a_very_long_document_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with path.open("wb") as handle:
        handle.write(b'{"text": "')
        for _ in range(50):
            handle.write(b"x" * 2**20)
        handle.write(b'"}\n' + json.dumps({"text": "after it"}).encode())
    long, after = read(path)
    assert "bytes long" in long.error and after.text == "after it"


def test_a_long_cell_is_read_and_other_readers_keep_their_limit(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    path = tmp_path / "r.csv"
    path.write_text("text\n" + "x" * 200_000 + "\nshort\n")
    assert [len(d.text) for d in read(path)] == [200_000, 5] and csv.field_size_limit() == before
