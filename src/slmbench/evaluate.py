"""THE evaluation loop: examples x backend -> samples, appended as they come, so that a kill loses at most one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from slmbench.config import Evaluation
from slmbench.core import Backend, Completion, Example, Request, Task
from slmbench.files import Appender, read_jsonl_tolerant
from slmbench.metrics import Sample
from slmbench.progress import progress
from slmbench.runs import check_stop
from slmbench.template import Encoded, target_text


def evaluate(
    task: Task, backend: Backend, examples: Sequence[Example], encoded: Sequence[Encoded], settings: Evaluation,
    path: Path, label: str,
) -> list[Sample]:  # fmt: skip
    """Answer every example that `path` has no sample of yet, and return all samples in the examples' order.

    `encoded` are the examples' tokens, in the same order; the gold's length sets how long an answer may be, never
    what it says. Raises Stopped after an answer where the run was asked to stop.
    """
    known = {sample["id"]: sample for sample in read_jsonl_tolerant(path)}
    by_id = {example.id: example for example in examples}
    requests = [request(row, settings) for row in encoded if row.id not in known]
    done = len(examples) - len(requests)
    with Appender(path) as samples, progress(label, len(examples), "documents", done) as advance:
        for completion in backend.generate(requests):
            sample = make_sample(task, by_id[completion.id], completion)
            samples.append(sample)
            known[completion.id] = sample
            advance(1, "")
            check_stop()
    return [known[example.id] for example in examples]


def request(row: Encoded, settings: Evaluation) -> Request:
    """What a backend is asked for one encoded example."""
    budget = math.ceil(row.completion_tokens * settings.budget_factor) + settings.budget_extra
    return Request(row.id, row.ids[: row.prompt_tokens], budget)


def make_sample(task: Task, example: Example, completion: Completion) -> Sample:
    """One line of a file of samples: the output, how it came about, and its score."""
    score = asdict(task.score(example, completion))
    served = {name: value for name in ("server", "model", "error") if (value := getattr(completion, name))}
    return {
        "id": example.id,
        "schema_id": example.schema_id,
        "complexity": example.tags.get("complexity", "unlabelled"),
        "style": example.tags.get("style", "unlabelled"),
        "target": target_text(example),
        "output": completion.text,
        "finish": completion.finish,
        "prompt_tokens": completion.prompt_tokens,
        "output_tokens": completion.output_tokens,
        "first_token_s": None if completion.first_token_s is None else round(completion.first_token_s, 4),
        "total_s": round(completion.total_s, 4),
        "batch": completion.batch,
        "constraint": completion.constraint,
        **served,
        "score": {**score, "errors": list(score["errors"])},  # as it reads back
    }


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of `count` positions, evenly spaced: the rows that latency is measured on."""
    wanted = min(count, wanted)
    return [i * count // wanted for i in range(wanted)]
