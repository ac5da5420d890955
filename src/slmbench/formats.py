"""Other people's files in, our JSONL out: intents as CSV, CLINC150, Snips NLU and BFCL.

What cannot be turned into a row is listed with its place and reason, never dropped in silence; a file that is not of
its format is a BadInput that says where and what to do.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from slmbench.core import BadInput
from slmbench.data import decoded, normalised, read_bytes, schemas_folder
from slmbench.files import json_text, write_atomic
from slmbench.schema import canonical, complexity, infer_schema, strict_loads

STYLE = "utterance"
_TEXT_COLUMNS = ("text", "utterance", "query", "sentence")
_LABEL_COLUMNS = ("category", "intent", "label")
# Of a text that stands in two splits the first stays: what is measured on stays as published, training gives way.
_CLINC_SPLITS = ("test", "val", "train")
_MAX_NAME = 200  # bytes: file systems take 255, and a name gets an ending and, while it is written, more


@dataclass(frozen=True)
class Imported:
    """Rows of our format by split ("" where the file has none), and what became of the rest.

    `schemas` holds those of rows that carry none, by schema_id; `lost` is (where, reason) of what could not be turned.
    """

    splits: dict[str, list[dict[str, Any]]]
    schemas: dict[str, dict[str, Any]]
    lost: list[tuple[str, str]]


@dataclass(frozen=True)
class Format:
    """A kind of file: one line that describes it, and what turns (file, answers) into rows."""

    description: str
    read: Callable[[Path, Path | None], Imported]


@dataclass(frozen=True)
class _Utterance:
    """A text and its intent as a file holds them, with the place and the id of the row."""

    where: str
    id: str
    split: str
    text: str
    label: str


def import_file(format: str, path: Path, answers: Path | None, out: Path) -> tuple[list[Path], Imported]:
    """Turn a file into OUT/STEM.jsonl, or OUT/STEM.SPLIT.jsonl for each split; give those paths and what was read.

    The schemas of rows that carry none go to `schemas_folder(path, out)`. Raises BadInput, and writes nothing, for an
    unknown format, a file that is not of it or of which no row could be turned, and where it would be overwritten.
    """
    if format not in FORMATS:
        near = get_close_matches(format, FORMATS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise BadInput(f"format {format}: there is no such format: {hint}take one of {', '.join(FORMATS)}")
    imported = FORMATS[format].read(path, answers)
    splits = {name: rows for name, rows in imported.splits.items() if rows}
    if not splits:
        reason = "it holds no rows"
        if imported.lost:
            reason = f"all {len(imported.lost)} were lost, the first at {': '.join(imported.lost[0])}"
        raise BadInput(f"{path}: nothing in it could be turned ({reason}): give a file of the format {format}")
    folder = schemas_folder(path, out)
    files = {
        folder / f"{schema_id}.json": json_text(schema, indent=2) for schema_id, schema in imported.schemas.items()
    }
    written = []
    for name, rows in splits.items():
        place = out / f"{path.stem}{'.' if name else ''}{name}.jsonl"
        files[place] = "".join(json_text(row, indent=None) for row in rows)
        written.append(place)
    sources = {source.resolve() for source in (path, answers) if source is not None}
    for place in files:
        if place.resolve() in sources:
            raise BadInput(f"{place}: the rows would be written over the file they come from: give another folder")
    for place, content in files.items():
        write_atomic(place, content)
    return written, imported


def _intents_csv(path: Path, answers: Path | None) -> Imported:
    _no_answers("intents-csv", answers)
    return _intents(path.stem, _csv_utterances(path, decoded(path, read_bytes(path))), [])


def _csv_utterances(path: Path, content: str) -> Iterator[_Utterance]:
    lines = [line + "\n" for line in content.removesuffix("\n").split("\n")]
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    text = label = start = number = 0
    try:
        for cells in reader:
            where, start = f"{path}:{start + 1}", reader.line_num
            if not cells:
                continue
            if header is None:
                header = [cell.strip().lower() for cell in cells]
                text = _column(where, header, _TEXT_COLUMNS)
                label = _column(where, header, _LABEL_COLUMNS)
                continue
            if len(cells) != len(header):
                raise BadInput(f"{where}: {len(cells)} cells under {len(header)} columns: quote cells that hold commas")
            number += 1
            yield _Utterance(where, f"{path.stem}-{number:06d}", "", cells[text], cells[label])
    except csv.Error as error:
        # The line that the row starts on: after a quote that is never closed, the reader stands at the file's end.
        raise BadInput(f"{path}:{start + 1}: this is not CSV ({error}): quote cells that hold quotes") from None


def _column(where: str, header: list[str], names: tuple[str, ...]) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    found = ", ".join(map(repr, header))[:200]
    raise BadInput(f"{where}: the header ({found}) has no column {' or '.join(names)}: name a column so")


def _clinc150(path: Path, answers: Path | None) -> Imported:
    _no_answers("clinc150", answers)
    document = _document(path, 'give CLINC150\'s data_full.json, {"train": [[text, label], ...], ...}')
    lost: list[tuple[str, str]] = []
    found: list[_Utterance] = []
    for key in document:
        if key.removeprefix("oos_") not in _CLINC_SPLITS:
            lost.append((f"{path}: {key}", f"this is none of the splits {', '.join(_CLINC_SPLITS)}, nor their oos_"))
    for split in _CLINC_SPLITS:
        number = 0
        for key in (split, f"oos_{split}"):
            pairs = document.get(key, [])
            if not isinstance(pairs, list):
                raise BadInput(f"{path}: {key!r} is not a list: write [[text, label], ...] there")
            for index, pair in enumerate(pairs):
                number += 1
                where = f"{path}: {key}[{index}]"
                if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
                    lost.append((where, "this is not a list of a text and a label"))
                    continue
                label = "out_of_scope" if pair[1] == "oos" else pair[1]
                found.append(_Utterance(where, f"{path.stem}.{split}-{number:06d}", split, pair[0], label))
    imported = _intents(path.stem, found, lost)
    # Test first was for the duplicates; files are told of in the usual order.
    order = [split for split in reversed(_CLINC_SPLITS) if split in imported.splits]
    return Imported({split: imported.splits[split] for split in order}, imported.schemas, imported.lost)


def _intents(stem: str, found: Iterable[_Utterance], lost: list[tuple[str, str]]) -> Imported:
    """Rows {"intent": label} under one schema that lists the labels; of texts that are the same the first stays."""
    kept: list[_Utterance] = []
    first: dict[str, _Utterance] = {}
    for utterance in found:
        text, label = utterance.text.strip(), utterance.label.strip()
        if not text or not label:
            lost.append((utterance.where, f"the {'label' if text else 'text'} is empty"))
            continue
        this = _Utterance(utterance.where, utterance.id, utterance.split, text, label)
        # A text without letters and digits ("???") is compared as it stands.
        earlier = first.setdefault(normalised(text) or text, this)
        if earlier is this:
            kept.append(this)
        elif earlier.label == label:
            lost.append((this.where, f"the same text with the same label stands at {earlier.where}"))
        else:
            reason = f"labelled {label!r}, while the same text is {earlier.label!r} at {earlier.where}"
            lost.append((this.where, reason))
    listed = {"enum": sorted({this.label for this in kept}), "x-slmbench": {"prompt": "intent", "grounded": False}}
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"intent": listed},
        "required": ["intent"],
        "additionalProperties": False,
    }
    splits: dict[str, list[dict[str, Any]]] = {}
    for this in kept:
        row = _row(this.id, stem, "simple", this.text, canonical({"intent": this.label}, schema))
        splits.setdefault(this.split, []).append(row)
    return Imported(splits, {stem: schema} if kept else {}, lost)


def _snips(path: Path, answers: Path | None) -> Imported:
    """Repeated texts stay: slot values keep their case, so texts that differ in it have different targets."""
    _no_answers("snips", answers)
    document = _document(path, 'give a file of Snips NLU 2017, {INTENT: [{"data": [{"text": ...}, ...]}, ...]}')
    lost: list[tuple[str, str]] = []
    rows: list[dict[str, Any]] = []
    schemas: dict[str, dict[str, Any]] = {}
    number = 0
    for intent, utterances in document.items():
        if not isinstance(utterances, list):
            raise BadInput(f'{path}: {intent!r} is not a list of utterances: write [{{"data": [...]}}, ...] there')
        found: list[tuple[str, str, list[tuple[str, str]]]] = []
        for index, utterance in enumerate(utterances):
            number += 1
            try:
                found.append((f"{path.stem}-{number:06d}", *_parts(utterance)))
            except ValueError as error:
                lost.append((f"{path}: {intent}[{index}]", str(error)))
        if not found:
            continue
        _check_name(path, intent)
        targets = _targets([slots for _, _, slots in found])
        schema = infer_schema(targets)
        level = complexity(schema)
        schemas[intent] = schema
        for (name, text, _), target in zip(found, targets, strict=True):
            rows.append(_row(name, intent, level, text, canonical(target, schema)))
    return Imported({"": rows} if rows else {}, schemas, lost)


def _parts(utterance: Any) -> tuple[str, list[tuple[str, str]]]:
    """The text of an utterance and its (slot, value) in their order. Raises ValueError with the reason for none."""
    parts = utterance.get("data") if isinstance(utterance, dict) else None
    if not isinstance(parts, list):
        raise ValueError("'data' is not a list of parts")
    slots = []
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            raise ValueError("a part has no text")
        slot = part.get("slot_name", part.get("entity"))
        if slot is None:
            continue
        if not isinstance(slot, str) or not slot:
            raise ValueError(f"the slot {slot!r:.40} is not a name")
        value = part["text"].strip()
        if not value:
            raise ValueError(f"the slot {slot!r} is empty")
        slots.append((slot, value))
    text = "".join(part["text"] for part in parts).strip()
    if not text:
        raise ValueError("the text is empty")
    return text, slots


def _targets(found: list[list[tuple[str, str]]]) -> list[dict[str, Any]]:
    """Slots as objects, in the order of first mention; one that any of them repeats is a list in all of them."""
    repeated = {slot for slots in found for slot, count in Counter(slot for slot, _ in slots).items() if count > 1}
    targets = []
    for slots in found:
        target: dict[str, Any] = {}
        for slot, value in slots:
            if slot in repeated:
                target.setdefault(slot, []).append(value)
            else:
                target[slot] = value
        targets.append(target)
    return targets


def _check_name(path: Path, intent: str) -> None:
    """Raise BadInput for an intent that cannot name a schema's file, or would name one in another folder."""
    if not intent.strip() or intent.startswith(".") or re.search(r"[/\\\x00-\x1f]", intent):
        raise BadInput(f"{path}: the intent {intent[:80]!r} cannot name a file: rename it in letters and digits")
    if len(intent.encode("utf-8")) > _MAX_NAME:
        raise BadInput(f"{path}: the intent {intent[:40]!r}... is too long to name a file: give it a shorter name")


