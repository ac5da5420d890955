"""From a schema to rows, timed: what `new`, `synth`, `run`, `export` and `extract` make of schemas nobody trained on.

    python benchmarks/own_schema.py examples/rental_listing examples/lab_sample --out results/own_schema

A folder holds schema.json, test.jsonl, labelled by hand, which is tested on, and labelled.jsonl, which may be learnt
from. Every schema is gone through twice, alone and with those labelled documents. The commands are those that a new
project's README names, each a process of its own; a project whose commands have all ended is not made again, one that
was broken off is begun anew, for its time would not be known. `run` says how the base and the adapter write freely,
`extract` how the export answers under the schema, and with strings from the document only. Beside the figures stand the
answers that they are counted from, packed as those of a run are; of rows of `extract`, which do not say them, tokens
and seconds are 0.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slmbench.core import BASE, BadInput, Completion, SlmbenchError, load_task
from slmbench.data import read_examples
from slmbench.evaluate import make_sample
from slmbench.files import json_text, read_json, read_jsonl_tolerant, write_atomic
from slmbench.memory import machine
from slmbench.metrics import Sample, figure
from slmbench.new import schema_from
from slmbench.progress import say
from slmbench.publish import load_record, load_samples, samples_path
from slmbench.publish.stored import pack

FILES = ("schema.json", "test.jsonl", "labelled.jsonl")
METRICS = ("json_exact", "field_f1", "schema_compliance")
DONE = "own_schema.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Go through every schema, and write what came of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="with schema.json and documents")
    parser.add_argument("--way", action="append", choices=("alone", "labelled"), help="default: both")
    parser.add_argument("--minutes", type=float, default=20, metavar="M", help="for each, as of slmbench new")
    parser.add_argument("--base", default=BASE, help=f"the model that is trained (default: {BASE})")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as of slmbench run")
    parser.add_argument("--work", type=Path, default=Path("runs/own_schema"), metavar="DIR", help="for the projects")
    parser.add_argument("--out", type=Path, metavar="DIR", help="for the figures, a file each")
    arguments = parser.parse_args(argv)
    try:
        for folder in arguments.folders:
            for way in arguments.way or ("alone", "labelled"):
                result, answers = measured(folder, way, arguments)
                print(json_text(result, indent=None), end="", flush=True)
                if arguments.out:
                    path = arguments.out / f"{result['schema']}_{way}.json"
                    write_atomic(samples_path(path), pack({who: {"tuned": part} for who, part in answers.items()}))
                    write_atomic(path, json_text(result))
    except SlmbenchError as error:
        say(f"own_schema: {error}")
        return error.exit_code
    return 0


def measured(folder: Path, way: str, arguments: argparse.Namespace) -> tuple[dict[str, Any], dict[str, list[Sample]]]:
    """One schema in one way: seconds of each command with how the base, the adapter and the export answer; and the
    answers, by who gave them."""
    if gone := [name for name in FILES if not (folder / name).is_file()]:
        raise BadInput(f"{folder}: {gone[0]} is missing; give a folder with {', '.join(FILES)}.")
    schema, test, labelled = (folder / name for name in FILES)
    name = schema_from(str(schema))[0]
    project = arguments.work / f"{name}_{way}"
    if (project / DONE).is_file():
        before = dict(read_json(project / DONE, "delete it"))
        if before.get("minutes") != arguments.minutes:
            asked_for = f"made with --minutes {before.get('minutes')}, not {arguments.minutes:g}"
            raise BadInput(f"{project}: {asked_for}; delete it, or give --work another folder.")
        return before, answered(project, name)
    shutil.rmtree(project, ignore_errors=True)
    own = ["--test", test.resolve(), *(["--labelled", labelled.resolve()] if way == "labelled" else [])]
    setting = [word for change in arguments.set for word in ("--set", change)]
    asked = ["extract", "runs/{name}/export/int8", "data/test.jsonl", "--schema", "schemas/{name}.json"]
    chosen = ["--minutes", arguments.minutes, "--base", arguments.base]
    made = ["new", schema.resolve(), *own, *chosen, "--out", project.resolve()]
    seconds = {"new": done(made, Path())}
    synth = (project / "README.md").read_text(encoding="utf-8").partition("\nslmbench synth ")[2].splitlines()[0]
    steps = (
        ["synth", *synth.split()],
        ["run", "recipe.yaml", *setting],
        ["export", "runs/{name}"],
        [*asked, "--out", "extract.jsonl"],
    )
    for words in steps:
        seconds[str(words[0])] = done([str(word).format(name=name) for word in words], project)
    again = [*asked, "--constraint", "grounded", "--out", "grounded.jsonl"]
    done([word.format(name=name) for word in again], project)
    answers, record = answered(project, name), load_record(project / "runs" / name)
    result = {
        "schema": name, "way": way, "labelled": len(read_jsonl_tolerant(labelled)) if way == "labelled" else 0,
        "minutes": arguments.minutes, "rows": record["data"]["train"]["rows"],
        "documents": len(answers["tuned"]), "seconds": seconds, "machine": machine(),
        **{who: figures(samples) for who, samples in answers.items()},
    }  # fmt: skip
    write_atomic(project / DONE, json_text(result))
    return result, answers


def done(words: Sequence[object], folder: Path) -> float:
    """Give a command of slmbench in a folder: its seconds. Raises SlmbenchError where it fails."""
    command = [sys.executable, "-m", "slmbench.cli", *map(str, words)]
    say(f"own_schema slmbench {' '.join(map(str, words))}")
    started = time.monotonic()
    ended = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False)
    if ended.returncode:
        raise SlmbenchError(f"slmbench {words[0]} ended with {ended.returncode}, in {folder}.")
    return round(time.monotonic() - started, 1)


def figures(samples: Sequence[Sample]) -> dict[str, Any]:
    """What is published of answers."""
    return {metric: figure(samples, metric) for metric in METRICS}


def answered(project: Path, name: str) -> dict[str, list[Sample]]:
    """Every answer to the test documents, by who gave it: "base" and "tuned" of the run, "extract" and "grounded"."""
    run = project / "runs" / name
    samples = load_samples(run, load_record(run))["test"]
    answers = {who: list(samples[who]) for who in ("base", "tuned")}
    ways = {"extract": "schema", "grounded": "grounded"}
    return answers | {rows: extracted(project, f"{rows}.jsonl", way) for rows, way in ways.items()}


def extracted(project: Path, rows_name: str, constraint: str) -> list[Sample]:
    """Rows of `extract` as a run has its answers."""
    task = load_task("edge_json")
    rows = {
        row["id"]: json.dumps(row.get("json"), ensure_ascii=False) for row in read_jsonl_tolerant(project / rows_name)
    }
    samples = []
    for example in read_examples(project / "data" / "test.jsonl", schemas=project / "schemas"):
        said = Completion(example.id, rows[example.id], (), "stop", 0, 0, None, 0.0, 1, constraint)
        samples.append(make_sample(task, example, said))
    return samples


if __name__ == "__main__":
    raise SystemExit(main())
