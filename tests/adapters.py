"""The adapter's gradients, for tests of what computes them."""

from __future__ import annotations

from typing import Any

import torch


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


def clear(model: Any) -> None:
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad.zero_()
