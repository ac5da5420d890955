"""A model in transformers' own format, one sequence, on PyTorch: the decoding loop over what is not quantised."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from slmbench.decode.loop import Part

POSITIONS = 4096
MOST_SLOTS = 1


class SequenceCache:
    """Keys and values [1, kv_heads, positions, head_dim] of every layer, written from `at` on."""

    def __init__(self, positions: int) -> None:
        self.positions, self.at = positions, 0
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store what a layer computed and return what it may look at: called by the model's attention layers."""
        if layer not in self.layers:
            shape = (1, key.shape[1], self.positions, key.shape[3])
            self.layers[layer] = (key.new_zeros(shape), value.new_zeros(shape))
        end = self.at + key.shape[2]
        for kept, new in zip(self.layers[layer], (key, value), strict=True):
            kept[:, :, self.at : end] = new
        keys, values = self.layers[layer]
        return keys[:, :, :end], values[:, :, :end]

    def get_seq_length(self, *_: Any) -> int:
        """What transformers asks to number positions; ours are always given."""
        return self.at


class EagerEngine:
    """A causal language model as `decode.loop.Engine`.

    Args:
        model: of transformers, adapters merged, on any device and in any precision.
        positions: that its cache holds at most.
    """

    slots = MOST_SLOTS

    def __init__(self, model: Any, positions: int = POSITIONS) -> None:
        self.model = model.eval()
        self.positions = min(positions, int(model.config.max_position_embeddings))
        self.vocabulary = int(model.config.vocab_size)
        self.cache = SequenceCache(self.positions)

    @torch.inference_mode()
    def forward(self, parts: Sequence[Part]) -> list[np.ndarray]:
        """As `decode.loop.Engine`."""
        ((_, ids, at, rows),) = parts
        device, count = self.model.device, len(ids)
        self.cache.at = at
        positions = torch.arange(at, at + count, device=device)
        hidden = torch.arange(at + count, device=device)[None] > positions[:, None]
        mask = torch.zeros(hidden.shape, dtype=self.model.dtype, device=device).masked_fill_(hidden, float("-inf"))
        out = self.model(
            input_ids=torch.tensor([list(ids)], device=device),
            attention_mask=mask[None, None],
            position_ids=positions[None],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=rows,
        )
        logits: np.ndarray = out.logits[0].float().cpu().numpy()
        return [logits]

    @torch.inference_mode()
    def keep(self, slot: int, length: int) -> list[tuple[torch.Tensor, ...]]:
        """A copy of the first `length` positions of keys and values, by layer."""
        return [tuple(part[:, :, :length].clone() for part in pair) for pair in self.cache.layers.values()]

    @torch.inference_mode()
    def restore(self, slot: int, kept: list[tuple[torch.Tensor, ...]]) -> None:
        """Put such a copy into the cache."""
        for pair, copies in zip(self.cache.layers.values(), kept, strict=True):
            for part, copy in zip(pair, copies, strict=True):
                part[:, :, : copy.shape[2]] = copy


def open_engine(folder: Path, threads: int, slots: int = 1) -> EagerEngine:
    """The engine of an exported folder, in the precision that its config names."""
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", local_files_only=True, trust_remote_code=False, use_safetensors=True
    )
    return EagerEngine(model)
