"""A schema of one's own: a project for it, and documents."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from slmbench.core import BASE


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    _add_new(verbs)
    _add_synth(verbs)


def _add_new(verbs: Any) -> None:
    verb = verbs.add_parser(
        "new",
        help="a project folder for your own schema",
        description="Write a folder with the schema, a recipe and a README that says how to go on. An example object is"
        " turned into a schema, which is shown before anything is written.",
    )
    verb.add_argument("schema", help="a JSON Schema, an example object (.json), or a Pydantic class as module:Class")
    verb.add_argument("--out", type=Path, metavar="DIR", help="default: the schema's name")
    verb.add_argument(
        "--labelled", type=Path, metavar="FILE", help="your own documents: JSONL or CSV of text and target"
    )
    verb.add_argument(
        "--test", type=Path, metavar="FILE", help="the same, to test on only (default: half of the labelled ones)"
    )
    verb.add_argument(
        "--minutes", type=float, default=20, metavar="M",
        help="training, testing and exporting may take on this machine; the recipe gets as many rows (default: 20)",
    )  # fmt: skip
    verb.add_argument(
        "--base", default=BASE, help=f"the model that is trained, as in slmbench models (default: {BASE})"
    )
    verb.add_argument("--yes", action="store_true", help="take an inferred schema without asking")
    verb.set_defaults(call=_new)


def _new(arguments: argparse.Namespace) -> int:
    from slmbench.new import check_empty, new, schema_from, shown
    from slmbench.pace import rows_within

    name, schema, inferred = schema_from(arguments.schema)
    if inferred and not arguments.yes:
        print(shown(schema), file=sys.stderr)
        print("Use this schema? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            print("nothing was written; correct the schema and give it as a file.", file=sys.stderr)
            return 1
    out, own = arguments.out or Path(name), (arguments.labelled, arguments.test)
    check_empty(out)
    rows = rows_within(arguments.minutes, name, schema, *own, arguments.base)
    for path in new(name, schema, out, *own, rows=rows, base=arguments.base):
        print(path)
    return 0


def _add_synth(verbs: Any) -> None:
    verb = verbs.add_parser(
        "synth",
        help="make documents for your own schema",
        description="Write rows of made documents under a JSON Schema, to train or test on. Names, formats, enums and"
        " descriptions say what a field holds; x-slmbench hints (values, labels, derive, grounded) say more.",
    )
    verb.add_argument("schema", type=Path, help="a JSON Schema of an object")
    verb.add_argument("-n", type=int, default=1000, metavar="ROWS", help="how many rows (default: 1000)")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSONL file to write")
    verb.add_argument("--seed", type=int, default=42, help="another seed gives other rows (default: 42)")
    verb.set_defaults(call=_synth)


def _synth(arguments: argparse.Namespace) -> None:
    from slmbench.schema import load_schema
    from slmbench.synth.make import write

    rows = write(load_schema(arguments.schema), arguments.n, arguments.out, arguments.seed, arguments.schema.stem)
    print(f"{arguments.out}: {rows} rows")
