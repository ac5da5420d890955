"""The LoRA training loop, in the open: the same examples in every update, cut into passes that fit the memory.

An update always holds the same examples whatever the memory and however many processes share it: `update_examples` of
them in a seeded order. What does a pass is a step: by hand on a CPU (`llama.py`), else by autograd (`padded.py`).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from slmbench import checkpoint
from slmbench.config import Recipe, Training
from slmbench.core import BadInput, SlmbenchError
from slmbench.files import Appender, read_jsonl_tolerant, write_atomic
from slmbench.llama import LlamaStep, unsupported
from slmbench.memory import GIB, has_room, machine, machine_words, out_of_memory, peak_rss_gib, precision
from slmbench.padded import PaddedStep
from slmbench.progress import progress, say
from slmbench.runs import check_stop, stopping
from slmbench.template import Encoded
from slmbench.trackers import Trackers

SPARE = 32 * 2**20
"""Bytes beside what is written, for everything else that a save allocates."""


def updates_of_epoch(rows: Sequence[Encoded], epoch: int, seed: int, settings: Training) -> list[list[Encoded]]:
    """The epoch's updates: a seeded order, cut every `update_examples`; the last may be smaller.

    Up to `together` rows whose prompts write the same schema follow each other; else the order is as random, or where
    it is `stratified` as even as can be.
    """
    order, chance = list(rows), random.Random(f"{seed}:{epoch}")
    chance.shuffle(order)
    if settings.together > 1 or settings.stratified:
        alike: dict[str, list[Encoded]] = {}
        for row in order:
            alike.setdefault(row.schema, []).append(row)
        runs = [
            part[i : i + settings.together] for part in alike.values() for i in range(0, len(part), settings.together)
        ]
        chance.shuffle(runs)
        if settings.stratified:
            runs = dealt(runs, math.ceil(len(order) / settings.update_examples), chance)
        order = [row for run in runs for row in run]
    return [order[i : i + settings.update_examples] for i in range(0, len(order), settings.update_examples)]


def dealt(runs: Sequence[list[Encoded]], hands: int, chance: random.Random) -> list[list[Encoded]]:
    """Runs of one schema each, dealt out in the order of their schemas and taken up hand by hand, in a random order.

    Schemas of one task begin alike, so that a hand, about an update, has its share of every task too.
    """
    stacked = sorted(runs, key=lambda run: run[0].schema)
    held = [stacked[i::hands] for i in range(hands)]
    chance.shuffle(held)
    return [run for hand in held for run in hand]


def learning_rate(update: int, updates: int, peak: float, warmup: float) -> float:
    """Linear warm-up over the share `warmup`, then half a cosine down to zero; `update` counts from 0."""
    rising = max(1, round(updates * warmup))
    if update < rising:
        return peak * (update + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (update - rising) / max(1, updates - rising)))


def attach_adapter(model: Any, recipe: Recipe) -> Any:
    """Wrap a base model with a fresh, seeded LoRA adapter as the recipe says; only the adapter trains."""
    from peft import LoraConfig, get_peft_model

    if outer := {"lm_head", "embed_tokens"} & set(recipe.adapter.targets):
        raise BadInput(f"adapter.targets: {min(outer)} cannot be trained here; name projections of the layers.")
    torch.manual_seed(recipe.seed)
    settings = LoraConfig(
        r=recipe.adapter.r,
        lora_alpha=recipe.adapter.alpha,
        lora_dropout=recipe.adapter.dropout,
        target_modules=list(recipe.adapter.targets),
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, settings)
    except ValueError as error:
        raise BadInput(f"adapter.targets {list(recipe.adapter.targets)} do not fit this base: {error}") from None


def flatten(parameters: Sequence[torch.nn.Parameter]) -> torch.nn.Parameter:
    """One parameter that holds all of these, which become views of it, gradients too: one optimizer step, one norm."""
    flat = torch.nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    flat.grad = torch.zeros_like(flat)
    at = 0
    for parameter in parameters:
        place = slice(at, at + parameter.numel())
        parameter.data = flat.data[place].view(parameter.shape)
        parameter.grad = flat.grad[place].view(parameter.shape)
        at = place.stop
    return flat


def step_of(model: Any, pad: int) -> LlamaStep | PaddedStep:
    """What computes the loss and gradients of a PEFT model: by hand where that is possible."""
    return PaddedStep(model, pad) if unsupported(model) else LlamaStep(model)


def validation_loss(step: LlamaStep | PaddedStep, rows: Sequence[Encoded], budget: int) -> float:
    """Mean loss a completion token, without keeping logits."""
    total = 0.0
    with progress("validation", len(rows), "rows") as advance:
        for group in step.alike(rows, budget):
            total += step.loss(group)
            advance(len(group), "")
    return total / sum(row.completion_tokens for row in rows)


class Trainer:
    """One training run in `folder`: it goes on from the last checkpoint there, bit for bit.

    Under `accelerate launch` every process takes its share of each update's examples, and the sum of their gradients is
    what one process would have had, to rounding. The first process alone writes.

    Args:
        model: a PEFT model in training precision.
        rows, validation: encoded examples.
        pad: token id that fills short rows; never the EOS.
        made_of: what decides the result, with hashes of data and base; a checkpoint of anything else is refused.
        on_best: called after a validation that is the best so far.
        trackers: where updates are shown.
    """

    def __init__(
        self, recipe: Recipe, model: Any, rows: Sequence[Encoded], validation: Sequence[Encoded], pad: int,
        folder: Path, made_of: Mapping[str, Any], on_best: Callable[[], None] | None = None,
        trackers: Trackers | None = None,
    ) -> None:  # fmt: skip
        from accelerate import Accelerator

        self.recipe, self.rows, self.validation, self.folder = recipe, rows, validation, folder
        self.made_of, self.on_best, self.trackers = made_of, on_best, trackers
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.flat = flatten(list(self.parameters.values()))
        self.gradient: torch.Tensor = self.flat.grad  # type: ignore[assignment]
        self.step = step_of(model, pad)
        self.optimizer = torch.optim.AdamW(
            [self.flat], lr=recipe.train.learning_rate, weight_decay=recipe.train.weight_decay, fused=True
        )
        self.updates = math.ceil(len(rows) / recipe.train.update_examples) * recipe.train.epochs
        self.budget = recipe.train.micro_tokens
        self.done = self.tokens = 0
        self.seconds = 0.0
        self.best: float | None = None

    def schedule(self) -> Iterator[tuple[int, list[Encoded], bool]]:
        """(epoch, examples, last of the epoch) of every update, from the first."""
        for epoch in range(self.recipe.train.epochs):
            updates = updates_of_epoch(self.rows, epoch, self.recipe.seed, self.recipe.train)
            for i, examples in enumerate(updates):
                yield epoch, examples, i == len(updates) - 1

    def run(self) -> dict[str, Any]:
        """Train to the end and return the figures of the run; history and checkpoints are in `folder`."""
        self.restore()
        saved, started = time.monotonic(), time.monotonic() - self.seconds
        total = sum(len(row.ids) for row in self.rows) * self.recipe.train.epochs
        with self._history() as record, progress("train", total, "tokens", self.tokens) as advance:
            for update, (epoch, examples, last) in enumerate(self.schedule()):
                if update < self.done:
                    continue
                row = {"update": update + 1, "epoch": epoch + 1, **self.update(examples, update)}
                self.done, self.seconds = update + 1, time.monotonic() - started
                rate = self.tokens / self.seconds
                row |= {"tokens": self.tokens, "seconds": round(self.seconds, 3), "tokens_per_s": round(rate, 1)}
                row["memory_gib"] = round(peak_rss_gib(), 3)
                record(row)
                note = f"update {self.done}/{self.updates} loss {row['loss']:.4f} {rate:.0f} tokens/s"
                advance(sum(len(e.ids) for e in examples), f"{note} {row['memory_gib']:.1f} GiB")
                if last and self.validation:
                    self.validate(epoch, record)
                    self.seconds = time.monotonic() - started
                if time.monotonic() - saved > self.recipe.train.checkpoint_seconds or last or stopping.is_set():
                    self.save()
                    saved = time.monotonic()
                    check_stop()
        self.step.release()
        return self.figures()

    def validate(self, epoch: int, record: Callable[[dict[str, Any]], None]) -> None:
        """Measure the validation loss, and tell where it is the best so far."""
        value = validation_loss(self.step, self.validation, self.budget)
        record({"update": self.done, "epoch": epoch + 1, "validation_loss": round(value, 6)})
        if self.best is None or value < self.best:
            self.best = value
            if self.on_best and self.accelerator.is_main_process:
                self.make_room()
                self.on_best()

    def update(self, examples: Sequence[Encoded], update: int) -> dict[str, float]:
        """One optimizer step over `examples`; the loss is the mean over the update's completion tokens."""
        settings = self.recipe.train
        labels = sum(row.completion_tokens for row in examples)
        own = sorted(examples, key=lambda r: (len(r.ids), r.id))[self.accelerator.process_index :: self._processes()]
        total = self._sum(self.passes(own, update, 1 / labels)) / labels
        if not math.isfinite(total):
            raise SlmbenchError(f"update {update + 1}: the loss is {total}; lower train.learning_rate and run again.")
        self.tokens += sum(len(row.ids) for row in examples)
        norm = torch.nn.utils.clip_grad_norm_([self.flat], settings.max_grad_norm)
        rate = learning_rate(update, self.updates, settings.learning_rate, settings.warmup)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        self.gradient.zero_()
        self.step.refresh()
        return {"loss": round(total, 6), "lr": rate, "grad_norm": round(float(norm), 4)}

    def passes(self, rows: Sequence[Encoded], update: int, scale: float) -> float:
        """Summed loss of rows, pass by pass, their gradients added up; after an out-of-memory error all of it again.

        The passes become half as large, then keep a layer's input only; the random state is that of the update, so what
        is computed stays the same. Raises SlmbenchError, with the numbers, where one row does not fit even so.
        """
        while True:
            torch.manual_seed(self.recipe.seed * 1_000_003 + update)  # dropout, if any, is a function of the update
            try:
                return sum(self.step.loss_and_gradients(g, scale) for g in self.step.groups(rows, self.budget))
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
            self.gradient.zero_()
            self.step.release()
            self.shrink(rows, update)

    def shrink(self, rows: Sequence[Encoded], update: int) -> None:
        """Make the passes of this and all later updates need less memory."""
        longest = max(len(row.ids) for row in rows)
        if self.budget > longest:
            self.budget = max(longest, min(self.budget, sum(len(row.ids) for row in rows)) // 2)
            say(f"train     out of memory at update {update + 1}: the same again, {self.budget} tokens a pass")
        elif not self.step.recompute:
            self.step.recompute = True
            say(f"train     out of memory at update {update + 1}: the same again, keeping only each layer's input")
        else:
            raise SlmbenchError(
                f"update {update + 1}: one row of {longest} tokens does not fit in memory, {peak_rss_gib():.1f} GiB are"
                f" in use; lower data.max_tokens with data.over_long: skip, or allow more memory."
            )

    def figures(self) -> dict[str, Any]:
        """What the training came to, from its own history."""
        history = read_jsonl_tolerant(self.folder / "history.jsonl")
        losses = [row["loss"] for row in history if "loss" in row]
        gpu = torch.cuda.max_memory_allocated() / GIB if torch.cuda.is_available() else None
        return {
            "updates": self.done,
            "epochs": self.recipe.train.epochs,
            "examples": len(self.rows),
            "tokens": self.tokens,
            "seconds": round(self.seconds, 2),
            "tokens_per_s": round(self.tokens / self.seconds, 1),
            "samples_per_s": round(len(self.rows) * self.recipe.train.epochs / self.seconds, 3),
            "first_loss": losses[0],
            "final_loss": losses[-1],
            "validation_losses": [row["validation_loss"] for row in history if "validation_loss" in row],
            "trainable_parameters": self.flat.numel(),
            "precision": precision(self.recipe.train.precision),
            "device": str(self.accelerator.device),
            "machine": machine_words(machine()),  # a run may go on elsewhere: where it was trained stands here
            "processes": self._processes(),
            "gradients": self.step.name,
            "pass_tokens": self.budget,
            "peak_memory_gib": round(peak_rss_gib(), 3),
            "peak_gpu_memory_gib": None if gpu is None else round(gpu, 3),
        }

    def make_room(self) -> None:
        """Give the passes' buffers back where memory is too short for a save.

        What is saved is copied first, and safetensors ends the process where it cannot allocate.
        """
        if not has_room(6 * self.flat.nbytes + SPARE):
            self.step.release()

    def save(self) -> None:
        """Write the whole state: the first process does."""
        if not self.accelerator.is_main_process:
            return
        self.make_room()
        state = self.optimizer.state[self.flat]
        position: dict[str, Any] = {
            "done": self.done,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "best": self.best,
        }
        position |= {"budget": self.budget, "recompute": self.step.recompute, "made_of": self.made_of}
        checkpoint.save(self.folder, {"parameters": self.flat.detach(), **state}, position)

    def restore(self) -> None:
        """Go back to the last whole checkpoint, if there is one; history after it is dropped, to be written again."""
        found = checkpoint.load(self.folder, self.made_of)
        path = self.folder / "history.jsonl"
        history = read_jsonl_tolerant(path) if found else []
        if found:
            tensors, position = found
            with torch.no_grad():
                self.flat.copy_(tensors.pop("parameters"))
            # A fused step keeps its count beside its parameter.
            self.optimizer.state[self.flat] = {key: value.to(self.flat.device) for key, value in tensors.items()}
            self.done, self.tokens, self.seconds = position["done"], position["tokens"], position["seconds"]
            self.best = position["best"]
            # What memory had allowed, or what it allows now where that is less.
            self.budget = min(self.budget, position["budget"])
            self.step.recompute |= position["recompute"]
            self.step.refresh()
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            kept = [row for row in history if row["update"] <= self.done]
            write_atomic(path, "".join(json.dumps(row) + "\n" for row in kept))

    @contextlib.contextmanager
    def _history(self) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Yield what keeps a row of the history and shows it: the first process's, else nothing."""
        if not self.accelerator.is_main_process:
            yield lambda row: None
            return
        with Appender(self.folder / "history.jsonl") as history:

            def record(row: dict[str, Any]) -> None:
                history.append(row)
                if self.trackers:
                    self.trackers.log(row, self.done)

            yield record

    def _processes(self) -> int:
        return int(self.accelerator.num_processes)

    def _sum(self, loss: float) -> float:
        """The sum over all processes of a loss and of the gradients."""
        if self._processes() == 1:
            return loss
        told = torch.tensor([loss, float(stopping.is_set())], dtype=torch.float64, device=self.flat.device)
        torch.distributed.all_reduce(told)
        torch.distributed.all_reduce(self.gradient)
        if told[1] > 0:  # whoever was asked, all stop behind this update
            stopping.set()
        return float(told[0])


def own_device() -> str:
    """Where this process trains: under `accelerate launch` each has a GPU of its own, and the model belongs there."""
    from accelerate import PartialState

    return str(PartialState(cpu=not torch.cuda.is_available()).device)


def is_first_process() -> bool:
    """Whether this is the only process, or the first of several that train together (`accelerate launch`)."""
    return os.environ.get("RANK", "0") == "0"
