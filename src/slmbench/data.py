"""Files in, examples out: JSONL (ours and the earlier format) and CSV, splits, and hashes.

Ours:     {"id", "schema_id", "complexity", "style", "text", "target"}, the target as a string of canonical JSON.
Earlier:  {"id", "schema_id", "complexity", "teacher", "source", "prompt", "expected_output"}, the prompt being the text
          as it stands; `complexity`, `teacher` and `source` may be missing or null.
CSV:      a header `text,target`, and if wanted `id` and `schema_id`.

Whatever is wrong with a file is a BadInput that says where (file:line) and what to do.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from slmbench.core import BadInput, Example
from slmbench.files import json_text, write_atomic
from slmbench.schema import canonical, check_schema, infer_schema, load_schemas, strict_loads

UNLABELLED = "unlabelled"
_TEXT_KEYS = ("text", "prompt")
_TARGET_KEYS = ("target", "expected_output")
Schemas = Path | Mapping[str, dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """One row as it stands in a file: what it says, where it is, and its own bytes.

    `written` is the target's text when the file holds it as a string, else None; `ours` tells our format from others.
    """

    line: int
    raw: bytes
    id: str
    text: str
    schema_id: str
    schema: dict[str, Any] | None
    target: Any
    written: str | None
    complexity: str
    style: str
    ours: bool


def read_examples(path: Path, *, schemas: Schemas | None = None, split: str | None = None) -> list[Example]:
    """The examples of a JSONL or CSV file, in the file's order.

    A row's schema comes from `schemas` (a folder of <schema_id>.json, or a mapping) when given; else from the row's own
    `schema` key; else it is inferred from all rows of the same schema_id in this file. The halves of a split file infer
    differently: give both the folder that `split_rows` wrote. Raises BadInput for anything wrong with the file.
    """
    return examples_of(read_rows(path), path, schemas=schemas, split=split)


def examples_of(
    rows: Sequence[Row], path: Path, *, schemas: Schemas | None = None, split: str | None = None
) -> list[Example]:
    """The examples of rows that `read_rows` took from `path`, one for each and in their order."""
    known = resolve_schemas(rows, path, schemas)
    examples = []
    for row in rows:
        tags = {"complexity": row.complexity, "style": row.style}
        if split is not None:
            tags["split"] = split
        schema = row.schema if row.schema is not None and schemas is None else known[row.schema_id]
        examples.append(Example(row.id, row.text, row.schema_id, schema, row.target, tags))
    return examples


def resolve_schemas(rows: Sequence[Row], path: Path, schemas: Schemas | None) -> Mapping[str, dict[str, Any]]:
    """The schemas of `rows` by schema_id: those given, else inferred from the rows that bring none of their own."""
    if schemas is None:
        targets: dict[str, list[Any]] = defaultdict(list)
        for row in rows:
            if row.schema is None:
                targets[row.schema_id].append(row.target)
        return {schema_id: infer_schema(values) for schema_id, values in targets.items()}
    known = load_schemas(schemas) if isinstance(schemas, Path) else schemas
    for row in rows:
        if row.schema_id not in known:
            place = f"in {schemas}" if isinstance(schemas, Path) else "among those given"
            near = get_close_matches(row.schema_id, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            remedy = f"{hint}add {row.schema_id}.json or correct the row"
            raise BadInput(f"{path}:{row.line}: no schema {row.schema_id!r} {place}: {remedy}")
    return known


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSONL or CSV file (by its ending .csv), with ids checked to be unique."""
    content = decoded(path, read_bytes(path))
    rows = list(_csv_rows(path, content) if path.suffix.lower() == ".csv" else _jsonl_rows(path, content))
    if not rows:
        raise BadInput(f"{path}: the file has no rows: give a file with at least one example")
    first: dict[str, int] = {}
    for row in rows:
        if row.id in first:
            what = f"the id {row.id!r} stands on line {first[row.id]} already"
            raise BadInput(f"{path}:{row.line}: {what}: give every row an id of its own")
        first[row.id] = row.line
    return rows


