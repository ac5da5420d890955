"""The LoRA training loop, in the open: sorted inside each update, cut by a token budget, loss on completions only.

An update always holds the same examples whatever the memory: `update_examples` of them in a seeded order, sorted by
length, cut into micro-batches of at most `micro_tokens` padded tokens. Rows are padded on the right and no attention
mask is passed: under causal attention no real token ever looks at padding, and the attention keeps its fast path.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from slmbench.config import Recipe
from slmbench.core import BadInput, SlmbenchError
from slmbench.files import Appender, read_jsonl_tolerant, write_atomic
from slmbench.kernels import CompletionLoss, fast
from slmbench.memory import Precision, best_dtype, peak_rss_gib
from slmbench.progress import progress
from slmbench.runs import check_stop, stopping
from slmbench.template import Encoded

WIDTH_STEP = 16
"""Padded widths are multiples of this: few shapes, so that the libraries below keep few buffers and kernels."""


@dataclass(frozen=True)
class Batch:
    """Right-padded rows. `picks` are the flat positions whose next token is a label; `labels` those tokens."""

    ids: torch.Tensor
    picks: torch.Tensor
    labels: torch.Tensor
    tokens: int


def collate(rows: Sequence[Encoded], pad: int, device: torch.device | str = "cpu") -> Batch:
    """Rows -> ids [rows, longest], picks [labels], labels [labels]; each row's last label is its EOS."""
    width = padded(max(len(row.ids) for row in rows))
    ids = torch.tensor([[*row.ids, *[pad] * (width - len(row.ids))] for row in rows])
    picks = [
        i * width + position
        for i, row in enumerate(rows)
        for position in range(row.prompt_tokens - 1, len(row.ids) - 1)
    ]
    labels = [token for row in rows for token in row.ids[row.prompt_tokens :]]
    tokens = sum(len(row.ids) for row in rows)
    return Batch(ids.to(device), torch.tensor(picks).to(device), torch.tensor(labels).to(device), tokens)


def padded(length: int) -> int:
    """The width to which a row of so many tokens is padded."""
    return -(-length // WIDTH_STEP) * WIDTH_STEP


def micro_batches(rows: Sequence[Encoded], micro_tokens: int) -> list[list[Encoded]]:
    """Sorted by length and cut so that rows x longest stays within the budget; a row alone may exceed it."""
    batches: list[list[Encoded]] = []
    for row in sorted(rows, key=lambda r: (len(r.ids), r.id)):
        if batches and (len(batches[-1]) + 1) * padded(len(row.ids)) <= micro_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def updates_of_epoch(rows: Sequence[Encoded], epoch: int, seed: int, update_examples: int) -> list[list[Encoded]]:
    """The epoch's updates: a seeded order, cut every `update_examples`; the last may be smaller."""
    order = list(rows)
    random.Random(f"{seed}:{epoch}").shuffle(order)
    return [order[i : i + update_examples] for i in range(0, len(order), update_examples)]


def learning_rate(update: int, updates: int, peak: float, warmup: float) -> float:
    """Linear warm-up over the share `warmup`, then half a cosine down to zero; `update` counts from 0."""
    rising = max(1, round(updates * warmup))
    if update < rising:
        return peak * (update + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (update - rising) / max(1, updates - rising)))


def attach_adapter(model: Any, recipe: Recipe) -> Any:
    """Wrap a base model with a fresh, seeded LoRA adapter as the recipe says; only the adapter trains."""
    from peft import LoraConfig, get_peft_model

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


