"""Greedy decoding of a transformers model on the machine at hand, many documents at a time.

Each prompt is read alone and each row keeps its own place in the key-value cache, so a row never sees padding or its
neighbours; a row that ends makes room for the next at once. What a row writes does not depend on how many are decoded
beside it: a step's matrix products always have the same height, with rows of nothing in the empty places, and its
attention an even width, because products of other sizes round otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from slmbench.budget import even
from slmbench.config import Evaluation
from slmbench.core import Completion, Finish, Request, SlmbenchError
from slmbench.kernels import causal_attention
from slmbench.memory import give_back, out_of_memory, peak_rss_gib
from slmbench.progress import say

MAX_ROWS = 32
ATTENTION = "slmbench_rows"


class RowCache:
    """Keys and values [rows, kv_heads, positions, head_dim] of every layer; each row is filled to its own length."""

    def __init__(self, rows: int, positions: int) -> None:
        self.rows, self.positions = rows, even(positions)
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.at: torch.Tensor | None = None
        """Where the next key of each active row goes; None while one row's prompt is read."""
        self.row = 0
        self.span = 0
        """Positions that are looked at: even, because attention over an odd number rounds in another order."""

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store what a layer computed and return what it may look at: called by the model's attention layers."""
        if layer not in self.layers:
            shape = (self.rows, key.shape[1], self.positions, key.shape[3])
            self.layers[layer] = (key.new_zeros(shape), value.new_zeros(shape))
        keys, values = self.layers[layer]
        if self.at is None:
            keys[self.row, :, : key.shape[2]] = key[0]
            values[self.row, :, : value.shape[2]] = value[0]
            return key, value
        active = len(self.at)
        rows = torch.arange(active, device=key.device)
        keys[rows, :, self.at] = key[:active, :, 0]
        values[rows, :, self.at] = value[:active, :, 0]
        return keys[:active, :, : self.span], values[:active, :, : self.span]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row's first `length` positions onto another row."""
        for keys, values in self.layers.values():
            keys[target, :, :length] = keys[source, :, :length]
            values[target, :, :length] = values[source, :, :length]

    def get_seq_length(self, *_: Any) -> int:
        """What transformers asks to number positions; ours are always given."""
        return 0


