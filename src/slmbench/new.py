"""A project folder for one's own schema: the verb `new`. What it writes is read by the other verbs and by people."""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slmbench.core import BASE, BadInput
from slmbench.data import decoded, jsonl_objects, normalised, read_bytes, split_rows
from slmbench.files import json_text, write_atomic
from slmbench.models import KNOWN
from slmbench.schema import (
    canonical,
    check_extractable,
    complexity,
    infer_schema,
    strict_loads,
    validate,
    words_of,
)

SEED = 42
ANSWERS = ("target", "json", "label")
LABELLED, TEST = "labelled", "test"
OTHER = "edge_json/train_large"
"""Documents under other schemas, which keep a model that learns from made documents from learning how they are made."""
ROWS_AT_LEAST, ROWS_AT_MOST = 200, 7500
"""A model learns nothing from fewer; there are 3,000 documents under other schemas, two for each three made."""
MADE_TEST, TEST_SEED = 100, 7
"""Documents made to test on where there are no others, by another seed than those that are learnt from."""
LABELLED_ROWS, LABELLED_TIMES = 200, 10
"""Rows an epoch that few labelled documents are repeated to, and how often at most."""
OWN = {
    "": 'a line each as `{{"text", "target"}}`, make it better and say how good it is: `slmbench new ...'
    " --labelled FILE` takes half of them to train on and half to test on; with `--test FILE` all of them, and tests on"
    " that file.",
    "halves": "in `data/{labelled}.jsonl`: half of them train it, half test it.",
    "apart": "in `data/`: {labelled}.jsonl trains it, {test}.jsonl tests it.",
    "test": "in `data/{test}.jsonl` test it; `slmbench new ... --labelled FILE` trains on others.",
}
_CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_KEYWORDS = frozenset({"$schema", "$ref", "$defs", "properties", "type", "anyOf", "oneOf", "allOf", "items", "enum"})
"""An object with one of these is a schema, any other an example."""
RECIPE = """\
# A model for {name}: trained on made documents and some under other schemas{also}, tested on {tested}.
name: {quoted}
base: {base}
prompt: schema
data:
  train:
{train}
  schemas: schemas
  validation: 60
  tests:
    - split: {test}
      prompt: schema
train:
  epochs: 1
  learning_rate: 2.0e-3
  update_examples: 8
  together: 8
"""
README = """\
# {name}

A small model that turns documents into JSON under `schemas/{name}.json`, on this machine. In this folder:

```sh
slmbench synth schemas/{name}.json -n {made} --out data/{name}.made.jsonl{made_test}
slmbench run recipe.yaml
slmbench export runs/{name}
slmbench extract runs/{name}/export/int8 DOCUMENTS --schema schemas/{name}.json --out rows.jsonl --explain
```

- `schemas/{name}.json`: what is extracted. `description` says what a field means, `enum` and `format` what it may be;
  the hints under `x-slmbench` (`values`, `labels`, `derive`) how it is written. After a change, make documents anew.
- `recipe.yaml`: what is trained on what, and how.
- Documents of your own with their answers, {own}
"""


@dataclass(frozen=True)
class Rows:
    """Rows that a project learns from: documents `made` under its schema, and `other` ones, two for each three.

    Each is seen once: more documents cost no more than more epochs, and say more.
    """

    made: int
    other: int

    @classmethod
    def of(cls, total: float) -> Rows:
        """About so many rows, shared out.

        >>> Rows.of(1500)
        Rows(made=900, other=600)
        """
        other = int(min(max(total, ROWS_AT_LEAST), ROWS_AT_MOST) * 2 / 5 / 10) * 10
        return cls(other * 3 // 2, other)


def schema_from(source: str) -> tuple[str, dict[str, Any], bool]:
    """(name, schema, whether it was inferred) of a JSON Schema, an example object, or a Pydantic class `module:Class`.

    A class's module is imported from the present folder: it is code, and it runs. Raises BadInput for what is none.
    """
    if not Path(source).exists() and _CLASS.fullmatch(source):
        return _of_class(source)
    path = Path(source)
    try:
        value = strict_loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{source}: cannot be read ({error.strerror}); give a file, or module:Class.") from None
    except ValueError as error:
        raise BadInput(f"{source}: not JSON ({error}); give a JSON Schema or an example object.") from None
    if not isinstance(value, dict):
        raise BadInput(f"{source}: a JSON {type(value).__name__}; give a JSON Schema or an example object.")
    title = value.get("title")
    name = name_of(title if isinstance(title, str) and value.keys() & _KEYWORDS else path.name.split(".")[0])
    if value.keys() & _KEYWORDS:
        return name, check_extractable(value, source), False
    return name, check_extractable(infer_schema([value]), source), True


def _of_class(source: str) -> tuple[str, dict[str, Any], bool]:
    module, _, attribute = source.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), attribute)
        schema = found.model_json_schema()
    except ImportError as error:
        raise BadInput(
            f"{source}: {module} cannot be imported ({error}); give module:Class from this folder."
        ) from None
    except AttributeError:
        raise BadInput(f"{source}: {attribute} is no Pydantic class of {module}; give module:Class.") from None
    finally:
        sys.path.pop(0)
    return name_of(attribute), check_extractable(schema, source), False


def name_of(text: str) -> str:
    """A name for files and runs: small letters, digits and underscores.

    >>> name_of("RentalListing")
    'rental_listing'
    """
    words = (re.sub(r"[^a-z0-9]", "", word) for word in words_of(text))
    return "_".join(filter(None, words)) or "document"