def _bfcl(path: Path, answers: Path | None) -> Imported:
    from slmbench.bfcl.rows import read_bfcl

    if answers is None:
        raise BadInput(f"{path}: BFCL keeps the answers in a file of their own: give it as --answers FILE")
    rows, lost = read_bfcl(path, answers)
    return Imported({"": rows} if rows else {}, {}, lost)


def _no_answers(format: str, answers: Path | None) -> None:
    if answers is not None:
        raise BadInput(f"{answers}: a file of the format {format} holds its answers itself: leave out --answers")


def _document(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object that a file holds. Raises BadInput, with the line where the parser knows one."""
    content = decoded(path, read_bytes(path))
    try:
        document = strict_loads(content)
    except ValueError as error:
        # Python's parser and `strict_loads` name the character; duplicate keys and deep nesting have none.
        place = re.search(r"(?:\(char |at character )(\d+)\)?$", str(error))
        line = f":{content.count(chr(10), 0, int(place[1])) + 1}" if place else ""
        raise BadInput(f"{path}{line}: this is not JSON ({error}): {remedy}") from None
    if not isinstance(document, dict):
        raise BadInput(f"{path}:1: this is not a JSON object: {remedy}")
    return document


def _row(id: str, schema_id: str, level: str, text: str, target: str) -> dict[str, Any]:
    return {"id": id, "schema_id": schema_id, "complexity": level, "style": STYLE, "text": text, "target": target}


FORMATS: dict[str, Format] = {
    "intents-csv": Format(
        f"CSV with a column {'/'.join(_TEXT_COLUMNS)} and a column {'/'.join(_LABEL_COLUMNS)}, such as BANKING77",
        _intents_csv,
    ),
    "clinc150": Format(
        "CLINC150's data_full.json: texts and labels in splits, with texts that are out of scope", _clinc150
    ),
    "snips": Format("Snips NLU 2017's train_INTENT_full.json: texts in parts, of which slots are some", _snips),
    "bfcl": Format("questions of the Berkeley Function-Calling Leaderboard; needs --answers", _bfcl),
}
