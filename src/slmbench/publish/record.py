"""The record of a run: one JSON value that says what was done, with what, and what came out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from slmbench import __version__
from slmbench.core import BadInput, Task, load_task
from slmbench.metrics import SLICE_KEYS, Sample, latency, score_output, slices, summarize
from slmbench.schema import strict_loads

Record = dict[str, Any]
# Splits -> stages ("tuned", "base", and "timed" for those that the adapter answered one at a time) -> samples.
SamplesBySplit = Mapping[str, Mapping[str, Sequence[Sample]]]


KEYS = (
    *("name", "created", "slmbench", "recipe", "machine", "weights", "adapter", "data", "prompt"),
    *("metrics", "base", "tests", "training", "seconds", "peak_memory_gib"),
)


def check_record(value: Any, where: str) -> Record:
    """`value` if it has all that a record has. Raises BadInput, naming `where`, if it is something else."""
    missing = [key for key in KEYS if not isinstance(value, dict) or key not in value]
    if missing:
        raise BadInput(f"{where}: not a run's record, {missing[0]} is missing; publish the run again.")
    record: Record = value
    return record


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
) -> Record:
    """The record, with the first test split's figures at the top: `metrics` of the tuned and `base` of the base model.

    `created` is ISO 8601; `weights` is {name, source, sha256, revision} and, where known, {hub_id, license}; `tests`
    maps the test splits, the headline one first, to their `split_record`; `seconds` are by stage. All values must be
    JSON.
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
    }


def split_record(
    prompt: str,
    tuned: Sequence[Sample],
    base: Sequence[Sample] | None = None,
    comparison: Mapping[str, Any] | None = None,
    timed: Sequence[Sample] | None = None,
    task: Task | None = None,
) -> Record:
    """The figures of one test split.

    `prompt` is the prompt style; `task` brings measures of its own; `comparison` is `compare(base, tuned)`; `timed` are
    the samples that were taken one at a time to measure latency, by default `tuned`. Raises BadInput where samples were
    decoded under different constraints, which may not share a row.
    """
    constraints = {sample["constraint"] for sample in (*tuned, *(base or ()))}
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
        "comparison": dict(comparison) if comparison else None,
        "latency": timing(tuned, timed),
        "base_latency": latency(base) if base else None,
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


def verify(record: Record, where: str) -> None:
    """Recomputes scores and figures of a record that carries `samples`; raises BadInput where they are not its own.

    Compliance needs the schemas, which a record does not carry, so its flag is taken from the samples.
    """
    for split, stages in record.get("samples", {}).items():
        for stage, key in (("tuned", "metrics"), ("base", "base")):
            samples = stages.get(stage)
            if not samples:
                continue
            for sample in samples:
                anew = asdict(score_output(strict_loads(sample["target"]), {}, sample["output"], sample["finish"]))
                for field in anew.keys() - {"compliant", "errors"}:
                    if anew[field] != sample["score"][field]:
                        raise BadInput(
                            f"{where}: {split}, {stage}, {sample['id']}: `{field}` is not what its output scores."
                        )
            test = record["tests"][split]
            found, claimed = summarize(samples), dict(test[key])
            if own := test.get("measures" if stage == "tuned" else "base_measures"):
                found |= load_task(test["task"]).measures(samples)
                claimed |= own
            for name, figure in found.items():
                if any(not math.isclose(figure[part], claimed[name][part]) for part in ("k", "n", "value")):
                    raise BadInput(f"{where}: {split}, {stage}: {name} is not what its samples give; publish it again.")
