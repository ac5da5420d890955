"""The three operations in which training spends its time, each beside the plain twin that tests hold it to.

`CompletionLoss` never keeps logits, `LoraLinear` keeps only its input and r values a token, `causal_attention` is plain
matrix products where a CPU's fused attention is slower than they are. `fast` puts the last two into a model.
"""

from __future__ import annotations

import os
from typing import Any

import torch

# oneDNN keeps a compiled kernel, with its buffers, for each of the last 1,024 shapes: half a GiB by the end of a run,
# for shapes that mostly never return. It reads this when it compiles the first.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

CHUNK_ROWS = 256
"""Rows of logits alive at once: 256 x 49,152 fp32 = 48 MiB, small beside the activations."""
ATTENTION = "slmbench_causal"
LONGEST_PRODUCT = 1024
"""Positions up to which attention is matrix products: their scores are kept for the backward pass, 18 MiB a layer."""


class CompletionLoss(torch.autograd.Function):
    """Summed cross-entropy of `hidden @ weight.T`, its gradient computed while the logits are at hand.

    The output weight is frozen, so the only gradient is that of `hidden`, and no logits survive the forward pass:
    memory is one chunk of rows instead of all (the idea of Liger and cut-cross-entropy, arXiv:2411.09009). The plain
    twin is `plain_loss`.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """hidden [rows, width], weight [vocabulary, width], labels [rows] -> scalar, summed over rows, fp32."""
        gradient = torch.empty_like(hidden)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, len(labels), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            picked = labels[part].unsqueeze(-1)
            probabilities = torch.log_softmax(hidden[part] @ weight.T, -1, dtype=torch.float32)
            total -= probabilities.gather(-1, picked).sum()
            if ctx.needs_input_grad[0]:
                probabilities.exp_().scatter_add_(-1, picked, torch.full_like(picked, -1, dtype=torch.float32))
                gradient[part] = probabilities.to(weight.dtype) @ weight
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """The gradient of `hidden`."""
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0], None, None


def plain_loss(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The reference of `CompletionLoss`: all logits at once, torch's own cross-entropy, summed over rows."""
    return torch.nn.functional.cross_entropy((hidden @ weight.T).float(), labels, reduction="sum")


class LoraLinear(torch.autograd.Function):
    """`x W' + b + scale (x A') B'` with frozen W and b, in the precision of x; A and B keep theirs (fp32 masters).

    The plain twin is peft's layer, which casts each operand to and fro and keeps the casts for its backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, a: torch.Tensor, b: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:  # fmt: skip
        """x [..., in], weight [out, in], bias [out] or None, a [r, in], b [out, r] -> [..., out]."""
        rows = x.reshape(-1, x.shape[-1])
        inner = rows @ a.to(x.dtype).T
        out = torch.addmm(bias, rows, weight.T) if bias is not None else rows @ weight.T
        out.addmm_(inner, b.to(x.dtype).T, alpha=scale)
        ctx.save_for_backward(rows, weight, a, b, inner)
        ctx.scale = scale
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients of x, a and b."""
        rows, weight, a, b, inner = ctx.saved_tensors
        (gradient,) = upstream
        shape = gradient.shape[:-1]
        gradient = gradient.reshape(-1, gradient.shape[-1])
        down = gradient @ b.to(gradient.dtype)
        of_b = (gradient.T @ inner).to(b.dtype).mul_(ctx.scale)
        of_a = (down.T @ rows).to(a.dtype).mul_(ctx.scale)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (gradient @ weight).addmm_(down, a.to(gradient.dtype), alpha=ctx.scale).view(*shape, -1)
        return of_x, None, None, of_a, of_b, None


def causal_attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor | None, scaling: float | None = None, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Causal attention without a mask, over rows padded on the right.

    query [rows, heads, positions, width], key and value [rows, kv_heads, positions, width] give
    [rows, positions, heads, width]. The plain twin is torch's scaled_dot_product_attention, which is also what runs
    on a GPU and beyond LONGEST_PRODUCT positions. `scaling` defaults to width ** -0.5.
    """
    rows, heads, positions, width = query.shape
    shared = key.shape[1]
    if query.device.type != "cpu" or positions > LONGEST_PRODUCT:
        attend = torch.nn.functional.scaled_dot_product_attention
        out = attend(query, key, value, is_causal=True, scale=scaling, enable_gqa=heads != shared)
        return out.transpose(1, 2), None
    # The heads that share a key head become that key head's queries: no key is repeated.
    scaled = query * (width**-0.5 if scaling is None else scaling)
    scores = scaled.reshape(rows * shared, -1, width) @ key.reshape(rows * shared, positions, width).transpose(1, 2)
    future = torch.full((positions, positions), float("-inf"), dtype=query.dtype).triu_(1)
    scores = scores.view(rows * shared, -1, positions, positions) + future
    weights = scores.softmax(-1).view(rows * shared, -1, positions)
    out = weights @ value.reshape(rows * shared, positions, width)
    return out.view(rows, heads, positions, width).transpose(1, 2), None


def fast(model: Any) -> Any:
    """Put `LoraLinear` and `causal_attention` into a PEFT model, in place; its state and its saving stay peft's.

    Layers with dropout keep peft's own forward pass.
    """
    from peft.tuners.lora import Linear
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, causal_attention)
    model.get_base_model().set_attn_implementation(ATTENTION)
    for layer in model.modules():
        if isinstance(layer, Linear) and isinstance(layer.lora_dropout["default"], torch.nn.Identity):
            layer.forward = _forward(layer)
    return model


def _forward(layer: Any) -> Any:
    base, scale = layer.get_base_layer(), layer.scaling["default"]

    def forward(x: torch.Tensor) -> torch.Tensor:
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        out: torch.Tensor = LoraLinear.apply(x, base.weight, base.bias, a, b, scale)  # type: ignore[no-untyped-call]
        return out

    return forward
