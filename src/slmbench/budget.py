"""What a training will need, before it starts: bytes by part, seconds, and the tokens a pass that fit a limit.

The bytes follow the buffers that `llama.py` really takes; what autograd keeps of a token (`padded.py`) is counted from
what its operations save. Constants were measured, and tests with real weights hold the sums to what runs then used.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slmbench.core import BadInput
from slmbench.memory import Precision

MIB = 2**20
# Python with torch, transformers and peft in use, before any weights: libraries, tokenizer, compiled kernels.
RUNTIME_BYTES = {"cpu": 560 * MIB, "cuda": 700 * MIB}
LOSS_ROWS = 256
"""Rows of logits alive at once in llama.py, about: parts of like size, up to half as many again."""
SOFTMAX_ROWS = 16
"""Rows of logits in fp32 at once: they stay in the processor's cache."""
EVEN = 32
"""Tokens of a pass and keys of a row's scores are multiples of it: a softmax over 287 keys takes twice as long as one
over 288, and products of 1,311 tokens are a tenth slower than those of 1,312."""
WHOLE_ROW = 384
"""Positions up to which a row's attention is one block, whose softmax is kept for the backward pass."""
ATTENTION_BLOCK = 256
"""Queries at a time in longer rows: a block never looks at the keys after it, and its softmax is computed again."""
# Bytes that autograd keeps of a token in a layer for each hidden value, intermediate value and rank, by precision and
# whether there is dropout: peft's own layers then keep an fp32 input and a mask for every projection.
KEPT_BYTES = {
    ("fp32", False): (27, 16, 29),
    ("fp32", True): (63, 20, 29),
    ("bf16", False): (18, 8, 15),
    ("bf16", True): (60, 14, 29),
}
# Scores alive at once within a layer's attention, beside those kept.
SCORES_ALIVE = 3
# Room that the allocator keeps between what autograd keeps, as a share of it; buffers by hand leave none.
AUTOGRAD_SLACK = {"cpu": 0.28, "cuda": 0.1}
SLACK = 0.05
# Share of training time that is matrix products: by hand, by autograd.
GEMM_SHARE = {True: 0.5, False: 0.36}
# Into how many parts measuring a machine's speed is cut, and how far they are apart.
PARTS = 5
PAUSE_SECONDS = 0.4
# Seconds of Python and kernel launches in one decoding step of one layer.
STEP_SECONDS_A_LAYER = 0.0004


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder-only model that memory and time depend on."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocab: int
    head: int
    """Values of a token in one head."""

    @property
    def q_width(self) -> int:
        """Values of a token's queries in one layer."""
        return self.head * self.heads

    @property
    def kv_width(self) -> int:
        """Values of a token's key, or of its value, in one layer."""
        return self.head * self.kv_heads

    @property
    def kv_values(self) -> int:
        """Values that one token leaves in the cache of all layers."""
        return 2 * self.layers * self.kv_width


@dataclass(frozen=True)
class Speed:
    """What `calibrate` measured: matrix products in FLOP/s and reading from memory in bytes/s."""

    flops: float
    bytes_per_s: float


@dataclass(frozen=True)
class Training:
    """What a training's memory depends on, the passes apart."""

    shape: Shape
    precision: Precision
    rank: int
    targets: tuple[str, ...]
    by_hand: bool
    device: str = "cpu"
    file_bytes: int = 0
    """Size of the weights' file, which is read beside the weights that it becomes; 0 where it is used as it is."""
    dropout: bool = False

    @property
    def adapter_parameters(self) -> int:
        """LoRA's parameters on the targets of a Llama-shaped model."""
        h, i, q, kv = self.shape.hidden, self.shape.intermediate, self.shape.q_width, self.shape.kv_width
        sides = {"q_proj": h + q, "k_proj": h + kv, "v_proj": h + kv, "o_proj": q + h}
        sides |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), h + i)
        return self.shape.layers * self.rank * sum(sides.get(name, 0) for name in self.targets)