def row_attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor | None, scaling: float | None = None, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Attention of one new token a row without repeating the shared key heads; causal over a whole prompt.

    query [rows, heads, new, head_dim], key and value [rows, kv_heads, positions, head_dim] give
    [rows, new, heads, head_dim]. Query rows beyond those with keys are of nothing, and give nothing.
    """
    if query.shape[2] > 1 or attention_mask is None:
        return causal_attention(module, query, key, value, None, scaling)
    # The heads that share a key head become that key head's queries: the same sums, a third of the memory traffic.
    active, shared, width = len(key), key.shape[1], query.shape[3]
    grouped = query[:active].reshape(active, shared, -1, width)
    attend = torch.nn.functional.scaled_dot_product_attention
    out = query.new_zeros(len(query), 1, query.shape[1], width)
    out[:active, 0] = attend(grouped, key, value, attn_mask=attention_mask, scale=scaling).reshape(active, -1, width)
    return out, None


@dataclass
class _Row:
    request: Request
    started: float
    first_token_s: float
    tokens: list[int] = field(default_factory=list)

    @property
    def position(self) -> int:
        """Where the last written token stands."""
        return len(self.request.prompt_ids) + len(self.tokens) - 1


class HfBackend:
    """Greedy decoding with a causal language model.

    Args:
        model: a transformers model in evaluation mode, adapters merged.
        tokenizer: its tokenizer.
        batch_tokens: key-value positions held at once; rows at a time follow from it (at most 32).
        rows: rows at a time, instead of `batch_tokens`: 1 for latency.
    """

    def __init__(
        self, model: Any, tokenizer: Any, batch_tokens: int = Evaluation.batch_tokens, rows: int | None = None
    ) -> None:
        from transformers import AttentionInterface

        # Without a mask function of the same name, transformers passes our masks through and makes none of its own.
        AttentionInterface.register(ATTENTION, row_attention)
        model.set_attn_implementation(ATTENTION)
        self.model, self.tokenizer = model.eval(), tokenizer
        self.batch_tokens, self.rows = batch_tokens, rows
        self.height = 1 if rows == 1 else max(MAX_ROWS, rows or 0)
        """Rows of a step's matrix products."""
        model.get_output_embeddings().register_forward_pre_hook(_own_strides)
        configured = model.generation_config.eos_token_id
        configured = configured if isinstance(configured, list) else [configured]
        # Padding is an end-of-document token in these vocabularies: a base model ends with it, and no JSON contains it.
        self.stops = {i for i in (tokenizer.eos_token_id, tokenizer.pad_token_id, *configured) if i is not None}

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Completions in the order they end. Requests of like length are decoded together, the longest first."""
        waiting = sorted(requests, key=lambda r: (-_room(r), r.id))
        while waiting:
            positions = _room(waiting[0])
            rows = self.rows or max(1, min(MAX_ROWS, self.batch_tokens // positions))
            group = [r for r in waiting if 2 * _room(r) > positions or rows == MAX_ROWS]
            done: set[str] = set()
            short = False
            try:
                for completion in self._decode(group, RowCache(min(rows, len(group)), positions)):
                    done.add(completion.id)
                    yield completion
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                short = True
            if short:  # here, because the error holds on to the cache
                self._shrink(min(rows, len(group)), positions)
            waiting = [r for r in waiting if r.id not in done]

    def _shrink(self, rows: int, positions: int) -> None:
        """Decode half as many rows at once from now on: memory ran out. No request is lost."""
        if rows == 1:
            raise SlmbenchError(
                f"one answer of up to {positions} tokens does not fit in memory, {peak_rss_gib():.1f} GiB were in use;"
                f" end other programs or lower evaluate.budget_factor."
            )
        self.batch_tokens = rows // 2 * positions
        self.rows = self.rows and rows // 2
        give_back()
        say(f"evaluate  out of memory: {rows // 2} rows at a time from here on")

    @torch.inference_mode()
    def _decode(self, waiting: list[Request], cache: RowCache) -> Iterator[Completion]:
        waiting = waiting[::-1]
        active: list[_Row] = []
        while waiting or active:
            while waiting and len(active) < cache.rows:
                active.append(self._read_prompt(waiting.pop(), cache, len(active)))
            for place in reversed(range(len(active))):
                if (finish := self._finish(active[place])) is not None:
                    yield self._completion(active[place], finish, cache.rows)
                    last = active.pop()
                    if place < len(active):
                        cache.move(len(active), place, last.position)
                        active[place] = last
            if active and (len(active) == cache.rows or not waiting):
                self._step(active, cache)

    def _read_prompt(self, request: Request, cache: RowCache, place: int) -> _Row:
        started = time.perf_counter()
        cache.at, cache.row = None, place
        ids = torch.tensor([request.prompt_ids], device=self.model.device)
        positions = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
        out = self.model(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1)
        token = int(out.logits[0, -1].argmax())
        return _Row(request, started, time.perf_counter() - started, [token])

    def _step(self, active: list[_Row], cache: RowCache) -> None:
        """One new token for every active row."""
        device = self.model.device
        at = torch.tensor([row.position for row in active], device=device)
        cache.at, cache.span = at, even(int(at.max()) + 1)
        hidden = torch.arange(cache.span, device=device).unsqueeze(0) > at.unsqueeze(1)
        mask = torch.zeros(hidden.shape, dtype=self.model.dtype, device=device).masked_fill_(hidden, float("-inf"))
        ids = torch.zeros(self.height, 1, dtype=torch.long, device=device)
        positions = torch.zeros_like(ids)
        ids[: len(active), 0] = torch.tensor([row.tokens[-1] for row in active], device=device)
        positions[: len(active), 0] = at
        out = self.model(
            input_ids=ids,
            attention_mask=mask[:, None, None, :],
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
        )
        for row, token in zip(active, out.logits[: len(active), -1].argmax(-1).tolist(), strict=True):
            row.tokens.append(token)

    def _finish(self, row: _Row) -> Finish | None:
        if row.tokens[-1] in self.stops:
            return "stop"
        return "length" if len(row.tokens) >= row.request.max_new_tokens else None

    def _completion(self, row: _Row, finish: Finish, rows: int) -> Completion:
        written = row.tokens[:-1] if finish == "stop" else row.tokens
        return Completion(
            id=row.request.id,
            text=self.tokenizer.decode(written, skip_special_tokens=False, clean_up_tokenization_spaces=False),
            token_ids=tuple(row.tokens),
            finish=finish,
            prompt_tokens=len(row.request.prompt_ids),
            output_tokens=len(row.tokens),
            first_token_s=row.first_token_s if rows == 1 else None,
            total_s=time.perf_counter() - row.started,
            batch=rows,
        )


def _own_strides(module: torch.nn.Module, given: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """A prompt's last position with strides of its own: with the prompt's, torch copies the whole output matrix."""
    return (given[0].clone(memory_format=torch.contiguous_format),)


def _room(request: Request) -> int:
    """Key-value positions that a request may need."""
    return len(request.prompt_ids) + request.max_new_tokens
