"""Labelling: accepted, corrected and skipped documents, wrong corrections, and going on another day."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from slmbench.backends import native
from slmbench.core import BadInput
from slmbench.data import read_examples
from slmbench.documents import Document, documents
from slmbench.exported import load_exported
from slmbench.extract import Asked, Extractor
from slmbench.label import label

pytestmark = pytest.mark.skipif(native.compiled() is None, reason="no C compiler")
SCHEMA: dict[str, Any] = {
    "type": "object", "properties": {"kind": {"enum": ["order", "praise"]}}, "required": ["kind"],
    "additionalProperties": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def extractor(wide_exports: Path) -> Extractor:
    return Extractor(load_exported(wide_exports / "export" / "int8"), Asked(SCHEMA, explain=True))


def editor(folder: Path, *contents: str) -> str:
    """A program that writes one content after another into the file it is given."""
    for i, content in enumerate(contents):
        (folder / f"content{i}").write_text(content)
    script = folder / "editor.sh"
    script.write_text(
        f'n=$(cat {folder}/n 2>/dev/null || echo 0); cp {folder}/content$n "$1"; echo $((n + 1)) > {folder}/n\n'
    )
    return f"sh {script}"


def typed(*answers: str) -> Callable[[], str]:
    left: Iterator[str] = iter(answers)
    return lambda: next(left)


def mails(count: int) -> list[Document]:
    return [Document(f"m{n}", f"an order and praise, {n}") for n in range(count)]


def test_a_sitting_and_the_next(extractor: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, screen = tmp_path / "labelled.jsonl", io.StringIO()
    (was,) = extractor.rows(mails(1))
    other = {"order": "praise", "praise": "order"}[was["json"]["kind"]]
    monkeypatch.setenv("EDITOR", editor(tmp_path, '{"kind": "none"}', "{", json.dumps({"kind": other})))
    monkeypatch.delenv("VISUAL", raising=False)
    documents = [*mails(1), Document("bad", error="bad: broken."), *mails(5)[1:]]
    counts = label(extractor, documents, "mail", out, Console(file=screen), typed("e", "\n", "\n", "\n", "s", "q"))
    assert counts == {"labelled": 2, "corrected": 1, "skipped": 1}
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == ["m0", "m1"] and rows[0]["target"] == json.dumps(
        {"kind": other}, separators=(",", ":")
    )
    shown = screen.getvalue()
    assert shown.count("not under the schema") == 2 and "bad: broken." in shown and "Enter: right" in shown
    again = label(extractor, documents, "mail", out, Console(file=screen), typed("\n", "\n", "\n"))
    assert again == {"labelled": 3, "corrected": 0, "skipped": 0}
    examples = read_examples(out, schemas={"mail": SCHEMA})
    assert [e.id for e in examples] == ["m0", "m1", "m2", "m3", "m4"] and examples[0].target == {"kind": other}


def test_its_own_rows_are_no_documents(tmp_path: Path) -> None:
    """Where they lie in the folder that is read, behind the documents."""

    class Sure:
        asked = Asked(SCHEMA)

        def rows(self, found: list[Document]) -> list[Any]:
            return [{"id": document.id, "json": {"kind": "order"}} for document in found]

    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"an order, {name}")
    out, console = tmp_path / "labelled.jsonl", Console(file=io.StringIO())
    found = documents([str(tmp_path)])
    out.touch()
    counts = label(Sure(), found, "mail", out, console, lambda: "\n")  # type: ignore[arg-type]
    assert counts["labelled"] == 2 and len(out.read_text().splitlines()) == 2


def test_what_ends_it(extractor: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, console = tmp_path / "labelled.jsonl", Console(file=io.StringIO())
    for command, said in (("no-such-editor", "cannot be started"), ("false", "ended with code 1")):
        monkeypatch.setenv("VISUAL", command)
        with pytest.raises(BadInput, match=said):
            label(extractor, mails(1), "mail", out, console, typed("e"))
    ended = label(extractor, mails(2), "mail", out, console, typed("\n", ""))
    assert ended == {"labelled": 1, "corrected": 0, "skipped": 0}
    monkeypatch.setenv("VISUAL", editor(tmp_path, "{"))
    with pytest.raises(BadInput, match="nothing of this document was saved"):
        label(extractor, mails(2), "mail", out, console, typed("e", ""))
    out.write_text('{"id": "a", "schema_id": "other"}\n')
    with pytest.raises(BadInput, match="rows of something else"):
        label(extractor, mails(1), "mail", out, console, typed("\n"))
