"""The loss and gradients of any model by autograd, on any device: rows padded on the right, sorted by length.

No attention mask is passed: under causal attention no real token ever looks at padding, and the attention keeps its
fast path. On a CPU, models of Llama's shape have a faster way (`llama.py`), which tests hold to this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from slmbench.core import BadInput
from slmbench.kernels import CompletionLoss, fast
from slmbench.memory import give_back
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


class PaddedStep:
    """The loss and the adapter's gradients of a PEFT model, by autograd.

    `recompute` keeps a layer's input only and computes the layer again in the backward pass: less memory, a third more
    time.
    """

    name = "autograd"

    def __init__(self, model: Any, pad: int) -> None:
        check_output_layer(model.get_base_model())
        # Dropout, and computing layers again, are for a model in training mode only; it is loaded in the other.
        self.model, self.pad = fast(model).train(), pad
        self.device = next(model.parameters()).device
        self.recompute = False

    def groups(self, rows: Sequence[Encoded], budget: int) -> list[list[Encoded]]:
        """Rows cut into passes of at most `budget` padded tokens."""
        return micro_batches(rows, budget)

    alike = groups
    """Where no order is wanted, the same: rows of like length have least padding."""

    def loss_and_gradients(self, rows: Sequence[Encoded], scale: float) -> float:
        """Summed loss over the rows' labels; adds `scale` times its gradients to the adapter's `.grad`."""
        batch = collate(rows, self.pad, self.device)
        base = self.model.get_base_model()
        if self.recompute and not base.is_activation_checkpointing:
            base.activation_checkpointing_enable()
        loss = batch_loss(self.model, batch)
        torch.autograd.backward(loss * scale)
        return float(loss.detach())

    @torch.no_grad()
    def loss(self, rows: Sequence[Encoded]) -> float:
        """Summed loss over the rows' labels, without gradients or dropout."""
        self.model.eval()
        value = float(batch_loss(self.model, collate(rows, self.pad, self.device)))
        self.model.train()
        return value

    def refresh(self) -> None:
        """Nothing is derived from the adapter's values here."""

    def release(self) -> None:
        """Give memory back after it ran out."""
        give_back()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
