"""The record of a run: one JSON value that says what was done, with what, and what came out."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from slmbench import __version__
from slmbench.compare import compare
from slmbench.config import Test
from slmbench.core import BadInput, Task, find_split, load_task
from slmbench.memory import machine_words
from slmbench.metrics import SLICE_KEYS, Sample, latency, slices, summarize

Record = dict[str, Any]
Kind = Literal["tuned", "base", "server", "baseline"]
SamplesBySplit = Mapping[str, Mapping[str, Sequence[Sample]]]
"""Test sets -> stages -> samples."""
STAGES = ("tuned", "base", "timed", "base_timed")
"""Whose answers: the adapter's, the base's, and of either those that were written one at a time for their time."""
KEYS = (
    *("name", "created", "slmbench", "recipe", "machine", "weights", "adapter", "data", "prompt"),
    *("metrics", "base", "tests", "training", "seconds", "peak_memory_gib", "hashes"),
)
OBJECTS = ("recipe", "machine", "weights", "adapter", "data", "prompt", "tests", "training", "seconds", "hashes")
"""What of these is an object, and no list or number."""
SOME = ("asked", "export", "hardware")
"""The objects that not every record has."""
NUMBERS = (("weights", "parameters"), ("adapter", "parameters"), ("export", "bytes"), ("hardware", "joules"))
"""What is a number where it is there."""
HASHES = ("recipe", "data", "prompt", "weights", "tokenizer", "adapter", "code")
"""What a record hashes before it is written with its samples, whose hash is added then, and its own."""


def check_record(value: Any, where: str) -> Record:
    """`value` if it has all that a record has. Raises BadInput, naming `where`, if it is something else."""
    missing = [key for key in KEYS if not isinstance(value, dict) or key not in value]
    if missing:
        raise BadInput(f"{where}: not a run's record, {missing[0]} is missing; give the run's own command again.")
    record: Record = value
    for key in (*OBJECTS, *(key for key in SOME if key in record)):
        if not isinstance(record[key], dict):
            raise BadInput(f"{where}: not a run's record, {key} is no object; give the run's own command again.")
    if not record["tests"]:
        raise BadInput(f"{where}: not a run's record, tests is empty; give the run's own command again.")
    losses = record["training"].get("validation_losses", [])
    if not isinstance(losses, list):
        what = "training.validation_losses is no list"
        raise BadInput(f"{where}: not a run's record, {what}; give the run's own command again.")
    known = {f"{part}.{key}": record.get(part, {}).get(key) for part, key in NUMBERS}
    known["peak_memory_gib"] = record["peak_memory_gib"]
    numbers = {
        **{f"seconds.{stage}": value for stage, value in record["seconds"].items()},
        **{f"training.validation_losses.{i}": loss for i, loss in enumerate(losses)},
        **{what: value for what, value in known.items() if value is not None},
    }
    for what, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise BadInput(f"{where}: not a run's record, {what} is no number; give the run's own command again.")
    if not isinstance(record["name"], str):
        raise BadInput(f"{where}: not a run's record, name is no text; give its own command again.")
    try:
        datetime.datetime.fromisoformat(record["created"])
    except (TypeError, ValueError):
        raise BadInput(f"{where}: not a run's record, created is no time; give its own command again.") from None
    if missing := [key for key in HASHES if key not in record["hashes"]]:
        raise BadInput(f"{where}: not a run's record, hashes.{missing[0]} is missing; give its own command again.")
    return record


def kind_of(record: Record) -> Kind:
    """What answered: a model that the recipe trained, its base as it is, a server's model, or no model at all."""
    if record["weights"].get("baseline"):
        return "baseline"
    if "server" in record["weights"]:
        return "server"
    return "base" if record["recipe"].get("train", {}).get("epochs") == 0 else "tuned"


def machine_of(record: Record) -> str:
    """What answered on which machine, in a few words; of a server nothing is known but where it is."""
    if kind_of(record) == "server":
        return f"server {record['weights']['server'] or 'unknown'}"
    return machine_words(record["machine"])