def shape_of(config: Mapping[str, Any], parameters: int) -> Shape:
    """The Shape of a model from its config.json, which names its sizes as Llama and Qwen do.

    Raises BadInput where it does not: what is not known cannot be foretold.
    """
    try:
        heads = int(config["num_attention_heads"])
        return Shape(
            parameters=parameters,
            layers=int(config["num_hidden_layers"]),
            hidden=int(config["hidden_size"]),
            intermediate=int(config["intermediate_size"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            vocab=int(config["vocab_size"]),
            head=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        kind = config.get("model_type", "unknown")
        raise BadInput(
            f"the base's config.json ({kind}) does not say its sizes as Llama and Qwen do ({error}); take another base."
        ) from None


Passes = Sequence[Sequence[tuple[int, int]]]
"""Of every pass, for every run of tokens in it: how many they are, and how many tokens the last of them looks at."""


def training_bytes(work: Training, passes: Passes, *, recompute: bool = False) -> dict[str, int]:
    """Bytes by part, and `total`, of a training of such passes.

    AdamW keeps four fp32 values an adapter parameter: itself, its gradient, two moments. A checkpoint is written from a
    copy of three of them.
    """
    width, shape, adapter = width_of(work.precision), work.shape, work.adapter_parameters
    weights = shape.parameters * width
    runtime = RUNTIME_BYTES[work.device]
    parts = _by_hand(work, passes, recompute) if work.by_hand else _by_autograd(work, passes, recompute)
    parts = {"weights": weights, "adapter and optimizer": adapter * (16 + width), **parts}
    parts["checkpoint"] = adapter * 24
    # A bf16 product packs its weights first; the largest are those of the output layer.
    parts["packed weights"] = shape.vocab * shape.hidden * 2 if work.device == "cpu" and width == 2 else 0
    parts["slack"] = 0 if work.by_hand else int(AUTOGRAD_SLACK[work.device] * sum(parts.values()))
    parts["runtime"] = runtime
    total = sum(parts.values())
    loading = runtime + weights + work.file_bytes
    return {**parts, "loading, before": loading, "total": max(total, loading)}


def _by_hand(work: Training, passes: Passes, recompute: bool) -> dict[str, int]:
    """The buffers of llama.py, each as large as the largest pass makes it."""
    s, width = work.shape, width_of(work.precision)
    h, i, q, kv, r = s.hidden, s.intermediate, s.q_width, s.kv_width, work.rank
    tokens = even(max(sum(own for own, _ in runs) for runs in passes))
    longest = max(seen for runs in passes for _, seen in runs)
    squares = max(sum(own * even(seen) for own, seen in runs if seen <= WHOLE_ROW) for runs in passes) * s.heads
    layer = (h + 3 * r) + (q + 2 * kv) + (q + r) + h + (h + 2 * r) + 2 * i + (i + r) + h
    kept = tokens * (s.layers * h + layer) if recompute else tokens * s.layers * layer
    kept += EVEN * (q + 2 * kv) * (1 if recompute else s.layers)
    softmax = squares * (1 if recompute else s.layers)
    shared = (i + r) + i * 4 + h * 2 + (q + 2 * kv) * 2 + q
    again = ATTENTION_BLOCK * even(longest) if longest > WHOLE_ROW else 0
    whole = min(longest, WHOLE_ROW) * even(min(longest, WHOLE_ROW))
    return {
        "activations": kept * width,
        "attention": (softmax + s.heads * (max(whole, again) + again)) * width,
        "working buffers": tokens * (shared * width + 4 * h * 4) + longest * 2 * kv * (width + 2 * 4),
        "logits": LOSS_ROWS * 3 // 2 * s.vocab * width + SOFTMAX_ROWS * s.vocab * 4 + tokens * h * (2 * width + 12),
    }


def _by_autograd(work: Training, passes: Passes, recompute: bool) -> dict[str, int]:
    s, width = work.shape, width_of(work.precision)
    tokens = max(len(runs) * max(runs)[0] for runs in passes)
    squares = max(len(runs) * max(runs)[0] ** 2 for runs in passes) * s.heads if work.device == "cpu" else 0
    sizes = (s.hidden, s.intermediate, work.rank)
    kept = sum(size * each for size, each in zip(sizes, KEPT_BYTES[work.precision, work.dropout], strict=True))
    layers = 1 if recompute else s.layers
    return {
        "activations": tokens * (layers * kept + (s.layers * s.hidden * width if recompute else 0)),
        "attention": squares * width * (layers + SCORES_ALIVE),
        # Logits and, in fp32, their log-likelihoods, of so many rows at a time.
        "logits": LOSS_ROWS * s.vocab * (2 * width + 4) + tokens * s.hidden * (2 * width + 4),
    }


def evaluation_bytes(
    shape: Shape, *, positions: int, longest: int, file_bytes: int, device: str, precision: Precision
) -> dict[str, int]:
    """Bytes by part, and `total`, of greedy decoding with so many key-value positions at once.

    `longest` is the longest prompt. An adapter is merged into a copy of the weights in fp32, which is then rounded.
    """
    width, from_file = width_of(precision), file_bytes if device == "cpu" else 0
    parts = {
        "weights": shape.parameters * width + from_file,
        "key-value cache": positions * shape.kv_values * width,
        "prompt": longest * (6 * shape.hidden + 3 * shape.intermediate) * width + shape.heads * longest**2 * width,
        "logits": 32 * shape.vocab * width * 2,
        "packed weights": shape.vocab * shape.hidden * width if device == "cpu" else 0,
    }
    parts["slack"] = int(SLACK * sum(parts.values()))
    parts["runtime"] = RUNTIME_BYTES[device]
    loading = parts["runtime"] + shape.parameters * 4 + from_file
    return {**parts, "loading, before": loading, "total": max(sum(parts.values()), loading)}


@functools.cache
def calibrate(precision: Precision, device: str = "cpu", seconds: float = 0.5) -> Speed:
    """Measure matrix products of a small model's size and reading from memory, each in PARTS of `seconds` in all."""
    import torch

    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    left = torch.ones(1024, 576, dtype=kind, device=device)
    right = torch.ones(576, 1536, dtype=kind, device=device)
    # 128 MiB: more than any cache holds.
    block = torch.ones(32 * MIB, dtype=torch.float32, device=device)
    product = _rate(lambda: left @ right, seconds, device) * 2 * 1024 * 576 * 1536
    reading = _rate(lambda: block.sum(), seconds, device) * block.numel() * 4
    return Speed(flops=product, bytes_per_s=reading)


def training_seconds(shape: Shape, speed: Speed, *, tokens: int, by_hand: bool) -> float:
    """Seconds to train LoRA over `tokens` in all: 4 FLOP a parameter and token, forward and back through the base."""
    return 4 * shape.parameters * tokens / speed.flops / GEMM_SHARE[by_hand]


def evaluation_seconds(
    shape: Shape, speed: Speed, *, prompt_tokens: int, new_tokens: int, batch: int, precision: Precision
) -> float:
    """Seconds to read `prompt_tokens` and write `new_tokens` in all (sums over the rows), `batch` rows at a time.

    A decoding step costs the reading of all weights or the arithmetic of its rows, whichever is longer, and the
    overhead of its layers.
    """
    reading = shape.parameters * width_of(precision) / speed.bytes_per_s
    arithmetic = 2 * shape.parameters * batch / speed.flops
    step = max(reading, arithmetic) + STEP_SECONDS_A_LAYER * shape.layers
    return 2 * shape.parameters * prompt_tokens / speed.flops + math.ceil(new_tokens / batch) * step


def even(size: int) -> int:
    """The next multiple of EVEN."""
    return -(-size // EVEN) * EVEN


def width_of(precision: Precision) -> int:
    """Bytes of a value."""
    return 4 if precision == "fp32" else 2


def _rate(work: Callable[[], Any], seconds: float, device: str) -> float:
    """Runs of `work` a second in the fastest of PARTS, after one run that does not count.

    What disturbs a machine for a moment, such as both threads on one core, says nothing about a training's hour.
    """
    import torch

    work()
    best = 0.0
    for part in range(PARTS):
        time.sleep(PAUSE_SECONDS * bool(part))
        start, runs = time.perf_counter(), 0
        while runs == 0 or time.perf_counter() - start < seconds / PARTS:
            work()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            runs += 1
        best = max(best, runs / (time.perf_counter() - start))
    return best