def new(
    name: str,
    schema: Mapping[str, Any],
    folder: Path,
    labelled: Path | None = None,
    test: Path | None = None,
    *,
    rows: Rows,
    base: str = BASE,
) -> list[Path]:
    """Write the project and return its files. `test` has labelled documents that are never trained on; without it half
    of `labelled` is kept for that. `rows` are made and taken beside them. `base` is a name as `models.find` takes it.

    Raises BadInput where the folder holds something already, a label contradicts the schema, or a document is in both.
    """
    check_empty(folder)
    own = {key: labelled_rows(path, name, schema) for key, path in ((LABELLED, labelled), (TEST, test)) if path}
    if test and labelled:
        check_apart(own[LABELLED], own[TEST], labelled, test)
    write_atomic(folder / "schemas" / f"{name}.json", json_text(schema, indent=2))
    files = {key: folder / "data" / f"{key}.jsonl" for key in own}
    for key, found in own.items():
        write_atomic(files[key], "".join(json_text(row, indent=None) for row in found))
    how = "apart" if test and labelled else "test" if test else "halves" if labelled else ""
    if how == "halves":
        whole = files[LABELLED]
        halves = split_rows(whole, test=0.5, seed=SEED, out=whole.parent, schemas=folder / "schemas")
        files = dict(zip((LABELLED, TEST), halves, strict=True))
    tested = f"data/{files[TEST].name if TEST in files else f'{name}.test.jsonl'}"
    train = [f"data/{name}.made.jsonl", f"{OTHER}:{rows.other}"]
    if LABELLED in files:
        count = len(own[LABELLED]) if how == "apart" else len(own[LABELLED]) // 2
        train.append(f"data/{files[LABELLED].name}*{min(LABELLED_TIMES, max(1, LABELLED_ROWS // count))}")
    facts = {
        "name": name,
        "made": rows.made,
        "base": yaml.safe_dump(_found_anywhere(base), width=10**6).splitlines()[0],
        "quoted": yaml.safe_dump(name).splitlines()[0],  # a name may be a number, or a word of YAML's
        "train": "\n".join(f"    - {source}" for source in train),
        "test": tested,
        "also": {"halves": " and half of your own", "apart": " and your own"}.get(how, ""),
        "tested": {"halves": "the other half", "": "other made ones"}.get(how, "your own others"),
        "own": OWN[how].format(labelled=LABELLED, test=TEST),
        "made_test": ""
        if how
        else f"\nslmbench synth schemas/{name}.json -n {MADE_TEST} --seed {TEST_SEED} --out {tested}",
    }
    write_atomic(folder / "recipe.yaml", RECIPE.format(**facts))
    write_atomic(folder / "README.md", README.format(**facts))
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _found_anywhere(base: str) -> str:
    """A base's name, or its folder as it is found from the project's folder too."""
    folder = Path(base).expanduser()
    return str(folder.resolve()) if base.lower() not in KNOWN and folder.is_dir() else base


def check_empty(folder: Path) -> None:
    """Raises BadInput where the folder holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder}: there is something there already; give another folder with --out.")


def check_apart(
    labelled: Sequence[Mapping[str, Any]], test: Sequence[Mapping[str, Any]], path: Path, test_path: Path
) -> None:
    """Raises BadInput where a document to test on is one to train on."""
    texts = {normalised(row["text"]): row["id"] for row in labelled}
    for row in test:
        if (same := texts.get(normalised(row["text"]))) is not None:
            raise BadInput(f"{test_path}: {row['id']} is also in {path} ({same}); leave it out of one of them.")


def labelled_rows(path: Path, name: str, schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of our format out of JSONL or CSV with `text` and `target`, `json` or `label` (an object, or one as text).

    Raises BadInput with the line of the first that has no document, no answer, or one that contradicts the schema.
    """
    content = decoded(path, read_bytes(path))
    if path.suffix.lower() == ".csv":
        lines = csv.DictReader(io.StringIO(content), strict=True)
        try:
            found = [(f"{path}:{lines.line_num}", dict(row)) for row in lines]
        except csv.Error as error:
            raise BadInput(f"{path}:{lines.line_num + 1}: this is not CSV ({error}); mend the row.") from None
    else:
        found = [(f"{path}:{number}", row) for number, _, row in jsonl_objects(path, content)]
    rows: list[dict[str, Any]] = []
    ids: dict[str, str] = {}
    for where, row in found:
        key = next((key for key in ANSWERS if row.get(key) is not None), None)
        if key is None or not isinstance(row.get("text"), str) or not row["text"].strip():
            raise BadInput(f"{where}: a row needs `text` and one of {', '.join(ANSWERS)}; add what is missing.")
        try:
            target = strict_loads(row[key]) if isinstance(row[key], str) else row[key]
        except ValueError as error:
            raise BadInput(f"{where}: `{key}` is not JSON ({error}); correct it.") from None
        if wrong := validate(target, schema):
            raise BadInput(f"{where}: `{key}` contradicts the schema ({wrong[0]}); correct it, or the schema.")
        id = str(row.get("id") or f"{LABELLED}-{len(rows) + 1:04d}")
        if (first := ids.setdefault(id, where)) != where:
            raise BadInput(f"{where}: the id {id!r} is also that of {first}; give each document its own, or none.")
        rows.append({
            "id": id, "schema_id": name,
            "complexity": complexity(schema), "style": LABELLED, "text": row["text"],
            "target": canonical(target, schema),
        })  # fmt: skip
    if len(rows) < 4:
        raise BadInput(f"{path}: {len(rows)} labelled documents; give at least 4, better 40.")
    return rows


def shown(schema: Mapping[str, Any]) -> str:
    """A schema for a person to look at."""
    return json.dumps(schema, ensure_ascii=False, indent=2)