def value_sha256(value: Any) -> str:
    """The SHA-256 of a JSON value, in whichever order its keys stand."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def seal(record: Record) -> str:
    """The SHA-256 of everything in a record but this hash: a slip in what no sample gives shows too."""
    hashes = {name: value for name, value in record["hashes"].items() if name != "record"}
    return value_sha256({**record, "hashes": hashes})


def build_record(
    *,
    name: str,
    created: str,
    recipe: Mapping[str, Any],
    machine: Mapping[str, Any],
    weights: Mapping[str, Any],
    adapter: Mapping[str, Any],
    data: Mapping[str, Any],
    prompt: Mapping[str, Any],
    tests: Mapping[str, Record],
    training: Mapping[str, Any],
    seconds: Mapping[str, float],
    peak_memory_gib: float | None,
    hashes: Mapping[str, Any],
) -> Record:
    """The record, with the first test split's figures at the top: `metrics` of the tuned and `base` of the base model.

    `created` is ISO 8601; `weights` is {name, source, revision, origin} and, where known, {hub_id, license}; `tests`
    maps the test splits, the headline one first, to their `split_record`; `seconds` are by stage; `hashes` are those of
    `HASHES`, None for one that is not known. All values must be JSON. Raises BadInput without tests.
    """
    if not tests:
        raise BadInput(f"run {name} has no evaluated test split; evaluate it before publishing.")
    headline = next(iter(tests.values()))
    return {
        "name": name,
        "created": created,
        "slmbench": __version__,
        "recipe": dict(recipe),
        "machine": dict(machine),
        "weights": dict(weights),
        "adapter": dict(adapter),
        "data": dict(data),
        "prompt": dict(prompt),
        "metrics": headline["metrics"],
        "base": headline["base"],
        "tests": dict(tests),
        "training": dict(training),
        "seconds": dict(seconds),
        "peak_memory_gib": peak_memory_gib,
        "hashes": dict(hashes),
    }


def split_record(prompt: str, stages: Mapping[str, Sequence[Sample]], task: Task | None = None) -> Record:
    """The figures of one test split.

    `prompt` is the prompt style; `stages` are its samples, all but `tuned` optional: without those that were written
    one at a time, times are of those among the others that were; `task` brings measures of its own. Raises BadInput
    where samples were decoded under different constraints, which may not share a row, or where base and tuned are not
    of the same documents.
    """
    tuned, base = stages["tuned"], stages.get("base")
    constraints = {sample["constraint"] for samples in stages.values() for sample in samples}
    if len(constraints) > 1:
        raise BadInput(f"samples decoded as {', '.join(sorted(constraints))} cannot share a row; publish them apart.")
    return {
        "prompt": prompt,
        "constraint": next(iter(constraints), "free"),
        "metrics": summarize(tuned),
        "base": summarize(base) if base else None,
        "task": task.name if task else None,
        "measures": task.measures(tuned) if task else {},
        "base_measures": task.measures(base) if task and base else None,
        "slices": {key: slices(tuned, key) for key in SLICE_KEYS},
        "base_slices": {key: slices(base, key) for key in SLICE_KEYS} if base else None,
        "comparison": compare(base, tuned) if base else None,
        "latency": timing(tuned, stages.get("timed")),
        "base_latency": timing(base, stages.get("base_timed")) if base else None,
    }


def timing(samples: Sequence[Sample], timed: Sequence[Sample] | None) -> dict[str, Any]:
    """`latency` with the times of `timed` and the token totals of `samples`; and `same_answers`, how many of `timed`
    say what they said among others."""
    totals = latency(samples)
    if timed is None:
        return totals
    outputs = {sample["id"]: sample["output"] for sample in samples}
    return {
        **latency(timed),
        **{key: totals[key] for key in ("prompt_tokens", "output_tokens")},
        "same_answers": sum(outputs.get(sample["id"]) == sample["output"] for sample in timed),
    }


def test_set(record: Record, test: Test) -> tuple[str | None, str, str | None]:
    """(task, label, hash of the rows where it is known) of a test set: what makes those of two records one.

    The label is TASK/SPLIT, or the name of a file, which is no task's. Raises BadInput for a task that there is not.
    """
    split = find_split(load_task(record["recipe"].get("task", "edge_json")), test.split)
    hashes = record["hashes"]["data"]
    digest = hashes.get(test.name) if isinstance(hashes, dict) else None
    task, label = (split[0].name, f"{split[0].name}/{split[1]}") if split else (None, test.name)
    return task, label, digest if isinstance(digest, str) else None
