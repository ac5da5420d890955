"""Examples: build, card, check, import, split."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from slmbench.commands import json_option
from slmbench.core import BadInput


def add(verbs: Any) -> None:
    """Add these verbs to the parser."""
    data = verbs.add_parser("data", help="build, check, import and split examples; their card").add_subparsers(
        metavar="WHAT", required=True
    )
    build = data.add_parser("build", help="write a task's frozen files again, byte for byte, or more of them")
    build.add_argument("task", help="such as edge_json")
    build.add_argument("--split", help="one split; train_large takes any -n (default: all frozen splits)")
    build.add_argument("-n", type=int, help="rows, for train_large")
    build.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (default: data/TASK)")
    build.set_defaults(call=_data_build)
    card = data.add_parser(
        "card",
        help="a task's data as a data set of the Hugging Face Hub: its card, and its splits as JSONL",
        description="Write README.md, every figure of it counted from the rows, data/SPLIT.jsonl and manifest.json into"
        " a folder, which `slmbench push` takes.",
    )
    card.add_argument("task", help="such as edge_json")
    card.add_argument("--out", type=Path, metavar="DIR", help="folder to write to (default: data/hub/TASK)")
    card.set_defaults(call=_data_card)
    check = data.add_parser("check", help="the gate: every violation as file:line: rule: what")
    check.add_argument("file", type=Path)
    check.add_argument(
        "--against", type=Path, action="append", default=[], metavar="FILE", help="look for leaks from FILE"
    )
    check.add_argument("--schemas", type=Path, metavar="DIR", help="folder of <schema_id>.json (default: inferred)")
    check.add_argument("--max-characters", type=int, metavar="N", help="rows longer than this are violations")
    json_option(check)
    check.set_defaults(call=_data_check)
    _add_import(data)
    split = data.add_parser("split", help="part a file into train and test, the same way everywhere")
    split.add_argument("file", type=Path)
    split.add_argument("--test", type=float, default=0.2, help="share of the rows, or their number (default: 0.2)")
    split.add_argument("--seed", type=int, default=42)
    split.add_argument("--schemas", type=Path, metavar="DIR", help="folder of <schema_id>.json (default: inferred)")
    split.add_argument(
        "--out",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="for both halves and their schemas (default: data)",
    )
    json_option(split)
    split.set_defaults(call=_data_split)


def _add_import(data: Any) -> None:
    from slmbench.formats import FORMATS

    formats = "\n".join(f"  {name:12} {kind.description}" for name, kind in FORMATS.items())
    verb = data.add_parser(
        "import",
        help="turn other people's files into rows, and say what could not be turned",
        description=f"Turn a file into rows; what cannot be turned is named with its reason.\n\nformats:\n{formats}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("format", metavar="FORMAT", help=", ".join(FORMATS))
    verb.add_argument("file", type=Path)
    verb.add_argument("--answers", type=Path, metavar="FILE", help="where a format keeps them in a file of their own")
    verb.add_argument("--out", type=Path, default=Path("data"), metavar="DIR", help="default: data")
    json_option(verb)
    verb.set_defaults(call=_data_import)


def _data_build(arguments: argparse.Namespace) -> None:
    from slmbench.pipeline import build_data

    for line in build_data(arguments.task, arguments.split, arguments.n, arguments.out):
        print(line)


def _data_card(arguments: argparse.Namespace) -> None:
    from slmbench.publish.dataset import write_dataset

    for path in write_dataset(arguments.task, arguments.out or Path("data") / "hub" / arguments.task):
        print(path)


def _data_check(arguments: argparse.Namespace) -> int:
    from slmbench.synth.check import check_file

    report = check_file(
        arguments.file, against=arguments.against, schemas=arguments.schemas, limit=arguments.max_characters
    )
    if arguments.json:
        print(json.dumps(report.to_json(), ensure_ascii=False, indent=1))
    else:
        for line in report.lines():
            print(line)
        broken = ", ".join(f"{count} {rule}" for rule, count in report.counts().items() if count)
        print(f"{arguments.file}: {report.rows} rows, {broken or 'no violation'}", file=sys.stderr)
    return 0 if report.ok else 2


def _data_import(arguments: argparse.Namespace) -> None:
    from slmbench.formats import import_file

    places, imported = import_file(arguments.format, arguments.file, arguments.answers, arguments.out)
    rows = {str(place): len(part) for place, part in zip(places, imported.splits.values(), strict=True)}
    lost = [{"where": where, "reason": reason} for where, reason in imported.lost]
    if arguments.json:
        print(json.dumps({"rows": rows, "schemas": len(imported.schemas), "lost": lost}, ensure_ascii=False, indent=1))
        return
    for place, count in rows.items():
        print(f"{place}  {count} rows")
    for part in lost[:20]:
        print(f"{part['where']}: {part['reason']}", file=sys.stderr)
    if lost:
        more = f", {len(lost) - 20} of them not shown (--json has all)" if len(lost) > 20 else ""
        print(f"{arguments.file}: {len(lost)} could not be turned{more}", file=sys.stderr)


def _data_split(arguments: argparse.Namespace) -> None:
    from slmbench.data import schemas_folder, split_rows

    if not arguments.test > 0:
        raise BadInput(f"--test {arguments.test}: give a share below 1 or a number of rows.")
    size = arguments.test if arguments.test < 1 else int(arguments.test)
    out = arguments.out
    train, test = split_rows(arguments.file, test=size, seed=arguments.seed, out=out, schemas=arguments.schemas)
    places = {"train": str(train), "test": str(test), "schemas": str(schemas_folder(arguments.file, out))}
    print(json.dumps(places) if arguments.json else "\n".join(f"{k:8} {v}" for k, v in places.items()))
