"""How fast a model answers, how well, and, where it runs on this machine, what bounds it: the verb `bench`."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from slmbench.core import Backend, BadInput, Example, Model, Request, Task, find_split, load_task
from slmbench.decode.answer import Work
from slmbench.decode.loop import Decoder
from slmbench.evaluate import make_sample, spread
from slmbench.exported import Exported
from slmbench.memory import peak_rss_gib
from slmbench.metrics import Sample, figure, percentile, shown
from slmbench.pipeline import load_split
from slmbench.progress import progress

BUDGET_FACTOR, BUDGET_EXTRA = 1.5, 32
"""An answer may be so many times the gold's tokens long, and so many more: as `evaluate` has it."""


def examples_of(model: Model, split: str, schemas: Path | None, rows: int | None) -> list[Example]:
    """Documents of the model's own task or of a file, evenly spread where fewer are wanted."""
    from slmbench.data import read_examples

    if rows is not None and rows < 1:
        raise BadInput(f"--rows {rows}: give 1 or more.")
    if "task" not in model.manifest:
        raise BadInput(f"{model.where}: name the task that its answers are of with --task.")
    task = load_task(model.manifest["task"])
    known = find_split(task, split)
    found = load_split(*known) if known else read_examples(Path(split), schemas=schemas, split=split)
    if not found:
        raise BadInput(f"{split}: there are no documents in it; give a file with some.")
    return [found[i] for i in spread(len(found), rows)] if rows else found


def bench(
    model: Model, examples: Sequence[Example], *, constraint: str = "schema", draft_tokens: int | None = None,
    threads: int | None = None, batch: int = 1,
) -> tuple[dict[str, Any], list[Sample]]:  # fmt: skip
    """(figures, samples) of documents answered one after the other, or `batch` at once, every schema having been seen
    before."""
    started = time.perf_counter()
    backend = model.backend(threads, draft_tokens, batch)
    loaded = time.perf_counter() - started
    task = load_task(model.manifest["task"])
    asked = [model.request(e, b, constraint) for e, b in zip(examples, budgets(model, examples), strict=True)]
    warm_up(backend, asked)
    started = time.perf_counter()
    samples = answers(task, backend, examples, asked, "bench", batch)
    seconds = time.perf_counter() - started
    result = {
        "batch": batch,
        "constraint": constraint,
        "documents_per_s": len(samples) / seconds,
        **figures(samples),
        "load_s": loaded,
    }
    result |= {"weights_bytes": weights_bytes(model)} if isinstance(model, Exported) else served(model, samples)
    if isinstance(backend, Decoder):
        result |= work_done(backend.work, result)
    return result, samples


def answers(
    task: Task, backend: Backend, examples: Sequence[Example], asked: Sequence[Request], label: str, batch: int = 1
) -> list[Sample]:
    """Documents answered one after the other, or as many at once as the backend takes; in their order."""
    groups = [asked] if batch > 1 else [[request] for request in asked]
    by_id = {example.id: example for example in examples}
    samples: dict[str, Sample] = {}
    with progress(label, len(examples), "documents") as advance:
        for completion in itertools.chain.from_iterable(map(backend.generate, groups)):
            samples[completion.id] = make_sample(task, by_id[completion.id], completion)
            advance(1, "")
    return [samples[example.id] for example in examples]


def budgets(model: Model, examples: Sequence[Example]) -> list[int]:
    """How many tokens the answer to each document may take."""
    return [math.ceil(model.gold_tokens(e) * BUDGET_FACTOR) + BUDGET_EXTRA for e in examples]


def warm_up(backend: Backend, asked: Sequence[Request]) -> None:
    """Read the beginning of every schema's prompt once, as a service would before it is asked."""
    first = {(request.instruction, request.prompt_ids[: request.shared_tokens]): request for request in asked}
    for request in first.values():
        # One token more than is shared: the beginning is kept before the last token is read. The document is none of
        # those that are measured, and not empty, as servers refuse that.
        ids, text = request.prompt_ids[: request.shared_tokens + 1], "warm-up"
        asks = replace(request, id=text, prompt_ids=ids, max_new_tokens=1, text=text, grounded=False)
        for _ in backend.generate([asks]):
            pass
    if isinstance(backend, Decoder):
        backend.work = Work()


