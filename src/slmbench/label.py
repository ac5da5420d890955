"""A model's answers looked at and corrected by a person, document after document: the verb `label`.

What is accepted or corrected becomes a row to train on or to test with; a document that has a row already is not asked
for again, so one may stop at any time.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmbench.core import BadInput
from slmbench.documents import Document
from slmbench.extract import Extractor, Row
from slmbench.files import Appender, read_jsonl_tolerant
from slmbench.schema import canonical, complexity, strict_loads, validate

if TYPE_CHECKING:
    from rich.console import Console

STYLE = "labelled"
DOUBTFUL = 0.8
"""Values less sure than this are marked."""
KEYS = "Enter: right   e: edit   s: skip   q: stop"


def label(
    extractor: Extractor, found: Iterable[Document], schema_id: str, out: Path, console: Console,
    ask: Callable[[], str],
) -> dict[str, int]:  # fmt: skip
    """{labelled, corrected, skipped} of a sitting. `ask` gives what the person types for a document.

    Raises BadInput where the file holds rows of something else, or no editor can be started.
    """
    schema = extractor.asked.schema
    done = {row["id"] for row in earlier(out, schema_id)}
    counts = {"labelled": 0, "corrected": 0, "skipped": 0}
    with Appender(out) as rows:
        for document in found:
            if document.id in done:
                continue
            (row,) = extractor.rows([document])
            if document.error:
                console.print(f"[red]{document.error}[/red]", highlight=False)
                continue
            show(console, document, row)
            said = ask()
            if not said:  # the end of what is typed is no yes
                break
            said = said.strip().lower()[:1]
            if said == "q":
                break
            if said == "s" or (said != "e" and "json" not in row):
                counts["skipped"] += 1
                continue
            value = row.get("json")
            if said == "e":
                value = edited(value, schema, console, ask)
                counts["corrected"] += value != row.get("json")
            rows.append(labelled_row(document, value, schema, schema_id))
            done.add(document.id)  # the rows may lie in a folder of documents, and be read as some
            counts["labelled"] += 1
    return counts


def earlier(out: Path, schema_id: str) -> list[Row]:
    """The rows that are there. Raises BadInput where they are of another schema."""
    rows: list[Row] = read_jsonl_tolerant(out)
    for row in rows:
        if not isinstance(row, dict) or row.get("schema_id") != schema_id or "id" not in row:
            raise BadInput(f"{out}: it holds rows of something else; give another file with --out.")
    return rows


def labelled_row(document: Document, value: Any, schema: Mapping[str, Any], schema_id: str) -> Row:
    """A row of our format."""
    return {
        "id": document.id, "schema_id": schema_id, "complexity": complexity(schema), "style": STYLE,
        "text": document.text, "target": canonical(value, schema),
    }  # fmt: skip


def show(console: Console, document: Document, row: Row) -> None:
    """The document with what was read off it, and the answer; doubtful values are marked and told apart in words."""
    from rich.panel import Panel
    from rich.text import Text

    text, values = Text(document.text), row.get("values", [])
    for part in values:
        if part["span"]:
            text.stylize("bold reverse" if _doubtful(part) else "bold", *part["span"])
    console.rule(document.id)
    console.print(Panel(text, title="document"))
    if "error" in row:
        console.print(Text(f"no answer: {row['error']}", style="red"))
    else:
        console.print_json(json.dumps(row["json"], ensure_ascii=False))
    for part in values:
        if _doubtful(part):
            sure = f"{100 * part['confidence']:.0f} %"
            console.print(Text(f"  doubtful: {part['path']} = {part['value']!r} ({sure})", style="yellow"))
    console.print(Text(KEYS, style="dim"))


def _doubtful(part: Mapping[str, Any]) -> bool:
    return part["confidence"] is not None and part["confidence"] < DOUBTFUL


def edited(value: Any, schema: Mapping[str, Any], console: Console, ask: Callable[[], str]) -> Any:
    """The answer as the person left it in the editor: asked again until it is JSON under the schema."""
    text = json.dumps(value if value is not None else {}, ensure_ascii=False, indent=2) + "\n"
    while True:
        text = in_editor(text)
        try:
            found = strict_loads(text)
            wrong = validate(found, schema)
        except ValueError as error:
            wrong = [str(error)]
        if not wrong:
            return found
        console.print(f"not under the schema: {wrong[0]}; Enter opens the editor again", style="red", markup=False)
        if not ask():
            raise BadInput(f"the answer is not under the schema ({wrong[0]}); nothing of this document was saved.")


def in_editor(text: str) -> str:
    """A text after $VISUAL or $EDITOR. Raises BadInput where neither can be started."""
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="slmbench-") as folder:
        path = Path(folder) / "answer.json"
        path.write_text(text, encoding="utf-8")
        try:
            ended = subprocess.run([*command, str(path)], check=False)
        except OSError as error:
            raise BadInput(f"{command[0]}: cannot be started ({error.strerror}); set EDITOR.") from None
        if ended.returncode:
            raise BadInput(f"{command[0]}: ended with code {ended.returncode}; nothing of this document was saved.")
        return path.read_text(encoding="utf-8")
