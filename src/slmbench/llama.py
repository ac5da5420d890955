"""LoRA's loss and gradients for Llama-shaped models on a CPU, by hand: no autograd, no padding, few copies.

Rows lie end to end in one sequence of tokens (`packing.py`), so every matrix product runs over real tokens only;
attention alone knows where a row ends. What rows begin with in common (the instruction, a schema) is there once: under
a causal mask its values are the same in each of them, and its gradient is the sum of theirs. Linear layers that read
the same input are one matrix, and LoRA rides in it: the input is followed by `x A'`, the weight by `scale B`, so
`x W' + scale (x A') B'` is one product, and so is its backward pass. What autograd would keep of a token is kept where
it is dear to compute (projections, residuals, the softmax of short rows) and computed again where it is cheap (SwiGLU)
or large (the softmax of long rows). The plain twin is the PEFT model itself, which tests hold this to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from slmbench.budget import ATTENTION_BLOCK, EVEN, LOSS_ROWS, SOFTMAX_ROWS, WHOLE_ROW, even
from slmbench.memory import give_back
from slmbench.packing import Packed, Segment, alike, pack, passes
from slmbench.template import Encoded

MODEL_TYPES = ("llama", "qwen2")
PROJECTIONS = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))


def unsupported(model: Any) -> str:
    """Why a PEFT model cannot be trained by hand; empty where it can."""
    base = model.get_base_model()
    config = base.config
    if config.model_type not in MODEL_TYPES:
        return f"{config.model_type} is no Llama-shaped model"
    if config.hidden_act != "silu" or getattr(config, "mlp_bias", False):
        return "its MLP is not a plain SwiGLU"
    if getattr(config, "use_sliding_window", False) or getattr(base.model.rotary_emb, "attention_scaling", 1.0) != 1.0:
        return "its attention is not plain"
    if getattr(base.model.rotary_emb, "rope_type", "default") in ("dynamic", "longrope"):
        return "its positions depend on the length"
    weight = base.get_output_embeddings().weight
    if weight.device.type != "cpu":
        return "it is not on the CPU"
    for layer in _lora_layers(model):
        if not isinstance(layer.lora_dropout["default"], torch.nn.Identity):
            return "dropout is above 0"
        if layer.lora_bias.get("default") or layer.use_dora.get("default"):
            return "its adapter is not plain LoRA"
    return ""


def _lora_layers(model: Any) -> Iterator[Any]:
    from peft.tuners.lora import Linear

    return (layer for layer in model.modules() if isinstance(layer, Linear))


class Group:
    """Linear layers of one input as one matrix [out, in + ranks]: the base weights, then the scaled B of each layer.

    The layers' own weights become views of it, so nothing is held twice.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        bases = [getattr(layer, "base_layer", layer) for layer in layers]
        self.width = bases[0].weight.shape[1]
        self.adapters: list[tuple[Any, Any, float, slice, slice]] = []
        """(A, B, scale, its rows of the output, its columns of the inner values) of every layer with an adapter."""
        at, rank = 0, 0
        for layer, base in zip(layers, bases, strict=True):
            rows = base.weight.shape[0]
            if hasattr(layer, "lora_A"):
                a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
                columns = slice(rank, rank + a.shape[0])
                self.adapters.append((a, b, layer.scaling["default"], slice(at, at + rows), columns))
                rank += a.shape[0]
            at += rows
        self.out, self.rank = at, rank
        self.weight = torch.zeros(self.out, self.width + rank, dtype=bases[0].weight.dtype)
        self.a = torch.zeros(rank, self.width, dtype=self.weight.dtype)
        self.bias = None
        if any(base.bias is not None for base in bases):
            biases = [b.bias if b.bias is not None else b.weight.new_zeros(b.weight.shape[0]) for b in bases]
            self.bias = torch.cat(biases)
        at = 0
        for base in bases:
            rows = base.weight.shape[0]
            view = self.weight[at : at + rows, : self.width]
            view.copy_(base.weight)
            base.weight = torch.nn.Parameter(view, requires_grad=False)
            at += rows

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the adapters' present values: once after every optimizer step."""
        for a, b, scale, rows, columns in self.adapters:
            self.a[columns] = a
            torch.mul(b, scale, out=self.weight[rows, self.width + columns.start : self.width + columns.stop])

    def forward(self, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """x [tokens, in + ranks], of which the input is filled in -> out [tokens, out]; fills in the rest of x."""
        if self.rank:
            x[:, self.width :] = x[:, : self.width] @ self.a.T
        if self.bias is not None:
            return torch.addmm(self.bias, x, self.weight.T, out=out)
        return torch.mm(x, self.weight.T, out=out)

    def backward(self, gradient: torch.Tensor, x: torch.Tensor, work: Workspace) -> torch.Tensor:
        """gradient [tokens, out], x as after `forward` -> that of the input [tokens, in]; adds to A's and B's."""
        tokens = len(gradient)
        both = torch.mm(gradient, self.weight, out=work.get("input gradient", tokens, self.width + self.rank))
        if not self.rank:
            return both
        down = both[:, self.width :].contiguous()
        of_a = down.T @ x[:, : self.width]
        of_b = gradient.T @ x[:, self.width :]
        for a, b, scale, rows, columns in self.adapters:
            a.grad.add_(of_a[columns])
            b.grad.add_(of_b[rows, columns], alpha=scale)
        result = work.get("whole input gradient", tokens, self.width)
        return torch.addmm(both[:, : self.width], down, self.a, out=result)


class Workspace:
    """Named buffers that are taken again instead of allocated: fresh pages cost more than most operations on them."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.buffers: dict[str, torch.Tensor] = {}
        self.grown = False
        """Whether a buffer was replaced by a larger one since `settle`."""

    def get(self, name: str, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """An uninitialised tensor of this shape; the next call with the same name takes it back."""
        size = math.prod(shape)
        if name not in self.buffers or self.buffers[name].numel() < size:
            self.grown |= self.buffers.pop(name, None) is not None
            self.buffers[name] = torch.empty(size, dtype=dtype or self.dtype)
        return self.buffers[name][:size].view(shape)

    def settle(self) -> None:
        """Give back the holes that smaller buffers left: the larger ones do not fit into them."""
        if self.grown:
            give_back()
        self.grown = False


@dataclass
class Layer:
    """One decoder layer: four groups of projections and two norms."""

    qkv: Group
    o: Group
    gate_up: Group
    down: Group
    norms: tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Block:
    """Queries of a segment, from `start` to `stop`, and the `keys` up to theirs, made even: few that none may see.

    `first` is the first query's own key. The keys behind the last query's are those of later tokens or of nothing, and
    hidden as the future is. `kept` is where in a buffer the softmax is; None where it is computed again in the backward
    pass.
    """

    start: int
    stop: int
    first: int
    kept: int | None

    @property
    def keys(self) -> int:
        return even(self.first + self.stop - self.start)


def _unmap(base: Any) -> None:
    """Copy what is not in a Group, so that nothing keeps the weights' file in memory."""
    grouped = {name for names in PROJECTIONS for name in names}
    for name, parameter in base.named_parameters():
        if not parameter.requires_grad and not grouped & set(name.split(".")):
            parameter.data = parameter.data.clone()


class LlamaStep:
    """The loss and the adapter's gradients of a PEFT model of Llama's shape.

    `recompute` keeps a layer's input only and computes the layer again in the backward pass: less memory, a third more
    time.
    """

    name = "by hand"

    def __init__(self, model: Any) -> None:
        self.recompute = False
        base = model.get_base_model()
        config = base.config
        _unmap(base)
        self.embedding = base.get_input_embeddings().weight.detach()
        self.output = base.get_output_embeddings().weight.detach()
        self.final_norm = base.model.norm.weight.detach().float()
        self.epsilon = config.rms_norm_eps
        self.heads, self.shared = config.num_attention_heads, config.num_key_value_heads
        self.head = getattr(config, "head_dim", None) or self.embedding.shape[1] // self.heads
        self.inverse = base.model.rotary_emb.inv_freq.detach().float()
        self.dtype = self.embedding.dtype
        self.layers = [self._layer(layer) for layer in base.model.layers]
        self.work = Workspace(self.dtype)
        largest = max(WHOLE_ROW, ATTENTION_BLOCK)
        self.future = torch.full((largest, largest + EVEN), float("-inf"), dtype=self.dtype).triu_(1)
        """What is added to the scores of a block's queries with its own positions."""
        self.refresh()
        give_back()

    def _layer(self, layer: Any) -> Layer:
        modules: Mapping[str, Any] = {**dict(layer.self_attn.named_children()), **dict(layer.mlp.named_children())}
        groups = [Group([modules[name] for name in names]) for names in PROJECTIONS]
        norms = (layer.input_layernorm.weight.detach().float(), layer.post_attention_layernorm.weight.detach().float())
        return Layer(groups[0], groups[1], groups[2], groups[3], norms)

    def refresh(self) -> None:
        """Take the adapter's present values: once after every optimizer step."""
        for layer in self.layers:
            for group in (layer.qkv, layer.o, layer.gate_up, layer.down):
                group.refresh()

    def groups(self, rows: Sequence[Encoded], budget: int) -> list[list[Encoded]]:
        """Rows cut into passes of at most `budget` tokens."""
        return passes(rows, budget)

    def alike(self, rows: Sequence[Encoded], budget: int) -> list[list[Encoded]]:
        """The same with rows together that begin alike, so that most is computed once: where no order is wanted."""
        return alike(rows, budget)

    def release(self) -> None:
        """Give the buffers back; the next pass takes new ones."""
        self.work.buffers.clear()
        give_back()

    @torch.no_grad()
    def loss(self, rows: Sequence[Encoded]) -> float:
        """Summed loss over the rows' labels, without gradients."""
        batch = pack(rows)
        turn = self._turn(batch.positions)
        hidden = self.embedding[batch.ids]
        for layer in self.layers:
            hidden = self._forward(layer, hidden, batch, turn, None)
        return self._loss(hidden, batch.labels, None)

    @torch.no_grad()
    def loss_and_gradients(self, rows: Sequence[Encoded], scale: float) -> float:
        """Summed loss over the rows' labels; adds `scale` times its gradients to the adapter's `.grad`."""
        batch = pack(rows)
        turn = self._turn(batch.positions)
        hidden = self.embedding[batch.ids]
        kept: list[dict[str, torch.Tensor]] = []
        for i, layer in enumerate(self.layers):
            if self.recompute:
                hidden = self.work.get(f"input {i}", *hidden.shape).copy_(hidden)
            kept.append({"input": hidden})
            hidden = self._forward(layer, hidden, batch, turn, None if self.recompute else (i, kept[i]))
        gradient = self.work.get("loss gradient", *hidden.shape, dtype=torch.float32)
        total = self._loss(hidden, batch.labels, gradient, scale)
        for i, layer in reversed(list(enumerate(self.layers))):
            place = 0 if self.recompute else i
            keep = kept.pop()
            if self.recompute:
                self._forward(layer, keep["input"], batch, turn, (place, keep))
            gradient = self._backward(layer, (place, keep), gradient, batch, turn)
        self.work.settle()
        return total

    def _turn(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines [tokens, heads + shared, head / 2]; the queries' are scaled by head ** -0.5."""
        angles = positions.unsqueeze(-1).float() * self.inverse
        scale = torch.ones(self.heads + self.shared, 1)
        scale[: self.heads] = self.head**-0.5
        cos, sin = (part.to(self.dtype).unsqueeze(1) * scale for part in (angles.cos(), angles.sin()))
        return cos.to(self.dtype), sin.to(self.dtype)

    def _norm(self, hidden: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """RMSNorm of hidden [tokens, width] into out; returns 1 / rms [tokens, 1]."""
        exact = self._exact("fp32", hidden)
        length = torch.linalg.vector_norm(exact, dim=-1, keepdim=True)
        inverse: torch.Tensor = (length.square_() / hidden.shape[1] + self.epsilon).rsqrt_()
        out.copy_(exact.mul_(inverse).mul_(weight))
        return inverse

    def _exact(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """A copy of values in fp32: an operation of two precisions would make one in fresh memory."""
        return self.work.get(name, *values.shape, dtype=torch.float32).copy_(values)

    def _norm_backward(
        self, gradient: torch.Tensor, hidden: torch.Tensor, inverse: torch.Tensor, weight: torch.Tensor,
        total: torch.Tensor,
    ) -> None:  # fmt: skip
        """Add the gradient of a norm's input to total (fp32)."""
        scaled, exact = self._exact("fp32", gradient).mul_(weight), self._exact("fp32 too", hidden)
        product = torch.mul(scaled, exact, out=self.work.get("fp32 product", *hidden.shape, dtype=torch.float32))
        along = product.sum(-1, keepdim=True).mul_(inverse.pow(3)).div_(-hidden.shape[1])
        total.addcmul_(scaled, inverse).addcmul_(exact, along)

    def _forward(
        self, layer: Layer, hidden: torch.Tensor, batch: Packed, turn: tuple[torch.Tensor, torch.Tensor],
        kept: tuple[int, dict[str, torch.Tensor]] | None,
    ) -> torch.Tensor:  # fmt: skip
        """hidden [tokens, width] -> the same of the next layer; what the backward pass needs goes into `kept`.

        Behind the last layer's attention only the tokens that a label follows go on: [labels, width].
        """
        i, keep = kept or (0, {})

        def buffer(name: str, width: int, more: int = 0) -> torch.Tensor:
            tensor = self.work.get(f"{name} {i}", len(hidden) + more, width)
            keep[name] = tensor
            return tensor

        x = buffer("qkv input", layer.qkv.width + layer.qkv.rank)
        keep["inverse"] = self._norm(hidden, layer.norms[0], x[:, : layer.qkv.width])
        qkv = buffer("qkv", layer.qkv.out, EVEN)
        qkv[len(hidden) :].zero_()
        self._rotate(layer.qkv.forward(x, qkv[: len(hidden)]), *turn)
        mixed = buffer("mixed", layer.o.width + layer.o.rank)
        self._attention(qkv, mixed, batch, f"weights {i}")
        if layer is self.layers[-1]:
            hidden, mixed = hidden[batch.picks], mixed[batch.picks]
            keep["mixed"] = mixed
        middle = layer.o.forward(mixed, buffer("middle", layer.o.out)).add_(hidden)
        x = buffer("gate_up input", layer.gate_up.width + layer.gate_up.rank)
        keep["middle inverse"] = self._norm(middle, layer.norms[1], x[:, : layer.gate_up.width])
        gate_up = layer.gate_up.forward(x, buffer("gate_up", layer.gate_up.out))
        half = layer.down.width
        gated = buffer("gated", half + layer.down.rank)
        silu = torch.ops.aten.silu.out(gate_up[:, :half], out=self.work.get("silu", len(hidden), half))
        torch.mul(silu, gate_up[:, half:], out=gated[:, :half])
        return layer.down.forward(gated, buffer("output", layer.down.out)).add_(middle)

    def _backward(
        self, layer: Layer, kept: tuple[int, dict[str, torch.Tensor]], total: torch.Tensor, batch: Packed,
        turn: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:  # fmt: skip
        """total, fp32: the gradient of the layer's output -> that of its input [tokens, width], mostly in place."""
        tokens, work = len(total), self.work
        i, keep = kept
        hidden, middle, gate_up, qkv = (keep[name] for name in ("input", "middle", "gate_up", "qkv"))
        half = layer.down.width
        gradient = work.get("gradient", *total.shape).copy_(total)
        gate, up = gate_up[:, :half], gate_up[:, half:]
        silu = torch.ops.aten.silu.out(gate, out=work.get("silu", tokens, half))
        of_gated = layer.down.backward(gradient, keep["gated"], work)
        of_gate_up = work.get("gate_up gradient", tokens, 2 * half)
        torch.mul(of_gated, silu, out=of_gate_up[:, half:])
        torch.ops.aten.silu_backward.grad_input(of_gated.mul_(up), gate, grad_input=of_gate_up[:, :half])
        of_x = layer.gate_up.backward(of_gate_up, keep["gate_up input"], work)
        self._norm_backward(of_x, middle, keep["middle inverse"], layer.norms[1], total)
        gradient.copy_(total)
        of_mixed = layer.o.backward(gradient, keep["mixed"], work)
        if layer is self.layers[-1]:
            total, of_mixed = self._spread("residual gradient", total, batch), self._spread("mixed", of_mixed, batch)
        of_qkv = work.get("qkv gradient", len(total), layer.qkv.out)
        self._attention_backward(qkv, of_mixed, of_qkv, batch, f"weights {i}")
        self._rotate(of_qkv, turn[0], -turn[1])
        of_x = layer.qkv.backward(of_qkv, keep["qkv input"], work)
        self._norm_backward(of_x, hidden, keep["inverse"], layer.norms[0], total)
        return total

    def _spread(self, name: str, picked: torch.Tensor, batch: Packed) -> torch.Tensor:
        """What the picked tokens have, in the rows of all tokens; the others have nothing."""
        whole = self.work.get(name, len(batch.ids), picked.shape[1], dtype=picked.dtype)
        return whole.zero_().index_copy_(0, batch.picks, picked)

    def _rotate(self, qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> None:
        """Rotary positions (Su et al., arXiv:2104.09864) on queries and keys, in place; with -sin the transpose."""
        turned = qkv[:, : (self.heads + self.shared) * self.head].view(len(qkv), -1, 2, self.head // 2)
        first, second = turned[:, :, 0], turned[:, :, 1]
        new = torch.mul(first, cos, out=self.work.get("rotated", *first.shape))
        new.addcmul_(second, sin, value=-1)
        second.mul_(cos).addcmul_(first, sin)
        first.copy_(new)

    def _queries(self, values: torch.Tensor) -> torch.Tensor:
        """values [tokens, queries, ...] -> [shared, heads / shared, tokens, head]."""
        queries = values[:, : self.heads * self.head].view(len(values), self.shared, -1, self.head)
        return queries.permute(1, 2, 0, 3)

    def _pair(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[tokens, keys and values] -> keys and values [shared, tokens, head]."""
        k, v = values.view(len(values), 2, self.shared, self.head).unbind(1)
        return k.transpose(0, 1), v.transpose(0, 1)

    def _flat(self, name: str, heads: torch.Tensor) -> torch.Tensor:
        """[shared, heads / shared, positions, head] -> [shared, heads / shared * positions, head]."""
        return self.work.get(name, *heads.shape).copy_(heads).view(self.shared, -1, self.head)

    def _product(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """A batched product that the next one overwrites."""
        return torch.bmm(left, right, out=self.work.get("product", len(left), left.shape[1], right.shape[2]))

    def _blocks(self, batch: Packed, name: str) -> list[tuple[Segment, list[Block]]]:
        """Every segment with its blocks; the softmax of all short ones is kept in the buffer of this name."""
        found: list[tuple[Segment, list[Block]]] = []
        at = 0
        for segment in batch.segments:
            n, first = segment.end - segment.begin, segment.shared
            if first + n <= WHOLE_ROW:
                blocks = [Block(0, n, first, at)]
                at += self.heads * n * even(first + n)
            else:
                starts = range(0, n, ATTENTION_BLOCK)
                blocks = [Block(i, min(i + ATTENTION_BLOCK, n), first + i, None) for i in starts]
            found.append((segment, blocks))
        self.work.get(name, at)
        return found

    def _keys(self, qkv: torch.Tensor, segment: Segment, count: int) -> torch.Tensor:
        """Keys and values [count, both] of a segment with what is before it; behind its last, any numbers."""
        own = qkv[segment.begin : segment.begin + count, self.heads * self.head :]
        if not segment.before:
            return own
        keys = self.work.get("keys", count, own.shape[1])
        at = 0
        for begin, end in (*segment.before, (segment.begin, segment.end)):
            keys[at : at + end - begin] = qkv[begin:end, self.heads * self.head :]
            at += end - begin
        keys[at:].zero_()
        return keys

    def _room(self, block: Block, name: str) -> torch.Tensor:
        """Where a block's softmax is: [shared, heads / shared * queries, keys]."""
        shape = (self.shared, self.heads // self.shared * (block.stop - block.start), block.keys)
        if block.kept is None:
            return self.work.get("weights of a block", *shape)
        return self.work.buffers[name][block.kept :][: math.prod(shape)].view(shape)

    def _weights(self, queries: torch.Tensor, k: torch.Tensor, block: Block, out: torch.Tensor) -> torch.Tensor:
        """Softmax of a block's queries, flat, over the keys up to its end, into out."""
        scores = torch.bmm(queries, k[:, : block.keys].transpose(1, 2), out=self.work.get("scores", *out.shape))
        size, own = block.stop - block.start, block.keys - block.first
        scores.view(self.shared, -1, size, block.keys)[..., block.first :].add_(self.future[:size, :own])
        return torch._softmax(scores, -1, False, out=out)

    def _attention(self, qkv: torch.Tensor, mixed: torch.Tensor, batch: Packed, name: str) -> None:
        """Causal attention within every row, into the first columns of mixed."""
        for segment, blocks in self._blocks(batch, name):
            begin, end = segment.begin, segment.end
            q = self._queries(qkv[begin:end])
            k, v = self._pair(self._keys(qkv, segment, blocks[-1].keys))
            out = self._queries(mixed[begin:end])
            for block in blocks:
                part = slice(block.start, block.stop)
                queries = self._flat("queries", q[:, :, part])
                weights = self._weights(queries, k, block, self._room(block, name))
                out[:, :, part] = self._product(weights, v[:, : block.keys]).view(q[:, :, part].shape)
        mixed[batch.segments[-1].end :].zero_()

    def _attention_backward(
        self, qkv: torch.Tensor, of_mixed: torch.Tensor, of_qkv: torch.Tensor, batch: Packed, name: str
    ) -> None:
        """The gradients of queries, keys and values, from that of the mixed values."""
        # A key's gradient gathers over blocks of queries, and over the segments that share it, in fp32.
        shape = (2, self.shared, batch.shared, self.head)
        gathered = self.work.get("shared key gradients", *shape, dtype=torch.float32).zero_()
        for segment, blocks in self._blocks(batch, name):
            begin, end = segment.begin, segment.end
            q, of_q = self._queries(qkv[begin:end]), self._queries(of_qkv[begin:end])
            k, v = self._pair(self._keys(qkv, segment, blocks[-1].keys))
            of_out = self._queries(of_mixed[begin:end])
            sums = self.work.get("key gradients", 2, *k.shape, dtype=torch.float32) if len(blocks) > 1 else None
            of_pair = self._pair(of_qkv[begin:end, self.heads * self.head :])
            for block in reversed(blocks):
                part = slice(block.start, block.stop)
                queries = self._flat("queries", q[:, :, part])
                upstream = self._flat("upstream", of_out[:, :, part])
                weights = self._room(block, name)
                if block.kept is None:
                    self._weights(queries, k, block, weights)
                scores = self.work.get("scores", *weights.shape)
                torch.bmm(upstream, v[:, : block.keys].transpose(1, 2), out=scores)
                scores = torch._softmax_backward_data(scores, weights, -1, self.dtype, grad_input=scores)
                of_q[:, :, part] = self._product(scores, k[:, : block.keys]).view(q[:, :, part].shape)
                for i, (left, right) in enumerate(((scores, queries), (weights, upstream))):
                    product = self._product(left.transpose(1, 2), right)
                    if sums is None:
                        self._hand_out(product, segment, of_pair[i], gathered[i])
                    elif block is blocks[-1]:  # the last block alone looks at every key
                        sums[i].copy_(product)
                    else:
                        sums[i, :, : block.keys] += product
            if sums is not None:
                for i in range(2):
                    self._hand_out(sums[i], segment, of_pair[i], gathered[i])
        for i, own in enumerate(self._pair(of_qkv[: batch.shared, self.heads * self.head :])):
            own += gathered[i]
        of_qkv[batch.segments[-1].end :].zero_()

    def _hand_out(self, keys: torch.Tensor, segment: Segment, own: torch.Tensor, gathered: torch.Tensor) -> None:
        """The gradient of a segment's keys [shared, keys, head]: those of its own, and added to what is before it."""
        at = segment.shared
        own.copy_(keys[:, at : at + segment.end - segment.begin])
        at = 0
        for begin, end in segment.before:
            gathered[:, begin:end] += keys[:, at : at + end - begin]
            at += end - begin

    def _loss(
        self, hidden: torch.Tensor, labels: torch.Tensor, gradient: torch.Tensor | None, scale: float = 1
    ) -> float:
        """Summed cross-entropy of hidden [labels, width]; its gradient, times scale, goes into `gradient`."""
        normed = self.work.get("loss rows", *hidden.shape)
        inverse = self._norm(hidden, self.final_norm, normed)
        of_normed = self.work.get("loss rows gradient", *hidden.shape)
        total = 0.0
        # Parts of like size: every one reads all of the output weights, however few its rows.
        rows = -(-len(hidden) // max(1, round(len(hidden) / LOSS_ROWS)))
        for start in range(0, len(hidden), rows):
            part = slice(start, min(start + rows, len(hidden)))
            logits = self.work.get("logits", part.stop - start, len(self.output))
            torch.mm(normed[part], self.output.T, out=logits)
            total -= self._softmax(logits, labels[part], gradient is not None)
            if gradient is not None:
                torch.mm(logits, self.output, out=of_normed[part])
        if gradient is not None:
            self._norm_backward(of_normed, hidden, inverse, self.final_norm, gradient.zero_())
            gradient.mul_(scale)
        return total

    def _softmax(self, logits: torch.Tensor, labels: torch.Tensor, in_place: bool) -> float:
        """Summed log-likelihood of the labels; logits [rows, vocabulary] become their gradient where asked to.

        In fp32, a few rows at a time so that they stay in the processor's cache.
        """
        total = 0.0
        for start in range(0, len(logits), SOFTMAX_ROWS):
            part, picked = logits[start : start + SOFTMAX_ROWS], labels[start : start + SOFTMAX_ROWS, None]
            exact = self.work.get("softmax", *part.shape, dtype=torch.float32).copy_(part)
            torch._log_softmax(exact, -1, False, out=exact)
            total += float(exact.gather(-1, picked).sum())
            if in_place:
                # Of a well-learnt label p - 1 is what counts: subtracted before p is rounded, or it would be lost.
                exact.exp_().scatter_add_(-1, picked, torch.full_like(picked, -1, dtype=torch.float32))
                part.copy_(exact)
        return total