def data_hash(examples: Sequence[Example]) -> str:
    """A sha256 of what a model sees and is scored by: each id, text, canonical target and schema, in order."""
    digest = hashlib.sha256()
    for example in examples:
        parts = [example.id, example.text, canonical(example.target, example.schema), example.schema]
        digest.update(json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n")
    return digest.hexdigest()


def normalised(text: str) -> str:
    """The text as two copies of a document are compared: NFKC, lower case, only letters and digits between spaces."""
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))


def train_validation(
    examples: Sequence[Example], validation: int | float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Part examples into (train, validation), each in the given order, with exactly the size asked.

    `validation` is a number of rows, or below 1 a share of them, rounded. Every schema_id gives its share, to one row.
    """
    size = _size(validation, len(examples), "validation")
    indices: dict[str, list[list[int]]] = defaultdict(list)
    for index, example in enumerate(examples):
        indices[example.schema_id].append([index])
    held = _draw(indices, size, seed)
    return (
        [example for index, example in enumerate(examples) if index not in held],
        [example for index, example in enumerate(examples) if index in held],
    )


def split_rows(
    path: Path, *, test: float = 0.2, seed: int = 42, out: Path, schemas: Path | None = None
) -> tuple[Path, Path]:
    """Part a file into OUT/<stem>.train and OUT/<stem>.test (same ending), the rows byte for byte and in their order.

    Every schema_id gives its share, to one row; rows with the same normalised text stay on one side, even where that
    moves the size by a row. The same file, share and seed give the same halves everywhere. The schemas, given or
    inferred from all rows, go to `schemas_folder`, so that both halves are read alike.
    """
    rows = read_rows(path)
    size = _size(test, len(rows), "test")
    known = resolve_schemas(rows, path, schemas)
    groups: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[normalised(row.text)].append(index)
    strata: dict[str, list[list[int]]] = defaultdict(list)
    for members in groups.values():
        strata[rows[members[0]].schema_id].append(members)
    held = _draw(strata, size, seed)
    if not 0 < len(held) < len(rows):
        raise BadInput(f"{path}: its rows are too alike to be parted, one half would be empty; give another share.")
    header = _csv_header(path) if path.suffix.lower() == ".csv" else b""
    places = []
    for name, wanted in (("train", False), ("test", True)):
        place = out / f"{path.stem}.{name}{path.suffix}"
        write_atomic(place, header + b"".join(row.raw for index, row in enumerate(rows) if (index in held) == wanted))
        places.append(place)
    for schema_id, schema in known.items():
        write_atomic(schemas_folder(path, out) / f"{schema_id}.json", json_text(schema, indent=2))
    return places[0], places[1]


def schemas_folder(path: Path, out: Path) -> Path:
    """Where `split_rows` puts the schemas of `path`: a folder of each file's own."""
    return out / f"{path.stem}.schemas"


def _size(asked: int | float, total: int, name: str) -> int:
    size = round(asked * total) if isinstance(asked, float) and asked < 1 else int(asked)
    if not 0 < size < total:
        raise BadInput(
            f"{name}: {asked} of {total} rows leaves one side empty: give a size from 1 to {total - 1}, or a share"
        )
    return size


def _draw(strata: Mapping[str, list[list[int]]], size: int, seed: int) -> set[int]:
    """Draw `size` indices, groups whole, by largest remainder over the strata; deterministic in `seed`."""
    counts = {name: sum(map(len, groups)) for name, groups in sorted(strata.items())}
    total = sum(counts.values())
    quotas = {name: count * size // total for name, count in counts.items()}
    order = list(counts)
    random.Random(f"{seed}").shuffle(order)
    order.sort(key=lambda name: -(counts[name] * size % total))
    for name in order[: size - sum(quotas.values())]:
        quotas[name] += 1
    drawn: set[int] = set()
    for name, quota in quotas.items():
        groups = list(strata[name])
        random.Random(f"{seed}/{name}").shuffle(groups)
        left = quota
        for group in groups:
            if len(group) <= left:
                drawn.update(group)
                left -= len(group)
    return drawn


def read_bytes(path: Path) -> bytes:
    """The bytes of a file of examples. Raises BadInput where there is none, or nothing in it."""
    if path.is_dir():
        raise BadInput(f"{path}: this is a directory: give a JSONL or CSV file")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file: check the path") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}): give a readable file") from error
    if not content.strip():
        raise BadInput(f"{path}: the file is empty: give a file with at least one example")
    return content


def decoded(path: Path, content: bytes) -> str:
    """The text of a file. Raises BadInput with the line where it is not UTF-8."""
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        offset = error.start - (content.rfind(b"\n", 0, error.start) + 1)
        raise BadInput(
            f"{path}:{line}: byte {offset} of the line (0x{content[error.start]:02x}, byte {error.start} of the file) "
            "is not UTF-8: save the file as UTF-8"
        ) from None


def _jsonl_rows(path: Path, content: str) -> Iterator[Row]:
    for number, line, fields in jsonl_objects(path, content):
        yield _row(f"{path}:{number}", number, (line + "\n").encode("utf-8"), fields)


def jsonl_objects(path: Path, content: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(number, line, object) of each line that is not blank. Raises BadInput where one holds no JSON object."""
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            fields = strict_loads(line)
        except ValueError as error:
            raise BadInput(f"{where}: this line is not JSON ({error}): correct or delete it") from None
        if not isinstance(fields, dict):
            raise BadInput(f"{where}: this line is not a JSON object: write one object of fields on each line")
        yield number, line, fields


def _csv_rows(path: Path, content: str) -> Iterator[Row]:
    lines = [line + "\n" for line in content.removesuffix("\n").split("\n")]
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    start = 0
    try:
        for cells in reader:
            begin, start = start, reader.line_num
            if not cells:
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                continue
            where = f"{path}:{begin + 1}"
            if len(cells) != len(header):
                raise BadInput(f"{where}: {len(cells)} cells under {len(header)} columns: quote cells that hold commas")
            fields: dict[str, Any] = dict(zip(header, cells, strict=True))
            fields.setdefault("id", f"{path.stem}-{begin + 1:06d}")
            fields.setdefault("schema_id", path.stem)
            yield _row(where, begin + 1, "".join(lines[begin:start]).encode("utf-8"), fields)
    except csv.Error as error:
        raise BadInput(f"{path}:{reader.line_num}: this is not CSV ({error}): quote cells that hold quotes") from None


def _csv_header(path: Path) -> bytes:
    """The line of the columns' names, which blank ones may come before."""
    return next(line for line in read_bytes(path).splitlines(keepends=True) if line.strip())


def _row(where: str, number: int, raw: bytes, fields: dict[str, Any]) -> Row:
    """Check one row's fields and bring the formats to one."""
    text_key = _present(where, fields, _TEXT_KEYS)
    target_key = _present(where, fields, _TARGET_KEYS)
    written = fields[target_key] if isinstance(fields[target_key], str) else None
    target = fields[target_key]
    if written is not None:
        try:
            target = strict_loads(written)
        except ValueError as error:
            raise BadInput(f"{where}: {target_key!r} is not JSON ({error}): write the target as JSON") from None
    schema = fields.get("schema")
    if isinstance(schema, str):  # columns of JSON are of one type on the Hub
        try:
            schema = strict_loads(schema)
        except ValueError as error:
            raise BadInput(f"{where}: 'schema' is not JSON ({error}): write the row's JSON Schema there") from None
    if schema is not None:
        if not isinstance(schema, dict):
            raise BadInput(f"{where}: 'schema' is not an object: write the row's JSON Schema there, or leave it out")
        check_schema(schema, where)
    return Row(
        line=number,
        raw=raw,
        id=_text(where, fields, "id"),
        text=_text(where, fields, text_key),
        schema_id=_text(where, fields, "schema_id"),
        schema=schema,
        target=target,
        written=written,
        complexity=_text(where, fields, "complexity", UNLABELLED),
        style=_text(where, fields, "style", UNLABELLED),
        ours=text_key == "text" and target_key == "target",
    )


def _present(where: str, fields: Mapping[str, Any], keys: Sequence[str]) -> str:
    for key in keys:
        if key in fields:
            return key
    raise BadInput(f"{where}: the field {keys[0]!r} (or {keys[1]!r}) is missing: add it to the row")


def _text(where: str, fields: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = fields.get(key)
    if value is None and default is not None:
        return default
    if key not in fields:
        raise BadInput(f"{where}: the field {key!r} is missing: add it to the row")
    if not isinstance(value, str):
        raise BadInput(f"{where}: {key!r} is {json.dumps(value)[:40]}, not a string: write it as text in quotes")
    return value
