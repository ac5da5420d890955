"""Builds EdgeJSON's splits: seeded, free of duplicates and of leaks, the same bytes on every machine.

A row's values and wording depend on the version, the split and the row's number alone. Schemas take turns, and so do
the styles within a schema, so that slices are as even as they can be. The second half of `train_large` is made under
invented schemas (`invent.py`), and its rows bring their schema along.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from slmbench.core import BadInput, Example
from slmbench.data import normalised
from slmbench.files import write_atomic
from slmbench.progress import progress
from slmbench.schema import canonical, complexity, load_schemas
from slmbench.synth.check import check_example
from slmbench.synth.speech import Phrases, read_phrases
from slmbench.synth.styles import MULTILINE, TRAINED, UNSEEN, render
from slmbench.synth.values import Source
from slmbench.tasks import LARGE
from slmbench.tasks.edge_json import TASK, objects, objects_unseen
from slmbench.tasks.edge_json.invent import Invented, invent

VERSION = TASK.version
HERE = Path(__file__).parent
DATA = HERE / "data"
SIZES = {"train": 629, "test": 158, "test_styles": 100, "test_schemas": 100}
LARGE_SIZE = 3000
# Rows under one invented schema, and the share of keys that such a schema may have in common with one tested on.
ROWS_A_SCHEMA = 4
ALIKE = 0.5
# A row is made after, and kept apart from, the rows of the splits that are tested on.
_TESTS = ("test", "test_styles", "test_schemas")
# The share of word triples that two documents may have in common.
NEAR = 0.7
Row = dict[str, Any]


def build(split: str, n: int | None = None, *, version: str = VERSION) -> list[Row]:
    """The rows of a split, `n` of them or as many as the frozen file has. The same arguments give the same rows.

    Raises BadInput for an unknown split or for n below 1.
    """
    if split not in SIZES and split != LARGE:
        raise BadInput(f"edge_json: no split {split!r}: take one of {', '.join([*SIZES, LARGE])}")
    if n is not None and n < 1:
        raise BadInput(f"edge_json: {n} rows of {split} were asked for: ask for at least 1")
    wanted = n or SIZES.get(split, LARGE_SIZE)
    seen = _Seen()
    for earlier in _TESTS[: _TESTS.index(split)] if split in _TESTS else _TESTS:
        for row in _frozen(earlier, version):
            seen.add(row["text"], row["target"])
    rows = list(_large_rows(wanted, version, seen) if split == LARGE else _rows(split, wanted, version, seen))
    random.Random(f"{version}:{split}:order").shuffle(rows)
    return [{"id": f"edge_json-{split}-{i:0{max(4, len(str(wanted)))}d}", **row} for i, row in enumerate(rows, 1)]


def write(split: str, folder: Path, n: int | None = None) -> Path:
    """Write a split as `<split>.jsonl` and note its hash and size in the folder's `manifest.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = build(split, n)
    content = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows).encode("utf-8")
    path = folder / f"{split}.jsonl"
    write_atomic(path, content)
    manifest_path = folder / "manifest.json"
    files = json.loads(manifest_path.read_text(encoding="utf-8"))["files"] if manifest_path.exists() else {}
    files[path.name] = {"sha256": hashlib.sha256(content).hexdigest(), "rows": len(rows)}
    manifest = {"version": VERSION, "files": dict(sorted(files.items()))}
    write_atomic(manifest_path, (json.dumps(manifest, indent=2) + "\n").encode("utf-8"))
    return path


@functools.cache
def large(n: int = LARGE_SIZE) -> tuple[Example, ...]:
    """The examples of `train_large` with `n` rows, made in memory."""
    return tuple(
        Example(
            row["id"], row["text"], row["schema_id"], row["schema"], json.loads(row["target"]),
            {"complexity": row["complexity"], "style": row["style"], "split": LARGE},
        )
        for row in build(LARGE, n)
    )  # fmt: skip


@functools.cache
def schemas(folder: str) -> dict[str, dict[str, Any]]:
    """The schemas of a folder of this task (`schemas` or `schemas_unseen`), by id."""
    return load_schemas(HERE / folder)


@functools.cache
def _phrases() -> dict[str, Phrases]:
    return read_phrases(HERE / "phrases.txt")


@functools.cache
def _frozen(split: str, version: str) -> list[Row]:
    return build(split, version=version)