def figures(samples: Sequence[Sample]) -> dict[str, Any]:
    """Times in milliseconds, memory and scores. Of documents that a server failed at there is no time."""
    answered = [sample for sample in samples if "error" not in sample] or samples
    total = [1000 * sample["total_s"] for sample in answered]
    first = [1000 * sample["first_token_s"] for sample in samples if sample["first_token_s"] is not None]
    return {
        "documents": len(samples),
        "mean_ms": sum(total) / len(total),
        "p50_ms": percentile(total, 50),
        "p95_ms": percentile(total, 95),
        "first_token_p50_ms": percentile(first, 50) if first else None,
        "output_tokens": sum(sample["output_tokens"] for sample in samples) / len(samples),
        "peak_memory_gib": peak_rss_gib(),
        "json_exact": figure(samples, "json_exact"),
        "schema_compliance": figure(samples, "schema_compliance"),
        "truncated": figure(samples, "truncated"),
    }


def served(model: Model, samples: Sequence[Sample]) -> dict[str, Any]:
    """What is known of answers that a server gave: whose they are, tokens a document, documents without an answer.

    Its memory is not known; tokens are of those answers that it counted.
    """
    counted = [sample for sample in samples if sample["prompt_tokens"]]
    names = ("prompt_tokens", "output_tokens")
    return {
        **model.identity,
        **{name: sum(s[name] for s in counted) / len(counted) if counted else None for name in names},
        "failed": sum("error" in sample for sample in samples),
        "peak_memory_gib": None,
    }


def weights_bytes(exported: Exported) -> int:
    """The size of a model's file."""
    return sum(facts["bytes"] for name, facts in exported.manifest["files"].items() if name.startswith("model"))


def work_done(work: Work, result: Mapping[str, Any]) -> dict[str, Any]:
    """What our loop did, a document, and how its time compares with reading the weights once a pass."""
    n = work.documents
    reading = result["weights_bytes"] / bytes_a_second()
    return {
        "tokens_a_pass": work.tokens_a_pass,
        "passes": work.passes / n,
        "prompt_tokens": work.prompt_tokens / n,
        "cached_tokens": work.cached_tokens / n,
        "masks": work.masks / n,
        "drafts": {name: {"drafted": count, "accepted": work.accepted[name]} for name, count in work.drafted.items()},
        "ms_by_part": {name: 1000 * seconds / n for name, seconds in work.seconds.items()},
        "weights_read_ms": 1000 * reading,
        "share_of_reading": work.passes * reading * result["documents_per_s"] / n,
    }


def bytes_a_second() -> float:
    """How fast this machine reads memory that no cache holds, on one core at a time."""
    block = np.ones(2**25, np.float32)
    block.sum()
    started = time.perf_counter()
    for _ in range(4):
        block.sum()
    return 4 * block.nbytes / (time.perf_counter() - started)


def lines(result: Mapping[str, Any]) -> list[str]:
    """The figures as text for a terminal."""
    first = result["first_token_p50_ms"]
    each = f"{result['batch']} at a time" if result["batch"] > 1 else "one at a time"
    said = [
        f"{result['documents']} documents   {each}: {result['documents_per_s']:.2f} a second; mean"
        f" {result['mean_ms']:.0f} ms, p50 {result['p50_ms']:.0f}, p95"
        f" {result['p95_ms']:.0f}{'' if first is None else f', first token {first:.0f}'}; loaded in"
        f" {result['load_s']:.1f} s"
    ]
    if "server" in result:
        said.append(f"server         {result['server']}, {result['model']}; asked for: {result['constraint']}")
        if result["prompt_tokens"] is not None:
            said.append(
                f"tokens         {result['prompt_tokens']:.0f} read, {result['output_tokens']:.0f} written, a document"
            )
        if result["failed"]:
            said.append(f"no answer      {result['failed']} documents; they count as wrong")
    if "passes" in result:
        drafts = ", ".join(
            f"{name} {part['accepted']}/{part['drafted']}" for name, part in sorted(result["drafts"].items())
        )
        parts = ", ".join(f"{name} {value:.1f}" for name, value in result["ms_by_part"].items())
        said += [
            f"passes         {result['passes']:.1f} a document, {result['tokens_a_pass']:.2f} tokens each"
            f" ({result['output_tokens']:.0f} written; of {result['prompt_tokens']:.0f} read"
            f" {result['cached_tokens']:.0f} were kept)",
            f"drafts         {drafts or 'none'}",
            f"milliseconds   {parts}; reading the weights once a pass: {100 * result['share_of_reading']:.0f} %",
        ]
    if "weights_bytes" in result:
        said.append(
            f"memory         {result['peak_memory_gib']:.2f} GiB, weights {result['weights_bytes'] / 1e6:.0f} MB",
        )
    for label, name in (("JSONExact", "json_exact"), ("valid", "schema_compliance"), ("truncated", "truncated")):
        found = result[name]
        said.append(f"{label:14} {shown(found['value'], name)} ({found['k']}/{found['n']})")
    return said
