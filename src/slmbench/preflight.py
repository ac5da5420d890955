"""What is looked at before anything is spent: data, disk, memory, time, and three real updates on eight examples."""

from __future__ import annotations

import gc
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slmbench import memory, models
from slmbench.core import BadInput, Request, SlmbenchError, find_split, source_rows, source_times
from slmbench.evaluate import request
from slmbench.files import json_text
from slmbench.forecast import Forecast, allowed, check_fit, forecast, table
from slmbench.progress import say
from slmbench.template import Encoded

if TYPE_CHECKING:
    from slmbench.pipeline import Plan
    from slmbench.train import Trainer

TRIAL_EXAMPLES = 8
TRIAL_UPDATES = 3
DISK_BYTES = 500 * 2**20
"""Adapter, checkpoint, optimizer state and samples, with room to spare."""


def check_data(plan: Plan) -> None:
    """Run the gate over every file of the recipe and say what it finds; a task's own frozen splits pass by test."""
    from slmbench.synth.check import check_file

    schemas = Path(plan.recipe.data.schemas) if plan.recipe.data.schemas else None
    data = plan.recipe.data
    files, tests = (
        [source_rows(source)[0] for source in sources if find_split(plan.task, source) is None]
        for sources in ([source_times(source)[0] for source in data.train], [test.split for test in data.tests])
    )
    trained = [Path(file) for file in files]
    # A file may be trained on and tested on: then every row of it is a leak.
    for source, against in (*((file, []) for file in files), *((file, trained) for file in tests)):
        report = check_file(Path(source), against=against, schemas=schemas)
        if report.ok:
            say(f"gate      {source}: passes")
            continue
        counts = ", ".join(f"{count} {rule}" for rule, count in report.counts().items() if count)
        say(f"gate      {source}: {counts}; see `slmbench data check {source}`")


def preflight_stage(plan: Plan) -> None:
    """All checks, printed as they pass. Raises SlmbenchError or BadInput at the first that does not."""
    if plan.run.done("preflight"):
        return
    with plan.run.stage("preflight"):
        check_disk(plan.run.folder)
        say(histogram([len(row.ids) for row in plan.train.encoded]))
        say(shown_example(plan.train.encoded[0], plan.tokenizer))
        told = foretell(plan)
        plan.run.write("plan.json", json_text({"foretold": told.to_json()}))
        for process in memory.gpu_processes():
            say(f"gpu       process {process['pid']} ({process['name']}) holds {process['memory_mib']} MiB")
        if plan.recipe.trains:
            trial(plan)


def check_disk(folder: Path) -> None:
    """Raise SlmbenchError where a run would fill the disk."""
    free = memory.free_disk(folder)
    if free < DISK_BYTES:
        raise SlmbenchError(f"{folder}: {free / 2**20:.0f} MiB free, a run needs {DISK_BYTES / 2**20:.0f}; free some.")
    say(f"disk      {free / 2**30:.1f} GiB free")


def histogram(lengths: Sequence[int], bins: int = 8) -> str:
    """The lengths in tokens as bars of text."""
    top = max(lengths)
    width = max(1, math.ceil((top + 1) / bins))
    counts = [sum(i * width <= n < (i + 1) * width for n in lengths) for i in range(bins)]
    rows = [
        f"          {i * width:5}-{(i + 1) * width - 1:<5} {'#' * math.ceil(40 * count / max(counts))} {count}"
        for i, count in enumerate(counts)
    ]
    return "\n".join(
        [f"lengths   tokens a training example, mean {sum(lengths) / len(lengths):.0f}, longest {top}", *rows]
    )


def shown_example(row: Encoded, tokenizer: Any) -> str:
    """One example as the model sees it, the part under the loss apart."""
    if row.ids[-1] != tokenizer.eos_token_id:
        raise SlmbenchError(f"{row.id}: the last label is not EOS; the model would never learn to stop.")
    prompt, completion = (
        tokenizer.decode(part) for part in (row.ids[: row.prompt_tokens], row.ids[row.prompt_tokens :])
    )
    indented = "\n".join(f"          | {line}" for line in prompt.splitlines())
    head = f"example   {row.id}: {row.prompt_tokens} tokens without loss"
    return f"{head}\n{indented}\n          under the loss:\n          | {completion}"


def foretell(plan: Plan) -> Forecast:
    """Memory and time of the run, printed. Raises SlmbenchError where it does not fit what is free or allowed."""
    told = forecast(plan, limit=allowed(plan))
    for i, line in enumerate(table(told).splitlines()):
        say(f"{'' if i else 'plan':10}{line}")
    check_fit(told, ("training", "evaluation") if plan.recipe.trains else ("evaluation",))
    return told


def trial(plan: Plan) -> None:
    """Three updates on eight short examples, saved, reloaded, and generating the same tokens as before."""
    from slmbench.backends.hf import HfBackend
    from slmbench.train import Trainer, attach_adapter

    rows = sorted(plan.train.encoded, key=lambda row: len(row.ids))[:TRIAL_EXAMPLES]
    settings = replace(plan.recipe.train, epochs=TRIAL_UPDATES, update_examples=TRIAL_EXAMPLES)
    device, dtype = memory.best_device(), memory.precision(plan.recipe.train.precision)
    asked = [replace(request(row, plan.recipe.evaluate), max_new_tokens=16) for row in rows[:2]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = attach_adapter(models.load_model(plan.base, dtype, device), plan.recipe)
        trainer = Trainer(
            replace(plan.recipe, train=settings), model, rows, [], plan.tokenizer.pad_token_id, folder, {}
        )
        figures = trainer.run()
        check_gradients(trainer)
        models.save_adapter(model, folder / "adapter", plan.base)
        before = answers(HfBackend(model.merge_and_unload(), plan.tokenizer), asked)
        del model, trainer
        fresh = models.load_adapter(models.load_model(plan.base, dtype, device), folder / "adapter", plan.base)
        after = answers(HfBackend(fresh.merge_and_unload(), plan.tokenizer), asked)
        del fresh
    gc.collect()
    if before != after:
        raise SlmbenchError("the saved adapter does not answer as the trained one did; report this with plan.json.")
    losses = f"{figures['first_loss']:.3f} -> {figures['final_loss']:.3f}"
    say(f"trial     {TRIAL_UPDATES} updates, loss {losses}, {figures['tokens_per_s']:.0f} tokens/s")
    say("          every adapter matrix moved; saved and reloaded, it gives the same answers")


def check_gradients(trainer: Trainer) -> None:
    """Every adapter matrix must have had a gradient: AdamW's first moment says so after the updates."""
    moments = trainer.optimizer.state[trainer.flat]["exp_avg"].split([p.numel() for p in trainer.parameters.values()])
    still = [name for name, moment in zip(trainer.parameters, moments, strict=True) if not bool(moment.any())]
    if still:
        raise BadInput(f"adapter.targets: {still[0]} and {len(still) - 1} more matrices received no gradient.")


def answers(backend: Any, asked: Sequence[Request]) -> dict[str, tuple[int, ...]]:
    """Token ids by request."""
    return {completion.id: completion.token_ids for completion in backend.generate(asked)}