class _Seen:
    """What earlier rows look like: whole texts, targets, and word triples with the rows that hold them."""

    def __init__(self) -> None:
        self._whole: set[str] = set()
        self._rows: list[int] = []
        self._holders: dict[tuple[str, ...], list[int]] = {}

    def add(self, text: str, target: str) -> bool:
        """Remember a row, unless one like it is known; whether it was new."""
        words = normalised(text)
        triples = _triples(words)
        if {words, target} & self._whole or self._near(triples):
            return False
        self._whole |= {words, target}
        for triple in triples:
            self._holders.setdefault(triple, []).append(len(self._rows))
        self._rows.append(len(triples))
        return True

    def _near(self, triples: Sequence[tuple[str, ...]]) -> bool:
        shared: dict[int, int] = {}
        for triple in triples:
            for row in self._holders.get(triple, ()):
                shared[row] = shared.get(row, 0) + 1
        return any(both / (len(triples) + self._rows[row] - both) >= NEAR for row, both in shared.items())


def _triples(words: str) -> list[tuple[str, ...]]:
    each = words.split()
    return list(dict.fromkeys(zip(each, each[1:], each[2:], strict=False)))


def _rows(split: str, n: int, version: str, seen: _Seen) -> Iterator[Row]:
    unseen = split == "test_schemas"
    known = schemas("schemas_unseen" if unseen else "schemas")
    makers = objects_unseen.MAKERS if unseen else objects.MAKERS
    styles = list(UNSEEN if split == "test_styles" else TRAINED)
    ids = _turns(known, random.Random(f"{version}:{split}:schemas"))
    for i in range(n):
        turn, place = divmod(i, len(ids))
        schema_id, style = ids[place], styles[(turn + place + place // 5) % len(styles)]
        for attempt in range(100):
            source = Source(f"{version}:{split}:{i}:{attempt}", multiline=style in MULTILINE)
            value = makers[schema_id](source)
            text = render(value, known[schema_id], style, _phrases()[schema_id], source.rng)
            target = canonical(value, known[schema_id])
            if seen.add(text, target):
                yield _row(schema_id, known[schema_id], style, text, target)
                break
        else:
            raise BadInput(f"edge_json: {split} has no room for {n} different rows: ask for fewer")


def _large_rows(n: int, version: str, seen: _Seen) -> Iterator[Row]:
    """Half of the rows under the trained schemas, half under invented ones; every row with its schema."""
    known, half = schemas("schemas"), (n + 1) // 2
    with progress(f"edge_json {LARGE}", n, "rows") as advance:
        for row in _rows(LARGE, half, version, seen):
            advance(1, "")
            yield {**row, "schema": known[row["schema_id"]]}
        for row in _invented_rows(n - half, version, seen):
            advance(1, "")
            yield row


def _invented_rows(n: int, version: str, seen: _Seen) -> Iterator[Row]:
    seed, styles = f"{version}:{LARGE}:invented", list(TRAINED)
    known = _known_schemas(seed)
    for i in range(n):
        turn, place = divmod(i, ROWS_A_SCHEMA)
        if place == 0:
            invented = next(known)
        style = styles[(i + turn // len(styles)) % len(styles)]
        for attempt in range(100):
            row = _invented_row(invented, style, f"{seed}:{i}:{attempt}")
            if row and seen.add(row["text"], row["target"]):
                yield row
                break
        else:
            raise BadInput(f"edge_json: {LARGE} has no room for {n} more rows: ask for fewer")


def _known_schemas(seed: str) -> Iterator[Invented]:
    """Invented schemas without end, those left out that look like one tested on."""
    tested = [set(schema["properties"]) for schema in schemas("schemas_unseen").values()]
    for number in itertools.count():
        invented = invent(seed, number)
        keys = set(invented.plain["properties"]) | set(invented.schema["properties"])
        if all(len(keys & other) < ALIKE * min(len(keys), len(other)) for other in tested):
            yield invented


def _invented_row(invented: Invented, style: str, seed: str) -> Row | None:
    """A row under an invented schema, or None for one that does not pass the gate."""
    source = Source(seed, multiline=style in MULTILINE)
    value = invented.make(source)
    text = render(value, invented.plain, style, invented.phrases, source.rng)
    named = invented.named(value)
    if check_example(Example(seed, text, invented.id, invented.schema, named)):
        return None
    target = canonical(named, invented.schema)
    return {**_row(invented.id, invented.schema, style, text, target), "schema": invented.schema}


def _turns(known: Mapping[str, dict[str, Any]], rng: random.Random) -> list[str]:
    """The schemas in an order whose every stretch has the levels of complexity in the proportion of the whole."""
    levels: dict[str, list[str]] = {}
    for schema_id in rng.sample(list(known), len(known)):
        levels.setdefault(complexity(known[schema_id]), []).append(schema_id)
    places = [((i + 0.5) / len(ids), level, ids[i]) for level, ids in levels.items() for i in range(len(ids))]
    return [schema_id for _, _, schema_id in sorted(places)]


def _row(schema_id: str, schema: Mapping[str, Any], style: str, text: str, target: str) -> Row:
    label = complexity(schema)
    return {"schema_id": schema_id, "complexity": label, "style": style, "text": text, "target": target}
