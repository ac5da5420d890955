"""What label matching alone reaches: no learning, no templates of ours, only the schema's titles and labels.

Each field is read off after its label (`Label: value`, `key=value`, `| Label | value |`, a table's column, or running
text); numbers, dates and booleans are brought into form. It stands beside a model's figures to show, style by style,
how much of the data is mere copying.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_CUT = r"[\n|;]|,\s| {2,}"
_KIND = {
    "date": r"\d{4}-\d\d-\d\d",
    "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "email": r"[^\s@<>(),;|=\"]+@[^\s@<>(),;|=\"]*[^\s@<>(),;|=\".]",
    "ipv4": r"\d{1,3}(?:\.\d{1,3}){3}",
    "uuid": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}
# What may stand between a label and its value: a sign of its own first; else, as in running text, a word or nothing.
_GAPS = (r"(?:\s*(?:[:=|,;]|\.{3,}|</b>|</dt> <dd>)\s*)[\"']?", r"\s+(?:(?:is|at|on|of|number) )?[\"“']?")
_NUMBER = r"[-−]?\$?\d[\d,]*(?:\.\d+)?"
_YES = re.compile(r"yes|true|on|✓|\[x\]", re.IGNORECASE)


def predict(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The object that label matching finds in a document; a field whose label is not found is left out."""
    found, _ = _object(text, schema, "")
    return found


def _object(text: str, schema: Mapping[str, Any], noun: str) -> tuple[dict[str, Any], int]:
    """The fields found in `text`, and where the last one ends."""
    found: dict[str, Any] = {}
    last = 0
    value: Any
    for key, sub in schema["properties"].items():
        if sub["type"] == "object":
            value, end = _object(text, sub, sub["title"])
        elif sub["type"] == "array":
            value, end = _array(text, sub)
        else:
            value, end = _scalar(text, sub, noun)
        if value not in (None, {}) and (value != [] or key in schema["required"]):
            found[key], last = value, max(last, end)
    return found, last


def _array(text: str, schema: Mapping[str, Any]) -> tuple[list[Any], int]:
    if schema["items"]["type"] != "object":
        value, end = _after_label(text, schema, "", r"[^\n|]+")
        return ([] if value is None or value in ("none", "n/a", "[]") else re.split(r"[,;] ", value)), end
    rows = _table(text, schema["items"])
    if rows:
        return rows, len(text)
    title = re.escape(schema["items"]["title"])
    starts = [m.start() for m in re.finditer(rf"\b{title}[ #]\d+|^\s*\d+\. ", text, re.IGNORECASE | re.MULTILINE)]
    blocks = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=False)]
    items = [_object(re.sub(r"^\s*\d+\. ", "", block), schema["items"], "")[0] for block in blocks]
    return [item for item in items if item], len(text) if items else 0


def _table(text: str, item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows under the line that holds a label of most of the item's fields as its cells."""
    names = {key: {label.lower() for label in _labels(sub)} for key, sub in item["properties"].items()}
    lines = text.split("\n")
    for at, line in enumerate(lines):
        for mark in ("|", ";", ","):
            cells = [cell.strip().lower() for cell in line.strip("| ").split(mark)]
            columns = {k: i for k, labels in names.items() for i, cell in enumerate(cells) if cell in labels}
            if len(columns) > 1 and 2 * len(columns) > len(names):
                return [row for row in _cells(lines[at + 1 :], mark, columns, item) if row]
    return []


def _cells(lines: list[str], mark: str, columns: dict[str, int], item: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for line in lines:
        if not line.strip():
            break
        cells = [cell.strip() for cell in line.strip("| ").split(mark)]
        if len(cells) <= max(columns.values()) or set(line) <= set("|-: "):
            continue
        values = {k: _read(cells[i], item["properties"][k]) for k, i in columns.items()}
        rows.append({k: v for k, v in values.items() if v is not None})
    return rows


def _labels(schema: Mapping[str, Any]) -> list[str]:
    return sorted({schema["title"], *schema.get("x-labels", [])}, key=lambda label: (-len(label), label))


def _scalar(text: str, schema: Mapping[str, Any], noun: str) -> tuple[Any, int]:
    pattern = _KIND.get(schema.get("format", ""), "")
    if schema["type"] in ("integer", "number"):
        pattern = _NUMBER
    column = _wide(text, schema, noun)
    if column is not None:
        return _read(column, schema), len(text)
    raw, end = _after_label(text, schema, noun, pattern or rf"(?:(?!{_CUT}).)+")
    return (None if raw is None else _read(raw, schema)), end


def _wide(text: str, schema: Mapping[str, Any], noun: str) -> str | None:
    """The cell under the field's label in the first line, if the document is a table of one row."""
    lines = [line for line in text.split("\n") if line.strip() and not set(line) <= set("|-: ") and line[0] != "#"]
    names = {label.lower() for label in _labels(schema)}
    names |= {f"{noun} {label}".lower() for label in names} if noun else set()
    for mark in ("|", ";", ","):
        cells = [cell.strip().lower() for cell in lines[0].strip("| ").split(mark)]
        if len(cells) > 1 and len(lines) > 1:
            below = [cell.strip() for cell in lines[1].strip("| ").split(mark)]
            for cell, value in zip(cells, below, strict=False):
                if cell in names and len(cells) == len(below) > 2:
                    return value
    return None


def _after_label(text: str, schema: Mapping[str, Any], noun: str, pattern: str) -> tuple[str | None, int]:
    """What stands right after one of the field's labels and matches `pattern`."""
    labels = [re.escape(label.rstrip(".")).replace(r"\ ", "[ _]") + r"\.?" for label in _labels(schema)]
    names = [rf"{re.escape(noun)}[ _]{label}" for label in labels] if noun else []
    for gap in _GAPS:
        for name in names + labels:
            match = re.search(rf"(?<!\w){name}(?!\w){gap}(?P<value>{pattern})", text, re.IGNORECASE)
            if match:
                return _ended(match["value"], text[match.start("value") - 2 : match.start("value")]), match.end()
    return None, 0


def _ended(value: str, before: str) -> str:
    """The value up to where its writing ends: a closing quote, or a space after `key=`, or a tag."""
    value = value.split("<")[0]
    if before[-1:] in ("'", '"'):
        return value.split(before[-1])[0]
    return value.split(" ")[0] if before[-1:] == "=" else value.strip()


def _read(raw: str, schema: Mapping[str, Any]) -> Any:
    """The text of a value in the type that the schema asks for; None where it cannot be that."""
    if schema["type"] == "boolean":
        return bool(_YES.match(raw.strip()))
    if schema["type"] in ("integer", "number"):
        match = re.search(_NUMBER, raw)
        if match is None:
            return None
        number = float(match.group().replace("$", "").replace(",", "").replace("−", "-"))
        return int(number) if number.is_integer() else number
    if "enum" in schema:
        spaced = raw.lower().replace("-", "_").replace(" ", "_")
        return next((o for o in schema["enum"] if spaced.startswith(o.lower())), None)
    return raw.strip() or None
