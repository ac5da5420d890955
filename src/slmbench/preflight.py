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
from slmbench.core import BadInput, Request, SlmbenchError
from slmbench.evaluate import request
from slmbench.files import json_text, read_json
from slmbench.progress import say
from slmbench.template import Encoded
from slmbench.weights import ANEW

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
    data, own = plan.recipe.data, plan.task.splits()
    files = [source for source in data.train if source.partition(":")[0] not in own]
    for source in (*files, *(test.split for test in data.tests if test.split not in own)):
        against = [Path(file) for file in files] if source not in files else []
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
        foretold = predict(plan)
        plan.run.write("preflight.json", json_text(foretold))
        for process in memory.gpu_processes():
            say(f"gpu       process {process['pid']} ({process['name']}) holds {process['memory_mib']} MiB")
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


def predict(plan: Plan) -> dict[str, Any]:
    """Memory and time foretold from the model's shape and a second of measuring; printed, and returned for the run."""
    from slmbench.padded import micro_batches
    from slmbench.train import precision

    config = read_json(plan.base.folder / "config.json", ANEW)
    shape = memory.shape_of(config, plan.base.parameters)
    device = memory.best_device()
    dtype = precision(plan.recipe)
    rows = plan.train.encoded
    groups = micro_batches(rows, plan.recipe.train.micro_tokens)
    widest = max(groups, key=lambda g: len(g) * max(len(r.ids) for r in g))
    need = memory.predict_training(
        shape,
        tokens=len(widest) * max(len(r.ids) for r in widest),
        completion_tokens=256,  # the loss works on so many rows of logits at a time
        dtype=dtype,
        adapter_parameters=adapter_parameters(shape, plan.recipe.adapter.r),
    )
    speed = memory.calibrate(dtype, device)
    tokens = sum(len(row.ids) for row in rows) * plan.recipe.train.epochs
    training = memory.predict_training_seconds(shape, speed, tokens=tokens)
    evaluation = 0.0
    for name, split in plan.tests.items():
        asked = [request(row, plan.recipe.evaluate) for row in split.encoded]
        prompts = sum(len(r.prompt_ids) for r in asked)
        gold = sum(row.completion_tokens for row in split.encoded)
        written = gold + (sum(r.max_new_tokens for r in asked) if plan.test(name).base else 0)
        evaluation += memory.predict_evaluation_seconds(
            shape, speed, prompt_tokens=prompts * (1 + plan.test(name).base), new_tokens=written, batch=16, dtype="fp32"
        )
    free = memory.free_memory()
    say(f"memory    {need['total'] / 2**30:.1f} GiB foretold for training in {dtype}, {free / 2**30:.1f} GiB free")
    say(f"time      {training / 60:.0f} min foretold for training, {evaluation / 60:.0f} min for evaluation")
    if device == "cpu" and need["total"] > free:
        raise SlmbenchError(
            f"training needs about {need['total'] / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free;"
            f" lower train.micro_tokens (now {plan.recipe.train.micro_tokens}) or end other programs."
        )
    return {"memory_bytes": need, "training_seconds": round(training, 1), "evaluation_seconds": round(evaluation, 1)}


def adapter_parameters(shape: memory.Shape, r: int) -> int:
    """LoRA parameters on all seven projections of a Llama-shaped model."""
    kv = shape.hidden * shape.kv_heads // shape.heads
    sides = (2 * shape.hidden) * 2 + (shape.hidden + kv) * 2 + (shape.hidden + shape.intermediate) * 3
    return shape.layers * sides * r


def trial(plan: Plan) -> None:
    """Three updates on eight short examples, saved, reloaded, and generating the same tokens as before."""
    from slmbench.backends.hf import HfBackend
    from slmbench.train import Trainer, attach_adapter, precision

    rows = sorted(plan.train.encoded, key=lambda row: len(row.ids))[:TRIAL_EXAMPLES]
    settings = replace(plan.recipe.train, epochs=TRIAL_UPDATES, update_examples=TRIAL_EXAMPLES)
    device, dtype = memory.best_device(), precision(plan.recipe)
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
        raise SlmbenchError(
            "the saved adapter does not answer as the trained one did; report this with preflight.json."
        )
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