def batch_loss(model: Any, batch: Batch, loss: Callable[..., torch.Tensor] = CompletionLoss.apply) -> torch.Tensor:
    """Summed loss over the batch's labels. Only the completion rows reach the output matrix."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    hidden = base.get_decoder()(input_ids=batch.ids, use_cache=False).last_hidden_state
    rows = hidden.reshape(-1, hidden.shape[-1])[batch.picks]
    weight = base.get_output_embeddings().weight
    return loss(rows.to(weight.dtype), weight, batch.labels)


def check_output_layer(model: Any) -> None:
    """Refuse models that change their logits after the output matrix: the loss here would not be theirs."""
    config = model.config
    scale = getattr(config, "logits_scaling", None) or getattr(config, "logit_scale", None) or 1
    if getattr(config, "final_logit_softcapping", None) or scale != 1:
        raise BadInput(f"base {config.model_type} caps or scales its logits, which training here does not do.")
    if getattr(model.get_output_embeddings(), "bias", None) is not None:
        raise BadInput(f"base {config.model_type} has a bias on its output layer, which training here does not do.")


def validation_loss(model: Any, rows: Sequence[Encoded], pad: int, micro_tokens: int) -> float:
    """Mean loss a completion token, without keeping logits."""
    device = next(model.parameters()).device
    model.eval()
    total, labels = 0.0, 0
    with torch.no_grad(), progress("validation", len(rows), "rows") as advance:
        for group in micro_batches(rows, micro_tokens):
            batch = collate(group, pad, device)
            total += float(batch_loss(model, batch))
            labels += len(batch.labels)
            advance(len(group), "")
    model.train()
    return total / labels


class Trainer:
    """One training run in `folder`: it goes on from the last checkpoint there, bit for bit.

    Args:
        model: a PEFT model in training precision.
        rows, validation: encoded examples.
        pad: token id that fills short rows; never the EOS.
        identity: hash of recipe, data and base; a checkpoint of another identity is refused.
    """

    def __init__(
        self, recipe: Recipe, model: Any, rows: Sequence[Encoded], validation: Sequence[Encoded], pad: int,
        folder: Path, identity: str,
    ) -> None:  # fmt: skip
        from accelerate import Accelerator

        check_output_layer(model.get_base_model())
        fast(model)
        self.recipe, self.rows, self.validation, self.pad = recipe, rows, validation, pad
        self.folder, self.identity = folder, identity
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available())
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        optimizer = torch.optim.AdamW(
            self.parameters.values(), lr=recipe.train.learning_rate, weight_decay=recipe.train.weight_decay
        )
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.updates = math.ceil(len(rows) / recipe.train.update_examples) * recipe.train.epochs
        self.done = 0
        self.tokens = 0
        self.seconds = 0.0

    def schedule(self) -> Iterator[tuple[int, list[Encoded], bool]]:
        """(epoch, examples, last of the epoch) of every update, from the first."""
        for epoch in range(self.recipe.train.epochs):
            updates = updates_of_epoch(self.rows, epoch, self.recipe.seed, self.recipe.train.update_examples)
            for i, examples in enumerate(updates):
                yield epoch, examples, i == len(updates) - 1

    def run(self) -> dict[str, Any]:
        """Train to the end and return the figures of the run; history and checkpoints are in `folder`."""
        self.restore()
        saved, started = time.monotonic(), time.monotonic() - self.seconds
        total = sum(len(row.ids) for row in self.rows) * self.recipe.train.epochs
        self.model.train()
        with (
            Appender(self.folder / "history.jsonl") as history,
            progress("train", total, "tokens", self.tokens) as advance,
        ):
            for update, (epoch, examples, last) in enumerate(self.schedule()):
                if update < self.done:
                    continue
                row = {"update": update + 1, "epoch": epoch + 1, **self.update(examples, update)}
                self.done = update + 1
                self.seconds = time.monotonic() - started
                row |= {
                    "tokens": self.tokens,
                    "seconds": round(self.seconds, 3),
                    "tokens_per_s": round(self.tokens / self.seconds, 1),
                    "memory_gib": round(peak_rss_gib(), 3),
                }
                history.append(row)
                note = f"update {self.done}/{self.updates} loss {row['loss']:.4f} {row['tokens_per_s']:.0f} tokens/s"
                advance(sum(len(e.ids) for e in examples), f"{note} {row['memory_gib']:.1f} GiB")
                if last and self.validation:
                    value = validation_loss(self.model, self.validation, self.pad, self.recipe.train.micro_tokens)
                    history.append({"update": self.done, "epoch": epoch + 1, "validation_loss": round(value, 6)})
                    self.seconds = time.monotonic() - started
                if time.monotonic() - saved > self.recipe.train.checkpoint_seconds or last or stopping.is_set():
                    self.save()
                    saved = time.monotonic()
                    check_stop()
        return self.figures()

    def update(self, examples: Sequence[Encoded], update: int) -> dict[str, float]:
        """One optimizer step over `examples`; the loss is the mean over the update's completion tokens."""
        settings = self.recipe.train
        torch.manual_seed(self.recipe.seed * 1_000_003 + update)  # dropout, if any, is a function of the update
        labels = sum(row.completion_tokens for row in examples)
        total = 0.0
        for group in micro_batches(examples, settings.micro_tokens):
            batch = collate(group, self.pad, self.accelerator.device)
            loss = batch_loss(self.model, batch) / labels
            self.accelerator.backward(loss)
            total += float(loss.detach())
            self.tokens += batch.tokens
        if not math.isfinite(total):
            raise SlmbenchError(f"update {update + 1}: the loss is {total}; lower train.learning_rate and run again.")
        norm = torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), settings.max_grad_norm)
        rate = learning_rate(update, self.updates, settings.learning_rate, settings.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return {"loss": round(total, 6), "lr": rate, "grad_norm": round(float(norm), 4)}

    def figures(self) -> dict[str, Any]:
        """What the training came to, from its own history."""
        history = read_jsonl_tolerant(self.folder / "history.jsonl")
        losses = [row["loss"] for row in history if "loss" in row]
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
            "trainable_parameters": sum(p.numel() for p in self.parameters.values()),
            "precision": precision(self.recipe),
            "device": str(self.accelerator.device),
            "peak_memory_gib": round(peak_rss_gib(), 3),
            "peak_gpu_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 3)
            if torch.cuda.is_available()
            else None,
        }

    def save(self) -> None:
        """Write the whole state as one safetensors file: it is there entirely, or the one before it is."""
        from safetensors.torch import save

        tensors = {f"parameter/{n}": p.detach().contiguous() for n, p in self.parameters.items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer/{key}/{name}"] = torch.as_tensor(value).contiguous()
        position = {"done": self.done, "tokens": self.tokens, "seconds": self.seconds, "identity": self.identity}
        write_atomic(self.folder / "checkpoint.safetensors", save(tensors, {"position": json.dumps(position)}))

    def restore(self) -> None:
        """Go back to the last checkpoint, if there is one; history after it is dropped, to be written again."""
        from safetensors import SafetensorError, safe_open

        path = self.folder / "checkpoint.safetensors"
        if not path.exists():
            (self.folder / "history.jsonl").unlink(missing_ok=True)
            return
        try:
            with safe_open(path, framework="pt", device=str(self.accelerator.device)) as file:
                position = json.loads((file.metadata() or {})["position"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
        except (SafetensorError, KeyError, ValueError) as error:
            raise BadInput(f"{path}: not a checkpoint of this program ({error}); delete it to train anew.") from None
        if position["identity"] != self.identity:
            raise BadInput(f"{path}: belongs to another recipe, data or base; use another name or delete the folder.")
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(tensors[f"parameter/{name}"])
                self.optimizer.state[parameter] = {
                    key: tensors[f"optimizer/{key}/{name}"]
                    for key in ("step", "exp_avg", "exp_avg_sq")
                    if f"optimizer/{key}/{name}" in tensors
                }
        self.done, self.tokens, self.seconds = position["done"], position["tokens"], position["seconds"]
        history = [row for row in read_jsonl_tolerant(self.folder / "history.jsonl") if row["update"] <= self.done]
        write_atomic(self.folder / "history.jsonl", "".join(json.dumps(row) + "\n" for row in history))


def precision(recipe: Recipe) -> Precision:
    """`fp32` or `bf16`: what the recipe asks, and under `auto` what this machine is fast at."""
    return best_dtype() if recipe.train.precision == "auto" else recipe.train.precision
